"""Pictures of whole instruction sets: the budget they share, what they cover, how near they come to unseen rules.

Tidy frames of ``coverage`` in, ``Axes`` or ``Figure`` out; no function reads files or changes a global setting.
"""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import PercentFormatter, StrMethodFormatter

from unseen.instructions import Instructions
from unseen.plots import COLOURS, over_seeds
from unseen.tour.coverage import KINDS, SIDES

_LIGHT = (0.80, 0.88, 0.95)
_TITLES = {
    "pattern": "its pattern and the nearest one in training",
    "replacement": "the replacements of the same two rules",
}


def budget(examples: int, sizes: Sequence[int]) -> Figure:
    """The fixed budget N = I x S: as rectangles of one area, and as the line on which ``sizes`` (of I) lie."""
    figure, (area, line) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    side = np.sqrt(examples)
    grid = np.geomspace(side / 5, side * 5, 200)
    area.plot(grid, examples / grid, color=COLOURS["baseline"], lw=1.2)
    for width, colour in zip((side / 3, side, side * 3), sns.color_palette("viridis", 3), strict=True):
        area.add_patch(Rectangle((0, 0), width, examples / width, fc=colour, alpha=0.35, ec=colour, lw=1.5))
    area.set(xlim=(0, side * 4), ylim=(0, side * 4), title=f"three ways to spend {examples:,} examples")
    many = np.array(sizes)
    line.plot(many, examples / many, "o-", color=COLOURS["unseen"])
    for size in (many.min(), many.max()):
        line.annotate(f"{size:,} × {examples / size:,.0f}", (size, examples / size), (8, 8), textcoords="offset points")
    line.set(xscale="log", yscale="log", title="the choices of this study")
    line.margins(0.3)
    for axis in (line.xaxis, line.yaxis):
        axis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    for ax in (area, line):
        ax.set(xlabel="different instructions I", ylabel="examples of each S")
    return figure


def pair_grids(sets: Mapping[str, Instructions], unseen: Instructions) -> Figure:
    """Which first two letters the patterns of each set begin with, one panel a set, and those of unseen rules.

    Row is the first letter, column the second; a filled cell stands in the set, a dot in an unseen rule.
    Raises ``ValueError`` for patterns of one letter.
    """
    if unseen.patterns.shape[1] < 2:
        raise ValueError("patterns of one letter have no second letter to draw")
    letters = len(unseen.alphabet)
    side = np.clip(0.14 * letters, 2, 4)
    figure, axes = plt.subplots(1, len(sets), figsize=((side + 0.3) * len(sets), side + 0.9), squeeze=False,
                                sharey=True, layout="constrained")  # fmt: skip
    for ax, (name, rules) in zip(axes[0], sets.items(), strict=True):
        filled = np.zeros((letters, letters), bool)
        filled[rules.patterns[:, 0], rules.patterns[:, 1]] = True
        ax.imshow(filled, cmap=ListedColormap(["white", _LIGHT]), vmin=0, vmax=1)
        ax.scatter(unseen.patterns[:, 1], unseen.patterns[:, 0], s=9, color=COLOURS["unseen"])
        ax.set(title=name, xlabel="second letter")
        ax.set_xticks(range(letters), unseen.alphabet, size=7)
        ax.set_yticks(range(letters), unseen.alphabet, size=7)
        ax.tick_params(length=0)
        ax.grid(False)
    axes[0, 0].set_ylabel("first letter of the pattern")
    return figure


def coverage_curves(frame: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """The share of everything possible that a training set shows, against its number of instructions.

    ``frame`` is that of ``coverage_frame``; lines are means, bands 95 % intervals over seeds.
    """
    ax = ax or plt.subplots()[1]
    possible = frame.groupby("kind")["possible"].first()
    kinds = [kind for kind in KINDS if kind in possible]
    sns.lineplot(frame, x="instructions", y="share", hue="kind", hue_order=kinds, style="kind", style_order=kinds,
                 markers=True, dashes=False, errorbar=over_seeds, lw=2, ax=ax)  # fmt: skip
    handles, _ = ax.get_legend_handles_labels()
    ax.legend(handles, [f"{kind}\n({_number(possible[kind])} possible)" for kind in kinds], loc="upper left",
              bbox_to_anchor=(1.01, 1), borderaxespad=0)  # fmt: skip
    sizes = np.sort(frame["instructions"].unique())
    ax.set(
        xscale="log",
        ylim=(-0.03, 1.05),
        xlabel="different instructions in training",
        ylabel="share that occurs in them",
    )
    close = [False, *(np.diff(np.log(sizes)) < 0.4)]
    labels = ["" if too_close else f"{size:,}" for size, too_close in zip(sizes, close, strict=True)]
    ax.set_xticks(sizes, labels, rotation=45 if len(sizes) > 5 else 0)
    ax.minorticks_off()
    ax.yaxis.set_major_formatter(PercentFormatter(1))
    return ax


def _number(count: float) -> str:
    return f"{count:,}" if count < 1e9 else f"{float(count):.0e}"


def distances(frame: pd.DataFrame) -> Figure:
    """How many letters lie between an unseen rule and its nearest training rule, by number of instructions.

    ``frame`` is that of ``distance_frame``; bars are means over seeds.  At the left the two patterns, at
    the right the replacements of the same two rules.
    """
    means = frame.groupby(["side", "instructions", "distance"])["share"].mean()
    figure, axes = plt.subplots(1, 2, figsize=(10, 3.8), sharey=True, layout="constrained")
    most = frame["distance"].max()
    colours = sns.color_palette("viridis_r", most + 1)
    for ax, side in zip(axes, SIDES, strict=True):
        table = means[side].unstack("distance")
        bottom = np.zeros(len(table))
        for distance, share in table.items():
            ax.bar(range(len(table)), share, bottom=bottom, color=colours[distance], width=0.85, label=str(distance))
            bottom += share.to_numpy()
        ax.set(title=_TITLES[side], xlabel="different instructions in training")
        ax.set_xticks(range(len(table)), [f"{size:,}" for size in table.index], rotation=45 if len(table) > 5 else 0)
        ax.grid(False)
    axes[0].set_ylabel("share of unseen rules")
    axes[0].yaxis.set_major_formatter(PercentFormatter(1))
    handles, names = max((ax.get_legend_handles_labels() for ax in axes), key=lambda found: len(found[0]))
    shown = slice(None, None, 1 + most // 8)
    axes[1].legend(handles[shown][::-1], names[shown][::-1], title="letters\nthat differ", loc="upper left",
                   bbox_to_anchor=(1.01, 1))  # fmt: skip
    return figure
