"""Many runs: which part of a rule is new, what is written instead, and what moves while a run trains."""

import numpy as np
import pandas as pd
import pytest

from trainers import SMALL
from unseen.rewriting import Rule
from unseen.studies import inside_runs
from unseen.studies.inside_runs import FOLLOWS, PAIRINGS, RECITES
from unseen.studies.tour import one_example
from unseen.training import data_of, start, train
from unseen.worlds.rules import Instructions
from unseen.worlds.strings import TaskSpec

TASK = TaskSpec(alphabet="abcdefgh", instructions=8, unseen_instructions=5, examples=20)
SIZES = np.array([10, 30, 100, 300, 1000, 3000])

# From reciting to following


@pytest.mark.parametrize("pairing", PAIRINGS)
def test_a_pairing_takes_its_parts_from_where_it_says(pairing):
    split, examples = TASK.split(), inside_runs.paired(TASK, pairing, size=12)
    known = {rule.pattern: rule.replacement for rule in split.seen}
    for line in map(examples.line, range(12)):
        assert (line.rule.pattern in known) == pairing.startswith("known x")
        assert (line.rule.replacement in known.values()) == (not pairing.endswith("new y"))
        assert (known.get(line.rule.pattern) == line.rule.replacement) == (pairing == PAIRINGS[0])
        assert line.answer == line.rule.apply(line.text)


def summary_of(follows_at, recites_to, unseen_at=200):
    """The summary of made-up curves; the second seed's steps lie 10 % later."""
    rows, unseen = [], []
    for seed in (0, 1):
        follows, exact, recites = (1 / (1 + (middle * (1 + 0.1 * seed) / SIZES) ** 4)
                                   for middle in (follows_at, unseen_at, recites_to))  # fmt: skip
        for ask, does, values in [
            *((ask, FOLLOWS, follows) for ask in PAIRINGS),
            (PAIRINGS[1], RECITES, 1 - recites),
        ]:
            rows += [(size, seed, ask, does, share) for size, share in zip(SIZES, values, strict=True)]
        unseen += [(size, seed, "unseen", share) for size, share in zip(SIZES, exact, strict=True)]
    table = pd.DataFrame(rows, columns=["instructions", "seed", "ask", "does", "share"])
    unseen = pd.DataFrame(unseen, columns=["instructions", "seed", "split", "accuracy"])
    return inside_runs.summary(inside_runs.crossings(table, unseen)).set_index("curve")


def test_crossings_are_found_and_compared_within_seeds():
    found = summary_of(100, 100)
    assert found.loc["unseen exact match", "ratio"] == 1
    row = found.loc[f"follows: {PAIRINGS[1]}"]
    assert row["ratio"] == pytest.approx(0.5, abs=0.01)
    assert row["ratio_high"] - row["ratio_low"] < 0.1, "seeds differ, their ratios do not"
    assert row["low"] < row["middle"] < row["high"]
    assert found.loc["recites = follows", "middle"] == pytest.approx(104, rel=0.15)


def test_a_curve_that_does_not_cross_has_no_number():
    assert summary_of(10**6, 10**6, unseen_at=10**6).empty
    assert "recites = follows" not in summary_of(10**6, 10**6).index


# What is written instead

ENCODING = TaskSpec().layout
LETTERS = TaskSpec().alphabet
EXAMPLE = one_example(ENCODING, Rule("cat", "dog"), "onecatnaps")


def rules(*pairs):
    x, y = ([[LETTERS.index(c) for c in pair[side]] for pair in pairs] for side in (0, 1))
    return Instructions(LETTERS, np.array(x, np.uint8), np.array(y, np.uint8))


KNOWN = rules(("cot", "emu"), ("fly", "bee"))


@pytest.mark.parametrize(("written", "kind"), [
    ("onedognaps", "right"), ("onecatnaps", "copies the input"), ("oneemunaps", "training y, nearest rule"),
    ("onebeenaps", "training y, another rule"), ("onecatemus", "training y, another place"),
    ("onedatnaps", "part of y, at the place"), ("onexyznaps", "other letters, at the place"),
    ("zzzzzzzzzz", "something else"), ("", "something else"), ("onedognapsx", "something else"),
])  # fmt: skip
def test_an_answer_is_named_by_what_it_is(written, kind):
    ids = ENCODING.ids(written.ljust(ENCODING.answer_length, "."))[None]
    assert inside_runs.classify(ids, EXAMPLE, KNOWN).tolist() == [kind]
    assert kind in inside_runs.KINDS
    assert inside_runs.distances(EXAMPLE, KNOWN).tolist() == [1]


# What moves before the score does


@pytest.fixture(scope="module")
def steps_and_table():
    steps = []
    return steps, inside_runs.follow(SMALL, lambda step, note="": steps.append(step))


def test_every_row_has_every_signal_and_the_first_is_before_the_first_step(steps_and_table):
    steps, table = steps_and_table
    assert steps == [0, 2, 4, 6, 8, 10, 12]
    assert table.groupby("signal")["step"].apply(list).to_dict() == dict.fromkeys(inside_runs.SIGNALS, steps)
    assert table["value"].notna().all()
    assert np.isclose(table.query("signal == 'loss, unseen' and step == 0")["value"], np.log(10)).all()


def test_following_changes_nothing_in_a_run(steps_and_table):
    state = train(SMALL, start(SMALL), data_of(SMALL))
    seen = steps_and_table[1].query("signal == 'exact match, seen' and step > 0")["value"]
    assert seen.tolist() == [row["seen"] for row in state.history]
