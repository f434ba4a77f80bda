"""Figures of specialists and generalists: the tidy frame of ``measure`` in, a ``Figure`` out."""

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from unseen.claims.domains import DOMAINS, MIXTURES_PUBLISHED, PUBLISHED, own
from unseen.plots import COLOURS, over_seeds

NAMES = {"letters": "letters", "algebra": "algebra", "lists": "lists", "digits": "letter rules\non digits", "moves": "operations\non letters"}  # fmt: skip


def mixtures(results: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Accuracy on unseen own instructions against what the own domain has of the budget, one line for each number of own rules.

    Dashed: the same own examples without the diversifying ones, where they were trained.  The whole budget is the largest in experiment 7.
    """
    ax = ax or plt.subplots()[1]
    part, alone = (
        own(results, each).assign(which=lambda rows: rows["own_rules"].map("{:,} own rules".format))
        for each in ("7", "7 alone")
    )
    shares = sorted(part["own_share"].unique(), reverse=True)
    names = list(dict.fromkeys(part["which"]))
    palette = dict(zip(names, sns.color_palette("colorblind", len(names)), strict=True))
    part["place"] = part["own_share"].map(shares.index)
    sns.lineplot(
        part,
        x="place",
        y="accuracy",
        hue="which",
        palette=palette,
        errorbar=over_seeds,
        lw=2.2,
        ax=ax,
        err_kws={"alpha": 0.15, "lw": 0},
    )
    sns.scatterplot(part, x="place", y="accuracy", hue="which", palette=palette, s=28, legend=False, ax=ax)
    _alone(alone.assign(share=alone["budget"] / part["budget"].max()), shares, ax)
    ax.set_xticks(range(len(shares)), [_share(share) for share in shares])
    ax.set(
        xlabel="own examples : diversifying examples, percent of the budget",
        ylabel="exact match, unseen own instructions",
    )
    ax.set_ylim(0, min(1.05, 1.25 * max(part["accuracy"].max(), 0.04)))
    ax.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    ax.margins(x=0.08)
    ax.yaxis.set_major_locator(MaxNLocator(8, steps=[1, 2, 5, 10]))
    ax.legend(title=None, loc="upper right")
    return ax


def _alone(part: pd.DataFrame, shares: list[float], ax: Axes) -> None:
    """The controls: own examples only, at the place of the mixture that has as many."""
    part = part.assign(
        place=[min(range(len(shares)), key=lambda i, share=share: abs(shares[i] - share)) for share in part["share"]]
    )
    sns.lineplot(part, x="place", y="accuracy", errorbar=None, color=COLOURS["baseline"], ls="--", lw=1.6, ax=ax,
                 label=f"{part['own_rules'].max()} own rules, the own part alone")  # fmt: skip
    sns.scatterplot(part, x="place", y="accuracy", color=COLOURS["baseline"], s=22, ax=ax)


def _share(share: float) -> str:
    """A mixture as a label, with a star where it was published."""
    star = "*" if any(abs(share - each) < 0.001 for each in MIXTURES_PUBLISHED) else ""
    return f"{100 * share:.0f}:{100 - 100 * share:.0f}{star}"


def specialist(results: pd.DataFrame) -> Figure:
    """Experiment 8: ours on the left, the published percentages on the right, each in its own unit."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 3.8), layout="constrained", width_ratios=(4, 3))
    part = own(results, "8").replace(
        {"setting": {"3.75 N own, 3.75 x rules": "3.75 N own,\n3.75 × rules", "nine tenths own": "nine tenths\nown"}}
    )
    _bars(part, left, "exact match, unseen algebra")
    left.set_title("here")
    published = PUBLISHED[PUBLISHED["experiment"] == "8"]
    bars = right.bar(
        published["published setting"].str.replace(" + ", "\n+ "),
        published["percent"],
        color=COLOURS["paper"],
        width=0.6,
    )
    right.bar_label(bars, fmt="%.1f")
    right.set(title="published", ylabel="percent of HumanEval and MBPP", ylim=(0, 80))
    right.grid(False, axis="x")
    return figure


def generalist(results: pd.DataFrame) -> Figure:
    """Experiment 9: each domain and untrained kind by what was trained, the mean over the domains, and the published overall scores."""
    rows = results[(results["experiment"].astype(str) == "9") & (results["split"] == "unseen")]
    table = rows.pivot_table("accuracy", "setting", "kind", sort=False)[list(NAMES)]
    table.insert(3, "mean of\nthe three", table[list(DOMAINS)].mean(axis=1))
    figure, (left, right) = plt.subplots(1, 2, figsize=(12, 3.8), layout="constrained", width_ratios=(5, 3))
    sns.heatmap(
        100 * table.rename(columns=NAMES),
        annot=True,
        fmt=".1f",
        cmap="Blues",
        vmin=0,
        vmax=100,
        cbar=False,
        ax=left,
        linewidths=1,
    )
    left.set(title="here: percent of unseen instructions right", xlabel="asked", ylabel="trained on")
    left.tick_params(axis="x", rotation=0, labelsize=9)
    published = PUBLISHED[PUBLISHED["experiment"] == "9"].pivot_table(
        "percent", "published setting", "benchmark", sort=False
    )
    sns.heatmap(published, annot=True, fmt=".1f", cmap="Purples", vmin=0, vmax=100, cbar=False, ax=right, linewidths=1)
    right.set(title="published: percent of benchmarks", xlabel="", ylabel="")
    right.tick_params(axis="y", rotation=0)
    return figure


def _bars(part: pd.DataFrame, ax: Axes, label: str) -> None:
    """Means as bars, runs as points."""
    names = list(dict.fromkeys(part["setting"]))
    sns.barplot(
        part,
        x="setting",
        y="accuracy",
        order=names,
        errorbar=over_seeds,
        color=COLOURS["unseen"],
        alpha=0.75,
        width=0.6,
        ax=ax,
    )
    sns.stripplot(part, x="setting", y="accuracy", order=names, color="black", size=4, ax=ax)
    ax.set(xlabel="", ylabel=label, ylim=(0, None))
    ax.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    ax.grid(False, axis="x")


def beside(results: pd.DataFrame) -> pd.DataFrame:
    """Our means beside the published numbers: experiment, setting, ours (exact match, percent), published, of which benchmark."""
    rows = results.astype({"experiment": str})
    rows = rows[rows["split"] == "unseen"]
    trained = rows[rows["kind"].isin(DOMAINS)]
    ours = (
        pd.concat([own(results, "8"), trained[trained["experiment"] == "9"]])
        .groupby(["experiment", "setting"])["accuracy"]
        .mean()
    )
    strange = rows[~rows["kind"].isin(DOMAINS)].groupby(["experiment", "setting"])["accuracy"].mean()
    table = PUBLISHED.copy()
    values = [
        (strange if line.benchmark == "IFEval" else ours)[line.experiment, line.setting] for line in table.itertuples()
    ]
    asked = {"IFEval": "untrained kinds", "overall": "mean of three domains"}
    table.insert(2, "asked here", table["benchmark"].map(asked).fillna("unseen algebra"))
    table.insert(3, "here, percent", [round(100 * value, 1) for value in values])
    return table
