"""The figure of tunings of a language model: tidy frame in, ``Figure`` out."""

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

SHOWN = {"formatted": "exact", "translation": "chrF", "file": "chrF"}  # the score that stands for a task
_LABELS = {"exact": "exact match", "chrF": "chrF, 0 to 100"}


def by_ratio(results: pd.DataFrame) -> Figure:
    """A panel for each task: its score against the ratio of diverse data, a line for each kind of question.

    The untuned base stands on the left; points are seeds, lines their means.
    """
    tasks = list(dict.fromkeys(results["task"]))
    figure, axes = plt.subplots(1, len(tasks), figsize=(5.4 * len(tasks), 3.8), squeeze=False, layout="constrained")
    for ax, task in zip(axes.flat, tasks, strict=True):
        _panel(results[(results["task"] == task) & (results["score"] == SHOWN[task])], ax).set_title(task)
    return figure


def _panel(part: pd.DataFrame, ax: Axes) -> Axes:
    places = ["base", *map(str, sorted(part.loc[part["method"] != "base", "ratio"].unique()))]
    where = part["ratio"].astype(str).mask(part["method"] == "base", "base").map(places.index)
    part, kinds = part.assign(place=where), list(dict.fromkeys(part["prompts"]))
    palette = dict(zip(kinds, sns.color_palette("colorblind", len(kinds)), strict=True))
    common = {"x": "place", "y": "value", "hue": "prompts", "palette": palette, "ax": ax}
    tuned = part[part["method"] != "base"]
    sns.lineplot(tuned, errorbar=None, lw=1.8, legend=False, **common)
    sns.scatterplot(part, s=30, **common)
    score = part["score"].iloc[0]
    ax.set(xticks=range(len(places)), xticklabels=places, xlabel="diverse rows for each row of the task", ylabel=_LABELS[score],
           ylim=(-0.03, 1.05) if score == "exact" else (-3, 105))  # fmt: skip
    ax.legend(title="asked", fontsize="small", loc="upper left", bbox_to_anchor=(1, 1), frameon=False)
    return ax


def table(results: pd.DataFrame, score: str) -> pd.DataFrame:
    """Means over seeds of one score: a row for each task and kind of question, a column for the base and for each ratio."""
    part = results[results["score"] == score]
    ratio = part["ratio"].map("ratio {}".format).mask(part["method"] == "base", "base")
    return part.assign(tuning=ratio).pivot_table("value", ["task", "prompts"], "tuning", sort=False)
