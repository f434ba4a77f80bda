"""Figures of models asked in other worlds: tidy frame in, ``Axes`` or ``Figure`` out."""

from collections.abc import Sequence

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


def side_by_side(ours: pd.DataFrame, published: pd.DataFrame, numbers: Sequence[int]) -> pd.DataFrame:
    """The occurrences table here and as published, columns (source, instructions), as text; what was not measured is empty.

    ``numbers`` stand for the paper's 1, 5, 10, 15 and 20, in this order; a row tells both where they differ.

    >>> table = pd.DataFrame({500: [0.5]}, index=pd.Index(["8"], name="trained"))
    >>> side_by_side(table, pd.DataFrame({500: [0.07]}, index=["20"]), (1, 2, 4, 6, 8)).index.tolist()
    ['1', '5 (here 2)', '10 (here 4)', '15 (here 6)', '20 (here 8)', 'all of them']
    """
    paper = ["1", "5", "10", "15", "20"]
    here = dict(zip(map(str, numbers), paper, strict=True))
    both = {"here": ours.rename(index=lambda name: here.get(name, "all of them")),
            "published": published.rename(index=lambda name: "all of them" if "," in name else name)}  # fmt: skip
    table = pd.concat(both, axis=1).reindex([*paper, "all of them"])
    names = {there: f"{there} (here {name})" for name, there in here.items() if name != there}
    return table.rename(index=names).map(lambda value: "" if pd.isna(value) else f"{value:.2f}")
