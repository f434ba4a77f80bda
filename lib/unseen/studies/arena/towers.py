"""Two small towers that learn to agree, as CLIP's do: one reads pictures, the other their captions.

*Source.* Radford and others, arXiv 2103.00020: unit features, a learned scale, cross-entropy of all pairs
of a batch in both directions.  *Ours.* Letters for pixels (``captions``), the transformer of the main study
for both towers, and the mean of all states in place of a class token's.

    >>> Towers(TowersSpec()).picture(torch.zeros(5, PICTURE, dtype=torch.long)).shape
    torch.Size([5, 64])
"""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load, save
from torch import Tensor, nn
from torch.nn import functional as F

from unseen.fields import Checked, Count, Seed, spec
from unseen.files import runs_folder, seal, write
from unseen.lm.tune import resuming
from unseen.model import Shape, Transformer, seeded
from unseen.once import content, once
from unseen.specs import ModelSpec, TrainingSpec
from unseen.studies.arena.captions import PICTURE, POOL, TEXT, held_out, pairs
from unseen.training import State, optimizers_of, schedule
from unseen.worlds.base import generator
from unseen.worlds.language import Pair, WordTask


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
        for block in self.blocks:
            x = block(x, 0, 0, self.mask, None, None)
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
    rates = {each: each.param_groups[0]["lr"] for each in state.optimizers}
    for step in resuming(state, spec.steps, checkpoint, say, f"towers of seed {spec.seed}"):
        for each, rate in rates.items():
            each.param_groups[0]["lr"] = rate * schedule(spec.training, step)
        towers.zero_grad()
        loss = agreement(towers, shown[plan[step]], said[plan[step]])
        loss.backward()
        for each in rates:
            each.step()
        state.losses.append(loss.detach())
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
