"""Two small towers that learn to agree, as CLIP's do: one reads pictures, the other their captions.

*Source.* Radford and others, arXiv 2103.00020: unit features, a learned scale, cross-entropy of all pairs
of a batch in both directions.  *Ours.* Letters for pixels, the transformer of the main study for both towers,
and the mean of all states in place of a class token's.

A *picture* is an input and its output, as in ``ABCD=[DCBA]``, its caption the words of the instruction, as in
``flip this in the square format``: twelve operations and sixteen formats of the symbolic language, and no
format.  Twelve classes, six operations in each of two formats, are held out: pre-training never shows them,
and the verb that will name the operation never with a format.

    >>> Towers(TowersSpec()).picture(torch.zeros(5, PICTURE, dtype=torch.long)).shape
    torch.Size([5, 64])
    >>> classes = held_out(0)
    >>> len(classes), sorted({format for _, format in classes})
    (12, ['listed', 'slashed'])
    >>> texts(classes).shape, pictures(classes, np.random.default_rng(0)).shape
    (torch.Size([12, 8]), torch.Size([12, 12]))
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import lru_cache
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load, save
from torch import Tensor, nn
from torch.nn import functional as F

from unseen.fields import Checked, Count, Seed, spec
from unseen.files import runs_folder, seal, write
from unseen.layout import PAD
from unseen.lm.tune import resuming
from unseen.model import Shape, Transformer, seeded
from unseen.once import content, once
from unseen.specs import ModelSpec, TrainingSpec
from unseen.training import State, optimizers_of, schedule, update
from unseen.worlds.base import generator, pick, word
from unseen.worlds.language import (
    FORMATS,
    LETTERS,
    LONGEST,
    MENTIONS,
    OPERATIONS,
    PHRASES,
    VERBS,
    WITHOUT_ARGUMENT,
    Pair,
    WordTask,
    formatted,
)

TEMPLATE = "{} this in the {} format"  # the text of a held-out class
PICTURE, TEXT = 3 * LONGEST, 8  # tokens
POOL = 40_000  # pairs that pre-training draws from
_IDS = {token: at for at, token in enumerate(WordTask.layout.vocabulary)}


# Pictures and captions


def held_out(seed: int) -> list[Pair]:
    """The held-out classes: six operations, each in two formats."""
    rng = generator(seed, "held-out classes")
    some = [WITHOUT_ARGUMENT[at] for at in sorted(rng.choice(len(WITHOUT_ARGUMENT), 6, replace=False))]
    return list(product(some, [FORMATS[at] for at in rng.choice(len(FORMATS), 2, replace=False)]))


def ids(lines: Sequence[list[str]], length: int) -> Tensor:
    """Token ids (N, length) of lines of tokens, filled up on the right."""
    filled = [[_IDS[token] for token in [*line, *[PAD] * (length - len(line))]] for line in lines]
    return torch.tensor(filled)


def pictures(classes: Sequence[Pair], rng: np.random.Generator) -> Tensor:
    """A picture of each class (an operation, and a format or none) on a random input: token ids (N, T)."""
    lines = []
    for operation, format in classes:
        text = word(LETTERS, LONGEST, rng)
        lines.append(list(f"{text}={formatted(OPERATIONS[operation](text, ''), format)}"))
    return ids(lines, PICTURE)


def texts(classes: Sequence[Pair]) -> Tensor:
    """The texts of held-out classes, by the last verb of each operation: token ids (N, T)."""
    return ids([TEMPLATE.format(VERBS[one][-1], format).split() for one, format in classes], TEXT)


@lru_cache(maxsize=2)
def pairs(seed: int) -> tuple[Tensor, Tensor]:
    """What pre-training reads: pictures (N, T) and the request for each (N, T')."""
    rng, held = generator(seed, "pairs of pre-training"), set(held_out(seed))
    known = [pair for pair in product(WITHOUT_ARGUMENT, ("", *FORMATS)) if pair not in held]
    drawn = [
        pick(known, rng) if rng.random() < 0.7 else (pick(WITHOUT_ARGUMENT, rng), "") for _ in range(POOL)
    ]
    lines = []
    for operation, format in drawn:
        verb = pick(VERBS[operation][:-1] if format else VERBS[operation], rng)
        mention = pick(MENTIONS, rng).format(format) if format else ""
        lines.append(f"{pick(PHRASES, rng).format(verb)} {mention}".split())
    return pictures(drawn, rng), ids(lines, TEXT)


# The towers


@spec
class TowersSpec(Checked):
    """Two towers and their pre-training, with room for ``vectors`` learned ones; ``seed`` draws all."""

    width: Count = 64
    layers: Count = 2
    heads: Count = 4
    vectors: Count = 4
    steps: Count = 1_500
    batch: Count = 64
    seed: Seed = 0

    @property
    def classes(self) -> list[Pair]:
        """The held-out classes."""
        return held_out(self.seed)

    @property
    def training(self) -> TrainingSpec:
        """The optimizers of the main study, with their rates."""
        return TrainingSpec(steps=self.steps, batch=self.batch)


class Tower(Transformer):
    """Tokens (B, T) -> unit features (B, C): the mean of the states of all tokens, which see each other.

    It is the transformer of the main study, up to its head.
    """

    def __init__(self, spec: TowersSpec, length: int):
        span = spec.vectors + length
        model = ModelSpec(layers=spec.layers, width=spec.width, heads=spec.heads)
        super().__init__(model, Shape(len(WordTask.layout.vocabulary), span, span))
        del self.head

    def forward(self, tokens: Tensor, prompt: Tensor | None = None) -> Tensor:
        """The features of tokens, with the learned vectors of a ``prompt`` (M, C) before them.

        Rotary positions are relative, so the vectors move no token away from another.
        """
        x = self.embed(tokens)
        if prompt is not None:
            x = torch.cat([prompt.expand(len(x), -1, -1), x], 1)
        *_, x = self.states(x)
        return F.normalize(F.layer_norm(x, x.shape[-1:])[:, -tokens.size(1) :].mean(1), dim=1)


class Towers(nn.Module):
    """The tower of pictures, that of texts, and the logarithm of the scale of their cosines."""

    def __init__(self, spec: TowersSpec):
        super().__init__()
        self.picture, self.text = Tower(spec, PICTURE), Tower(spec, TEXT)
        self.scale = nn.Parameter(torch.tensor(1 / 0.07).log())

    @property
    def blocks(self) -> nn.ModuleList:
        """The blocks of both towers."""
        return nn.ModuleList([*self.picture.blocks, *self.text.blocks])


def agreement(towers: Towers, shown: Tensor, said: Tensor) -> Tensor:
    """The contrastive loss of a batch of pictures and their texts."""
    logits = towers.scale.exp() * towers.picture(shown) @ towers.text(said).mT
    right = torch.arange(len(logits))
    return (F.cross_entropy(logits, right) + F.cross_entropy(logits.mT, right)) / 2


def pretrained(spec: TowersSpec, checkpoint: Path | None = None, say: Callable[[str], Any] = print) -> Towers:
    """Towers after their pre-training, which resumes from the ``checkpoint`` if that is there."""
    with seeded(spec.seed):
        towers = Towers(spec)
    shown, said = pairs(spec.seed)
    rng = generator(spec.seed, "batches of pre-training")
    plan = [rng.integers(0, POOL, spec.batch) for _ in range(spec.steps)]
    state = State(towers, optimizers_of(towers, spec.training))
    for step in resuming(state, spec.steps, checkpoint, say, f"towers of seed {spec.seed}"):
        loss = agreement(towers, shown[plan[step]], said[plan[step]])
        update(state, loss, schedule(spec.training, step))
    return towers.requires_grad_(False).eval()


def ensured(spec: TowersSpec) -> Towers:
    """Towers of a spec, pre-trained unless they are kept; raises as ``once``."""
    about = {"towers": asdict(spec)}
    folder = runs_folder() / "towers" / seal(about)[:16]

    def make(place: Path) -> dict[str, Any]:
        checkpoint = place / "checkpoint.safetensors"
        write(place / "weights.safetensors", save(pretrained(spec, checkpoint).state_dict()))
        checkpoint.unlink(missing_ok=True)
        return about

    manifest = once(folder, about, make)
    towers = Towers(spec)
    towers.load_state_dict(load(content(folder, "weights.safetensors", manifest)))
    return towers.requires_grad_(False).eval()
