"""Pictures of machines: one run's tape step by step, survival curves, who solves what.  Traces and tidy frames in, figures out."""

from collections.abc import Callable, Mapping
from itertools import zip_longest

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from unseen.plots import COLOURS
from unseen.rewriting import Rule
from unseen.tapes.machine import OUTCOMES, Move, Trace
from unseen.tapes.results import MACHINES, per_decision, survival, with_length

INCH = 0.27  # the side of one cell
_INK, _FAINT = (0.15, 0.15, 0.15), (0.55, 0.55, 0.55)
_RED = (0.69, 0.0, 0.13)  # darker than the orange beside it, also to eyes that do not tell the two apart
FILLS = {"": (0.93, 0.93, 0.93), "pattern": tuple(1 - 0.55 * (1 - part) for part in COLOURS["pattern"]), "wrong": _RED}


def marks(trace: Trace) -> list[tuple[str, list[str], str]]:
    """The rows of a tape: each string, a mark for each of its letters (``pattern``, ``wrong`` or none), and what wrote it.

    The leftmost match of the rule that the machine takes next is marked, and in the string of the first wrong move the
    first letter that differs from the right string; where it stops too early, a gap stands for the letter that lacks.
    """
    first, rows = trace.right_moves, []
    texts = [trace.text, *(move.after for move in trace.moves)]
    for number, text in enumerate(texts):
        signs = [""] * len(text)
        move = trace.moves[number] if number < len(trace.moves) else None
        if move and move.rule and (at := text.find(move.rule.pattern)) >= 0:
            signs[at : at + len(move.rule.pattern)] = ["pattern"] * len(move.rule.pattern)
        if number == first + 1 and (place := _differs(trace.moves[first])) is not None:
            text, signs = (text, signs) if place < len(text) else (text + " ", [*signs, ""])
            signs[place] = "wrong"
        rows.append((text, signs, _said(trace.moves[number - 1]) if number else "start"))
    return rows


def _differs(move: Move) -> int | None:
    """The first place at which a string differs from the right one."""
    pairs = enumerate(zip_longest(move.after, move.wanted))
    return next((place for place, (mine, best) in pairs if mine != best), None)


def _said(move: Move) -> str:
    """Which rule a move took, and which it should have taken."""
    taken = _arrow(move.rule)
    if move.right:
        return taken
    if move.rule == move.wanted_rule:
        return f"{taken}   should be {move.wanted or '(empty)'}"
    return f"{taken}   should be {_arrow(move.wanted_rule)}"


def _arrow(rule: Rule | None) -> str:
    return str(rule).replace("->", "→") if rule else "no rule applies"


def tape(trace: Trace, title: str = "", most: int = 40, ax: Axes | None = None) -> Axes:
    """A run as a machine made it, a row a step: what the next rule replaces is orange, the first wrong letter red.

    Of a run longer than ``most`` steps the first are drawn.
    """
    rows = marks(trace)
    shown = rows[: most + 1]
    wide = max(6, *(len(text) for text, _, _ in shown))
    note = 0.62 * max(len(said) for _, _, said in shown)
    ax = ax or plt.subplots(figsize=(INCH * (wide + 4 + note), INCH * (1.12 * len(shown) + 2.6)))[1]
    for row, (text, signs, said) in enumerate(shown):
        high = 1.12 * row
        for place, (letter, sign) in enumerate(zip(text, signs, strict=True)):
            ax.add_patch(plt.Rectangle((place + 0.05, high - 0.45), 0.9, 0.9, fc=FILLS[sign], ec="none"))
            ax.text(place + 0.5, high, letter, ha="center", va="center", family="monospace", size=11,
                    color="white" if sign == "wrong" else _INK)  # fmt: skip
        if not text:
            ax.text(0.1, high, "(empty)", va="center", size=9, color=_FAINT)
        ax.text(-0.4, high, str(row) if row else "", ha="right", va="center", size=9, color=_FAINT)
        wrong = row > 0 and not trace.moves[row - 1].right
        ax.text(wide + 0.8, high, said, va="center", family="monospace", size=9,
                color=_RED if wrong else _INK)  # fmt: skip
    rest = f", {len(rows) - len(shown)} more steps not drawn" if len(rows) > len(shown) else ""
    ax.text(0, 1.12 * len(shown) + 0.1, ended(trace) + rest, va="center", size=10, weight="bold",
            color=COLOURS["right"] if trace.outcome == OUTCOMES[0] else _RED)  # fmt: skip
    ax.set(xlim=(-2, wide + 1.5 + note), ylim=(1.12 * len(shown) + 0.9, -1), aspect="equal")
    ax.set_title(title, loc="left", size=11)
    ax.axis("off")
    return ax


def ended(trace: Trace) -> str:
    """How a run ended, in words."""
    where = f", {trace.right_moves} right before the first wrong" if trace.right_moves < len(trace.moves) else ""
    size = len(trace.moves)
    return f"{trace.outcome}" + (f": {trace.note}" if trace.note else "") + f" ({size} move{'s' * (size != 1)}{where})"


def tapes(traces: Mapping[str, Trace], most: int = 40) -> Figure:
    """Runs of several machines side by side."""
    drawn = [marks(trace)[: most + 1] for trace in traces.values()]
    wide = [
        max(6, *(len(text) for text, _, _ in rows)) + 4 + 0.62 * max(len(said) for _, _, said in rows) for rows in drawn
    ]
    high = 1.12 * max(map(len, drawn)) + 2.6
    figure, axes = plt.subplots(1, len(traces), figsize=(INCH * sum(wide), INCH * high), squeeze=False,
                                width_ratios=wide, layout="constrained")  # fmt: skip
    for ax, (name, trace) in zip(axes[0], traces.items(), strict=True):
        tape(trace, name, most, ax)
        ax.set_anchor("NW")
    return figure


def solved_by_program(table: pd.DataFrame) -> Figure:
    """The table of ``results.by_program`` as a heat map, one panel a machine; of a program too long for the models it says so."""
    machines = list(MACHINES.values())
    figure, axes = plt.subplots(1, 2, figsize=(9.5, 0.34 * len(table) + 1.5), sharey=True, layout="constrained")
    for ax, machine in zip(axes, machines, strict=True):
        part = table[machine]
        sns.heatmap(100 * part, annot=True, fmt=".0f", vmin=0, vmax=100, cmap="viridis", cbar=ax is axes[-1], ax=ax,
                    linewidths=0.6, cbar_kws={"format": "%g %%", "label": "runs solved"})  # fmt: skip
        for row in np.flatnonzero(part.isna().all(axis=1)):
            ax.text(part.shape[1] / 2, row + 0.5, "does not fit", ha="center", va="center", size=9, color=_FAINT)
        ax.set(title=machine, xlabel="rules trained on", ylabel="")
        ax.tick_params(length=0, rotation=0)
        numbers = [model.replace(" rules", "") for model in part.columns]
        ax.set_xticklabels(numbers, rotation=45, ha="right", rotation_mode="anchor")
        ax.grid(False)
    return figure


def survivals(runs: pd.DataFrame) -> Figure:
    """The share of computations still right after n decisions, a line a model; dashed is p^n."""

    def draw(ax: Axes, part: pd.DataFrame, model: str, colour: tuple) -> None:
        curve = survival(part)
        curve = curve[curve["at_risk"] > 0]
        ax.step(curve["n"], curve["alive"], where="post", color=colour, lw=2, label=model)
        ax.plot(curve["n"], curve["expected"], color=colour, ls="--", lw=1.2)
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))

    figure = _by_machine(runs, draw, "--", "share right per decision,\nto the power n")
    for ax in figure.axes:
        ax.set(xlabel="decisions made", ylabel="computations still right" if ax is figure.axes[0] else "")
    return figure


def by_length(runs: pd.DataFrame) -> Figure:
    """Against the length of the right computation: runs solved with their Wilson intervals, and, dotted, right decisions; a line a model."""
    runs = with_length(runs)
    lengths = [name for name in runs["length"].cat.categories if name in set(runs["length"])]

    def draw(ax: Axes, part: pd.DataFrame, model: str, colour: tuple) -> None:
        table = per_decision(part, by=["length"]).set_index("length").reindex(lengths)
        spread = [table["solved"] - table["low"], table["high"] - table["solved"]]
        ax.errorbar(lengths, table["solved"], spread, color=colour, lw=2, marker="o", ms=5, elinewidth=1, label=model)
        ax.plot(lengths, table["right decisions"], color=colour, ls=":", lw=1.5)

    figure = _by_machine(runs, draw, ":", "decisions that were right")
    for ax in figure.axes:
        ax.set(xlabel="decisions of the right computation", ylabel="runs solved" if ax is figure.axes[0] else "")
    return figure


def _by_machine(
    runs: pd.DataFrame, draw: Callable[[Axes, pd.DataFrame, str, tuple], None], style: str, beside: str
) -> Figure:
    """One panel a machine, one colour a model: ``draw`` draws a model's runs; ``style`` is that of the lines ``beside`` it."""
    figure, axes = plt.subplots(1, 2, figsize=(10, 3.9), sharey=True, layout="constrained")
    models = list(dict.fromkeys(runs["model"]))
    palette = sns.color_palette("viridis_r", len(models) + 1)[1:]
    for ax, machine in zip(axes, MACHINES.values(), strict=True):
        for model, colour in zip(models, palette, strict=True):
            draw(ax, runs[(runs["machine"] == machine) & (runs["model"] == model)], model, colour)
        ax.set(title=machine, ylim=(-0.03, 1.05))
        ax.yaxis.set_major_formatter(PercentFormatter(1))
    axes[0].plot([], [], color=_FAINT, ls=style, lw=1.4, label=beside)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right upper")
    return figure


def how_runs_ended(runs: pd.DataFrame) -> Figure:
    """The outcomes of all runs that were started, by model, one panel a machine."""
    names = [name for name in OUTCOMES if name in set(runs["outcome"]) - {OUTCOMES[-1]}]
    colours = dict(
        zip(OUTCOMES, [COLOURS["right"], COLOURS["wrong"], COLOURS["paper"], COLOURS["baseline"], _FAINT], strict=True)
    )
    figure, axes = plt.subplots(1, 2, figsize=(10, 2.9), sharey=True, layout="constrained")
    for ax, machine in zip(axes, MACHINES.values(), strict=True):
        part = runs[(runs["machine"] == machine) & (runs["outcome"] != OUTCOMES[-1])]
        shares = part.groupby("model", sort=False)["outcome"].value_counts(normalize=True).unstack(fill_value=0)
        shares = shares.reindex(index=list(dict.fromkeys(part["model"])), columns=names, fill_value=0)
        shares.plot.barh(stacked=True, ax=ax, color=colours, legend=False, width=0.75)
        ax.set(title=machine, xlabel="share of runs", ylabel="", xlim=(0, 1))
        ax.xaxis.set_major_formatter(PercentFormatter(1))
        ax.grid(False)
        ax.tick_params(axis="y", which="both", length=0)
    axes[0].invert_yaxis()  # shared
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right upper")
    return figure
