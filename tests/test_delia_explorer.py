"""Asking models by hand: what is understood, what is refused, what the widget shows."""

import numpy as np
import pytest

from unseen.delia import explorer, methods
from unseen.delia.language import LETTERS
from unseen.delia.prompts import KINDS, ask, at_large, small_task
from unseen.encoding import layout_of
from unseen.model import Shape, build

RUN = methods.tuned("smoke", "plain").run


@pytest.fixture(scope="module")
def models():
    shape = Shape.of(layout_of(RUN.task))
    return {name: build(RUN.model.but(seed=seed, base=""), shape) for seed, name in enumerate(("base", "<b>plain</b>"))}


@pytest.mark.parametrize("names", ["one", "two"])
def test_everything_the_language_says_is_understood(names):
    rng = np.random.default_rng(0)
    for query in (at_large(rng, names) for _ in range(500)):
        assert explorer.understood(query.content, "square").answer == query.answer
    for kind in KINDS:
        chosen = small_task(RUN.task)
        query = ask(kind, chosen, rng)
        assert explorer.understood(query.content, chosen.format).answer == query.answer


@pytest.mark.parametrize(
    "text", ["", "ABC", "flip", ": ABC", "flip this", "replace AB in this : ABC", "delete from this : ABC"]
)
def test_what_is_no_query_has_no_right_answer(text):
    assert explorer.understood(text, "square") is None


@pytest.mark.parametrize(("text", "message"), [
    ("", "nothing is asked"),
    ("   ", "nothing is asked"),
    ("flip thiss : ABC", "no token for 'thiss'"),
    ("flip this : ABX", "no token for 'X'"),
    ("flip this : ABCDE", "ABCDE has 5 letters"),
    ("flip this : é", "no token for 'é'"),
    (" ".join(["this"] * 60), "61 tokens, but this model has 54"),
])  # fmt: skip
def test_a_bad_prompt_is_named(models, text, message):
    with pytest.raises(ValueError, match=message):
        explorer.answers(models, RUN, text)


def test_models_answer_beside_the_right_answer(models):
    table = explorer.answers(models, RUN, "flip this : ABC")
    assert table["model"].tolist() == ["right answer", *models]
    assert table["answer"][0] == "CBA"
    assert explorer.answers(models, RUN, "ABC")["model"].tolist() == list(models)


def test_what_is_shown_is_escaped(models):
    text = explorer.as_html(explorer.answers(models, RUN, "flip this in angle format : ABC"))
    assert "&lt;CBA&gt;" in text
    assert "<b>" not in text


def test_the_widget_takes_examples_and_tells_mistakes(models):
    widget = explorer.PromptExplorer(models, RUN)
    for kind in KINDS:
        widget.kind.value = kind
        assert "right answer" in widget.table.value
        assert widget.message.value == ""
    before = widget.text.value
    widget.another.click()
    assert widget.text.value != before
    widget.text.value = "<script> : " + LETTERS * 50
    assert "&#x27;&lt;script&gt;&#x27;" in widget.message.value or "&lt;" in widget.message.value
    assert "<script>" not in widget.message.value + widget.table.value
    widget.text.value = "flip this : ABC"
    assert widget.message.value == ""


def test_nobody_looks_nobody_is_shown(monkeypatch):
    monkeypatch.setenv("UNSEEN_HEADLESS", "1")
    assert explorer.prompt_explorer([]) is None
