"""Memory or rule (notebook 40): whose answers a model's are nearest to, over numbers of instructions and over
training.

Raventós and others (arXiv 2306.15063) ask it of regression in context: with few training tasks a model
answers as the Bayes estimator over its *training* tasks does, with many as that over *all* tasks.  Here both
are predictors that need no training: ``RULE`` applies the rule that the prompt states, ``MEMORY`` knows the
training rules alone and applies the one that was most likely meant.  Trivial predictors stand beside them,
since a model can be near to neither.

Letters for shapes: N prompts, R training rules, P places in z where a pattern can begin, O tokens of an
answer, V tokens of the vocabulary.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd
import torch
from scipy.special import rel_entr

from unseen.evaluation import drawn
from unseen.model import Transformer
from unseen.runs import following
from unseen.runs.workers import Executor, Tell
from unseen.scales import Setting, amounts, scale
from unseen.specs import RunSpec
from unseen.studies.inside_runs import PAIRINGS, paired
from unseen.studies.tour import match_places
from unseen.worlds.base import Examples, generator
from unseen.worlds.rules import Instructions, strings_of
from unseen.worlds.strings import TaskSpec, count, leftmost, replace_at, rewrite

KINDS = ("seen", "unseen", "swapped", "luring")  # of prompts
RULE, MEMORY, WRITES = "rule follower", "memory", "memory, always writes"
COPY, ANYWHERE, RANDOM = "copies the input", "y anywhere", "letters at random"
PREDICTORS = (RULE, MEMORY, WRITES, COPY, ANYWHERE, RANDOM)
CORRUPTION = 0.1  # chance that a letter of a prompt is not the one that the memory's rule has
SMOOTHING = 0.01  # of a predictor's chance of each token that is spread over the vocabulary
_KEPT = 1e-3  # of the likeliest rule's weight: what weighs less is left out
_NAME = "memory-1"  # of the stored measures; another one when they change


# Prompts


def prompts(task: TaskSpec, size: int) -> dict[str, Examples]:
    """``size`` prompts of each of ``KINDS``, with what the rule follower answers.

    ``swapped`` prompts state the pattern of one training rule and the replacement of another.
    """
    found = task.evaluation(task.split(), size, 2_000_000)
    return found | {"swapped": paired(task, PAIRINGS[1], size), "luring": luring(task, size)}


def luring(task: TaskSpec, size: int) -> Examples:
    """Prompts whose unseen rule is one letter away from a training rule, on inputs that hold both patterns.

    Replacements are those of unseen rules.  ``rule`` is the index of the training rule.  Each pattern occurs
    once, and they do not overlap.

    >>> line = luring(TaskSpec(instructions=10), 1).line(0)
    >>> known = TaskSpec(instructions=10).split().seen[0]
    >>> line.rule.pattern in line.text, known.pattern in line.text
    (True, True)
    >>> sum(one != other for one, other in zip(line.rule.pattern, known.pattern))
    1
    """
    split, rng, layout = task.split(), generator(2_000_000, "luring"), task.layout
    trained = strings_of(split.seen)
    which = np.arange(4 * size) % len(split.seen)
    bait, x = split.seen.patterns[which], split.seen.patterns[which].copy()  # (N, |x|)
    changed = rng.integers(0, x.shape[1], len(x))
    x[np.arange(len(x)), changed] += rng.integers(1, len(task.alphabet), len(x), np.uint8)
    x %= len(task.alphabet)
    y = split.unseen.replacements[np.arange(len(x)) % len(split.unseen)]
    stated = task.draw(Instructions(task.alphabet, x, y), np.arange(len(x)), rng)
    places = np.arange(layout.places)
    apart = abs(places - match_places(stated)[:, None]) >= x.shape[1]  # (N, P)
    at = np.where(apart, rng.random(apart.shape), -1).argmax(1)
    shape = layout.input_length, layout.special("end")
    z = replace_at(at, x.shape[1], bait.T, np.ascontiguousarray(stated.inputs.T), *shape)  # (|z|, N)
    once = (count(x.T, z) == 1) & (count(bait.T, z) == 1) & apart.any(1)
    once &= [pattern.tobytes() not in trained for pattern in x]
    stated.prompts[:, layout.place("z")] = z.T
    answers = rewrite(x.T, y.T, z, layout).T
    return Examples(layout, stated.prompts, answers, which, stated.applies).where(np.flatnonzero(once)[:size])


# Predictors


def posterior(examples: Examples, known: Instructions, corruption: float = CORRUPTION) -> np.ndarray:
    """How likely each training rule was meant, with its pattern at each place of z: (N, R, P), adding to 1.

    The memory takes a prompt for a training rule, all equally likely, whose letters in x, in y and at one
    place of z, all equally likely, are each another letter with the chance ``corruption``.  So each letter
    that agrees counts as much.

    >>> task = TaskSpec(instructions=20)
    >>> examples = task.evaluation(task.split(), 5, 0)["seen"]
    >>> posterior(examples, task.split().seen).sum(2).argmax(1).tolist()
    [0, 1, 2, 3, 4]
    """
    layout = examples.layout
    x, y, z = (examples.prompts[:, None, layout.place(part)] for part in "xyz")
    stated = (x == known.patterns).sum(-1) + (y == known.replacements).sum(-1)  # (N, R)
    agree = np.repeat(stated[..., None], layout.places, 2).astype(float)
    for letter in range(layout.pattern_length):
        agree += z[:, :, letter : letter + agree.shape[2]] == known.patterns[:, letter, None]
    worth = np.log((1 - corruption) * (len(layout.alphabet) - 1) / corruption)
    weights = np.exp(worth * (agree - agree.max((1, 2), keepdims=True)))
    return weights / weights.sum((1, 2), keepdims=True)


def predictors(
    examples: Examples, known: Instructions, corruption: float = CORRUPTION
) -> dict[str, np.ndarray]:
    """What each of ``PREDICTORS`` gives each token of an answer, (N, O, V): chances that add to 1.

    ``MEMORY`` applies its rule as the oracle does: an input without that rule's pattern is left as it is.
    ``WRITES`` puts the rule's replacement where its pattern fits best, whether it stands there or not.  Tied
    rules share the chance evenly.

    >>> task = TaskSpec(instructions=20)
    >>> swapped = prompts(task, 1)["swapped"]
    >>> found = predictors(swapped, task.split().seen)
    >>> swapped.texts(0)[0], str(task.split().seen[0])
    ('wwh→uqt|usfwwhzlvn=', 'wwh -> pnk')
    >>> [task.layout.answer(found[name][0].argmax(-1)) for name in (RULE, MEMORY, COPY)]
    ['usfuqtzlvn', 'usfpnkzlvn', 'usfwwhzlvn']
    """
    layout, rows = examples.layout, np.arange(len(examples))
    own_y = examples.prompts[:, layout.place("y")]
    absent, places = layout.answer_length, layout.places
    likely = posterior(examples, known, corruption)
    row, rule = np.nonzero(_kept(likely.sum(2)))
    z = np.ascontiguousarray(examples.inputs[row].T)
    at = leftmost(np.ascontiguousarray(known.patterns[rule].T), z, absent)
    weights = likely.sum(2)[row, rule]
    every, place = np.repeat(rows, places), np.tile(np.arange(places), len(rows))
    end = np.eye(len(layout.vocabulary))
    found = {
        RULE: end[examples.answers],
        MEMORY: _mixed(examples, row, at, known.replacements[rule], weights),
        COPY: _mixed(examples, rows, np.full(len(rows), absent), own_y, np.ones(len(rows))),
        ANYWHERE: _mixed(examples, every, place, own_y[every], np.ones(len(every))),
        RANDOM: np.ones((len(rows), layout.answer_length, len(layout.vocabulary))),
    }
    row, rule, place = np.nonzero(_kept(likely))
    found[WRITES] = _mixed(examples, row, place, known.replacements[rule], likely[row, rule, place])
    return {name: _smoothed(found[name]) for name in PREDICTORS}


def _kept(likely: np.ndarray) -> np.ndarray:
    """Which weights (N, ...) are not negligible beside the largest of their prompt."""
    return likely > _KEPT * likely.max(tuple(range(1, likely.ndim)), keepdims=True)


def _mixed(
    examples: Examples, row: np.ndarray, at: np.ndarray, y: np.ndarray, weights: np.ndarray
) -> np.ndarray:
    """By token (N, O, V) the weights (M,) of answers that put y (M, |y|) at ``at`` into input ``row``."""
    layout = examples.layout
    z = np.ascontiguousarray(examples.inputs[row].T)
    length, end = layout.answer_length, layout.special("end")
    answers = replace_at(at, layout.pattern_length, np.ascontiguousarray(y.T), z, length, end).T  # (M, O)
    found = np.zeros((len(examples), length, len(layout.vocabulary)))
    np.add.at(found, (row[:, None], np.arange(length), answers), weights[:, None])
    return found


def _smoothed(weights: np.ndarray) -> np.ndarray:
    chances = weights / weights.sum(-1, keepdims=True)
    return (1 - SMOOTHING) * chances + SMOOTHING / chances.shape[-1]


# What a model is nearest to


def own_chances(model: Transformer, tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The model's own answers (N, O) to prompts (N, P), and its chances of each token there (N, O, V)."""
    chances = []

    def likeliest(logits: torch.Tensor) -> torch.Tensor:
        chances.append(logits.softmax(-1).cpu())
        return logits.argmax(-1)

    length = model.shape.context - tokens.shape[1] + 1
    answers = drawn(model, tokens, length, likeliest, at_once=len(tokens))
    return answers, torch.stack(chances, 1).numpy()


def distances(
    model: Transformer, asked: Mapping[str, Examples], predicted: Mapping[str, Mapping[str, np.ndarray]]
) -> list[dict]:
    """How far a model is from each predictor on each kind of prompts: a row each.

    Keys: prompts, predictor, ``nats`` (Kullback-Leibler divergence of the model's chances from the
    predictor's, per token, along the model's own answer) and ``exact`` (share of its answers that are the
    predictor's; NaN for those that have no single answer).
    """
    rows = []
    for kind, examples in asked.items():
        answers, chances = own_chances(model, examples.prompts)
        for name, expected in predicted[kind].items():
            row = {"prompts": kind, "predictor": name, "nats": rel_entr(chances, expected).sum(-1).mean()}
            same = (answers == expected.argmax(-1)).all(1).mean()
            rows.append(row | {"exact": np.nan if name in (ANYWHERE, RANDOM) else same})
    return rows


def due(spec: RunSpec, step: int) -> bool:
    """Whether a run is measured at a row of its history: at the first two, then where a seventh of it ends.

    >>> [step for step in (0, 50, *range(100, 701, 50), 703) if due(RunSpec(), step)]
    [0, 50, 150, 250, 350, 450, 550, 650, 703]
    """
    steps, every = spec.training.steps, spec.training.evaluate_every
    return step <= every or 7 * step // steps > 7 * ((step - 1) // every * every) // steps


def follow(spec: RunSpec, tell: Tell = lambda step, note="": None) -> pd.DataFrame:
    """Train a run and measure its ``distances`` on the way.

    Columns: instructions, seed, run (its digest), step, trained (share of the steps), and those of
    ``distances``.
    """
    size = min(500, spec.evaluation.examples)
    asked, known = prompts(spec.task, size), spec.task.split().seen
    predicted = {kind: predictors(examples, known) for kind, examples in asked.items()}
    about = {"instructions": spec.task.instructions, "seed": spec.task.rule_seed, "run": spec.digest()}
    table = following.while_trained(
        spec, tell, lambda model: distances(model, asked, predicted), due, **about
    )
    return table.assign(trained=table["step"] / spec.training.steps)


def setting(name: str) -> Setting:
    """The runs of notebook 10's main curve that are followed at a scale."""
    row, main = amounts("memory", name), scale(name).main
    return Setting("main", main.base, row.sizes, row.seeds, scale=main.scale)


def measure(name: str, executor: Executor | None = None) -> pd.DataFrame:
    """``follow`` of all runs of a scale, each computed once and kept."""
    return pd.concat(following.followed(setting(name).runs(), follow, _NAME, executor), ignore_index=True)
