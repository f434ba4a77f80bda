"""How many instructions an uneven training set is worth: Hill's numbers, and whether one of them puts uneven runs onto the even curve.

``orders`` gives the answer: which order fits best, for each number of instructions and for all together.
"""

from collections.abc import Callable, Iterable
from functools import cache

import numpy as np
import pandas as pd

from unseen.datasets import shares
from unseen.specs import TaskSpec

ORDERS = (0.0, 0.5, 1.0, 2.0)  # of Hill numbers: 0 counts instructions, 1 is the exponential of entropy
_TRIED = np.arange(0, 3.001, 0.02)  # the misfit has more than one valley, so all of it is looked at

Curve = Callable[[np.ndarray], np.ndarray]  # numbers of instructions to accuracies


def effective(counts: np.ndarray, order: float) -> float:
    """Hill's number of an order: how many instructions with equal shares are as diverse as these counts (I,).

    Order 0 counts the instructions that occur, 1 is the exponential of the entropy of the shares, 2 is the inverse
    of the chance that two examples are of one instruction.  (Hill, 1973.)

    >>> [effective(np.array([5, 5, 5, 5, 0]), order) for order in (0, 0.5, 1, 2)]
    [4.0, 4.0, 4.0, 4.0]
    >>> round(effective(np.array([97, 1, 1, 1]), 1), 2)
    1.18
    """
    p = counts[counts > 0] / counts.sum()
    value = np.exp(-(p * np.log(p)).sum()) if np.isclose(order, 1, atol=1e-6) else (p**order).sum() ** (1 / (1 - order))
    return float(round(value, 9))


@cache
def effective_number(concentration: float, instructions: int, examples: int, order: float) -> float:
    """``effective`` of a training set of this shape."""
    task = TaskSpec(
        instructions=1, examples=examples, concentration=concentration
    )  # shares are of any number of instructions
    return effective(shares(task, instructions), order)


def with_effective(results: pd.DataFrame, order: float) -> pd.DataFrame:
    """The results with a column ``effective``: Hill's number of each training set."""
    budget = (results["instructions"] * results["examples_per_instruction"]).round().astype(int)
    values = [effective_number(shape, size, total, order) for shape, size, total in
              zip(results["concentration"], results["instructions"], budget, strict=True)]  # fmt: skip
    return results.assign(effective=values)


def even_curve(results: pd.DataFrame) -> Curve:
    """Mean unseen accuracy of the even sets, joined by straight lines in log I; beyond the ends it stays as it is there.

    Raises ``ValueError`` when there are none (``concentration`` 1, split unseen).
    """
    even = results[(results["split"] == "unseen") & (results["concentration"] == 1)]
    if even.empty:
        raise ValueError(
            "no row is of an even set (concentration 1) and unseen instructions: there is no curve to compare with"
        )
    means = even.groupby("instructions")["accuracy"].mean()
    sizes, accuracies = np.log(means.index.to_numpy(float)), means.to_numpy()
    return lambda instructions: np.interp(np.log(instructions), sizes, accuracies)


def misfit(results: pd.DataFrame, even: Curve, order: float) -> float:
    """Root mean square distance of uneven runs (unseen) from the even curve, read at their effective number."""
    uneven = _uneven(results)
    at = with_effective(uneven, order)["effective"].to_numpy()
    return float(np.sqrt(np.mean((uneven["accuracy"].to_numpy() - even(at)) ** 2)))


def orders(results: pd.DataFrame, even: Curve, beside: Iterable[float] = ORDERS) -> pd.DataFrame:
    """Does one order do?  A row for each number of instructions, and ``all``.

    Columns: ``best order``, of the misfit between 0 and 3; ``misfit`` at it; ``seeds``, how far runs lie from the mean of
    their setting, below which no order comes; ``misfit at the order of the others``, that which fits the other
    numbers of instructions best (the same as ``misfit`` where there are no others); and the misfit at each order ``beside``.
    Raises ``ValueError`` when there are no uneven sets.
    """
    uneven = _uneven(results)
    if uneven.empty:
        raise ValueError(
            "no row is of an uneven set (concentration other than 1) and unseen instructions: no order can fit"
        )
    sizes = sorted(uneven["instructions"].unique())
    best = {size: _best(uneven[uneven["instructions"] == size], even) for size in sizes} | {"all": _best(uneven, even)}
    found = {}
    for which, order in best.items():
        part = uneven if which == "all" else uneven[uneven["instructions"] == which]
        others = uneven[~uneven["instructions"].isin(part["instructions"])]
        elsewhere = _best(others, even) if len(others) else order
        found[which if which == "all" else f"{which:,}"] = {
            "best order": order, "misfit": misfit(part, even, order), "misfit at the order of the others": misfit(part, even, elsewhere),
            "seeds": _scatter(part), **{f"order {each:g}": misfit(part, even, each) for each in beside}}  # fmt: skip
    return pd.DataFrame(found).T.rename_axis("instructions")


def _uneven(results: pd.DataFrame) -> pd.DataFrame:
    return results[(results["split"] == "unseen") & (results["concentration"] != 1)]


def _best(results: pd.DataFrame, even: Curve) -> float:
    """The order that fits best, to a fiftieth."""
    return float(min(_TRIED, key=lambda order: misfit(results, even, order)).round(2))


def _scatter(runs: pd.DataFrame) -> float:
    means = runs.groupby(["setting", "instructions"])["accuracy"].transform("mean")
    return float(np.sqrt(((runs["accuracy"] - means) ** 2).mean()))
