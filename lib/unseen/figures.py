"""Tidy frame in, figure out: the look of all figures, and the few kinds that several notebooks draw.

Nothing here reads files or changes a global setting but ``set_theme``.  Colours are seaborn's colour-blind palette; a
split, a baseline or a kind of letter has the same colour in all notebooks.
"""

import html
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, NullLocator, PercentFormatter

from unseen.stats import mean_interval

SAFE = sns.color_palette("colorblind")
COLOURS = {"unseen": SAFE[0], "seen": SAFE[1], "right": SAFE[2], "wrong": SAFE[3], "pattern": SAFE[1],
           "replacement": SAFE[2], "paper": SAFE[4], "baseline": (0.45, 0.45, 0.45)}  # fmt: skip
BESIDE = {"loc": "upper left", "bbox_to_anchor": (1.01, 1), "borderaxespad": 0}  # where a legend stands beside its axes


def set_theme() -> None:
    """The look of every figure; notebooks call it once, with their imports."""
    rc = {"axes.grid": True, "axes.spines.right": False, "axes.spines.top": False, "axes.titlelocation": "left",
          "axes.titlesize": 12, "figure.figsize": (8, 4.5), "figure.dpi": 110, "grid.alpha": 0.35,
          "legend.frameon": False, "savefig.bbox": "tight"}  # fmt: skip
    sns.set_theme(style="ticks", palette="colorblind", rc=rc)


def curves(
    frame: pd.DataFrame,
    x: str = "instructions",
    y: str = "accuracy",
    *,
    hue: str | None = None,
    col: str | None = None,
    labels: tuple[str, str] = ("different instructions in training", "exact match, unseen instructions"),
    palette: Any = "colorblind",
    points: bool = True,
    percent: bool = True,
    log: bool = True,
    **options: Any,
) -> sns.FacetGrid:
    """Lines of means with 95 % intervals over seeds, a point per run: one panel per value of ``col``, one line per ``hue``.

    ``labels`` are those of the two axes; ``percent`` draws shares from 0 to 1 as per cent, ``log`` puts ``x`` on a log axis
    with the values that occur as ticks.  Further options are those of ``seaborn.relplot`` (style, row, height, col_order ...).

    >>> frame = pd.DataFrame({"instructions": [10, 100] * 2, "accuracy": [0.0, 0.9, 0.1, 1.0], "seed": [0, 0, 1, 1]})
    >>> grid = curves(frame.assign(recipe="gpt2"), hue="recipe")
    >>> grid.ax.get_xlabel(), [line.get_label() for line in grid.ax.lines][:1]
    ('different instructions in training', ['_child0'])
    >>> plt.close(grid.figure)
    """
    if hue is not None:
        order = options.pop("hue_order", None) or list(dict.fromkeys(frame[hue]))
        chosen = palette if isinstance(palette, Mapping) else dict(zip(order, sns.color_palette(palette, len(order)), strict=True))
        colours = {"hue": hue, "hue_order": order, "palette": chosen}
    else:
        colours = {"color": COLOURS["unseen"]}
    shape = {"height": 3.9, "aspect": 1.35, "errorbar": mean_interval, "err_kws": {"alpha": 0.15, "lw": 0}, "lw": 2.2}
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


def heat(table: pd.DataFrame, ax: Axes | None = None, *, percent: bool = True, **options: Any) -> Axes:
    """A table of shares as a heat map with its numbers, in per cent; further options are those of ``seaborn.heatmap``."""
    ax = ax or plt.subplots(figsize=(1.6 + 0.95 * table.shape[1] + 3, 1.5 + 0.42 * len(table)), layout="constrained")[1]
    shape = {"annot": True, "fmt": ".0f", "vmin": 0, "vmax": 100 if percent else 1, "cmap": "viridis", "cbar": False, "linewidths": 0.8}
    sns.heatmap(100 * table if percent else table, ax=ax, **shape | options)
    ax.tick_params(length=0)
    ax.tick_params(axis="y", rotation=0)
    ax.grid(False)
    return ax


def percents(ax: Axes) -> Axes:
    """A y axis of shares, from 0 to 100 per cent."""
    ax.set_ylim(-0.03, 1.05)
    ax.yaxis.set_major_formatter(PercentFormatter(1))
    return ax


def log_sizes(ax: Axes, sizes: Iterable[float], label: str = "different instructions in training", apart: float = 1.35) -> Axes:
    """A log x axis with the sizes that occur as its ticks, as many as have room: each at least ``apart`` times the one before."""
    shown: list[float] = []
    for size in np.unique(np.asarray(list(sizes))):
        if not shown or size / shown[-1] >= apart:
            shown.append(size)
    ax.set(xscale="log", xlabel=label)
    return ticks(ax, shown, [f"{size:,g}" for size in shown])


def ticks(ax: Axes, places: Sequence[float], labels: Sequence[str]) -> Axes:
    """Put ticks on an x axis at these places and no others."""
    ax.xaxis.set_major_locator(FixedLocator(places))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.set_xticklabels(labels)
    return ax


Tile = tuple[str, str]  # a letter, and its mark: a name in ``COLOURS``, or "" for none


def tiles(rows: Iterable[tuple[str, Sequence[Tile], str]]) -> str:
    """Strings letter by letter as an HTML table: each row a label, its tiles, and a note; everything is escaped.

    >>> tiles([("input", [("a", ""), ("<", "pattern")], "")]).count("<td")
    4
    """
    lines = [f"<tr><td style='text-align:right;padding-right:.8em'>{html.escape(label)}</td>{''.join(map(_tile, cells))}"
             f"<td style='padding-left:.8em;white-space:pre'>{html.escape(note)}</td></tr>" for label, cells, note in rows]  # fmt: skip
    return f"<table style='border-spacing:2px;border-collapse:separate'>{''.join(lines)}</table>"


def _tile(tile: Tile) -> str:
    letter, mark = tile
    shown = html.escape(letter) if letter.strip() else "&nbsp;"
    return f"<td style='width:1.5em;text-align:center;font:15px monospace;padding:2px;background:{shade(mark)}'>{shown}</td>"


def shade(mark: str) -> str:
    """The background of a mark in CSS, light enough to read letters on."""
    if not mark:
        return "rgba(128,128,128,.12)"
    red, green, blue = (round(255 * part) for part in COLOURS[mark])
    return f"rgba({red},{green},{blue},.38)"
