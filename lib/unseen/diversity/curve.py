"""The main study: exact match on unseen instructions against the number of different ones in training.

Paper, section 3 (experiment 1): a fixed budget of N = I x S examples, from few instructions with many
examples each to many instructions with few.  ``measure`` trains and scores, ``baselines`` answers
without learning, ``thresholds`` fits the step of each setting, ``readings`` says in words what came out.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from unseen.claims import PublishedThreshold
from unseen.datasets import evaluation_examples
from unseen.diversity.thresholds import NoThreshold, Threshold, fit_threshold
from unseen.evaluation import baselines as baseline_answers
from unseen.evaluation import exact_match
from unseen.instructions import draw_split
from unseen.running.workers import Executor
from unseen.scales import Scale
from unseen.store import Store
from unseen.sweep import frame

_BASELINE_EXAMPLES = 2_000


def measure(scale: Scale, store: Store | None = None, executor: Executor | None = None) -> pd.DataFrame:
    """Train what is missing and return one row per run and split, with its ``setting`` (see ``sweep.frame``)."""
    results = frame(scale.runs(), store, executor)
    names = {run.digest(): setting.name for setting in reversed(scale.settings) for run in setting.runs()}
    results.insert(0, "setting", results["run"].map(names))
    return results


def main_curve(results: pd.DataFrame) -> pd.DataFrame:
    """The rows of the main setting."""
    return results[results["setting"] == "main"]


def baselines(scale: Scale) -> pd.DataFrame:
    """Exact match of oracle, copy and nearest rule on the examples that the main runs are scored on.

    Columns: baseline, instructions, seed, split, accuracy, examples.
    """
    found = []
    for spec in scale.main.runs():
        split = draw_split(spec.task)
        evaluation = spec.evaluation.but(examples=min(spec.evaluation.examples, _BASELINE_EXAMPLES))
        for name, examples in evaluation_examples(spec.task, split, evaluation).items():
            instructions = split.seen if name == "seen" else split.unseen
            for baseline, answers in baseline_answers(examples, instructions, split.seen).items():
                found.append({"baseline": baseline, "instructions": spec.task.instructions,
                              "seed": spec.task.rule_seed, "split": name,
                              "accuracy": exact_match(answers, examples).mean(), "examples": len(examples)})  # fmt: skip
    return pd.DataFrame(found)


def thresholds(results: pd.DataFrame) -> pd.DataFrame:
    """The fitted threshold of each setting: setting, middle, low, high, steepness, top, seeds, note.

    Where a curve does not step, ``note`` says how it runs and the numbers are missing.
    """
    found = []
    for setting, part in results.groupby("setting", sort=False):
        try:
            found.append({"setting": setting, **vars(fit_threshold(part)), "note": ""})
        except NoThreshold as reason:
            missing = dict.fromkeys(("middle", "low", "high", "steepness", "top"), np.nan)
            found.append({"setting": setting, **missing, "seeds": part["seed"].nunique(), "note": str(reason)})
    return pd.DataFrame(found)


def main_threshold(results: pd.DataFrame) -> Threshold | None:
    """The threshold of the main curve, or None when it does not step."""
    try:
        return fit_threshold(main_curve(results))
    except NoThreshold:
        return None


@dataclass(frozen=True)
class Ends:
    """The mean accuracies at the two ends of a curve."""

    fewest: int
    most: int
    seen: pd.Series
    unseen: pd.Series


def _ends(curve: pd.DataFrame) -> Ends:
    means = curve.groupby(["split", "instructions"])["accuracy"].mean()
    sizes = curve["instructions"]
    return Ends(sizes.min(), sizes.max(), means["seen"], means["unseen"])


def readings(results: pd.DataFrame, published: PublishedThreshold) -> list[str]:
    """Three sentences that read the main curve, made from its numbers."""
    curve = main_curve(results)
    return [_reads_ends(curve), _reads_step(curve, main_threshold(results), published), _reads_budget(curve)]


def _reads_ends(curve: pd.DataFrame) -> str:
    ends = _ends(curve)
    few, many = ends.unseen[ends.fewest], ends.unseen[ends.most]
    verb = "follow" if few > 0.5 else "do not follow"
    then = "do" if many > 0.5 else "do not" if few > 0.5 else "still do not"
    return (f"Models that trained on {ends.fewest} different instructions {verb} unseen ones ({few:.1%} right, against "
            f"{ends.seen[ends.fewest]:.1%} on seen ones); models that trained on {ends.most:,} {then} "
            f"({many:.1%}, against {ends.seen[ends.most]:.1%}).")  # fmt: skip


def _reads_step(curve: pd.DataFrame, threshold: Threshold | None, published: PublishedThreshold) -> str:
    unseen = _ends(curve).unseen
    if threshold is None:
        return (f"Between them there is no step to fit: the mean accuracy on unseen instructions lies between "
                f"{unseen.min():.1%} and {unseen.max():.1%}.")  # fmt: skip
    low, high = unseen[unseen < 0.1 * threshold.top], unseen[unseen > 0.9 * threshold.top]
    width = ""
    if len(low) and len(high) and low.index.max() < high.index.min():
        width = (f", from under a tenth of its height at {low.index.max():,} to over nine tenths at "
                 f"{high.index.min():,} instructions")  # fmt: skip
    if threshold.middle < published.never_below:
        against = f"below the {published.never_below:,} under which the paper, at its size, saw none generalise"
    elif threshold.middle > published.always_from:
        against = f"above the {published.always_from:,} from which the paper, at its size, saw all generalise"
    else:
        against = f"inside the paper's own range of {published.never_below:,} to {published.always_from:,}"
    return f"The fitted curve, {threshold.top:.0%} high, reaches half of its height at {threshold}{width}; that is {against}."


def _reads_budget(curve: pd.DataFrame) -> str:
    ends, each = _ends(curve), curve.groupby("instructions")["examples_per_instruction"].first()
    best, few = ends.unseen.idxmax(), ends.unseen[ends.fewest]
    if ends.unseen[best] - few < 0.05:
        return (f"At this fixed budget more different instructions did not help: the best accuracy on unseen ones is "
                f"{ends.unseen[best]:.1%}, that with the fewest {few:.1%}.")  # fmt: skip
    return (f"The budget is the same everywhere, so this is diversity and not amount: {each[best]:,.0f} examples of each "
            f"of {best:,} instructions gave {ends.unseen[best]:.1%} on unseen ones, {each[ends.fewest]:,.0f} examples "
            f"of each of {ends.fewest} gave {few:.1%}.")  # fmt: skip
