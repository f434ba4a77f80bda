"""Pictures of the inside: tidy frame in, ``Figure`` or ``Axes`` out.  As in ``plots``, nothing here reads files."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from unseen.diversity.variation_plots import log_sizes
from unseen.inside.axis import ASKS, FOLLOWS, RECITES
from unseen.inside.heads import JOBS, LETTERS
from unseen.inside.instead import KINDS
from unseen.inside.progress import EXACT
from unseen.inside.surgery import WHOLE
from unseen.plots import COLOURS, over_seeds

_SAFE = sns.color_palette("colorblind")
LETTER_COLOURS = dict(zip(LETTERS, (_SAFE[9], _SAFE[3], _SAFE[1], _SAFE[0]), strict=True))
KIND_COLOURS = dict(zip(KINDS, (_SAFE[2], (0.66, 0.86, 0.74), _SAFE[3], _SAFE[1], _SAFE[8], _SAFE[4], (0.82, 0.82, 0.82),
                                (0.35, 0.35, 0.35)), strict=True))  # fmt: skip
_PLURAL = dict(zip(JOBS, ("find the match", "copy z", "read y"), strict=True))
_HATCH = {"training y, nearest rule": "///", "training y, another rule": "\\\\\\", "training y, another place": "..."}


def jobs(frames: Mapping[str, pd.DataFrame]) -> Figure:
    """The score of every head at each job (``heads.jobs_of_heads``): a row of panels a model, a column a job."""
    names = list(dict.fromkeys(next(iter(frames.values()))["job"]))
    first = next(iter(frames.values()))
    wide, high = 0.62 * first["head"].max() + 0.6, 0.4 * first["layer"].max() + 0.7
    figure, axes = plt.subplots(len(frames), len(names), figsize=(wide * len(names) + 0.8, high * len(frames)), squeeze=False,
                                layout="constrained")  # fmt: skip
    for i, (model, frame) in enumerate(frames.items()):
        for ax, job in zip(axes[i], names, strict=True):
            table = frame[frame["job"] == job].pivot(index="layer", columns="head", values="score")
            sns.heatmap(table, ax=ax, annot=True, fmt=".2f", cmap="Blues", vmin=0, vmax=1, cbar=False, linewidths=1)
            ax.set(title="" if i else job, ylabel=f"{model}\nlayer" if ax is axes[i][0] else "",
                   xlabel="head" if i == len(frames) - 1 else "")  # fmt: skip
            ax.tick_params(length=0, rotation=0)
    return figure


def dose(table: pd.DataFrame) -> Figure:
    """What is right when the best heads at a job are silenced (``surgery.dose``), one panel a job.

    Solid: the best at that job; dotted: as many others, the mean of the draws.
    """
    names = [job for job in JOBS if job in set(table["job"])]
    figure, axes = plt.subplots(
        1, len(names), figsize=(3.9 * len(names) + 2, 3.6), sharey=True, squeeze=False, layout="constrained"
    )
    for ax, job in zip(axes[0], names, strict=True):
        for letters in LETTERS:
            part = table[(table["job"] == job) & (table["what"] == letters)]
            means = part.groupby(["chosen", "size"])["share"].mean()
            ax.plot(means["best"], color=LETTER_COLOURS[letters], lw=2.2, marker="o", ms=4, label=letters)
            ax.plot(means["others"], color=LETTER_COLOURS[letters], lw=1.2, ls=":")
        ax.set(
            title=f"without the heads that {_PLURAL[job]}",
            xlabel="heads silenced",
            ylim=(-0.03, 1.05),
            ylabel="letters right",
        )
        ax.yaxis.set_major_formatter(PercentFormatter(1))
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    handles, _ = axes[0][0].get_legend_handles_labels()
    handles.append(plt.Line2D([], [], color=COLOURS["baseline"], ls=":", label="as many other heads"))
    axes[0][-1].legend(handles=handles, loc="upper left", bbox_to_anchor=(1.01, 1))
    return figure


def lens(table: pd.DataFrame, right: str, ax: Axes | None = None, layer: int | None = None) -> Axes:
    """What one example's answer is after each layer (``lens.candidates``): letter, and by its shade how sure.

    Blue where the letter is the oracle's, orange where it is not; ``right`` stands below, a letter a place.  ``layer``
    frames a row.
    """
    top = table[table["rank"] == 1]
    chance, hit = (top.pivot(index="layer", columns="place", values=name) for name in ("probability", "right"))
    ax = ax or plt.subplots(figsize=(0.5 * chance.shape[1] + 2.2, 0.42 * len(chance) + 1.2))[1]
    ax.imshow(chance.where(~hit), cmap="Oranges", vmin=0, vmax=1, aspect="auto")
    image = ax.imshow(chance.where(hit), cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for cell in top.itertuples():
        ax.text(cell.place, cell.layer, cell.letter, ha="center", va="center", family="monospace", size=12,
                color="white" if cell.probability > 0.6 else "black")  # fmt: skip
    if layer is not None:
        ax.add_patch(plt.Rectangle((-0.5, layer - 0.5), chance.shape[1], 1, fill=False, ec="black", lw=2))
    ax.set_yticks(range(len(chance)), ["embedding", *(f"after layer {i}" for i in range(1, len(chance)))])
    ax.set_xticks(range(chance.shape[1]), list(right[: chance.shape[1]]), family="monospace", size=12)
    ax.set(xlabel="the right answer")
    ax.tick_params(length=0)
    ax.grid(False)
    ax.figure.colorbar(image, ax=ax, label="probability\n(orange: not the right letter)", pad=0.02)
    return ax


def candidates(table: pd.DataFrame, layer: int, ax: Axes) -> Axes:
    """The likeliest letters at each place after one layer, with their probabilities."""
    part = table[table["layer"] == layer]
    chance = part.pivot(index="rank", columns="place", values="probability")
    ax.imshow(chance, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for cell in part.itertuples():
        dark = cell.probability > 0.6
        ax.text(cell.place, cell.rank - 1, f"{cell.letter} {cell.probability:.2f}".replace("0.", "."), ha="center", va="center",
                size=8, color="white" if dark else "black", weight="bold" if cell.right else "normal")  # fmt: skip
    ax.set_yticks(range(len(chance)), [f"{rank}." for rank in chance.index])
    ax.set(xticks=[], title=f"after layer {layer}: the likeliest letters (bold: right)" if layer else
           "in the embedding: the likeliest letters (bold: right)")  # fmt: skip
    ax.tick_params(length=0)
    ax.grid(False)
    return ax


def head_map(weights: np.ndarray, tokens: str, prompt: int, ax: Axes, title: str = "") -> Axes:
    """Who looks at whom in one head: ``weights`` (T, T), a row a token that looks; a line parts prompt and answer."""
    ax.imshow(weights, cmap="Blues", vmin=0, vmax=1)
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_ticks(range(len(tokens)), list(tokens), family="monospace", size=9)
    ax.axhline(prompt - 0.5, color="black", lw=0.8)
    ax.axvline(prompt - 0.5, color="black", lw=0.8)
    ax.set(title=title, xlabel="is looked at", ylabel="looks")
    ax.tick_params(length=0)
    ax.grid(False)
    return ax


def lens_lines(frames: Mapping[str, pd.DataFrame]) -> Figure:
    """How likely the right letter is after each layer (``lens.by_layer``), one panel a model."""
    figure, axes = plt.subplots(
        1, len(frames), figsize=(4.2 * len(frames) + 1.8, 3.4), sharey=True, squeeze=False, layout="constrained"
    )
    for ax, (name, frame) in zip(axes[0], frames.items(), strict=True):
        sns.lineplot(frame, x="layer", y="probability", hue="letters", palette=LETTER_COLOURS, hue_order=LETTERS, marker="o",
                     ax=ax, lw=2, legend=ax is axes[0][-1])  # fmt: skip
        ax.set(
            title=name,
            xlabel="after layer (0: embedding)",
            ylim=(-0.03, 1.05),
            ylabel="probability of the right letter",
        )
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes[0][-1].legend(loc="upper left", bbox_to_anchor=(1.01, 1), title=None)
    return figure


def axis(table: pd.DataFrame, unseen: pd.DataFrame, summary: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Reciting and following on swapped replacements (``axis.table``) with exact match on unseen rules, and where they cross."""
    ax = ax or plt.subplots(figsize=(8, 4.5))[1]
    swapped = table[table["ask"] == ASKS[1]]
    lines = {RECITES: (swapped[swapped["does"] == RECITES], "share", _SAFE[3]), FOLLOWS: (swapped[swapped["does"] == FOLLOWS], "share", _SAFE[2]),
             "exact match, unseen rules": (unseen[unseen["split"] == "unseen"], "accuracy", COLOURS["unseen"])}  # fmt: skip
    for name, (part, value, colour) in lines.items():
        label = f"known pattern, other replacement: {name}" if value == "share" else name
        sns.lineplot(part, x="instructions", y=value, errorbar=over_seeds, color=colour, lw=2.2, label=label, ax=ax,
                     err_kws={"alpha": 0.15, "lw": 0})  # fmt: skip
        ax.scatter(part["instructions"], part[value], color=colour, s=14, zorder=3, edgecolor="white", lw=0.4)
    marks = {"recites = follows": _SAFE[4], "unseen exact match": COLOURS["unseen"]}
    for row in summary[summary["curve"].isin(marks)].itertuples():
        ax.axvline(
            row.middle,
            color=marks[row.curve],
            ls="--",
            lw=1.2,
            label=f"{row.curve}: {row.middle:.0f}".replace("match:", "match half:"),
        )
        ax.axvspan(row.low, row.high, color=marks[row.curve], alpha=0.1, lw=0)
    log_sizes(ax, table["instructions"])
    ax.set(ylim=(-0.03, 1.05), ylabel="share of answers")
    ax.yaxis.set_major_formatter(PercentFormatter(1))
    ax.legend(loc="upper left", bbox_to_anchor=(1.01, 1))
    return ax


def stages(summary: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Where each curve of ``axis.summary`` passes one half, with intervals over seeds, the earliest above."""
    ordered = summary.sort_values("middle", ascending=False)
    ax = ax or plt.subplots(figsize=(7.5, 0.42 * len(ordered) + 1.1))[1]
    places = np.arange(len(ordered))
    colours = [COLOURS["wrong"] if "recit" in curve else COLOURS["unseen"] for curve in ordered["curve"]]
    ax.hlines(places, ordered["low"], ordered["high"], colors=colours, lw=2, alpha=0.5)
    ax.scatter(ordered["middle"], places, c=colours, zorder=3)
    for place, row in zip(places, ordered.itertuples(), strict=True):
        ax.text(row.high * 1.04, place, f"{row.middle:.0f}", va="center", size=9)
    ax.set(xscale="log", yticks=places, yticklabels=ordered["curve"], xlabel="different instructions in training (95 % interval over seeds)",
           xlim=(ordered["low"].min() * 0.85, ordered["high"].max() * 1.25))  # fmt: skip
    sizes = [size for size in (20, 50, 100, 200, 400, 800) if ax.get_xlim()[0] <= size <= ax.get_xlim()[1]]
    ax.set_xticks(sizes, [str(size) for size in sizes])
    ax.xaxis.set_minor_locator(plt.NullLocator())
    return ax


def instead(shares: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """The kinds of answers to unseen rules (``instead.shares``), stacked, a bar a number of instructions."""
    ax = ax or plt.subplots(figsize=(8, 4.2))[1]
    below, places = np.zeros(len(shares)), np.arange(len(shares))
    for kind in KINDS:
        ax.bar(places, shares[kind], bottom=below, color=KIND_COLOURS[kind], label=kind, width=0.8, hatch=_HATCH.get(kind),
               edgecolor="white", lw=0.5)  # fmt: skip
        below += shares[kind].to_numpy()
    ax.set_xticks(places, [f"{size:,}" for size in shares.index])
    ax.set(xlabel="different instructions in training", ylabel="answers to unseen rules", ylim=(0, 1))
    ax.yaxis.set_major_formatter(PercentFormatter(1))
    ax.grid(axis="x", visible=False)
    handles, labels = ax.get_legend_handles_labels()
    ax.legend(handles[::-1], labels[::-1], loc="upper left", bbox_to_anchor=(1.01, 1))
    return ax


def signals(scaled: pd.DataFrame, shown: Sequence[str]) -> Figure:
    """How far each signal is on its way (``progress.scaled``) against training steps, one panel for each number of instructions."""
    sizes = sorted(scaled["instructions"].unique())
    figure, axes = plt.subplots(
        1, len(sizes), figsize=(4.4 * len(sizes) + 2.2, 3.8), sharey=True, squeeze=False, layout="constrained"
    )
    names = [EXACT, *(name for name in shown if name != EXACT)]
    palette = dict(
        zip(names, [COLOURS["unseen"], *(colour for i, colour in enumerate(_SAFE) if i not in (0, 7))], strict=False)
    )
    for ax, size in zip(axes[0], sizes, strict=True):
        part = scaled[(scaled["instructions"] == size) & scaled["signal"].isin(names)]
        sns.lineplot(part, x="step", y="way", hue="signal", hue_order=names, style="signal", style_order=names, palette=palette,
                     errorbar=None, ax=ax, lw=1.6, legend=ax is axes[0][-1])  # fmt: skip
        ax.lines[0].set(linewidth=3.2)
        ax.set(
            title=f"{size:,} instructions",
            xlabel="training step",
            ylabel="share of its way (first value: 0, last: 100 %)",
            ylim=(-0.2, 1.25),
        )
        ax.yaxis.set_major_formatter(PercentFormatter(1))
    axes[0][-1].legend(loc="upper left", bbox_to_anchor=(1.01, 1), title=None)
    return figure


def by_letters(table: pd.DataFrame) -> Figure:
    """Exact match against training steps, with one letter and the power of it (``progress.by_letters``), the mean over seeds."""
    sizes = sorted(table["instructions"].unique())
    lines = {"one letter": (_SAFE[1], "-"), "all letters": (_SAFE[1], ":"), "exact match": (COLOURS["unseen"], "-")}
    figure, axes = plt.subplots(
        1, len(sizes), figsize=(3.9 * len(sizes) + 2, 3.3), sharey=True, squeeze=False, layout="constrained"
    )
    for ax, size in zip(axes[0], sizes, strict=True):
        part = table[table["instructions"] == size].groupby("step").mean(numeric_only=True)
        for name, (colour, style) in lines.items():
            label = "one letter, to the power\nof their number" if name == "all letters" else name
            ax.plot(part[name], color=colour, ls=style, lw=2.2, label=label)
        ax.set(title=f"{size:,} instructions", xlabel="training step", ylim=(-0.03, 1.05), ylabel="right, unseen rules")
        ax.yaxis.set_major_formatter(PercentFormatter(1))
    axes[0][-1].legend(loc="upper left", bbox_to_anchor=(1.01, 1))
    return figure


def leads(risen: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """How many steps before exact match each signal is half-way (``progress.rises``): a point a run, a bar the mean."""
    part = risen.dropna(subset="lead")
    part = part[part["signal"] != EXACT]
    order = list(part.groupby("signal")["lead"].mean().sort_values(ascending=False).index)
    ax = ax or plt.subplots(figsize=(7.5, 0.42 * len(order) + 1.2))[1]
    part = part.assign(which=part["instructions"].map("{:,} instructions".format))
    sns.stripplot(part, x="lead", y="signal", order=order, hue="which", ax=ax, jitter=0.12, size=7, palette="viridis")
    sns.pointplot(
        part,
        x="lead",
        y="signal",
        order=order,
        ax=ax,
        color="black",
        marker="|",
        markersize=18,
        linestyle="none",
        errorbar=None,
    )
    ax.axvline(0, color=COLOURS["unseen"], lw=2)
    ax.set(xlabel="training steps before exact match on unseen rules is half-way (bar: mean)", ylabel="")
    ax.legend(title=None, loc="upper left", bbox_to_anchor=(1.01, 1))
    return ax


def what_is_left(table: pd.DataFrame, size: int) -> pd.DataFrame:
    """Of ``surgery.dose`` the row of one size: whole answers, and what stands at the first replaced letter, best against others."""
    part = table[
        table["size"].isin((0, size)) & (table["what"].eq(WHOLE) | table["what"].str.startswith("first letter"))
    ]
    part = part.assign(
        heads=np.where(
            part["size"] == 0, "none silenced", np.where(part["chosen"] == "best", "the best at it", "as many others")
        )
    )
    return part.pivot_table("share", ["job", "heads"], "what", sort=False)
