"""Tidy frame in, ``Axes`` out.  No function reads files or changes a global setting but ``set_theme``.

Colours are the colour-blind-safe palette of seaborn; a split or recipe has the same one everywhere.
"""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator, PercentFormatter
from scipy.stats import t as student

from unseen.claims import PublishedThreshold
from unseen.diversity.thresholds import Threshold

_SAFE = sns.color_palette("colorblind")
COLOURS = {"unseen": _SAFE[0], "seen": _SAFE[1], "right": _SAFE[2], "wrong": _SAFE[3], "pattern": _SAFE[1],
           "replacement": _SAFE[2], "paper": _SAFE[4], "baseline": (0.45, 0.45, 0.45)}  # fmt: skip
LABELS = {"unseen": "unseen instructions", "seen": "seen instructions"}


def set_theme() -> None:
    """The look of every figure; notebooks call it once, with their imports."""
    sns.set_theme(style="ticks", palette="colorblind", rc={
        "axes.grid": True, "axes.spines.right": False, "axes.spines.top": False, "axes.titlelocation": "left",
        "axes.titlesize": 12, "figure.figsize": (8, 4.5), "figure.dpi": 110, "grid.alpha": 0.35,
        "legend.frameon": False, "savefig.bbox": "tight",
    })  # fmt: skip


def over_seeds(values: pd.Series) -> tuple[float, float]:
    """The 95 % interval of the mean over seeds (Student's t), clipped to shares, for seaborn's ``errorbar``."""
    mean, size = values.mean(), len(values)
    if size < 2:
        return mean, mean
    half = student.ppf(0.975, size - 1) * values.std(ddof=1) / np.sqrt(size)
    return max(0.0, mean - half), min(1.0, mean + half)


def accuracy_by_instructions(
    frame: pd.DataFrame,
    baselines: pd.DataFrame | None = None,
    threshold: Threshold | None = None,
    published: PublishedThreshold | None = None,
    ax: Axes | None = None,
) -> Axes:
    """The main figure: exact match against the number of different training instructions.

    ``frame`` has the columns of ``sweep.frame``; each point is a run with its binomial interval, lines
    join the means over seeds, bands are 95 % intervals over seeds.  The upper axis tells how many
    examples of each instruction the fixed budget leaves.
    """
    ax = ax or plt.subplots()[1]
    if published:
        _draw_published(ax, published)
    if baselines is not None:
        _draw_baselines(ax, baselines)
    for split in ("seen", "unseen"):
        part, colour = frame[frame["split"] == split], COLOURS[split]
        sns.lineplot(part, x="instructions", y="accuracy", errorbar=over_seeds, color=colour, lw=2.2, ax=ax,
                     label=LABELS[split], err_kws={"alpha": 0.18, "lw": 0})  # fmt: skip
        spread = part["instructions"] * 1.03 ** (part["seed"] - part["seed"].mean())
        ax.vlines(spread, part["low"], part["high"], color=colour, lw=1, alpha=0.7)
        ax.scatter(spread, part["accuracy"], s=14, color=colour, zorder=3, edgecolor="white", lw=0.4)
    if threshold:
        _draw_threshold(ax, threshold)
    _instruction_axis(ax, frame)
    ax.set(ylim=(-0.03, 1.05), ylabel="exact match of whole answers")
    ax.yaxis.set_major_formatter(PercentFormatter(1))
    ax.legend(loc="upper left", bbox_to_anchor=(1.01, 1), borderaxespad=0)
    return ax


def _draw_threshold(ax: Axes, threshold: Threshold) -> None:
    colour = COLOURS["unseen"]
    label = f"half accuracy at {threshold.middle:.0f}"
    if np.isfinite(threshold.low):
        label += f"\n(95 % interval {threshold.low:.0f} to {threshold.high:.0f})"
        ax.axvspan(threshold.low, threshold.high, color=colour, alpha=0.12, lw=0)
    ax.axvline(threshold.middle, color=colour, ls="--", lw=1.2, label=label)


def _draw_published(ax: Axes, published: PublishedThreshold) -> None:
    ax.axvspan(published.never_below, published.always_from, color=COLOURS["paper"], alpha=0.10, lw=0,
               label=f"paper, at its size: never below {published.never_below:,},\n"
                     f"always from {published.always_from:,}, sharp near "
                     + " or ".join(map(str, published.sharp_near)))  # fmt: skip
    for near in published.sharp_near:
        ax.axvline(near, color=COLOURS["paper"], ls=":", lw=1)


def _draw_baselines(ax: Axes, baselines: pd.DataFrame) -> None:
    styles = {"oracle": "-", "copy": (0, (5, 3)), "nearest rule": (0, (1, 2))}
    marks = {"seen": COLOURS["seen"], "unseen": COLOURS["unseen"]}
    means = baselines.groupby(["baseline", "split"])["accuracy"].mean().unstack()
    for name, accuracy in means.iterrows():
        if np.isclose(accuracy["seen"], accuracy["unseen"], atol=0.005):
            ax.axhline(accuracy.mean(), color=COLOURS["baseline"], ls=styles[name], lw=1, label=f"baseline: {name}")
            continue
        for split, value in accuracy.items():
            ax.axhline(value, color=marks[split], ls=styles[name], lw=1.4, label=f"baseline: {name}, {split}")


def _instruction_axis(ax: Axes, frame: pd.DataFrame) -> None:
    sizes = np.sort(frame["instructions"].unique())
    ax.set(xscale="log", xlabel="different instructions in training")
    shown = spaced(sizes)
    ticks(ax, shown, [f"{size:,}" for size in shown])
    budget = (frame["instructions"] * frame["examples_per_instruction"]).mean()
    upper = ax.secondary_xaxis("top")
    ticks(upper, shown, [f"{budget / size:,.0f}" for size in shown])
    upper.set_xlabel(f"examples of each (budget {budget:,.0f})")


def ticks(ax: Axes, places: Sequence[float], labels: Sequence[str]) -> None:
    """Put ticks on an x axis at these places and no others."""
    ax.xaxis.set_major_locator(FixedLocator(places))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.set_xticklabels(labels)


def spaced(sizes: Sequence[int], apart: float = 1.4) -> list[int]:
    """Of sorted sizes those that are far enough apart on a log axis for their labels not to touch."""
    kept: list[int] = []
    for size in sizes:
        if not kept or size / kept[-1] >= apart:
            kept.append(int(size))
    return kept


def threshold_by_setting(thresholds: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """The fitted thresholds of several settings (columns setting, middle, low, high), one line each."""
    ax = ax or plt.subplots(figsize=(7, 0.6 * len(thresholds) + 1.2))[1]
    places = np.arange(len(thresholds))[::-1]
    ax.hlines(places, thresholds["low"], thresholds["high"], color=COLOURS["unseen"], lw=2, alpha=0.5)
    ax.scatter(thresholds["middle"], places, color=COLOURS["unseen"], zorder=3)
    ax.set(xscale="log", yticks=places, yticklabels=thresholds["setting"], ylim=(-0.6, len(thresholds) - 0.4),
           xlabel="instructions at half accuracy (95 % interval over seeds)")  # fmt: skip
    ax.xaxis.set_minor_locator(NullLocator())
    ticks = [
        t
        for t in (20, 50, 100, 200, 500, 1000, 2000)
        if thresholds["middle"].min() / 3 < t < thresholds["middle"].max() * 3
    ]
    ax.set_xticks(ticks, [f"{t:,}" for t in ticks])
    return ax


def learning_curves(histories: pd.DataFrame, ax: Axes | None = None, hue: str = "instructions") -> Axes:
    """Accuracy on seen (thin, dashed) and unseen (solid) instructions while models train; see ``sweep.histories``."""
    ax = ax or plt.subplots()[1]
    levels = np.sort(histories[hue].unique())
    palette = dict(zip(levels, sns.color_palette("viridis", len(levels)), strict=True)) if len(levels) > 1 else None
    if palette is None:
        sns.lineplot(histories, x="step", y="accuracy", hue="split", palette=COLOURS, ax=ax, lw=2,
                     hue_order=["unseen", "seen"], errorbar=over_seeds)  # fmt: skip
        handles, names = ax.get_legend_handles_labels()
        ax.legend(handles, [LABELS[name] for name in names], loc="upper left", bbox_to_anchor=(1.01, 1))
    else:
        sns.lineplot(histories, x="step", y="accuracy", hue=hue, style="split", size="split", palette=palette, ax=ax,
                     sizes={"unseen": 2, "seen": 0.9}, size_order=["unseen", "seen"], style_order=["unseen", "seen"],
                     errorbar=None)  # fmt: skip
        handles, names = ax.get_legend_handles_labels()
        names = [f"{int(name):,}" if name.isdigit() else name for name in names]
        ax.legend(handles, names, loc="upper left", bbox_to_anchor=(1.01, 1))
    ax.set(ylim=(-0.03, 1.05), xlabel="training step", ylabel="exact match")
    ax.yaxis.set_major_formatter(PercentFormatter(1))
    return ax


def attention_maps(
    weights: Sequence[np.ndarray], tokens: str, answer_from: int, heads: Sequence[int] | None = None
) -> Figure:
    """One picture per layer of who looks at whom: the attention of the answer positions, mean over heads.

    ``weights`` holds one (H, T, T) array a layer; ``tokens`` the T tokens as text; the rows shown start
    at ``answer_from``.  ``heads`` picks one head a layer instead of the mean.
    """
    figure, axes = plt.subplots(len(weights), 1, figsize=(0.30 * len(tokens) + 1, 0.26 * (len(tokens) - answer_from) * len(weights) + 2),
                                sharex=True, squeeze=False, layout="constrained")  # fmt: skip
    for layer, (ax, part) in enumerate(zip(axes[:, 0], weights, strict=True)):
        shown = part.mean(0) if heads is None else part[heads[layer]]
        sns.heatmap(shown[answer_from:], ax=ax, cmap="Blues", vmin=0, vmax=1, cbar=False, square=True, linewidths=0.4)
        ax.set(
            title=f"layer {layer + 1}" + ("" if heads is None else f", head {heads[layer] + 1}"), ylabel="after reading"
        )
        ax.set_yticks(np.arange(len(tokens) - answer_from) + 0.5, list(tokens[answer_from:]), rotation=0)
        ax.set_xticks(np.arange(len(tokens)) + 0.5, list(tokens), rotation=0)
        ax.grid(False)
    axes[-1, 0].set_xlabel("attends to")
    return figure
