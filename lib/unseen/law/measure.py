"""The threshold of every setting, seed by seed, with those that lie outside the sizes tried told as such."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import t as student

from unseen.diversity.variations import measure as measure_settings
from unseen.law.design import Design
from unseen.law.factors import NAMES, levels
from unseen.law.reading import Reading, logit_line
from unseen.running.workers import Executor
from unseen.store import Store

LEVELS = ("recipe", *NAMES)
_OUTSIDE = {"above": "never half right up to", "below": "below"}


@dataclass(frozen=True)
class Scatter:
    """How far the log thresholds of seeds lie from their setting's mean: variance, pooled over settings, and its degrees of freedom."""

    variance: float
    degrees: int

    def half_width(self, seeds: int) -> float:
        """Half of the 95 % interval of a mean over seeds, in log instructions; not a number where no setting has two seeds."""
        return float(student.ppf(0.975, self.degrees) * np.sqrt(self.variance / seeds)) if self.degrees else np.nan


def measure(design: Design, store: Store | None = None, executor: Executor | None = None) -> pd.DataFrame:
    """Train what is missing: one row per setting, run and split, with the level of every factor and whether it is held out."""
    results = measure_settings(design.settings, store, executor)
    held_out = [setting.name for setting in design.held_out]
    columns = {name: results["setting"].map({each.name: levels(each.base)[name] for each in design.settings})
               for name in LEVELS}  # fmt: skip
    return results.assign(held_out=results["setting"].isin(held_out), **columns)


def by_seed(results: pd.DataFrame, read: Reading = logit_line) -> pd.DataFrame:
    """One row per setting and seed: its levels, ``threshold``, and where that lies outside the sizes tried.

    The threshold is the number of instructions at half of the most that the seed's curve reaches, as ``read`` finds it.
    ``outside`` is ``below`` where the smallest size is beyond that already (``size`` is the smallest), ``above`` where no
    size gets more than half of the answers right (the largest), and empty otherwise.
    """
    rows = []
    for (setting, seed), part in results.groupby(["setting", "seed"], sort=False):
        first = part.iloc[0]
        rows.append({"setting": setting, "held_out": bool(first["held_out"]), **{name: first[name] for name in LEVELS},
                     "seed": seed, **_step(part, read)})  # fmt: skip
    return pd.DataFrame(rows)


def _step(part: pd.DataFrame, read: Reading) -> dict[str, float | str]:
    unseen = part[part["split"] == "unseen"].sort_values("instructions")
    sizes, accuracy = unseen["instructions"].to_numpy(float), unseen["accuracy"].to_numpy(float)
    if accuracy.max() <= 0.5:
        return {"threshold": np.nan, "outside": "above", "size": sizes[-1]}
    if accuracy[0] > accuracy.max() / 2:
        return {"threshold": np.nan, "outside": "below", "size": sizes[0]}
    return {"threshold": read(sizes, accuracy), "outside": "", "size": np.nan}


def scatter(seeds: pd.DataFrame) -> Scatter:
    """The scatter over seeds of the settings that are fitted, held-out and censored ones left out.

    >>> frame = pd.DataFrame({"setting": list("aabb"), "held_out": False, "outside": "", "threshold": [100, 100, 200, 200 * np.e]})
    >>> scatter(frame)
    Scatter(variance=0.25, degrees=2)
    """
    inside = seeds[~seeds["held_out"] & ~seeds["setting"].isin(censored(seeds))]
    logs = np.log(inside["threshold"].astype(float))
    deviations = logs - logs.groupby(inside["setting"]).transform("mean")
    degrees = len(inside) - inside["setting"].nunique()
    return Scatter(float((deviations**2).sum() / degrees) if degrees else np.nan, degrees)


def censored(seeds: pd.DataFrame) -> list[str]:
    """Settings with a seed whose step lies outside the sizes tried."""
    return list(seeds.loc[seeds["outside"] != "", "setting"].unique())


def by_setting(seeds: pd.DataFrame) -> pd.DataFrame:
    """One row per setting: its levels, seeds, ``middle`` with ``low`` and ``high`` (95 %, by the pooled scatter), and ``note``.

    A setting with a seed outside is censored: it has no middle, ``outside`` and ``size`` are those of its first such seed, and
    ``note`` tells of all.
    """
    spread = scatter(seeds)
    return pd.DataFrame([_row(part, spread) for _, part in seeds.groupby("setting", sort=False)])


def _row(part: pd.DataFrame, spread: Scatter) -> dict[str, object]:
    first, out = part.iloc[0], part[part["outside"] != ""]
    shared = {name: first[name] for name in ("setting", "held_out", *LEVELS)} | {"seeds": len(part)}
    if len(out):
        note = ", ".join(f"{_OUTSIDE[where]} {size:,.0f} ({seeds} of {len(part)} seeds)"
                         for (where, size), seeds in out.groupby(["outside", "size"]).size().items())  # fmt: skip
        missing = dict.fromkeys(("middle", "low", "high"), np.nan)
        return {**shared, **missing, "outside": out["outside"].iloc[0], "size": out["size"].iloc[0], "note": note}
    middle, half = np.log(part["threshold"].astype(float)).mean(), spread.half_width(len(part))
    numbers = dict(zip(("middle", "low", "high"), np.exp([middle, middle - half, middle + half]), strict=True))
    return {**shared, **numbers, "outside": "", "size": np.nan, "note": ""}
