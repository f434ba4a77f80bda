"""Intervals, fits and half-crossings: the one place for statistics that several studies use."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats
from scipy.optimize import least_squares
from scipy.special import expit, logit

_STEEPNESS = (0.5, 30)  # tried by a fit, in log I; beyond 30 the points on both sides of a step cannot tell


def wilson(right: int, total: int, level: float = 0.95) -> tuple[float, float]:
    """Wilson's interval for a share; valid also at 0 and 1.

    >>> [round(end, 3) for end in wilson(0, 2000)]
    [0.0, 0.002]
    """
    low, high = stats.binomtest(right, total).proportion_ci(level, method="wilson")
    share = right / total
    return min(share, float(low)), max(share, float(high))  # rounding must not make an error bar negative


def half_width(*variances: tuple[float, int]) -> float:
    """Half of a 95 % interval (Student's t) of a sum of variances, each given with its degrees of freedom.

    Degrees of a sum are Satterthwaite's.  A variance without degrees of freedom is left out; NaN if none has
    any.

    >>> round(half_width((0.01, 2)), 3)
    0.43
    """
    known = [(variance, degrees) for variance, degrees in variances if degrees]
    total = sum(variance for variance, _ in known)
    if not known or not total:
        return 0.0 if known else np.nan
    degrees = total**2 / sum(variance**2 / degrees for variance, degrees in known)
    return float(stats.t.ppf(0.975, degrees) * np.sqrt(total))


def mean_interval(values: pd.Series, low: float = 0.0, high: float = 1.0) -> tuple[float, float]:
    """The 95 % interval of a mean (Student's t), for values between two bounds; also seaborn's ``errorbar``.

    Between finite bounds it is that of the mean's logit (delta method), so that no end lies beyond a bound
    and none is clipped.  A single value is its own interval.

    >>> [round(float(end), 3) for end in mean_interval(pd.Series([0.8, 0.9, 1.0]))]
    [0.363, 0.993]
    >>> [round(float(end), 3) for end in mean_interval(pd.Series([0.8, 0.9, 1.0]), -np.inf, np.inf)]
    [0.652, 1.148]
    """
    mean, size = values.mean(), len(values)
    if size < 2 or not (variance := values.var(ddof=1)):
        return mean, mean
    half = half_width((variance / size, size - 1))
    if np.isinf(high - low):
        return mean - half, mean + half
    share = (mean - low) / (high - low)
    ends = expit(logit(share) + half / (high - low) / (share * (1 - share)) * np.array([-1, 1]))
    return tuple(low + (high - low) * ends)


def stated(values: pd.Series, low: float = 0.0, high: float = 1.0, form: str = ".0%") -> str:
    """A mean with its ``mean_interval``, in words; no line breaks inside the interval, none for one value.

    >>> stated(pd.Series([0.2, 0.3, 0.4])).split()
    ['30%', '(12%', 'to', '58%)']
    >>> stated(pd.Series([1.0, 2.0]), -np.inf, np.inf, ".1f").split()
    ['1.5', '(-4.9', 'to', '7.9)']
    >>> stated(pd.Series([0.5]))
    '50%'
    """
    if len(values) < 2:
        return f"{values.mean():{form}}"
    return in_words(values.mean(), *mean_interval(values, low, high), form)


def in_words(middle: float, low: float, high: float, form: str = ".2f") -> str:
    """A number with its interval, in words; for a factor give the ``interval`` of its values.

    >>> in_words(*interval(pd.Series([1.1, 1.2, 1.3]))).split()
    ['1.20', '(0.97', 'to', '1.47)']
    """
    to = "\N{NO-BREAK SPACE}to\N{NO-BREAK SPACE}"
    return f"{middle:{form}} ({low:{form}}{to}{high:{form}})"


def variance_shares(table: pd.DataFrame) -> tuple[float, float, float]:
    """Of the variance of a table's numbers, what lies between rows, between columns, and in neither.

    >>> [round(share, 2) for share in variance_shares(pd.DataFrame([[0.0, 1.0], [2.0, 3.0]]))]
    [0.8, 0.2, 0.0]
    """
    values = table.to_numpy()
    if not values.var():
        return 0.0, 0.0, 0.0
    rows, columns = (float(values.mean(axis).var() / values.var()) for axis in (1, 0))
    return rows, columns, max(1 - rows - columns, 0.0)


def interval(values: pd.Series) -> tuple[float, float, float]:
    """The geometric mean of positive numbers and its 95 % interval, NaN for a single number.

    >>> [round(value, 1) for value in interval(pd.Series([90.0, 100.0, 110.0]))]
    [99.7, 77.7, 127.9]
    """
    logs = np.log(pd.Series(values, dtype=float))
    ends = mean_interval(logs, -np.inf, np.inf) if len(logs) > 1 else (np.nan, np.nan)
    return tuple(np.exp([logs.mean(), *ends]).tolist())


def crosses(places: np.ndarray, values: np.ndarray, log: bool = True) -> float:
    """Where ``values`` (n,) first rise to zero or above, on a straight line between two ``places`` (n,).

    With ``log`` the line is drawn over the logarithm of the places, which must be positive.  The first place
    if the values start at or above zero; NaN if they stay below.

    >>> crosses(np.array([0, 10, 20]), np.array([-1.0, -0.5, 0.5]), log=False)
    15.0
    >>> crosses(np.array([1, 10]), np.array([-2.0, -1.0]))
    nan
    """
    above = np.flatnonzero(np.asarray(values) >= 0)
    if not above.size:
        return float("nan")
    i = above[0]
    if i == 0:
        return float(places[0])
    at = np.log(places) if log else np.asarray(places, float)
    found = at[i - 1] - values[i - 1] / (values[i] - values[i - 1]) * (at[i] - at[i - 1])
    return float(np.exp(found) if log else found)


def half_at(accuracy: pd.Series) -> float:
    """Where a curve over numbers of instructions I (the index) first reaches half of its maximum, in log I.

    Infinity if it never rises above a quarter.

    >>> round(half_at(pd.Series([0.0, 0.4, 0.8], index=[100, 200, 400])))
    200
    """
    if accuracy.max() < 0.25:
        return float("inf")
    return crosses(accuracy.index.to_numpy(float), accuracy.to_numpy(float) - accuracy.max() / 2)


def logit_line(sizes: np.ndarray, accuracy: np.ndarray, top: float = 0.0) -> float:
    """Where the logit of accuracy / top is zero, interpolated in log I; shares are cut to 0.001 and 0.999.

    Without a ``top`` it is the highest accuracy; with one of 1 the half is of all instructions.
    """
    share = np.clip(accuracy / (top or accuracy.max()), 0.001, 0.999)
    return crosses(sizes, np.log(share / (1 - share)))


@dataclass(frozen=True)
class Threshold:
    """A logistic curve in log I: ``top / (1 + (middle / I) ** steepness)``.

    ``middle`` is the number of instructions at half of ``top``; ``low`` and ``high`` are its 95 % interval
    over seeds (Student's t on the logarithms of the seeds' own fits).
    """

    middle: float
    low: float
    high: float
    steepness: float
    top: float
    seeds: int

    def __call__(self, instructions: np.ndarray) -> np.ndarray:
        """The fitted accuracy at numbers of instructions."""
        return _logistic(np.log(instructions), np.log(self.middle), np.log(self.steepness), self.top)

    def __str__(self) -> str:
        if self.seeds == 1:
            return f"{self.middle:.0f} instructions (one seed, no interval)"
        interval = f"95 % interval {self.low:.0f} to {self.high:.0f}"
        return f"{self.middle:.0f} instructions ({interval}, {self.seeds} seeds)"


class NoThreshold(ValueError):
    """The curve does not rise through one half between its ends; the message says what it does."""


def fit_threshold(frame: pd.DataFrame) -> Threshold:
    """Fit the accuracy of one setting on unseen rules (columns instructions, seed, split, accuracy), by seed.

    Raises ``NoThreshold`` if the mean accuracy does not pass from below to above one half, or that of a seed
    never does.

    >>> sizes = np.array([10, 30, 100, 300, 1000, 3000])
    >>> curve = 1 / (1 + (200 / sizes) ** 4)
    >>> frame = pd.DataFrame({"instructions": sizes, "accuracy": curve, "split": "unseen"})
    >>> round(fit_threshold(pd.concat([frame.assign(seed=0), frame.assign(seed=1)])).middle)
    200
    """
    frame = frame[frame["split"] == "unseen"]
    means = frame.groupby("instructions")["accuracy"].mean()
    if means.empty or means.iloc[0] > 0.5 or means.max() <= 0.5:
        ends = "there are no rows"
        if not means.empty:
            ends = f"it runs from {means.iloc[0]:.2f} to {means.iloc[-1]:.2f}"
        raise NoThreshold(f"the unseen curve does not pass from below to above one half: {ends}")
    best = frame.groupby("seed")["accuracy"].max()
    if (best <= 0.5).any():
        never = f"the unseen curve of seed {best.idxmin()} never rises above one half"
        raise NoThreshold(f"{never}: its best is {best.min():.2f}")
    fits = np.array([_fit(part) for _, part in frame.groupby("seed")])  # (seeds, 3)
    _, log_steepness, top = fits.mean(0)
    return Threshold(*interval(np.exp(fits[:, 0])), float(np.exp(log_steepness)), float(top), len(fits))


def fitted_curve(sizes: np.ndarray, accuracy: np.ndarray) -> float:
    """By a logistic curve through all sizes, with a top that may lie above the highest accuracy."""
    curve = pd.DataFrame({"instructions": sizes, "accuracy": accuracy, "seed": 0, "split": "unseen"})
    return fit_threshold(curve).middle


def _logistic(log_i: np.ndarray, log_middle: float, log_steepness: float, top: float) -> np.ndarray:
    return top / (1 + np.exp(-np.exp(log_steepness) * (log_i - log_middle)))


def _fit(frame: pd.DataFrame) -> np.ndarray:
    """(log middle, log steepness, top) of one seed by least squares."""
    log_i, accuracy = np.log(frame["instructions"].to_numpy(float)), frame["accuracy"].to_numpy(float)
    slow, fast = np.log(_STEEPNESS)
    bounds = ([log_i.min(), slow, 0.0], [log_i.max(), fast, 1.0])
    start = np.clip(_best_of_many(log_i, accuracy), *bounds)
    return least_squares(lambda curve: _logistic(log_i, *curve) - accuracy, start, bounds=bounds).x


def _best_of_many(log_i: np.ndarray, accuracy: np.ndarray) -> np.ndarray:
    """The best curve of a grid, from which the fit starts: from a fixed start it can stop in a local minimum.

    The curve is linear in its top, so the best top of each middle and steepness is exact.
    """
    places = np.linspace(log_i.min(), log_i.max(), 101)
    middles, steepness = np.meshgrid(places, np.geomspace(*_STEEPNESS, 15))
    curves = _logistic(log_i, middles[..., None], np.log(steepness)[..., None], 1.0)  # (15, 101, sizes)
    tops = np.clip((curves @ accuracy) / (curves**2).sum(-1), 0, 1)
    errors = ((accuracy - tops[..., None] * curves) ** 2).sum(-1)
    best = np.unravel_index(errors.argmin(), errors.shape)
    return np.array([middles[best], np.log(steepness[best]), tops[best]])
