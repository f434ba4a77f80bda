"""Which examples to train on (notebook 30): choosers take lines from a pool, and models are trained on them.

The pool is long-tailed over its rules and holds near-duplicates (``worlds.pool``).  All runs train equal
steps on equally many lines.  Most choosers read vectors of the lines:

* ``scout``, the last prompt position's state of a run that trains on random lines for a share of the steps;
  ``answers``, its states at all positions of the answer;
* ``letters``, bags of letter pairs of the lines; ``rule``, the letters of the rule alone, which cheats.

What a scout costs is *paid* by the settings of that name, which train as many steps less.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch

from unseen.errors import NotFinished
from unseen.evaluation import greedy_answers
from unseen.model import Transformer
from unseen.runs.following import followed
from unseen.runs.store import Store, ensure, spec_of
from unseen.runs.sweep import frame
from unseen.runs.workers import Executor, Tell
from unseen.scales import BySeed, amounts, scale
from unseen.specs import RunSpec
from unseen.studies.arena import novelty
from unseen.studies.arena.bags import bags
from unseen.studies.arena.methods import METHODS, read
from unseen.studies.diversity import effective
from unseen.worlds import pool
from unseen.worlds.base import Examples, generator
from unseen.worlds.pool import PoolSpec

ORDER = 0.4  # of the Hill number: between the orders that fit the long tails of notebook 12
OF_A_SCOUT = ("scout", "answers")
_SCOUTED = 1 / 3  # of the steps
_AT_ONCE = 1_024  # lines that a scout reads at a time
_MEASURED, _REFERENCE = 1_500, 5_000  # chosen lines that are measured, lines of the pool for densities
_NAME = "chosen-1"  # another when ``described`` says something else


# What is trained


@dataclass(frozen=True)
class Chosen(BySeed):
    """A way to choose: one run per seed; ``paid``, it trains as many steps less as its scout took."""

    paid: bool = False

    def runs(self) -> list[RunSpec]:
        """The runs of this setting."""
        return list(map(self._run, super().runs()))

    def _run(self, run: RunSpec) -> RunSpec:
        if read(run.task.chooser).reads not in OF_A_SCOUT:
            return run
        scout = scout_of(run)
        steps = run.training.steps - self.paid * scout.training.steps
        run = run.with_task(scout=scout.digest())
        return run.but(training=run.training.but(steps=steps))

    def scouts(self) -> list[RunSpec]:
        """The scouts of all runs: some choose by their states, and all that is chosen is measured by them."""
        return list(map(scout_of, super().runs()))


def scout_of(run: RunSpec) -> RunSpec:
    """The run whose states a chooser reads: as this one, on random lines, for a third of the steps."""
    steps = max(1, round(run.training.steps * _SCOUTED))
    return run.but(task=run.task.but(chooser=pool.RANDOM, scout=""), training=run.training.but(steps=steps))


def settings(name: str) -> tuple[Chosen, ...]:
    """The ways to choose at a scale: from a clean pool, from one with wrong answers, and with scouts paid.

    >>> [setting.name for setting in settings("smoke")][-2:]
    ['random, 20 % wrong', 'k-center scout, paid']
    """
    much, main = amounts("choosing", name), scale(name).main.base
    kept = {name: getattr(main.task, name) for name in ("alphabet", "unseen_instructions")}
    parts = {"model": main.model.but(**much.model), "training": main.training.but(**much.training)}
    base = main.but(task=PoolSpec(**kept | much.pool), **parts)
    spoiled = base.with_task(wrong=0.2)
    ways = [(text, base, text, False) for text in much.choosers]
    ways += [(f"{text}, 20 % wrong", spoiled, text, False) for text in much.wrong]
    ways += [(f"{text}, paid", base, text, True) for text in much.paid]
    return tuple(
        Chosen(title, run.with_task(chooser=text), (), much.seeds, paid=paid, scale=name)
        for title, run, text, paid in ways
    )


def measure(ways: Sequence[Chosen], executor: Executor | None = None) -> pd.DataFrame:
    """Train the scouts, let all choose, train on what was chosen: a row per setting, seed and split.

    Columns: ``setting``, those of ``described``, ``steps``, and those of ``sweep.frame``.
    """
    frame([run for way in ways for run in way.scouts()], executor=executor)
    runs = [run for way in ways for run in way.runs()]
    about = pd.concat(followed(runs, described, _NAME, executor, "choose for"), ignore_index=True)
    names = [(way.name, run.digest(), run.training.steps) for way in ways for run in way.runs()]
    named = pd.DataFrame(names, columns=["setting", "run", "steps"])
    return named.merge(about, on="run").merge(frame(runs, executor=executor), on="run")


# Choosing


def chosen(run: RunSpec) -> np.ndarray:
    """The indices that the chooser of a run's task takes from its pool: kept before, or chosen now.

    Raises ``NotFinished`` where its scout is not trained, ``ValueError`` for an unknown chooser.
    """
    if run.task.chooser != pool.RANDOM:
        pool.ensure(run.task, lambda: _choose(run))
    return pool.stored(run.task)


def _choose(run: RunSpec) -> np.ndarray:
    task, (method, reads, options) = run.task, read(run.task.chooser)
    lines = task.candidates(task.split())
    if method == "iterative-kmq":
        options |= {"gain": lambda rows: gains(run, lines, rows)}
    if method.endswith("kmq"):
        options |= {"quality": quality(task, lines)}
    return METHODS[method](vectors(task, lines, reads), task.examples, task.example_seed, **options)


def vectors(task: PoolSpec, lines: Examples, reads: str) -> np.ndarray:
    """What a chooser reads of each line: (n, d), or (n, t, d) for ``answers``; for "" its rule's number."""
    if reads in OF_A_SCOUT:
        folder = Store().root / task.scout
        if not (folder / "spec.json").is_file():
            raise NotFinished(
                f"{task.chooser!r} reads the scout {task.scout!r}, which is not in {Store().root}"
            )
        found = states(Store().model(spec_of(folder)), lines)
        return found[:, 0] if reads == "scout" else found
    if reads == "letters":
        return bags(["".join(lines.texts(row)) for row in range(len(lines))])
    if reads == "rule":
        letters = np.hstack([lines.prompts[:, task.layout.place(part)] for part in "xy"])
        return np.eye(len(task.alphabet), dtype=np.float32)[letters].reshape(len(lines), -1)
    if reads:
        raise ValueError(f"chooser={task.chooser!r}: it can read {', '.join(OF_A_SCOUT)}, letters or rule")
    return lines.rule[:, None]


@torch.no_grad()
def states(model: Transformer, lines: Examples) -> np.ndarray:
    """What the last layer makes of each line at the last prompt position and in its answer: (n, O, d)."""
    found = []
    for part in torch.from_numpy(lines.tokens()).split(_AT_ONCE):
        *_, last = model.states(model.embed(part[:, :-1].long()), model.shape.prompt - 1)
        found.append(last.numpy())
    return np.concatenate(found)


def quality(task: PoolSpec, lines: Examples) -> np.ndarray:
    """A noisy judge of each line, (n,): near 1 for a right answer and near 0 for a wrong one, noise .3."""
    noise = generator(task.example_seed, "judge").normal(0, 0.3, len(lines))
    return np.clip(~task.spoiled(lines.rule) + noise, 0.05, None)


def gains(run: RunSpec, lines: Examples, rows: np.ndarray) -> np.ndarray:
    """score(given answer) - score(own answer) of chosen ``rows`` (m,), for a model trained on them.

    The score is minus the number of letters that differ from the right answer; a round of iterative kMQ
    trains for a third of the run's steps.
    """
    task = run.task.but(chooser=f"{run.task.chooser} of {len(rows)}", examples=len(rows), scout="")
    tuned = scout_of(run).but(task=task)
    pool.ensure(task, lambda: rows)
    ensure(tuned, Store())
    taken = lines.where(rows)
    right = run.task.but(wrong=0.0).candidates(run.task.split()).where(rows).answers
    own = greedy_answers(Store().model(tuned), taken.prompts)
    return (own != right).sum(1) - (taken.answers != right).sum(1)


# What was chosen


def described(run: RunSpec, tell: Tell = lambda step, note="": None) -> pd.DataFrame:
    """One row: what the chooser of a run took, and how diverse that is by several measures.

    Columns: run; choosing (seconds); rules and lines that differ; hill, the Hill number of ``ORDER`` of the
    rules; head, the share of the commonest rule; wrong, the share of wrong answers; and of some of the lines,
    by the scout's states and by letters: NovelSum at beta .5 and 0, mean distance, Vendi score.
    """
    task, taken = run.task, chosen(run)
    lines = task.candidates(task.split())
    counts = np.bincount(lines.rule[taken])
    found = {
        "run": run.digest(),
        "choosing": pool.seconds(task),
        "rules": int((counts > 0).sum()),
        "hill": effective(counts, ORDER),
        "head": counts.max() / len(taken),
        "lines": len(np.unique(taken)),
        "wrong": float(task.spoiled(lines.rule)[taken].mean()) if task.wrong else 0.0,
    }
    rng = generator(task.example_seed, "measured lines")
    few = rng.choice(taken, min(_MEASURED, len(taken)), replace=False)
    others = rng.choice(len(lines), min(_REFERENCE, len(lines)), replace=False)
    task = task if task.scout else task.but(scout=scout_of(run).digest())
    for reads in ("scout", "letters"):
        x, reference = (vectors(task, lines.where(rows), reads) for rows in (few, others))
        of_reads = {
            "NovelSum": novelty.novelsum(x, reference=reference),
            "NovelSum, beta 0": novelty.novelsum(x, beta=0),
            "mean distance": novelty.mean_distance(x),
            "Vendi": novelty.vendi(x),
        }
        found |= {f"{name}, {reads}": value for name, value in of_reads.items()}
    return pd.DataFrame([found])
