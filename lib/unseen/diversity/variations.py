"""Experiments beside the main curve: the same study in other task worlds, one setting for each.

``measure`` trains what is missing; ``effective`` asks how many instructions an uneven training set is worth.
"""

from collections.abc import Iterable

import numpy as np
import pandas as pd
from scipy.optimize import minimize_scalar

from unseen.datasets import shares
from unseen.diversity.thresholds import Threshold
from unseen.running.workers import Executor
from unseen.scales import Setting
from unseen.specs import TaskSpec
from unseen.store import Store
from unseen.sweep import frame, kinds

ORDERS = (0.0, 0.5, 1.0, 2.0)  # of Hill numbers: 0 counts instructions, 1 is the exponential of entropy


def measure(settings: Iterable[Setting], store: Store | None = None, executor: Executor | None = None,
            by_kind: bool = False) -> pd.DataFrame:  # fmt: skip
    """Train what is missing: one row per setting, run and split (and, ``by_kind``, has-op and no-op inputs).

    Columns of ``sweep.frame`` behind ``setting``, ``no_op_share`` and ``concentration``.
    """
    settings = list(settings)
    runs = [run for setting in settings for run in setting.runs()]
    table = frame(runs, store, executor)
    table, parts = kinds(runs, store) if by_kind else table, []
    for setting in settings:
        task, own = setting.base.task, {run.digest() for run in setting.runs()}
        part = table[table["run"].isin(own)]
        parts.append(part.assign(setting=setting.name, no_op_share=task.no_op_share, concentration=task.concentration))
    whole = pd.concat(parts, ignore_index=True)
    first = ["setting", "no_op_share", "concentration"]
    return whole[first + [name for name in whole if name not in first]]


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
    value = np.exp(-(p * np.log(p)).sum()) if order == 1 else (p**order).sum() ** (1 / (1 - order))
    return float(round(value, 9))


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


def misfit(results: pd.DataFrame, even: Threshold, order: float) -> float:
    """Root mean square distance of uneven runs (unseen) from the even curve, read at their effective number."""
    uneven = results[(results["split"] == "unseen") & (results["concentration"] != 1)]
    at = with_effective(uneven, order)["effective"].to_numpy()
    return float(np.sqrt(np.mean((uneven["accuracy"].to_numpy() - even(at)) ** 2)))


def misfits(results: pd.DataFrame, even: Threshold, orders: Iterable[float] = ORDERS) -> pd.DataFrame:
    """``misfit`` of each order, and of the order between 0 and 3 that fits best: columns order, misfit, best."""
    best = float(minimize_scalar(lambda order: misfit(results, even, order), bounds=(0.0, 3.0), method="bounded").x)
    rows = [{"order": order, "misfit": misfit(results, even, order), "best": False} for order in orders]
    return pd.DataFrame([*rows, {"order": best, "misfit": misfit(results, even, best), "best": True}])
