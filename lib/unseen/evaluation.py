"""Scoring: greedy decoding of whole answers, exact match by split, baselines and intervals.

An answer counts when every one of its tokens is right, the end included.  Paper, section 2.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from unseen.layout import Layout
from unseen.model import Cache, Transformer
from unseen.rewriting import Rule
from unseen.stats import wilson
from unseen.worlds.base import Examples
from unseen.worlds.rules import Instructions, nearest_rules
from unseen.worlds.strings import cipher_table, count, replace_at, rewrite

_CHUNK = 512  # examples decoded at a time


def greedy_answers(model: Transformer, prompts: np.ndarray) -> np.ndarray:
    """The model's own answers (N, O), uint8, to prompts (N, P): the likeliest token, fed back, O times."""
    length = model.shape.context - prompts.shape[1] + 1
    return drawn(model, prompts, length, lambda logits: logits.argmax(-1))


@torch.no_grad()
def drawn(
    model: Transformer,
    prompts: np.ndarray,
    length: int,
    draw: Callable[[Tensor], Tensor],
    at_once: int = _CHUNK,
) -> np.ndarray:
    """The model's own tokens (N, ``length``), uint8, after prompts (N, P), ``at_once`` of them at a time.

    ``draw`` takes logits (n, V) and returns a token for each, (n,).
    """
    device, parts = next(model.parameters()).device, []
    for chunk in np.array_split(prompts, range(at_once, len(prompts), at_once)):
        cache, tokens = Cache(len(model.blocks)), torch.from_numpy(chunk).to(device, torch.long)
        written = []
        for _ in range(length):
            tokens = draw(model(tokens, cache)[:, -1])[:, None]
            written.append(tokens)
        parts.append(torch.cat(written, 1).to("cpu", torch.uint8).numpy())
    return np.concatenate(parts)


def chunks(examples: Examples) -> Iterator[Tensor]:
    """The tokens of examples, prompt and answer, some hundreds at a time: (n, P + O)."""
    for part in np.array_split(examples.tokens(), range(_CHUNK, len(examples), _CHUNK)):
        yield torch.from_numpy(part).long()


@torch.no_grad()
def all_right(model: Transformer, examples: Examples) -> np.ndarray:
    """Whether each answer is exactly right (N,), from one reading of the right answers.

    Equal to exact match of ``greedy_answers`` (as long as every token so far is right, greedy decoding
    reads the same text) at a tenth of the time; the history of a run uses it.
    """
    device, length = next(model.parameters()).device, examples.answers.shape[1]
    answers = [model(ids[:, :-1].to(device))[:, -length:].argmax(-1) for ids in chunks(examples)]
    return exact_match(torch.cat(answers).to("cpu", torch.uint8).numpy(), examples)


def log_probability(logits: Tensor, answers: Tensor, end: int) -> Tensor:
    """The log probability (B,) in nats of each answer (B, O), its first end token included, by its logits
    (B, O, V).

    >>> certain = torch.tensor([[[0.0, 9.0], [0.0, 0.0]]])
    >>> log_probability(certain, torch.tensor([[1, 0]]), end=1).item() > -0.001
    True
    """
    said = logits.log_softmax(-1).gather(-1, answers[..., None]).squeeze(-1)
    return said.masked_fill(behind(answers, end), 0.0).sum(1)


@torch.no_grad()
def log_probabilities(model: Transformer, examples: Examples) -> Tensor:
    """The log probability (N,) in nats of the answer of each example."""
    end, length = examples.layout.special("end"), examples.answers.shape[1]
    parts = [log_probability(model(ids[:, :-1]), ids[:, -length:], end) for ids in chunks(examples)]
    return torch.cat(parts)


def exact_match(answers: np.ndarray, examples: Examples) -> np.ndarray:
    """Whether each answer (N, O) is right up to and with its end token: (N,), bool.

    What a model writes behind the end of its answer does not count.
    """
    ignored = behind(examples.answers, examples.layout.special("end"))
    return ((answers == examples.answers) | ignored).all(1)


def behind(answers: Any, end: int) -> Any:
    """Which tokens of answers (N, O), an array or a tensor, are behind the first end token.

    >>> behind(np.array([[7, 0, 3, 0]]), end=0).tolist()
    [[False, False, True, True]]
    """
    ends = answers == end
    return ends.cumsum(1) > ends


def baselines(
    examples: Examples, instructions: Instructions, known: Instructions, cipher: str = ""
) -> dict[str, np.ndarray]:
    """Answers (N, O) that need no learning, to examples drawn from ``instructions``.

    ``oracle`` applies the rule, and the ``cipher`` of the task where it has one; ``copy`` repeats the input;
    ``nearest rule`` puts in what the *known* rule with the most similar pattern would: a perfect memory of
    the training rules.
    """
    layout, z = examples.layout, examples.inputs.T
    end, length = layout.special("end"), layout.answer_length
    x, y = instructions.patterns[examples.rule].T, instructions.replacements[examples.rule].T
    remembered = known.replacements[nearest_rules(instructions.patterns, known)][examples.rule].T
    copied = np.full((length, len(examples)), end, np.uint8)
    copied[: min(len(z), length)] = z[:length]
    secret = cipher_table(layout.alphabet, cipher)
    return {
        "oracle": secret[rewrite(x, y, z, layout)].T,
        "copy": copied.T,
        "nearest rule": secret[rewrite(x, remembered, z, layout)].T,
    }


def without_pattern(examples: Examples, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Answers (N, O) that do not read the pattern: they only choose where y goes in the input.

    ``y first`` writes y over the first letters; ``commonest`` over the leftmost of the strings of |x| letters
    that occur most often; ``most regular`` over the leftmost of those with the fewest different letters;
    ``anywhere`` at a random place.  What a model scores is held against them first.
    """
    layout, z = examples.layout, np.ascontiguousarray(examples.inputs.T)  # (|z|, N)
    x = layout.pattern_length
    places = range(layout.places)
    ordered = [np.sort(z[place : place + x], axis=0) for place in places]  # equal letters side by side
    at = {
        "y first": np.zeros(len(examples), int),
        "commonest": np.argmax([count(z[place : place + x], z) for place in places], 0),
        "most regular": np.argmin([(np.diff(each, axis=0) != 0).sum(0) for each in ordered], 0),
        "anywhere": rng.integers(0, len(places), len(examples)),
    }
    written, shape = examples.prompts.T[layout.place("y")], (layout.answer_length, layout.special("end"))
    return {name: replace_at(each, x, written, z, *shape).T for name, each in at.items()}


def share(right: np.ndarray) -> dict[str, float]:
    """The share of what is right (N,), with its 95 % interval, as columns of a tidy frame.

    >>> share(np.array([True, False]))["accuracy"]
    0.5
    """
    low, high = wilson(int(right.sum()), len(right))
    return {"accuracy": float(right.mean()), "low": low, "high": high, "examples": len(right)}


def share_by_kind(right: np.ndarray, examples: Examples) -> list[dict[str, float | str]]:
    """``share`` for inputs that hold the pattern (kind ``has-op``) and for those that do not (``no-op``)."""
    kinds = {"has-op": examples.applies, "no-op": ~examples.applies}
    return [{"kind": kind, **share(right[mask])} for kind, mask in kinds.items() if mask.any()]


def examples_table(model: Transformer, examples: Examples, rows: int = 10) -> pd.DataFrame:
    """The first answers of a model beside the right ones, as text."""
    few = examples.first(rows)
    answers = greedy_answers(model, few.prompts)
    lines = [few.line(i) for i in range(len(few))]
    return pd.DataFrame({
        "rule": [str(line.rule) for line in lines],
        "input": [line.text for line in lines],
        "right answer": [line.answer for line in lines],
        "model's answer": [few.layout.answer(answer) for answer in answers],
        "right": exact_match(answers, few),
    })  # fmt: skip


def answer(model: Transformer, layout: Layout, rule: Rule, text: str) -> str:
    """What a model answers to one rule and one input, as text.

    Raises ``ValueError`` when a part has the wrong length or an unknown letter.
    """
    prompt = layout.ids(layout.prompt(rule, text))
    return layout.answer(greedy_answers(model, prompt[None])[0])
