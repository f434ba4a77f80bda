"""Type a rule and an input, and look into a model: where a head looks, or what the model would say after each layer.

``look`` is the plain function that draws the picture, ``InsideExplorer`` the widget over it, ``inside_explorer`` what a
notebook calls.  What is typed is checked, then shown escaped; a mistake is a sentence beside the field.
"""

import html
import io
from dataclasses import dataclass, replace

import ipywidgets as ipw
import pandas as pd
from matplotlib.figure import Figure

from unseen.datasets import Examples
from unseen.evaluation import greedy_answers
from unseen.inside import pictures
from unseen.inside.lens import candidates
from unseen.plots import COLOURS
from unseen.rewriting import Rule
from unseen.running.progress import headless
from unseen.tour.attention import attention
from unseen.tour.probes import one_example
from unseen.widgets import Demo, compare, compared_html

VIEWS = {"where a head looks": "attention", "what it would say after each layer": "lens"}
_LONGEST = 200  # characters of a field that are looked at


@dataclass(frozen=True)
class Look:
    """What to look at: a rule, an input, one of the demo's models, a view (of ``VIEWS``' values), a layer and a head from 1."""

    rule: Rule
    text: str
    model: str
    view: str = "lens"
    layer: int = 1
    head: int = 1


def look(demo: Demo, at: Look) -> Figure:
    """The picture of one example in one model, which reads the prompt and its own answer.

    Raises ``ValueError`` when the model cannot read the rule or the input, or there is no such model, view, layer or head.
    """
    _check(demo, at)
    model, example = demo.models[at.model], one_example(demo.encoding, at.rule, at.text)
    answer = greedy_answers(model, example.prompts)[0]
    if at.view == "lens":
        return _lens(candidates(model, example, answer), demo.encoding.text(example.answers[0]), at)
    read = replace(example, answers=answer[None]).tokens()
    weights = attention(model, read)[at.layer - 1][0, at.head - 1]
    figure = Figure(figsize=(7, 7), dpi=90, layout="constrained")
    tokens = demo.encoding.text(read[0])[: demo.encoding.context]
    pictures.head_map(
        weights, tokens, demo.encoding.prompt_length, figure.subplots(), f"{at.model}: layer {at.layer}, head {at.head}"
    )
    _tint_rule(figure, example)
    return figure


def _check(demo: Demo, at: Look) -> None:
    if at.model not in demo.models:
        raise ValueError(f"model {at.model!r}: there are {', '.join(demo.models)}")
    spec = demo.models[at.model].spec
    if at.view not in VIEWS.values():
        raise ValueError(f"view {at.view!r}: there are {', '.join(VIEWS.values())}")
    least = 0 if at.view == "lens" else 1
    if not (least <= at.layer <= spec.layers and 1 <= at.head <= spec.heads):
        raise ValueError(f"layer {at.layer}, head {at.head}: there are {spec.layers} layers of {spec.heads} heads")


def _lens(table: pd.DataFrame, right: str, at: Look) -> Figure:
    figure = Figure(figsize=(8, 5.6), dpi=90, layout="constrained")
    above, below = figure.subplots(2, 1, height_ratios=(6, 4))
    pictures.lens(table, right, above, at.layer).set_title(at.model)
    pictures.candidates(table, at.layer, below)
    return figure


def _tint_rule(figure: Figure, example: Examples) -> None:
    """The letters of the pattern and of the replacement in their colours, at both axes."""
    x, y = example.encoding.pattern_length, example.encoding.replacement_length
    parts = dict.fromkeys(range(x), COLOURS["pattern"]) | dict.fromkeys(range(x + 1, x + 1 + y), COLOURS["replacement"])
    for axis in (figure.axes[0].xaxis, figure.axes[0].yaxis):
        for place, colour in parts.items():
            axis.get_ticklabels()[place].set(color=colour, weight="bold")


def png(figure: Figure) -> bytes:
    """A figure as a PNG picture."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


def _named(description: str) -> dict[str, object]:
    """How a control looks; each has a layout of its own, so that one can be hidden without the others."""
    return {"description": description, "style": {"description_width": "5em"}, "layout": ipw.Layout(width="24em")}


class InsideExplorer(ipw.VBox):
    """Fields for a rule and an input, menus for model, view, layer and head; the picture follows every change."""

    def __init__(self, demo: Demo, at: Look):
        self.demo = demo
        spec = demo.models[at.model].spec
        self.pattern = ipw.Text(at.rule.pattern, **_named("replace"))
        self.replacement = ipw.Text(at.rule.replacement, **_named("by"))
        self.text = ipw.Text(at.text, **_named("in"))
        self.model = ipw.Dropdown(options=list(demo.models), value=at.model, **_named("model"))
        self.view = ipw.Dropdown(options=list(VIEWS.items()), value=at.view, **_named("see"))
        self.layer = ipw.IntSlider(at.layer, min=1, max=spec.layers, **_named("layer"))
        self.head = ipw.IntSlider(at.head, min=1, max=spec.heads, **_named("head"))
        self.message, self.answer = ipw.HTML(), ipw.HTML()
        self.picture = ipw.Image(format="png", layout=ipw.Layout(max_width="46em"))
        self.controls = (self.pattern, self.replacement, self.text, self.model, self.view, self.layer, self.head)
        for control in self.controls:
            control.observe(lambda _: self.refresh(), "value")
        super().__init__(
            [
                ipw.HBox([ipw.VBox(self.controls[:3]), ipw.VBox(self.controls[3:])]),
                self.message,
                self.answer,
                self.picture,
            ]
        )
        self.refresh()

    def look(self) -> Look:
        """What the controls ask for; at most so many characters of a field."""
        rule = Rule(self.pattern.value[:_LONGEST], self.replacement.value[:_LONGEST])
        return Look(
            rule, self.text.value[:_LONGEST], self.model.value, self.view.value, self.layer.value, self.head.value
        )

    def refresh(self) -> None:
        """Draw what the controls ask for, or say what is wrong with it."""
        at = self.look()
        self.head.layout.display = None if at.view == "attention" else "none"
        try:
            figure, answers = look(self.demo, at), compare(self.demo, at.rule, at.text)
        except ValueError as error:
            self.message.value = f"<span role='alert' style='color:#b00020'>{html.escape(str(error))}</span>"
            self.answer.value, self.picture.layout.display = "", "none"
            return
        self.message.value, self.picture.layout.display = "", None
        answers = answers[answers["who"].isin(("oracle", at.model))]
        self.answer.value, self.picture.value = compared_html(at.rule, at.text, answers), png(figure)


def inside_explorer(demo: Demo, at: Look) -> InsideExplorer | None:
    """The widget for a person; nothing when nobody looks."""
    return None if headless() else InsideExplorer(demo, at)
