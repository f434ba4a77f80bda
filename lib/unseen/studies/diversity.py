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

import numpy as np
import pandas as pd

from unseen.evaluation import baselines as baseline_answers
from unseen.evaluation import exact_match
from unseen.runs.store import Store
from unseen.runs.sweep import frame, kinds
from unseen.runs.workers import Executor
from unseen.scales import Scale, Setting, amounts, scale
from unseen.specs import RunSpec
from unseen.stats import NoThreshold, Threshold, fit_threshold
from unseen.studies.published import PublishedThreshold
from unseen.worlds.base import shares
from unseen.worlds.strings import TaskSpec

ORDERS = (0.0, 0.5, 1.0, 2.0)  # of Hill numbers: 0 counts instructions, 1 is the exponential of the entropy
_TRIED = np.arange(0, 3.001, 0.02)  # the misfit can have several minima, so all of these orders are tried

Curve = Callable[[np.ndarray], np.ndarray]  # numbers of instructions to accuracies


# What is trained and measured


def with_task(base: RunSpec, **changes: float | str) -> RunSpec:
    """The base run in another task world."""
    return base.but(task=base.task.but(**changes))


def no_ops(name: str) -> tuple[Setting, ...]:
    """Paper, experiment 2: a share of inputs without the pattern, against the number of instructions."""
    much, base = amounts("no_ops", name), scale(name).main.base
    return tuple(
        Setting(f"{100 * share:.0f} % no-ops", with_task(base, no_op_share=share), much.sizes, much.seeds)
        for share in much.shares
    )


def long_tail(name: str) -> tuple[Setting, ...]:
    """Paper, experiment 3: a few instructions get most examples; ``concentration`` a = 1 gives each as many.

    The even shape has more sizes, so that there is a curve to compare the others with.
    """
    much, base = amounts("long_tail", name), scale(name).main.base
    sizes = {shape: much.even_sizes if shape == 1 else much.sizes for shape in much.shapes}
    return tuple(
        Setting(f"a = {shape:g}", with_task(base, concentration=shape), its, much.seeds)
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

    Columns: ``setting``, its task's ``fields``, and those of ``sweep.frame``.  A run of two settings has rows
    in both.
    """
    settings = list(settings)
    runs = [run for setting in settings for run in setting.runs()]
    table = frame(runs, store, executor)
    if by_kind:
        table = kinds(runs, store)
    parts = []
    for setting in settings:
        part = table[table["run"].isin({run.digest() for run in setting.runs()})]
        about = {name: getattr(setting.base.task, name) for name in fields}
        parts.append(part.assign(setting=setting.name, **about)[["setting", *fields, *table.columns]])
    return pd.concat(parts, ignore_index=True)


def baselines(study: Scale, most: int = 2_000) -> pd.DataFrame:
    """Exact match of oracle, copy and nearest rule on ``most`` of the main runs' test examples.

    Columns: baseline, instructions, seed, split, accuracy, examples.
    """
    found = []
    for spec in study.main.runs():
        task, split = spec.task, spec.task.split()
        evaluation = spec.evaluation.but(examples=min(spec.evaluation.examples, most))
        for name, examples in task.evaluation(split, evaluation.examples, evaluation.seed).items():
            about = {"instructions": task.instructions, "seed": task.rule_seed, "split": name}
            rules = split.seen if name == "seen" else split.unseen
            for baseline, answers in baseline_answers(examples, rules, split.seen).items():
                accuracy = exact_match(answers, examples).mean()
                found.append({"baseline": baseline, **about, "accuracy": accuracy, "examples": len(examples)})
    return pd.DataFrame(found)


# The step of a curve, and the main curve in words


def thresholds(results: pd.DataFrame) -> pd.DataFrame:
    """The fitted threshold of each setting: setting, middle, low, high, steepness, top, seeds, note.

    For a curve without a step the numbers are missing and ``note`` says why.
    """
    found = []
    for setting, part in results.groupby("setting", sort=False):
        try:
            found.append({"setting": setting, **vars(fit_threshold(part)), "note": ""})
        except NoThreshold as reason:
            missing = dict.fromkeys(("middle", "low", "high", "steepness", "top"), np.nan)
            found.append(
                {"setting": setting, **missing, "seeds": part["seed"].nunique(), "note": str(reason)}
            )
    return pd.DataFrame(found)


def main_threshold(results: pd.DataFrame) -> Threshold | None:
    """The threshold of the main curve, or None if it has no step."""
    try:
        return fit_threshold(results[results["setting"] == "main"])
    except NoThreshold:
        return None


def readings(results: pd.DataFrame, published: PublishedThreshold) -> list[str]:
    """Three sentences made from the main curve: its ends, its step, and what the budget explains."""
    curve = results[results["setting"] == "main"]
    means = curve.pivot_table("accuracy", "instructions", "split")
    each = curve.groupby("instructions")["examples_per_instruction"].first()
    step = _step(means["unseen"], main_threshold(results), published)
    return [_ends(means), step, _budget(means["unseen"], each)]


def _ends(means: pd.DataFrame) -> str:
    """What models do that trained on the fewest, and on the most instructions."""
    parts = []
    for size, row in means.iloc[[0, -1]].iterrows():
        verb = "follow" if row["unseen"] > 0.5 else "do not follow"
        scores = f"{row['unseen']:.1%} exact match, against {row['seen']:.1%} on seen ones"
        parts.append(f"models that trained on {size:,} different instructions {verb} unseen ones ({scores})")
    return f"M{'; '.join(parts)[1:]}."


def _step(unseen: pd.Series, threshold: Threshold | None, published: PublishedThreshold) -> str:
    """Where the curve rises, how wide the step is, and whether that is in the published range."""
    if threshold is None:
        span = f"{unseen.min():.1%} to {unseen.max():.1%}"
        return f"There is no step to fit: the mean accuracy on unseen instructions is {span}."
    low, high = unseen[unseen < 0.1 * threshold.top].index, unseen[unseen > 0.9 * threshold.top].index
    width = ""
    if len(low) and len(high) and low.max() < high.min():
        width = (
            f", from under a tenth of it at {low.max():,} to over nine tenths at {high.min():,} instructions"
        )
    first, last = published.never_below, published.always_from
    where = "below" if threshold.middle < first else "above" if threshold.middle > last else "in"
    step = f"The fitted curve, {threshold.top:.0%} high, reaches half of its height at {threshold}{width}"
    paper = (
        f"the range of {first:,} to {last:,} in which the paper's models, at its size, start to generalise"
    )
    return f"{step}; that is {where} {paper}."


def _budget(unseen: pd.Series, each: pd.Series) -> str:
    """Whether more different instructions help although the number of examples stays the same."""
    fewest, best = unseen.index[0], unseen.idxmax()
    few, many = (
        f"{unseen[size]:.1%} with {each[size]:,.0f} examples of each of {size:,}" for size in (fewest, best)
    )
    if unseen[best] - unseen[fewest] < 0.05:
        return f"At this fixed budget more different instructions did not help: at best {many}, and {few}."
    return f"The budget is the same everywhere, so this is diversity and not amount: {many}, and {few}."


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
    budget = (results["instructions"] * results["examples_per_instruction"]).round().astype(int)
    sets = zip(results["concentration"], results["instructions"], budget, strict=True)
    return results.assign(effective=[effective_number(*each, order) for each in sets])


def even_curve(results: pd.DataFrame) -> Curve:
    """Mean unseen accuracy of the even sets, interpolated in log I; constant beyond the ends.

    Raises ``ValueError`` if there are none (``concentration`` 1, split unseen).
    """
    even = results[(results["split"] == "unseen") & (results["concentration"] == 1)]
    if even.empty:
        raise ValueError("no row is of an even set (concentration 1) and unseen instructions")
    means = even.groupby("instructions")["accuracy"].mean()
    return lambda instructions: np.interp(
        np.log(instructions), np.log(means.index.to_numpy(float)), means.to_numpy()
    )


def misfit(uneven: pd.DataFrame, even: Curve, order: float) -> float:
    """Root mean square distance of uneven runs from the even curve at their effective numbers."""
    at = with_effective(uneven, order)["effective"].to_numpy()
    return float(np.sqrt(np.mean((uneven["accuracy"].to_numpy() - even(at)) ** 2)))


def orders(results: pd.DataFrame, even: Curve) -> pd.DataFrame:
    """Is there one order for all?  A row for each number of instructions, and ``all``.

    Columns: ``best order``, with the least ``misfit`` between 0 and 3; ``misfit at the order of the others``,
    that which fits the other numbers of instructions best (for ``all`` the same as ``misfit``); ``seeds``,
    the root mean square distance of runs from the mean of their setting, a lower bound for every order; the
    misfit at each of ``ORDERS``. Raises ``ValueError`` if there are no uneven sets.
    """
    uneven = results[(results["split"] == "unseen") & (results["concentration"] != 1)]
    if uneven.empty:
        raise ValueError("no row is of an uneven set (concentration other than 1) and unseen instructions")
    parts = {f"{size:,}": part for size, part in uneven.groupby("instructions")} | {"all": uneven}
    found = {}
    for which, part in parts.items():
        others = uneven[~uneven["instructions"].isin(part["instructions"])]
        best = _best(part, even)
        means = part.groupby(["setting", "instructions"])["accuracy"].transform("mean")
        found[which] = {
            "best order": best,
            "misfit": misfit(part, even, best),
            "misfit at the order of the others": misfit(
                part, even, best if others.empty else _best(others, even)
            ),
            "seeds": float(np.sqrt(((part["accuracy"] - means) ** 2).mean())),
            **{f"order {order:g}": misfit(part, even, order) for order in ORDERS},
        }
    return pd.DataFrame(found).T.rename_axis("instructions")


def _best(uneven: pd.DataFrame, even: Curve) -> float:
    """The order with the least misfit."""
    return float(min(_TRIED, key=lambda order: misfit(uneven, even, order)).round(2))
