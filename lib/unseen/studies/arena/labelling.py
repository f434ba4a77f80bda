"""Choosing for a target (notebook 31, second half): of a pool those rows get a label that a learner asks for.

A classifier on a base says which operation a request means.  Arms start from the same random rows and add
equally many each round; the questions are about all operations equally often.
"""

from functools import partial
from itertools import cycle, islice

import numpy as np
import pandas as pd
import torch

from unseen.model import seeded
from unseen.runs.following import followed
from unseen.runs.store import Store
from unseen.runs.workers import Executor, Tell
from unseen.scales import amounts
from unseen.specs import EvaluationSpec, RunSpec, TrainingSpec
from unseen.studies.arena import bald
from unseen.studies.arena.targets import base_of
from unseen.studies.delia import ready
from unseen.worlds.base import Examples, generator
from unseen.worlds.gaps import POOL, RequestsSpec
from unseen.worlds.language import OPERATIONS

ARMS = {
    "random": "random rows",
    "entropy": "most uncertain (entropy)",
    "BALD": "BALD",
    "balanced": "every operation equally often",
}
POOLS = ("even", "long-tailed")
START = 10  # labels at first


def learning(name: str) -> RunSpec:
    """What a scale tunes a classifier on at most: as many rows of the pool as get a label."""
    much, base = amounts("bald", name), base_of(name)
    training = TrainingSpec(steps=much.updates, batch=32, learning_rate=much.rate, matrix_learning_rate=0.0)
    task = RequestsSpec(pool=much.pool, examples=much.labels)
    return RunSpec(task, base.model.but(base=base.digest()), training, EvaluationSpec(much.prompts))


def measure(name: str, executor: Executor | None = None) -> pd.DataFrame:
    """A row per pool, arm, F, seed and round; what is missing is trained first.

    Columns: pool (of ``POOLS``), arm, frozen (F), seed, labels, right (on queries about all operations
    equally often), missing (operations without a label), uneven (labels of the commonest minus those of the
    rarest), run.
    """
    much = amounts("bald", name)
    ready([base_of(name)], executor)
    runs = [learning(name).with_seed(seed) for seed in much.seeds]
    ways = [(pool, arm, 0) for pool in POOLS for arm in ARMS]
    ways += [("even", "BALD", frozen) for frozen in much.frozen]
    tables = []
    for pool, arm, frozen in ways:
        follow = partial(follow_way, pool=pool, arm=arm, frozen=frozen, more=much.round)
        tables += followed(
            runs, follow, f"bald-{pool}-{arm}-{frozen}-{much.round}-1", executor, f"{arm}, {pool}, {frozen}"
        )
    return pd.concat(tables, ignore_index=True)


def follow_way(run: RunSpec, tell: Tell, pool: str, arm: str, frozen: int, more: int) -> pd.DataFrame:
    """Label ``more`` rows a round and learn from all, for a worker."""
    rows, asked = pool_of(run, pool), questions(run)
    prompts, labels = torch.from_numpy(rows.prompts).long(), torch.from_numpy(rows.rule).long()
    taken, base, found = torch.arange(len(rows)) < START, Store().base(run), []
    named = f"{arm}, F = {frozen}" if frozen else arm
    of_way = {"pool": pool, "arm": named, "frozen": frozen, "seed": run.task.rule_seed}
    with seeded(run.task.example_seed):
        for number in range(START, min(run.task.examples, len(rows) - more) + 1, more):
            model = bald.learned(base, prompts[taken], labels[taken], len(OPERATIONS), frozen, run.training)
            counts = torch.bincount(labels[taken], minlength=len(OPERATIONS))
            about = {"missing": int((counts == 0).sum()), "uneven": int(counts.max() - counts.min())}
            found.append({**of_way, "labels": number, "right": right(model, asked), **about})
            tell(number)
            score = bald.wanted(arm, model, prompts, labels, taken).masked_fill(taken, -torch.inf)
            taken[score.topk(more).indices] = True
    return pd.DataFrame(found).assign(run=run.digest())


def pool_of(run: RunSpec, pool: str) -> Examples:
    """The pool in random order; in a long-tailed one the operation of rank k keeps one of k of its rows."""
    task = run.task
    rows = task.rows(task.candidates())
    rng = generator(task.example_seed, "labelled first")
    rank = 1 + rng.permutation(len(OPERATIONS))[rows.rule]
    kept = rng.random(task.pool) < 1 / rank if pool == "long-tailed" else np.full(task.pool, True)
    return rows.where(rng.permutation(np.flatnonzero(kept)))


def questions(run: RunSpec) -> Examples:
    """Queries about all operations in turn, in the words of the pool."""
    rng = generator(run.evaluation.seed, "asked for a class")
    names = islice(cycle(OPERATIONS), run.evaluation.examples)
    return run.task.rows([run.task.asked(rng, POOL, name) for name in names])


@torch.no_grad()
def right(model: bald.Classifier, asked: Examples) -> float:
    """The share of queries whose operation a classifier names, without dropout."""
    model.eval()
    answers = model(torch.from_numpy(asked.prompts).long()).argmax(-1).numpy()
    model.train()
    return float((answers == asked.rule).mean())
