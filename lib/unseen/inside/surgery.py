"""What breaks in a trained model when single heads are silenced.

A head is silenced by giving on, at each position, its mean output over many examples: what it says always stays, what
it says about *this* example goes.  Everything else runs as before.  Nothing of the model is changed for good.

Answers are read with the right letters before each one, so that a letter counts by itself and not by those before it.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from unseen.datasets import Examples, evaluation_examples
from unseen.inside.heads import Head, best, jobs_of_heads, kinds_of_letters
from unseen.instructions import draw_split, generator
from unseen.model import Transformer
from unseen.specs import RunSpec

WHOLE = "whole answer"


@contextmanager
def _outputs(model: Transformer, change: Callable[[int, Tensor], Tensor]) -> Iterator[None]:
    """For a while, what the heads of a layer give on, (B, T, C) side by side, goes through ``change`` first."""
    for layer, block in enumerate(model.blocks):
        output = block.output

        def changed(mixed: Tensor, layer: int = layer, output: Callable[[Tensor], Tensor] = output) -> Tensor:
            return output(change(layer, mixed))

        block.__dict__["output"] = changed  # found before the method of one recipe and the module of the other
    try:
        yield
    finally:
        for block in model.blocks:
            del block.__dict__["output"]


@torch.no_grad()
def mean_outputs(model: Transformer, examples: Examples) -> list[Tensor]:
    """What the heads of each layer give on at each position, the mean over examples: L tensors (T, C)."""
    found: list[Tensor] = []

    def keep(layer: int, mixed: Tensor) -> Tensor:
        found.append(mixed.mean(0))
        return mixed

    with _outputs(model, keep):
        _logits(model, examples)
    return found


@contextmanager
def without(model: Transformer, heads: Iterable[Head], means: Sequence[Tensor]) -> Iterator[None]:
    """For a while, a model whose ``heads`` give on their ``mean_outputs`` whatever they see.

    Only whole texts can be read meanwhile, with all positions kept: ``model(tokens, record=[])``.
    Raises ``ValueError`` for a head that there is not.
    """
    width, heads = model.spec.width // model.spec.heads, list(heads)
    if unknown := [h for h in heads if not (1 <= h[0] <= model.spec.layers and 1 <= h[1] <= model.spec.heads)]:
        raise ValueError(
            f"no head {unknown[0]}: there are {model.spec.layers} layers of {model.spec.heads} heads, from 1"
        )

    def silence(layer: int, mixed: Tensor) -> Tensor:
        mixed = mixed.clone()
        for head in (number for of, number in heads if of == layer + 1):
            part = slice((head - 1) * width, head * width)
            mixed[..., part] = means[layer][:, part]
        return mixed

    with _outputs(model, silence):
        yield


@torch.no_grad()
def _logits(model: Transformer, examples: Examples) -> Tensor:
    """The logits (B, O, V) of all answers, every position read by every layer."""
    tokens = torch.from_numpy(examples.tokens()).to(next(model.parameters()).device, torch.long)
    return model(tokens[:, : model.shape.context], record=[])[:, model.shape.prompt - 1 :]


def said(model: Transformer, examples: Examples) -> np.ndarray:
    """What a model says at each place of the answer (B, O), uint8, when everything before it is right."""
    return _logits(model, examples).argmax(-1).to("cpu", torch.uint8).numpy()


def right(said: np.ndarray, examples: Examples) -> dict[str, float]:
    """The share of right letters of each of ``heads.LETTERS`` (those that occur), and of whole answers."""
    hits = said == examples.answers
    ended = np.cumsum(examples.answers == examples.encoding.special("end"), axis=1) > 1
    kinds = {name: float(hits[mask].mean()) for name, mask in kinds_of_letters(examples).items() if mask.any()}
    return kinds | {WHOLE: float((hits | ended).all(1).mean())}


def first_letter(said: np.ndarray, examples: Examples) -> dict[str, float]:
    """What stands where the first replaced letter should: shares of ``right``, ``goes on copying``, ``another letter of
    y`` and ``something else``, over examples in which the pattern occurs."""
    rows = np.flatnonzero(examples.applies)
    column = kinds_of_letters(examples)["first replaced"][rows].argmax(1)
    wrote, correct, x = said[rows, column], examples.answers[rows, column], examples.encoding.pattern_length
    y = examples.prompts[rows, x + 1 : x + 1 + examples.encoding.replacement_length]
    copied = wrote == examples.inputs[rows, column]
    cases = {"right": wrote == correct, "goes on copying": copied, "another letter of y": (wrote[:, None] == y).any(1)}
    names = np.select(list(cases.values()), list(cases), "something else")
    return {name: float((names == name).mean()) for name in (*cases, "something else")}


def one_by_one(model: Transformer, examples: Examples) -> pd.DataFrame:
    """Every head silenced by itself: columns layer, head, letters, right, lost (against the whole model)."""
    means, whole, found = mean_outputs(model, examples), right(said(model, examples), examples), []
    for layer in range(1, model.spec.layers + 1):
        for head in range(1, model.spec.heads + 1):
            with without(model, [(layer, head)], means):
                scores = right(said(model, examples), examples)
            found += [(layer, head, name, score, whole[name] - score) for name, score in scores.items()]
    return pd.DataFrame(found, columns=["layer", "head", "letters", "right", "lost"])


def dose(
    model: Transformer, examples: Examples, jobs: pd.DataFrame, sizes: Iterable[int], draws: int = 10
) -> pd.DataFrame:
    """What is left when ever more heads are silenced: the best at each job of ``heads.jobs_of_heads``, or as many others.

    The others are drawn ``draws`` times from the heads that are not among those best ones.  Columns: job, size, chosen
    (``best`` or ``others``), draw, what, share; ``what`` is one of ``heads.LETTERS``, the whole answer, or ``first letter:
    ...`` of ``first_letter``.
    """
    means, rng, found = mean_outputs(model, examples), generator(0, "other heads"), []
    everyone = [(layer, head) for layer in range(1, model.spec.layers + 1) for head in range(1, model.spec.heads + 1)]
    for size in sizes:
        for job, top in best(jobs, size).items():
            others = [head for head in everyone if head not in top]
            picks = [rng.permutation(len(others))[:size] for _ in range(draws if size else 1)]
            groups = [("best", 0, top), *(("others", n, [others[i] for i in pick]) for n, pick in enumerate(picks))]
            for chosen, draw, heads in groups:
                scores = _left(model, examples, heads, means)
                found += [(job, size, chosen, draw, what, share) for what, share in scores.items()]
    return pd.DataFrame(found, columns=["job", "size", "chosen", "draw", "what", "share"])


def repeated(
    specs: Iterable[RunSpec], model_of: Callable[[RunSpec], Transformer], size: int, examples: int = 300
) -> pd.DataFrame:
    """``dose`` of nothing and of ``size`` heads in finished runs, on unseen rules, with the columns instructions and seed."""
    parts = []
    for spec in specs:
        evaluation = spec.evaluation.but(examples=examples)
        unseen = evaluation_examples(spec.task, draw_split(spec.task), evaluation)["unseen"]
        model = model_of(spec)
        table = dose(model, unseen, jobs_of_heads(model, unseen), (0, size))
        parts.append(table.assign(instructions=spec.task.instructions, seed=spec.task.rule_seed))
    return pd.concat(parts, ignore_index=True)


def _left(model: Transformer, examples: Examples, heads: Sequence[Head], means: Sequence[Tensor]) -> dict[str, float]:
    """What is right without these heads."""
    with without(model, heads, means):
        wrote = said(model, examples)
    return right(wrote, examples) | {
        f"first letter: {name}": share for name, share in first_letter(wrote, examples).items()
    }
