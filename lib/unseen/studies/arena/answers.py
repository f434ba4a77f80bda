"""Whole answers of a model: learned, and new ones drawn at random."""

from collections.abc import Callable
from functools import partial

import numpy as np
import torch

from unseen.evaluation import drawn
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


def sampled(model: Transformer, prompts: np.ndarray, length: int, end: int, seed: int) -> np.ndarray:
    """An answer (N, O), uint8, drawn at temperature 1 to each prompt (N, P), filled up with end tokens."""
    draw = partial(nucleus, temperature=1.0, top_p=1.0, generator=torch.Generator().manual_seed(seed))
    answers = drawn(model, prompts, length, draw)
    ended = (answers == end).cumsum(1) > 0
    return np.where(ended, np.uint8(end), answers)
