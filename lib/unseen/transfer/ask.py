"""Ask trained models about worlds they were not trained in, and lay the answers out as a tidy frame.

What a model answered is kept beside the store, and models are asked in several processes: see ``following``.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Protocol

import numpy as np
import pandas as pd

from unseen.datasets import draw
from unseen.evaluation import all_right, share
from unseen.families import FORMS
from unseen.instructions import Instructions, Split, draw_split, family_of, generator, strings_of
from unseen.running.following import followed
from unseen.running.workers import Executor, Tell
from unseen.scales import Setting
from unseen.specs import RunSpec, TaskSpec
from unseen.store import Store
from unseen.sweep import frame

Columns = dict[str, Any]
Test = tuple[Columns, TaskSpec, Instructions]  # columns that name it, how its inputs are drawn, its rules
_SEED = 3_000_000  # of the test examples: neither that of training nor of evaluation


class Tests(Protocol):
    """What trained models are asked: ``repr`` names all that the answers depend on, beside the run."""

    def trained(self, task: TaskSpec) -> Columns:
        """What is said of the world that a model was trained in."""

    def of(self, task: TaskSpec, split: Split) -> Iterator[Test]:
        """The tests of a model that was trained in this world."""


@dataclass(frozen=True)
class ByK:
    """Tests with rules of each form at each k (k = 1: of no form), none of whose strings stand in a training rule.

    Columns: family, k_low and k_high (those trained on), form, k.  Where no such rules are left, because so large a k has few
    strings and training took them, there is no test.
    """

    ks: tuple[int, ...]
    rules: int = 200

    def trained(self, task: TaskSpec) -> Columns:
        """The family of the training rules and their range of k."""
        return {"family": task.family, "k_low": task.k_low, "k_high": task.k_high}

    def of(self, task: TaskSpec, split: Split) -> Iterator[Test]:
        """A test for each k and form of which rules are left."""
        taken = strings_of(split.seen)
        for k in self.ks:
            for form in FORMS if k > 1 else ("random",):
                family = replace(family_of(task), name=form, k_low=k, k_high=k)
                found = family.rules(self.rules, generator(_SEED, f"{form} {k}"), taken)
                if len(found[0]):
                    yield {"form": form, "k": k}, task, Instructions(task.alphabet, *found)


@dataclass(frozen=True)
class ByOccurrences:
    """Tests with unseen rules on inputs that hold the pattern each of these numbers of times; columns: trained, asked."""

    numbers: tuple[int, ...]

    def trained(self, task: TaskSpec) -> Columns:
        """How often training inputs held their pattern."""
        return {"trained": ", ".join(map(str, task.all_occurrences))}

    def of(self, task: TaskSpec, split: Split) -> Iterator[Test]:
        """A test for each number of occurrences."""
        for number in self.numbers:
            yield {"asked": number}, task.but(occurrences=number, also_occurrences=""), split.unseen


def measure(settings: Iterable[Setting], tests: Tests, store: Store | None = None, executor: Executor | None = None,
            size: int = 500) -> pd.DataFrame:  # fmt: skip
    """Train what is missing, then ask each model ``size`` examples of each test: one row per setting, run and test.

    Columns: setting, instructions, seed, those of the tests, accuracy, low, high (95 % interval), examples, run.
    Raises ``SweepFailed`` when a run failed; all others are finished and kept first.
    """
    settings, store = list(settings), store or Store()
    runs = [run for setting in settings for run in setting.runs()]
    frame(runs, store, executor)  # trains what is missing
    asked = "asked-1-" + re.sub(r"\W+", "-", f"{tests} of {size}")
    found = iter(followed(runs, partial(ask, tests=tests, size=size, store=store), asked, executor, "ask"))
    parts = [_told(setting.name, run, tests, next(found)) for setting in settings for run in setting.runs()]
    return pd.concat(parts, ignore_index=True)


def _told(setting: str, run: RunSpec, tests: Tests, scores: pd.DataFrame) -> pd.DataFrame:
    """The scores of a run between what it was trained on and its digest."""
    about = {"setting": setting, "instructions": run.task.instructions, "seed": run.task.rule_seed}
    about |= tests.trained(run.task)
    return pd.DataFrame(about, index=scores.index).join(scores).assign(run=run.digest())


def ask(run: RunSpec, tell: Tell, tests: Tests, size: int, store: Store) -> pd.DataFrame:
    """The scores of a finished run, a row for each test; for a worker."""
    model, split, rows = store.model(run), draw_split(run.task), []
    for columns, task, rules in tests.of(run.task, split):
        rng = generator(_SEED, repr(sorted((tests.trained(run.task) | columns).items())))
        right = all_right(model, draw(task, rules, np.arange(size) % len(rules), rng))
        rows.append(columns | share(right))
    return pd.DataFrame(rows).assign(examples=size)  # a column also where there is no test
