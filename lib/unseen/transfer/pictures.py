"""Figures of models asked in other worlds: tidy frame in, ``Axes`` or ``Figure`` out."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from unseen.claims.transfer import own_number
from unseen.plots import COLOURS, over_seeds

_MOST_ROWS = 24


def heat_map(results: pd.DataFrame, asked: str, ax: Axes | None = None, label: str = "", bar: bool = True,
             rows: list[str] | None = None) -> Axes:  # fmt: skip
    """Mean accuracy of each training setting (rows) in each test (columns, the values of ``asked``).

    Framed are the k, or the numbers of occurrences, trained on.  Cells of tests for which no rules are left stay empty.
    Of more rows than 24 those with most rules are drawn; ``rows`` names others, in order.
    """
    results = readable(results) if rows is None else results
    rows = rows or list(named(results).unique())
    results = results.assign(row=named(results), own=_own(results, asked))
    table = results.pivot_table("accuracy", "row", asked).reindex(rows)
    own = results.pivot_table("own", "row", asked, aggfunc="max").reindex(rows).fillna(0).astype(bool)
    ax = ax or plt.subplots(figsize=(1.6 + 0.95 * table.shape[1] + 3, 1.5 + 0.42 * len(table)), layout="constrained")[1]
    sns.heatmap(100 * table, annot=True, fmt=".0f", vmin=0, vmax=100, cmap="viridis", ax=ax, linewidths=0.6, cbar=bar,
                cbar_kws={"format": "%g %%", "label": "exact match, unseen rules"} if bar else None)  # fmt: skip
    for row, column in np.argwhere(own.to_numpy()):
        ax.add_patch(plt.Rectangle((column + 0.06, row + 0.09), 0.88, 0.82, fill=False, ec="white", lw=1.6))
    ax.set(xlabel=label or asked, ylabel="trained on")
    ax.tick_params(axis="y", rotation=0, length=0)
    ax.tick_params(axis="x", length=0)
    ax.grid(False)
    return ax


def by_family(results: pd.DataFrame) -> Figure:
    """Two heat maps of ways to train and k of the test rules: rules of a form that was trained, and of another or of no form.

    Framed are the k trained on, in both.
    """
    results = readable(results)
    trained = (results["form"] == results["family"]) | ((results["family"] == "mixed") & (results["form"] != "random"))
    parts = {"test rules of a trained form": results[trained], "of another form (k = 1: of none)": results[~trained]}
    parts = {title: part for title, part in parts.items() if len(part)}
    rows, columns = named(results), [part["k"].nunique() for part in parts.values()]
    figure, axes = plt.subplots(1, len(parts), figsize=(4.4 + 0.8 * sum(columns), 1.7 + 0.4 * rows.nunique()), sharey=True,
                                squeeze=False, width_ratios=columns, layout="constrained")  # fmt: skip
    for ax, (title, part) in zip(axes[0], parts.items(), strict=True):
        heat_map(part, "k", ax, "k of the test rules", bar=ax is axes[0][-1], rows=list(rows.unique()))
        ax.set_title(title, size=11)
    for ax in axes[0][1:]:
        ax.set_ylabel("")
    return figure


def named(results: pd.DataFrame) -> pd.Series:
    """The way to train of each row, in words."""
    return results["setting"] + results["instructions"].map("  ·  {:,} rules".format)


def readable(results: pd.DataFrame) -> pd.DataFrame:
    """The results, or of more ways to train than a picture has room for those with most instructions."""
    return with_most(results) if results.groupby(["setting", "instructions"]).ngroups > _MOST_ROWS else results


def with_most(results: pd.DataFrame) -> pd.DataFrame:
    """The rows of each setting with most instructions."""
    return results[results["instructions"] == results.groupby("setting")["instructions"].transform("max")]


def _own(results: pd.DataFrame, asked: str) -> pd.Series:
    """1 where a row asks for a k, or a number of occurrences, that its model was trained on, else 0."""
    if asked == "k" and "k_low" in results:
        return results[asked].between(results["k_low"], results["k_high"]).astype(int)
    if asked == "asked" and "trained" in results:
        return own_number(results).astype(int)
    return pd.Series(0, results.index)


def by_form(results: pd.DataFrame) -> Figure:
    """Accuracy against k, one panel a training setting with most rules, one line for each form of the test rules.

    Bars are 95 % intervals over seeds; the shaded range is the one trained on.
    """
    most = with_most(results)
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
                     ax=ax, lw=1.8, err_style="bars", err_kws={"elinewidth": 1.2}, legend=ax is axes[0, 0])  # fmt: skip
        ax.set(
            title=name,
            ylim=(-0.03, 1.05),
            xticks=np.sort(results["k"].unique()),
            ylabel="exact match",
            xlabel="k of the test rules",
        )
        ax.yaxis.set_major_formatter(PercentFormatter(1))
        ax.tick_params(labelbottom=True)  # the panel below may be hidden
    for ax in list(axes.flat)[len(names) :]:
        ax.set_visible(False)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    axes[0, 0].get_legend().remove()
    figure.legend(handles, labels, loc="outside right upper", title="test rules")
    return figure


def side_by_side(tables: Mapping[str, pd.DataFrame], published: pd.DataFrame, numbers: Sequence[int]) -> pd.DataFrame:
    """Occurrences tables of ours and the published one, columns (instructions, source), as text; – is what was not measured.

    ``numbers`` stand for the paper's 1, 5, 10, 15 and 20, in this order; a row tells both where they differ.

    >>> table = pd.DataFrame({500: [0.5]}, index=pd.Index(["8"], name="trained"))
    >>> shown = side_by_side({"here": table}, pd.DataFrame({500: [0.07]}, index=["20"]), (1, 2, 4, 6, 8))
    >>> shown.index.tolist()
    ['1', '5 (here 2)', '10 (here 4)', '15 (here 6)', '20 (here 8)', 'all of them']
    >>> shown.loc["20 (here 8)"].to_dict()
    {(500, 'here'): '0.50', (500, 'published'): '0.07'}
    """
    paper = ["1", "5", "10", "15", "20"]
    here = dict(zip(map(str, numbers), paper, strict=True))
    both = {source: table.rename(index=lambda name: here.get(name, "all of them")) for source, table in tables.items()}
    both["published"] = published.rename(index=lambda name: "all of them" if "," in name else name)
    table = pd.concat(both, axis=1).reindex([*paper, "all of them"]).swaplevel(axis=1)
    sizes = sorted(table.columns.unique(0), reverse=True)
    table = table[[(size, source) for size in sizes for source in both if (size, source) in table]]
    names = {there: f"{there} (here {name})" for name, there in here.items() if name != there}
    return table.rename(index=names).map(lambda value: "–" if pd.isna(value) else f"{value:.2f}")
