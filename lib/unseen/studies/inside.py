"""One trained model, opened: where its heads look, what breaks without them, what each layer predicts.

Attention weights only name suspects (``jobs_of_heads``); mean ablation shows what an answer needs
(``ablate_best``).  The logit lens (``after_each_layer``) reads the residual stream before the last layer.

Letters for shapes are those of ``model``: B examples, H heads, T tokens read, O tokens of an answer.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import product

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from unseen.evaluation import exact_match
from unseen.model import Transformer
from unseen.studies.tour import attention, match_places, on_source
from unseen.worlds.base import Examples, generator

JOBS = ("finds the match", "copies z", "reads y")
LETTERS = ("copied before", "first replaced", "other replaced", "copied behind")  # of an answer
WHOLE = "whole answer"
Head = tuple[int, int]  # layer and head, both from 1


def kinds_of_letters(examples: Examples) -> dict[str, np.ndarray]:
    """For each of ``LETTERS`` which tokens of the answers are of that kind, (B, O); end tokens are of none.

    The first replaced letter is the one that needs the place: before it a model has only copied, and after it
    its own answer shows that the match has come.

    >>> from unseen.rewriting import Rule
    >>> from unseen.studies.tour import one_example
    >>> from unseen.worlds.strings import TaskSpec
    >>> kinds = kinds_of_letters(one_example(TaskSpec().layout, Rule("iss", "art"), "kissmeonce"))
    >>> {name: int(mask.sum()) for name, mask in kinds.items()}
    {'copied before': 1, 'first replaced': 1, 'other replaced': 2, 'copied behind': 6}
    """
    layout, at = examples.layout, match_places(examples)[:, None]  # (B, 1)
    at = np.where(at < 0, layout.input_length, at)  # in a no-op every letter is before
    j, letter = np.arange(layout.answer_length), examples.answers != layout.special("end")
    behind = at + layout.replacement_length
    masks = (j < at, j == at, (j > at) & (j < behind), j >= behind)
    return {name: mask & letter for name, mask in zip(LETTERS, masks, strict=True)}


def finds_match(weights: Sequence[np.ndarray], examples: Examples) -> pd.DataFrame:
    """How well each head tells the match from the rest of z: columns layer, head, score; no-ops are left out.

    ``weights`` are ``attention``.  The score is the larger of two: what letters of the match put on x
    less what other letters of z put there; and what x puts on the match less what it would put there if its
    attention on z were even.  A head that ignores the match scores 0.
    """
    layout, at = examples.layout, match_places(examples)
    chosen, size, length = at >= 0, layout.pattern_length, layout.input_length
    x, z = layout.place("x"), layout.place("z")
    place, start = np.arange(length), at[chosen, None]
    match = ((place >= start) & (place < start + size))[:, None]  # (B, 1, |z|)
    rows = []
    for layer, part in enumerate(weights, start=1):
        to_x = part[chosen][:, :, z, x].sum(-1)  # (B, H, |z|)
        to_z = part[chosen][:, :, x, z].mean(-2)  # (B, H, |z|)
        inside, outside = ((to_x * where).sum((0, 2)) / max(1, where.sum()) for where in (match, ~match))
        hit, even = (to_z * match).sum(-1).mean(0), to_z.sum(-1).mean(0) * size / length
        score = np.maximum(inside - outside, hit - even)  # (H,)
        rows += [(layer, head, value) for head, value in enumerate(score, start=1)]
    return pd.DataFrame(rows, columns=["layer", "head", "score"])


def jobs_of_heads(model: Transformer, examples: Examples) -> pd.DataFrame:
    """The score of every head at each of ``JOBS`` on the right answers: columns layer, head, job, score.

    ``copies z`` and ``reads y`` are the attention on the very letter to be written (``attention.on_source``).
    """
    weights = attention(model, examples.tokens())
    finds = finds_match(weights, examples).assign(job=JOBS[0])
    fetches = on_source(weights, examples).rename(columns={"attention": "score"})
    fetches["job"] = fetches["job"].map({"copied": JOBS[1], "replaced": JOBS[2]})
    return pd.concat([finds, fetches], ignore_index=True)[["layer", "head", "job", "score"]]


def best(jobs: pd.DataFrame, size: int) -> dict[str, list[Head]]:
    """The ``size`` heads with the highest score at each job of ``jobs_of_heads``, the best first.

    >>> scores = pd.DataFrame({"layer": [1, 2], "head": [2, 1], "job": "copies z", "score": [0.5, 0.9]})
    >>> best(scores, 2)
    {'copies z': [(2, 1), (1, 2)]}
    """
    ordered = jobs.sort_values("score", ascending=False, kind="stable")
    tops = {str(job): part[["layer", "head"]].head(size) for job, part in ordered.groupby("job")}
    return {job: list(top.itertuples(index=False, name=None)) for job, top in tops.items()}


# Mean ablation


def all_heads(model: Transformer) -> list[Head]:
    """Every head of a model, layer by layer."""
    return list(product(range(1, model.spec.layers + 1), range(1, model.spec.heads + 1)))


@contextmanager
def _outputs(model: Transformer, change: Callable[[int, Tensor], Tensor]) -> Iterator[None]:
    """While open, the outputs of a layer's heads, (B, T, C) side by side, go through ``change``."""
    for layer, block in enumerate(model.blocks):
        output = block.output

        def changed(mixed: Tensor, layer: int = layer, output: Callable = output) -> Tensor:
            return output(change(layer, mixed))

        block.__dict__["output"] = changed  # found before the method of one recipe, the module of the other
    try:
        yield
    finally:
        for block in model.blocks:
            del block.__dict__["output"]


def mean_outputs(model: Transformer, examples: Examples) -> list[Tensor]:
    """The outputs of each layer's heads at each position, the mean over examples: L tensors (T, C)."""
    means: list[Tensor] = []

    def keep(layer: int, mixed: Tensor) -> Tensor:
        means.append(mixed.mean(0))
        return mixed

    with _outputs(model, keep):
        predictions(model, examples)
    return means


@torch.no_grad()
def predictions(model: Transformer, examples: Examples) -> np.ndarray:
    """The likeliest token at each place of the answer (B, O), uint8, given the right ones before it."""
    tokens = torch.from_numpy(examples.tokens()).to(next(model.parameters()).device, torch.long)
    logits = model(tokens[:, : model.shape.context], record=[])  # with a record all positions are kept
    return logits[:, model.shape.prompt - 1 :].argmax(-1).to("cpu", torch.uint8).numpy()


def ablated(model: Transformer, examples: Examples, heads: list[Head], means: list[Tensor]) -> np.ndarray:
    """``predictions`` under mean ablation: ``heads`` give their ``mean_outputs`` whatever they read.

    The model is unchanged afterwards.  Raises ``ValueError`` for a head that does not exist.
    """
    spec, known = model.spec, all_heads(model)
    if unknown := [head for head in heads if head not in known]:
        raise ValueError(f"head {unknown[0]}: there are {spec.layers} layers of {spec.heads} heads")
    width = spec.width // spec.heads

    def ablate(layer: int, mixed: Tensor) -> Tensor:
        mixed = mixed.clone()
        for head in (number for of, number in heads if of == layer + 1):
            part = slice((head - 1) * width, head * width)
            mixed[..., part] = means[layer][:, part]
        return mixed

    with _outputs(model, ablate):
        return predictions(model, examples)


def shares_right(predicted: np.ndarray, examples: Examples) -> dict[str, float]:
    """The share of right letters of each of ``LETTERS`` that occurs, and of whole answers."""
    hits, kinds = predicted == examples.answers, kinds_of_letters(examples)
    shares = {name: float(hits[mask].mean()) for name, mask in kinds.items() if mask.any()}
    return shares | {WHOLE: float(exact_match(predicted, examples).mean())}


def first_letter(predicted: np.ndarray, examples: Examples) -> dict[str, float]:
    """What is predicted for the first replaced letter, where the pattern occurs: the share of each case."""
    rows = np.flatnonzero(examples.applies)
    column = kinds_of_letters(examples)["first replaced"][rows].argmax(1)
    letter, y = predicted[rows, column], examples.prompts[rows, examples.layout.place("y")]
    cases = {
        "right": letter == examples.answers[rows, column],
        "goes on copying": letter == examples.inputs[rows, column],
        "another letter of y": (letter[:, None] == y).any(1),
    }
    names = np.select(list(cases.values()), list(cases), "something else")
    return {f"first letter: {name}": float((names == name).mean()) for name in (*cases, "something else")}


def ablate_best(
    model: Transformer, examples: Examples, jobs: pd.DataFrame, sizes: Iterable[int], draws: int = 10
) -> pd.DataFrame:
    """What is right when the ``size`` best heads at each job of ``jobs`` are ablated, or as many others.

    ``jobs`` is that of ``jobs_of_heads``.  The others are drawn ``draws`` times from the remaining
    heads.  Columns: job, size, chosen (``best`` or ``others``), draw, what, share; ``what`` is a key of
    ``shares_right`` or ``first_letter``.
    """
    means, rng, rows = mean_outputs(model, examples), generator(0, "other heads"), []
    for size in sizes:
        for job, top in best(jobs, size).items():
            others = [head for head in all_heads(model) if head not in top]
            picks = [rng.permutation(len(others))[:size] for _ in range(draws if size else 1)]
            groups = [("others", draw, [others[i] for i in pick]) for draw, pick in enumerate(picks)]
            for chosen, draw, heads in (("best", 0, top), *groups):
                predicted = ablated(model, examples, heads, means)
                found = shares_right(predicted, examples) | first_letter(predicted, examples)
                rows += [(job, size, chosen, draw, what, share) for what, share in found.items()]
    return pd.DataFrame(rows, columns=["job", "size", "chosen", "draw", "what", "share"])


# The logit lens


@torch.no_grad()
def after_each_layer(model: Transformer, tokens: np.ndarray) -> np.ndarray:
    """The logit lens (nostalgebraist, 2020): probabilities (L + 1, B, O, V) after each layer.

    The first is that of the embedding.  The residual stream goes through the model's own output head, which
    was trained for the last layer only: a hint, not a decision.  ``tokens`` (B, P + O) are prompt and answer.

    >>> from unseen.model import Shape, build
    >>> from unseen.specs import ModelSpec
    >>> model = build(ModelSpec(layers=2, width=8, heads=2), Shape(vocabulary=10, prompt=9, context=15))
    >>> after_each_layer(model, np.zeros((3, 16), np.uint8)).shape
    (3, 3, 7, 10)
    """
    states = streams(model, tokens[:, : model.shape.context])
    predicted = [model.unembed(x[:, model.shape.prompt - 1 :]).softmax(-1) for x in states]
    return torch.stack(predicted).cpu().numpy()


@torch.no_grad()
def streams(model: Transformer, tokens: np.ndarray) -> list[Tensor]:
    """The residual stream (B, T, C) of what a model reads, before its first layer and after each."""
    ids = torch.from_numpy(tokens).to(next(model.parameters()).device, torch.long)
    return list(model.states(model.embed(ids)))
