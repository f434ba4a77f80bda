"""Task worlds beside string rewriting: texts of any length, from their spec to a finished run in the store."""

import hashlib
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
import torch

from trainers import SMALL
from unseen import specs, sweep, worlds
from unseen.datasets import Examples
from unseen.delia.spec import LanguageSpec, TuningSpec
from unseen.disk.files import BrokenRun
from unseen.domains.spec import DomainSpec
from unseen.encoding import TextEncoding, layout_of
from unseen.pretrained.spec import DrillSpec
from unseen.running.workers import Serial
from unseen.specs import EvaluationSpec, ModelSpec, RunSpec, TaskSpec, TrainingSpec
from unseen.store import Store
from unseen.sweep import ensure, frame
from unseen.tapes.spec import TapeSpec
from unseen.tasks import TextTask
from unseen.training import batch_rows, start
from unseen.worlds import World, data_of


@dataclass(frozen=True)
class EchoSpec(TextTask):
    """Say a word again: a world for this file alone."""

    world: str = "echo"
    instructions: int = 2
    unseen_instructions: int = 2
    examples: int = 64
    rule_seed: int = 0
    example_seed: int = 0
    letters: ClassVar[str] = "ab"
    prompt_length: ClassVar[int] = 6
    answer_length: ClassVar[int] = 5


def echoes(task, words):
    encoding = layout_of(task)
    prompts, answers = encoding.prompts([f"{word}=" for word in words]), encoding.answers(words)
    return Examples(encoding, prompts, answers, np.zeros(len(words), np.int32), np.ones(len(words), bool))


@pytest.fixture
def echo(monkeypatch):
    world = World(
        lambda task: ["a", "bab"],
        lambda task, split: echoes(task, split * (task.examples // 2)),
        lambda task, split, evaluation: {name: echoes(task, split) for name in ("seen", "unseen")},
    )
    monkeypatch.setitem(specs.TASKS, "echo", EchoSpec)
    monkeypatch.setitem(worlds.WORLDS, EchoSpec, world)
    return SMALL.but(task=EchoSpec())


def test_a_run_of_another_world_is_named_stored_and_read_again(echo, tmp_path):
    assert RunSpec.from_dict(echo.to_dict()) == echo
    assert echo.digest() != SMALL.digest()
    store = Store(tmp_path)
    table = frame([echo, SMALL], store, Serial())
    assert table["instructions"].tolist() == [2, 2, 3, 3]
    assert store.model(echo).shape.context == layout_of(echo.task).context == 10
    assert store.manifest(echo)["digest"] == echo.digest()


def test_a_world_that_nobody_knows_is_refused_by_name(echo, monkeypatch):
    stored = echo.to_dict()
    monkeypatch.delitem(specs.TASKS, "echo")
    with pytest.raises(ValueError, match=r"task\.world='echo': known worlds are"):
        RunSpec.from_dict(stored)


def test_a_missing_field_of_another_world_is_told(echo):
    stored = echo.to_dict()
    del stored["task"]["examples"]
    with pytest.raises(ValueError, match=r"EchoSpec: unknown or missing \['examples'\]"):
        RunSpec.from_dict(stored)


def test_texts_are_filled_up_where_they_are_not_read(echo):
    training = data_of(echo).training
    assert training.encoding.text(training.prompts[0]) == "····a="
    assert training.encoding.text(training.answers[1]) == "bab.."
    assert [training.texts(i) for i in range(2)] == [("a=", "a"), ("bab=", "bab")]


@pytest.mark.parametrize(("prompt", "answer", "told"), [
    ("abcabc", "a", "no token for 'c'"), ("abababa", "a", "7 tokens, but this model has 6"),
    ("a", "bbbbb", "answer 'bbbbb.': 6 tokens"), ("a", "é", "answer: no token for 'é'"), ("a", "\U0001f431", "no token"),
])  # fmt: skip
def test_what_does_not_fit_is_told(prompt, answer, told):
    encoding = TextEncoding("ab", 6, 5)
    with pytest.raises(ValueError, match=told):
        encoding.prompts([prompt]), encoding.answers([answer])


def test_fine_tuning_starts_from_the_weights_of_its_base(tmp_path):
    store = Store(tmp_path)
    ensure(SMALL, store)
    tuned = SMALL.but(task=SMALL.task.but(example_seed=5), model=SMALL.model.but(base=SMALL.digest()),
                      training=SMALL.training.but(steps=1, learning_rate=1e-8, matrix_learning_rate=0.0))  # fmt: skip
    ensure(tuned, store)
    before, after = store.model(SMALL).state_dict(), store.model(tuned).state_dict()
    assert all((before[name] - after[name]).abs().max() < 1e-6 for name in before)


@pytest.mark.parametrize("how", ["softened", "rescaled"])
def test_a_changed_base_has_matrices_of_the_size_of_fresh_ones(how, tmp_path):
    store = Store(tmp_path)
    ensure(SMALL, store)
    tuned = SMALL.but(task=SMALL.task.but(example_seed=5), model=SMALL.model.but(base=SMALL.digest(), inherits=how))
    base, fresh, begun_with = (each.state_dict() for each in (
        store.model(SMALL), start(tuned).model, sweep.begun(tuned, store, "cpu").model))  # fmt: skip
    for name, weight in begun_with.items():
        wanted = fresh[name] if how == "rescaled" or name[-2:] in (".q", ".k") else base[name]
        assert torch.isclose(weight.norm(), wanted.norm()), name
        assert not weight.any() or torch.allclose(weight / weight.norm(), base[name] / base[name].norm()), name
    assert ensure(tuned, store)["digest"] == tuned.digest()


def test_nothing_is_inherited_without_a_base_nor_changed_where_it_is_not_known_how():
    with pytest.raises(ValueError, match=r"ModelSpec\.inherits='softened': only a run with a ModelSpec\.base"):
        RunSpec(model=ModelSpec(inherits="softened"))
    with pytest.raises(ValueError, match="recipe='gpt2' takes weights over as they are"):
        ModelSpec(recipe="gpt2", inherits="softened")


def test_a_base_that_is_not_there_broken_or_of_another_form_is_refused(tmp_path):
    store = Store(tmp_path)
    tuned = SMALL.but(model=SMALL.model.but(base=SMALL.digest()))
    with pytest.raises(KeyError, match=f"starts from {SMALL.digest()}, which is not in .*; train that first"):
        ensure(tuned, store)
    ensure(SMALL, store)
    with pytest.raises(ValueError, match=f"ModelSpec.base={SMALL.digest()}: a model of another form"):
        ensure(tuned.but(task=TaskSpec(alphabet="abcdefgh", instructions=3, unseen_instructions=3, examples=64)), store)
    (store.folder(SMALL) / "spec.json").write_text("{}")
    with pytest.raises(BrokenRun, match="is not the spec of a run"):
        ensure(tuned, store)


# What a digest stands for

FEW = {"instructions": 20, "unseen_instructions": 20, "examples": 200}
TASKS = {
    "rewriting": TaskSpec(**FEW),
    "no-ops": TaskSpec(**FEW, no_op_share=0.3, also_occurrences="2", input_length=12, cipher="shift:1"),
    "long tail": TaskSpec(**FEW, concentration=0.3),
    "families": TaskSpec(**FEW, family="mixed", pattern_length=6, replacement_length=6, input_length=20, k_low=2, k_high=3),
    "tapes": TapeSpec(**FEW), "drills": DrillSpec(**FEW),
    "domains": DomainSpec(letter_examples=500, algebra_examples=500, list_examples=500, unseen_instructions=20),
    "language": LanguageSpec(examples=300), "replay": TuningSpec(ratio=2, diverse="replay"),
    "reference": TuningSpec(ratio=2, diverse="reference"), "narrow": TuningSpec(ratio=2, diverse="narrow"),
    "paraphrases": TuningSpec(ratio=2, diverse="paraphrases", operations=3, names="both", after=True),
}  # fmt: skip
DRAWN = {  # digest of the run, hash of what is drawn
    "rewriting": ("673f9165e62cff9f", "23c163e90ba9"),
    "no-ops": ("199583aaddeddec2", "317fdd105eea"),
    "long tail": ("b3d6dfc8a6c4e7d9", "6beeeb34ee1d"),
    "families": ("9865b707c1e3098e", "5610057ac730"),
    "tapes": ("9684f71de80de54c", "851d16730881"),
    "drills": ("39234226b55325ae", "89863208bbec"),
    "domains": ("4aaf76b87f3dceda", "b95423c47b51"),
    "language": ("1a06d0cae8a0a180", "9c1f58733c49"),
    "replay": ("725fd25c968e19c9", "6b091d8479de"),
    "reference": ("8163c0f9b42cbe4e", "2dde11f511af"),
    "narrow": ("078f204f50ae00d4", "f4e69a4cc28e"),
    "paraphrases": ("9a6f360604919e32", "69111cecc28e"),
}


def drawn(spec):
    """A hash of all that a run reads: its examples, the order in which the first steps take them, and its evaluation."""
    data, found = data_of(spec), hashlib.sha256()
    for examples in (data.training, *data.evaluation.values()):
        found.update(examples.tokens().tobytes())
    for step in range(2 * spec.task.examples // spec.training.batch):
        found.update(batch_rows(spec.task, spec.training, step).astype(np.int64).tobytes())
    return found.hexdigest()[:12]


@pytest.mark.parametrize("name", TASKS)
def test_a_digest_stands_for_the_same_data_for_ever(name):
    """A spec that draws something else needs another digest: stored runs would answer for data that they never saw.

    Where only NumPy is new and its generators draw otherwise (it does not promise that they never will), the stored runs
    are of the older one, and so is ``DRAWN``.
    """
    spec = RunSpec(TASKS[name], training=TrainingSpec(batch=64), evaluation=EvaluationSpec(50))
    assert (spec.digest(), drawn(spec)) == DRAWN[name], f"drawn by NumPy {np.__version__}; DRAWN is of 2.4.6"
