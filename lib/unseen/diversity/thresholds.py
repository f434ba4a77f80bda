"""Where a curve steps: the number of instructions at half accuracy, with an interval over seeds."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.optimize import least_squares
from scipy.stats import t as student

_SLOW, _FAST = 0.5, 30  # the steepness that is tried, in log I


@dataclass(frozen=True)
class Threshold:
    """A logistic curve in log I: ``top / (1 + (middle / I) ** steepness)``.

    ``middle`` is the number of instructions at half of ``top``; ``low`` and ``high`` are its 95 %
    interval over seeds (Student's t on the logarithms of the seeds' own fits).
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
        return f"{self.middle:.0f} instructions (95 % interval {self.low:.0f} to {self.high:.0f}, {self.seeds} seeds)"


class NoThreshold(ValueError):
    """The curve does not step between its ends, so there is nothing to fit; the message says how it runs."""


def fit_threshold(frame: pd.DataFrame, split: str = "unseen") -> Threshold:
    """Fit the accuracy of one setting (columns instructions, seed, split, accuracy), seed by seed.

    Raises ``NoThreshold`` when the mean accuracy does not pass from below to above one half, or that of
    a seed never does: such a seed has no step that an interval could count.

    >>> sizes = np.array([10, 30, 100, 300, 1000, 3000])
    >>> curve = 1 / (1 + (200 / sizes) ** 4)
    >>> seeds = [pd.DataFrame({"instructions": sizes, "accuracy": curve, "seed": s, "split": "unseen"}) for s in (0, 1)]
    >>> round(fit_threshold(pd.concat(seeds)).middle)
    200
    """
    frame = frame[frame["split"] == split]
    means = frame.groupby("instructions")["accuracy"].mean()
    if means.empty or means.iloc[0] > 0.5 or means.max() <= 0.5:
        ends = "there are no rows" if means.empty else f"it runs from {means.iloc[0]:.2f} to {means.iloc[-1]:.2f}"
        raise NoThreshold(f"the {split} curve does not pass from below to above one half: {ends}")
    tops = frame.groupby("seed")["accuracy"].max()
    if len(low := tops[tops <= 0.5]):
        raise NoThreshold(
            f"the {split} curve of seed {low.index[0]} never rises above one half: its best is {low.iloc[0]:.2f}"
        )
    fits = np.array([_fit(part) for _, part in frame.groupby("seed")])  # (seeds, 3)
    middle, steepness, top = fits.mean(0)
    if len(fits) == 1:
        low = high = np.nan
    else:
        half = student.ppf(0.975, len(fits) - 1) * fits[:, 0].std(ddof=1) / np.sqrt(len(fits))
        low, high = np.exp([middle - half, middle + half])
    return Threshold(float(np.exp(middle)), float(low), float(high), float(np.exp(steepness)), float(top), len(fits))


def _logistic(log_i: np.ndarray, log_middle: float, log_steepness: float, top: float) -> np.ndarray:
    return top / (1 + np.exp(-np.exp(log_steepness) * (log_i - log_middle)))


def _fit(frame: pd.DataFrame) -> np.ndarray:
    """(log middle, log steepness, top) of one seed by least squares; steepness is kept below 30, beyond
    which the points on both sides of the step cannot tell."""
    log_i, accuracy = np.log(frame["instructions"].to_numpy(float)), frame["accuracy"].to_numpy(float)
    bounds = ([log_i.min(), np.log(_SLOW), 0.0], [log_i.max(), np.log(_FAST), 1.0])
    start = np.clip(_best_of_many(log_i, accuracy), *bounds)
    return least_squares(lambda curve: _logistic(log_i, *curve) - accuracy, start, bounds=bounds).x


def _best_of_many(log_i: np.ndarray, accuracy: np.ndarray) -> np.ndarray:
    """The best curve of a grid, from where the fit goes on: from a single start it can stop in a local minimum.

    The best top of each middle and steepness is known exactly, for the curve is linear in it.
    """
    middles, steepness = np.meshgrid(np.linspace(log_i.min(), log_i.max(), 101), np.geomspace(_SLOW, _FAST, 15))
    curves = _logistic(log_i, middles[..., None], np.log(steepness)[..., None], 1.0)  # (15, 101, sizes)
    tops = np.clip((curves @ accuracy) / (curves**2).sum(-1), 0, 1)
    worse = ((accuracy - tops[..., None] * curves) ** 2).sum(-1)
    best = np.unravel_index(worse.argmin(), worse.shape)
    return np.array([middles[best], np.log(steepness[best]), tops[best]])
