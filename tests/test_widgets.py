"""Whatever is typed or pressed: an answer or a sentence, never a traceback, never markup."""

import json

import ipywidgets as ipw
import pandas as pd
import pytest
from matplotlib import pyplot as plt

from trainers import SMALL
from unseen import widgets
from unseen.evaluation import exact_match, greedy_answers
from unseen.figures import shade
from unseen.files import BrokenRun, project_folder
from unseen.model import Shape, build
from unseen.rewriting import Rule
from unseen.runs.checkpoints import import_model
from unseen.runs.store import Store
from unseen.scales import Scale, Setting
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


@pytest.mark.parametrize("make", [plt.figure, lambda: pd.DataFrame({"a": [1]}), lambda: "text"])
def test_an_answer_of_any_kind_is_shown_once_per_change(make, monkeypatch):
    shown = []
    monkeypatch.setattr(widgets, "display", shown.append)
    number = ipw.IntText(3)
    explorer = explore(lambda number: make(), number=number)
    number.value = 4
    assert len(shown) == 2
    assert explorer.result is shown[1]
    assert plt.get_fignums() == []  # an open figure would be shown again


def test_the_button_steps_through_the_examples_and_draws_each_once(demo, monkeypatch):
    shown = []
    monkeypatch.setattr(widgets, "display", lambda found: shown.append(found.data))
    examples = [(RULE, TEXT), (Rule("iss", "art"), "mississipp"), (Rule("zzz", "abc"), "nozedshere")]
    explorer = rule_explorer(demo, examples)
    *fields, button, _ = explorer.children
    for rule, text in [*examples, examples[0]]:
        assert [field.value for field in fields] == [rule.pattern, rule.replacement, text]
        assert shown.pop() == compared_html(rule, text, compare(demo, rule, text))
        assert shown == []
        button.click()
    fields[0].value = "sis"
    assert len(shown) == 2  # typing is answered after the button, too
    fields[0].value = "<b>"
    assert "role='alert'" in shown[-1]
    assert "&lt;" in shown[-1]


def test_headless_there_is_no_widget(live, runs, monkeypatch):
    monkeypatch.setenv("UNSEEN_HEADLESS", "1")
    assert explore(lambda number: number, number=ipw.IntText(3)) is None
    assert widgets.live_training(live.scale) is None
    monkeypatch.delenv("UNSEEN_HEADLESS")
    assert isinstance(widgets.live_training(live.scale), LiveTraining)
    assert not runs.exists()


# Live training


@pytest.fixture
def live(tmp_path):
    return LiveTraining(Scale("tiny", "", (Setting("main", SMALL, (2, 3), (0,)),)), Store(tmp_path))


def press(live):
    live.train.click()
    live.job.join(60)
    assert not live.job.is_alive()
    assert (live.train.disabled, live.stop.disabled) == (False, True)


def test_train_trains_the_chosen_run_once_and_shows_it(live, monkeypatch):
    assert live.picture.layout.display == "none"  # no broken picture before there is one
    live.choice.value = 2
    press(live)
    seen, unseen = (line["accuracy"] for line in live.store.manifest(live.scale.run(2))["scores"])
    accuracy = f"{seen:.1%} on seen, {unseen:.1%} on unseen instructions"
    assert live.message.value == f"done: {accuracy}"
    assert (live.bar.value, live.bar.max) == (12, 12)
    assert [row["step"] for row in live.rows] == [2, 4, 6, 8, 10, 12]
    assert bytes(live.picture.value).startswith(b"\x89PNG")
    monkeypatch.setattr("unseen.runs.store.train", lambda *_: pytest.fail("it was trained again"))
    press(live)
    assert live.message.value == f"from the store: {accuracy}"


def test_stop_keeps_a_checkpoint_and_train_resumes_from_it_with_the_curve_so_far(live):
    live.stop.click()  # without a job: nothing
    live._draw = live.stop.click  # pressed while the first row is drawn
    press(live)
    assert live.message.value == "stopped at step 2; Train resumes from here"
    spec, drawn = live.spec, []
    assert len(list(live.store.folder(spec).glob("checkpoint-*2.safetensors"))) == 1
    assert live.store.manifest(spec) is None
    live._draw = lambda: drawn.append([row["step"] for row in live.rows])
    press(live)
    assert drawn[0] == [2, 4]
    assert live.store.manifest(spec)["resumed"]
    live.choice.value = 2
    press(live)
    assert [2] in drawn  # another run has a curve of its own


def test_an_error_is_shown_as_text(live, monkeypatch):
    def fails(*_):
        raise BrokenRun("<b>bad</b>")

    monkeypatch.setattr(live.store, "manifest", fails)
    press(live)
    assert live.message.value == "BrokenRun: &lt;b&gt;bad&lt;/b&gt;"


# The committed models


def test_the_committed_models_are_what_they_say():
    demo = load_demo()
    assert list(demo.trained_on.values()) == [10, 3_000]
    assert list(demo.models) == ["trained on 10 instructions", "trained on 3,000 instructions"]
    table = compare(demo, RULE, TEXT)
    assert table["right"].tolist() == [True, False, True]
    folder = project_folder() / "data" / "checkpoints"
    for name, model in zip(("low", "high"), demo.models.values(), strict=True):
        _, spec = import_model(folder / f"{name}.safetensors")
        assert spec.task.layout == demo.layout
        committed = json.loads((folder / f"{name}.json").read_text())["accuracy"]
        evaluation = spec.task.evaluation(spec.task.split(), 400, spec.evaluation.seed)
        for split, few in evaluation.items():
            right = exact_match(greedy_answers(model, few.prompts), few).mean()
            assert right == pytest.approx(committed[split], abs=0.03)  # half precision, fewer examples


def test_a_committed_model_that_was_changed_is_refused(monkeypatch, tmp_path):
    monkeypatch.setattr(widgets, "project_folder", lambda: tmp_path)
    with pytest.raises(BrokenRun, match=r"low\.safetensors"):
        load_demo()
