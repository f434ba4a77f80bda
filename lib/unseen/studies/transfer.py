"""Notebooks 13 and 14: models evaluated on rules of another form, or with other numbers of occurrences.

Scores are kept in the runs folder, and models are evaluated in several processes: see ``runs.following``.

>>> [setting.name for setting in semantics("quick")][-2:], [setting.name for setting in occurrences("quick")]
(['mixed, k 3-4', 'mixed, k 4-4'], ['1', '3', '1, 2, 3', '3, no decoys'])
"""

import re
import string
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from unseen import figures
from unseen.evaluation import all_right, exact_match, share, without_pattern
from unseen.runs.following import followed
from unseen.runs.store import Store
from unseen.runs.sweep import frame
from unseen.runs.workers import Executor, Tell
from unseen.scales import Setting, amounts, scale
from unseen.specs import RunSpec
from unseen.studies.readings import own_number
from unseen.worlds.base import Examples, Line, generator
from unseen.worlds.rules import FORMS, Instructions, Split, family_rules, strings_of
from unseen.worlds.strings import TaskSpec

Columns = dict[str, Any]
Test = tuple[Columns, TaskSpec, Instructions]  # columns that name it, what draws its inputs, its rules
SEED = 3_000_000  # of the test examples: neither that of training nor of evaluation


def semantics(name: str, study: str = "semantics") -> tuple[Setting, ...]:
    """Experiment 4: rules of each family and their mixture, over ranges of k, and of large k alone.

    Decoys of the same form stand in the inputs; the ``study`` named ``open_semantics`` has none.
    """
    chosen = amounts(study, name)
    base = scale(name).main.base.with_task(pattern_length=chosen.length, replacement_length=chosen.length,
                     input_length=chosen.input_length, unseen_instructions=chosen.unseen)  # fmt: skip
    if chosen.decoys:  # evaluated as seldom as saved: the tests come later
        seldom = base.training.but(evaluate_every=base.training.checkpoint_every)
        base = base.with_task(decoys=chosen.decoys, decoys_at="anywhere").but(training=seldom)
    return tuple(
        Setting(
            f"{family}, k {low}-{high}",
            base.with_task(family=family, k_low=low, k_high=high),
            sizes,
            seeds,
            weights=sum(weights, ()),
            scale=name,
        )
        for family, low, ends, sizes, seeds, *weights in chosen.trained
        for high in ends
    )


def occurrences(name: str, study: str = "occurrences") -> tuple[Setting, ...]:
    """Experiment 5: inputs that hold their pattern a fixed number of times, or several numbers equally often.

    Patterns have two letters, of an alphabet large enough for many different ones.  Decoys stand beside them
    (see ``TaskSpec``) but in the last settings; the ``study`` named ``shortcut`` has none at all.
    """
    chosen = amounts(study, name)
    letters = (string.ascii_letters + string.digits)[: chosen.letters]
    base = scale(name).main.base.with_task(alphabet=letters, pattern_length=2, replacement_length=2,
                     input_length=chosen.input_length, unseen_instructions=chosen.unseen,
                     decoys=chosen.decoys)  # fmt: skip
    axes, names = (chosen.sizes, chosen.seeds), list(map(str, chosen.numbers))
    alone = [Setting(str(each), base.with_task(occurrences=each), *axes, scale=name) for each in chosen.alone]
    mix = base.with_task(also_occurrences=",".join(names[1:]))
    most = (max(chosen.sizes),)
    bare = [
        Setting(
            f"{each}, no decoys", base.with_task(occurrences=each, decoys=0), most, chosen.seeds, scale=name
        )
        for each in chosen.open
    ]
    return *alone, Setting(", ".join(names), mix, chosen.mixed, chosen.seeds, scale=name), *bare


@dataclass(frozen=True)
class ByK:
    """Tests with rules of each form at each k (k = 1: no form), without any string of a training rule.

    Columns: family, k_low, k_high and decoys (those trained on), form, k.  Where training used all strings of
    a large k, there is no test.
    """

    ks: tuple[int, ...]
    rules: int = 200

    def trained(self, task: TaskSpec) -> Columns:
        """The family of the training rules, their range of k, and the decoys of all inputs."""
        return {name: getattr(task, name) for name in ("family", "k_low", "k_high", "decoys")}

    def of(self, task: TaskSpec, split: Split) -> Iterator[Test]:
        """A test for each k and form that has rules left."""
        taken = strings_of(split.seen)
        for k in self.ks:
            for form in FORMS if k > 1 else ("random",):
                one = {"instructions": 1, "unseen_instructions": 1, "decoys": 0, "decoys_at": "first third"}
                of_form = task.but(family=form, k_low=k, k_high=k, **one)
                found = family_rules(of_form, self.rules, generator(SEED, f"{form} {k}"), taken)
                if len(found[0]) > task.decoys:
                    yield {"form": form, "k": k}, task, Instructions(task.alphabet, *found)


@dataclass(frozen=True)
class ByOccurrences:
    """Tests with unseen rules on inputs that hold the pattern so many times, among so many decoys.

    Columns: trained and decoys (occurrences and decoys of the training inputs), asked and among (of the
    test).
    """

    numbers: tuple[int, ...]
    decoys: tuple[int, ...] = (0,)

    def trained(self, task: TaskSpec) -> Columns:
        """How often training inputs held their pattern, and how many decoys."""
        return {"trained": ", ".join(map(str, task.all_occurrences)), "decoys": task.decoys}

    def of(self, task: TaskSpec, split: Split) -> Iterator[Test]:
        """A test for each number of occurrences and of decoys."""
        for among, number in product(self.decoys, self.numbers):
            asked = task.but(occurrences=number, also_occurrences="", decoys=among)
            yield {"asked": number, "among": among}, asked, split.unseen


Tests = ByK | ByOccurrences  # its ``repr`` names all that the scores depend on, besides the run


def measure(
    settings: Iterable[Setting], tests: Tests, executor: Executor | None = None, size: int = 500
) -> pd.DataFrame:
    """Train what is missing, then evaluate all on ``size`` examples a test: a row per setting, run and test.

    Columns: setting, instructions, seed, those of the tests, accuracy, low, high (95 % interval), examples,
    run. Raises ``SweepFailed`` when a run failed, after all others are finished and kept.
    """
    pairs = [(setting.name, run) for setting in settings for run in setting.runs()]
    runs, store, parts = [run for _, run in pairs], Store(), []
    frame(runs, store, executor)
    kept_as = "asked-1-" + re.sub(r"\W+", "-", f"{tests} of {size}")
    evaluate = partial(scores, tests=tests, size=size, store=store)
    found = followed(runs, evaluate, kept_as, executor, "evaluate")
    for (name, run), part in zip(pairs, found, strict=True):
        about = {"setting": name, "instructions": run.task.instructions, "seed": run.task.rule_seed}
        about |= {"weights": run.model.seed}
        about |= tests.trained(run.task)
        parts.append(pd.DataFrame(about, index=part.index).join(part).assign(run=run.digest()))
    return pd.concat(parts, ignore_index=True)


def scores(run: RunSpec, tell: Tell, tests: Tests, size: int, store: Store) -> pd.DataFrame:
    """The scores of a finished run, a row per test; for a worker."""
    model, rows = store.model(run), []
    for columns, examples in _drawn(run.task, tests, size):
        rows.append(columns | share(all_right(model, examples)))
    return pd.DataFrame(rows).assign(examples=size)  # a column also where there is no test


def _drawn(task: TaskSpec, tests: Tests, size: int) -> Iterator[tuple[Columns, Examples]]:
    for columns, asked, rules in tests.of(task, task.split()):
        rng = generator(SEED, repr(sorted((tests.trained(task) | columns).items())))
        yield columns, asked.draw(rules, np.arange(size) % len(rules), rng)


def puzzle() -> Line:
    """An example without decoys, with its pattern three times: to be solved without the pattern."""
    task = occurrences("quick")[-1].base.task
    return task.evaluation(task.split(), 1, SEED)["unseen"].line(0)


def unread(setting: Setting, tests: Tests, size: int = 2_000) -> pd.DataFrame:
    """What ``evaluation.without_pattern`` scores on the tests of a setting: a row per answer, seed and test.

    Columns as those of ``measure``: the setting is the answer's name, trained on ``nothing`` and 0 rules; all
    else that is said of training is 0.
    """
    rows = []
    for run in {run.task.rule_seed: run for run in setting.runs()}.values():
        first, *others = tests.trained(run.task)
        about = {"instructions": 0, "seed": run.task.rule_seed, first: "nothing"} | dict.fromkeys(others, 0)
        for columns, examples in _drawn(run.task, tests, size):
            answers = without_pattern(examples, generator(SEED, repr(columns)))
            for name, answer in answers.items():
                rows.append({"setting": name} | about | columns | share(exact_match(answer, examples)))
    return pd.DataFrame(rows)


def named(results: pd.DataFrame) -> pd.Series:
    """How the model of each row was trained: its setting and number of rules, as a label."""
    rules = results["instructions"].map("  ·  {:,} rules".format).where(results["instructions"] > 0, "")
    return results["setting"] + rules


def heat_map(results: pd.DataFrame, column: str, rows: Iterable[str], ax: Axes | None = None) -> Axes:
    """Mean accuracy by training (``rows``, labels of ``named``) and test (``column``: k or asked).

    A white frame marks tests on the k or the numbers trained on; cells without a test stay empty.
    """
    by_k = column == "k"
    own = results["k"].between(results["k_low"], results["k_high"]) if by_k else own_number(results)
    results = results.assign(row=named(results), own=own.astype(float))
    table = results.pivot_table(["accuracy", "own"], "row", column).reindex(list(rows))
    ax = figures.heat(table["accuracy"], ax)
    for row, place in np.argwhere(table["own"].to_numpy() > 0):
        ax.add_patch(Rectangle((place + 0.06, row + 0.09), 0.88, 0.82, fill=False, ec="white", lw=1.6))
    ax.set(ylabel="trained on")
    return ax
