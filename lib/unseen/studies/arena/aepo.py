"""Annotation-Efficient Preference Optimization (AEPO): which two of N sampled answers should be compared.

*Claim.* At equal annotations, DPO on pairs that are representative and diverse beats random pairs, and
West-of-N, which annotates all N answers of fewer prompts and keeps the best and the worst.
*Source.* Jinnai and Honda, arXiv 2405.13541, and the released code (CyberAgentAILab/annotation-efficient-po,
MIT); DPO: Rafailov and others, arXiv 2305.18290.
*Formula.* Of a set Y of k answers out of N, with similarities S without their diagonal,
f(Y) = sum of S(y, y') over y in Y and all y' / (k (N - 1)) - λ sum of S(y, y') within Y / (k (k - 1)).
DPO: -log sigmoid(β (log-ratio of the chosen - log-ratio of the rejected)), ratios to the tuned
model.
*Ours.* With k = 2 the best pair is found by trying all pairs, in place of a greedy choice and swaps.  The
embedding is the mean last hidden state of the model that answers; the annotator is minus the edit distance
to the right answer, plus noise, and decides ties by a coin.
*A real model.* SmolLM2, half tuned on the styles of ``worlds.styles`` and asked for them.

    >>> close = np.array([[1.0, 0.9, 0.0], [0.9, 1.0, 0.1], [0.0, 0.1, 1.0]])
    >>> [representative(close, trade).tolist() for trade in (0.0, 2.0)]
    [[0, 1], [0, 2]]
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unseen.evaluation import all_right, behind, chunks, log_probabilities, log_probability
from unseen.layout import Layout
from unseen.lm import tune
from unseen.lm.load import Loaded
from unseen.model import Transformer
from unseen.objectives import Objective
from unseen.runs.following import followed
from unseen.runs.store import Store
from unseen.runs.sweep import frame
from unseen.runs.workers import Executor, Tell
from unseen.scales import amounts, each_seed
from unseen.specs import RunSpec
from unseen.studies.arena import answers, real
from unseen.studies.delia import base_run, ready, tuning
from unseen.worlds import everyday
from unseen.worlds.base import Examples, generator
from unseen.worlds.dialect import DialectSpec
from unseen.worlds.styles import Asked, lines, styles


@dataclass(frozen=True)
class Arm:
    """A way to choose two of ``answers`` sampled answers; all are ``annotated``, or only the two."""

    how: str
    answers: int = 8
    trade: float = 0.0
    all: bool = False

    @property
    def annotated(self) -> int:
        """Annotations that a prompt takes."""
        return self.answers if self.all else 2


ARMS = {
    "random pair": Arm("random", 2),
    "random pair, coin decides": Arm("coin", 2),
    "random, but different": Arm("different"),
    "AEPO λ = 0": Arm("aepo"),
    "AEPO λ = 1": Arm("aepo", trade=1.0),
    "West-of-4": Arm("west", 4, all=True),
    "West-of-8": Arm("west", 8, all=True),
    "most and least likely": Arm("likely"),
    "oracle: right and nearest wrong": Arm("oracle"),
}
UNTUNED = "β = 0: the tuned model"
REAL = "real_aepo"  # of a real model, and its arms
REAL_ARMS = (
    "random pair", "random, but different", "AEPO λ = 1", "West-of-8", "oracle: right and nearest wrong",
)  # fmt: skip


# The method


def representative(similar: np.ndarray, trade: float) -> np.ndarray:
    """The two of N answers (2,) with the largest f, from their similarities (N, N); ``trade`` is λ."""
    others = (similar.sum(1) - similar.diagonal()) / (2 * (len(similar) - 1))
    pairs = np.array(list(combinations(range(len(similar)), 2)))
    gain = others[pairs].sum(1) - trade * similar[pairs[:, 0], pairs[:, 1]]
    return pairs[gain.argmax()]


def preference_loss(chosen: Tensor, rejected: Tensor, beta: float) -> Tensor:
    """DPO's loss from the log-ratios (B,) of the chosen and of the rejected answers to the reference model.

    >>> round(preference_loss(torch.zeros(1), torch.zeros(1), 0.1).item(), 3)
    0.693
    """
    return -F.logsigmoid(beta * (chosen - rejected)).mean()


def preference(reference: nn.Module, beta: float, layout: Layout) -> Objective:
    """DPO as an objective: of rows (B, P + 2 O), a prompt with the chosen and the rejected answer."""
    length, end = layout.answer_length, layout.special("end")

    def objective(model: nn.Module, tokens: Tensor) -> Tensor:
        prompts, chosen, rejected = tokens.tensor_split((-2 * length, -length), 1)
        rows = torch.cat([torch.cat([prompts, each], 1) for each in (chosen, rejected)])
        ratios = log_probability(model(rows[:, :-1]), rows[:, -length:], end)
        with torch.no_grad():
            before = log_probability(reference(rows[:, :-1]), rows[:, -length:], end)
        return preference_loss(*(ratios - before).chunk(2), beta)

    return objective


# Answers, and who annotates them


class Pool(NamedTuple):
    """The ``right`` answers to prompts (M, O), and N sampled ones to each: ``answers`` (M, N, O), ``rewards``
    and ``likely`` (log probability), both (M, N), ``similar`` (M, N, N).  Answers are tokens, or one text.
    """

    right: np.ndarray
    answers: np.ndarray
    rewards: np.ndarray
    likely: np.ndarray
    similar: np.ndarray

    def first(self, prompts: int, number: int) -> "Pool":
        """The first so many prompts, with the first so many answers to each."""
        parts = [each[:prompts, :number] for each in (self.answers, self.rewards, self.likely)]
        return Pool(self.right[:prompts], *parts, self.similar[:prompts, :number, :number])


def pool(tuned: RunSpec, prompts: int, number: int) -> tuple[Examples, Pool]:
    """Fresh prompts, and ``number`` answers of a tuned model to each: all arms share them."""
    task, layout, seed, model = tuned.task, tuned.task.layout, tuned.task.rule_seed, Store().model(tuned)
    rng = generator(seed, "prompts of preferences")
    examples = task.of_rows(task.rows(task.split().seen, np.arange(prompts) % task.instructions, rng))
    each = np.repeat(np.arange(prompts), number)
    sampled = answers.sampled(model, examples.prompts[each], layout, seed)
    drawn = replace(examples.where(each), answers=sampled)
    rewards = [-distance(drawn.texts(i)[1], examples.texts(at)[1]) for i, at in enumerate(each)]
    shape = (prompts, number)
    states = F.normalize(embedded(model, drawn), dim=1).view(*shape, -1)
    return examples, Pool(
        examples.answers,
        drawn.answers.reshape(*shape, -1),
        np.array(rewards, float).reshape(shape),
        log_probabilities(model, drawn).numpy().reshape(shape),
        (states @ states.mT).numpy(),
    )


def distance(one: str, other: str) -> int:
    """The edit distance of two texts (Levenshtein).

    >>> distance("ABCD", "ACBD"), distance("", "AB")
    (2, 2)
    """
    row = list(range(len(other) + 1))
    for i, letter in enumerate(one, start=1):
        before, row = row, [i]
        for j, beside in enumerate(other, start=1):
            row.append(min(before[j] + 1, row[-1] + 1, before[j - 1] + (letter != beside)))
    return row[-1]


@torch.no_grad()
def embedded(model: Transformer, examples: Examples) -> Tensor:
    """The mean last hidden state (N, C) over the letters of each answer and its end."""
    end, length, parts = examples.layout.special("end"), examples.answers.shape[1], []
    for tokens in chunks(examples):
        *_, x = model.states(model.embed(tokens[:, :-1]))
        answers = tokens[:, -length:-1]
        counts = (~behind(answers, end)).float()[..., None]
        parts.append((x[:, 1 - length :] * counts).sum(1) / counts.sum(1))
    return torch.cat(parts)


# Which pairs


def pairs(arm: Arm, found: Pool, noise: float, rng: np.random.Generator) -> tuple[np.ndarray, pd.DataFrame]:
    """The pairs that an arm has compared, the preferred answer first (M, 2 O), and what they are like.

    The annotator sees rewards with normal ``noise``.  Columns: chosen, rejected (their true rewards).
    """
    size = len(found.rewards)
    seen = found.rewards + noise * rng.standard_normal(found.rewards.shape)
    judged = np.where(arm.how == "coin", 0.0, seen) + 1e-6 * rng.random(seen.shape)  # a coin at ties
    rows, compared = [], []
    for at in range(size):
        if arm.how == "oracle":
            wrong = np.flatnonzero(found.rewards[at] < 0)
            nearest = wrong[found.rewards[at][wrong].argmax()] if wrong.size else 0
            both = [found.right[at], found.answers[at, nearest]]
            rewards = (0.0, found.rewards[at, nearest])
        else:
            two = np.asarray(_two(arm, found, at, judged[at]))
            two = two[judged[at][two].argsort()[::-1]]
            both, rewards = found.answers[at, two], found.rewards[at, two]
        rows.append(np.concatenate(both))
        compared.append(rewards)
    return np.stack(rows), pd.DataFrame(compared, columns=["chosen", "rejected"])


def like(about: pd.DataFrame, way: Arm) -> dict[str, float]:
    """What the pairs of a way to choose them are like, and what they cost."""
    apart = about[about["chosen"] != about["rejected"]]
    return {
        "reward": float(about.to_numpy().mean()),
        "apart": len(apart) / len(about),
        "wrong": float((apart["chosen"] < apart["rejected"]).sum() / max(1, len(apart))),
        "prompts": len(about),
        "annotations": len(about) * way.annotated,
    }


def _two(arm: Arm, found: Pool, at: int, judged: np.ndarray) -> Sequence[int]:
    """Which two answers to the prompt at ``at`` are compared; the annotator saw all of West-of-N's."""
    if arm.how == "aepo":
        return representative(found.similar[at], arm.trade)
    if arm.how == "west":
        return judged.argmax(), judged.argmin()
    if arm.how == "likely":
        return found.likely[at].argmax(), found.likely[at].argmin()
    if arm.how == "different":
        different = np.flatnonzero((found.answers[at] != found.answers[at, 0]).any(1))
        return 0, int(different[0]) if different.size else 1
    return 0, 1  # random, as they were drawn


# What is trained


def tuned(name: str) -> RunSpec:
    """The tuning of a scale that stops half-way: its model answers, and DPO starts from it."""
    much = amounts("aepo", name)
    task = DialectSpec(certain=much.compounds, shared=0, corrupted=0, examples=much.compounds * much.rows)
    return tuning(base_run(name), task, much.prompts, steps=much.tuning)


def preferring(name: str, arm: str, run: RunSpec) -> RunSpec:
    """The DPO of an arm from a tuned model: as many pairs as its annotations pay for, equal updates."""
    much = amounts("aepo", name)
    count = much.annotations // ARMS[arm].annotated
    training = run.training.but(
        steps=much.updates, batch=16, learning_rate=much.rate, evaluate_every=much.updates
    )
    return run.but(
        task=run.task.but(examples=count),
        model=run.model.but(base=run.digest()),
        training=training,
    )


def measure(name: str, executor: Executor | None = None) -> pd.DataFrame:
    """A row per arm and seed; what is missing is trained first.

    Columns: arm, seed, right (greedy answers to fresh queries), likely (mean probability of the right
    answer), language (right answers at large), reward (mean of the compared answers), apart (share of pairs
    whose true rewards differ), wrong (share of those in which the worse answer is preferred), prompts,
    annotations, run (that of the tuned model).
    """
    ready([base_run(name)], executor)
    much = amounts("aepo", name)
    runs = each_seed("aepo", name, tuned(name)).runs()
    frame(runs, Store(), executor)
    named = f"aepo-{much.annotations}-{much.updates}-{much.rate:g}-{much.beta:g}-{much.noise:g}-2"
    follow = partial(follow_arms, name=name)
    return pd.concat(followed(runs, follow, named, executor, "tune by preferences"), ignore_index=True)


def follow_arms(run: RunSpec, tell: Tell, name: str) -> pd.DataFrame:
    """Measure a tuned model, and after DPO on the pairs of each arm; the arms share its sampled answers."""
    much, seed, model = amounts("aepo", name), run.task.rule_seed, Store().model(run)
    examples, found = pool(run, much.annotations // 2, max(way.answers for way in ARMS.values()))
    objective = preference(model, much.beta, run.task.layout)
    table = [{"arm": UNTUNED, **scored(run, model)}]
    for number, (arm, way) in enumerate(ARMS.items()):
        tell(run.training.steps * number // len(ARMS))
        spec = preferring(name, arm, run)
        prompts = found.first(spec.task.examples, way.answers)
        both, about = pairs(way, prompts, much.noise, generator(seed, f"annotator of {arm}"))
        rows = replace(examples.first(len(both)), answers=both)
        preferred = answers.tuned(spec, rows, objective=objective)
        table.append({"arm": arm, **scored(run, preferred), **like(about, way)})
    return pd.DataFrame(table).assign(seed=seed, run=run.digest())


def scored(run: RunSpec, model: Transformer) -> dict[str, float]:
    """How often a model is right on fresh queries and on the language at large."""
    asked = run.task.evaluation(run.task.split(), run.evaluation.examples, run.evaluation.seed)
    return {
        "right": float(all_right(model, asked["seen"]).mean()),
        "likely": float(log_probabilities(model, asked["seen"]).exp().mean()),
        "language": float(all_right(model, asked["unseen"]).mean()),
    }


# A real language model


def measure_real(name: str, folder: Path) -> pd.DataFrame:
    """A row per arm and seed; what is missing is tuned first.

    Columns: arm, right (greedy answers to questions of the test), format, content (those that have one of
    the two), likely (mean probability of the right answer), those of ``like``, seed, seconds, run, base.
    """
    return real.measure(REAL, ["all"], name, folder, follow_real)


def follow_real(work: real.Work, folder: Path, tell: Tell) -> list[dict[str, Any]]:
    """Measure a half-tuned model, and after DPO on the pairs of each arm, for a worker."""
    much, seed = amounts(work.study, work.scale), work.seed
    asked, test, loaded = begun_real(work, folder)
    found = real_pool(loaded, asked, max(ARMS[arm].answers for arm in REAL_ARMS), seed)
    start = [weight.detach().clone() for weight in tune.trained_weights(loaded).values()]
    table = [{"arm": UNTUNED, **scored_real(loaded, test)}]
    for number, arm in enumerate(REAL_ARMS):
        tell(much.updates * number // len(REAL_ARMS))
        with torch.no_grad():
            for weight, was in zip(tune.trained_weights(loaded).values(), start, strict=True):
                weight.copy_(was)
        prompts = found.first(much.annotations // ARMS[arm].annotated, ARMS[arm].answers)
        both, about = pairs(ARMS[arm], prompts, 0.0, generator(seed, f"annotator of {arm}"))
        prefer(loaded, work, asked, both)
        table.append({"arm": arm, **scored_real(loaded, test), **like(about, ARMS[arm])})
    return table


def begun_real(work: real.Work, folder: Path) -> tuple[list[Asked], list[Asked], Loaded]:
    """Lines to prefer answers to, lines of a test, and a model that is tuned half-way on lines like the
    first."""
    much, seed = amounts(work.study, work.scale), work.seed
    chosen, loaded = styles(seed, certain=much.styles), real.begun(work, folder)
    amount = {"rows": much.tuning * work.training.batch, "preferences": much.annotations // 2}
    amount["test"] = much.prompts
    drawn, asked, test = (
        lines(seed, chosen, np.arange(many) % len(chosen), test=role == "test", role=role)
        for role, many in amount.items()
    )
    spec = work.training.but(steps=much.tuning)
    tune.tune(loaded, spec, real.rows_of(loaded, drawn), say=lambda note: None)
    return asked, test, loaded


def real_pool(loaded: Loaded, asked: Sequence[Asked], number: int, seed: int) -> Pool:
    """``number`` answers of a tuned model to each line: all arms share them."""
    each, shape = [line for line in asked for _ in range(number)], (len(asked), number)
    texts = real.written(loaded, each, temperature=1.0, seed=seed, unended=True)
    rows = real.rows_with(loaded, each, texts)
    states = F.normalize(real_embedded(loaded, rows), dim=1).view(*shape, -1)
    rewards = [-distance(text, line.right()) for text, line in zip(texts, each, strict=True)]
    return Pool(
        np.array([[line.right()] for line in asked]),
        np.array(texts).reshape(*shape, 1),
        np.array(rewards, float).reshape(shape),
        real.likely(loaded, rows).reshape(shape),
        (states @ states.mT).cpu().numpy(),
    )


@torch.no_grad()
def real_embedded(loaded: Loaded, rows: Sequence[tuple[list[int], list[int]]]) -> Tensor:
    """The mean last hidden state (N, C) over the tokens of each row's answer, without its end."""
    parts = []
    for at in range(0, len(rows), 32):
        part = rows[at : at + 32]
        own = loaded.padded([[0] * len(prompt) + [1] * (len(answer) - 1) + [0] for prompt, answer in part], 0)
        states = loaded.last_states(loaded.batch([prompt + answer for prompt, answer in part]))
        states = (states * own[..., None]).sum(1)
        parts.append(states / own.sum(1, keepdim=True).clamp(min=1))
    return torch.cat(parts)


def prefer(loaded: Loaded, work: real.Work, asked: Sequence[Asked], both: np.ndarray) -> None:
    """DPO of a tuned model, which is its own reference, on the chosen and the rejected texts (M, 2)."""
    much = amounts(work.study, work.scale)
    chosen, rejected = (real.rows_with(loaded, asked[: len(both)], list(texts)) for texts in both.T)
    before = [real.likely(loaded, rows).tolist() for rows in (chosen, rejected)]
    rows = [(*one, other[1], *was) for one, other, *was in zip(chosen, rejected, *before, strict=True)]
    objective = tune.Objective(partial(preferred_total, much.beta), len)
    spec = work.training.but(learning_rate=much.rate, batch=much.batch, micro_batch=much.batch)
    tune.tune(loaded, spec, rows, say=lambda note: None, objective=objective)


def preferred_total(beta: float, loaded: Loaded, rows: Sequence[Sequence[Any]]) -> Tensor:
    """The sum of DPO's loss over rows: a prompt, the chosen and the rejected answer as tokens, and what their
    log probabilities were before.
    """
    prompts, chosen, rejected, *before = zip(*rows, strict=True)
    both = [*zip(prompts, chosen, strict=True), *zip(prompts, rejected, strict=True)]
    said = tune.log_probabilities(loaded, both)
    ratios = said - torch.tensor([*before[0], *before[1]], device=said.device)
    return len(rows) * preference_loss(*ratios.chunk(2), beta)


def scored_real(loaded: Loaded, test: Sequence[Asked]) -> dict[str, float]:
    """How often a model is right on lines of a test, and how likely it holds the right answers."""
    own, right = real.written(loaded, test), [line.right() for line in test]
    shares = {name: score(own, right) for name, score in everyday.SCORES.items()}
    return shares | {"likely": float(np.exp(real.likely(loaded, real.rows_of(loaded, test))).mean())}
