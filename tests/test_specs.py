"""Specs refuse the impossible by name, and their digest is theirs alone."""

import json
import os
import subprocess
import sys
import time
from dataclasses import FrozenInstanceError, fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strategies import tasks
from unseen.delia.spec import TuningSpec
from unseen.specs import EvaluationSpec, ModelSpec, RunSpec, TaskSpec, TrainingSpec, differences

PARTS = {"task": TaskSpec, "model": ModelSpec, "training": TrainingSpec, "evaluation": EvaluationSpec}
FIELDS = [(part, field) for part, cls in PARTS.items() for field in fields(cls)]
NAMES = [f"{part}.{field.name}" for part, field in FIELDS]

REFUSED = [
    *[(TaskSpec, {name: 0}, "at least 1") for name in ("instructions", "examples", "pattern_length",
      "replacement_length", "input_length", "occurrences", "unseen_instructions")],
    (TaskSpec, {"rule_seed": -1}, "at least 0"),
    (TaskSpec, {"example_seed": -1}, "at least 0"),
    (TaskSpec, {"no_op_share": -0.1}, "at least 0 and at most 1"),
    (TaskSpec, {"no_op_share": 1.1}, "at least 0 and at most 1"),
    (TaskSpec, {"no_op_share": float("nan")}, "at least 0 and at most 1"),
    (TaskSpec, {"alphabet": ""}, "at least one letter"),
    (TaskSpec, {"alphabet": "abca"}, "each once"),
    (TaskSpec, {"alphabet": "ab="}, "not '='"),
    (TaskSpec, {"alphabet": "ab c."}, "not ' .'"),
    (TaskSpec, {"alphabet": "".join(map(chr, range(0x4E00, 0x4E00 + 201)))}, "at most 200"),
    (TaskSpec, {"pattern_length": 11}, "input_length=10"),
    (TaskSpec, {"occurrences": 4}, "4 pattern.* input_length=10"),
    (TaskSpec, {"examples": 10**13}, "at most 1e.12"),
    (TaskSpec, {"input_length": 100_001}, "at most 100000"),
    (TaskSpec, {"no_op_share": 10**400}, "no such number"),
    (ModelSpec, {"layers": 10**6}, "at most 1000"),
    (ModelSpec, {"width": 10**9}, "at most 100000"),
    (TaskSpec, {"examples": 999}, "instructions=1000"),
    (TaskSpec, {"no_op_share": 0.5, "alphabet": "a"}, "one letter"),
    (TaskSpec, {"instructions": 15_577, "examples": 15_577}, "only 17576 strings .* unseen_instructions=1000"),
    (TaskSpec, {"unseen_instructions": 25, "replacement_length": 1}, "only 26 strings of replacement_length=1"),
    (ModelSpec, {"recipe": "gpt3"}, "modern, gpt2"),
    *[(ModelSpec, {name: 0}, "at least 1") for name in ("layers", "width", "heads", "mlp_ratio")],
    (ModelSpec, {"seed": -1}, "at least 0"),
    (ModelSpec, {"width": 60, "heads": 4}, "2 x heads=4"),
    *[(TrainingSpec, {name: 0}, "at least 1") for name in ("steps", "batch", "evaluate_every", "checkpoint_every")],
    (TrainingSpec, {"learning_rate": 0.0}, "at least 1e-08 and at most 1"),
    (TrainingSpec, {"learning_rate": 1.5}, "at most 1"),
    (TrainingSpec, {"matrix_learning_rate": -0.1}, "at least 0"),
    (TrainingSpec, {"weight_decay": -0.1}, "at least 0"),
    (TrainingSpec, {"decay_share": 1.1}, "at most 1"),
    *[(TrainingSpec, {name: float("nan")}, "at least")
      for name in ("learning_rate", "matrix_learning_rate", "weight_decay", "decay_share")],
    (TrainingSpec, {"learning_rate": float("inf")}, "at most 1"),
    (EvaluationSpec, {"examples": 0}, "at least 1"),
    (EvaluationSpec, {"seed": -1}, "at least 0"),
    (TaskSpec, {"also_occurrences": "2,"}, "numbers from 1 on"),
    (TaskSpec, {"also_occurrences": "0"}, "numbers from 1 on"),
    (TaskSpec, {"also_occurrences": "4"}, "4 pattern"),
    (TaskSpec, {"also_occurrences": "2,1"}, "each number once, and not occurrences=1 again"),
    (TaskSpec, {"also_occurrences": "2,2"}, "each number once"),
    (TaskSpec, {"cipher": "rot13"}, "shift:NUMBER"),
    (ModelSpec, {"base": "mine"}, "sixteen hexadecimal digits"),
    (TaskSpec, {"family": "odd"}, "known families are random, repeated, periodic, mirrored, mixed"),
    (TaskSpec, {"k_low": 4, "family": "mixed"}, "at most 3"),
    (TaskSpec, {"k_high": 4, "family": "mixed"}, "at most 3"),
    (TaskSpec, {"k_high": 2}, "random rules have no k"),
    (TaskSpec, {"instructions": 700, "family": "mixed", "k_low": 3, "k_high": 3}, "only 78 strings"),
]  # fmt: skip


@pytest.mark.parametrize(("cls", "values", "bound"), REFUSED)
def test_an_impossible_value_is_refused_by_name_value_and_bound(cls, values, bound):
    name, value = next(iter(values.items()))
    with pytest.raises(ValueError, match=bound) as refused:
        cls(**values)
    assert str(refused.value).startswith(f"{cls.__name__}.{name}={value!r}"[:200])
    with pytest.raises(ValueError, match=bound):
        cls().but(**values)


@pytest.mark.parametrize(
    "values",
    [
        {"instructions": 15_576, "examples": 15_576},  # every string is taken: 15,576 + 2 x 1,000 = 26^3
        {"pattern_length": 10},
        {"pattern_length": 2, "occurrences": 5, "unseen_instructions": 10, "instructions": 600},
        {"no_op_share": 1.0},
        {"alphabet": "".join(map(chr, range(0x4E00, 0x4E00 + 200)))},
        {"replacement_length": 1, "unseen_instructions": 24},
        {"alphabet": "ab", "pattern_length": 2, "replacement_length": 2, "instructions": 2, "unseen_instructions": 1},
    ],
)
def test_the_last_possible_value_is_taken(values):
    assert TaskSpec(**values).but() == TaskSpec(**values)


@pytest.mark.parametrize(("part", "field"), FIELDS, ids=NAMES)
def test_a_value_of_the_wrong_type_is_refused(part, field):
    wrong = {int: (True, 1.0, "1", None), float: (True, "0.5", None), str: (1, None, ["a"])}[field.type]
    for value in wrong:
        with pytest.raises(
            ValueError, match=rf"^{PARTS[part].__name__}\.{field.name}=.*expected {field.type.__name__}, got"
        ):
            PARTS[part](**{field.name: value})


def test_a_part_of_the_wrong_type_is_refused():
    with pytest.raises(ValueError, match=r"^RunSpec\.model=.*expected ModelSpec, got TaskSpec"):
        RunSpec(model=TaskSpec())


def test_specs_cannot_be_changed_in_place():
    with pytest.raises(FrozenInstanceError):
        TaskSpec().examples = 1


def test_evaluation_and_training_examples_must_have_different_seeds():
    with pytest.raises(ValueError, match=r"^EvaluationSpec\.seed=7: must differ from TaskSpec\.example_seed"):
        RunSpec(task=TaskSpec(example_seed=7), evaluation=EvaluationSpec(seed=7))
    with pytest.raises(ValueError, match=r"EvaluationSpec\.seed=1000000"):
        RunSpec().with_seed(1_000_000)


def other(field):
    """A possible value that is not the default."""
    special = {"recipe": "gpt2", "alphabet": "abcdefghijklmnopqrstuvwxyz0", "width": 72, "heads": 2, "also_occurrences": "2",
               "cipher": "shift:1", "base": 16 * "a", "family": "repeated", "trains": "token",
               "inherits": "softened"}  # fmt: skip
    if field.name in special:
        return special[field.name]
    if field.type is float:
        return 0.25 if field.default == 0.5 else 0.5
    return field.default + 1


@pytest.mark.parametrize(("part", "field"), FIELDS, ids=NAMES)
def test_the_digest_feels_every_field(part, field):
    base = PARTS[part]()
    if field.name in ("k_low", "k_high"):  # of a family only
        base = TaskSpec(instructions=100, unseen_instructions=100, family="mixed", k_high=2)
    beside = {}
    if field.name in ("trains", "token_rate", "kl", "pull", "rank"):  # of fine-tuning with a new token only
        base = base.but(matrix_learning_rate=0.0)
        beside = {"task": TuningSpec(), "model": ModelSpec(base=16 * "a")}
    if field.name == "inherits":  # from a base only
        base = base.but(base=16 * "a")
    if field.name == "rank":  # of an adapter only
        base = base.but(matrix_learning_rate=0.0, trains="adapter")
    changed = RunSpec(**{part: replace(base, **{field.name: 2 if field.name == "k_low" else other(field)})}, **beside)
    if field.name == "k_high":
        changed = RunSpec(task=base.but(k_high=3))
    assert changed != RunSpec(**{part: base}, **beside)
    assert changed.digest() != RunSpec(**{part: base}, **beside).digest()


def test_a_field_that_came_later_changes_no_digest_at_its_default():
    assert RunSpec().digest() == "63e2e3d319c927f3"  # of the first stored runs


@pytest.mark.parametrize("hash_seed", ["0", "1"])
def test_the_digest_is_the_same_in_every_process(hash_seed):
    code = "from unseen.specs import RunSpec; print(RunSpec().digest())"
    said = subprocess.run([sys.executable, "-c", code], env={**os.environ, "PYTHONHASHSEED": hash_seed},
                          capture_output=True, text=True, check=True).stdout.strip()  # fmt: skip
    assert said == RunSpec().digest()
    assert len(said) == 16
    assert int(said, 16) >= 0


def test_equal_specs_have_equal_digests():
    for same in (TaskSpec(no_op_share=0), TaskSpec(no_op_share=-0.0), TaskSpec().but()):
        assert RunSpec(task=same) == RunSpec()
        assert RunSpec(task=same).digest() == RunSpec().digest()


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


@pytest.mark.parametrize("part", [None, *PARTS])
def test_unknown_and_missing_fields_are_named(part):
    data = RunSpec().to_dict()
    where = data if part is None else data[part]
    title = "RunSpec" if part is None else PARTS[part].__name__
    name, value = next(iter(where.items()))
    where["colour"] = 1
    with pytest.raises(ValueError, match=rf"^{title}: unknown or missing \['colour'\].*'{name}'"):
        RunSpec.from_dict(data)
    del where["colour"], where[name]
    with pytest.raises(ValueError, match=rf"^{title}: unknown or missing \['{name}'\]"):
        RunSpec.from_dict(data)
    where[name] = value
    assert RunSpec.from_dict(data) == RunSpec()


def test_a_bad_value_in_stored_data_is_refused():
    data = RunSpec().to_dict()
    data["model"]["width"] = 61
    with pytest.raises(ValueError, match=r"^ModelSpec\.width=61"):
        RunSpec.from_dict(data)


def test_with_seed_changes_rules_examples_and_weights_but_not_the_evaluation():
    run = RunSpec().with_seed(5)
    assert (run.task.rule_seed, run.task.example_seed, run.model.seed) == (5, 5, 5)
    assert run.evaluation == RunSpec().evaluation
    assert run.with_seed(0) == RunSpec()


@pytest.mark.parametrize(
    ("values", "length"),
    [
        ({}, 10),
        ({"replacement_length": 5}, 12),
        ({"replacement_length": 1, "unseen_instructions": 9}, 8),
        ({"replacement_length": 1, "unseen_instructions": 9, "no_op_share": 0.1}, 10),
        ({"replacement_length": 5, "no_op_share": 0.1}, 12),
    ],
)
def test_the_longest_answer(values, length):
    assert TaskSpec(**values).output_length == length


@pytest.mark.parametrize("part", [None, 3, "text", [], [["steps", 3]]])
def test_a_part_that_is_no_dictionary_is_refused(part):
    with pytest.raises(ValueError, match="TrainingSpec: expected fields"):
        RunSpec.from_dict(RunSpec().to_dict() | {"training": part})
    with pytest.raises(ValueError, match="RunSpec: expected fields"):
        RunSpec.from_dict(part)


def test_differences_name_fields_that_one_side_lacks():
    old, new = RunSpec().to_dict(), RunSpec().but(model=ModelSpec(width=96)).to_dict()
    del old["task"]["occurrences"]
    assert differences(old, new) == ["model.width: 64 before, 96 now", "task.occurrences: nothing before, 1 now"]
    assert differences(new, new) == []


def test_differences_are_told_short_whatever_is_compared():
    now = RunSpec().to_dict()
    odd = {
        **now,
        "task": {**now["task"], "alphabet": "x" * 10**6, "a\nb" * 99: 1},
        "x": dict.fromkeys(map(str, range(999))),
    }
    told = differences(odd, now)
    assert len(told) == 51
    assert told[-1] == "and 951 more"
    assert max(map(len, told)) < 600
    assert all(line.isprintable() for line in told)


@pytest.mark.parametrize("spec", [None, 3, "text", [], {"task": []}, {"task": None}, [[1, 2]]])
def test_what_has_not_the_form_of_a_spec_has_no_differences(spec):
    with pytest.raises(ValueError, match="expected the fields of a run, got"):
        differences(spec, RunSpec().to_dict())


def test_unknown_letters_and_fields_are_cut_in_the_message():
    with pytest.raises(ValueError, match=r"letters and digits are allowed, not '.*\.\.\.$") as refused:
        TaskSpec(alphabet="".join(map(chr, range(0xE000, 0xE000 + 2_000))))
    assert len(str(refused.value)) < 1_000
    with pytest.raises(ValueError, match=r"unknown or missing .*\.\.\.; the fields are") as refused:
        RunSpec.from_dict(RunSpec().to_dict() | dict.fromkeys(map(str, range(10_000))))
    assert len(str(refused.value)) < 1_000


def test_the_longest_strings_are_counted_soon():
    """A table of many rows asks this of each: as a power of 26 it took 15 ms."""
    long = {"pattern_length": 50_000, "replacement_length": 100_000, "input_length": 100_000}
    began = time.process_time()
    for seed in range(1_000):
        TaskSpec(rule_seed=seed, **long)
    assert time.process_time() - began < 3
    with pytest.raises(ValueError, match="only 1 strings of pattern_length=100000 exist"):
        TaskSpec(alphabet="a", **long | {"pattern_length": 100_000})
    most = {"instructions": 10**12, "examples": 10**12, "unseen_instructions": 10**12}
    assert TaskSpec(alphabet="ab", **long, **most).instructions == 10**12


def test_a_giant_value_is_cut_in_the_message():
    with pytest.raises(ValueError, match=r"alphabet='a+\.\.\.: must hold") as refused:
        TaskSpec(alphabet="a" * 10_000)
    assert len(str(refused.value)) < 500
    with pytest.raises(ValueError, match="a very large number"):
        TaskSpec(no_op_share=10**5_000)
