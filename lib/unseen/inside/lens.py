"""What a model would say if it stopped after each layer: the logit lens (nostalgebraist, 2020).

The residual stream behind a layer goes through the model's own output head, which was trained for the last layer only:
what it says earlier is a hint, not a thought.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from unseen.datasets import Examples
from unseen.inside.heads import kinds_of_letters
from unseen.model import Transformer


@contextmanager
def _streams(model: Transformer, found: list[Tensor]) -> Iterator[None]:
    """For a while, the residual stream (B, T, C) behind each layer is appended to ``found``."""
    hooks = [block.register_forward_hook(lambda _, __, output: found.append(output)) for block in model.blocks]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


@torch.no_grad()
def probabilities(model: Transformer, tokens: np.ndarray) -> np.ndarray:
    """What would be said after each layer while reading tokens (B, P + O): (L + 1, B, O, V); 0 is the embedding.

    >>> from unseen.model import Shape, build
    >>> from unseen.specs import ModelSpec
    >>> model = build(ModelSpec(layers=2, width=8, heads=2), Shape(vocabulary=10, prompt=9, context=15))
    >>> probabilities(model, np.zeros((3, 16), np.uint8)).shape
    (3, 3, 7, 10)
    """
    ids = torch.from_numpy(tokens).to(next(model.parameters()).device, torch.long)[:, : model.shape.context]
    streams: list[Tensor] = []
    with _streams(model, streams):
        model(ids, record=[])  # with a record the last layer keeps all positions too
    said = [model.unembed(x[:, model.shape.prompt - 1 :]).softmax(-1) for x in (model.embed(ids), *streams)]
    return torch.stack(said).cpu().numpy()


def candidates(model: Transformer, example: Examples, answer: np.ndarray, most: int = 4) -> pd.DataFrame:
    """The likeliest letters after each layer for one example (B = 1), while the model reads ``answer`` (O,).

    Columns: layer (0 is the embedding), place (from 0), rank (from 1), letter, probability, right (whether it is the
    oracle's letter there).
    """
    tokens = np.concatenate([example.prompts, answer[None]], axis=1)
    chances = probabilities(model, tokens)[:, 0]  # (L + 1, O, V)
    order = np.argsort(-chances, axis=-1, kind="stable")[..., :most]
    layer, place, rank = np.indices(order.shape)
    table = {"layer": layer, "place": place, "rank": rank + 1, "letter": np.array(list(example.encoding.vocabulary))[order],
             "probability": np.take_along_axis(chances, order, -1), "right": order == example.answers[0][:, None]}  # fmt: skip
    return pd.DataFrame({name: column.ravel() for name, column in table.items()})


def by_layer(model: Transformer, examples: Examples) -> pd.DataFrame:
    """How likely the right letter is after each layer: columns layer, letters (of ``heads.LETTERS``), probability (mean)."""
    chances = probabilities(model, examples.tokens())  # (L + 1, B, O, V)
    of_right = np.take_along_axis(chances, examples.answers[None, ..., None].astype(np.int64), -1)[..., 0]
    kinds = {name: mask for name, mask in kinds_of_letters(examples).items() if mask.any()}
    rows = [
        (layer, name, float(part[mask].mean())) for layer, part in enumerate(of_right) for name, mask in kinds.items()
    ]
    return pd.DataFrame(rows, columns=["layer", "letters", "probability"])
