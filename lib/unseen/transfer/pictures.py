"""Figures of models asked in other worlds: tidy frame in, ``Axes`` or ``Figure`` out."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from unseen.plots import COLOURS, over_seeds


def heat_map(results: pd.DataFrame, asked: str, ax: Axes | None = None, label: str = "") -> Axes:
    """Mean accuracy of each training setting (rows) in each test (columns, the values of ``asked``).

    Cells of tests for which no rules are left stay empty.
    """
    rows = results["setting"] + results["instructions"].map("  ·  {:,} rules".format)
    table = results.assign(row=rows).pivot_table("accuracy", "row", asked).loc[list(dict.fromkeys(rows))]
    ax = ax or plt.subplots(figsize=(1.6 + 0.95 * table.shape[1] + 3, 1.5 + 0.42 * len(table)), layout="constrained")[1]
    sns.heatmap(100 * table, annot=True, fmt=".0f", vmin=0, vmax=100, cmap="viridis", ax=ax, linewidths=0.6,
                cbar_kws={"format": "%g %%", "label": "exact match, unseen rules"})  # fmt: skip
    ax.set(xlabel=label or asked, ylabel="trained on")
    ax.tick_params(axis="y", rotation=0, length=0)
    ax.tick_params(axis="x", length=0)
    ax.grid(False)
    return ax


def by_form(results: pd.DataFrame) -> Figure:
    """Accuracy against k, one panel a training setting with most rules, one line for each form of the test rules.

    Bands are 95 % intervals over seeds; the shaded range is the one trained on.
    """
    most = results[results["instructions"] == results.groupby("setting")["instructions"].transform("max")]
    names = list(dict.fromkeys(most["setting"]))
    columns = min(4, len(names))
    figure, axes = plt.subplots(-(-len(names) // columns), columns, figsize=(3.1 * columns + 1.6, 2.9 * -(-len(names) // columns)),
                                sharex=True, sharey=True, squeeze=False, layout="constrained")  # fmt: skip
    forms = ["random", "repeated", "periodic", "mirrored"]
    palette = dict(zip(forms, sns.color_palette("colorblind", 4), strict=True))
    for ax, name in zip(axes.flat, names, strict=False):
        part = most[most["setting"] == name]
        ax.axvspan(part["k_low"].iloc[0] - 0.2, part["k_high"].iloc[0] + 0.2, color=COLOURS["paper"], alpha=0.12, lw=0)
        sns.lineplot(part, x="k", y="accuracy", hue="form", hue_order=forms, palette=palette, errorbar=over_seeds, marker="o",
                     ax=ax, lw=1.8, err_kws={"alpha": 0.15, "lw": 0}, legend=ax is axes[0, 0])  # fmt: skip
        ax.set(
            title=name,
            ylim=(-0.03, 1.05),
            xticks=np.sort(results["k"].unique()),
            ylabel="exact match",
            xlabel="k of the test rules",
        )
        ax.yaxis.set_major_formatter(PercentFormatter(1))
    for ax in list(axes.flat)[len(names) :]:
        ax.set_visible(False)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    axes[0, 0].get_legend().remove()
    figure.legend(handles, labels, loc="outside right upper", title="test rules")
    return figure


def side_by_side(ours: pd.DataFrame, published: pd.DataFrame) -> pd.DataFrame:
    """Two tables with the same kind of rows and columns under one header, columns (source, instructions); gaps stay empty."""
    return pd.concat({"here": ours, "published": published}, axis=1).map(
        lambda value: "" if pd.isna(value) else f"{value:.2f}"
    )
