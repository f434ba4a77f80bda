"""Widgets over the functions of this library; each has a plain function that needs no browser.

Whatever a person types is checked, then shown escaped: nothing is interpreted, and a mistake is a sentence
above the last answer, never a traceback.  What a widget first shows is also an ordinary output of its cell: a
page without a kernel has it, and beside a live widget it is hidden.
"""

import html
import io
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import cycle, zip_longest
from pathlib import Path
from types import MappingProxyType
from typing import Any

import ipywidgets as ipw
import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from IPython.display import HTML, Image, clear_output, display
from matplotlib.figure import Figure

from unseen.errors import Explained
from unseen.evaluation import answer, greedy_answers
from unseen.figures import Tile, learning_curves, percents, tiles
from unseen.layout import Layout
from unseen.model import Transformer
from unseen.rewriting import Rule
from unseen.runs.progress import duration, headless
from unseen.runs.store import Store, committed_store, ensure
from unseen.runs.workers import threads
from unseen.scales import SCALES, SHOW, Scale
from unseen.signals import Stopped
from unseen.specs import RunSpec
from unseen.training import Row, State

LONGEST = 200  # characters of a field that are read
# The style of a live widget hides the still picture beside it, whose style hides a widget that is not loaded
_LIVE = """<style>.unseen-stale { opacity: 0.4 }
.jp-OutputArea:has(> .jp-OutputArea-child .unseen-live)
  > .jp-OutputArea-child:not(:has(.unseen-live)) { display: none }</style>"""
_STILL = """<style>.jp-OutputArea:has(> .jp-OutputArea-child .unseen-still)
  > .jp-OutputArea-executeResult:not(:has(.unseen-live)) { display: none }</style>
<small class='unseen-still'>A still picture. Run this cell in JupyterLab to try it yourself.</small>"""
_DRAWING = threading.Lock()  # matplotlib is not made for several threads


@dataclass(frozen=True)
class Demo:
    """The two committed models: one trained on few different instructions, one on many, on equal budgets."""

    models: Mapping[str, Transformer]
    layout: Layout
    trained_on: Mapping[str, int]

    def read(self, pattern: str, replacement: str, text: str) -> tuple[Rule, str]:
        """A rule and an input as they were typed, in lower case where the models know no other."""
        parts = [part[:LONGEST] for part in (pattern, replacement, text)]
        if self.layout.alphabet.islower():
            parts = [part.lower() for part in parts]
        return Rule(*parts[:2]), parts[2]

    def fields(self, rule: Rule, text: str) -> dict[str, ipw.Text]:
        """A field for each part of a prompt, which says what may be typed; ``read`` takes their values."""
        labels, values = ("replace", "by", "in"), (rule.pattern, rule.replacement, text)
        made, letters = {}, self.layout.alphabet
        parts = zip(("pattern", "replacement", "text"), labels, values, self.layout.parts, strict=True)
        for name, label, value, length in parts:
            hint = f"{length} letters, {letters[0]} to {letters[-1]}"
            made[name] = ipw.Text(value, description=label, tooltip=hint)
        return made


def load_demo() -> Demo:
    """Read the committed models; raises ``BrokenRun`` when a file is not what was committed."""
    runs = {f"trained on {run.task.instructions:,} instructions": run for run in SCALES[SHOW].ends()}
    models = {name: committed_store().model(run) for name, run in runs.items()}
    layout = next(iter(runs.values())).task.layout
    return Demo(models, layout, {name: run.task.instructions for name, run in runs.items()})


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
        letters = _compared(line.answer, right)
        wrong = sum(mark == "wrong" for _, mark in letters)
        note = "✓ right" if line.right else f"✗ {wrong} wrong"
        if line.who == "oracle":
            letters, note = [(letter, "") for letter in line.answer], ""
        rows.append((line.who, letters, note))
    return tiles(rows)


def _compared(answer: str, right: str) -> list[Tile]:
    pairs = zip_longest(answer, right, fillvalue="·")
    return [(mine, "right" if mine == best else "wrong") for mine, best in pairs]


def rule_explorer(demo: Demo, examples: Sequence[tuple[Rule, str]]) -> "Explorer | None":
    """Type a rule and an input, or step through examples: oracle and models answer letter by letter."""

    def answered(**typed: str) -> HTML:
        rule, text = demo.read(**typed)
        return HTML(compared_html(rule, text, compare(demo, rule, text)))

    names = ("pattern", "replacement", "text")
    steps = [dict(zip(names, (rule.pattern, rule.replacement, text), strict=True)) for rule, text in examples]
    return explore(answered, steps, **demo.fields(*examples[0]))


# Exploring

Fill = Callable[[Any], Mapping[str, Any]]


def explore(
    answer: Callable[..., Any],
    examples: Sequence[Mapping[str, Any]] = (),
    fills: Mapping[str, Fill] = MappingProxyType({}),
    /,
    **controls: ipw.Widget,
) -> "Explorer | None":
    """Controls, and below them what ``answer`` makes of their values, drawn anew at every change.

    ``answer`` takes the values by the names of the controls and returns anything that a notebook can display
    (HTML, a figure, a frame).  When it raises, the last answer stays, greyed, and the error stands above it.
    A control's ``tooltip`` stands beside it.  With ``examples`` (values by name) a button steps through them;
    ``fills`` says by a control's name which values its new value puts into others.
    Headless the first answer is shown, and None is returned.

    >>> from contextlib import redirect_stdout
    >>> with redirect_stdout(io.StringIO()):  # a notebook draws it in its place
    ...     explorer = explore(lambda n: n * n, n=ipw.IntText(3, description="number"))
    ...     explorer.controls["n"].value = 5
    >>> explorer.result
    25
    """
    with suppress(ValueError):  # the explorer says it
        _show(answer, {name: control.value for name, control in controls.items()})
        display(HTML(_STILL))
    return None if headless() else Explorer(answer, examples, fills, controls)


def _show(answer: Callable[..., Any], values: Mapping[str, Any]) -> Any:
    found = answer(**values)
    with pd.option_context("display.max_colwidth", None):  # no text is cut
        display(found)
    if isinstance(found, Figure):
        plt.close(found)  # or it would be shown a second time
    return found


class Live(ipw.VBox):
    """A widget beside its still picture; a page that can show no widget shows nothing in its place."""

    def __init__(self, children: Sequence[ipw.Widget]):
        super().__init__(children)
        self.add_class("unseen-live")

    def __repr__(self) -> str:
        return ""


class Explorer(Live):
    """What ``explore`` returns: its ``controls`` by name, the last answer, ``result``, and the ``error`` that
    the present values have, empty if none.
    """

    def __init__(
        self,
        answer: Callable[..., Any],
        examples: Sequence[Mapping[str, Any]],
        fills: Mapping[str, Fill],
        controls: Mapping[str, ipw.Widget],
    ):
        self.answer, self.fills, self.controls = answer, fills, controls
        self.result, self.error, self.filling = None, "", False
        self.alert, self.output = ipw.HTML(_LIVE), ipw.Output()
        self.button = ipw.Button(description="another example", icon="random")
        turns = cycle([*examples[1:], *examples[:1]])
        self.button.on_click(lambda _: self.fill(next(turns)))
        for name, control in controls.items():
            control.observe(lambda change, name=name: self._changed(name, change["new"]), "value")
        rows = [*map(_with_hint, controls.values()), *[self.button] * bool(examples)]
        super().__init__([*rows, self.alert, self.output])
        self.update()

    def _changed(self, name: str, value: Any) -> None:
        if not self.filling:
            self.fill(self.fills[name](value) if name in self.fills else {})

    def fill(self, values: Mapping[str, Any]) -> None:
        """Change several controls, and answer once."""
        self.filling = True
        for name, value in values.items():
            self.controls[name].value = value
        self.filling = False
        self.update()

    def update(self) -> None:
        """Answer the values of the controls."""
        values = {name: control.value for name, control in self.controls.items()}
        with self.output:
            clear_output(wait=True)
            try:
                self.result, self.error = _show(self.answer, values), ""
            except Exception as error:
                self.error = _sentence(error)
        self.alert.value = _LIVE + _alert(self.error)
        (self.output.add_class if self.error else self.output.remove_class)("unseen-stale")


def _with_hint(control: ipw.Widget) -> ipw.HBox:
    hint = ipw.HTML(f"<small>{html.escape(control.tooltip or '')}</small>")
    return ipw.HBox([control, hint], layout=ipw.Layout(flex_flow="row wrap"))


def _sentence(error: Exception) -> str:
    """An error for a person; of one that was not foreseen also its type."""
    return str(error) if isinstance(error, ValueError | Explained) else f"{type(error).__name__}: {error}"


def _alert(sentence: str) -> str:
    look = "background:#b01240;color:white;padding:2px 8px;border-radius:3px"
    return f"<span role='alert' style='{look}'>{html.escape(sentence)}</span>" if sentence else ""


def numbers(typed: Mapping[str, str], ranges: Mapping[str, tuple[float, float]]) -> dict[str, float]:
    """The numbers in fields, by name; empty fields are left out.

    Raises ``ValueError`` naming a field, what was typed and the range, if it is no number of that range.

    >>> numbers({"width": "48", "depth": ""}, {"width": (16, 128), "depth": (1, 9)})
    {'width': 48.0}
    >>> numbers({"width": "1e9"}, {"width": (16, 128)})
    Traceback (most recent call last):
    ...
    ValueError: width: 1e9 is not a number from 16 to 128
    """
    found = {}
    for name, text in typed.items():
        (low, high), number = ranges[name], float("nan")
        with suppress(ValueError):
            number = float(text)
        if text.strip() and not low <= number <= high:
            raise ValueError(f"{name}: {text[:LONGEST]} is not a number from {low:,.7g} to {high:,.7g}")
        if text.strip():
            found[name] = number
    return found


# Live training


class LiveTraining(Live):
    """Choose one or two numbers of instructions and a seed, and watch seen against unseen while they train.

    *Train* resumes what was stopped, and takes a finished run from the store; *Train anew* trains it from its
    first step, and keeps nothing.  *Stop* keeps a checkpoint.
    """

    def __init__(self, scale: Scale, store: Store | None = None, known: Store | None = None):
        self.scale, self.store = scale, store or Store()
        self.known = known or committed_store()
        sizes = [(f"{n:,} instructions", n) for n in scale.instructions]
        self.first = ipw.Dropdown(options=sizes, value=scale.instructions[-1], description="train on")
        others = [("nothing else", 0), *sizes]
        self.second = ipw.Dropdown(options=others, value=scale.instructions[0], description="beside it")
        self.seed = ipw.BoundedIntText(0, 0, 2**31 - 1, description="seed", tooltip="0 or more")
        self.train = ipw.Button(description="Train", icon="play", button_style="primary")
        self.anew = ipw.Button(description="Train anew", icon="refresh")
        self.stop = ipw.Button(description="Stop", icon="stop", disabled=True)
        self.choices = (self.first, self.second, self.seed)
        for choice in self.choices:
            choice.observe(lambda _: self._choose(self.store), "value")
        self.train.on_click(lambda _: self.begin())
        self.anew.on_click(lambda _: self.begin(anew=True))
        self.stop.on_click(lambda _: self._stop())
        self.stopping, self.free, self.job = threading.Event(), threading.Lock(), None
        self.lanes = [Lane(self.stopping), Lane(self.stopping)]
        wrap = ipw.Layout(flex_flow="row wrap")
        choices = ipw.HBox([self.first, self.second, _with_hint(self.seed)], layout=wrap)
        buttons = ipw.HBox([self.train, self.anew, self.stop, ipw.HTML(_LIVE)])
        super().__init__([choices, buttons, ipw.HBox(self.lanes, layout=wrap)])
        self._choose(self.store)

    def _choose(self, store: Store) -> None:
        """Show what is known of the chosen runs; of those trained anew the curve they had, in grey."""
        known = [self.known] if store is self.store else [self.known, self.store]
        sizes = dict.fromkeys([self.first.value, self.second.value or self.first.value])
        for lane, size in zip_longest(self.lanes, sizes):
            lane.layout.display = "" if size else "none"
            lane.choose(size and self.scale.run(size, self.seed.value), store, *known)

    def begin(self, anew: bool = False) -> None:
        """Start training in the background, unless a job is running already."""
        if not self.free.acquire(blocking=False):  # a kernel may handle two presses in two threads at once
            return
        self.stopping.clear()
        self._lock(True)
        self.scratch = tempfile.TemporaryDirectory() if anew else None
        self._choose(Store(Path(self.scratch.name)) if anew else self.store)
        self.job = threading.Thread(target=self._race, daemon=True)
        self.job.start()

    def _race(self) -> None:
        advice = "" if self.scratch else "; Train resumes from here"
        lanes = [lane for lane in self.lanes if lane.spec]
        jobs = [threading.Thread(target=lane.work, args=(advice,), daemon=True) for lane in lanes]
        for job in jobs:
            job.start()
        for job in jobs:
            job.join()
        self._lock(False)
        self.free.release()

    def _lock(self, locked: bool) -> None:
        for control in (*self.choices, self.train, self.anew):
            control.disabled = locked
        self.stop.disabled = not locked

    def _stop(self) -> None:
        self.stopping.set()
        self.stop.disabled = True
        for lane in self.lanes:
            lane.say("stopping …")


class Lane(ipw.VBox):
    """One run while it trains: step and time left, its curve, and its answers to ten unseen instructions."""

    def __init__(self, stopping: threading.Event):
        self.stopping, self.spec = stopping, None
        self.title, self.message = ipw.HTML(), ipw.HTML()
        self.bar = ipw.IntProgress(min=0, layout=ipw.Layout(width="auto"))
        self.picture = ipw.Image(format="png", layout=ipw.Layout(max_width="100%"))
        self.answers = ipw.HTML()
        parts = [self.title, self.bar, self.message, self.picture, self.answers]
        super().__init__(parts, layout=ipw.Layout(width="30em", max_width="100%", margin="0 1em 0 0"))

    def choose(self, spec: RunSpec | None, store: Store, *known: Store) -> None:
        """Show what the store has of a run: nothing, the curve so far, or all of it."""
        self.spec, self.store = spec, store
        if spec is None:
            return
        self.title.value = f"<b>{spec.task.instructions:,} instructions, seed {spec.model.seed}</b>"
        self.answers.value = ""
        try:
            self.rows: list[Row] = store.history(spec).to_dict("records")
            found = (each.history(spec) for each in known)
            self.behind = next((each for each in found if len(each)), pd.DataFrame())
            step = int(self.rows[-1]["step"]) if self.rows else 0
            self.bar.max, self.bar.value = spec.training.steps, step
            self.say(f"step {step:,} of {spec.training.steps:,} done" if step else "not trained yet")
            self._draw()
        except Exception as error:
            self.rows, self.behind = [], pd.DataFrame()
            self.message.value = _alert(_sentence(error))

    def say(self, sentence: str) -> None:
        """Show a sentence below the bar."""
        self.message.value = html.escape(sentence)

    def work(self, advice: str) -> None:
        """Train the run, or take it from the store; ``advice`` follows the news that it was stopped."""
        try:
            known = self.store.manifest(self.spec) is not None
            self.say("drawing the data …")
            task, self.began, self.due = self.spec.task, None, 0.0
            self.few = task.evaluation(task.split(), 10, self.spec.evaluation.seed)["unseen"]
            with threads(1):
                kept = ensure(self.spec, self.store, self._watch, "auto", 0, self.say, check=self._check)
            scores = {line["split"]: line["accuracy"] for line in kept["scores"]}
            self.rows, self.bar.value = self.store.history(self.spec).to_dict("records"), self.bar.max
            self._draw()
            self._answer(self.store.model(self.spec))
            accuracy = f"{scores['seen']:.1%} on seen, {scores['unseen']:.1%} on unseen instructions"
            self.say(f"{'from the store' if known else 'done'}: {accuracy}")
        except Stopped:
            self.say(f"stopped at step {self.bar.value:,}{advice}")
        except Exception as error:
            self.message.value = _alert(_sentence(error))

    def _check(self, state: State) -> None:
        """Before each step: say where the run is, and stop if a person wants it."""
        self.model, now = state.model, time.monotonic()
        self.began = self.began or (now, state.step)
        stop = self.stopping.is_set()
        if stop or now >= self.due:
            self.due, self.bar.value = now + 0.25, state.step
            done = state.step - self.began[1]
            left = (now - self.began[0]) / done * (self.bar.max - state.step) if done else None
            self.say(
                f"step {state.step:,} of {self.bar.max:,}" + (f", {duration(left)} left" if left else "")
            )
        if stop:
            raise Stopped

    def _watch(self, row: Row) -> None:
        self.rows = [*(each for each in self.rows if each["step"] < row["step"]), row]
        self._draw()
        self._answer(self.model)
        if row["step"] == self.bar.max:
            self.bar.value = self.bar.max
            self.say("evaluating on all examples …")

    def _answer(self, model: Transformer) -> None:
        """Show what a model answers to the ten examples, letter by letter."""
        rows = []
        for number, ids in enumerate(greedy_answers(model, self.few.prompts)):
            line, mine = self.few.line(number), self.few.layout.answer(ids)
            note = "✓" if mine == line.answer else ""
            rows.append((f"{line.rule.text} in {line.text}", _compared(mine, line.answer), note))
        table = f"<div style='zoom:.85'>{tiles(rows)}</div>"  # so that two lanes fit beside each other
        self.answers.value = f"Answers to ten unseen instructions{table}"

    def _draw(self) -> None:
        """The curve so far over the known one, in grey, on axes that stay."""
        with _DRAWING:
            figure, buffer = Figure(figsize=(4.8, 3.4), dpi=100, layout="constrained"), io.BytesIO()
            ax = percents(figure.subplots())
            for split, style in (("seen", "--"), ("unseen", "-")) if len(self.behind) else ():
                label = f"{split}, earlier run"
                ax.plot(self.behind["step"], self.behind[split], color="0.62", ls=style, lw=1.5, label=label)
            ax.set(xlim=(0, self.bar.max), xlabel="training step", ylabel="exact match")
            if self.rows:
                history = pd.DataFrame(self.rows).melt(["step"], ["seen", "unseen"], "split", "accuracy")
                learning_curves(history.assign(instructions=0), ax)
                for line in ax.lines:
                    line.set_marker(".")  # a single row is no line
                sns.move_legend(ax, "upper center", bbox_to_anchor=(0.5, -0.2), ncol=2, frameon=False)
            figure.savefig(buffer, format="png")
        self.picture.value = buffer.getvalue()


def live_training(scale: Scale, known: Store | None = None) -> LiveTraining | None:
    """The widget for a person, and its picture for a page; headless None is returned.

    The runs of ``known``, by default the committed ones, are drawn in grey behind.
    """
    live = LiveTraining(scale, known=known)
    if drawn := [lane for lane in live.lanes if lane.spec and (lane.rows or len(lane.behind))]:
        alt = "exact match on seen and unseen instructions by training step, {:,} instructions"
        pictures = [Image(lane.picture.value, alt=alt.format(lane.spec.task.instructions)) for lane in drawn]
        display(*pictures, HTML(_STILL))
    return None if headless() else live
