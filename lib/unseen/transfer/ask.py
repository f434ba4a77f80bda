"""Ask trained models about worlds they were not trained in, and lay the answers out as a tidy frame."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from unseen.datasets import draw
from unseen.evaluation import all_right, wilson
from unseen.families import FORMS
from unseen.instructions import Instructions, Split, draw_split, family_of, generator, strings_of
from unseen.scales import Setting
from unseen.specs import TaskSpec
from unseen.store import Store
from unseen.sweep import frame
from unseen.workers import Executor

Test = tuple[dict[str, Any], TaskSpec, Instructions]  # columns that name it, how its inputs are drawn, its rules
_SEED = 3_000_000  # of the test examples: neither that of training nor of evaluation


def measure(settings: Iterable[Setting], tests: Callable[[TaskSpec, Split], Iterable[Test]], store: Store | None = None,
            executor: Executor | None = None, size: int = 500) -> pd.DataFrame:  # fmt: skip
    """Train what is missing, then ask each model ``size`` examples of each test: one row per setting, run and test.

    Columns: setting, instructions, seed, those of the test, accuracy, low, high (95 % interval), examples, run.
    Raises ``SweepFailed`` when a run failed; all others are finished and kept first.
    """
    settings, store = list(settings), store or Store()
    runs = [run for setting in settings for run in setting.runs()]
    frame(runs, store, executor)  # trains what is missing
    found = []
    for setting in settings:
        for run in setting.runs():
            model, split = store.model(run), draw_split(run.task)
            about = {"setting": setting.name, "instructions": run.task.instructions, "seed": run.task.rule_seed}
            for columns, task, rules in tests(run.task, split):
                rng = generator(_SEED, repr(sorted(columns.items())))
                right = all_right(model, draw(task, rules, np.arange(size) % len(rules), rng))
                low, high = wilson(int(right.sum()), size)
                score = {"accuracy": right.mean(), "low": low, "high": high, "examples": size}
                found.append({**about, **columns, **score, "run": run.digest()})
    return pd.DataFrame(found)


def by_k(ks: Sequence[int], rules: int = 200) -> Callable[[TaskSpec, Split], Iterator[Test]]:
    """Tests with rules of each form at each k (k = 1: of no form), none of whose strings stand in a training rule.

    Columns: form, k, family, k_low and k_high (those trained on).  Where no such rules are left, because so large a k has few
    strings and training took them, there is no test.
    """

    def tests(task: TaskSpec, split: Split) -> Iterator[Test]:
        taken = strings_of(split.seen)
        trained = {"family": task.family, "k_low": task.k_low, "k_high": task.k_high}
        for k in ks:
            for form in FORMS if k > 1 else ("random",):
                family = replace(family_of(task), name=form, k_low=k, k_high=k)
                found = family.rules(rules, generator(_SEED, f"{form} {k}"), taken)
                if len(found[0]):
                    yield {"form": form, "k": k, **trained}, task, Instructions(task.alphabet, *found)

    return tests


def by_occurrences(numbers: Sequence[int]) -> Callable[[TaskSpec, Split], Iterator[Test]]:
    """Tests with unseen rules on inputs that hold the pattern each of these numbers of times; columns: trained, asked."""

    def tests(task: TaskSpec, split: Split) -> Iterator[Test]:
        trained = ", ".join(map(str, task.all_occurrences))
        for number in numbers:
            yield {"trained": trained, "asked": number}, task.but(occurrences=number, also_occurrences=""), split.unseen

    return tests
