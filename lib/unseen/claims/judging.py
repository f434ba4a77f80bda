"""What a verdict on a published claim is, and how curves are read for one."""

from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd

REPRODUCED, PARTLY, NOT, NOT_RUN = "reproduced", "partly", "not", "not run"


@dataclass(frozen=True)
class Verdict:
    """``reproduced``, ``partly``, ``not`` or ``not run``, and what was measured, in words."""

    word: str
    measured: str


@dataclass(frozen=True)
class Claim:
    """One published finding.  ``judge`` reads the results of ``notebook``, the tidy frame that it leaves as CSV."""

    name: str
    experiment: str
    published: str
    criterion: str
    notebook: str
    judge: Callable[[pd.DataFrame], Verdict]


def verdict(reproduced: bool, partly: bool, measured: str) -> Verdict:
    """The word that a criterion gives."""
    return Verdict(REPRODUCED if reproduced else PARTLY if partly else NOT, measured)


def curve(results: pd.DataFrame, split: str = "unseen", **where: object) -> pd.Series:
    """Mean accuracy over seeds by number of instructions."""
    chosen = results[results["split"] == split]
    for column, value in where.items():
        chosen = chosen[chosen[column] == value]
    return chosen.groupby("instructions")["accuracy"].mean()


def half_at(accuracy: pd.Series) -> float:
    """The number of instructions at which a curve first passes half of its highest value, by interpolation in log I.

    Infinity where it never rises above a quarter.

    >>> round(half_at(pd.Series([0.0, 0.4, 0.8], index=[100, 200, 400])))
    200
    """
    top = accuracy.max()
    if top < 0.25:
        return float("inf")
    above = accuracy[accuracy >= top / 2].index[0]
    before = accuracy.index[accuracy.index < above]
    if not len(before):
        return float(above)
    low, high = accuracy[before[-1]], accuracy[above]
    return float(before[-1] * (above / before[-1]) ** ((top / 2 - low) / (high - low)))
