"""Tidy frame in, figure out: the look of all figures, and the few kinds that several notebooks draw.

Nothing here reads files or changes a global setting but ``set_theme``.  Colours are seaborn's colour-blind
palette, dark enough for lines on white; a split, a baseline or a kind of letter has the same colour in all
notebooks.
"""

import html
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, MaxNLocator, NullLocator, PercentFormatter, StrMethodFormatter

from unseen.stats import mean_interval

Colour = tuple[float, float, float]  # red, green, blue, 0 to 1


def contrast(one: Colour, other: Colour = (1.0, 1.0, 1.0)) -> float:
    """The contrast of two colours, 1 to 21, as the Web's guidelines define it (text 4.5, lines 3).

    >>> round(contrast((0, 0, 0)), 1)
    21.0
    """
    colours = np.array([one, other])
    linear = np.where(colours <= 0.04045, colours / 12.92, ((colours + 0.055) / 1.055) ** 2.4)
    low, high = sorted(linear @ (0.2126, 0.7152, 0.0722))
    return float((high + 0.05) / (low + 0.05))


def _for_lines(colour: Colour) -> Colour:
    """A colour, darkened until a line of it can be seen on white."""
    while contrast(colour) < 3:
        colour = tuple(0.98 * part for part in colour)
    return colour


SAFE = [_for_lines(colour) for colour in sns.color_palette("colorblind")]
COLOURS = {"unseen": SAFE[0], "seen": SAFE[1], "right": SAFE[2], "wrong": (0.70, 0.07, 0.25),
           "pattern": SAFE[1], "replacement": SAFE[2], "paper": SAFE[4], "baseline": (0.45,) * 3}  # fmt: skip
LABELS = {"unseen": "unseen instructions", "seen": "seen instructions"}
BESIDE = {"loc": "upper left", "bbox_to_anchor": (1.01, 1), "borderaxespad": 0}  # a legend outside its axes


def set_theme() -> None:
    """The look of every figure, whatever a user's matplotlibrc says; notebooks call it with their imports."""
    plt.rcdefaults()  # ``text.usetex``, say, would end a notebook after its training
    rc = {"axes.grid": True, "grid.alpha": 0.35, "axes.spines.right": False, "axes.spines.top": False}
    rc |= {"axes.titlelocation": "left", "axes.titlesize": 12, "legend.frameon": False}
    rc |= {"figure.figsize": (8, 4.5), "figure.dpi": 110, "savefig.bbox": "tight"}
    sns.set_theme(style="ticks", palette=SAFE, rc=rc)


def curves(
    frame: pd.DataFrame,
    x: str = "instructions",
    y: str = "accuracy",
    *,
    hue: str | None = None,
    col: str | None = None,
    labels: tuple[str, str] = ("different instructions in training", "exact match, unseen instructions"),
    palette: Any = SAFE,
    points: bool = True,
    percent: bool = True,
    log: bool = True,
    **options: Any,
) -> sns.FacetGrid:
    """Lines of means with 95 % intervals over seeds, and a point per run.

    One panel per value of ``col``, one line per ``hue``.  ``labels`` are those of the two axes; ``percent``
    draws shares from 0 to 1 as per cent, ``log`` puts ``x`` on a log axis with the values that occur as
    ticks. Further options are those of ``seaborn.relplot`` (style, row, height, col_order ...).

    >>> frame = pd.DataFrame({"instructions": [10, 100] * 2, "accuracy": [0.0, 0.9, 0.1, 1.0]})
    >>> grid = curves(frame.assign(recipe="gpt2"), hue="recipe")
    >>> grid.ax.get_xlabel(), [line.get_label() for line in grid.ax.lines][:1]
    ('different instructions in training', ['_child0'])
    >>> plt.close(grid.figure)
    """
    frame = frame.reset_index(drop=True)  # of frames joined by concat, whose labels repeat
    colours: dict[str, Any] = {"color": COLOURS["unseen"]}
    if hue is not None:
        order = options.pop("hue_order", None) or list(dict.fromkeys(frame[hue]))
        if not isinstance(palette, Mapping):
            palette = dict(zip(order, sns.color_palette(palette, len(order)), strict=True))
        colours = {"hue": hue, "hue_order": order, "palette": palette}
    shape = {"height": 3.9, "aspect": 1.35, "lw": 2.2}
    ends = mean_interval if percent else partial(mean_interval, low=-np.inf, high=np.inf)
    shape |= {"errorbar": ends, "err_kws": {"alpha": 0.15, "lw": 0}}
    grid = sns.relplot(frame, x=x, y=y, col=col, kind="line", **colours, **shape | options)
    if points:
        grid.map_dataframe(sns.scatterplot, x=x, y=y, s=22, legend=False, **colours)
    for ax in grid.axes.flat:
        if log:
            log_sizes(ax, frame[x])
        if percent:
            percents(ax)
    grid.set_axis_labels(*labels)
    grid.set_titles("{col_name}", loc="left") if col else None
    if grid.legend is not None:
        grid.legend.set_title(None)
    return grid


def by_seed(
    table: pd.DataFrame,
    x: str,
    y: str,
    order: Sequence[str],
    ax: Axes,
    *,
    ends: tuple[float, float] = (-np.inf, np.inf),
    **look: Any,
) -> Axes:
    """A row per way in ``order`` (column ``y``): of column ``x`` a dot per seed, the mean, its 95 % interval.

    ``ends`` bound what is measured, (0, 1) for a share.  Further options are those of ``seaborn.pointplot``.

    >>> table = pd.DataFrame({"way": ["old", "new"] * 2, "gain": [0.1, 0.4, 0.2, 0.5]})
    >>> ax = by_seed(table, "gain", "way", ["new", "old"], plt.subplots()[1])
    >>> [label.get_text() for label in ax.get_yticklabels()], ax.get_ylabel()
    (['new', 'old'], '')
    >>> plt.close(ax.figure)
    """
    rows = {"data": table, "x": x, "y": y, "order": order, "ax": ax}
    sns.stripplot(**rows, size=4, color=COLOURS["baseline"], jitter=False)
    for dots in ax.collections:
        dots.set_offsets(dots.get_offsets() + np.array([0, 0.28]))  # below the mean, which would hide them
    low, high = ends
    sns.pointplot(**rows, linestyle="none", errorbar=partial(mean_interval, low=low, high=high), **look)
    ax.set(ylabel="")
    return ax


def heat(table: pd.DataFrame, ax: Axes | None = None, *, percent: bool = True, **options: Any) -> Axes:
    """A table of shares as a heat map with numbers, in per cent; the options are ``seaborn.heatmap``'s."""
    if ax is None:
        size = 4.6 + 0.95 * table.shape[1], 1.5 + 0.42 * len(table)
        ax = plt.subplots(figsize=size, layout="constrained")[1]
    shape = {"annot": True, "fmt": ".0f", "vmin": 0, "vmax": 100 if percent else 1}
    shape |= {"cmap": "viridis", "cbar": False, "linewidths": 0.8}
    sns.heatmap(100 * table if percent else table, ax=ax, **shape | options)
    ax.tick_params(length=0)
    ax.tick_params(axis="y", rotation=0)
    ax.grid(False)
    return ax


def percents(ax: Axes, axis: str = "y") -> Axes:
    """An axis of shares, ``x`` or ``y``, from 0 to 100 per cent."""
    ax.set(**{f"{axis}lim": (-0.03, 1.05)})
    getattr(ax, f"{axis}axis").set_major_formatter(PercentFormatter(1))
    return ax


def levels(number: int) -> list[Colour]:
    """Colours of ordered levels, from dark to light, all dark enough for lines on white."""
    return [_for_lines(colour) for colour in sns.color_palette("viridis", number)]


def log_sizes(
    ax: Axes, sizes: Iterable[float], label: str = "different instructions in training", apart: float = 1.35
) -> Axes:
    """A log x axis with the sizes that occur as its ticks, as many as have room (see ``spaced``)."""
    shown = spaced(sizes, apart)
    ax.set(xscale="log", xlabel=label)
    return ticks(ax, shown, [f"{size:,.7g}" for size in shown])


def ticks(ax: Axes, places: Sequence[float], labels: Sequence[str]) -> Axes:
    """Put ticks on an x axis at these places and no others."""
    ax.xaxis.set_major_locator(FixedLocator(places))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.set_xticklabels(labels)
    return ax


def spaced(sizes: Iterable[float], apart: float = 1.4) -> list[float]:
    """Of sizes those whose labels do not touch on a log axis: each at least ``apart`` times the one before.

    >>> spaced([10, 12, 20, 100])
    [10, 20, 100]
    """
    kept: list[float] = []
    for size in np.unique(np.asarray(list(sizes))).tolist():
        if not kept or size / kept[-1] >= apart:
            kept.append(size)
    return kept


def accuracy_by_instructions(
    frame: pd.DataFrame,
    baselines: pd.DataFrame | None = None,
    threshold: Any = None,
    published: Any = None,
) -> Axes:
    """The main figure: exact match against the number of different training instructions.

    ``frame`` has the columns of ``sweep.frame``.  Points are runs with their binomial intervals, lines means
    over seeds, bands their 95 % intervals; the upper axis shows how many examples of each instruction the
    fixed budget leaves.  Also drawn, where given: the means of ``baselines`` (columns baseline, split,
    accuracy), a fitted ``threshold`` (middle, low, high), and a ``published`` one (never_below, always_from,
    sharp_near).
    """
    ax = plt.subplots()[1]
    if published:
        ends = published.never_below, published.always_from
        sharp = " or ".join(map(str, published.sharp_near))
        label = f"paper, at its size: never below {ends[0]:,},\nalways from {ends[1]:,}, sharp near {sharp}"
        ax.axvspan(*ends, color=COLOURS["paper"], alpha=0.10, lw=0, label=label)
        for near in published.sharp_near:
            ax.axvline(near, color=COLOURS["paper"], ls=":", lw=1)
    if baselines is not None:
        _draw_baselines(ax, baselines)
    for split in ("seen", "unseen"):
        part, colour = frame[frame["split"] == split], COLOURS[split]
        look = {"color": colour, "label": LABELS[split], "err_kws": {"alpha": 0.18, "lw": 0}}
        sns.lineplot(part, x="instructions", y="accuracy", errorbar=mean_interval, lw=2.2, ax=ax, **look)
        spread = part["instructions"] * 1.03 ** (part["seed"] - part["seed"].mean())
        ax.vlines(spread, part["low"], part["high"], color=colour, lw=1, alpha=0.7)
        ax.scatter(spread, part["accuracy"], s=14, color=colour, zorder=3, edgecolor="white", lw=0.4)
    if threshold:
        label, look = f"half accuracy at {threshold.middle:.0f}", {"color": COLOURS["unseen"]}
        if np.isfinite(threshold.low):
            label += f"\n(95 % interval {threshold.low:.0f} to {threshold.high:.0f})"
            ax.axvspan(threshold.low, threshold.high, **look, alpha=0.12, lw=0)
        ax.axvline(threshold.middle, **look, ls="--", lw=1.2, label=label)
    log_sizes(ax, frame["instructions"], apart=1.4)
    shown = spaced(frame["instructions"])
    budget = (frame["instructions"] * frame["examples_per_instruction"]).mean()
    upper = ticks(ax.secondary_xaxis("top"), shown, [f"{budget / size:,.0f}" for size in shown])
    upper.set_xlabel(f"examples of each (budget {budget:,.0f})")
    ax.set_ylabel("exact match of whole answers")
    ax.legend(**BESIDE)
    return percents(ax)


def _draw_baselines(ax: Axes, baselines: pd.DataFrame) -> None:
    styles = {
        "oracle": "-",
        "copy": (0, (5, 3)),
        "nearest rule": (0, (1, 2)),
        "y anywhere": (0, (4, 1, 1, 1)),
    }
    means = baselines.groupby(["baseline", "split"])["accuracy"].mean().unstack()
    for name, accuracy in means.iterrows():
        look = {"ls": styles[name], "lw": 1.2}
        if np.isclose(accuracy["seen"], accuracy["unseen"], atol=0.005):
            ax.axhline(accuracy.mean(), color=COLOURS["baseline"], label=f"baseline: {name}", **look)
            continue
        for split, value in accuracy.items():
            ax.axhline(value, color=COLOURS[split], label=f"baseline: {name}, {split}", **look)


def learning_curves(histories: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Accuracy on seen (thin, dashed) and unseen (solid) instructions against the training step.

    ``histories`` has the columns of ``sweep.histories``.  With one number of instructions colours show the
    split.
    """
    ax = ax or plt.subplots()[1]
    sizes = np.sort(histories["instructions"].unique())
    order = ["unseen", "seen"]
    look = {"hue": "split", "hue_order": order, "palette": COLOURS, "errorbar": mean_interval, "lw": 2}
    if len(sizes) > 1:
        palette = dict(zip(sizes, levels(len(sizes)), strict=True))
        look = {
            "hue": "instructions",
            "palette": palette,
            "style": "split",
            "style_order": order,
            "errorbar": None,
        }
        look |= {"size": "split", "size_order": order, "sizes": {"unseen": 2, "seen": 0.9}}
    sns.lineplot(histories, x="step", y="accuracy", ax=ax, **look)
    handles, names = ax.get_legend_handles_labels()
    names = [f"{int(name):,}" if name.isdigit() else LABELS.get(name, name) for name in names]
    ax.legend(handles, names, **BESIDE)
    ax.set(xlabel="training step", ylabel="exact match")
    ax.xaxis.set_major_locator(MaxNLocator("auto", steps=[1, 2, 5, 10], integer=True))
    ax.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    return percents(ax)


Tile = tuple[str, str]  # a letter, and its marks: names in ``COLOURS``, one of them to underline as ``_name``


def tiles(rows: Iterable[tuple[str, Sequence[Tile], str]]) -> str:
    """Strings letter by letter as an HTML table: each row a label, its tiles, and a note, all escaped.

    The marks of a tile are separated by spaces: ``pattern`` fills it, ``_pattern`` underlines it, and a tile
    without letter or mark is a gap.  The notes stand in one column.

    >>> tiles([("input", [("a", ""), ("<", "pattern")], "")]).count("<td")
    4
    """
    rows, lines = list(rows), []
    widest = max(len(cells) for _, cells, _ in rows)
    for label, cells, note in rows:
        look = "text-align:right;padding-right:.8em;white-space:nowrap"
        lines.append(f"<tr><td style='{look}'>{html.escape(label)}</td>")
        lines += map(_tile, [*cells, *[("", "")] * (widest - len(cells))])
        look = "text-align:left;padding-left:.8em;white-space:pre"
        lines.append(f"<td style='{look}'>{html.escape(note)}</td></tr>")
    table = f"<table style='border-spacing:2px;border-collapse:separate;margin:0'>{''.join(lines)}</table>"
    return f"<div style='overflow-x:auto;max-width:100%'>{table}</div>"


def _tile(tile: Tile) -> str:
    letter, marks = tile
    if not letter and not marks:
        return "<td></td>"
    fills = [mark for mark in marks.split() if not mark.startswith("_")]
    style = shade(fills[0] if fills else "")
    for mark in marks.split():
        if mark.startswith("_"):
            style += f";box-shadow:0 3px {_css(COLOURS[mark[1:]])}"
    shown = html.escape(letter) if letter.strip() else "&nbsp;"
    look = "min-width:1.3em;text-align:center;font:15px monospace;padding:2px 0"
    return f"<td style='{look};{style}'>{shown}</td>"


def shade(mark: str) -> str:
    """The background of a mark and the colour of letters on it, in CSS: the same on a light and a dark page.

    Without a mark the letters have the page's own colour.

    >>> shade("wrong")
    'background:rgb(178,18,64);color:rgb(255,255,255)'
    """
    if not mark:
        return "background:rgba(128,128,128,.12)"
    fill, letters = COLOURS[mark], (1.0, 1.0, 1.0)
    if mark != "wrong":  # which must differ from all others by more than its hue
        fill, letters = tuple(0.4 * part + 0.6 for part in fill), (0.0, 0.0, 0.0)
    return f"background:{_css(fill)};color:{_css(letters)}"


def _css(colour: Colour) -> str:
    return "rgb({},{},{})".format(*(round(255 * part) for part in colour))
