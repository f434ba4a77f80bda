"""Whatever is typed or pressed: an answer or a sentence, never a traceback, never markup."""

import html

import ipywidgets as ipw
import pandas as pd
import pytest
from matplotlib import pyplot as plt

from trainers import SMALL
from unseen import widgets
from unseen.evaluation import exact_match, greedy_answers
from unseen.figures import shade
from unseen.model import Shape, build
from unseen.once import hold
from unseen.rewriting import Rule
from unseen.runs.store import Store, committed_store, ensure
from unseen.scales import SCALES, Scale, Setting
from unseen.specs import ModelSpec
from unseen.widgets import Demo, LiveTraining, compare, compared_html, explore, load_demo, rule_explorer
from unseen.worlds.strings import TaskSpec

RULE, TEXT = Rule("cat", "dog"), "onecatnaps"


@pytest.fixture(scope="module")
def demo():
    """Two models that have learned nothing, for the task of the committed ones."""
    layout, sizes = TaskSpec().layout, {"low": 10, "<b>high</b>": 3_000}
    models = {name: build(ModelSpec(layers=1, width=16, heads=2), Shape.of(layout)) for name in sizes}
    return Demo(models, layout, sizes)


# Comparing


def compared(rule, text, **answers):
    answers = {"oracle": rule.apply(text), **answers}
    rows = [(who, each, each == rule.apply(text)) for who, each in answers.items()]
    return compared_html(rule, text, pd.DataFrame(rows, columns=["who", "answer", "right"]))


def test_letters_are_marked_right_and_wrong():
    page = compared(
        RULE, TEXT, one="onedognaps", two="onedigmaps", short="onedog", long="onedognapsxx", none=""
    )
    rows = page.split("<tr>")[1:]
    marks = [(row.count(shade("right")), row.count(shade("wrong"))) for row in rows]
    assert marks == [(0, 0), (0, 0), (10, 0), (8, 2), (6, 4), (10, 2), (0, 10)]
    assert rows[0].count(shade("pattern")) == 3
    assert ["✓ right" in row for row in rows] == [False, False, True, False, False, False, False]
    assert "✗ 2 wrong" in rows[3]
    assert ["does not occur" in each for each in (page, compared(Rule("zzz", "abc"), TEXT))] == [False, True]


# Exploring


@pytest.fixture
def shown(monkeypatch):
    """What is displayed, the still picture's caption left out."""
    found = []

    def keep(*each):
        found.extend(one for one in each if getattr(one, "data", "") != widgets._STILL)

    monkeypatch.setattr(widgets, "display", keep)
    return found


@pytest.mark.parametrize("make", [plt.figure, lambda: pd.DataFrame({"a": [1]}), lambda: "text"])
def test_an_answer_of_any_kind_is_shown_once_per_change(make, shown):
    number = ipw.IntText(3)
    explorer = explore(lambda number: make(), number=number)
    number.value = 4
    assert len(shown) == 3  # with the still one
    assert explorer.result is shown[2]
    assert plt.get_fignums() == []  # an open figure would be shown again


def test_the_button_steps_through_the_examples_and_draws_each_once(demo, shown):
    examples = [(RULE, TEXT), (Rule("iss", "art"), "mississipp"), (Rule("zzz", "abc"), "nozedshere")]
    explorer = rule_explorer(demo, examples)
    assert shown.pop(0).data == shown[0].data
    for rule, text in [*examples, examples[0]]:
        typed = [field.value for field in explorer.controls.values()]
        assert typed == [rule.pattern, rule.replacement, text]
        assert shown.pop().data == compared_html(rule, text, compare(demo, rule, text))
        assert shown == []
        explorer.button.click()


def test_an_answer_stays_greyed_while_a_value_is_refused(demo, shown):
    explorer = rule_explorer(demo, [(RULE, TEXT)])
    pattern, answered = explorer.controls["pattern"], explorer.result
    for text in ("ca", "<b>"):
        pattern.value = text
        assert explorer.result is answered is shown[-1]
        assert explorer.alert.value.count("role='alert'") == 1
        assert explorer.error.startswith("pattern: ")
        assert html.escape(explorer.error) in explorer.alert.value
        assert "unseen-stale" in explorer.output._dom_classes
    pattern.value = "CAT"  # the models know lower case only
    assert explorer.result.data == answered.data
    assert "alert'" not in explorer.alert.value
    assert "unseen-stale" not in explorer.output._dom_classes


def test_an_error_that_nobody_foresaw_is_a_sentence_too(shown):
    number = ipw.IntText(1)
    explorer = explore(lambda number: 1 / number, number=number)
    number.value = 0
    assert (explorer.result, explorer.error) == (1, "ZeroDivisionError: division by zero")


def test_a_menu_fills_other_fields_and_is_answered_once(shown):
    menu, text = ipw.Dropdown(options=["a", "b"]), ipw.Text("typed")
    fills = {"menu": lambda name: {"text": f"{name}'s own"}}
    explorer = explore(lambda menu, text: (menu, text), [], fills, menu=menu, text=text)
    menu.value = "b"
    assert explorer.result == ("b", "b's own")
    assert len(shown) == 3


def test_what_may_be_typed_stands_beside_each_field(demo):
    explorer = rule_explorer(demo, [(RULE, TEXT)])
    hints = [row.children[1].value for row in explorer.children[:3]]
    assert hints == [f"<small>{length} letters, a to z</small>" for length in (3, 3, 10)]


@pytest.mark.parametrize("typed", ["784747978", "-1", "nan", "1e999", "many", "<b>"])
def test_a_number_out_of_range_is_named_with_the_range(typed):
    with pytest.raises(ValueError, match=f"^letters: {typed} is not a number from 2 to 1,000$"):
        widgets.numbers({"width": " ", "letters": typed}, {"width": (1, 2), "letters": (2, 1_000)})


def test_headless_there_is_a_still_answer_and_no_widget(live, runs, monkeypatch, shown):
    ensure(live.lanes[0].spec, live.store, device="cpu", say=str)
    monkeypatch.setenv("UNSEEN_HEADLESS", "1")
    assert explore(lambda number: number, number=ipw.IntText(3)) is None
    assert shown == [3]
    assert widgets.live_training(live.scale, known=live.store) is None
    assert [type(each).__name__ for each in shown[1:]] == ["Image"]  # of the one known run
    monkeypatch.delenv("UNSEEN_HEADLESS")
    assert isinstance(widgets.live_training(live.scale), LiveTraining)
    assert not runs.exists()


# Live training


@pytest.fixture
def live(tmp_path):
    live = LiveTraining(Scale("tiny", "", (Setting("main", SMALL, (2, 3), (0,)),)), Store(tmp_path))
    live.second.value = 0  # one run, of 3 instructions
    return live


def press(live, button="train"):
    getattr(live, button).click()
    live.job.join(60)
    assert not live.job.is_alive()
    locked = [control.disabled for control in (*live.choices, live.train, live.anew, live.stop)]
    assert locked == [False] * 5 + [True]


def messages(live):
    return [lane.message.value for lane in live.lanes if lane.spec]


def test_two_runs_race_with_all_else_locked_and_a_finished_one_is_taken_from_the_store(live, monkeypatch):
    """A press while another is handled starts nothing."""
    live.second.value = 2
    assert messages(live) == ["not trained yet"] * 2
    locked, draw, choose = [], live.lanes[0]._draw, live._choose
    monkeypatch.setattr(
        live.lanes[0], "_draw", lambda: locked.append([c.disabled for c in live.choices]) or draw()
    )
    monkeypatch.setattr(live, "_choose", lambda store: live.begin() or choose(store))
    press(live)
    assert [True] * 3 in locked
    for lane, size in zip(live.lanes, (3, 2), strict=True):
        seen, unseen = (line["accuracy"] for line in live.store.manifest(live.scale.run(size))["scores"])
        accuracy = f"{seen:.1%} on seen, {unseen:.1%} on unseen instructions"
        assert lane.message.value == f"done: {accuracy}"
        assert (lane.bar.value, lane.bar.max) == (12, 12)
        assert [row["step"] for row in lane.rows] == [2, 4, 6, 8, 10, 12]
        assert bytes(lane.picture.value).startswith(b"\x89PNG")
        assert lane.answers.value.count("<tr>") == 10
    monkeypatch.setattr("unseen.runs.store.train", lambda *_: pytest.fail("it was trained again"))
    press(live)
    assert [each.split(":")[0] for each in messages(live)] == ["from the store"] * 2


def test_train_anew_starts_at_the_first_step_keeps_nothing_and_shows_the_known_curve(live):
    ensure(live.lanes[0].spec, live.store, device="cpu", say=str)
    before, lane, steps = sorted(live.store.root.rglob("*")), live.lanes[0], []
    check = lane._check
    lane._check = lambda state: steps.append(state.step) or check(state)
    press(live, "anew")
    assert steps == list(range(12))
    assert lane.behind["step"].tolist() == [2, 4, 6, 8, 10, 12]
    assert sorted(live.store.root.rglob("*")) == before


def test_stop_answers_before_the_next_step_and_train_resumes_with_the_curve_so_far(live):
    live.stop.click()  # without a job: nothing
    lane = live.lanes[0]
    check = lane._check

    def at_seven(state):
        if state.step == 7:  # between two evaluations
            live.stop.click()
            assert lane.message.value == "stopping …"
        check(state)

    lane._check = at_seven
    press(live)
    assert lane.message.value == "stopped at step 7; Train resumes from here"
    spec, lane._check = lane.spec, check
    assert len(list(live.store.folder(spec).glob("checkpoint-*7.safetensors"))) == 1
    again = LiveTraining(live.scale, live.store)  # after a restart
    assert [row["step"] for row in again.lanes[0].rows] == [2, 4, 6]
    assert "step 6 of 12" in again.lanes[0].message.value
    again.second.value = 0
    press(again)
    manifest = live.store.manifest(spec)
    assert manifest["resumed"][0]["step"] == 7
    press(live, "anew")
    assert (
        live.lanes[0].store.manifest(spec)["files"]["weights.safetensors"]
        == (manifest["files"]["weights.safetensors"])
    )


def test_another_job_on_the_run_is_named_at_once(live):
    with hold(live.store.folder(live.lanes[0].spec)):
        press(live)
    assert "held by a process" in messages(live)[0]
    assert "role='alert'" in messages(live)[0]


# The committed models


def test_the_committed_models_are_what_they_say():
    demo = load_demo()
    assert list(demo.trained_on.values()) == [10, 3_000]
    assert list(demo.models) == ["trained on 10 instructions", "trained on 3,000 instructions"]
    table = compare(demo, RULE, TEXT)
    assert table["right"].tolist() == [True, False, True]
    for spec, model in zip(SCALES["show"].ends(), demo.models.values(), strict=True):
        committed = {line["split"]: line["accuracy"] for line in committed_store().finished(spec)["scores"]}
        evaluation = spec.task.evaluation(spec.task.split(), 400, spec.evaluation.seed)
        for split, few in evaluation.items():
            right = exact_match(greedy_answers(model, few.prompts), few).mean()
            assert right == pytest.approx(committed[split], abs=0.03)  # fewer examples
