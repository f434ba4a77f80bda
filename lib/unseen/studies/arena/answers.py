"""Whole answers of a model: learned, and new ones drawn at random."""

from collections.abc import Callable
from functools import partial

import numpy as np
import torch

from unseen.evaluation import behind, drawn
from unseen.layout import Layout
from unseen.model import Transformer
from unseen.objectives import Objective, loss_of
from unseen.runs.store import Store, begun
from unseen.specs import RunSpec
from unseen.studies.delia import nucleus
from unseen.training import Data, Row, train
from unseen.worlds.base import Examples


def tuned(
    run: RunSpec,
    examples: Examples,
    watch: Callable[[Row], object] = lambda row: None,
    objective: Objective = loss_of,
) -> Transformer:
    """The base of a run tuned as the run says, but on ``examples`` in place of those that its task draws.

    Raises as ``Store.base``, and as ``train``.
    """
    run = run.with_task(examples=len(examples))
    return train(run, begun(run, Store(), "cpu"), Data(examples), watch, objective=objective).model


def sampled(model: Transformer, prompts: np.ndarray, layout: Layout, seed: int) -> np.ndarray:
    """An answer (N, O), uint8, drawn at temperature 1 to each prompt (N, P), filled up with end tokens."""
    draw = partial(nucleus, temperature=1.0, top_p=1.0, generator=torch.Generator().manual_seed(seed))
    answers, end = drawn(model, prompts, layout.answer_length, draw), layout.special("end")
    return np.where(behind(answers, end), np.uint8(end), answers)
