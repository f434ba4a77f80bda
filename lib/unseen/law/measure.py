"""The threshold of every setting, seed by seed, with those that lie outside the sizes tried told as such."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.optimize import minimize_scalar
from scipy.stats import t as student

from unseen.diversity.thresholds import NoThreshold, fit_threshold
from unseen.diversity.variations import measure as measure_settings
from unseen.law.design import Design
from unseen.law.factors import NAMES, levels
from unseen.running.workers import Executor
from unseen.store import Store

LEVELS = ("recipe", *NAMES)


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


def by_seed(results: pd.DataFrame) -> pd.DataFrame:
    """One row per setting and seed: its levels, ``threshold``, and where that lies outside the sizes tried.

    ``outside`` is ``above`` or ``below`` and ``size`` the largest or smallest size, or ``outside`` is empty.
    All curves have one steepness, see ``common_steepness``: four sizes cannot tell that of each.
    """
    rows, steepness = [], common_steepness(results)
    for (setting, seed), part in results.groupby(["setting", "seed"], sort=False):
        first = part.iloc[0]
        rows.append({"setting": setting, "held_out": bool(first["held_out"]), **{name: first[name] for name in LEVELS},
                     "seed": seed, **_step(part, steepness)})  # fmt: skip
    return pd.DataFrame(rows)


def common_steepness(results: pd.DataFrame) -> float | None:
    """The one steepness in log I that fits the curves of all fitted settings best, seed by seed; None where none steps."""
    parts = [
        part for _, part in results[~results["held_out"]].groupby(["setting", "seed"]) if not _step(part)["outside"]
    ]
    if not parts:
        return None

    def misfit(log_steepness: float) -> float:
        return sum(_misfit(part, np.exp(log_steepness)) for part in parts)

    return float(np.exp(minimize_scalar(misfit, bounds=np.log([1, 25]), method="bounded", options={"xatol": 0.02}).x))


def _misfit(part: pd.DataFrame, steepness: float) -> float:
    """Sum of squares of one seed around its curve of this steepness."""
    unseen = part[part["split"] == "unseen"]
    curve = fit_threshold(unseen, steepness=steepness)(unseen["instructions"].to_numpy(float))
    return float(((unseen["accuracy"] - curve) ** 2).sum())


def _step(part: pd.DataFrame, steepness: float | None = None) -> dict[str, float | str]:
    """The threshold of one seed: instructions at half of what its curve reaches."""
    try:
        return {"threshold": fit_threshold(part, steepness=steepness).middle, "outside": "", "size": np.nan}
    except NoThreshold:
        unseen = part[part["split"] == "unseen"].sort_values("instructions")
        below = unseen["accuracy"].iloc[0] > 0.5
        size = unseen["instructions"].iloc[0 if below else -1]
        return {"threshold": np.nan, "outside": "below" if below else "above", "size": size}


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

    A setting with a seed outside is censored: it has no middle, ``outside`` and ``size`` bound it and ``note`` says so.
    """
    spread = scatter(seeds)
    return pd.DataFrame([_row(part, spread) for _, part in seeds.groupby("setting", sort=False)])


def _row(part: pd.DataFrame, spread: Scatter) -> dict[str, object]:
    first, out = part.iloc[0], part[part["outside"] != ""]
    shared = {name: first[name] for name in ("setting", "held_out", *LEVELS)} | {"seeds": len(part)}
    if len(out):
        worst = out.iloc[0]
        note = f"{worst['outside']} {worst['size']:,.0f} ({len(out)} of {len(part)} seeds)"
        missing = dict.fromkeys(("middle", "low", "high"), np.nan)
        return {**shared, **missing, "outside": worst["outside"], "size": worst["size"], "note": note}
    middle, half = np.log(part["threshold"].astype(float)).mean(), spread.half_width(len(part))
    numbers = dict(zip(("middle", "low", "high"), np.exp([middle, middle - half, middle + half]), strict=True))
    return {**shared, **numbers, "outside": "", "size": np.nan, "note": ""}
