"""How many different instructions it takes (notebooks 10 to 12): main curve, no-ops, uneven sets.

Zhang, Wang and Charton, arXiv 2402.10891, experiments 1 to 3: a fixed budget of examples, from few
instructions with many examples each to many instructions with few.  ``measure`` trains and scores the
settings of any study on this curve.

    >>> [setting.name for setting in no_ops("quick")]
    ['0 % no-ops', '10 % no-ops', '50 % no-ops']
    >>> len({run for setting in long_tail("quick") for run in setting.runs()})
    33
"""

from collections.abc import Callable, Iterable, Sequence
from functools import cache
from typing import NamedTuple

import numpy as np
import pandas as pd

from unseen.evaluation import baselines as baseline_answers
from unseen.evaluation import exact_match, without_pattern
from unseen.runs.store import Store
from unseen.runs.sweep import frame, kinds
from unseen.runs.workers import Executor
from unseen.scales import Scale, Setting, amounts, scale
from unseen.stats import NoThreshold, Threshold, fit_threshold
from unseen.studies.results import TEXTS
from unseen.worlds.base import generator, shares
from unseen.worlds.strings import TaskSpec

ORDERS = (0.0, 0.5, 1.0, 2.0)  # of Hill numbers: 0 counts instructions, 1 is the exponential of the entropy
_TRIED = np.arange(0, 3.001, 0.02).round(2)  # the misfit can have several minima, so all these are tried

Curve = Callable[[np.ndarray], np.ndarray]  # numbers of instructions to accuracies


class PublishedThreshold(NamedTuple):
    """How many instructions a model needs before it follows unseen ones, as published."""

    source: str
    never_below: int
    always_from: int
    sharp_near: Sequence[int]


INSTRUCTION_DIVERSITY = PublishedThreshold(**TEXTS["instruction_diversity"])


# What is trained and measured


def no_ops(name: str) -> tuple[Setting, ...]:
    """Paper, experiment 2: a share of inputs without the pattern, against the number of instructions."""
    much, base = amounts("no_ops", name), scale(name).main.base
    axes = much.sizes, much.seeds
    return tuple(
        Setting(f"{100 * share:.0f} % no-ops", base.with_task(no_op_share=share), *axes, scale=name)
        for share in much.shares
    )


def long_tail(name: str) -> tuple[Setting, ...]:
    """Paper, experiment 3: a few instructions get most examples; ``concentration`` a = 1 gives each as many.

    The even shape has more sizes, so that there is a curve to compare the others with.
    """
    much, base = amounts("long_tail", name), scale(name).main.base
    sizes = {shape: much.even_sizes if shape == 1 else much.sizes for shape in much.shapes}
    return tuple(
        Setting(f"a = {shape:g}", base.with_task(concentration=shape), its, much.seeds, scale=name)
        for shape, its in sizes.items()
    )


def measure(
    settings: Iterable[Setting],
    store: Store | None = None,
    executor: Executor | None = None,
    by_kind: bool = False,
    fields: Sequence[str] = ("no_op_share", "concentration"),
) -> pd.DataFrame:
    """Train what is missing: one row per setting, run and split (and, ``by_kind``, has-op and no-op inputs).

    Columns: ``setting``, ``fields`` of its task or model, and those of ``sweep.frame``.  A run of two
    settings has rows in both.
    """
    settings = list(settings)
    runs = [run for setting in settings for run in setting.runs()]
    table = frame(runs, store, executor)
    if by_kind:
        table = kinds(runs, store)
    parts = []
    for setting in settings:
        part = table[table["run"].isin({run.digest() for run in setting.runs()})]
        known = vars(setting.base.task) | vars(setting.base.model)
        about = {name: known[name] for name in fields}
        parts.append(part.assign(setting=setting.name, **about)[["setting", *fields, *table.columns]])
    return pd.concat(parts, ignore_index=True)


def baselines(study: Scale, most: int = 2_000) -> pd.DataFrame:
    """Exact match of oracle, copy, nearest rule and y anywhere on ``most`` of the main runs' test examples.

    Columns: baseline, instructions, seed, split, accuracy, examples.
    """
    found = []
    for spec in study.main.runs():
        task, split = spec.task, spec.task.split()
        evaluation = spec.evaluation.but(examples=min(spec.evaluation.examples, most))
        for name, examples in task.evaluation(split, evaluation.examples, evaluation.seed).items():
            about = {"instructions": task.instructions, "seed": task.rule_seed, "split": name}
            rules = split.seen if name == "seen" else split.unseen
            answered = baseline_answers(examples, rules, split.seen)
            rng = generator(evaluation.seed, "anywhere")
            answered["y anywhere"] = without_pattern(examples, rng)["anywhere"]
            for baseline, answers in answered.items():
                accuracy = exact_match(answers, examples).mean()
                found.append({"baseline": baseline, **about, "accuracy": accuracy, "examples": len(examples)})
    return pd.DataFrame(found)


# The step of a curve, and the main curve in words


def thresholds(results: pd.DataFrame) -> pd.DataFrame:
    """The fitted threshold of each setting: setting, middle, low, high, steepness, top, seeds, note.

    For a curve without a step the numbers are missing and ``note`` says why.
    """
    rows = []
    for setting, part in results.groupby("setting", sort=False):
        row = {"setting": setting}
        row |= dict.fromkeys(("middle", "low", "high", "steepness", "top"), np.nan)
        row |= {"seeds": part["seed"].nunique(), "note": ""}
        try:
            row |= vars(fit_threshold(part))
        except NoThreshold as reason:
            row["note"] = str(reason)
        rows.append(row)
    return pd.DataFrame(rows)


def main_threshold(results: pd.DataFrame) -> Threshold | None:
    """The threshold of the main curve, or None if it has no step."""
    try:
        return fit_threshold(results[results["setting"] == "main"])
    except NoThreshold:
        return None


def readings(results: pd.DataFrame, published: PublishedThreshold) -> list[str]:
    """The main curve in words: its two ends, and its step beside the published range."""
    curve = results[results["setting"] == "main"]
    means = curve.pivot_table(["accuracy", "examples_per_instruction"], "instructions", "split")
    ends = []
    for size, row in means.iloc[[0, -1]].iterrows():
        accuracy, each = row["accuracy"], row["examples_per_instruction", "unseen"]
        ends.append(f"{each:,.0f} examples of each of {size:,} give {accuracy['unseen']:.1%} exact match on "
                    f"unseen instructions and {accuracy['seen']:.1%} on seen ones")  # fmt: skip
    both = f"On the same budget, {'; '.join(ends)}."
    if (threshold := main_threshold(results)) is None:
        low, high = means["accuracy", "unseen"].agg(["min", "max"])
        return [both, f"There is no step to fit: unseen instructions stay between {low:.1%} and {high:.1%}."]
    first, last = published.never_below, published.always_from
    where = "below" if threshold.middle < first else "above" if threshold.middle > last else "in"
    factor = 81 ** (1 / threshold.steepness)
    half = f"half of its own height ({threshold.top:.0%})"
    paper = f"the range of {first:,} to {last:,} where the paper's models, at its size, start to generalise"
    step = (f"A curve fitted to all models reaches {half} at {threshold}, and rises from a tenth to nine "
            f"tenths of it within a factor of {factor:.1f}. The half lies {where} {paper}.")  # fmt: skip
    return [both, step]


# What an uneven training set is worth


def effective(counts: np.ndarray, order: float) -> float:
    """Hill's number of an order: how many instructions with equal shares are as diverse as these counts (I,).

    Order 0 counts the instructions that occur, 1 is the exponential of the entropy of the shares, 2 is the
    inverse of the chance that two examples are of one instruction.  (Hill, 1973.)

    >>> [effective(np.array([5, 5, 5, 5, 0]), order) for order in (0, 0.5, 1, 2)]
    [4.0, 4.0, 4.0, 4.0]
    >>> round(effective(np.array([97, 1, 1, 1]), 1), 2)
    1.18
    """
    p = counts[counts > 0] / counts.sum()
    if np.isclose(order, 1, atol=1e-6):
        return float(round(np.exp(-(p * np.log(p)).sum()), 9))
    return float(round((p**order).sum() ** (1 / (1 - order)), 9))


@cache
def effective_number(concentration: float, instructions: int, examples: int, order: float) -> float:
    """``effective`` of a training set of this shape."""
    # The shares of a task are of any number of instructions
    task = TaskSpec(instructions=1, examples=examples, concentration=concentration)
    return effective(shares(task, instructions), order)


def with_effective(results: pd.DataFrame, order: float) -> pd.DataFrame:
    """The results with a column ``effective``: Hill's number of each training set."""
    return results.assign(effective=[effective_number(*each, order) for each in _sets(results)])


def _sets(results: pd.DataFrame) -> list[tuple[float, int, int]]:
    """Concentration, instructions and budget of the training set of each row."""
    budget = (results["instructions"] * results["examples_per_instruction"]).round().astype(int)
    return list(zip(results["concentration"], results["instructions"], budget, strict=True))


def even_curve(results: pd.DataFrame) -> Curve:
    """Mean unseen accuracy of the even sets (``concentration`` 1), interpolated in log I; constant beyond the
    ends."""
    even = results[(results["split"] == "unseen") & (results["concentration"] == 1)]
    means = even.groupby("instructions")["accuracy"].mean()
    sizes, accuracy = np.log(means.index.to_numpy(float)), means.to_numpy()
    return lambda instructions: np.interp(np.log(instructions), sizes, accuracy)


def orders(results: pd.DataFrame, even: Curve) -> pd.DataFrame:
    """Is there one order for all?  A row for each number of instructions with uneven sets, and ``all``.

    A misfit is the root mean square distance of uneven runs from the ``even`` curve at their effective
    numbers.  Columns: ``best order``, with the least ``misfit`` between 0 and 3; ``misfit at the order of the
    others``, that which fits the other numbers of instructions best (for ``all`` the same as ``misfit``);
    ``seeds``, the root mean square distance of runs from the mean of their setting, a lower bound for every
    order; the misfit at each of ``ORDERS``.
    """
    uneven = results[(results["split"] == "unseen") & (results["concentration"] != 1)].reset_index(drop=True)
    accuracy, sizes = uneven["accuracy"], uneven["instructions"]
    sets = _sets(uneven)
    at = {order: even(np.array([effective_number(*each, order) for each in sets])) for order in _TRIED}
    squares = pd.DataFrame({order: (accuracy - expected) ** 2 for order, expected in at.items()})
    of_seeds = (accuracy - uneven.groupby(["setting", "instructions"])["accuracy"].transform("mean")) ** 2
    rows = {}
    for which, here in {f"{size:,}": sizes == size for size in np.unique(sizes)}.items():
        rows[which] = here, squares[~here] if (~here).any() else squares
    rows["all"] = sizes > 0, squares
    found = {}
    for which, (here, others) in rows.items():
        misfit = np.sqrt(squares[here].mean())  # by order
        found[which] = {
            "best order": misfit.idxmin(),
            "misfit": misfit.min(),
            "misfit at the order of the others": misfit[others.mean().idxmin()],
            "seeds": np.sqrt(of_seeds[here].mean()),
            **{f"order {order:g}": misfit[order] for order in ORDERS},
        }
    return pd.DataFrame(found).T.rename_axis("instructions")
