"""Specs refuse the impossible by name, and their digest is theirs alone."""

import json
import os
import subprocess
import sys
from dataclasses import fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strategies import tasks
from unseen import worlds
from unseen.specs import EvaluationSpec, ModelSpec, RunSpec, TrainingSpec, differences
from unseen.worlds import TaskSpec, TuningSpec

PARTS = {"task": TaskSpec, "model": ModelSpec, "training": TrainingSpec, "evaluation": EvaluationSpec}
FIELDS = [(part, field) for part, cls in PARTS.items() for field in fields(cls)]
NAMES = [f"{part}.{field.name}" for part, field in FIELDS]
BASE = 16 * "a"
NAN, MANY = float("nan"), "".join(map(chr, range(0x4E00, 0x4E00 + 201)))
POOL = {"instructions": 30, "examples": 40, "unseen_instructions": 20}
REFUSED = [
    (TaskSpec, {"instructions": 0}, "or equal to 1"),
    (TaskSpec, {"rule_seed": -1}, "or equal to 0"),
    *[(TaskSpec, {"no_op_share": value}, "number|equal to") for value in (1.1, NAN, 10**400)],
    (TaskSpec, {"alphabet": ""}, "at least 1 letter"),
    (TaskSpec, {"alphabet": "abca"}, "each once"),
    (TaskSpec, {"alphabet": "ab="}, "not '='"),
    (TaskSpec, {"alphabet": MANY}, "at most 200"),
    (TaskSpec, {"pattern_length": 11}, "input_length=10"),
    (TaskSpec, {"occurrences": 4}, "4 pattern.* input_length=10"),
    (TaskSpec, {"examples": 999}, "instructions=1000"),
    (TaskSpec, {"no_op_share": 0.5, "alphabet": "a"}, "one letter"),
    (TaskSpec, {"instructions": 15_577, "examples": 15_577}, "only 17576 strings .* unseen_instructions="),
    (TaskSpec, {"unseen_instructions": 25, "replacement_length": 1}, "only 26 strings of replacement_len"),
    (TaskSpec, {"also_occurrences": "2,"}, "numbers from 1 on"),
    (TaskSpec, {"also_occurrences": "4"}, "4 pattern"),
    (TaskSpec, {"decoys": 1}, "input_length=10 must hold 2 patterns"),
    (TaskSpec, {"decoys": 1, "input_length": 32, "occurrences": 5}, "all further occurrences"),
    (TaskSpec, {"decoys": 1, "input_length": 32, "no_op_share": 0.1}, "cannot have them"),
    (TaskSpec, {"decoys": 1, "input_length": 32, "unseen_instructions": 1}, "at least 2 of each"),
    (TaskSpec, {"decoys_at": "anywhere"}, "there are no decoys"),
    (TaskSpec, {"decoys_at": "nowhere"}, "known are first third, anywhere"),
    (TaskSpec, {"decoys_at": "anywhere", "decoys": 1, "input_length": 20, "occurrences": 2}, "first third"),
    (TaskSpec, {"decoys": 3, "decoys_at": "anywhere"}, "input_length=10 must hold 4 patterns"),
    (TaskSpec, {"also_occurrences": "2,1"}, "each number once, and not occurrences=1 again"),
    (TaskSpec, {"cipher": "rot13"}, "shift:NUMBER"),
    (TaskSpec, {"family": "odd"}, "known are random, repeated, periodic, mirrored, mixed"),
    *[(TaskSpec, {name: 4, "family": "mixed"}, "at most 3") for name in ("k_low", "k_high")],
    (TaskSpec, {"k_high": 2}, "random rules have no k"),
    (TaskSpec, {"instructions": 700, "family": "mixed", "k_low": 3, "k_high": 3}, "only 78 strings"),
    (ModelSpec, {"recipe": "gpt3"}, "modern, gpt2"),
    (ModelSpec, {"width": 60, "heads": 4}, "2 x heads=4"),
    (ModelSpec, {"base": "mine"}, "sixteen hexadecimal digits"),
    (ModelSpec, {"inherits": "softened", "recipe": "gpt2"}, "recipe='gpt2' inherits all weights as they are"),
    (ModelSpec, {"look_back": 1, "recipe": "gpt2"}, "only modern has it, this is 'gpt2'"),
    (ModelSpec, {"prompt_attention": "causal", "recipe": "gpt2"}, "only modern has it, this is 'gpt2'"),
    (TrainingSpec, {"learning_rate": 0.0}, "greater than or equal to 0.00000001"),
    (TaskSpec, {"position": "beside"}, "known are before, behind, both, mixed"),
    (worlds.PoolSpec, {"position": "behind"}, "lines of a pool have none: expected 'before'"),
    (worlds.PoolSpec, {"decoys": 1}, "lines of a pool have none"),
    (worlds.PoolSpec, {"pool": 39, **POOL}, "at least 40"),
    (worlds.PoolSpec, {"near": 0.9, "pool": 200, **POOL}, "at most 0.85"),
    (worlds.RequestsSpec, {"examples": 500, "pool": 400}, "at most 400"),
    (worlds.OperationsSpec, {"instructions": 13}, "less than or equal to 12"),
    (worlds.ContextSpec, {"letters": "abA"}, "must be lower-case"),
    (worlds.ContextSpec, {"letters": "aab"}, "each once"),
    (worlds.ContextSpec, {"instructions": 49}, "at most 48"),
    (worlds.ContextSpec, {"pattern_length": 4}, "at most 3"),
    (worlds.DomainSpec, {"counts": "chess"}, "known are letters, algebra, lists"),
    (worlds.DomainSpec, {"counts": "lists"}, "needs examples of its own"),
    (worlds.DomainSpec, {"world": ""}, "known are domains"),
    (worlds.DomainSpec, {"algebra_examples": 3}, "fewer than algebra_instructions=40"),
    (worlds.DomainSpec, {"letter_instructions": 2_000}, "less than or equal to 1000"),
    (worlds.DrillSpec, {"examples": 39}, "fewer than instructions=2600"),
    (worlds.DrillSpec, {"alphabet": "a"}, "at least 2 letter"),
    (worlds.DrillSpec, {"alphabet": "abca"}, "each once"),
    (worlds.DrillSpec, {"alphabet": MANY}, "at most 200 letters"),
    (worlds.TapeSpec, {"longest_pattern": 17}, "must be at least 1 and at most 16"),
    (worlds.TapeSpec, {"most_letters": 27}, "at most 26"),
    (worlds.TapeSpec, {"alphabet": "a|"}, "only letters and digits"),
    (worlds.TapeSpec, {"examples": 3}, "fewer than instructions"),
    *[(worlds.FactsSpec, {"facts": value}, "equal to|integer") for value in (2, 31, "20")],
    (worlds.DialectSpec, {"certain": 0, "shared": 0, "corrupted": 0}, "there must be a compound"),
    (worlds.DialectSpec, {"examples": 3}, "fewer than instructions=24"),
    (TuningSpec, {"paraphrases": 101}, "at most 100"),
    (TuningSpec, {"operations": 8}, "less than or equal to 7"),
    (TuningSpec, {"diverse": "some"}, "known are self, reference"),
    (TuningSpec, {"names": "three"}, "known are one, two, both"),
    (TuningSpec, {"source": BASE}, "nothing is sampled"),
]


@pytest.mark.parametrize(("cls", "values", "bound"), REFUSED)
def test_an_impossible_value_is_refused_by_name_value_and_bound(cls, values, bound):
    name, value = next(iter(values.items()))
    with pytest.raises(ValueError, match=bound) as refused:
        cls(**values)
    assert str(refused.value).startswith(f"{cls.__name__}.{name}={value!r}"[:200])
    with pytest.raises(ValueError, match=bound):
        cls().but(**values)


@pytest.mark.parametrize("values", [
    {"instructions": 15_576, "examples": 15_576},  # every string is taken: 15,576 + 2 x 1,000 = 26^3
    {"pattern_length": 10}, {"no_op_share": 1.0}, {"replacement_length": 1, "unseen_instructions": 24},
    {"pattern_length": 2, "occurrences": 5, "unseen_instructions": 10, "instructions": 600},
    {"decoys": 1, "input_length": 20, "occurrences": 3, "instructions": 2, "unseen_instructions": 2},
    {"decoys": 2, "decoys_at": "anywhere"},  # nine letters of ten
])  # fmt: skip
def test_the_last_possible_value_is_taken(values):
    assert TaskSpec(**values).but() == TaskSpec(**values)


def test_all_problems_are_told_at_once_and_unknown_fields_by_name():
    with pytest.raises(ValueError, match="width") as refused:
        ModelSpec(width=0, layers="two", colour="red")
    lines = str(refused.value).splitlines()
    named = [line.split(":")[0] for line in lines]
    assert named == ["ModelSpec.layers='two'", "ModelSpec.width=0", "ModelSpec.colour"]
    assert "unknown field; the fields are recipe, layers" in lines[-1]
    with pytest.raises(ValueError, match=r"^RunSpec\.model=.*instance of ModelSpec"):
        RunSpec(model=TaskSpec())
    with pytest.raises(ValueError, match=r"^EvaluationSpec\.seed=7: must differ from the task's"):
        RunSpec(task=TaskSpec(example_seed=7), evaluation=EvaluationSpec(seed=7))


@pytest.mark.parametrize(("training", "model", "message"), [
    ({"kl": 1.0}, {}, r"only a run with a ModelSpec\.base has it"),
    ({}, {"inherits": "softened"}, "no ModelSpec.base"),
    ({"trains": "adapter"}, {}, r"only a run with a ModelSpec\.base has one"),
    ({"token_rate": 0.1}, {"base": BASE}, "this task has no new token"),
    ({"trains": "token"}, {"base": BASE}, "this task has no new token"),
])  # fmt: skip
def test_what_only_fine_tuning_has_is_refused_elsewhere(training, model, message):
    with pytest.raises(ValueError, match=message):
        RunSpec(model=ModelSpec(**model), training=TrainingSpec(matrix_learning_rate=0.0, **training))


def other(field):
    """A possible value that is not the default."""
    special = {"recipe": "gpt2", "alphabet": "abcdefghijklmnopqrstuvwxyz0", "width": 72, "heads": 2,
               "also_occurrences": "2", "cipher": "shift:1", "family": "repeated", "k_low": 2, "k_high": 3,
               "trains": "token", "inherits": "softened", "base": BASE,
               "decoys_at": "anywhere", "position": "behind", "prompt_attention": "causal"}  # fmt: skip
    if field.name in special:
        return special[field.name]
    if isinstance(field.default, float):
        return 0.25 if field.default == 0.5 else 0.5
    return field.default + 1


@pytest.mark.parametrize(("part", "field"), FIELDS, ids=NAMES)
def test_the_digest_depends_on_every_field(part, field):
    base, more = PARTS[part](), {}
    if field.name in ("k_low", "k_high"):  # of a family only
        base = TaskSpec(instructions=100, unseen_instructions=100, family="mixed", k_high=2)
    if field.name in ("trains", "token_rate", "kl", "pull", "rank"):  # of fine-tuning with a new token only
        base = base.but(matrix_learning_rate=0.0, trains="adapter" if field.name == "rank" else "all")
        more = {"task": TuningSpec(), "model": ModelSpec(base=BASE)}
    if field.name.startswith("decoys"):
        base = base.but(input_length=20, decoys=0 if field.name == "decoys" else 1)
    if field.name == "inherits":
        base = base.but(base=BASE)
    changed = RunSpec(**{part: replace(base, **{field.name: other(field)})}, **more)
    assert changed.digest() != RunSpec(**{part: base}, **more).digest()


def test_equal_specs_have_equal_digests_in_every_process():
    for same in (TaskSpec(no_op_share=0), TaskSpec(no_op_share=-0.0), TaskSpec().but()):
        assert RunSpec(task=same) == RunSpec()
        assert RunSpec(task=same).digest() == RunSpec().digest() == "63e2e3d319c927f3"  # of the first runs
    code = "from unseen.specs import RunSpec; print(RunSpec().digest())"
    env = {**os.environ, "PYTHONHASHSEED": "1"}
    found = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    assert found.stdout == "63e2e3d319c927f3\n"


runs = st.builds(
    RunSpec,
    task=tasks(),
    model=st.builds(ModelSpec, recipe=st.sampled_from(["modern", "gpt2"]), seed=st.integers(0, 9)),
    training=st.builds(TrainingSpec, learning_rate=st.floats(1e-8, 1), decay_share=st.floats(0, 1)),
)


@given(runs)
def test_a_run_survives_json(run):
    again = RunSpec.from_dict(json.loads(json.dumps(run.to_dict())))
    assert again == run
    assert again.digest() == run.digest()


def test_stored_data_is_checked_field_by_field_and_may_lack_what_was_added_later():
    data = RunSpec().to_dict()
    for name in ("family", "cipher", "concentration"):
        del data["task"][name]
    assert RunSpec.from_dict(data) == RunSpec()
    data["model"] |= {"width": 61, "colour": 1}
    del data["training"]["steps"]
    with pytest.raises(ValueError, match="colour") as refused:
        RunSpec.from_dict(data)
    named = [line.split(":")[0] for line in str(refused.value).splitlines()]
    assert named == ["ModelSpec.colour", "TrainingSpec.steps"]


@pytest.mark.parametrize("data", [None, 3, "text", [], {"task": []}, [[1, 2]],
                                  {**RunSpec().to_dict(), "training": [["steps", 3]]},
                                  {**RunSpec().to_dict(), "colour": {}}])  # fmt: skip
def test_what_does_not_have_the_form_of_a_spec_is_refused(data):
    for read in (RunSpec.from_dict, lambda data: differences(data, RunSpec().to_dict())):
        with pytest.raises(ValueError, match="expected the fields task, model, training, evaluation, got"):
            read(data)


def test_with_seed_changes_rules_examples_and_weights_but_not_the_evaluation():
    run = RunSpec().with_seed(5)
    assert (run.task.rule_seed, run.task.example_seed, run.model.seed) == (5, 5, 5)
    assert run.evaluation == RunSpec().evaluation
    assert run.with_seed(0) == RunSpec()


def test_differences_name_fields_and_are_short_whatever_is_compared():
    old, new = RunSpec().to_dict(), RunSpec().but(model=ModelSpec(width=96)).to_dict()
    del old["task"]["occurrences"]
    expected = ["model.width: 64 before, 96 now", "task.occurrences: nothing before, 1 now"]
    assert differences(old, new) == expected
    odd = {**new, "task": {**new["task"], "alphabet": "x" * 10**6, "a\nb" * 99: 1}}
    found = differences(odd, new)
    assert len(found) == 2
    assert max(map(len, found)) < 600
    assert all(line.isprintable() for line in found)
