"""Trained machines: runs on right and wrong answers, what is kept of them, typed mistakes."""

import numpy as np
import pandas as pd
import pytest

from unseen.model import Shape, build
from unseen.rewriting import MarkovAlgorithm
from unseen.specs import ModelSpec
from unseen.studies import programs
from unseen.studies.programs import LIMIT, MISFIT, SOLVED, UNREADABLE, WRONG, Reader, oracle
from unseen.worlds.programs import collection
from unseen.worlds.tapes import TapeSpec

TASK = TapeSpec(instructions=60, examples=400, unseen_instructions=40)
SORT = MarkovAlgorithm.parse("ba -> ab\nca -> ac\ncb -> bc")


def spoilt(texts):
    """The oracle, but for some strings, whatever the rule."""
    return lambda questions: [texts.get(text, rule.apply(text)) for rule, text in questions]


def run_with(answers, program, text, decides=True):
    return programs.run_all(answers, [(program, text)], TASK, decides)[0]


# The machine


@pytest.mark.parametrize("decides", [False, True])
def test_with_right_answers_every_program_that_fits_is_solved(decides):
    jobs = [(job.program, job.text) for job in programs.jobs(TASK)]
    for (program, text), trace in zip(jobs, programs.run_all(oracle, jobs, TASK, decides), strict=True):
        if trace.outcome != MISFIT:
            assert (trace.outcome, trace.right_moves) == (SOLVED, len(trace.moves))
            steps = [step.text for step in program.steps(text)]
            assert [move.after for move in trace.moves if move.rule] == steps
            assert decides or len(trace.moves) == len(steps)  # deciding: that none is left


def test_what_does_not_fit_is_explained_and_the_rest_fits():
    notes = {
        job.about["program"]: programs.misfit(job.program, job.text, TASK) for job in programs.jobs(TASK)
    }
    assert {name: note for name, note in notes.items() if note} == {
        "unary multiplication 4 by 5": "a tape of 33 letters (at most 16)",
        "shopping": "rule 1: a replacement of 5 letters (at most 4)",
        "shopping that ends": "rule 1: a replacement of 5 letters (at most 4)",
        "syntax": "31 different symbols (at most 26)",
    }
    endless = programs.misfit(MarkovAlgorithm.parse("b -> b"), "b", TASK)
    assert endless == "the right computation takes more than 200 steps"


@pytest.mark.parametrize(("answers", "text", "outcome", "right"), [
    ({"cab": "acc"}, "cab", WRONG, 0), ({"cab": ""}, "cab", WRONG, 0), ({}, "", SOLVED, 0),
    ({}, "abc", SOLVED, 1), ({"acb": "bac"}, "cab", SOLVED, 1),  # the last recovers
    ({"acb": "cab"}, "cab", LIMIT, 1), ({"abc": "acb"}, "abc", LIMIT, 0),
    ({"cab": "a" * 17}, "cab", UNREADABLE, 0), ({"cab": "a|"}, "cab", UNREADABLE, 0),
])  # fmt: skip
def test_how_runs_end(answers, text, outcome, right):
    trace = run_with(spoilt(answers), SORT, text)
    assert (trace.outcome, trace.right_moves) == (outcome, right)


def test_a_run_that_wanders_is_stopped_twenty_moves_after_the_right_one_ends():
    words = iter([f"b{letter}" for letter in TASK.alphabet])
    trace = run_with(
        lambda asked: [next(words) for _ in asked], MarkovAlgorithm.parse("b -> c"), "b", decides=False
    )
    assert (trace.outcome, trace.note, len(trace.moves)) == (LIMIT, "not halted after 21 moves", 21)


def test_the_model_can_pick_a_wrong_rule_but_not_one_that_changes_nothing():
    wrong = run_with(spoilt({"cab": "cba"}), SORT, "cab").moves[0]
    assert (str(wrong.rule), str(wrong.right_rule), wrong.right) == ("ba -> ab", "ca -> ac", False)
    same = run_with(oracle, MarkovAlgorithm.parse("ab -> .ab\na -> b"), "cab")
    assert ([str(move.rule) for move in same.moves], same.outcome) == (["ab -> .ab"], SOLVED)


@pytest.fixture(scope="module")
def reader():
    return Reader(build(ModelSpec(layers=2, width=16, heads=2), Shape.of(TASK.layout)), TASK)


def test_only_answers_that_are_not_right_at_once_are_generated(reader, monkeypatch):
    questions = [(rule, text) for rule in TASK.split().unseen[:20] for text in ("ab", "cabca")]
    right = np.arange(40) % 3 == 0  # an untrained model is right in nothing
    own = Reader(reader.model, TASK)(questions)
    monkeypatch.setattr(programs, "all_right", lambda model, examples: right)
    both = Reader(reader.model, TASK)
    assert both(questions) == np.where(right, oracle(questions), own).tolist()
    monkeypatch.setattr(programs, "all_right", None)  # it is not called again for what is known
    assert both(questions[::-1]) == np.where(right, oracle(questions), own).tolist()[::-1]


# What is kept


def test_what_is_kept_counts_disguises_and_the_models_accuracy_on_each_kind_of_input():
    about = {"setting": "main", "model": "9 rules", "instructions": 9, "seed": 0, "machine": "m"}
    columns = ["input", "disguise", "decisions", "right", "outcome"]
    runs = pd.DataFrame(
        [("ab", 0, 4, 4, SOLVED), ("ab", 1, 4, 1, WRONG), ("ba", 0, 0, 0, MISFIT)], columns=columns
    )
    apart = pd.DataFrame([("r", "seen", "has-op", 0.9), ("r", "unseen", "no-op", 0.7)],
                         columns=["run", "split", "kind", "accuracy"])  # fmt: skip
    table = programs.summary(runs.assign(**about, program="p", run="r"), apart)
    kept = table.set_index("input").loc["ab"]
    counts = {"disguises": 2, "fits": True, "solved": 1, "decisions": 8, "made": 6, "right": 5}
    counts |= {"outcomes": f"{SOLVED} 1, {WRONG} 1", "seen_has_op": 0.9, "unseen_no_op": 0.7}
    assert kept[list(counts)].to_dict() == counts
    assert not table.set_index("input").loc["ba", "fits"]
    rates = {"decisions made": 6, "right decisions": 5 / 6, "runs": 2, "solved": 0.5}
    assert programs.rates(table, by=["program"]).loc[0, list(rates)].to_dict() == rates


# Typed programs


def test_runs_and_moves_are_put_into_words():
    trace = run_with(spoilt({"acb": "aab"}), SORT, "cab")
    assert str(trace) == "wrong answer (3 moves, 1 right before the first wrong)"
    assert [str(move) for move in trace.moves[:2]] == ["ca → ac", "ba → ab   ✗ should be cb → bc"]
    (short,) = run_with(spoilt({"ca": ""}), MarkovAlgorithm.parse("a ->"), "ca", decides=False).moves
    assert str(short) == "a →    ✗ should be c"


@pytest.mark.parametrize(("rules", "words"), [
    ("ab = c", "line 1: no '->'"), ("# nothing", "no rule"), ("a -> b\n<b>x", "line 2"),
    ("a ->. b", "did you mean 'a -> .b'"), ("ba -> ab  # swap", "line of its own"),
    ("".join(map(chr, range(0x4E00, 0x4E30))) + " -> a", "different symbols"),
])  # fmt: skip
def test_typed_mistakes_are_sentences(reader, rules, words):
    with pytest.raises(ValueError, match=words):
        programs.attempt(reader, programs.written(rules), "a")


def test_a_program_runs_in_its_own_disguise_and_is_shown_in_its_own_symbols(reader):
    for name, program in collection().items():
        assert programs.written("\n".join(map(str, program.algorithm.rules)), name) == program
    brackets = collection()["brackets"]
    assert programs.written("ab -> c", "brackets").name == "typed"

    class Right(Reader):
        def __call__(self, questions):
            return oracle(questions)

    trace, known = programs.attempt(Right(reader.model, TASK), brackets, "<(())()>")
    assert (trace.outcome, known) == (SOLVED, 0)
    assert trace.moves[-1].after == "y"
    assert not any(programs.FOREIGN in move.after for move in trace.moves)
