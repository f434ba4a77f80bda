"""Notebook 15: the drills that a base is pre-trained on, and what is fine-tuned from it."""

import pytest

from unseen.model import Shape
from unseen.scales import SCALES
from unseen.studies import pretraining
from unseen.worlds.drills import DrillSpec

FEW = DrillSpec(instructions=40, unseen_instructions=20, examples=120)


def test_arguments_of_unseen_drills_are_in_no_training_drill():
    split = FEW.split()
    seen, unseen = ({drill.argument for drill in part} for part in split)
    assert seen & unseen == set()
    assert len(seen) == 40
    assert {drill.name for drill in split.unseen} <= {drill.name for drill in split.seen}


@pytest.mark.parametrize("name", SCALES)
def test_every_fine_tuning_reads_the_layout_of_its_base(name):
    base, tunings = pretraining.base_run(name), pretraining.tunings(name)
    for tuning in tunings:
        run = tuning.base
        assert run.model.base == ("" if tuning.start == "from scratch" else base.digest())
        assert Shape.of(run.task.layout) == Shape.of(base.task.layout)
        assert run.model.but(base="", seed=0, inherits="all") == base.model
        assert run.task.no_op_share == pretraining.NO_OPS


def test_near_the_step_each_seed_has_a_base_of_its_own():
    """That of seed 0 is the one of all other tunings."""
    one, *others = pretraining.near_the_step("full")
    assert [run.model.base for run in one.runs()] == [base.digest() for base in one.bases]
    assert len({run.model.base for run in one.runs()}) == len(one.seeds) == 5
    assert all(each.bases == one.bases for each in others)
    assert one.bases[0] == pretraining.base_run("full")


def test_the_cipher_is_that_of_encrypted_rewriting():
    tunings = pretraining.tunings("smoke", "shift:2")
    ciphers = {tuning.work: tuning.base.task.cipher for tuning in tunings}
    assert ciphers == {"plain": "", "encrypted": "shift:2"}
    with pytest.raises(ValueError, match=r"cipher='rot13'"):
        pretraining.tunings("smoke", "rot13")
