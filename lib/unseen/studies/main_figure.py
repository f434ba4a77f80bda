"""The figure of the main study, which notebooks 00 and 10 and the report draw."""

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes

from unseen.figures import BESIDE, COLOURS, LABELS, log_sizes, percents, spaced, ticks
from unseen.stats import mean_interval


def accuracy_by_instructions(
    frame: pd.DataFrame, baselines: pd.DataFrame | None = None, threshold: Any = None, published: Any = None
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
    styles = {"oracle": "-", "copy": (0, (5, 3)), "nearest rule": (0, (1, 2))}
    means = baselines.groupby(["baseline", "split"])["accuracy"].mean().unstack()
    for name, accuracy in means.iterrows():
        look = {"ls": styles[name], "lw": 1.2}
        if np.isclose(accuracy["seen"], accuracy["unseen"], atol=0.005):
            ax.axhline(accuracy.mean(), color=COLOURS["baseline"], label=f"baseline: {name}", **look)
            continue
        for split, value in accuracy.items():
            ax.axhline(value, color=COLOURS[split], label=f"baseline: {name}, {split}", **look)
