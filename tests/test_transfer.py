"""Notebooks 13 and 14: tests are what they say, with nothing trained on; no model is evaluated twice."""

import re
from itertools import count

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from trainers import SMALL
from unseen.runs.workers import Serial
from unseen.scales import Setting
from unseen.studies import readings, transfer
from unseen.worlds.rules import Instructions, strings_of

TASK = SMALL.task.but(
    pattern_length=4, replacement_length=4, input_length=6, instructions=40, family="mixed", k_low=2, k_high=4
)
FORM = {  # of strings of four letters, at k = 2
    "random": lambda x: True,
    "repeated": lambda x: x[0] == x[1] and x[2] == x[3],
    "periodic": lambda x: x[0] == x[2] and x[1] == x[3],
    "mirrored": lambda x: x[0] == x[3] and x[1] == x[2],
}


def test_rules_of_a_test_have_its_form_and_k_and_no_string_of_a_training_rule():
    split = TASK.split()
    tests = transfer.ByK((1, 2, 4)).of(TASK, split)
    found = {(columns["form"], columns["k"]): rules for columns, _, rules in tests}
    assert found.keys() >= {("random", 1), ("repeated", 2), ("periodic", 2), ("mirrored", 2)}
    for (form, k), rules in found.items():
        assert not strings_of(rules) & strings_of(split.seen)
        assert k > 2 or all(FORM[form](x) for side in (rules.patterns, rules.replacements) for x in side)


def test_where_training_used_all_strings_there_is_no_test():
    alike = np.repeat(np.arange(6, dtype=np.uint8), 4).reshape(6, 4)
    split = TASK.split()._replace(seen=Instructions(TASK.alphabet, alike, alike))
    assert list(transfer.ByK((4,)).of(TASK, split)) == []


def test_inputs_hold_the_pattern_as_often_as_the_test_says():
    task = SMALL.task.but(pattern_length=2, replacement_length=2, input_length=8, also_occurrences="2,3")
    split = task.split()
    assert transfer.ByOccurrences((1,)).trained(task) == {"trained": "1, 2, 3", "decoys": 0}
    for columns, world, rules in transfer.ByOccurrences((1, 2, 4)).of(task, split):
        assert rules is split.unseen
        examples = world.draw(rules, np.zeros(20, int), np.random.default_rng(0))
        found = {line.text.count(line.rule.pattern) for line in map(examples.line, range(20))}
        assert found == {columns["asked"]}


def test_seeds_above_chance_are_counted_by_their_own_intervals():
    rows = [(seed, k, accuracy) for seed, accuracy in ((0, 0.53), (1, 0.6)) for k in (1, 2)]
    made = pd.DataFrame(rows, columns=["seed", "k", "accuracy"]).assign(
        setting="mixed", family="mixed", k_low=3, k_high=4, instructions=100, form="x", examples=250, decoys=1
    )
    low = readings.lower_k(made)
    assert low["above"].tolist() == [False, True]  # 53 % of 500 may be chance
    assert low["beyond"].tolist() == pytest.approx([0.03, 0.1])
    old = readings.lower_k(made.drop(columns="decoys").assign(k_high=12))
    assert (len(old), old["chance"].iloc[0]) == (2, 1 / 9)  # one of nine places; k = 2 is left out
    assert len(readings.lower_k(made.assign(run=[np.nan, np.nan, "a", "a"]))) == 1


def test_every_model_is_evaluated_on_every_test(runs):
    setting = Setting("mine", SMALL.but(task=TASK), (20, 40), (0, 1))
    results = transfer.measure([setting], transfer.ByK((1, 2)), Serial(), size=30)
    assert len(results) == 2 * 2 * 4
    assert results.groupby(["instructions", "seed"])["run"].nunique().tolist() == [1] * 4
    assert results["accuracy"].between(results["low"], results["high"]).all()
    assert len(transfer.measure([setting], transfer.ByK(()), Serial())) == 0


def test_no_model_is_evaluated_twice_and_text_stays_text(runs, capsys):
    """``2`` is what was trained on, not a number; nor is a digest such as ``1234e567``."""
    task = SMALL.task.but(pattern_length=2, replacement_length=2, input_length=8, occurrences=2)
    base = SMALL.but(task=task)
    odd = next(seed for seed in count() if re.fullmatch(r"[0-9]+e[0-9]+", base.with_seed(seed).digest()))
    for left in (1, 0):
        setting = Setting("one", base, (task.instructions,), (odd,))
        results = transfer.measure([setting], transfer.ByOccurrences((1, 3)), Serial(), size=30)
        assert results["trained"].tolist() == ["2", "2"]
        assert results["run"].unique().tolist() == [base.with_seed(odd).digest()]
        assert f"{left} left" in capsys.readouterr().out.splitlines()[-1]
    (kept,) = (runs / "followed").iterdir()
    # renamed, every kept score would be computed again
    assert "asked-1-ByOccurrences-numbers-1-3-decoys-0-of-30" in kept.name


def test_a_heat_map_frames_what_was_trained_and_keeps_rows_without_a_test():
    frame = pd.DataFrame({"setting": ["8", "8", "1", "1"], "instructions": 5, "trained": ["8", "8", "1", "1"],
                          "asked": [1, 8, 1, 8], "accuracy": [0.1, 0.9, 1.0, 0.0]})  # fmt: skip
    ax = transfer.heat_map(frame, "asked", ["absent", *transfer.named(frame).unique()])
    framed = [(round(patch.get_x()), round(patch.get_y())) for patch in ax.patches if not patch.get_fill()]
    assert framed == [(1, 1), (0, 2)]
    labels = [label.get_text() for label in ax.get_yticklabels()]
    assert labels == ["absent", "8  ·  5 rules", "1  ·  5 rules"]
    assert [text.get_text() for text in ax.texts if text.get_text()] == ["10", "90", "100", "0"]
    plt.close("all")


def test_a_model_can_be_evaluated_on_its_own_numbers_alone():
    frame = pd.DataFrame({"trained": ["1", "1", "1, 8", "1, 8"], "asked": [1, 8, 1, 8]})
    frame = frame.assign(instructions=500, seed=0, accuracy=[1.0, 0.0, 0.6, 0.8])
    assert readings.occurrence_table(frame)[500].to_dict() == {"1": 0.5, "1, 8": 0.7}
    assert readings.occurrence_table(frame, own=True)[500].to_dict() == {"1": 1.0, "1, 8": 0.7}
