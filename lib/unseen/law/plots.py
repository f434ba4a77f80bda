"""Figures of the law: frames of ``measure`` and ``fit`` in, ``Axes`` or a ``Figure`` out."""

from itertools import cycle

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from unseen.law.factors import NAMES, WORDS, apart
from unseen.law.fit import Law
from unseen.law.reading import READINGS
from unseen.plots import COLOURS, spaced, ticks

_TICKS = (5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000)
_SAFE = sns.color_palette("colorblind")
_HELD_OUT, _FITTED = _SAFE[3], COLOURS["unseen"]


def colours(table: pd.DataFrame) -> list[tuple[float, float, float]]:
    """The colour of each setting: fitted or held out."""
    return [_HELD_OUT if held_out else _FITTED for held_out in table["held_out"]]


def grouped(table: pd.DataFrame) -> pd.DataFrame:
    """The settings of ``by_setting`` in the order of a figure: the base, then by factor and its level, held-out ones last.

    It needs all of them, for the first of each recipe is its base.  Adds ``rank``, equal for settings that stand together.
    """
    order, groups = ["", *NAMES, "recipe", "several"], apart(table.to_dict("records"))
    rank = [len(order) if held_out else order.index(group if group in order else "several")
            for group, held_out in zip(groups, table["held_out"], strict=True)]  # fmt: skip
    level = [row[group] if group in NAMES else 0 for row, group in zip(table.to_dict("records"), groups, strict=True)]
    return table.assign(rank=rank, level=level).sort_values(["rank", "level"], kind="stable")


def thresholds(table: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """The threshold of every setting with its interval, grouped by factor; a censored one is an arrow from the size it lies beyond."""
    rows = grouped(table)
    gaps = (rows["rank"] != rows["rank"].shift()).cumsum().to_numpy()
    places = -(np.arange(len(rows)) + 0.5 * gaps)
    ax = ax or plt.subplots(figsize=(8, 0.3 * len(rows) + 0.15 * gaps[-1] + 1.3))[1]
    shades = colours(rows)
    ax.hlines(places, rows["low"], rows["high"], color=shades, lw=2.5, alpha=0.45)
    ax.scatter(rows["middle"], places, color=shades, s=34, zorder=3)
    for place, row, shade in zip(places, rows.to_dict("records"), shades, strict=True):
        if row["outside"]:
            _beyond(ax, row, place, shade)
    if np.isfinite(base := table["middle"].iloc[0]):
        ax.axvline(base, color=COLOURS["baseline"], lw=1, ls="--", zorder=0)
    ax.set(xscale="log", xlabel="threshold: instructions at half of what is reached (95 % interval, scatter of seeds pooled)",
           ylim=(places.min() - 0.7, places.max() + 0.7))  # fmt: skip
    ax.set_yticks(places, [name if name != "main" else "the base" for name in rows["setting"]])
    ax.grid(False, axis="y")
    _log_ticks(ax, pd.concat([rows["low"], rows["high"], rows["middle"], rows["size"]]))
    return ax


def _beyond(ax: Axes, row: dict, place: float, colour: tuple[float, float, float]) -> None:
    """An arrow for a setting whose step lies outside its sizes."""
    ax.scatter(
        [row["size"]],
        [place],
        marker=">" if row["outside"] == "above" else "<",
        color="white",
        edgecolor=colour,
        s=45,
        zorder=3,
    )
    ax.annotate(
        row["note"],
        (row["size"], place),
        xytext=(9, 0),
        textcoords="offset points",
        va="center",
        fontsize=8,
        color=colour,
    )


def _log_ticks(ax: Axes, values: pd.Series) -> None:
    """A log axis of thresholds with room around them and round numbers as ticks."""
    spread = max(1.3, 2.2 / np.sqrt(values.max() / values.min()))  # where all are alike, still a few ticks
    low, high = values.min() / spread, values.max() * spread
    ax.set_xlim(low, high)
    shown = [tick for tick in _TICKS if low <= tick <= high]
    ticks(ax, shown, [f"{tick:,}" for tick in shown])


def along(law: Law, table: pd.DataFrame) -> Figure:
    """The law along each factor that it knows, the others at the base, with what was measured there; its band is the 95 % interval."""
    names = [name for name in law.names if name in NAMES]
    columns = min(3, len(names))
    figure, axes = plt.subplots(-(-len(names) // columns), columns, figsize=(3.6 * columns + 0.4, 3.1 * -(-len(names) // columns)),
                                sharey=True, squeeze=False, layout="constrained")  # fmt: skip
    recipe = next(iter(law.bases))
    groups = pd.Series(apart(table.to_dict("records")), index=table.index)
    own = (table["recipe"] == recipe) & ~table["held_out"] & table["middle"].notna()
    for ax, name in zip(axes.flat, names, strict=False):
        _along(ax, law, name, table[own & groups.isin(["", name])])
    for ax in list(axes.flat)[len(names) :]:
        ax.set_visible(False)
    for ax in axes[:, 0]:
        ax.set_ylabel("threshold (instructions)")
        _y_ticks(ax)
    return figure


def _along(ax: Axes, law: Law, name: str, rows: pd.DataFrame) -> None:
    levels = np.geomspace(*law.range_of(name), 40)
    found = [law.predict(**{name: level}) for level in levels]
    ax.fill_between(levels, [p.low for p in found], [p.high for p in found], color=COLOURS["baseline"], alpha=0.2, lw=0)
    ax.plot(levels, [p.middle for p in found], color=COLOURS["baseline"], lw=1.8)
    ax.vlines(rows[name], rows["low"], rows["high"], color=_FITTED, lw=2.5, alpha=0.45)
    ax.scatter(rows[name], rows["middle"], color=_FITTED, s=30, zorder=3)
    ax.set(xscale="log", yscale="log", xlabel=WORDS[name])
    shown = [level for level in sorted(rows[name].unique()) if level in spaced(sorted(rows[name].unique()), 1.2)]
    ticks(ax, shown, [f"{level:,g}" for level in shown])


def exponents(law: Law, readings: pd.DataFrame | None = None, ax: Axes | None = None) -> Axes:
    """The exponent of every factor with its 95 % interval, the largest first; left of 0 more of it means fewer instructions.

    With the ``readings`` of ``fit.by_reading``, the exponents under those the law does not stand on are drawn in grey below it.
    """
    found = law.exponents().sort_values("exponent", key=abs)
    ax = ax or plt.subplots(figsize=(7, 0.45 * len(found) + 1.3))[1]
    places = np.arange(len(found))
    ax.hlines(places, found["low"], found["high"], color=_FITTED, lw=2.5, alpha=0.45)
    ax.scatter(found["exponent"], places, color=_FITTED, s=34, zorder=3)
    if readings is not None:
        _other_readings(
            ax, readings[readings["reading"] != next(iter(READINGS))], dict(zip(found["factor"], places, strict=True))
        )
    ax.axvline(0, color=COLOURS["baseline"], lw=1)
    ax.set(
        xlabel="exponent (95 % interval)",
        title="What a factor does: threshold ~ factor ^ exponent",
        ylim=(-0.6, len(found) - 0.4),
    )
    ax.set_yticks(places, found["factor"])
    ax.grid(False, axis="y")
    return ax


def _other_readings(ax: Axes, readings: pd.DataFrame, places: dict[str, int]) -> None:
    for number, (marker, (name, part)) in enumerate(
        zip("sv", readings.groupby("reading", sort=False), strict=False), start=1
    ):
        there = part[part["factor"].isin(places)]
        at = there["factor"].map(places) - 0.17 * number
        ax.hlines(at, there["low"], there["high"], color=COLOURS["baseline"], lw=1.2, alpha=0.6)
        ax.scatter(
            there["exponent"], at, color=COLOURS["baseline"], marker=marker, s=18, zorder=3, label=f"read by a {name}"
        )
    ax.legend(loc="upper left", bbox_to_anchor=(0, 0), borderaxespad=5, ncols=2, fontsize=8)


def residuals(law: Law, table: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Measured over predicted for every setting, and for held-out ones the 95 % range that the law's prediction leaves.

    Open circles are settings through which the law goes by construction (``alone`` of ``Law.residuals``).
    """
    rows = law.residuals(grouped(table))
    ax = ax or plt.subplots(figsize=(7, 0.3 * len(rows) + 1.3))[1]
    places, shades = -np.arange(len(rows)), colours(rows)
    least, most = (rows[end].where(rows["held_out"]) / rows["predicted"] for end in ("predicted_low", "predicted_high"))
    ax.hlines(places, least, most, color=shades, lw=6, alpha=0.18)
    inner = ["white" if alone else shade for alone, shade in zip(rows["alone"], shades, strict=True)]
    ax.scatter(rows["ratio"], places, color=inner, edgecolor=shades, lw=1.5, s=34, zorder=3)
    ax.axvline(1, color=COLOURS["baseline"], lw=1)
    low = min(0.7, rows["ratio"].min() / 1.15, max(0.25, np.nan_to_num(least.min(), nan=1) / 1.05))
    high = max(1.4, rows["ratio"].max() * 1.15, min(4, np.nan_to_num(most.max(), nan=1) * 1.05))
    ax.set(xscale="log", xlim=(low, high), xlabel="measured / predicted", title="What the law leaves over")
    shown = [tick for tick in (0.25, 0.5, 0.7, 0.85, 1, 1.2, 1.4, 2, 4) if low <= tick <= high]
    ticks(ax, shown, [f"{tick:g}" for tick in shown])
    ax.set_yticks(places, [name if name != "main" else "the base" for name in rows["setting"]])
    ax.grid(False, axis="y")
    return ax


def predicted(law: Law, table: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Prediction against measurement with the identity line: settings fitted, and held out ones that the law never saw."""
    ax = ax or plt.subplots(figsize=(6.2, 5.6))[1]
    rows = law.residuals(table)
    held_out = rows[rows["held_out"]]
    _cross(ax, rows[~rows["held_out"]], "o", _FITTED, "fitted")
    for marker, (name, part) in zip(cycle("Ds^vPX*phd<>"), held_out.groupby("setting", sort=False)):
        _cross(ax, part, marker, _HELD_OUT, f"held out: {name}")
    both = rows[["middle", "predicted", "low", "high", "predicted_low", "predicted_high"]]
    ends = (both.min(axis=None) / 1.1, both.max(axis=None) * 1.1)
    ax.plot(ends, ends, color=COLOURS["baseline"], lw=1, ls="--", zorder=0, label="prediction = measurement")
    ax.set(xscale="log", yscale="log", xlim=ends, ylim=ends, aspect="equal", xlabel="measured threshold (instructions)",
           ylabel="threshold predicted by the law")  # fmt: skip
    shown = [tick for tick in _TICKS if ends[0] <= tick <= ends[1]]
    ticks(ax, shown, [f"{tick:,}" for tick in shown])
    _y_ticks(ax)
    ax.legend(loc="upper left", bbox_to_anchor=(1.01, 1))
    return ax


def _cross(ax: Axes, part: pd.DataFrame, marker: str, colour: tuple[float, float, float], label: str) -> None:
    """Points with the interval of the measurement across and that of the prediction upright."""
    across = [part["middle"] - part["low"], part["high"] - part["middle"]]
    upright = [part["predicted"] - part["predicted_low"], part["predicted_high"] - part["predicted"]]
    ax.errorbar(part["middle"], part["predicted"], xerr=across, yerr=upright, fmt=marker, color=colour, ms=6, lw=0,
                elinewidth=1.5, alpha=0.85, label=label)  # fmt: skip


def _y_ticks(ax: Axes) -> None:
    """Round numbers of instructions up the side of a log axis."""
    low, high = ax.get_ylim()
    shown = [tick for tick in _TICKS if low <= tick <= high]
    ax.set_yticks(shown, [f"{tick:,}" for tick in shown])
    ax.yaxis.set_minor_locator(NullLocator())


def exponents_and_residuals(law: Law, table: pd.DataFrame, readings: pd.DataFrame | None = None) -> Figure:
    """``exponents`` and ``residuals`` side by side."""
    height = max(0.55 * (len(law.names) - 1), 0.3 * len(table)) + 1.4
    figure, (left, right) = plt.subplots(1, 2, figsize=(12, height), layout="constrained")
    exponents(law, readings, left)
    residuals(law, table, right)
    return figure
