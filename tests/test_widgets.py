"""Whatever is typed or pressed: an answer or a sentence, never a traceback, never markup."""

import html
import json
import threading

import pytest

from trainers import SMALL
from unseen import widgets
from unseen.datasets import evaluation_examples
from unseen.disk.files import BrokenRun, project_folder
from unseen.disk.weights import import_model
from unseen.encoding import Encoding
from unseen.evaluation import exact_match, greedy_answers
from unseen.instructions import draw_split
from unseen.model import Shape, build
from unseen.rewriting import Rule
from unseen.scales import Scale, Setting, scale
from unseen.specs import ModelSpec, TaskSpec
from unseen.store import Store
from unseen.sweep import ensure
from unseen.widgets import (
    Demo,
    LiveTraining,
    RuleExplorer,
    compare,
    compared_html,
    live_training,
    load_demo,
    rule_explorer,
)

RULE, TEXT = Rule("cat", "dog"), "onecatnaps"
PNG = b"\x89PNG"


@pytest.fixture(scope="module")
def demo():
    """Two models that have learned nothing, for the task of the committed ones."""
    encoding = Encoding.of(TaskSpec())
    sizes = {"low": 10, "<b>high</b>": 3_000}
    return Demo(
        {name: build(ModelSpec(layers=1, width=16, heads=2), Shape.of(encoding)) for name in sizes}, encoding, sizes
    )


# Comparing


def test_oracle_and_models_answer_side_by_side(demo):
    table = compare(demo, RULE, TEXT)
    assert list(table) == ["who", "answer", "right"]
    assert table["who"].tolist() == ["oracle", "low", "<b>high</b>"]
    assert table.iloc[0][["answer", "right"]].tolist() == ["onedognaps", True]
    assert (table["right"] == (table["answer"] == "onedognaps")).all()


@pytest.mark.parametrize(
    ("rule", "text"), [(Rule("ca", "dog"), TEXT), (Rule("cat", ""), TEXT), (RULE, "short"), (RULE, "one cat na")]
)
def test_what_the_models_cannot_read_is_an_error(demo, rule, text):
    with pytest.raises(ValueError, match=r"^(pattern|replacement|input): "):
        compare(demo, rule, text)


def compared(rule, text, **answers):
    right = rule.apply(text)
    answers = {"oracle": right, **answers}
    return compared_html(rule, text, widgets.pd.DataFrame(
        [{"who": who, "answer": each, "right": each == right} for who, each in answers.items()]))  # fmt: skip


def test_letters_are_marked_right_and_wrong():
    page = compared(RULE, TEXT, one="onedognaps", two="onedigmaps", short="onedog", long="onedognapsxx", none="")
    rows = page.split("<tr>")[1:]
    marks = [(row.count(widgets._shade("right")), row.count(widgets._shade("wrong"))) for row in rows]
    assert marks == [(0, 0), (0, 0), (10, 0), (8, 2), (6, 4), (10, 2), (0, 10)]
    assert rows[0].count(widgets._shade("pattern")) == 3
    assert ["✓ right" in row for row in rows] == [False, False, True, False, False, False, False]
    assert "✗ 2 wrong" in rows[3]
    assert "✗ 10 wrong" in rows[6]


def test_a_no_op_is_told():
    assert "the pattern does not occur: nothing to replace" in compared(Rule("zzz", "abc"), TEXT)
    assert widgets._shade("pattern") not in compared(Rule("zzz", "abc"), TEXT)
    assert "does not occur" not in compared(RULE, TEXT)


def test_names_and_letters_are_escaped():
    page = compared(Rule("<a>", "&&&"), "<a><b>'\"x", **{"<script>": "<img src=x>"})
    assert "<script" not in page
    assert "<img" not in page
    assert html.escape("<script>") in page


# The explorer

BAD = {
    "empty": "", "one letter": "c", "too long": "cats", "capitals": "CAT", "a space": "c t", "ten thousand": "a" * 10_000,
    "ten thousand others": "<" * 10_000, "markup": "<script>alert(1)</script>", "a quote": "c'\"", "an ampersand": "&lt",
    "emoji": "🐱🐶🐱", "an accent": "caé", "special tokens": "→|=", "a null": "a\0b", "lines": "a\nb", "right to left": "\u202eab",
}  # fmt: skip


@pytest.mark.parametrize("field", ["pattern", "replacement", "input"])
@pytest.mark.parametrize("bad", BAD)
def test_bad_input_is_told_beside_the_field_and_nothing_is_interpreted(demo, field, bad):
    explorer = RuleExplorer(demo, RULE, TEXT)
    explorer.fields[field].value = BAD[bad]
    assert f">{field}: " in explorer.message.value
    assert explorer.message.value.count("<") == 2  # our own tag, opened and closed
    assert "role='alert'" in explorer.message.value
    assert len(explorer.message.value) < 300
    assert explorer.answers.value == ""
    explorer.fields[field].value = {"pattern": "cat", "replacement": "dog", "input": TEXT}[field]
    assert explorer.message.value == ""
    assert explorer.answers.value == compared_html(RULE, TEXT, compare(demo, RULE, TEXT))


def test_good_input_is_answered_at_every_change(demo):
    explorer = RuleExplorer(demo, RULE, TEXT)
    before = explorer.answers.value
    assert before
    explorer.pattern.value = "nap"
    assert explorer.answers.value == compared_html(Rule("nap", "dog"), TEXT, compare(demo, Rule("nap", "dog"), TEXT))
    assert explorer.answers.value != before
    assert "<b>high" not in explorer.answers.value


def test_the_button_steps_through_the_examples(demo):
    examples = [(RULE, TEXT), (Rule("iss", "art"), "mississipp"), (Rule("zzz", "abc"), "nozedshere")]
    explorer = rule_explorer(demo, examples)
    for rule, text in [*examples, examples[0]]:
        assert (explorer.pattern.value, explorer.replacement.value, explorer.text.value) == (
            rule.pattern,
            rule.replacement,
            text,
        )
        assert explorer.answers.value == compared_html(rule, text, compare(demo, rule, text))
        explorer.random.click()


# Live training


@pytest.fixture
def live(tmp_path):
    return LiveTraining(Scale("tiny", "", (Setting("main", SMALL, (2, 3), (0,)),)), Store(tmp_path))


def press(live, button="train"):
    getattr(live, button).click()
    live.job.join(60)
    assert not live.job.is_alive()


def spec_of(live):
    return live.scale.run(live.choice.value)


def ready(live):
    return (live.train.disabled, live.stop.disabled) == (False, True)


def test_train_trains_the_chosen_run_and_shows_it(live):
    assert ready(live)
    live.choice.value = 2
    press(live)
    manifest = live.store.manifest(live.scale.run(2))
    seen, unseen = (line["accuracy"] for line in manifest["scores"])
    assert live.message.value == f"done: {seen:.1%} on seen, {unseen:.1%} on unseen instructions"
    assert (live.bar.value, live.bar.max) == (12, 12)
    assert [row["step"] for row in live.rows] == [2, 4, 6, 8, 10, 12]
    assert bytes(live.picture.value).startswith(PNG)
    assert ready(live)


def test_a_finished_run_comes_from_the_store(live, monkeypatch):
    ensure(spec_of(live), live.store, device="cpu")
    monkeypatch.setattr("unseen.sweep.train", lambda *_: pytest.fail("it was trained again"))
    press(live)
    assert live.message.value.startswith("from the store: ")
    assert bytes(live.picture.value).startswith(PNG)
    assert ready(live)


def test_train_pressed_twice_starts_one_job(live, monkeypatch):
    calls, go = [], threading.Event()

    def slow(*arguments):
        calls.append(arguments)
        go.wait(60)
        return ensure(*arguments)

    monkeypatch.setattr(widgets, "ensure", slow)
    live.train.click()
    job = live.job
    assert (live.train.disabled, live.stop.disabled) == (True, False)
    live.train.click()
    live.begin()
    go.set()
    job.join(60)
    assert live.job is job
    assert len(calls) == 1
    assert live.message.value.startswith("done: ")


def test_stop_keeps_a_checkpoint_and_train_goes_on_from_it(live):
    live._draw = live.stop.click  # pressed while the first row is drawn
    press(live)
    assert live.message.value == "stopped at step 2; Train goes on from here"
    assert [path.name for path in live.store.folder(spec_of(live)).glob("checkpoint-*")] == [
        "checkpoint-000000000002.safetensors"
    ]
    assert live.store.manifest(spec_of(live)) is None
    assert ready(live)
    steps = []
    live._draw = lambda: steps.append(live.bar.value)
    press(live)
    assert steps == [4, 6, 8, 10, 12, 12]
    assert live.message.value.startswith("done: ")
    assert [row["step"] for row in live.rows] == [2, 4, 6, 8, 10, 12]
    assert live.store.manifest(spec_of(live)) is not None


def test_stop_without_a_job_does_nothing_to_the_next_one(live):
    live.stop.click()
    live._draw = lambda: None
    press(live)
    assert live.message.value.startswith("done: ")


def test_what_goes_wrong_is_told_as_text(live, monkeypatch):
    ensure(spec_of(live), live.store, device="cpu")
    (live.store.folder(spec_of(live)) / "history.csv").write_text("")
    press(live)
    assert live.message.value.startswith("BrokenRun: ")
    assert "history.csv" in live.message.value
    assert ready(live)

    def fails(*_):
        raise ValueError("<b>bad</b>")

    monkeypatch.setattr(live.store, "manifest", fails)
    press(live)
    assert live.message.value == "ValueError: &lt;b&gt;bad&lt;/b&gt;"
    assert ready(live)


def test_one_row_is_a_picture():
    assert widgets.curve_picture([{"step": 2, "loss": 1.0, "seen": 0.0, "unseen": 0.0, "seconds": 0.0}]).startswith(PNG)


def test_headless_there_is_no_widget(live, runs, monkeypatch):
    monkeypatch.setenv("UNSEEN_HEADLESS", "1")
    assert live_training(live.scale) is None
    monkeypatch.delenv("UNSEEN_HEADLESS")
    assert isinstance(live_training(live.scale), LiveTraining)
    assert not runs.exists()


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
        assert Encoding.of(spec.task) == demo.encoding
        told = json.loads((folder / f"{name}.json").read_text())["accuracy"]
        for split, examples in evaluation_examples(spec.task, draw_split(spec.task), spec.evaluation).items():
            few = examples.first(400)
            right = exact_match(greedy_answers(model, few.prompts), few).mean()
            assert right == pytest.approx(told[split], abs=0.03)  # half precision, fewer examples


def test_a_committed_model_that_was_changed_is_refused(monkeypatch, tmp_path):
    monkeypatch.setattr(widgets, "project_folder", lambda: tmp_path)
    with pytest.raises(BrokenRun, match=r"low\.safetensors"):
        load_demo()


def test_a_run_that_goes_on_keeps_its_curve_and_another_starts_afresh(runs):
    live = widgets.LiveTraining(scale("smoke"))
    assert live.picture.layout.display == "none"  # no broken picture before there is one
    first = live.scale.run(live.choice.value)
    live.spec, live.rows = first, [{"step": 4, "loss": 1.0, "seen": 0.0, "unseen": 0.0, "seconds": 0.1}]
    live._work = lambda spec: None
    live.begin()
    live.job.join()
    assert [row["step"] for row in live.rows] == [4]
    live.choice.value = live.scale.instructions[0]
    live.begin()
    live.job.join()
    assert live.rows == []
