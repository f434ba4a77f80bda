"""Arms against arms, seed by seed: differences, and what they decide.

>>> table = pd.DataFrame({"arm": ["old", "new"] * 3, "seed": [0, 0, 1, 1, 2, 2],
...                       "right": [0.5, 0.7, 0.4, 0.6, 0.3, 0.51]})
>>> gain = difference(table, "right", "new", "old")
>>> gain.round(2).tolist(), decided([gain])
([0.2, 0.2, 0.21], 'reproduced')
"""

from collections.abc import Sequence
from math import inf

import numpy as np
import pandas as pd

from unseen.stats import mean_interval
from unseen.studies.claims import CONTRADICTED, IN_PART, REPRODUCED, UNDECIDED


def difference(table: pd.DataFrame, value: str, one: str, other: str, arm: str = "arm") -> pd.Series:
    """By seed, the mean of a column for arm ``one`` minus that for ``other``; raises ``KeyError`` for an arm
    that is not there.
    """
    means = table.groupby([arm, "seed"])[value].mean()
    return means[one] - means[other]


def decided(gains: Sequence[pd.Series]) -> str:
    """What paired differences decide about a claim that all are above zero, by their 95 % intervals.

    ``reproduced`` if all intervals lie above zero, ``in part`` if some do, ``contradicted`` if none does and
    one lies below, else ``undecided``.  A single seed decides nothing.
    """
    ends = [mean_interval(gain, -inf, inf) if len(gain) > 1 else (-inf, inf) for gain in gains]
    above, below = [low > 0 for low, _ in ends], [high < 0 for _, high in ends]
    if any(above):
        return REPRODUCED if all(above) else IN_PART
    return CONTRADICTED if any(below) else UNDECIDED


def false_pass(seeds: int, comparisons: int = 1, draws: int = 2_000) -> float:
    """How often data without an effect are called ``reproduced`` or ``in part``: a share of ``draws``, of
    normal differences from the same first arm.
    """
    rng = np.random.default_rng(seeds)
    found = rng.standard_normal((draws, 1 + comparisons, seeds))
    gains = found[:, :1] - found[:, 1:]
    return float(np.mean([decided(list(map(pd.Series, each))) in (REPRODUCED, IN_PART) for each in gains]))


def stated(gain: pd.Series, unit: str = "", digits: int = 2) -> str:
    """A mean difference with its 95 % interval over seeds, in words."""
    low, high = mean_interval(gain, -inf, inf)
    return f"{gain.mean():+.{digits}f}{unit} ({low:+.{digits}f} to {high:+.{digits}f})"
