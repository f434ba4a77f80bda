"""Intervals, fits and half-crossings: the one place for statistics that several studies use."""

import numpy as np
import pandas as pd
from scipy import stats


def mean_interval(values: pd.Series, low: float = 0.0, high: float = 1.0) -> tuple[float, float]:
    """The 95 % interval of a mean (Student's t) of shares, clipped to ``low`` and ``high``; also for seaborn's ``errorbar``.

    >>> [round(float(end), 3) for end in mean_interval(pd.Series([0.4, 0.5, 0.6]))]
    [0.252, 0.748]
    """
    mean, size = values.mean(), len(values)
    if size < 2:
        return mean, mean
    half = stats.t.ppf(0.975, size - 1) * values.std(ddof=1) / np.sqrt(size)
    return max(low, mean - half), min(high, mean + half)
