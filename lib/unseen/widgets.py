"""Widgets over the functions of this library; each has a plain function that needs no browser.

Whatever a person types is checked, then shown escaped: nothing is interpreted, and a mistake is a sentence in
the answer's place, never a traceback.
"""

import html
import io
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle, zip_longest
from typing import Any

import ipywidgets as ipw
import matplotlib.pyplot as plt
import pandas as pd
from IPython.display import HTML, display
from matplotlib.figure import Figure

from unseen.evaluation import answer
from unseen.figures import learning_curves, tiles
from unseen.files import BrokenRun, project_folder
from unseen.layout import Layout
from unseen.model import Transformer
from unseen.rewriting import Rule
from unseen.runs.checkpoints import import_model
from unseen.runs.progress import headless
from unseen.runs.store import Store, ensure
from unseen.scales import Scale
from unseen.signals import Stopped
from unseen.specs import RunSpec
from unseen.training import Row

LONGEST = 200  # characters of a field that are read


@dataclass(frozen=True)
class Demo:
    """The two committed models: one trained on few different instructions, one on many, on equal budgets."""

    models: Mapping[str, Transformer]
    layout: Layout
    trained_on: Mapping[str, int]


def load_demo() -> Demo:
    """Read the committed models; raises ``BrokenRun`` when a file is not what was committed."""
    models, trained_on, encodings = {}, {}, set()
    for which in ("low", "high"):
        model, spec = import_model(project_folder() / "data" / "checkpoints" / f"{which}.safetensors")
        name = f"trained on {spec.task.instructions:,} instructions"
        models[name], trained_on[name] = model, spec.task.instructions
        encodings.add(spec.task.layout)
    if len(encodings) > 1:  # one input could not be for both
        raise BrokenRun("the two models in data/checkpoints read different alphabets or lengths")
    return Demo(models, encodings.pop(), trained_on)


def compare(demo: Demo, rule: Rule, text: str) -> pd.DataFrame:
    """What the oracle and each model answer: columns who, answer, right.

    Raises ``ValueError`` when the models cannot read the rule or the input.
    """
    demo.layout.prompt(rule, text)
    right = rule.apply(text)
    answers = {name: answer(model, demo.layout, rule, text) for name, model in demo.models.items()}
    rows = [(who, each, each == right) for who, each in [("oracle", right), *answers.items()]]
    return pd.DataFrame(rows, columns=["who", "answer", "right"])


def compared_html(rule: Rule, text: str, answers: pd.DataFrame) -> str:
    """The frame of ``compare`` letter by letter: the match marked in the input, letters right or wrong."""
    start = text.find(rule.pattern)
    match = range(start, start + len(rule.pattern) if start >= 0 else start)
    marked = [(letter, "pattern" if place in match else "") for place, letter in enumerate(text)]
    right = answers["answer"].iloc[0]
    rows = [("input", marked, "" if start >= 0 else "the pattern does not occur: nothing to replace")]
    for line in answers.itertuples():
        pairs = list(zip_longest(line.answer, right, fillvalue="·"))
        letters = [(mine, "right" if mine == best else "wrong") for mine, best in pairs]
        wrong = sum(mark == "wrong" for _, mark in letters)
        note = "✓ right" if line.right else f"✗ {wrong} wrong"
        if line.who == "oracle":
            letters, note = [(letter, "") for letter in line.answer], ""
        rows.append((line.who, letters, note))
    return tiles(rows)


def rule_explorer(demo: Demo, examples: Sequence[tuple[Rule, str]]) -> ipw.interactive | None:
    """Type a rule and an input, or step through examples: oracle and models answer letter by letter."""

    def answered(pattern: str, replacement: str, text: str) -> HTML:
        rule, text = Rule(pattern[:LONGEST], replacement[:LONGEST]), text[:LONGEST]
        return HTML(compared_html(rule, text, compare(demo, rule, text)))

    labels = {"pattern": "replace", "replacement": "by", "text": "in"}
    values = [(rule.pattern, rule.replacement, text) for rule, text in examples]
    steps = [dict(zip(labels, each, strict=True)) for each in values]
    fields = {name: ipw.Text(steps[0][name], description=label) for name, label in labels.items()}
    return explore(answered, steps, **fields)


class LiveTraining(ipw.VBox):
    """Choose a number of instructions, press Train, watch seen against unseen; Stop keeps a checkpoint."""

    def __init__(self, scale: Scale, store: Store | None = None):
        self.scale, self.store = scale, store or Store()
        sizes = [(f"{n:,} instructions", n) for n in scale.instructions]
        self.choice = ipw.Dropdown(options=sizes, value=scale.instructions[-1], description="train on")
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
        buttons, progress = ipw.HBox([self.choice, self.train, self.stop]), ipw.HBox([self.bar, self.message])
        super().__init__([buttons, progress, self.picture])

    def begin(self) -> None:
        """Start training in the background, unless a job is running already."""
        if self.job is not None and self.job.is_alive():
            return
        self.stopping.clear()
        self.train.disabled, self.stop.disabled = True, False
        spec = self.scale.run(self.choice.value)
        if spec != self.spec:  # a stopped run resumes with the curve it has
            self.spec, self.rows, self.picture.layout.display = spec, [], "none"
        self.message.value = "drawing the data …"
        self.job = threading.Thread(target=self._work, args=(spec,), daemon=True)
        self.job.start()

    def _work(self, spec: RunSpec) -> None:
        self.bar.max, self.bar.value = spec.training.steps, 0
        try:
            known = self.store.manifest(spec) is not None
            manifest = ensure(spec, self.store, self._watch)
            scores = {line["split"]: line["accuracy"] for line in manifest["scores"]}
            self.rows, self.bar.value = self.store.history(spec).to_dict("records"), spec.training.steps
            self._draw()
            accuracy = f"{scores['seen']:.1%} on seen, {scores['unseen']:.1%} on unseen instructions"
            self.message.value = f"{'from the store' if known else 'done'}: {accuracy}"
        except Stopped:
            self.message.value = f"stopped at step {self.bar.value}; Train resumes from here"
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
        figure, buffer = Figure(figsize=(8, 3.6), dpi=100, layout="constrained"), io.BytesIO()
        history = pd.DataFrame(self.rows).melt(["step"], ["seen", "unseen"], "split", "accuracy")
        learning_curves(history.assign(instructions=0), figure.subplots())
        figure.savefig(buffer, format="png")
        self.picture.value, self.picture.layout.display = buffer.getvalue(), None


def live_training(scale: Scale) -> LiveTraining | None:
    """The widget for a person; nothing when nobody looks."""
    return None if headless() else LiveTraining(scale)


def explore(
    answer: Callable[..., Any], examples: Sequence[Mapping[str, Any]] = (), /, **controls: ipw.Widget
) -> ipw.interactive | None:
    """Controls, and below them what ``answer`` makes of their values, drawn anew at every change.

    ``answer`` takes the values by the names of the controls and returns anything that a notebook can display
    (HTML, a figure, a frame).  A ``ValueError`` becomes a sentence in the answer's place, never a traceback.
    With ``examples`` (values by name) a button steps through them.  For tests the last answer is ``.result``.
    Headless there is nobody to explore, and None is returned.

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
        if isinstance(found, Figure):
            plt.close(found)  # or it would be shown a second time
        return found

    explorer = ipw.interactive(show, **controls)
    if examples:
        button = ipw.Button(description="another example", icon="random")
        turns = cycle([*examples[1:], examples[0]])
        button.on_click(lambda _: _fill(explorer, controls, next(turns)))
        explorer.children = (*explorer.children[:-1], button, explorer.children[-1])
    return explorer


def _fill(explorer: ipw.interactive, controls: Mapping[str, ipw.Widget], values: Mapping[str, Any]) -> None:
    """Change several controls and draw the answer once."""
    for name, value in values.items():
        controls[name].unobserve(explorer.update, "value")
        controls[name].value = value
        controls[name].observe(explorer.update, "value")
    explorer.update()
