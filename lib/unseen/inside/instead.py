"""What a model writes instead, where it does not follow an unseen rule: does it apply a rule of its training?

``classify`` names each answer; ``table`` counts over trained models.
"""

from collections.abc import Callable, Iterable
from dataclasses import replace

import numpy as np
import pandas as pd

from unseen.datasets import Examples, draw, evaluation_examples
from unseen.evaluation import exact_match, greedy_answers
from unseen.inside.heads import match_places
from unseen.instructions import Instructions, draw_split, generator
from unseen.model import Transformer
from unseen.specs import RunSpec, TaskSpec

KINDS = ("right", "part of y, at the place", "training y, nearest rule", "training y, another rule", "training y, another place",
         "other letters, at the place", "copies the input", "something else")  # fmt: skip


def classify(answers: np.ndarray, examples: Examples, known: Instructions) -> np.ndarray:
    """The kind (of ``KINDS``) of each answer (N, O) to ``examples`` in which the pattern occurs, (N,) strings.

    ``right`` comes first, then ``training y``: the letters of the input with a replacement of a ``known`` rule put in, at the
    place of the match (that of a rule whose pattern is as near to x as any, or of another one) or at another place; then
    ``part of y``: other letters at the place, at least one of which is y's at its place there and not the input's.
    """
    encoding, size = examples.encoding, examples.encoding.replacement_length
    replacements = {rule.replacement: [] for rule in known}
    for rule in known:
        replacements[rule.replacement].append(rule.pattern)
    names, places = [], match_places(examples)
    for i, (answer, at) in enumerate(zip(answers, places, strict=True)):
        rule, text, best = examples.line(i)
        written = encoding.answer(answer)
        edits = {p: written[p : p + size] for p in range(len(text) - len(rule.pattern) + 1)
                 if text[:p] + written[p : p + size] + text[p + len(rule.pattern) :] == written}  # fmt: skip
        near = _nearest(rule.pattern, known)
        put = replacements.get(edits.get(int(at), ""), [])
        old = text[at : at + len(rule.pattern)].ljust(size)
        part = any(a == b != c for a, b, c in zip(edits.get(int(at), ""), rule.replacement, old, strict=False))
        cases = {
            "right": written == best, "copies the input": written == text,
            "training y, nearest rule": any(_distance(rule.pattern, x) == near for x in put), "training y, another rule": put,
            "training y, another place": any(edit in replacements for edit in edits.values()),
            "part of y, at the place": part, "other letters, at the place": int(at) in edits,
        }  # fmt: skip
        names.append(next((name for name, true in cases.items() if true), "something else"))
    return np.array(names)


def _distance(a: str, b: str) -> int:
    return sum(p != q for p, q in zip(a, b, strict=True))


def _nearest(pattern: str, known: Instructions) -> int:
    letters = np.array([known.alphabet.index(letter) for letter in pattern], np.uint8)
    return int((known.patterns != letters).sum(1).min())


def distances(examples: Examples, known: Instructions) -> np.ndarray:
    """In how many letters the nearest known pattern differs from the one asked for, (N,)."""
    return np.array([_nearest(examples.line(i).rule.pattern, known) for i in range(len(examples))])


def strangers(known: Instructions, seed: int = 0) -> Instructions:
    """The known patterns with as many random replacements: what ``training y`` would be by chance."""
    drawn = generator(seed, "strangers").integers(0, len(known.alphabet), known.replacements.shape, np.uint8)
    return Instructions(known.alphabet, known.patterns, drawn)


def table(specs: Iterable[RunSpec], model_of: Callable[[RunSpec], Transformer], size: int = 500) -> pd.DataFrame:
    """Answers of finished runs to unseen rules: one row an answer, instructions, seed, kind, by_chance, distance.

    ``by_chance`` is the kind when the training replacements are exchanged for ``strangers``.
    """
    parts = []
    for spec in specs:
        split = draw_split(spec.task)
        asked = evaluation_examples(spec.task, split, spec.evaluation.but(examples=size))["unseen"]
        asked = asked.where(asked.applies)
        answers = greedy_answers(model_of(spec), asked.prompts)
        columns = {"kind": classify(answers, asked, split.seen), "by_chance": classify(answers, asked, strangers(split.seen)),
                   "distance": distances(asked, split.seen)}  # fmt: skip
        parts.append(pd.DataFrame({"instructions": spec.task.instructions, "seed": spec.task.rule_seed, **columns}))
    return pd.concat(parts, ignore_index=True)


def shares(answers: pd.DataFrame, column: str = "kind") -> pd.DataFrame:
    """The share of each kind, a row a number of instructions, the mean over seeds: columns ``KINDS``."""
    each = answers.groupby(["instructions", "seed"])[column].value_counts(normalize=True).unstack(fill_value=0.0)
    return each.reindex(columns=list(KINDS), fill_value=0.0).groupby("instructions").mean()


def lured(model: Transformer, task: TaskSpec, size: int = 500) -> dict[str, float]:
    """What a model does when z holds the pattern of a training rule, but the prompt asks for an unseen one.

    Shares of answers that apply the training rule all the same, and that copy the input.  The pattern asked for is
    absent, so copying is right; where it happens to occur the example is left out.
    """
    split, rule = draw_split(task), np.arange(size)
    known = draw(task.but(no_op_share=0.0), split.seen, rule % len(split.seen), generator(2_000_000, "lured"))
    other, x, prompts = split.unseen, task.pattern_length, known.prompts.copy()
    prompts[:, :x] = other.patterns[rule % len(other)]
    prompts[:, x + 1 : x + 1 + task.replacement_length] = other.replacements[rule % len(other)]
    held = replace(known, prompts=prompts)
    held = held.where(match_places(held) < 0)
    answers, texts = greedy_answers(model, held.prompts), [held.line(i).text for i in range(len(held))]
    copied = [held.encoding.answer(answer) == text for answer, text in zip(answers, texts, strict=True)]
    return {
        "applies the training rule": float(exact_match(answers, held).mean()),
        "copies the input": float(np.mean(copied)),
    }
