"""Figures of the experiments beside the main curve: tidy frame in, ``Axes`` out."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from unseen.diversity.effective import Curve, with_effective
from unseen.plots import COLOURS, over_seeds, spaced, ticks


def by_setting(results: pd.DataFrame, titles: dict[str, str], panel: str) -> Figure:
    """Accuracy on unseen instructions against their number, one line a setting, one panel for each value of ``panel``.

    ``titles`` names the panels by value, in order.  Points are runs, lines means, bands 95 % intervals over seeds.
    """
    figure, axes = plt.subplots(1, len(titles), figsize=(5.2 * len(titles) + 1.5, 4.2), sharey=True, squeeze=False,
                                layout="constrained")  # fmt: skip
    names = list(dict.fromkeys(results["setting"]))
    palette = dict(zip(names, sns.color_palette("viridis_r", len(names)), strict=True))
    for ax, (value, title) in zip(axes[0], titles.items(), strict=True):
        part = results[(results["split"] == "unseen") & (results[panel] == value)]
        sns.lineplot(part, x="instructions", y="accuracy", hue="setting", palette=palette, errorbar=over_seeds, ax=ax,
                     lw=2, err_kws={"alpha": 0.1, "lw": 0}, legend=ax is axes[0][0])  # fmt: skip
        sns.scatterplot(part, x="instructions", y="accuracy", hue="setting", palette=palette, ax=ax, s=22, legend=False)
        log_sizes(ax, part["instructions"])
        ax.set(title=title, ylim=(-0.03, 1.05), ylabel="exact match, unseen instructions")
        ax.yaxis.set_major_formatter(PercentFormatter(1))
    handles, labels = axes[0][0].get_legend_handles_labels()
    axes[0][0].get_legend().remove()
    axes[0][-1].legend(handles, labels, loc="upper left", bbox_to_anchor=(1.01, 1))
    return figure


def log_sizes(ax: Axes, sizes: pd.Series, label: str = "different instructions in training") -> None:
    """A log axis with the sizes that are there as its ticks, as many as have room."""
    shown = spaced(np.sort(sizes.unique()), apart=1.35)
    ax.set(xscale="log", xlabel=label)
    ticks(ax, shown, [f"{size:,}" for size in shown])


def by_concentration(results: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Accuracy on unseen instructions against the shape a, peaked to the right, one line for each number of instructions."""
    ax = ax or plt.subplots()[1]
    counts = results.groupby("instructions")["concentration"].nunique()
    part = results[(results["split"] == "unseen") & results["instructions"].isin(counts.index[counts > 1])]
    part = part.assign(which=part["instructions"].map("{:,} instructions".format))
    sns.lineplot(part, x="concentration", y="accuracy", hue="which", errorbar=over_seeds, ax=ax, lw=2.2, marker="o",
                 err_kws={"alpha": 0.12, "lw": 0})  # fmt: skip
    sns.scatterplot(part, x="concentration", y="accuracy", hue="which", ax=ax, s=20, alpha=0.7, legend=False)
    shapes = np.sort(part["concentration"].unique())
    ax.set(xscale="log", ylim=(-0.03, 1.05), ylabel="exact match, unseen instructions",
           xlabel="shape a: even at 1, most examples to a few on the right")  # fmt: skip
    ax.invert_xaxis()
    ticks(ax, shapes, [f"{shape:g}" for shape in shapes])
    ax.yaxis.set_major_formatter(PercentFormatter(1))
    ax.legend(title=None, loc="lower left")
    return ax


def collapse(results: pd.DataFrame, even: Curve, orders: dict[str, float]) -> Figure:
    """Uneven runs at their effective number of instructions, one panel an order, with the even curve behind."""
    figure, axes = plt.subplots(1, len(orders), figsize=(4.1 * len(orders) + 1.2, 3.8), sharey=True, squeeze=False,
                                layout="constrained")  # fmt: skip
    unseen = results[results["split"] == "unseen"]
    names = [name for name in dict.fromkeys(unseen["setting"]) if name != "a = 1"]
    palette = dict(zip(names, sns.color_palette("viridis_r", len(names)), strict=True))
    for ax, (title, order) in zip(axes[0], orders.items(), strict=True):
        part = with_effective(unseen[unseen["concentration"] != 1], order)
        sizes = np.geomspace(1, unseen["instructions"].max(), 300)
        ax.plot(sizes, even(sizes), color=COLOURS["baseline"], lw=2, label="even curve")
        sns.scatterplot(part, x="effective", y="accuracy", hue="setting", style="instructions", palette=palette, ax=ax,
                        s=45, legend=ax is axes[0][-1])  # fmt: skip
        ax.set(xscale="log", title=title, xlabel="effective number of instructions", ylim=(-0.03, 1.05),
               ylabel="exact match, unseen instructions")  # fmt: skip
        ax.yaxis.set_major_formatter(PercentFormatter(1))
    axes[0][-1].legend(loc="upper left", bbox_to_anchor=(1.01, 1))
    return figure
