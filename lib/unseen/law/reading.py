"""Three ways to read where the curve of one seed passes half of the most that it reaches, so that none has the last word.

The first is the one that the law stands on.  A reading takes sizes (n,) in rising order and accuracy (n,) that starts at or below
half of its top, and gives a number of instructions among the sizes; it needs nothing from other settings.

    >>> sizes, accuracy = np.array([100, 200, 400, 1_000]), np.array([0.0, 0.1, 0.6, 0.8])
    >>> [round(read(sizes, accuracy)) for read in READINGS.values()]
    [311, 303, 313]
"""

from collections.abc import Callable

import numpy as np
import pandas as pd

from unseen.crossing import crosses
from unseen.diversity.thresholds import fit_threshold

Reading = Callable[[np.ndarray, np.ndarray], float]
_LEAST = 0.001


def logit_line(sizes: np.ndarray, accuracy: np.ndarray) -> float:
    """Between the two sizes around half of the top, on a line of the logit of accuracy / top over log I.

    Shares are cut to 0.001 and 0.999, for of none or all of the top there is no logit: with no size on the step itself the cut matters.
    """
    share = np.clip(accuracy / accuracy.max(), _LEAST, 1 - _LEAST)
    return crosses(sizes, np.log(share / (1 - share)))


def straight_line(sizes: np.ndarray, accuracy: np.ndarray) -> float:
    """Between the same two sizes, on a line of the accuracy itself over log I."""
    return crosses(sizes, accuracy - accuracy.max() / 2)


def fitted_curve(sizes: np.ndarray, accuracy: np.ndarray) -> float:
    """By a logistic curve through all sizes, as notebook 10 fits it; its top is fitted too, and may lie above the most reached."""
    curve = pd.DataFrame({"instructions": sizes, "accuracy": accuracy, "seed": 0, "split": "unseen"})
    return fit_threshold(curve).middle


READINGS: dict[str, Reading] = {
    "line in the logit": logit_line,
    "straight line": straight_line,
    "logistic curve": fitted_curve,
}
