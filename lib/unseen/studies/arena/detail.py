"""DETAIL: what each demonstration of a prompt does to the answer, in closed form.

*Claim.* Removing the demonstrations with the least (most) influence raises (lowers) accuracy more than
removing random ones; self influence finds wrong labels sooner than leaving one out, in a fraction of the
time.
*Source.* Zhou and others, NeurIPS 2024, arXiv 2405.14899; the released code states no licence.
*Formula.* m_i is the hidden state of a layer before the label of demonstration i, m of the query; y_i the
label, one-hot.  Ridge regression: w = M' (M M' + λ I)^-1 Y, H = M' M + λ I.  The gradient of demonstration i:
g_i = m_i (m_i' w - y_i)' + λ w, and g_q of the query with its true label.  Test influence of i:
<g_q, H^-1 g_i>; self influence: <g_i, H^-1 g_i>.
*Ours.* The learner is trained on letters (``worlds.contexts``); the paper's toy on digits of MNIST.  The
paper tests by removals; here the true effect of leaving each one out is known as well.  The released code
fits w at λ = 1 whatever λ is; here both have the same λ.

    >>> states, labels = torch.eye(3)[None, :2], torch.eye(2)[None]
    >>> influence = detail(states, labels, torch.tensor([[1.0, 0.0, 0.0]]), torch.tensor([[1.0, 0.0]]), 1.0)
    >>> influence.test[0].argmax().item()
    0
"""

import time
from functools import partial
from itertools import product
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from numpy.random import Generator
from scipy.stats import rankdata
from torch import Tensor
from torch.nn import functional as F

from unseen.model import Transformer
from unseen.runs.following import followed
from unseen.runs.store import Store
from unseen.runs.sweep import frame
from unseen.runs.workers import Executor, Tell
from unseen.scales import amounts, each_seed, run_of
from unseen.specs import RunSpec
from unseen.worlds.base import generator
from unseen.worlds.contexts import LABELS, ContextSpec, Prompts

PENALTIES = (0.01, 1.0, 100.0, 10_000.0)  # λ
CODED = (1e-9, 1.0)  # λ of H and of w in the released code's self influence
_CHUNK = 512  # prompts read at a time


class Influence(NamedTuple):
    """Of each demonstration (N, D) on the query's answer (``test``) and on its own (``self``)."""

    test: Tensor
    own: Tensor


def detail(
    states: Tensor, labels: Tensor, query: Tensor, answer: Tensor, penalty: float, fitted: float | None = None
) -> Influence:
    """Influences (N, D) from the ``states`` (N, D, C) and one-hot ``labels`` (N, D, K) of demonstrations, the
    state of the ``query`` (N, C) and its true ``answer`` (N, K).

    ``penalty`` is λ; ``fitted`` that of w where it is another, as in the released code.
    """
    (size, count, width), kinds = states.shape, labels.size(2)
    kernel = states @ states.mT + (penalty if fitted is None else fitted) * torch.eye(count)
    w = states.mT @ torch.linalg.solve(kernel, labels)  # (N, C, K)
    hessian = states.mT @ states + penalty * torch.eye(width)  # (N, C, C)
    missed = states @ w - labels  # (N, D, K)
    g = states[..., None] * missed[:, :, None] + penalty * w[:, None]  # (N, D, C, K)
    g_query = query[..., None] * ((query[:, None] @ w)[:, 0] - answer)[:, None] + penalty * w  # (N, C, K)
    solved = torch.linalg.solve(hessian, g.transpose(1, 2).reshape(size, width, count * kinds))
    solved = solved.view(size, width, count, kinds).transpose(1, 2)  # H^-1 g_i: (N, D, C, K)
    return Influence((g_query[:, None] * solved).sum((2, 3)), (g * solved).sum((2, 3)))


# What is known of each prompt


def part_of(prompts: Prompts, order: np.ndarray) -> Prompts:
    """Prompts of those strings alone that ``order`` (N, k + 1) names, the last as the query."""
    taken = [np.take_along_axis(each, order, 1) for each in (prompts.kinds, prompts.labels, prompts.flipped)]
    return Prompts(np.take_along_axis(prompts.strings, order[..., None], 1), *taken, prompts.patterns)


@torch.no_grad()
def answers(model: Transformer, task: ContextSpec, prompts: Prompts) -> Tensor:
    """The log probability (N, K) of each label as the answer to the last string of prompts of any length."""
    shorter = task.but(demonstrations=prompts.labels.shape[1] - 1)
    tokens = torch.from_numpy(shorter.examples_of(prompts).prompts).long()
    logits = torch.cat([model(part)[:, -1] for part in tokens.split(_CHUNK)])
    return logits.log_softmax(-1)[:, len(task.letters) : len(task.letters) + len(LABELS)]


def label_of(prompts: Prompts, said: Tensor) -> np.ndarray:
    """What ``answers`` (N, K) give to the label of the last string: (N,)."""
    return said.numpy()[np.arange(len(said)), prompts.labels[:, -1]]


@torch.no_grad()
def states_of(model: Transformer, task: ContextSpec, prompts: Prompts) -> Tensor:
    """Hidden states before each label (L + 1, N, D + 1, C), in double precision, of every layer."""
    tokens, parts = torch.from_numpy(task.examples_of(prompts).prompts).long(), []
    places = [place - 1 for place in task.layout.labels[:-1]]
    for chunk in tokens.split(_CHUNK):
        parts.append(torch.stack([x[:, places] for x in model.states(model.embed(chunk))]))
    return torch.cat(parts, 1).double()


def left_out(model: Transformer, task: ContextSpec, prompts: Prompts, itself: bool = False) -> np.ndarray:
    """The true effect (N, D) of each demonstration on the log probability of the right answer: with it, minus
    without it.  With ``itself``, minus the log probability of its own label when it is asked in place of the
    query.
    """
    size, count = prompts.labels.shape
    whole = label_of(prompts, answers(model, task, prompts))
    effects = np.empty((size, count - 1))
    for place in range(count - 1):
        others = [at for at in range(count) if at != place]
        order = [*others[:-1], place] if itself else others
        fewer = part_of(prompts, np.tile(order, (size, 1)))
        said = label_of(fewer, answers(model, task, fewer))
        effects[:, place] = -said if itself else whole - said
    return effects


@torch.no_grad()
def surprise(model: Transformer, task: ContextSpec, prompts: Prompts) -> np.ndarray:
    """Minus the log probability (N, D) of each label given what stands before it, from one reading."""
    tokens, places = torch.from_numpy(task.examples_of(prompts).prompts).long(), task.layout.labels[:-2]
    logits = torch.cat([model(part) for part in tokens.split(_CHUNK)])
    said = logits[:, [place - places[0] for place in places]].log_softmax(-1)
    return -said.gather(-1, tokens[:, places, None]).squeeze(-1).numpy()


# How good an order is


def agreement(scores: np.ndarray, effects: np.ndarray, among: np.ndarray | None = None) -> float:
    """Spearman's rank correlation of scores and effects (N, D), the mean over prompts; only ``among`` a
    mask (N, D), where it leaves at least three.

    >>> agreement(np.array([[1.0, 2.0, 3.0]]), np.array([[0.1, 0.5, 0.7]]))
    1.0
    """
    found, every = [], np.ones_like(effects, bool)
    for score, effect, chosen in zip(scores, effects, every if among is None else among, strict=True):
        if chosen.sum() >= 3:
            one, other = (rankdata(each[chosen]) - (chosen.sum() + 1) / 2 for each in (score, effect))
            found.append((one * other).sum() / max(np.sqrt((one**2).sum() * (other**2).sum()), 1e-9))
    return float(np.mean(found))


def detection(scores: np.ndarray, flipped: np.ndarray) -> float:
    """How often a flipped demonstration has a higher score than another of its prompt: 0.5 is chance.

    >>> detection(np.array([[3.0, 1.0, 2.0]]), np.array([[True, False, False]]))
    1.0
    """
    some = flipped.any(1) & ~flipped.all(1)
    ranks, many = rankdata(scores[some], axis=1), flipped[some].sum(1)
    above = (ranks * flipped[some]).sum(1) - many * (many + 1) / 2
    return float((above / (many * (flipped.shape[1] - many))).mean())


def removal(
    model: Transformer, task: ContextSpec, prompts: Prompts, scores: np.ndarray, number: int
) -> float:
    """The accuracy when the ``number`` demonstrations of the highest scores are removed."""
    kept = np.sort(scores.argsort(1)[:, : scores.shape[1] - number], 1)
    fewer = part_of(prompts, np.column_stack([kept, np.full(len(kept), scores.shape[1])]))
    return float((answers(model, task, fewer).argmax(1).numpy() == prompts.labels[:, -1]).mean())


# The study


def learner(name: str) -> RunSpec:
    """The in-context learner of a scale."""
    much = amounts("detail", name)
    return run_of(ContextSpec, vars(much) | {"evaluation": {"examples": much.prompts}})


def measure(name: str, executor: Executor | None = None) -> pd.DataFrame:
    """A row per seed, measure, score, layer and λ; missing runs are trained first.

    Columns: measure, layer, penalty, value, score, removed, seed, run.  Measures: ``accuracy`` of the
    learner; ``agreement`` of a score with the true effect of leaving each demonstration out, and ``within``
    those of the answer's label; ``detection`` of flipped labels; the accuracy with so many of the ``best
    removed`` or of the ``worst removed``; ``milliseconds`` a prompt.  Rows of rivals have the layer and λ
    that agree best on prompts of trained patterns.
    """
    much = amounts("detail", name)
    runs = each_seed("detail", name, learner(name)).runs()
    frame(runs, Store(), executor)
    follow = partial(follow_influence, flipped=much.flipped)
    return pd.concat(followed(runs, follow, f"detail-{much.flipped:g}-2", executor, "ask"), ignore_index=True)


def follow_influence(run: RunSpec, tell: Tell, flipped: float) -> pd.DataFrame:
    """The rows of one learner, for a worker: layer and λ are chosen on other prompts than those reported."""
    model, split = Store().model(run), run.task.split()
    task = run.task.even.but(flipped=flipped)
    size, dice = run.evaluation.examples, generator(run.evaluation.seed, "prompts of influence")
    other, asked = (task.prompts(patterns, size, dice) for patterns in split)
    first = by_layer(model, task, other)
    best = first.loc[first.groupby("measure")["value"].idxmax()].set_index("measure")
    at = {name: (int(best.at[name, "layer"]), best.at[name, "penalty"]) for name in best.index}
    beside = pd.DataFrame(rivals(model, task, asked, at["agreement"], at["detection"], dice))
    learned = [{"measure": "accuracy", "score": each["split"], "value": each["accuracy"]}
               for each in Store().finished(run)["scores"]]  # fmt: skip
    layers = by_layer(model, task, asked).assign(score="by layer")
    found = pd.concat([layers, beside, pd.DataFrame(learned)])
    return found.assign(seed=run.task.rule_seed, run=run.digest())


def influences(
    states: Tensor, prompts: Prompts, penalty: float, fitted: float | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Test and self influence (N, D) from the ``states`` (N, D + 1, C) of one layer."""
    labels = F.one_hot(torch.from_numpy(prompts.labels).long(), len(LABELS)).double()
    given = (states[:, :-1], labels[:, :-1], states[:, -1], labels[:, -1])
    return tuple(each.numpy() for each in detail(*given, penalty, fitted))


def by_layer(model: Transformer, task: ContextSpec, prompts: Prompts) -> pd.DataFrame:
    """Columns measure, layer, penalty, value: influence against the truth, at every layer and λ."""
    states, effects = states_of(model, task, prompts), left_out(model, task, prompts)
    same, flipped, rows = same_label(prompts), prompts.flipped[:, :-1], []
    for layer, penalty in product(range(len(states)), PENALTIES):
        test, own = influences(states[layer], prompts, penalty)
        found = {"agreement": agreement(test, effects), "within": agreement(test, effects, same)}
        found["detection"] = detection(own, flipped)
        rows += [{"measure": name, "layer": layer, "penalty": penalty, "value": value}
                 for name, value in found.items()]  # fmt: skip
    return pd.DataFrame(rows)


def same_label(prompts: Prompts) -> np.ndarray:
    """Which demonstrations (N, D) show the label that is the answer: what needs no model to know."""
    return prompts.labels[:, :-1] == prompts.labels[:, -1:]


def rivals(
    model: Transformer,
    task: ContextSpec,
    prompts: Prompts,
    best: tuple[int, float],
    best_own: tuple[int, float],
    dice: Generator,
) -> list[dict[str, object]]:
    """DETAIL beside its rivals and controls: agreement, detection, removals and times.

    ``best`` are the layer and λ of test influence, ``best_own`` those of self influence.
    """
    began = time.perf_counter()
    states = states_of(model, task, prompts)
    test, _ = influences(states[best[0]], prompts, best[1])
    between = time.perf_counter()
    effects = left_out(model, task, prompts)
    spent = {"DETAIL": between - began, "leave-one-out": time.perf_counter() - between}
    _, own = influences(states[best_own[0]], prompts, best_own[1])
    same, flipped, half = same_label(prompts), prompts.flipped[:, :-1], dice.random(test.shape) / 2
    tests = {
        "DETAIL": test,
        "leave-one-out": effects,
        "same label": same + half,
        "shuffled": dice.permuted(test, axis=1),
    }
    owns = {
        "DETAIL": own,
        "as coded": influences(states[best_own[0]], prompts, *CODED)[1],
        "leave-one-out": -effects,
        "asked itself": left_out(model, task, prompts, itself=True),
        "surprise": surprise(model, task, prompts),
        "shuffled": dice.permuted(own, axis=1),
    }
    where = {"layer": best[0], "penalty": best[1]}
    rows = [row_of("milliseconds", name, 1_000 * each / len(test)) for name, each in spent.items()]
    for name, each in tests.items():
        rows.append(row_of("agreement", name, agreement(each, effects), **where))
        rows.append(row_of("within", name, agreement(each, effects, same), **where))
        for count in range(0, test.shape[1], 2):
            for end, order in (("best removed", each), ("worst removed", -each)):
                accuracy = removal(model, task, prompts, order, count)
                rows.append(row_of(end, name, accuracy, removed=count, **where))
    where = {"layer": best_own[0], "penalty": best_own[1]}
    return rows + [
        row_of("detection", name, detection(each, flipped), **where) for name, each in owns.items()
    ]


def row_of(measure: str, score: str, value: float, **where: float) -> dict[str, object]:
    """A row of ``measure``."""
    return {"measure": measure, "score": score, "value": value, **where}
