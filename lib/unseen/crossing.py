"""Where a curve that was measured at a few places passes zero."""

import numpy as np


def crosses(places: np.ndarray, values: np.ndarray, log: bool = True) -> float:
    """Where ``values`` (n,) first rise from below zero to zero or above, between two ``places`` (n,) on a line.

    With ``log`` the line is drawn over the logarithm of the places, which must be positive.  The first place where they
    are there from the beginning; NaN where they never are.

    >>> crosses(np.array([0, 10, 20]), np.array([-1.0, -0.5, 0.5]), log=False)
    15.0
    >>> crosses(np.array([1, 10]), np.array([-2.0, -1.0]))
    nan
    """
    at = np.log(places) if log else np.asarray(places, float)
    above = np.flatnonzero(np.asarray(values) >= 0)
    if not above.size:
        return float("nan")
    i = above[0]
    if i == 0:
        return float(places[0])
    share = -values[i - 1] / (values[i] - values[i - 1])
    found = at[i - 1] + share * (at[i] - at[i - 1])
    return float(np.exp(found) if log else found)
