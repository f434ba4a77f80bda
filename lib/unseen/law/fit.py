"""The law: log threshold = b0 + sum of b_i log(factor_i / base), fitted to settings, with intervals that know what they do not know.

Two things blur it: seeds (``Scatter``: how far thresholds of one setting lie apart) and its own misfit (how far settings lie from
the law, more than seeds explain; DerSimonian and Laird's estimate, as in random-effects meta-regression).  Where as many settings
are fitted as coefficients, nothing is left to tell the misfit: ``misfit_degrees`` is 0 and intervals hold the law to be exact.
What no setting with a threshold has varied, the law does not know, and it predicts no setting that differs in it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from scipy.stats import t as student

from unseen.law.factors import NAMES, logs
from unseen.law.measure import Scatter, by_seed, by_setting
from unseen.law.measure import scatter as scatter_of
from unseen.law.reading import READINGS

BASE = "threshold at the base"
_TINY = 1e-12  # the variance of seeds that agree, so that weights stay finite


class NoLaw(ValueError):
    """There are too few settings with a threshold, or they do not set the factors apart; the message says which."""


@dataclass(frozen=True)
class Prediction:
    """A threshold, in instructions, as the law has it, with a 95 % interval; ``warnings`` say where it should not be trusted."""

    middle: float
    low: float
    high: float
    warnings: tuple[str, ...] = ()

    def __str__(self) -> str:
        interval = "no interval" if np.isnan(self.low) else f"95 % interval {self.low:,.0f} to {self.high:,.0f}"
        said = f"about {self.middle:,.0f} different instructions ({interval})"
        return "; ".join([said, *self.warnings])


@dataclass(frozen=True)
class Law:
    """A fitted law.  ``seed_part`` and ``misfit_part`` (p, p) add up to the covariance of ``coefficients`` (p,).

    ``bases`` holds the levels of each recipe's base, ``ranges`` the lowest and highest level fitted of each factor, over the base, and
    ``alone`` the settings through which the law goes by construction, for each alone tells some coefficient.
    """

    names: tuple[str, ...]
    coefficients: np.ndarray
    seed_part: np.ndarray
    misfit_part: np.ndarray
    scatter: Scatter
    misfit_variance: float
    misfit_degrees: int
    bases: Mapping[str, Mapping[str, float]] = field(repr=False)
    ranges: Mapping[str, tuple[float, float]] = field(repr=False)
    alone: frozenset[str] = frozenset()

    def predict(self, recipe: str = "", seeds: int = 0, **given: float) -> Prediction:
        """How many different instructions a setting needs for half of what it reaches; factors not ``given`` are as at the base.

        The interval is that of the setting's own threshold, or with ``seeds`` that of a mean over so many runs.
        Raises ``ValueError`` for a factor or recipe that the law does not know, another level of a factor that was not fitted,
        or a level that is not positive.
        """
        recipe = recipe or next(iter(self.bases))
        _check(given)
        if why := self.unknown(given, recipe):
            raise ValueError(why)
        row = design_row(self.names, {**self.bases[recipe], **given}, self.bases, recipe)
        noise = row @ self.seed_part @ row + (self.scatter.variance / seeds if seeds and self.scatter.degrees else 0.0)
        half = self._half_width(noise, row @ self.misfit_part @ row + self.misfit_variance)
        middle = float(row @ self.coefficients)
        return Prediction(
            *(float(np.exp(v)) for v in (middle, middle - half, middle + half)), self._warnings(given, recipe)
        )

    def predict_row(self, row: Mapping[str, float | str], seeds: int = 0) -> Prediction:
        """As ``predict``, for a row of ``by_setting``."""
        return self.predict(row["recipe"], seeds, **_levels(row))

    def unknown(self, given: Mapping[str, float], recipe: str) -> str:
        """Why the law cannot predict a setting: its recipe, or a factor at another level than the base's, was not fitted. Empty if it can."""
        if recipe not in self.bases:
            return f"recipe {recipe} was not fitted: the law knows {', '.join(self.bases)}"
        base = self.bases[recipe]
        for name, value in given.items():
            if name not in self.names and value != base[name]:
                return f"{name} was not fitted: the law does not know what {value:,g} instead of {base[name]:,g} does"
        return ""

    def range_of(self, name: str, recipe: str = "") -> tuple[float, float]:
        """The lowest and highest level of a factor that the law was fitted on, seen from a recipe's base."""
        base = self.bases[recipe or next(iter(self.bases))][name]
        return base * self.ranges[name][0], base * self.ranges[name][1]

    def exponents(self) -> pd.DataFrame:
        """One row per factor: factor, exponent, low, high (95 %).  The recipe's is the log of the factor by which it multiplies."""
        rows = [{"factor": name, **self.contrast({name: 1})} for name in self.names[1:]]
        return pd.DataFrame(rows, columns=["factor", "exponent", "low", "high"])

    def contrast(self, weights: Mapping[str, float]) -> dict[str, float]:
        """A weighted sum of exponents: exponent, low, high (95 %).  Budget minus passes is the examples' part, in as many steps."""
        row = np.array([weights.get(name, 0.0) for name in self.names])
        half, value = (
            self._half_width(row @ self.seed_part @ row, row @ self.misfit_part @ row),
            float(row @ self.coefficients),
        )
        return {"exponent": value, "low": value - half, "high": value + half}

    def residuals(self, table: pd.DataFrame) -> pd.DataFrame:
        """What was measured over what the law says, for the settings of ``by_setting`` that have a threshold and that it knows.

        Adds columns predicted, predicted_low, predicted_high (of a mean over as many seeds), ratio, inside, beyond: whether a level
        lies outside the fitted range, and alone: whether some coefficient rests on this setting and no other, so that its ratio is 1
        by construction.
        """
        there = [row for row in table[table["middle"].notna()].to_dict("records") if not self._unknown_row(row)]
        found = [self.predict_row(row, row["seeds"]) for row in there]
        rows = pd.DataFrame(there, columns=table.columns)
        rows = rows.assign(predicted=[p.middle for p in found], predicted_low=[p.low for p in found],
                           predicted_high=[p.high for p in found], beyond=[bool(p.warnings) for p in found], alone=[row["setting"] in self.alone for row in there])  # fmt: skip
        inside = rows["middle"].between(rows["predicted_low"], rows["predicted_high"])
        return rows.assign(ratio=rows["middle"] / rows["predicted"], inside=inside)

    def unpredictable(self, table: pd.DataFrame) -> dict[str, str]:
        """The settings of ``by_setting`` that the law cannot predict, and why."""
        return {row["setting"]: why for row in table.to_dict("records") if (why := self._unknown_row(row))}

    def _unknown_row(self, row: Mapping[str, float | str]) -> str:
        return self.unknown(_levels(row), row["recipe"])

    def _half_width(self, noise: float, misfit: float) -> float:
        """Student's t on two variances, each known as well as its degrees of freedom allow (Satterthwaite)."""
        parts = [(noise, self.scatter.degrees), (misfit, self.misfit_degrees)]
        known = [(variance, degrees) for variance, degrees in parts if degrees and variance > 0]
        if not known:
            return float("nan")
        total = sum(variance for variance, _ in known)
        degrees = total**2 / sum(variance**2 / degrees for variance, degrees in known)
        return float(student.ppf(0.975, degrees) * np.sqrt(total))

    def _warnings(self, given: Mapping[str, float], recipe: str) -> tuple[str, ...]:
        said = []
        for name, value in given.items():
            low, high = self.range_of(name, recipe)
            if not low * (1 - 1e-9) <= value <= high * (1 + 1e-9):
                said.append(f"{name} {value:,g} lies outside the fitted range, {low:,g} to {high:,g}")
        return tuple(said)


def _levels(row: Mapping[str, float | str]) -> dict[str, float]:
    return {name: row[name] for name in NAMES}


def _check(given: Mapping[str, float]) -> None:
    for name, value in given.items():
        if name not in NAMES:
            raise ValueError(f"{name}: the factors are {', '.join(NAMES)}")
        if not value > 0 or not np.isfinite(value):
            raise ValueError(f"{name}={value}: must be a positive number")


def design_row(
    names: tuple[str, ...], here: Mapping[str, float], bases: Mapping[str, Mapping[str, float]], recipe: str
) -> np.ndarray:
    """What multiplies the coefficients: 1 for the base, log (level / base of its recipe), 1 for a recipe that is not the first."""
    shifts = logs(here, bases[recipe])
    return np.array([1.0 if name in (BASE, f"recipe {recipe}") else shifts.get(name, 0.0) for name in names])


def fit(table: pd.DataFrame, scatter: Scatter) -> Law:
    """The law through the settings of ``by_setting`` that are not held out and not censored, weighted by their seeds.

    The first setting of each recipe is that recipe's base.  Raises ``NoLaw``.
    """
    rows = table[~table["held_out"] & table["middle"].notna()].to_dict("records")
    if len(rows) < 2:
        raise NoLaw(f"a law needs two settings with a threshold, and {len(rows)} of {len(table)} have one")
    there, bases = {row["recipe"] for row in rows}, {}
    for row in table[~table["held_out"] & table["recipe"].isin(there)].to_dict("records"):
        bases.setdefault(row["recipe"], _levels(row))
    names = _names(rows, bases)
    x = np.array([design_row(names, row, bases, row["recipe"]) for row in rows])  # (K, p)
    if (rank := np.linalg.matrix_rank(x)) < len(names):
        raise NoLaw(
            f"{len(rows)} settings tell {rank} coefficients apart, and {len(names)} are asked for: {', '.join(names)}"
        )
    y = np.log([row["middle"] for row in rows])
    noise = np.array([max(scatter.variance if scatter.degrees else 0.0, _TINY) / row["seeds"] for row in rows])
    misfit = _misfit(x, y, noise)
    weights = 1 / (noise + misfit)
    solve = np.linalg.inv(x.T * weights @ x) @ (x.T * weights)  # (p, K)
    over = {name: [row[name] / bases[row["recipe"]][name] for row in rows] for name in NAMES}
    ranges = {name: (min(levels), max(levels)) for name, levels in over.items()}
    alone = frozenset(
        row["setting"] for row, leverage in zip(rows, np.diag(x @ solve), strict=True) if leverage > 1 - 1e-9
    )
    return Law(names, solve @ y, solve * noise @ solve.T, solve * misfit @ solve.T, scatter, misfit,
               len(rows) - len(names), bases, ranges, alone)  # fmt: skip


def attempt(table: pd.DataFrame, scatter: Scatter) -> tuple[Law | None, str]:
    """The law, or None and why there is none."""
    try:
        return fit(table, scatter), ""
    except NoLaw as reason:
        return None, str(reason)


def by_reading(results: pd.DataFrame) -> pd.DataFrame:
    """The exponents of the law under each of ``READINGS`` of the thresholds of ``measure``: reading, factor, exponent, low, high.

    A reading under which there is no law has no rows.
    """
    found = []
    for name, read in READINGS.items():
        seeds = by_seed(results, read)
        law, _ = attempt(by_setting(seeds), scatter_of(seeds))
        found += [{"reading": name, **row} for row in (law.exponents().to_dict("records") if law else [])]
    return pd.DataFrame(found, columns=["reading", "factor", "exponent", "low", "high"])


def _names(rows: list[dict], bases: Mapping[str, Mapping[str, float]]) -> tuple[str, ...]:
    """The coefficients to fit: the base's, those of factors that vary, those of recipes beside the first."""
    varied = [name for name in NAMES if any(row[name] != bases[row["recipe"]][name] for row in rows)]
    return (BASE, *varied, *(f"recipe {recipe}" for recipe in list(bases)[1:]))


def _misfit(x: np.ndarray, y: np.ndarray, noise: np.ndarray) -> float:
    """The variance between settings that seeds do not explain, by the method of moments; 0 where nothing is left to tell it."""
    left = x.shape[0] - x.shape[1]
    if left == 0:
        return 0.0
    w = 1 / noise
    inverse = np.linalg.inv(x.T * w @ x)
    residuals = y - x @ (inverse @ (x.T * w @ y))
    trace = w.sum() - np.trace(inverse @ (x.T * w**2 @ x))
    return float(max(0.0, ((w * residuals**2).sum() - left) / trace))
