"""The tape world and the machine: what is held out, programs against the oracle, runs on right and wrong answers, typed mistakes."""

import hashlib

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from unseen.rewriting import MarkovAlgorithm, Rule
from unseen.specs import EvaluationSpec, ModelSpec, RunSpec, TrainingSpec
from unseen.store import Store
from unseen.sweep import ensure
from unseen.tapes import explorer, pictures, results, world
from unseen.tapes.machine import LIMIT, MISFIT, SOLVED, UNREADABLE, WRONG, Reader, misfit, path, run_all, run_with
from unseen.tapes.programs import VERSION, collection, disguise
from unseen.tapes.settings import settings
from unseen.tapes.spec import TapeSpec
from unseen.tapes.world import draw_split, evaluation_examples, leaks, line, prompt, training_examples

TASK = TapeSpec(instructions=60, examples=400, unseen_instructions=40)
SORT = MarkovAlgorithm.parse("ba -> ab\nca -> ac\ncb -> bc")


@pytest.fixture(scope="module")
def split():
    return draw_split(TASK)


def oracle(questions):
    return [rule.apply(text) for rule, text in questions]


def spoilt(texts):
    """The oracle, but for some strings, whatever the rule."""
    return lambda questions: [texts.get(text, rule.apply(text)) for rule, text in questions]


# The world


def test_what_is_held_out_is_in_no_training_set(split):
    assert leaks(split) == 0
    seen, patterns = set(split.seen), {rule.pattern for rule in split.seen}
    for rule in (*split.unseen, *split.programs):
        assert rule not in seen
        assert len(rule.pattern) == 1 or rule.pattern not in patterns


def test_the_rules_of_every_program_in_every_disguise_are_held_out(split):
    for program in collection().values():
        for number in range(TASK.disguises):
            if len(program.symbols) > len(TASK.alphabet):
                continue
            worn = program.disguised(disguise(program.symbols, TASK.alphabet, number))
            if not any(misfit(worn.algorithm, given, TASK) for given, _ in worn.cases):
                assert {Rule(rule.pattern, rule.replacement) for rule in worn.algorithm.rules} <= set(split.programs)


def test_a_leak_is_noticed(split):
    leaky = [*split.seen, Rule(split.programs[0].pattern, "zz")]
    single = next(rule for rule in split.unseen if len(rule.pattern) == 1)
    for extra, expected in (
        (leaky[-1], len(leaky[-1].pattern) > 1),
        (single, True),
        (Rule(single.pattern, "qqqq"), False),
    ):
        changed = type(split)((*split.seen, extra), split.unseen, split.programs)
        assert (leaks(changed) > 0) == expected


def test_smaller_training_sets_are_the_first_of_larger_and_the_unseen_rules_are_the_same(split):
    more = draw_split(TASK.but(instructions=90, examples=400))
    assert more.seen[:60] == split.seen
    assert more.unseen == split.unseen
    assert draw_split(TASK.but(rule_seed=1)).unseen != split.unseen


def test_some_letters_are_deleted_in_training_too():
    rules = draw_split(TapeSpec(instructions=3_000, examples=3_000)).seen
    assert any(len(rule.pattern) == 1 and not rule.replacement for rule in rules)
    assert all(rule.pattern != rule.replacement for rule in rules)


def test_examples_are_right_and_as_asked_for(split):
    examples = training_examples(TASK, split)
    lines = [line(examples, i) for i in range(len(examples))]
    assert all(each.rule.apply(each.text) == each.answer for each in lines)
    assert [each.rule for each in lines] == [split.seen[i] for i in examples.rule]
    assert [each.rule.applies_to(each.text) for each in lines] == examples.applies.tolist()
    assert 0.3 < 1 - examples.applies.mean() < 0.5
    assert {len(each.text) for each in lines} == set(range(1, 17))
    assert any(each.text.count(each.rule.pattern) > 1 for each in lines)
    assert max(len(set(each.text)) for each in lines) <= TASK.most_letters


def test_examples_follow_from_the_spec(split):
    first, second = (training_examples(TASK, draw_split(TASK)) for _ in range(2))
    assert np.array_equal(first.tokens(), second.tokens())
    scored = evaluation_examples(TASK, split, EvaluationSpec(examples=80))
    assert sorted(scored) == ["seen", "unseen"]
    assert {line(scored["unseen"], i).rule for i in range(80)} == set(split.unseen)


def test_the_smallest_tapes_can_be_drawn():
    task = TapeSpec(alphabet="abcdefghij", longest_pattern=1, longest_replacement=1, longest_input=1, most_letters=1, disguises=1,
                    instructions=2, unseen_instructions=1, examples=50)  # fmt: skip
    examples = training_examples(task, draw_split(task))
    assert {len(line(examples, i).text) for i in range(50)} == {1}


@pytest.mark.parametrize(("changes", "told"), [
    ({"longest_pattern": 17}, "longest_pattern=17: must be at least 1 and at most 16"),
    ({"most_letters": 27}, "most_letters=27"), ({"alphabet": "aab"}, "each once"), ({"alphabet": "a"}, "at least 2"),
    ({"alphabet": "a|"}, "only letters and digits"), ({"instructions": 200_000}, "fewer than instructions"),
    ({"world": "words"}, "this is the spec of the world 'tapes'"), ({"no_op_share": 2.0}, "no_op_share=2.0"),
])  # fmt: skip
def test_impossible_specs_are_refused(changes, told):
    with pytest.raises(ValueError, match=f"TapeSpec.*{told}"):
        TapeSpec(**changes)


def test_too_few_rules_and_another_edition_are_refused(monkeypatch):
    monkeypatch.setattr(world, "_TRIES", 2_000)
    with pytest.raises(ValueError, match=r"TapeSpec\.instructions=60: only \d+ rules found"):
        draw_split(TASK.but(longest_pattern=1, longest_replacement=1, most_letters=1, unseen_instructions=5))
    with pytest.raises(ValueError, match=r"collection=2: this is edition 1 of the programs"):
        draw_split(TASK.but(collection=2))


def test_a_changed_collection_has_another_edition():
    """Training leaves the programs' rules out: with other programs, stored runs were trained on something else."""
    text = "\n".join(f"{rule}" for program in collection().values() for rule in program.algorithm.rules)
    text += "".join(program.symbols for program in collection().values())
    assert (VERSION, hashlib.sha256(text.encode()).hexdigest()[:12]) == (1, "b8946e6d4be0")


def test_a_prompt_says_what_is_wrong():
    for rule, text, told in [(Rule("abcd", ""), "a", "pattern: 4 letters"), (Rule("", "a"), "a", "pattern: 0 letters"),
                             (Rule("a", "bbbbb"), "a", "replacement: 5"), (Rule("a", ""), "a" * 17, "input: 17"),
                             (Rule("a", ""), "", "input: 0"), (Rule("+", ""), "a", "pattern: unknown letter")]:  # fmt: skip
        with pytest.raises(ValueError, match=told):
            prompt(TASK, rule, text)


# Programs


@pytest.mark.parametrize("name", collection())
def test_every_program_halts_on_what_is_expected_in_every_disguise(name):
    program = collection()[name]
    assert program.cases
    for given, wanted in program.cases:
        assert program.algorithm.run(given, limit=1_000) == wanted
    for number in range(3 if len(program.symbols) <= 26 else 0):
        worn = program.disguised(disguise(program.symbols, TASK.alphabet, number))
        assert worn.algorithm.run(worn.cases[0][0], limit=1_000) == worn.cases[0][1]


def test_what_does_not_fit_is_told_and_the_rest_fits():
    fits = results.overview(TapeSpec())["fits"]
    assert set(fits.index[fits != "yes"]) == {"shopping", "shopping that ends", "syntax", "unary multiplication 4 by 5"}
    assert fits["unary multiplication 4 by 5"] == "a tape of 33 letters (at most 16)"
    assert fits["shopping"] == "rule 1: a replacement of 5 letters (at most 4)"
    assert fits["syntax"] == "31 different symbols (at most 26)"


def test_a_disguise_is_a_bijection_and_needs_letters_enough():
    secret = disguise("+-*1", "abcdef", 3)
    assert len(set(secret.values())) == 4
    assert disguise("+-*1", "abcdef", 3) == secret != disguise("+-*1", "abcdef", 4)
    with pytest.raises(ValueError, match="4 different symbols, but this model has 3 letters"):
        disguise("+-*1", "abc", 0)


# The machine


@pytest.mark.parametrize("decides", [False, True])
def test_with_right_answers_every_program_is_solved(decides):
    jobs = [(job.program, job.text) for job in results.jobs(TASK)]
    for (program, text), trace in zip(jobs, run_all(oracle, jobs, TASK, decides), strict=True):
        if trace.outcome != MISFIT:
            assert trace.outcome == SOLVED
            assert trace.right_moves == len(trace.moves) == results.decisions(program, text, decides)
            assert [move.after for move in trace.moves if move.rule] == [step.text for step in program.steps(text)]


@pytest.mark.parametrize("decides", [False, True])
def test_the_path_is_what_a_right_machine_asks(decides):
    said = []
    run_with(lambda questions: said.extend(questions) or oracle(questions), SORT, "cba", TASK, decides)
    assert said == list(path(SORT, "cba", decides))


@pytest.mark.parametrize(("answers", "text", "outcome", "right"), [
    ({"cab": "acc"}, "cab", WRONG, 0), ({"acb": "bac"}, "cab", SOLVED, 1),  # it may find back, and is still not right all along
    ({"acb": "cab"}, "cab", LIMIT, 1), ({"cab": "a" * 17}, "cab", UNREADABLE, 0), ({"cab": "a|"}, "cab", UNREADABLE, 0),
    ({"cab": ""}, "cab", WRONG, 0), ({"abc": "acb"}, "abc", LIMIT, 0), ({}, "", SOLVED, 0), ({}, "abc", SOLVED, 1),
])  # fmt: skip
def test_how_runs_end(answers, text, outcome, right):
    trace = run_with(spoilt(answers), SORT, text, TASK)
    assert (trace.outcome, trace.right_moves) == (outcome, right)


def test_a_run_that_wanders_is_stopped_twenty_moves_after_the_right_one_ends():
    words = iter([f"b{letter}" for letter in TASK.alphabet])
    trace = run_with(
        lambda questions: [next(words) for _ in questions], MarkovAlgorithm.parse("b -> c"), "b", TASK, decides=False
    )
    assert (trace.outcome, trace.note, len(trace.moves)) == (LIMIT, "not halted after 21 moves", 21)
    assert misfit(MarkovAlgorithm.parse("b -> b"), "b", TASK) == "the right computation takes more than 200 steps"


def test_a_rule_that_changes_nothing_is_left_to_the_oracle():
    same = MarkovAlgorithm.parse("ab -> .ab\na -> b")
    trace = run_with(oracle, same, "cab", TASK)
    assert [str(move.rule) for move in trace.moves] == ["ab -> .ab"]
    assert trace.outcome == SOLVED


def test_only_with_the_model_deciding_can_it_pick_a_wrong_rule():
    trace = run_with(spoilt({"cab": "cba"}), SORT, "cab", TASK)
    assert str(trace.moves[0].rule) == "ba -> ab"
    assert str(trace.moves[0].wanted_rule) == "ca -> ac"
    assert not trace.moves[0].right


@pytest.fixture(scope="module")
def machine(tmp_path_factory):
    spec = RunSpec(TASK, ModelSpec(layers=2, width=16, heads=2), TrainingSpec(steps=3, batch=32), EvaluationSpec(40))
    store = Store(tmp_path_factory.mktemp("tapes"))
    ensure(spec, store)
    return explorer.Machine(Reader(store.model(spec), TASK), frozenset(draw_split(TASK).seen))


def test_foreseen_answers_are_those_that_are_given(machine, monkeypatch):
    questions = [(rule, text) for rule in draw_split(TASK).unseen[:20] for text in ("ab", "cabca")]
    right = np.arange(40) % 3 == 0  # so young a model is right in nothing

    def as_if(model, examples):
        assert [examples.texts(i)[1] for i in range(40)] == [rule.apply(text) for rule, text in questions]
        return right

    monkeypatch.setattr("unseen.tapes.machine.all_right", as_if)
    given = Reader(machine.reader.model, TASK)(questions)
    ahead = Reader(machine.reader.model, TASK)
    ahead.foresee(questions)
    foreseen = [each for each, yes in zip(questions, right, strict=True) if yes]
    assert ahead.memory == {(rule, text): rule.apply(text) for rule, text in foreseen}
    wanted = [
        rule.apply(text) if yes else said for (rule, text), yes, said in zip(questions, right, given, strict=True)
    ]
    assert ahead(questions) == wanted


# Frames


def test_what_is_kept_counts_disguises_and_says_how_good_the_model_is_on_each_kind_of_input():
    about = {
        "setting": "main",
        "model": "9 rules",
        "instructions": 9,
        "seed": 0,
        "machine": "m",
        "program": "p",
        "run": "r",
    }
    runs = pd.DataFrame([{**about, "input": "ab", "disguise": 0, "decisions": 3, "right": 3, "outcome": SOLVED},
                         {**about, "input": "ab", "disguise": 1, "decisions": 3, "right": 1, "outcome": WRONG},
                         {**about, "input": "ba", "disguise": 0, "decisions": 0, "right": 0, "outcome": MISFIT}])  # fmt: skip
    apart = pd.DataFrame([("r", "seen", "has-op", 0.9), ("r", "seen", "no-op", 0.8), ("r", "unseen", "has-op", 0.2),
                          ("r", "unseen", "no-op", 0.7)], columns=["run", "split", "kind", "accuracy"])  # fmt: skip
    kept = results.summary(runs, apart).set_index("input")
    assert kept.loc["ab", ["disguises", "fits", "solved", "decisions", "made", "right"]].tolist() == [
        2,
        True,
        1,
        6,
        5,
        4,
    ]
    assert kept.loc["ab", "outcomes"] == f"{SOLVED} 1, {WRONG} 1"
    assert not kept.loc["ba", "fits"]
    assert kept.loc["ab", ["seen_has_op", "seen_no_op", "unseen_has_op", "unseen_no_op"]].tolist() == [
        0.9,
        0.8,
        0.2,
        0.7,
    ]


def test_survival_is_the_share_still_right():
    runs = pd.DataFrame({"decisions": [3, 3, 3, 3], "right": [3, 1, 3, 0], "outcome": SOLVED})
    table = results.survival(runs)
    assert table["alive"].tolist() == [1, 0.75, 0.5, 0.5]
    assert table["at_risk"].tolist() == [4, 4, 3, 2]
    assert table["expected"].iloc[1] == pytest.approx(1 - 2 / 9)


def test_a_right_run_without_decisions_counts_as_no_failure():
    runs = pd.DataFrame({"decisions": [0, 2], "right": [0, 2], "outcome": [SOLVED, SOLVED]})
    assert results.survival(runs)["wrong"].sum() == 0


def test_settings_are_the_same_budget_at_every_size():
    for scale in ("smoke", "quick", "full", "paper"):
        main = settings(scale)[0]
        assert len({(run.training, run.task.examples, run.model.but(seed=0)) for run in main.runs()}) == 1
    with pytest.raises(ValueError, match="known scales are"):
        settings("fast")


# Pictures and the widget


def test_the_first_wrong_letter_is_marked():
    trace = run_with(spoilt({"acb": "aab"}), SORT, "cab", TASK)
    rows = pictures.marks(trace)
    assert rows[0][1] == ["pattern", "pattern", ""]
    assert rows[2] == ("aab", ["", "wrong", ""], "ba → ab   should be cb → bc")
    assert pictures.ended(trace) == "wrong answer (3 moves, 1 right before the first wrong)"


def test_a_lacking_letter_is_marked_as_a_gap():
    trace = run_with(spoilt({"cab": "a"}), SORT, "cab", TASK, decides=False)
    assert pictures.marks(trace)[1][:2] == ("a ", ["", "wrong"])


def test_tapes_are_drawn_empty_long_and_wrong():
    runs = {"empty": run_with(oracle, MarkovAlgorithm.parse("a ->"), "aa", TASK), "none": run_with(oracle, SORT, "", TASK),
            "wrong": run_with(spoilt({"cab": ""}), SORT, "cab", TASK), "misfit": run_with(oracle, SORT, "a" * 20, TASK)}  # fmt: skip
    pictures.tapes(runs, most=1)
    plt.close("all")


def test_typed_mistakes_are_sentences_and_nothing_is_interpreted(machine):
    widget = explorer.TapeExplorer({"tiny": machine})
    for rules, given, told in [("ab = c", "a", "line 1: no &#x27;-&gt;&#x27;"), ("# nothing", "a", "no rule: write one a line"),
                               ("a -> b\n<b>x", "a", "line 2"), ("".join(map(chr, range(0x4E00, 0x4E30))) + " -> a", "a", "different symbols")]:  # fmt: skip
        widget.rules.value, widget.given.value = rules, given
        widget.refresh()
        assert told in widget.message.value
        assert "<b>x" not in widget.message.value
        assert widget.tape.value == ""
    widget.rules.value, widget.given.value = "< -> <i>", "<<"
    widget.refresh()
    assert "<i>&" not in widget.tape.value
    assert "&lt;" in widget.tape.value
    widget.rules.value = "aaaaa -> b"
    widget.refresh()
    assert "does not fit: rule 1: a pattern of 5 letters (1 to 3)" in widget.tape.value


def test_the_widget_runs_the_programs_of_the_collection_in_their_own_disguise(machine):
    widget = explorer.TapeExplorer({"tiny": machine})
    widget.choice.value = "busy beaver"
    assert widget.given.value == "000000A000000"
    assert widget.program("").name == "busy beaver"
    assert widget.message.value.endswith("0 of 10 were trained on")
    widget.rules.value += "\nab -> c"
    assert widget.program("").name == "typed"


def test_a_right_machine_shows_the_programs_own_signs(machine):
    class Right(Reader):
        def __call__(self, questions):
            return oracle(questions)

        def foresee(self, questions):
            list(questions)

    right = explorer.Machine(Right(machine.reader.model, TASK), frozenset())
    trace = explorer.attempt(right, collection()["brackets"], "<(())()>")
    assert trace.outcome == SOLVED
    assert trace.moves[-1].after == "y"
    assert explorer.FOREIGN not in explorer.tape_html(trace)
