"""Whatever is typed into a widget: a sentence in place of the answer, the kernel alive."""

import html
import re
import threading

import pytest
from deeds import AMOUNT
from hypothesis import given, settings
from hypothesis import strategies as st

from unseen.model import Shape, build
from unseen.rewriting import Rule
from unseen.runs.store import Store
from unseen.scales import scale
from unseen.specs import ModelSpec
from unseen.widgets import Demo, LiveTraining, rule_explorer
from unseen.worlds.strings import TaskSpec

fuzzed = settings(max_examples={"short": 40, "usual": 1_000, "long": 10_000}[AMOUNT])
FIELDS = ("pattern", "replacement", "text")
GOOD = ("cat", "dog", "onecatnaps")
TYPED = ["", " ", "123", "cats", "c", "→|=", "a" * 10_000, "<" * 10_000, "<script>alert(1)</script>",
         "<img src=x onerror=alert(1)>", "&lt;b&gt;", "\"'`", "😀😀😀", "\0\x07\x1b[31m", "\u202eabc\u202c",
         "a\u0301bc", "{1/0}", "%s%n", "a\nb\r\n", "$\\input{/etc/passwd}$", "\ud800"]  # fmt: skip
TAGS = re.compile(r"</?(?:table|tr|td|span|div)\b[^<>]*>")
STYLE = re.compile(r"<style>.*?</style>", re.DOTALL)


@pytest.fixture(scope="module")
def explorer():
    layout = TaskSpec().layout
    model = build(ModelSpec(layers=1, width=16, heads=2), Shape.of(layout))
    return rule_explorer(Demo({"low": model}, layout, {"low": 10}), [(Rule(*GOOD[:2]), GOOD[2])])


def typed(explorer, field, text):
    """What is shown for a text in one field, checked: an answer or a sentence, and nothing typed is a tag."""
    for name, control, value in zip(FIELDS, explorer.controls.values(), GOOD, strict=True):
        control.value = text if name == field else value
    assert explorer.error or "role='alert'" not in explorer.alert.value
    shown = STYLE.sub("", explorer.alert.value) if explorer.error else explorer.result.data
    rest = TAGS.sub("", shown)
    assert rest
    assert "<" not in rest
    assert "Traceback" not in html.unescape(rest)
    assert len(rest) < 2_000
    return shown, rest


@pytest.mark.parametrize("field", FIELDS)
def test_a_bad_text_is_a_sentence_and_the_next_is_answered(explorer, promise, field):
    for text in TYPED:
        answer, sentence = typed(explorer, field, text)
        assert answer.count("role='alert'") == 1
        assert sentence.startswith(("input" if field == "text" else field) + ": ")
        assert "onedognaps" in typed(explorer, "", "")[1]
        promise("bad texts")


@fuzzed
@given(st.sampled_from(FIELDS), st.one_of(st.text(), st.text("<>&\"'abc{}", max_size=12)))
def fuzz(explorer, count, field, value):
    count("texts of any kind")
    typed(explorer, field, value)


def test_hunt(explorer, promise):
    fuzz(explorer, promise)


def test_pressed_twice_it_is_one_job(tmp_path, promise, monkeypatch):
    live, gate, jobs = LiveTraining(scale("smoke"), Store(tmp_path)), threading.Event(), []
    real = live._race

    def race():
        jobs.append(1)
        gate.wait(30)
        real()

    monkeypatch.setattr(live, "_race", race)
    for _ in range(50):
        live.train.click()
    gate.set()
    live.job.join(60)
    assert len(jobs) == 1
    assert all("on seen" in lane.message.value for lane in live.lanes)
    promise("presses of Train", 50)
