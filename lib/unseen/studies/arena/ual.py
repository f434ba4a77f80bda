"""Uncertainty Aware Learning (UAL): each sample's labels are smoothed by that sample's own uncertainty.

*Claim.* At equal data and steps this beats hard labels, and the same amount of smoothing for all.
*Source.* Wang and others, ACL 2024, pages 11087 to 11099, arXiv 2406.04854; no code was published.
*Formula.* A more capable model says before training how uncertain each sample i is (u_i); v_i is linear in
u_i; the loss of each token is cross-entropy towards (1 - v_i) of its label and v_i of the uniform
distribution.
*Ours.* The slope of the map was not published: here v_i = v u_i / mean(u), so that all ways of smoothing
smooth equally much.  The paper elicits u_i from GPT-4.  Here it is the entropy of the answer: the world's
own (``entropy``), or that of two models tuned on ten times the rows (``teacher``).
*A real model.* SmolLM2 on the styles of ``worlds.styles``, smoothed over its whole vocabulary.

    >>> smoothing_of(np.array([0.0, 1.0, 2.0]), 0.1).round(3).tolist()
    [0.0, 0.1, 0.2]
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from unseen.evaluation import all_right, behind, greedy_answers, log_probabilities
from unseen.lm import tune
from unseen.lm.load import Loaded
from unseen.model import Transformer
from unseen.objectives import Objective, objective_of
from unseen.runs.following import followed
from unseen.runs.store import Store
from unseen.runs.sweep import frame
from unseen.runs.workers import Executor, Tell
from unseen.scales import amounts, each_seed
from unseen.specs import RunSpec
from unseen.studies.arena import real
from unseen.studies.arena.answers import tuned
from unseen.studies.delia import base_run, ready, tuning
from unseen.worlds import everyday
from unseen.worlds.base import Examples, generator
from unseen.worlds.dialect import DialectSpec, Row, entropy
from unseen.worlds.styles import Asked, Style, lines, styles

ARMS = {
    "hard": "hard labels",
    "constant": "constant smoothing",
    "student": "the student's own",
    "shuffled": "UAL, shuffled",
    "teacher": "UAL, a teacher's",
    "entropy": "UAL, true entropy",
}
TEACHERS = 2  # models whose mean says how uncertain an answer is
MORE = 10  # times the student's rows, for each teacher
REAL, REAL_ARMS = "real_ual", ("hard", "constant", "shuffled", "entropy")  # of a real model


# The method


def smoothing_of(uncertainty: np.ndarray, mean: float) -> np.ndarray:
    """How much to smooth each sample (N,): linear in its ``uncertainty`` (N,), and ``mean`` on average.

    Raises ``ValueError`` when all are certain, or when a label would keep less than nothing.
    """
    if not uncertainty.mean() > 0:
        raise ValueError("uncertainty: all samples are certain, so there is nothing to smooth by")
    amount = mean * uncertainty / uncertainty.mean()
    if amount.max() > 1:
        raise ValueError(
            f"mean={mean:g}: the most uncertain sample would be smoothed by {amount.max():.2f}, over 1"
        )
    return amount


def loss_of(logits: Tensor, answers: Tensor, amount: Tensor) -> Tensor:
    """Cross-entropy of logits (B, O, V) and answers (B, O) with the labels of each sample smoothed by its
    ``amount`` (B,).

    >>> logits, answers = torch.tensor([[[2.0, 0.0]]]), torch.tensor([[0]])
    >>> [round(loss_of(logits, answers, torch.tensor([v])).item(), 3) for v in (0.0, 1.0)]
    [0.127, 1.127]
    """
    shares = logits.log_softmax(-1)
    label = shares.gather(-1, answers[..., None]).squeeze(-1).mean(1)  # (B,)
    return -((1 - amount) * label + amount * shares.mean((1, 2))).mean()


# What a sample's uncertainty is


def uncertainty_of(arm: str, run: RunSpec, rows: Sequence[Row]) -> np.ndarray:
    """The uncertainty of each row (N,) as an arm has it, in bits where it is an entropy."""
    if arm == "teacher":
        return teachers_entropy([Store().model(teacher) for teacher in teachers(run)], run.task.of_rows(rows))
    compounds = run.task.split().seen
    true = np.array([entropy(compounds[row.compound].answers(row.query.text)) for row in rows])
    return dealt(arm, true, run.task.example_seed)


def dealt(arm: str, true: np.ndarray, seed: int) -> np.ndarray:
    """The true uncertainty of rows (N,) as an arm has it: as it is, constant, or dealt to other rows."""
    if arm == "shuffled":
        return generator(seed, "shuffled uncertainty").permutation(true)
    return true if arm == "entropy" else np.ones(len(true))


@torch.no_grad()
def teachers_entropy(models: Sequence[Transformer], examples: Examples) -> np.ndarray:
    """The entropy in bits (N,) of each answer's tokens, each given those before, under the models' mean.

    On average over answers drawn by the models this is the entropy of the answer (the chain rule).
    """
    tokens = torch.from_numpy(examples.tokens()).long()
    mean = torch.stack([model(tokens[:, :-1]).softmax(-1) for model in models]).mean(0)  # (N, O, V)
    counts = ~behind(examples.answers, examples.layout.special("end"))
    return (torch.special.entr(mean).sum(-1).numpy() * counts).sum(1) / np.log(2)


def objective(arm: str, run: RunSpec, strength: float) -> Objective:
    """What an arm minimises: a row of training is known again by its tokens."""
    if arm in ("hard", "student"):
        return objective_of(run.training.but(smoothing=0.0 if arm == "hard" else strength))
    rows = run.task.training_rows(run.task.split())
    smoothing = smoothing_of(uncertainty_of(arm, run, rows), strength).tolist()
    table = dict(zip(map(bytes, run.task.of_rows(rows).tokens()), smoothing, strict=True))

    def by_row(model: nn.Module, tokens: Tensor) -> Tensor:
        logits = model(tokens[:, :-1])
        amount = torch.tensor([table[bytes(row)] for row in tokens.to(torch.uint8).numpy()])
        return loss_of(logits, tokens[:, -logits.size(1) :], amount)

    return by_row


# What is trained


def student(name: str) -> RunSpec:
    """The tuning of a scale on the dialect, with hard labels."""
    much = amounts("ual", name)
    task = DialectSpec(certain=much.compounds, shared=much.compounds, corrupted=much.compounds,
                       examples=3 * much.compounds * much.rows)  # fmt: skip
    return tuning(base_run(name), task, much.prompts, steps=much.updates)


def teachers(run: RunSpec) -> list[RunSpec]:
    """The teachers of a student: the same compounds, more rows, drawn anew for each teacher."""
    task, first = run.task, 1_000 * (1 + run.task.example_seed)
    return [
        run.but(task=task.but(examples=MORE * task.examples, example_seed=first + number))
        for number in range(TEACHERS)
    ]


def measure(name: str, executor: Executor | None = None) -> pd.DataFrame:
    """A row per arm, strength, seed and kind of compound; what is missing is trained first.

    Columns: arm, strength, seed, kind (of ``dialect.KINDS``, or ``language``), right (the greedy answer is
    one of those meant), divergence (from the true distribution of answers, in nats), confidence (the
    probability of the own answer), deserved (its true probability), gap (the mean distance of the two),
    queries, run.
    """
    much, tables = amounts("ual", name), []
    ready([base_run(name)], executor)
    runs = each_seed("ual", name, student(name)).runs()
    frame([teacher for run in runs for teacher in teachers(run)], Store(), executor)
    for arm in ARMS:
        for strength in much.strengths if arm != "hard" else (0.0,):
            follow = partial(follow_way, arm=arm, strength=strength)
            tables += followed(runs, follow, f"ual-{arm}-{strength:g}-1", executor, arm)
    return pd.concat(tables, ignore_index=True)


def follow_way(run: RunSpec, tell: Tell, arm: str, strength: float) -> pd.DataFrame:
    """Tune the base in one way and measure what it has learned, for a worker."""
    examples = run.task.training(run.task.split())
    model = tuned(run, examples, lambda row: tell(int(row["step"])), objective(arm, run, strength))
    rows = scored(run, model)
    of_run = {"arm": arm, "strength": strength, "seed": run.task.rule_seed}
    return pd.DataFrame([{**of_run, **row, "run": run.digest()} for row in rows])


# What is measured


def scored(run: RunSpec, model: Transformer) -> list[dict[str, object]]:
    """The measures of one model on fresh queries, by kind of compound, and on the language at large."""
    split, size, seed = run.task.split(), run.evaluation.examples, run.evaluation.seed
    rows = run.task.rows(split.seen, np.arange(size) % run.task.instructions, generator(seed, "asked"))
    examples, asked = run.task.of_rows(rows), [(split.seen[row.compound], row.query.text) for row in rows]
    answered = replace(examples, answers=greedy_answers(model, examples.prompts))
    own = [answered.texts(number)[1] for number in range(size)]
    true = [compound.answers(text) for compound, text in asked]
    queries = pd.DataFrame({
        "kind": [compound.kind for compound, _ in asked],
        "right": [each in compound.meant(text) for each, (compound, text) in zip(own, asked, strict=True)],
        "divergence": divergences(run.task, model, rows, true),
        "confidence": log_probabilities(model, answered).exp().numpy(),
        "deserved": [shares.get(each, 0.0) for each, shares in zip(own, true, strict=True)],
    })  # fmt: skip
    at_large = float(all_right(model, run.task.evaluation(split, size, seed)["unseen"]).mean())
    return [*_by_kind(queries), {"kind": "language", "right": at_large, "queries": size}]


def _by_kind(queries: pd.DataFrame) -> list[dict[str, Any]]:
    """The means over the queries of each kind, with the gap of confidence; None where there is none."""
    queries["gap"] = (queries["confidence"] - queries["deserved"]).abs()
    means = queries.groupby("kind", sort=False).mean().assign(queries=queries["kind"].value_counts())
    return real.records(means.reset_index())


def divergences(
    task: DialectSpec, model: Transformer, rows: Sequence[Row], true: Sequence[Mapping[str, float]]
) -> np.ndarray:
    """How far (N,) a model's answers to rows are from the true distributions: Kullback-Leibler, in nats."""

    def likely(which: Sequence[int], answers: Sequence[str]) -> np.ndarray:
        said = [rows[at]._replace(answer=answer) for at, answer in zip(which, answers, strict=True)]
        return log_probabilities(model, task.of_rows(said)).numpy()

    return diverged(true, likely)


def diverged(
    true: Sequence[Mapping[str, float]], likely: Callable[[Sequence[int], Sequence[str]], np.ndarray]
) -> np.ndarray:
    """The divergence (N,) from true distributions of answers of what ``likely`` gives as log probabilities,
    from the places of queries and answers to them.

    >>> diverged([{"a": 0.5, "b": 0.5}], lambda which, answers: np.log([0.25, 0.25])).round(3).tolist()
    [0.693]
    """
    every = [(at, answer, share) for at, shares in enumerate(true) for answer, share in shares.items()]
    which, answers, shares = map(list, zip(*every, strict=True))
    lost = np.array(shares) * (np.log(shares) - likely(which, answers))
    return np.bincount(which, lost, len(true))


# A real language model


def measure_real(name: str, folder: Path) -> pd.DataFrame:
    """A row per arm, seed and kind of style; what is missing is tuned first.

    Columns: arm, kind, right (the greedy answer has a format that is meant, and the right content), content
    (it has that in whatever format), divergence, confidence, deserved, gap (these three of answers that
    ended), ended, queries, seed, seconds, run, base.
    """
    return real.measure(REAL, REAL_ARMS, name, folder, follow_real)


def follow_real(work: real.Work, folder: Path, tell: Tell) -> list[dict[str, Any]]:
    """Tune the base in one way and measure what it has learned, for a worker."""
    much, seed = amounts(work.study, work.scale), work.seed
    chosen, loaded = styles(seed, *much.styles), real.begun(work, folder)
    drawn, asked = (
        lines(seed, chosen, np.arange(many) % len(chosen), test)
        for many, test in ((much.rows, False), (much.prompts, True))
    )
    true = np.array([entropy(chosen[line.style].shares()) for line in drawn])
    amount = smoothing_of(dealt(work.arm, true, seed), 0.0 if work.arm == "hard" else much.strength)
    rows = [(*row, each) for row, each in zip(real.rows_of(loaded, drawn), amount.tolist(), strict=True)]
    objective = tune.Objective(smoothed_total, tune.answer_tokens)
    tune.tune(loaded, work.training, rows, say=lambda note: None, watch=tell, objective=objective)
    return scored_real(loaded, chosen, asked)


def smoothed_total(loaded: Loaded, rows: Sequence[tuple[list[int], list[int], float]]) -> Tensor:
    """The sum over the answers' tokens of the loss, of rows with the amount by which each is smoothed."""
    logits, right = tune.along_answers(loaded, [row[:2] for row in rows])
    amount = torch.tensor([amount for _, answer, amount in rows for _ in answer], device=logits.device)
    return len(right) * loss_of(logits[:, None], right[:, None], amount)


def scored_real(loaded: Loaded, chosen: Sequence[Style], asked: Sequence[Asked]) -> list[dict[str, Any]]:
    """The measures of a tuned model on lines of a test, by kind of style."""
    own, meant = real.written(loaded, asked), [chosen[line.style] for line in asked]
    true = [
        {line.right(form): share for form, share in style.shares().items()}
        for line, style in zip(asked, meant, strict=True)
    ]

    def likely(which: Sequence[int], answers: Sequence[str]) -> np.ndarray:
        return real.likely(loaded, real.rows_with(loaded, [asked[at] for at in which], answers))

    ended, said = [text is not None for text in own], [text or "" for text in own]
    queries = pd.DataFrame({
        "kind": [style.kind for style in meant],
        "right": [any(everyday.right(text, line.right(form)) for form in style.forms)
                  for text, line, style in zip(own, asked, meant, strict=True)],
        "content": [everyday.content(text, line.right()) for text, line in zip(own, asked, strict=True)],
        "divergence": diverged(true, likely),
        "confidence": np.where(ended, np.exp(likely(range(len(own)), said)), np.nan),
        "deserved": np.where(ended, [shares.get(text, 0.0) for text, shares in zip(said, true, strict=True)],
                             np.nan),
        "ended": ended,
    })  # fmt: skip
    return _by_kind(queries)
