"""Figures of notebook 15: tidy frame in, ``Figure`` out."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import PercentFormatter

from unseen.claims.pretrained import UNEVEN, WORKS
from unseen.diversity.variation_plots import log_sizes
from unseen.plots import COLOURS, over_seeds
from unseen.pretrained.plan import CHANGED, STARTS

_KINDS = {"has-op": ("o", "-"), "no-op": ("X", "--")}  # marker and line
_START_COLOURS = dict(
    zip(STARTS, (COLOURS["unseen"], COLOURS["baseline"], COLOURS["seen"], COLOURS["right"]), strict=True)
)
_TITLES = {"plain": "plain rewriting", "encrypted": "encrypted: rewrite, then encipher"}
_WAYS = {"all": "all examples", "even half": "half of each\ninstruction's examples", UNEVEN[0]: "half of the\ninstructions lose all",
         UNEVEN[1]: "most instructions\nlose nearly all"}  # fmt: skip


def diversity(results: pd.DataFrame) -> Figure:
    """Accuracy on unseen instructions against their number, has-op and no-op apart, one panel a kind of work.

    Points are runs, lines means, bands 95 % intervals over seeds; starts from a changed base are drawn thin and without
    band, their has-op only.
    """
    figure, axes = plt.subplots(1, len(WORKS), figsize=(11, 4.2), sharey=True, layout="constrained")
    chosen = results[(results["split"] == "unseen") & (results["data"] == "all")]
    for ax, work in zip(axes, WORKS, strict=True):
        for (start, kind), part in chosen[chosen["work"] == work].groupby(["start", "kind"]):
            colour, (marker, dash), changed = _START_COLOURS[start], _KINDS[kind], start in CHANGED
            if changed and kind == "no-op":
                continue
            sns.lineplot(part, x="instructions", y="accuracy", errorbar=None if changed else over_seeds, color=colour,
                         ls=dash, lw=1.4 if changed else 2, ax=ax, err_kws={"alpha": 0.12, "lw": 0})  # fmt: skip
            size = 12 if changed else 26
            ax.scatter(part["instructions"], part["accuracy"], color=colour, marker=marker, s=size, zorder=3)
        log_sizes(ax, chosen["instructions"], "different instructions in fine-tuning")
        ax.set(title=_TITLES[work], ylim=(-0.03, 1.05), ylabel="exact match, unseen instructions")
        ax.yaxis.set_major_formatter(PercentFormatter(1))
    axes[-1].legend(handles=_key(chosen), loc="upper left", bbox_to_anchor=(1.01, 1))
    return figure


def _key(results: pd.DataFrame) -> list[Line2D]:
    """What colours and dashes mean, those that occur."""
    colours = [Line2D([], [], color=_START_COLOURS[start], lw=3, label=start)
               for start in STARTS if start in set(results["start"])]  # fmt: skip
    dashes = [
        Line2D([], [], color="black", marker=marker, ls=dash, label=kind) for kind, (marker, dash) in _KINDS.items()
    ]
    return colours + dashes


def halves(results: pd.DataFrame) -> Figure:
    """Accuracy on unseen instructions that apply, by which half of the data was left; points are seeds, bars their mean."""
    chosen = results[
        (results["split"] == "unseen") & (results["start"] == "pre-trained") & (results["work"] == "plain")
    ]
    largest = chosen.groupby("data")["instructions"].transform("max")
    chosen = chosen[(chosen["instructions"] == largest) & (chosen["kind"] == "has-op")]
    figure, ax = plt.subplots(figsize=(9.5, 4), layout="constrained")
    for place, way in enumerate(_WAYS):
        values = chosen.loc[chosen["data"] == way, "accuracy"]
        ax.bar(place, values.mean(), width=0.6, color=COLOURS["unseen"], alpha=0.3)
        ax.scatter(place + np.linspace(-0.12, 0.12, len(values)), values, color=COLOURS["unseen"], s=28, zorder=3)
        ax.annotate(f"{values.mean():.0%}", (place + 0.33, values.mean()), va="center", fontsize=10)
    ax.set(xlim=(-0.5, len(_WAYS) - 0.3), ylim=(-0.03, 1.05), ylabel="exact match, unseen instructions, has-op")
    ax.set_xticks(range(len(_WAYS)), list(_WAYS.values()))
    ax.yaxis.set_major_formatter(PercentFormatter(1))
    ax.grid(axis="x", visible=False)
    return figure


def drills(table: pd.DataFrame) -> Figure:
    """How well the own base does each drill it was pre-trained on (columns operation, accuracy), with held-out arguments."""
    figure, ax = plt.subplots(figsize=(7, 0.28 * len(table) + 0.9), layout="constrained")
    ax.barh(table["operation"], table["accuracy"], color=COLOURS["unseen"], height=0.65)
    ax.set(xlim=(0, 1.02), xlabel="exact match, arguments never met")
    ax.invert_yaxis()
    ax.xaxis.set_major_formatter(PercentFormatter(1))
    ax.grid(axis="y", visible=False)
    return figure
