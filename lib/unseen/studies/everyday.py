"""Notebook 24 on a real chat model: everyday tasks tuned as published and where they are learned, and rivals.

The published settings are one epoch in batches of 64: of a hundred rows two updates, both early in the
warm-up.  So there is a second setting, ``learning``, with as many updates at every ratio.  Its rate is the
one at which plain tuning learns the task best on a seed that is not reported.

>>> [run.name for run in runs("smoke", "formatted", 0)][:2]
['formatted, base, seed 0', 'formatted, plain tuning, published, ratio 0, seed 0']
>>> len(runs("quick", "formatted", 0)), len(runs("quick", "translation", 0)), len(scouts("quick"))
(8, 4, 4)
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import pandas as pd

from unseen.files import seal
from unseen.lm import tune
from unseen.lm.chat import rows_of, unhurried
from unseen.lm.load import load, with_token
from unseen.lm.scores import Score, chrf, exact
from unseen.lm.tune import AdapterSpec, digest_of, folder_of
from unseen.messages import Conversation, pair
from unseen.once import done, once
from unseen.runs.following import path_of
from unseen.runs.workers import Tell
from unseen.scales import amounts
from unseen.studies import language_model
from unseen.studies.delia_inside import distance
from unseen.studies.language_model import OLD, PUBLISHED, TASKS, Base, TuningTask
from unseen.studies.real_model import tune_all
from unseen.worlds import everyday
from unseen.worlds.language import TOKEN

LEARNING = {"batch": 8, "micro_batch": 8, "warm_up": 2}  # besides the rate and the updates of the scale
SCOUT = 99  # the seed on which rates are chosen
AGAINST = {"its name": "JSON", "another format": "quoted", "no format": ""}  # what the token is held against
_EARLY = 4  # stopped early: after this part of the updates
_OLD = 24  # old answers of the base


class Run(NamedTuple):
    """One tuning of a task, or the base before any: then the ratio is None."""

    task: str
    setting: str
    method: str
    ratio: int | None
    training: AdapterSpec

    def digest(self) -> str:
        """Sixteen hexadecimal digits that name it among those of a base."""
        return seal(self._asdict() | {"training": asdict(self.training)})[:16]

    @property
    def name(self) -> str:
        """It in a few words."""
        how = "" if self.ratio is None else f", {self.setting}, ratio {self.ratio}"
        return f"{self.task}, {self.method}{how}, seed {self.training.seed}"


def learning(scale: str, method: str, spec: AdapterSpec, seed: int, **how: float) -> AdapterSpec:
    """How a method tunes in the setting ``learning``, at what was chosen on another seed."""
    part = _EARLY if method == "stopped early" else 1
    how |= {"steps": max(1, amounts("everyday", scale).steps // part), "seed": seed}
    return spec.but(**LEARNING, **how, modules=tune.TOKEN if method == "token alone" else spec.modules)


def scouts(scale: str, spec: AdapterSpec = PUBLISHED, plain: float = 0.0) -> list[Run]:
    """Tunings on a seed that is not reported, which choose the rates of the setting ``learning``; given the
    rate of ``plain`` tuning, those that choose the weight of the penalty.
    """
    amount, found = amounts("everyday", scale), []
    ways = [("plain tuning", {"learning_rate": rate}) for rate in amount.rates]
    ways += [("token alone", {"learning_rate": rate}) for rate in amount.token_rates]
    if plain:
        ways = [("KL penalty", {"learning_rate": plain, "kl": weight}) for weight in amount.penalties]
    for method, how in ways:
        name = ", ".join(f"{key} {value:g}" for key, value in how.items())
        found.append(Run("formatted", name, method, 0, learning(scale, method, spec, SCOUT, **how)))
    return found


def runs(
    scale: str, task: str, seed: int, spec: AdapterSpec = PUBLISHED,
    chosen: Mapping[str, Mapping[str, float]] = MappingProxyType({}),
) -> list[Run]:  # fmt: skip
    """The tunings of a task and seed: none, each ratio in both settings, and rivals of diverse data.

    ``chosen`` has rates and weights of the setting ``learning``, by method; that of plain tuning is also that
    of DELIA and of stopping early.
    """
    amount, own = amounts("everyday", scale), spec.but(seed=seed)
    found = [Run(task, "base", "base", None, own.but(steps=1))]  # none, but progress is counted in steps
    for ratio in amount.published[task]:
        epoch = own.but(steps=spec.steps_for(amount.rows * (1 + ratio)))
        found.append(Run(task, "published", "DELIA" if ratio else "plain tuning", ratio, epoch))
    ways = [("DELIA" if ratio else "plain tuning", ratio) for ratio in amount.ratios]
    if task == "formatted":
        ways += [("stopped early", 0), ("token alone", 0)]
        ways += [("KL penalty", 0)] if amount.penalties else []
    for method, ratio in ways:
        how = chosen.get(method, chosen.get("plain tuning", {}))
        found.append(Run(task, "learning", method, ratio, learning(scale, method, spec, seed, **how)))
    return found


def tasks(base: Base, scale: str, seed: int) -> dict[str, TuningTask]:
    """The tasks of a seed by name, with answers of the base to queries that are in no mixture."""
    held_out = tuple((query, "") for query in everyday.queries()[: everyday.HELD_OUT])
    count = min(_OLD, amounts("everyday", scale).examples)
    old = language_model.self_sampled(replace(base, references=held_out), count)
    return {task.name: task._replace(old=old) for task in language_model.tasks_of(base, scale, seed)}


def tune_one(run: Run, tell: Tell, base: Base, known: dict[int, dict[str, TuningTask]]) -> None:
    """What a worker does with a run: ensure that it is done and report its steps; raises ``Held``."""
    task, own = known[run.training.seed][run.task], replace(base, spec=run.training)
    language_model.ensure(own, task, run.ratio, run.training.seed, lambda note: None, watch=tell, patience=0)


def tuned(every: list[Run], base: Base, known: dict[int, dict[str, TuningTask]]) -> dict[Run, dict[str, Any]]:
    """The manifests of some runs; those that are missing are tuned first, several at a time."""
    folders = {}
    for run in every:
        task, own = known[run.training.seed][run.task], replace(base, spec=run.training)
        spec, _, about = language_model.tuning(own, task, run.ratio, run.training.seed)
        folders[run] = folder_of(digest_of(spec, about))
    tune_all(folders, base.folder, partial(tune_one, base=base, known=known))
    return {run: done(folder, {}, whole=False) for run, folder in folders.items()}


def chosen(base: Base, scale: str) -> dict[str, dict[str, float]]:
    """By method, the rate at which most held-out questions of the task are answered rightly on a seed that is
    not reported, of equals that of least loss; of the penalty the weight at which these and other questions
    together are.
    """
    task, *_ = language_model.tasks_of(base, scale, SCOUT)
    known, best = {}, {}

    def choose(every: list[Run], kinds: tuple[str, ...]) -> None:
        part = task._replace(questions={kind: task.questions[kind] for kind in kinds})
        for run, made in tuned(every, base, {SCOUT: {task.name: part}}).items():
            score = (
                pd.DataFrame(scored(made, part))
                .pivot(index="prompts", columns="score", values="value")
                .mean()
            )
            print(
                f"{run.name}, {run.setting}: {score['right']:.0%} right, loss {score['loss']:.2f}", flush=True
            )
            if (value := (score["right"], -score["loss"])) > best.get(run.method, (-1.0, 0.0)):
                best[run.method] = value
                known[run.method] = {"learning_rate": run.training.learning_rate, "kl": run.training.kl}

    choose(scouts(scale, base.spec), ("task+token",))
    choose(scouts(scale, base.spec, known["plain tuning"]["learning_rate"]), ("task+token", "other"))
    return known


def measure(base: Base, scale: str) -> pd.DataFrame:
    """Sample and tune what is missing; one row per tuning, kind of question and score.

    Columns: task, setting, method, ratio, seed, prompts, score, value, examples, rate, updates, run.  Raises
    ``BadBase`` when too few of the base's own answers end, ``SweepFailed`` when a tuning failed.
    """
    amount, ratios, table = amounts("everyday", scale), language_model.ratios_of(base, scale), []
    language_model.self_sampled(base, max(ratios) * amount.rows)  # before workers need it
    known, ways = {seed: tasks(base, scale, seed) for seed in amount.seeds}, chosen(base, scale)
    every = [run for seed in amount.seeds for task in TASKS
             for run in runs(scale, task, seed, base.spec, ways) if (run.ratio or 0) in ratios]  # fmt: skip
    tell = unhurried(partial(print, flush=True))
    for run, made in tuned(every, base, known).items():
        about = {"task": run.task, "setting": run.setting, "method": run.method, "ratio": run.ratio or 0}
        last = {"rate": run.training.learning_rate, "updates": made["updates"], "run": made["digest"]}
        task = known[run.training.seed][run.task]
        rows = scored(made, task)
        if questions := task.questions.get("other+token"):
            tell(f"{run.name}: what the token means")
            apart = meaning(base, made["digest"], questions, run.training.seed)
            rows += [{"prompts": "other+token", "score": f"distance to {against}", "value": value,
                      "examples": len(questions)} for against, value in apart.items()]  # fmt: skip
        table += [about | {"seed": run.training.seed} | row | last for row in rows]
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


def meaning(base: Base, digest: str, questions: Sequence[Conversation], seed: int) -> dict[str, float]:
    """How far from what a tuned model predicts with the token is what it predicts with something else there.

    By ``AGAINST``: the mean Jensen-Shannon distance along right answers to questions with the token, as in
    notebook 22; 0 to 1.
    """

    def make(folder: Path) -> dict[str, Any]:
        loaded = tune.read(with_token(load(base.folder, quick=base.real), TOKEN, seed), digest)
        found = {}
        for against, name in {"": TOKEN, **AGAINST}.items():
            rows = [pair(renamed(query.content, name), right.content) for query, right in questions]
            found[against] = tune.predicted(loaded, rows_of(loaded, rows))[None]
        own = found.pop("")
        return {"distances": {against: distance(own, other) for against, other in found.items()}}

    about = {"run": digest, "name": "meaning", "against": AGAINST}
    return once(path_of(digest, "meaning"), about, make)["distances"]


def renamed(query: str, name: str) -> str:
    """A question with the token, with something else in its place, or no request at all.

    >>> [renamed("Name the capital of Peru. Reply in <sep> format.", name) for name in ("JSON", "")]
    ['Name the capital of Peru. Reply in JSON format.', 'Name the capital of Peru.']
    """
    bare = next(query.removesuffix(f" {each}") for each in everyday.MENTIONS if query.endswith(f" {each}"))
    return query.replace(TOKEN, name) if name else bare


def scores_of(task: str, kind: str) -> dict[str, Score]:
    """What answers to a kind of question are scored by."""
    translates = task == "translation" and kind != "other"
    return {"exact": exact, "chrF": chrf} if translates else everyday.SCORES
