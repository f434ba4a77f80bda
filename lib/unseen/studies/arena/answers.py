"""Whole answers of a model: learned, how likely they are, and new ones drawn at random."""

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from torch import Tensor

from unseen.evaluation import chunks, drawn
from unseen.model import Transformer
from unseen.runs.store import Store, begun
from unseen.specs import RunSpec
from unseen.studies.delia import nucleus
from unseen.training import Data, Row, train
from unseen.worlds.base import Examples


def tuned(run: RunSpec, examples: Examples, watch: Callable[[Row], object] = lambda row: None) -> Transformer:
    """The base of a run tuned as the run says, but on ``examples`` in place of those that its task draws.

    Raises as ``Store.base``, and as ``train``.
    """
    run = run.with_task(examples=len(examples))
    return train(run, begun(run, Store(), "cpu"), Data(None, examples, {}), watch).model


def log_probability(logits: Tensor, answers: Tensor, end: int) -> Tensor:
    """The log probability (B,) in nats of each answer (B, O), its first end token included, by its logits
    (B, O, V).

    >>> certain = torch.tensor([[[0.0, 9.0], [0.0, 0.0]]])
    >>> log_probability(certain, torch.tensor([[1, 0]]), end=1).item() > -0.001
    True
    """
    said = logits.log_softmax(-1).gather(-1, answers[..., None]).squeeze(-1)
    behind = (answers == end).cumsum(1) - (answers == end).long() > 0
    return said.masked_fill(behind, 0.0).sum(1)


@torch.no_grad()
def log_probabilities(model: Transformer, examples: Examples) -> Tensor:
    """The log probability (N,) in nats of the answer of each example."""
    end, length = examples.layout.special("end"), examples.answers.shape[1]
    parts = [log_probability(model(ids[:, :-1]), ids[:, -length:], end) for ids in chunks(examples)]
    return torch.cat(parts)


def sampled(model: Transformer, prompts: np.ndarray, length: int, end: int, seed: int) -> np.ndarray:
    """An answer (N, O), uint8, drawn at temperature 1 to each prompt (N, P), filled up with end tokens."""
    draw = partial(nucleus, temperature=1.0, top_p=1.0, generator=torch.Generator().manual_seed(seed))
    answers = drawn(model, prompts, length, draw)
    ended = (answers == end).cumsum(1) > 0
    return np.where(ended, np.uint8(end), answers)
