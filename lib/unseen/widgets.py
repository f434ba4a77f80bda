"""Widgets over the functions of this library; each has a plain function beside it that needs no browser.

Whatever a person types is checked, then shown escaped: nothing is interpreted, and a mistake is a
sentence beside the field, never a traceback.
"""

import html
import io
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

import ipywidgets as ipw
import pandas as pd
from IPython.display import HTML, display
from matplotlib.figure import Figure

from unseen import plots
from unseen.disk.files import BrokenRun, project_folder
from unseen.disk.weights import import_model
from unseen.encoding import Encoding
from unseen.evaluation import answer
from unseen.model import Transformer
from unseen.rewriting import Rule
from unseen.running.progress import headless
from unseen.running.workers import Stopped
from unseen.scales import Scale
from unseen.specs import RunSpec
from unseen.store import Store
from unseen.sweep import ensure
from unseen.training import Row

_LONGEST = 200  # characters of a field that are looked at


@dataclass(frozen=True)
class Demo:
    """The two committed models: one trained on few different instructions, one on many, on equal budgets."""

    models: Mapping[str, Transformer]
    encoding: Encoding
    trained_on: Mapping[str, int]


def load_demo() -> Demo:
    """Read the committed models; raises ``BrokenRun`` when a file is not what was committed."""
    models, trained_on, encodings = {}, {}, set()
    for which in ("low", "high"):
        model, spec = import_model(project_folder() / "data" / "checkpoints" / f"{which}.safetensors")
        name = f"trained on {spec.task.instructions:,} instructions"
        models[name], trained_on[name] = model, spec.task.instructions
        encodings.add(Encoding.of(spec.task))
    if len(encodings) > 1:  # one field of text cannot be for both
        raise BrokenRun("the two models in data/checkpoints read different alphabets or lengths")
    return Demo(models, encodings.pop(), trained_on)


def compare(demo: Demo, rule: Rule, text: str) -> pd.DataFrame:
    """What the oracle and each model answer: columns who, answer, right.

    Raises ``ValueError`` when the models cannot read the rule or the input.
    """
    demo.encoding.prompt(rule, text)
    right = rule.apply(text)
    answers = {"oracle": right} | {
        name: answer(model, demo.encoding, rule, text) for name, model in demo.models.items()
    }
    return pd.DataFrame([{"who": who, "answer": each, "right": each == right} for who, each in answers.items()])


def compared_html(rule: Rule, text: str, answers: pd.DataFrame) -> str:
    """The frame of ``compare`` letter by letter: the pattern marked in the input, right and wrong letters coloured."""
    start = text.find(rule.pattern)
    inside = range(start, start + len(rule.pattern)) if start >= 0 else range(0)
    marked = [(letter, "pattern" if i in inside else "") for i, letter in enumerate(text)]
    right = answers["answer"].iloc[0]
    rows = [_letters("input", marked, "" if start >= 0 else "the pattern does not occur: nothing to replace")]
    for line in answers.itertuples():
        pairs = zip_longest(line.answer, right, fillvalue="·")
        letters = [(mine, "" if line.who == "oracle" else "right" if mine == best else "wrong") for mine, best in pairs]
        wrong = sum(mark == "wrong" for _, mark in letters)
        rows.append(
            _letters(line.who, letters, "" if line.who == "oracle" else "✓ right" if line.right else f"✗ {wrong} wrong")
        )
    return f"<table style='border-spacing:2px;border-collapse:separate'>{''.join(rows)}</table>"


def _letters(name: str, letters: list[tuple[str, str]], verdict: str) -> str:
    cells = "".join(
        f"<td style='width:1.5em;text-align:center;font:15px monospace;padding:2px;background:{_shade(mark)}'>"
        f"{html.escape(letter)}</td>"
        for letter, mark in letters
    )
    label = f"<td style='text-align:right;padding-right:.8em'>{html.escape(name)}</td>"
    return f"<tr>{label}{cells}<td style='padding-left:.8em'>{html.escape(verdict)}</td></tr>"


def _shade(mark: str) -> str:
    if not mark:
        return "rgba(128,128,128,.12)"
    red, green, blue = (round(255 * part) for part in plots.COLOURS[mark])
    return f"rgba({red},{green},{blue},.38)"


class RuleExplorer(ipw.VBox):
    """Type a rule and an input; oracle and models answer letter by letter, at every change."""

    def __init__(self, demo: Demo, rule: Rule, text: str):
        self.demo = demo
        make = {"style": {"description_width": "6.5em"}, "layout": ipw.Layout(width="20em")}
        self.pattern = ipw.Text(rule.pattern, description="replace", **make)
        self.replacement = ipw.Text(rule.replacement, description="by", **make)
        self.text = ipw.Text(text, description="in", **make)
        self.random = ipw.Button(
            description="another example", icon="random", tooltip="an unseen rule and a random input"
        )
        self.message, self.answers = ipw.HTML(), ipw.HTML()
        self.fields = {"pattern": self.pattern, "replacement": self.replacement, "input": self.text}
        self.showing = False  # while all fields change together
        for field in self.fields.values():
            field.observe(lambda _: self.showing or self.refresh(), "value")
        super().__init__([*self.fields.values(), self.random, self.message, self.answers])
        self.refresh()

    def refresh(self) -> None:
        """Answer what the fields hold, or say what is wrong with them."""
        rule, text = Rule(self.pattern.value[:_LONGEST], self.replacement.value[:_LONGEST]), self.text.value[:_LONGEST]
        try:
            answers = compare(self.demo, rule, text)
        except ValueError as error:
            self.message.value = f"<span role='alert' style='color:#b00020'>{html.escape(str(error))}</span>"
            self.answers.value = ""
            return
        self.message.value, self.answers.value = "", compared_html(rule, text, answers)

    def show(self, rule: Rule, text: str) -> None:
        """Put a rule and an input into the fields and answer them."""
        self.showing = True
        self.pattern.value, self.replacement.value, self.text.value = rule.pattern, rule.replacement, text
        self.showing = False
        self.refresh()


def rule_explorer(demo: Demo, examples: list[tuple[Rule, str]]) -> RuleExplorer:
    """The explorer, showing the first of some examples; its button steps through the others."""
    explorer, place = RuleExplorer(demo, *examples[0]), [0]

    def another(_: ipw.Button) -> None:
        place[0] = (place[0] + 1) % len(examples)
        explorer.show(*examples[place[0]])

    explorer.random.on_click(another)
    return explorer


class LiveTraining(ipw.VBox):
    """Choose a number of instructions, press Train, watch seen against unseen; Stop keeps a checkpoint."""

    def __init__(self, scale: Scale, store: Store | None = None):
        self.scale, self.store = scale, store or Store()
        self.choice = ipw.Dropdown(options=[(f"{n:,} instructions", n) for n in scale.instructions],
                                   value=scale.instructions[-1], description="train on")  # fmt: skip
        self.train = ipw.Button(description="Train", icon="play", button_style="primary")
        self.stop = ipw.Button(description="Stop", icon="stop", disabled=True)
        self.bar = ipw.IntProgress(min=0, max=1, layout=ipw.Layout(width="20em"))
        self.message = ipw.HTML("ready")
        self.picture = ipw.Image(format="png", layout=ipw.Layout(max_width="46em", display="none"))
        self.train.on_click(lambda _: self.begin())
        self.stop.on_click(lambda _: self.stopping.set())
        self.stopping, self.job = threading.Event(), None
        self.rows: list[Row] = []
        self.spec: RunSpec | None = None  # of the rows
        super().__init__(
            [ipw.HBox([self.choice, self.train, self.stop]), ipw.HBox([self.bar, self.message]), self.picture]
        )

    def begin(self) -> None:
        """Start training in the background, unless a job is running already."""
        if self.job is not None and self.job.is_alive():
            return
        self.stopping.clear()
        self.train.disabled, self.stop.disabled = True, False
        spec = self.scale.run(self.choice.value)
        if spec != self.spec:  # a stopped run goes on with the curve it has
            self.spec, self.rows, self.picture.layout.display = spec, [], "none"
        self.message.value = "drawing the data …"
        self.job = threading.Thread(target=self._work, args=(spec,), daemon=True)
        self.job.start()

    def _work(self, spec: RunSpec) -> None:
        self.bar.max, self.bar.value = spec.training.steps, 0
        try:
            known = self.store.manifest(spec) is not None
            scores = {line["split"]: line["accuracy"] for line in ensure(spec, self.store, self._watch)["scores"]}
            self.rows, self.bar.value = self.store.history(spec).to_dict("records"), spec.training.steps
            self._draw()
            self.message.value = (f"{'from the store' if known else 'done'}: {scores['seen']:.1%} on seen, "
                                  f"{scores['unseen']:.1%} on unseen instructions")  # fmt: skip
        except Stopped:
            self.message.value = f"stopped at step {self.bar.value}; Train goes on from here"
        except Exception as error:
            self.message.value = html.escape(f"{type(error).__name__}: {error}")
        finally:
            self.train.disabled, self.stop.disabled = False, True

    def _watch(self, row: Row) -> None:
        self.rows.append(row)
        self.bar.value = int(row["step"])
        self.message.value = f"step {row['step']:,}, {row['seconds']:.0f} s"
        self._draw()
        if self.stopping.is_set():
            raise Stopped

    def _draw(self) -> None:
        self.picture.value, self.picture.layout.display = curve_picture(self.rows), None


def curve_picture(rows: list[Row]) -> bytes:
    """The rows of a history as a PNG picture of accuracy against steps."""
    figure = Figure(figsize=(8, 3.6), dpi=100, layout="constrained")
    history = pd.DataFrame(rows).melt(["step"], ["seen", "unseen"], "split", "accuracy").assign(instructions=0)
    plots.learning_curves(history, figure.subplots())
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


def live_training(scale: Scale) -> LiveTraining | None:
    """The widget for a person; nothing when nobody looks."""
    return None if headless() else LiveTraining(scale)


def explore(answer: Callable[..., Any], **controls: ipw.Widget) -> ipw.interactive | None:
    """Controls, and below them what ``answer`` makes of their values, drawn anew at every change.

    ``answer`` takes the values by the names of the controls and returns anything that a notebook can display (HTML, a
    figure, a frame).  A ``ValueError`` becomes a sentence in the answer's place, never a traceback.  For the tests the last
    answer is ``.result``.  Headless there is nobody to explore, and None is returned.

    >>> from contextlib import redirect_stdout
    >>> with redirect_stdout(io.StringIO()):  # a notebook draws it in its place
    ...     explorer = explore(lambda n: n * n, n=ipw.IntText(3, description="number"))
    ...     explorer.children[0].value = 5
    >>> explorer.result
    25
    """
    if headless():
        return None

    def show(**values: Any) -> Any:
        try:
            found = answer(**values)
        except ValueError as error:
            found = HTML(f"<span role='alert' style='color:#b00020'>{html.escape(str(error))}</span>")
        display(found)
        return found

    return ipw.interactive(show, **controls)
