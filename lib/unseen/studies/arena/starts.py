"""Pre-trainings on some operations, held against each other by what few rows of a new one make of them."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd

from unseen.evaluation import all_right
from unseen.model import Transformer, differentiable
from unseen.runs.following import followed
from unseen.runs.workers import Executor, Tell
from unseen.scales import amounts
from unseen.specs import EvaluationSpec, ModelSpec, RunSpec, TrainingSpec
from unseen.studies.arena.meta import Pretraining, objective
from unseen.studies.delia import RATE
from unseen.training import Data, data_of, start, train
from unseen.worlds.base import Examples, generator
from unseen.worlds.operations import OperationsSpec

ARMS = {
    "k = 0": Pretraining(),
    "k = 0, twice the steps": Pretraining(longer=2),
    "k = 0, four times the steps": Pretraining(longer=4),
    "k = 1, first order": Pretraining(1),
    "k = 1, second order": Pretraining(1, "second"),
    "k = 1, mixed": Pretraining(1, mixed=True),
    "k = 2, first order": Pretraining(2),
    "Reptile": Pretraining(1, "Reptile"),
    "oracle": Pretraining(longer=2),
}


def pretrained(name: str) -> RunSpec:
    """The pre-training of a scale with k = 0."""
    much = amounts("meta", name)
    task = OperationsSpec(examples=much.examples)
    training = TrainingSpec(
        steps=much.steps,
        batch=much.batch,
        learning_rate=0.01,
        matrix_learning_rate=0.015,
        evaluate_every=much.steps,
        checkpoint_every=1_000_000,
    )
    return RunSpec(task, ModelSpec(**much.model), training, EvaluationSpec(much.prompts))


def measure(name: str, executor: Executor | None = None) -> pd.DataFrame:
    """A row per arm, seed, held-out operation, rows and steps of tuning; what is missing is trained first.

    Columns: arm, k, order, seed, gradients (thousands, in pre-training), seconds (of it), operation (held
    out, or ``trained`` for all others), rows, steps, right, run.
    """
    much, tables = amounts("meta", name), []
    runs = [pretrained(name).with_seed(seed) for seed in much.seeds]
    for arm in ARMS:
        follow = partial(follow_arm, arm=arm, rate=much.rate, rows=much.rows, steps=much.tuning)
        named = f"meta-{arm.replace(' ', '').replace(',', '-').replace('=', '')}-{much.rate:g}-1"
        tables += followed(runs, follow, named, executor, arm)
    return pd.concat(tables, ignore_index=True)


def follow_arm(
    run: RunSpec, tell: Tell, arm: str, rate: float, rows: Sequence[int], steps: Sequence[int]
) -> pd.DataFrame:
    """Pre-train in one way and tune it on few rows of each held-out operation, for a worker."""
    way, split = ARMS[arm], run.task.split()
    longer = run.but(training=run.training.but(
        steps=round(way.longer * run.training.steps), batch=(way.k + 1) * run.training.batch,
        evaluate_every=round(way.longer * run.training.steps)))  # fmt: skip
    if arm == "oracle":
        longer = longer.with_task(instructions=run.task.instructions + run.task.unseen_instructions)
    state = start(longer)
    differentiable(state.model)
    data = data_of(longer)
    train(longer, state, replace(data, evaluation={}), lambda row: tell(int(row["step"])),
          objective=objective(longer, way, rate))  # fmt: skip
    asked = run.task.evaluation(split, run.evaluation.examples, run.evaluation.seed)
    right = float(all_right(state.model, asked["seen"]).mean())
    lines = [{"operation": "trained", "rows": 0, "steps": 0, "right": right}]
    for at, operation in enumerate(split.unseen):
        mine = asked["unseen"].where(asked["unseen"].rule == at)
        for count in rows:
            drawn = run.task.draw(
                split.unseen, np.full(count, at), generator(run.task.example_seed, f"few {at}")
            )
            for step, right in tuned(run, state.model, drawn, mine, steps):
                lines.append({"operation": operation, "rows": count, "steps": step, "right": right})
    about = {
        "arm": arm,
        "k": way.k,
        "order": way.order if way.k else "",
        "seed": run.task.rule_seed,
        "gradients": longer.training.steps * (way.k + 1) / 1_000,
        "seconds": state.history[-1]["seconds"],
    }
    return pd.DataFrame(lines).assign(**about, run=run.digest())


def tuned(
    run: RunSpec, model: Transformer, rows: Examples, asked: Examples, steps: Sequence[int]
) -> Iterator[tuple[int, float]]:
    """How often a copy of a model is right on what is asked, after so many steps of tuning on rows."""
    few = run.with_task(examples=len(rows), instructions=1)
    training = TrainingSpec(batch=32, learning_rate=RATE, matrix_learning_rate=0.0, decay_share=0.0)
    state = start(few.but(training=training))
    state.model.load_state_dict(model.state_dict())
    for step in steps:
        if step:
            train(few.but(training=training.but(steps=step)), state, Data(None, rows, {}))
        yield step, float(all_right(state.model, asked).mean())
