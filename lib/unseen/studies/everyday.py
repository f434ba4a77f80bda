"""Notebook 24 on a real chat model: everyday tasks tuned as published and where they are learned, and rivals.

The published settings are one epoch in batches of 64: of a hundred rows two updates, both early in the
warm-up.  So there is a second setting, ``learning``, with as many updates at every ratio.  Its rate is the
one at which plain tuning learns the task best on a seed that is not reported.

>>> [run.name for run in runs("smoke", "formatted", 0)][:2]
['formatted, base, seed 0', 'formatted, plain tuning, published, ratio 0, seed 0']
>>> len(runs("quick", "formatted", 0)), len(runs("quick", "translation", 0)), len(scouts("quick"))
(8, 4, 4)
"""

import math
from dataclasses import asdict, replace
from functools import partial
from typing import Any, NamedTuple

import pandas as pd

from unseen.files import seal
from unseen.lm.scores import Score, chrf, exact
from unseen.lm.tune import TOKEN, AdapterSpec, digest_of, folder_of
from unseen.once import done
from unseen.runs.workers import Tell
from unseen.scales import amounts
from unseen.studies import language_model
from unseen.studies.language_model import OLD, PUBLISHED, TASKS, Base, TuningTask
from unseen.studies.real_model import tune_all
from unseen.worlds import everyday

LEARNING = {"batch": 8, "micro_batch": 8, "warm_up": 2}  # besides the rate and the updates of the scale
SCOUT = 99  # the seed on which rates are chosen
_EARLY = 4  # stopped early: after this part of the updates
_WHERE = ["task", "prompts", "score"]  # columns of the results that a criterion names
_OLD = 24  # old answers of the base


class Run(NamedTuple):
    """One tuning of a task, or the base before any: then the ratio is None."""

    task: str
    setting: str
    method: str
    ratio: int | None
    adapter: AdapterSpec

    def digest(self) -> str:
        """Sixteen hexadecimal digits that name it among those of a base."""
        return seal(self._asdict() | {"adapter": asdict(self.adapter)})[:16]

    @property
    def training(self) -> AdapterSpec:
        """How it is trained."""
        return self.adapter

    @property
    def name(self) -> str:
        """It in a few words."""
        how = "" if self.ratio is None else f", {self.setting}, ratio {self.ratio}"
        return f"{self.task}, {self.method}{how}, seed {self.adapter.seed}"


def learning(scale: str, method: str, rate: float, spec: AdapterSpec, seed: int) -> AdapterSpec:
    """How a method tunes in the setting ``learning``."""
    part = _EARLY if method == "stopped early" else 1
    how = {"learning_rate": rate, "steps": max(1, amounts("everyday", scale).steps // part), "seed": seed}
    return spec.but(**LEARNING, **how, modules=TOKEN if method == "token alone" else spec.modules)


def scouts(scale: str, spec: AdapterSpec = PUBLISHED) -> list[Run]:
    """Tunings on a seed that is not reported, which choose the rates of the setting ``learning``."""
    amount, found = amounts("everyday", scale), []
    for method, rates in (("plain tuning", amount.rates), ("token alone", amount.token_rates)):
        for rate in rates:
            how = learning(scale, method, rate, spec, SCOUT)
            found.append(Run("formatted", f"rate {rate:g}", method, 0, how))
    return found


def runs(
    scale: str, task: str, seed: int, spec: AdapterSpec = PUBLISHED, plain: float = 1e-3, alone: float = 1e-2
) -> list[Run]:
    """The tunings of a task and seed: none, each ratio in both settings, and rivals of diverse data.

    ``plain`` is the rate of the setting ``learning``, ``alone`` that of the token alone.
    """
    amount, own = amounts("everyday", scale), spec.but(seed=seed)
    found = [Run(task, "base", "base", None, own.but(steps=1))]  # none, but progress is counted in steps
    for ratio in amount.published[task]:
        epoch = own.but(steps=spec.steps_for(amount.rows * (1 + ratio)))
        found.append(Run(task, "published", "DELIA" if ratio else "plain tuning", ratio, epoch))
    ways = [("DELIA" if ratio else "plain tuning", ratio, plain) for ratio in amount.ratios]
    if task == "formatted":
        ways += [("stopped early", 0, plain), ("token alone", 0, alone)]
    for method, ratio, rate in ways:
        found.append(Run(task, "learning", method, ratio, learning(scale, method, rate, spec, seed)))
    return found


def tasks(base: Base, scale: str, seed: int) -> dict[str, TuningTask]:
    """The tasks of a seed by name, with answers of the base to queries that are in no mixture."""
    held_out = tuple((query, "") for query in everyday.queries()[: everyday.HELD_OUT])
    count = min(_OLD, amounts("everyday", scale).examples)
    old = language_model.self_sampled(replace(base, references=held_out), count)
    return {task.name: task._replace(old=old) for task in language_model.tasks_of(base, scale, seed)}


def tune_one(run: Run, tell: Tell, base: Base, known: dict[int, dict[str, TuningTask]]) -> None:
    """What a worker does with a run: ensure that it is done and report its steps; raises ``Held``."""
    task, own = known[run.adapter.seed][run.task], replace(base, spec=run.adapter)
    language_model.ensure(own, task, run.ratio, run.adapter.seed, lambda note: None, watch=tell, patience=0)


def tuned(every: list[Run], base: Base, known: dict[int, dict[str, TuningTask]]) -> dict[Run, dict[str, Any]]:
    """The manifests of some runs; those that are missing are tuned first, several at a time."""
    digests = {}
    for run in every:
        task, own = known[run.adapter.seed][run.task], replace(base, spec=run.adapter)
        spec, _, about = language_model.tuning(own, task, run.ratio, run.adapter.seed)
        digests[run] = digest_of(spec, about)
    missing = [run for run, digest in digests.items() if not done(folder_of(digest), {}, whole=False)]
    print(f"{len(digests)} tunings: {len(digests) - len(missing)} are done, {len(missing)} to do", flush=True)
    if missing:
        tune_all(missing, base.folder, partial(tune_one, base=base, known=known))
    return {run: done(folder_of(digest), {}, whole=False) for run, digest in digests.items()}


def chosen(base: Base, scale: str) -> list[float]:
    """The rates at which plain tuning, and the token alone, answer most held-out questions of the task
    rightly, on a seed that is not reported; of equals the one of least loss.
    """
    task, *_ = language_model.tasks_of(base, scale, SCOUT)
    task, best = task._replace(questions={"task+token": task.questions["task+token"]}), {}
    for run, made in tuned(scouts(scale, base.spec), base, {SCOUT: {task.name: task}}).items():
        value = {row["score"]: row["value"] for row in scored(made, task)}
        print(f"{run.name}: {value['right']:.0%} right, loss {value['loss']:.2f}", flush=True)
        best.setdefault(run.method, []).append((value["right"], -value["loss"], run.adapter.learning_rate))
    return [max(found)[-1] for found in best.values()]


def measure(base: Base, scale: str) -> pd.DataFrame:
    """Sample and tune what is missing; one row per tuning, kind of question and score.

    Columns: task, setting, method, ratio, seed, prompts, score, value, examples, rate, updates, run.  Raises
    ``BadBase`` when too few of the base's own answers end, ``SweepFailed`` when a tuning failed.
    """
    amount, ratios, table = amounts("everyday", scale), language_model.ratios_of(base, scale), []
    language_model.self_sampled(base, max(ratios) * amount.rows)  # before workers need it
    known, rates = {seed: tasks(base, scale, seed) for seed in amount.seeds}, chosen(base, scale)
    every = [run for seed in amount.seeds for task in TASKS
             for run in runs(scale, task, seed, base.spec, *rates) if (run.ratio or 0) in ratios]  # fmt: skip
    for run, made in tuned(every, base, known).items():
        about = {"task": run.task, "setting": run.setting, "method": run.method, "ratio": run.ratio or 0}
        last = {"rate": run.adapter.learning_rate, "updates": made["updates"], "run": made["digest"]}
        for row in scored(made, known[run.adapter.seed][run.task]):
            table.append(about | {"seed": run.adapter.seed} | row | last)
    return pd.DataFrame(table)


def scored(made: dict[str, Any], task: TuningTask) -> list[dict[str, Any]]:
    """The rows of a finished tuning: scores of its answers by kind of question, and losses of right ones."""
    found = []
    for kind, questions in task.questions.items():
        written, right = language_model.answers(made, kind), [row[-1].content for row in questions]
        values = {name: score(written, right) for name, score in scores_of(task.name, kind).items()}
        values["loss"] = made["losses"][kind]
        found += [{"prompts": kind, "score": name, "value": value, "examples": len(right)}
                  for name, value in values.items()]  # fmt: skip
    if task.old:
        loss = made["losses"][OLD]
        found.append({"prompts": OLD, "score": "loss", "value": loss, "examples": len(task.old)})
    return found


def scores_of(task: str, kind: str) -> dict[str, Score]:
    """What answers to a kind of question are scored by."""
    translates = task == "translation" and kind != "other"
    return {"exact": exact, "chrF": chrf} if translates else everyday.SCORES


def judged(results: pd.DataFrame, criteria: pd.DataFrame, ratio: int) -> pd.DataFrame:
    """Each criterion, read over seeds: a score of method ``one`` less that of ``other``, on some prompts.

    It holds when the mean is at least the criterion's ``least`` and the difference is positive on every seed.
    The first criterion says what it is to have learned its task.  On that task a comparison is not judged
    where a method but the base has not, for it keeps whatever the base has; nor where a method was not run.
    Methods are those of the setting ``learning``, DELIA at a ratio.
    """
    part = results[(results["setting"] != "published") & results["ratio"].isin([0, ratio])]
    first, *_ = rows = criteria.to_dict("records")
    found = []

    def gap(row: dict[str, Any], one: str, other: str) -> pd.Series:
        here = part[(part[_WHERE] == [row[name] for name in _WHERE]).all(axis=1)]
        missing = pd.Series(math.nan, here["seed"].unique())
        wide = here.pivot(index="seed", columns="method", values="value")
        return wide.get(one, missing) - wide.get(other, missing)

    def holds(row: dict[str, Any], apart: pd.Series) -> bool:
        return apart.mean() >= row["least"] and apart.min() > 0

    for row in rows:
        apart = gap(row, row["one"], row["other"])
        tuned = {row["one"], row["other"]} - {first["other"]} if row["task"] == first["task"] else ()
        learned = all(holds(first, gap(first, method, first["other"])) for method in tuned)
        verdict = "holds" if holds(row, apart) else "does not hold"
        if apart.isna().any() or not (learned or row is first):
            verdict = "not judged"
        numbers = {"mean": apart.mean(), "lowest": apart.min(), "highest": apart.max()}
        found.append(row | numbers | {"verdict": verdict})
    return pd.DataFrame(found)
