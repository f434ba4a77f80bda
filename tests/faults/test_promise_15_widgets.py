"""Whatever is typed into a widget: a message beside the field, the kernel alive, nothing interpreted."""

import html
import re
import threading

import pytest
from deeds import AMOUNT
from hypothesis import given, settings
from hypothesis import strategies as st

from unseen.disk import holding
from unseen.encoding import Encoding
from unseen.model import Shape, build
from unseen.rewriting import Rule
from unseen.scales import scale
from unseen.specs import ModelSpec, TaskSpec
from unseen.store import Store
from unseen.widgets import Demo, LiveTraining, RuleExplorer

fuzzed = settings(max_examples={"short": 40, "usual": 1_000, "long": 10_000}[AMOUNT])
FIELDS = ("pattern", "replacement", "text")
GOOD = {"pattern": "cat", "replacement": "dog", "text": "onecatnaps"}
TYPED = {
    "empty": "", "a space": " ", "out of the alphabet": "CAT", "digits": "123", "10,000 characters": "a" * 10_000,
    "HTML": "<script>alert(1)</script>", "a handler": "<img src=x onerror=alert(1)>", "an entity": "&lt;b&gt;", "quotes": "\"'`",
    "emoji": "😀😀😀", "control characters": "\0\x07\x1b[31m", "right to left": "\u202eabc\u202c", "a combining mark": "a\u0301bc",
    "code": "{1/0}", "a percent": "%s%n", "line ends": "a\nb\r\n", "TeX": "$\\input{/etc/passwd}$", "half a character": "\ud800",
}  # fmt: skip
TAGS = re.compile(r"</?(?:table|tr|td|span)\b[^<>]*>")


@pytest.fixture(scope="module")
def explorer():
    encoding = Encoding.of(TaskSpec())
    model = build(ModelSpec(layers=1, width=16, heads=2), Shape.of(encoding))
    return RuleExplorer(Demo({"low": model}, encoding, {"low": 10}), Rule("cat", "dog"), "onecatnaps")


def typed(explorer, **values):
    for name, value in (GOOD | values).items():
        getattr(explorer, name).value = value
    return explorer.message.value, explorer.answers.value


def check(message, answers, value):
    assert bool(message) != bool(answers)  # a sentence or an answer, never both or neither
    rest = TAGS.sub("", message + answers)
    assert "<" not in rest  # nothing of what was typed became a tag
    assert len(message) < 2_000
    assert "Traceback" not in html.unescape(message)


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("what", TYPED)
def test_a_bad_text_is_a_sentence_beside_the_field(explorer, promise, what, field):
    message, answers = typed(explorer, **{field: TYPED[what]})
    check(message, answers, TYPED[what])
    assert "role='alert'" in message
    message, answers = typed(explorer)  # and the kernel answers the next one
    assert not message
    assert "onedognaps" in re.sub(TAGS, "", answers)
    promise("bad texts")


@fuzzed
@given(
    st.sampled_from(FIELDS),
    st.one_of(st.text(), st.text("<>&\"'abc{}", max_size=12), st.sampled_from([*TYPED.values()])),
)
def fuzz(explorer, count, field, value):
    count("texts of any kind")
    check(*typed(explorer, **{field: value}), value)


def test_hunt(explorer, promise):
    fuzz(explorer, promise)


@pytest.fixture
def live(tmp_path):
    return LiveTraining(scale("smoke"), Store(tmp_path))


def test_pressed_twice_it_is_one_job(live, promise, monkeypatch):
    gate, jobs = threading.Event(), []
    real = live._work

    def work(spec):
        jobs.append(spec)
        gate.wait(30)
        real(spec)

    monkeypatch.setattr(live, "_work", work)
    for _ in range(50):
        live.train.click()
    gate.set()
    live.job.join(60)
    assert len(jobs) == 1
    assert "on seen" in live.message.value
    promise("presses of Train", 50)


def test_stop_leaves_a_checkpoint_and_says_interrupted(live, promise):
    live.stop.click()  # before anything runs: nothing
    live.train.click()
    live.stop.click()
    live.job.join(60)
    spec = live.scale.run(live.choice.value)
    assert holding.state(live.store.folder(spec))["state"] == "interrupted"
    assert list(live.store.folder(spec).glob("checkpoint-*"))
    live.train.click()
    live.job.join(60)
    assert live.store.manifest(spec)["resumed"]
    promise("stops")
