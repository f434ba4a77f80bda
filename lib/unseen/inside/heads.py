"""Which heads find the pattern in the input, and which fetch the letters that are written.

Finding shows in the prompt: letters of the match in z look at x, and x looks at the match.  Fetching shows in the
answer: ``attention.on_source``.  Both are attention weights of many examples, so they name suspects; ``surgery`` asks
what breaks without them.

Letters for shapes are those of ``model``: B examples, H heads, T tokens read, O tokens of the answer.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from unseen.datasets import Examples
from unseen.model import Transformer
from unseen.tour.attention import attention, on_source

DIRECTIONS = ("match looks at x", "x looks at match")
LETTERS = ("copied before", "first replaced", "other replaced", "copied behind")  # of an answer
JOBS = ("finds the match", "copies z", "reads y")
Head = tuple[int, int]  # layer and head, both from 1


def match_places(examples: Examples) -> np.ndarray:
    """Where in z the leftmost match begins, (B,); -1 in a no-op."""
    x = examples.prompts[:, : examples.encoding.pattern_length]
    windows = np.lib.stride_tricks.sliding_window_view(examples.inputs, x.shape[1], axis=1)  # (B, places, |x|)
    found = (windows == x[:, None]).all(-1)
    return np.where(found.any(1), found.argmax(1), -1)


def kinds_of_letters(examples: Examples) -> dict[str, np.ndarray]:
    """For each of ``LETTERS`` which tokens of the answers are of it, (B, O); end tokens are of none.

    The first replaced letter is the one that takes a knowledge of the place: before it a model has only copied, and
    behind it its own answer shows that the match has come.

    >>> from unseen.tour.probes import one_example
    >>> from unseen.encoding import Encoding
    >>> from unseen.rewriting import Rule
    >>> from unseen.specs import TaskSpec
    >>> kinds = kinds_of_letters(one_example(Encoding.of(TaskSpec()), Rule("iss", "art"), "kissmeonce"))
    >>> {name: int(mask.sum()) for name, mask in kinds.items()}
    {'copied before': 1, 'first replaced': 1, 'other replaced': 2, 'copied behind': 6}
    """
    encoding, at = examples.encoding, match_places(examples)[:, None]  # (B, 1)
    at = np.where(at < 0, encoding.input_length, at)  # a no-op: all of it is before
    j, letter = np.arange(encoding.answer_length), examples.answers != encoding.special("end")
    behind = at + encoding.replacement_length
    masks = (j < at, j == at, (j > at) & (j < behind), j >= behind)
    return {name: mask & letter for name, mask in zip(LETTERS, masks, strict=True)}


def on_match(weights: Sequence[np.ndarray], examples: Examples) -> pd.DataFrame:
    """How much each head tells the match from the rest of z, by attention between x and z; no-ops are left out.

    Columns: layer, head (from 1), direction (of ``DIRECTIONS``), attention (mean share) and excess: ``match looks at
    x`` less what the other letters of z put on x, ``x looks at match`` less what it would be if the attention on z
    were spread evenly.  A head that does not care where the match is has an excess of 0.
    """
    at, (x, z) = match_places(examples), _spans(examples)
    chosen, size = at >= 0, examples.encoding.pattern_length
    j = np.arange(examples.encoding.input_length)
    match = ((j >= at[chosen, None]) & (j < at[chosen, None] + size))[:, None]  # (B, 1, |z|)
    found = []
    for layer, part in enumerate(weights, start=1):
        to_x = part[chosen][:, :, z, x].sum(-1)  # (B, H, |z|)
        to_z = part[chosen][:, :, x, z].mean(-2)  # (B, H, |z|)
        inside, outside = _mean(to_x, match), _mean(to_x, ~match)
        hit, spread = (to_z * match).sum(-1).mean(0), to_z.sum(-1).mean(0) * size / len(j)
        for direction, seen, excess in zip(DIRECTIONS, (inside, hit), (inside - outside, hit - spread), strict=True):
            found += [(layer, h + 1, direction, seen[h], excess[h]) for h in range(len(seen))]
    return pd.DataFrame(found, columns=["layer", "head", "direction", "attention", "excess"])


def _mean(shares: np.ndarray, where: np.ndarray) -> np.ndarray:
    """The mean of (B, H, L) over the letters in (B, 1, L), for each head (H,)."""
    return (shares * where).sum((0, 2)) / max(1, where.sum())


def _spans(examples: Examples) -> tuple[slice, slice]:
    """Where x and z stand in a prompt."""
    encoding = examples.encoding
    return slice(0, encoding.pattern_length), slice(
        encoding.prompt_length - 1 - encoding.input_length, encoding.prompt_length - 1
    )


def jobs_of_heads(model: Transformer, examples: Examples) -> pd.DataFrame:
    """The score of every head at three jobs, from one reading of the examples with their right answers.

    Columns: layer, head, job, score.  ``finds the match`` is the larger excess of ``on_match``, ``copies z`` and
    ``reads y`` are the attention of ``attention.on_source`` on letters to be copied and to be put in.
    """
    weights = attention(model, examples.tokens())
    finds = on_match(weights, examples).groupby(["layer", "head"])["excess"].max().reset_index(name="score")
    fetches = on_source(weights, examples).rename(columns={"attention": "score"})
    parts = [
        finds.assign(job=JOBS[0]),
        fetches.assign(job=fetches["job"].map({"copied": JOBS[1], "replaced": JOBS[2]})),
    ]
    return pd.concat(parts, ignore_index=True)[["layer", "head", "job", "score"]]


def best(jobs: pd.DataFrame, size: int) -> dict[str, list[Head]]:
    """The ``size`` heads with the highest score at each job of ``jobs_of_heads``, the best first.

    >>> scores = pd.DataFrame({"layer": [1, 1, 2], "head": [1, 2, 1], "job": "copies z", "score": [0.2, 0.5, 0.9]})
    >>> best(scores, 2)
    {'copies z': [(2, 1), (1, 2)]}
    """
    ordered = jobs.sort_values("score", ascending=False, kind="stable")
    return {str(job): [(int(row.layer), int(row.head)) for row in part.head(size).itertuples()]
            for job, part in ordered.groupby("job", sort=True)}  # fmt: skip
