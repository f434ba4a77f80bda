"""Notebook 15: the drills that a base is pre-trained on, what is fine-tuned from it, and what comes out."""

from dataclasses import replace

import pytest

from unseen.model import Shape
from unseen.runs.store import Store, ensure
from unseen.runs.workers import Serial
from unseen.scales import SCALES
from unseen.specs import EvaluationSpec, RunSpec
from unseen.studies import pretraining
from unseen.training import data_of
from unseen.worlds.drills import DrillSpec
from unseen.worlds.strings import TaskSpec

FEW = DrillSpec(instructions=40, unseen_instructions=20, examples=120)


def test_arguments_of_unseen_drills_are_in_no_training_drill():
    split = FEW.split()
    seen, unseen = ({drill.argument for drill in part} for part in split)
    assert seen & unseen == set()
    assert len(seen) == 40
    assert {drill.name for drill in split.unseen} <= {drill.name for drill in split.seen}


@pytest.mark.parametrize("lengths", [(3, 3, 10), (2, 4, 8), (4, 2, 8), (1, 1, 1)])
def test_drills_have_the_layout_of_the_rewriting_that_follows(lengths):
    x, y, z = lengths
    task = TaskSpec(pattern_length=x, replacement_length=y, input_length=z, no_op_share=0.4, instructions=2,
                    unseen_instructions=2)  # fmt: skip
    drills = DrillSpec.like(task, instructions=5, unseen_instructions=5)
    assert drills.layout == task.layout
    examples = data_of(RunSpec(task=drills.but(examples=50), evaluation=EvaluationSpec(examples=5))).training
    assert examples.prompts.shape[1] == task.layout.prompt_length


# What is trained


@pytest.mark.parametrize("name", SCALES)
def test_every_fine_tuning_reads_the_layout_of_its_base(name):
    base, tunings = pretraining.base_run(name), pretraining.tunings(name)
    for tuning in tunings:
        run = tuning.base
        assert run.model.base == ("" if tuning.start == "from scratch" else base.digest())
        assert Shape.of(run.task.layout) == Shape.of(base.task.layout)
        assert run.model.but(base="", seed=0, inherits="all") == base.model
        assert run.task.no_op_share == pretraining.NO_OPS


def test_the_cipher_is_that_of_encrypted_rewriting():
    tunings = pretraining.tunings("smoke", "shift:2")
    ciphers = {tuning.work: tuning.base.task.cipher for tuning in tunings}
    assert ciphers == {"plain": "", "encrypted": "shift:2"}
    with pytest.raises(ValueError, match=r"cipher='rot13'"):
        pretraining.tunings("smoke", "rot13")


# The own base


def test_the_own_base_is_pre_trained_once_and_everything_is_fine_tuned_from_it(runs):
    tunings = pretraining.tunings("smoke")[:2]
    few = [replace(each, seeds=(0,)) for each in tunings]
    table = pretraining.measure("smoke", few, Serial())
    manifest = Store().manifest(pretraining.base_run("smoke"))
    assert table["start"].unique().tolist() == ["pre-trained", "from scratch"]
    assert {*table["kind"]} == {"has-op", "no-op"}
    assert len(table) == 2 * 2 * 2 * 2  # starts, sizes, splits, kinds
    assert ensure(pretraining.base_run("smoke"), Store()) == manifest
