"""Which part of a rule is new, and where following it begins."""

import numpy as np
import pandas as pd
import pytest

from unseen.inside import axis
from unseen.instructions import draw_split
from unseen.specs import TaskSpec

TASK = TaskSpec(alphabet="abcdef", instructions=8, unseen_instructions=5, examples=20)
SIZES = np.array([10, 30, 100, 300, 1000, 3000])


@pytest.mark.parametrize("ask", axis.ASKS)
def test_an_ask_takes_its_parts_from_where_it_says(ask):
    split, examples = draw_split(TASK), axis.asked(TASK, ask, size=12)
    known = {rule.pattern: rule.replacement for rule in split.seen}
    for i in range(12):
        line = examples.line(i)
        assert (line.rule.pattern in known) == ask.startswith("known x")
        assert (line.rule.replacement in known.values()) == (not ask.endswith("new y"))
        assert (known.get(line.rule.pattern) == line.rule.replacement) == (ask == axis.ASKS[0])
        assert line.answer == line.rule.apply(line.text)


def curves(follows_at, recites_to):
    """A made-up axis and its unseen curve (threshold 200), two seeds alike."""
    logistic = lambda middle: 1 / (1 + (middle / SIZES) ** 4)  # noqa: E731
    rows = [(size, seed, ask, does, share) for seed in (0, 1) for ask in axis.ASKS
            for does, values in ((axis.FOLLOWS, logistic(follows_at * (1 + 0.1 * seed))), (axis.RECITES, 1 - logistic(recites_to)))
            for size, share in zip(SIZES, values, strict=True) if does == axis.FOLLOWS or ask == axis.ASKS[1]]  # fmt: skip
    table = pd.DataFrame(rows, columns=["instructions", "seed", "ask", "does", "share"])
    unseen = [
        (size, seed, "unseen", value)
        for seed in (0, 1)
        for size, value in zip(SIZES, logistic(200 * (1 + 0.1 * seed)), strict=True)
    ]
    return table, pd.DataFrame(unseen, columns=["instructions", "seed", "split", "accuracy"])


def test_crossings_are_found_and_compared_within_seeds():
    found = axis.summary(axis.crossings(*curves(100, 100))).set_index("curve")
    assert found.loc["unseen exact match", "ratio"] == 1
    row = found.loc[f"follows: {axis.ASKS[1]}"]
    assert row["ratio"] == pytest.approx(0.5, abs=0.01)
    assert row["ratio_high"] - row["ratio_low"] < 0.1, "seeds differ, their ratios do not"
    assert row["low"] < row["middle"] < row["high"]
    assert found.loc["recites = follows", "middle"] == pytest.approx(104, rel=0.15)


@pytest.mark.parametrize(("follows_at", "words"), [(200, "cannot be told from"), (60, "differs from")])
def test_the_sentence_says_what_the_interval_says(follows_at, words):
    assert words in axis.reading(axis.summary(axis.crossings(*curves(follows_at, follows_at))))


def test_without_a_step_there_is_a_sentence_and_no_number():
    table, unseen = curves(10**6, 10**6)
    assert "nothing to compare" in axis.reading(axis.summary(axis.crossings(table, unseen.assign(accuracy=0.0))))
    assert "nothing to compare" in axis.reading(axis.summary(axis.crossings(table, unseen)))


def test_one_seed_has_no_interval():
    middle, low, high = axis.interval(pd.Series([100.0]))
    assert middle == pytest.approx(100)
    assert np.isnan([low, high]).all()
