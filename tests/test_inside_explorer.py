"""Whatever is typed or picked: a picture or a sentence, never a traceback, never markup."""

import html

import pytest

from unseen.encoding import Encoding
from unseen.inside.explorer import VIEWS, InsideExplorer, Look, inside_explorer, look, png
from unseen.model import Shape, build
from unseen.rewriting import Rule
from unseen.specs import ModelSpec, TaskSpec
from unseen.widgets import Demo

LOOK = Look(Rule("cat", "dog"), "onecatnaps", "low")
PNG = b"\x89PNG"


@pytest.fixture(scope="module")
def demo():
    """Two models that have learned nothing, for the task of the committed ones."""
    encoding = Encoding.of(TaskSpec())
    sizes = {"low": 10, "<b>high</b>": 3_000}
    models = {name: build(ModelSpec(layers=2, width=16, heads=2), Shape.of(encoding)) for name in sizes}
    return Demo(models, encoding, sizes)


@pytest.fixture
def explorer(demo):
    return InsideExplorer(demo, LOOK)


@pytest.mark.parametrize("model", ["low", "<b>high</b>"])
@pytest.mark.parametrize("view", VIEWS.values())
@pytest.mark.parametrize("layer", [1, 2])
def test_every_view_of_every_model_is_a_picture(demo, model, view, layer):
    assert png(look(demo, Look(LOOK.rule, LOOK.text, model, view, layer, 2))).startswith(PNG)


@pytest.mark.parametrize(("changes", "words"), [
    ({"model": "mine"}, "model 'mine'"), ({"view": "dreams"}, "view 'dreams'"), ({"layer": 3}, "2 layers of 2 heads"),
    ({"layer": 0, "view": "attention"}, "2 layers"), ({"head": 3}, "2 heads"), ({"text": "cat"}, "input: 3 letters"),
    ({"rule": Rule("ca", "dog")}, "pattern: 2 letters"), ({"rule": Rule("cat", "d→g")}, "replacement: unknown letter '→'"),
])  # fmt: skip
def test_what_cannot_be_looked_at_is_a_sentence(demo, changes, words):
    with pytest.raises(ValueError, match=words):
        look(demo, Look(**{**vars(LOOK), **changes}))


def test_a_change_draws_again(explorer):
    before = bytes(explorer.picture.value)
    explorer.layer.value = 2
    assert bytes(explorer.picture.value).startswith(PNG)
    assert bytes(explorer.picture.value) != before
    explorer.view.value = "attention"
    assert explorer.head.layout.display is None
    assert explorer.message.value == ""
    assert "onedognaps" in "".join(part.split("<")[0] for part in explorer.answer.value.split(">")).replace(" ", "")


def test_only_the_head_is_hidden_where_there_is_none_to_choose(explorer):
    explorer.view.value = "lens"
    assert [control.layout.display for control in explorer.controls] == [None] * 6 + ["none"]
    explorer.view.value = "attention"
    assert [control.layout.display for control in explorer.controls] == [None] * 7


@pytest.mark.parametrize("typed", ["<script>alert(1)</script>", "", "ÄÖÜ", "x" * 100_000, "a\nb", "cat→", "🦊🦊🦊"])
@pytest.mark.parametrize("field", ["pattern", "replacement", "text"])
def test_whatever_is_typed_is_answered_with_a_sentence(explorer, field, typed):
    getattr(explorer, field).value = typed
    message = explorer.message.value
    assert message.startswith("<span role='alert'")
    assert "<script" not in message
    assert len(html.unescape(message)) < 1_000
    assert explorer.answer.value == ""
    assert explorer.picture.layout.display == "none"


def test_a_mistake_that_is_mended_is_forgotten(explorer):
    explorer.pattern.value = "ca"
    explorer.pattern.value = "cat"
    assert explorer.message.value == ""
    assert explorer.picture.layout.display is None


def test_a_name_of_a_model_is_shown_as_text(explorer):
    explorer.model.value = "<b>high</b>"
    assert "<b>" not in explorer.answer.value
    assert html.escape("<b>high</b>") in explorer.answer.value


def test_nobody_looks_nothing_is_made(demo, monkeypatch):
    monkeypatch.setenv("UNSEEN_HEADLESS", "1")
    assert inside_explorer(demo, LOOK) is None
    monkeypatch.delenv("UNSEEN_HEADLESS")
    assert isinstance(inside_explorer(demo, LOOK), InsideExplorer)
