"""Figures of DELIA: the tidy frames of ``measure``, ``follow``, ``meaning`` and ``gradients`` in, a ``Figure`` or ``Axes`` out."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator, PercentFormatter

from unseen.delia.prompts import KINDS
from unseen.plots import over_seeds

_SAFE = sns.color_palette("colorblind")
COLOURS = dict(zip(KINDS, (_SAFE[0], _SAFE[1], _SAFE[2], _SAFE[3], _SAFE[4], _SAFE[7]), strict=True))
ASKED = {"task+token": "task, with the token", "task": "task, without", "other+token": "other operations, with",
         "other": "other operations, without", "other formats": "other formats, by name", "not token": "“do not use <sep>”"}  # fmt: skip
GRADIENTS = {"task": _SAFE[3], "diverse": _SAFE[0], "composite": _SAFE[2], "ideal": "black", "bias": _SAFE[7]}


def by_kind(results: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Accuracy on prompts of every kind, one group of bars a kind, one bar a method; points are seeds."""
    ax = ax or plt.subplots(figsize=(11, 4.2))[1]
    rows = results.assign(asked=results["prompts"].map(ASKED))
    how = {"x": "asked", "y": "accuracy", "hue": "method", "order": list(ASKED.values()), "ax": ax}
    sns.barplot(rows, errorbar=None, **how)
    sns.stripplot(rows, dodge=True, palette=["black"] * rows["method"].nunique(), size=3.5, legend=False, **how)
    ax.set(xlabel=None, ylabel="exact match", ylim=(0, 1.08))
    ax.set_xticks(range(len(ASKED)), [label.replace(", ", ",\n") for label in ASKED.values()])
    ax.yaxis.set_major_formatter(PercentFormatter(1))
    ax.grid(False, axis="x")
    ax.legend(title=None, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=4)
    return ax


def by_ratio(results: pd.DataFrame, budgets: dict[str, str]) -> Figure:
    """Accuracy against the ratio of diverse data, one panel a kind of prompts, one line a budget (``budgets`` names them by ``study``).

    Points are runs, lines means, bands 95 % intervals over seeds.
    """
    ratios = sorted(results["ratio"].unique())
    rows = results.assign(place=results["ratio"].map(ratios.index), budget=results["study"].map(budgets))
    figure, axes = plt.subplots(2, 3, figsize=(12, 5.6), sharex=True, sharey=True, layout="constrained")
    for ax, (kind, title) in zip(axes.flat, ASKED.items(), strict=True):
        part = rows[rows["prompts"] == kind]
        how = {"x": "place", "y": "accuracy", "hue": "budget", "palette": "colorblind", "ax": ax}
        sns.lineplot(
            part, errorbar=over_seeds, lw=2.2, err_kws={"alpha": 0.12, "lw": 0}, legend=ax is axes[0][0], **how
        )
        sns.scatterplot(part, s=24, legend=False, **how)
        ax.set(title=title, xlabel="diverse rows for each task row", ylabel="exact match", ylim=(-0.04, 1.06))
        ax.set_xticks(range(len(ratios)), [f"{ratio}" for ratio in ratios])
        ax.yaxis.set_major_formatter(PercentFormatter(1))
    axes[0][0].legend(title=None, loc="lower right", fontsize=9)
    return figure


def table_of_methods(results: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Mean accuracy over seeds, one row a method, one column a kind of prompts; the best that one model does in all comes last."""
    methods = list(dict.fromkeys(results["method"]))
    means = results.pivot_table("accuracy", "method", "prompts").loc[methods, list(KINDS)]
    means.insert(len(KINDS), "least of all", means.min(axis=1))
    ax = ax or plt.subplots(figsize=(11, 0.42 * len(methods) + 1.4))[1]
    return _heat(means.rename(columns=ASKED), ax)


def phases(
    results: pd.DataFrame, regimes: Sequence[str], kinds: Sequence[str] = ("task", "other+token", "other formats")
) -> Figure:
    """The phase diagram: accuracy by ratio of diverse data (columns) and regime of learning rates (rows), one panel a kind."""
    rows = results[results["regime"].isin(regimes)]
    figure, axes = plt.subplots(1, len(kinds), figsize=(4.2 * len(kinds) + 0.8, 0.5 * len(regimes) + 1.7), sharey=True,
                                layout="constrained")  # fmt: skip
    for ax, kind in zip(axes, kinds, strict=True):
        means = rows[rows["prompts"] == kind].pivot_table("accuracy", "regime", "ratio").loc[list(regimes)]
        _heat(means, ax, tight=True).set(title=ASKED[kind], xlabel="diverse rows for each task row")
    return figure


def _heat(means: pd.DataFrame, ax: Axes, tight: bool = False) -> Axes:
    """Shares as a heat map with its numbers."""
    sns.heatmap(100 * means, annot=True, fmt=".0f", cmap="viridis", vmin=0, vmax=100, cbar=False, linewidths=1, ax=ax)
    ax.set(xlabel=None, ylabel=None)
    ax.tick_params(length=0)
    ax.set_yticks(np.arange(len(means)) + 0.5, means.index, rotation=0)
    if not tight:
        ax.set_xticks(ax.get_xticks(), [label.replace(", ", ",\n") for label in means.columns], rotation=0, fontsize=8)
    return ax


def format_loss(curves: pd.DataFrame, prompts: str = "other+token") -> Figure:
    """Loss of right answers and exact match while a base is tuned, on one kind of prompts, one line a ratio (mean of seeds)."""
    figure, axes = plt.subplots(1, 2, figsize=(11, 3.9), layout="constrained")
    rows = curves[curves["prompts"] == prompts].assign(ratio=lambda rows: rows["ratio"].astype(str))
    palette = dict(zip(rows["ratio"].unique(), sns.color_palette("viridis_r", rows["ratio"].nunique()), strict=True))
    for ax, column, label in zip(axes, ("loss", "accuracy"), ("nats an answer", "exact match"), strict=True):
        sns.lineplot(rows, x="step", y=column, hue="ratio", palette=palette, errorbar=None, lw=2, marker="o", ms=4, ax=ax,
                     legend=ax is axes[1])  # fmt: skip
        _updates(ax, rows["step"])
        ax.set(ylabel=label, title=ASKED[prompts])
    axes[0].set_ylim(0)
    axes[1].set_ylim(-0.03, 1.05)
    axes[1].yaxis.set_major_formatter(PercentFormatter(1))
    axes[1].legend(title="diverse rows\nfor each task row", loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def over_time(curves: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Accuracy on prompts of every kind while a base is tuned; thick lines are means, thin ones seeds."""
    ax = ax or plt.subplots()[1]
    rows = curves.assign(asked=curves["prompts"].map(ASKED))
    palette = {ASKED[kind]: colour for kind, colour in COLOURS.items()}
    how = {"x": "step", "y": "accuracy", "hue": "asked", "hue_order": list(palette), "palette": palette, "ax": ax}
    sns.lineplot(rows, estimator=None, units="seed", lw=0.8, alpha=0.5, legend=False, **how)
    sns.lineplot(rows, errorbar=None, lw=2.4, marker="o", ms=4, **how)
    _updates(ax, rows["step"])
    ax.set(ylabel="exact match", ylim=(-0.03, 1.05))
    ax.yaxis.set_major_formatter(PercentFormatter(1))
    ax.legend(title=None, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return ax


def _updates(ax: Axes, steps: pd.Series) -> None:
    """An axis of updates on which the first ones have room: linear up to the first look, then logarithmic."""
    looks = sorted(set(steps))
    ax.set_xscale("symlog", linthresh=max(looks[1], 1))
    apart = [step for step, following in zip(looks, [*looks[1:], 0], strict=True) if not step < following < 1.5 * step]
    ax.set_xticks(apart, [f"{step}" for step in apart])
    ax.xaxis.set_minor_locator(NullLocator())
    ax.set_xlabel("updates")


def spreads(results: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Accuracy with the token on operations it was never trained with, against the number of those that it was trained with."""
    ax = ax or plt.subplots(figsize=(7, 4))[1]
    rows = results[results["prompts"] == "other+token"].assign(ratio=lambda rows: rows["ratio"].map("ratio {}".format))
    how = {"x": "operations", "y": "accuracy", "hue": "ratio", "palette": "colorblind", "ax": ax}
    sns.lineplot(rows, errorbar=over_seeds, lw=2.2, err_kws={"alpha": 0.12, "lw": 0}, **how)
    sns.scatterplot(rows, s=24, legend=False, **how)
    low = max(-0.03, rows["accuracy"].min() - 0.03)
    ax.set(xlabel="operations among the 100 task rows", ylabel="exact match, other operations, with", ylim=(low, 1.01))
    ax.set_xticks(sorted(results["operations"].unique()))
    ax.yaxis.set_major_formatter(PercentFormatter(1))
    ax.legend(title=None)
    return ax


def similarities(meanings: pd.DataFrame, regimes: Sequence[str]) -> Figure:
    """Similarity of hidden states with the token to those with other words in its place, layer by layer.

    One panel a regime and ratio; thick lines are means, thin ones seeds.
    """
    rows = meanings[(meanings["measure"] == "similarity") & meanings["regime"].isin(regimes)]
    ratios = sorted(rows["ratio"].unique())
    figure, axes = plt.subplots(len(ratios), len(regimes), figsize=(3.1 * len(regimes) + 1.6, 2.2 * len(ratios) + 0.6),
                                sharex=True, sharey=True, squeeze=False, layout="constrained")  # fmt: skip
    for line, ratio in zip(axes, ratios, strict=True):
        for ax, regime in zip(line, regimes, strict=True):
            part = rows[(rows["ratio"] == ratio) & (rows["regime"] == regime)]
            how = {"x": "layer", "y": "value", "hue": "against", "ax": ax}
            sns.lineplot(part, estimator=None, units="seed", lw=0.8, alpha=0.6, legend=False, **how)
            sns.lineplot(part, errorbar=None, lw=2.4, legend=ax is axes[0][-1], **how)
            ax.set(title=f"{regime}, ratio {ratio}", xlabel="behind layer", ylabel="cosine")
            ax.set_xticks(sorted(rows["layer"].unique()))
    axes[0][-1].legend(title="beside", loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return figure


def angles(table: pd.DataFrame, part: str = "all weights") -> Figure:
    """Cosines of each gradient to the ideal and to the bias during tuning, without diverse data and with it."""
    rows, ratios = table[table["part"] == part], sorted(table["ratio"].unique())
    figure, axes = plt.subplots(2, len(ratios), figsize=(5.2 * len(ratios) + 1, 6), sharex=True, sharey=True, squeeze=False,
                                layout="constrained")  # fmt: skip
    for line, along in zip(axes, ("ideal", "bias"), strict=True):
        for ax, ratio in zip(line, ratios, strict=True):
            chosen = rows[(rows["along"] == along) & (rows["ratio"] == ratio) & (rows["gradient"] != "bias")]
            sns.lineplot(chosen, x="step", y="cosine", hue="gradient", palette=GRADIENTS, errorbar="sd", lw=2, marker="o", ms=4,
                         err_kws={"alpha": 0.12, "lw": 0}, legend=ax is axes[0][-1], ax=ax)  # fmt: skip
            ax.axhline(0, color="black", lw=0.8)
            _updates(ax, rows["step"])
            ax.set(title=f"ratio {ratio}: along the {along}", ylabel="cosine", ylim=(-1.05, 1.05))
    axes[0][-1].legend(title=None, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return figure


def by_part(table: pd.DataFrame, step: int = 0) -> Figure:
    """Cosines to the ideal and to the bias in each part of the model at one step, over all runs."""
    figure, axes = plt.subplots(1, 2, figsize=(11.5, 3.8), sharey=True, layout="constrained")
    rows = table[(table["step"] == step) & (table["gradient"] != "bias")]
    for ax, along in zip(axes, ("ideal", "bias"), strict=True):
        sns.barplot(rows[rows["along"] == along], x="part", y="cosine", hue="gradient", palette=GRADIENTS, errorbar="sd",
                    err_kws={"linewidth": 1}, legend=along == "bias", ax=ax)  # fmt: skip
        ax.axhline(0, color="black", lw=0.8)
        ax.set(title=f"along the {along}", xlabel=None)
        ax.tick_params(axis="x", rotation=25)
    axes[1].legend(title=None, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return figure


def sketch(table: pd.DataFrame, steps: Sequence[int], ratio: int, part: str = "all weights") -> Figure:
    """The paper's sketch from data: gradients in the plane of the ideal (upwards) and what the bias has beside it (to the right).

    Arrows have length one times the share of the gradient that lies in this plane.
    """
    figure, axes = plt.subplots(1, len(steps), figsize=(4.1 * len(steps) + 1, 4.1), sharex=True, sharey=True, squeeze=False,
                                layout="constrained")  # fmt: skip
    rows = table[(table["part"] == part) & (table["ratio"] == ratio)]
    for ax, step in zip(axes[0], steps, strict=True):
        for name, (across, up) in _plane(rows[rows["step"] == step]).items():
            ax.annotate("", (across, up), (0, 0), arrowprops={"arrowstyle": "-|>", "lw": 2.4, "color": GRADIENTS[name]})
            ax.plot([], [], color=GRADIENTS[name], lw=2.4, label=name)
        ax.axhline(0, color="0.8", lw=0.8)
        ax.axvline(0, color="0.8", lw=0.8)
        ax.set(title=f"after {step} updates", xlim=(-1.1, 1.1), ylim=(-1.1, 1.1), xlabel="along the rest of the bias")
        ax.set_aspect("equal")
        ax.grid(False)
    axes[0][0].set_ylabel("along the ideal")
    axes[0][-1].legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return figure


def _plane(rows: pd.DataFrame) -> dict[str, tuple[float, float]]:
    """Each gradient, at length one, in the plane: across, up; means over seeds of the cosines."""
    cosines = rows.groupby(["gradient", "along"])["cosine"].mean()
    between = cosines["bias", "ideal"]
    wide = max(np.sqrt(1 - between**2), 1e-6)
    found = {name: ((cosines[name, "bias"] - between * cosines[name, "ideal"]) / wide, cosines[name, "ideal"])
             for name in ("task", "diverse", "composite")}  # fmt: skip
    return {"ideal": (0.0, 1.0), "bias": (wide, between)} | found
