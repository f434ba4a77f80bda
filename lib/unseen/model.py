"""One decoder-only transformer in two recipes, chosen by its spec.

``gpt2`` is the paper's model (GPT-2 from scratch: learned positions, LayerNorm with bias, GELU, tied
embeddings).  ``modern`` learns the same task in a fraction of the time on a processor: rotary positions,
a look-back on the embeddings of two tokens, a prompt that attends to itself in both directions, norms
without parameters, squared ReLU, and output matrices that start at zero.

Letters used for shapes, here and in the other modules::

    B examples   T tokens read (the context)   P tokens of the prompt   O tokens of the answer
    C width      H heads    D = C / H          V vocabulary             L layers

Both recipes read tokens (B, T) and give logits (B, O, V) for the answer alone: what a model would say
inside the prompt is neither needed nor scored, so the last layer does not compute it.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unseen.layout import Layout
from unseen.specs import ModelSpec


@dataclass(frozen=True)
class Shape:
    """The sizes that a task needs of a model."""

    vocabulary: int
    prompt: int
    context: int

    @classmethod
    def of(cls, layout: Layout) -> "Shape":
        """The sizes of a layout."""
        prompt = layout.labels[0] if layout.labels else layout.prompt_length
        return cls(len(layout.vocabulary), prompt, layout.context)


class Cache:
    """What decoding keeps between tokens: the tokens read so far and each layer's keys and values."""

    def __init__(self, layers: int):
        self.tokens: Tensor | None = None  # (B, T so far)
        self.past: list[tuple[Tensor, Tensor] | None] = [None] * layers

    def extend(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Add the newest keys and values (B, H, n, D) of a layer; return all of them."""
        if past := self.past[layer]:
            keys, values = torch.cat([past[0], keys], 2), torch.cat([past[1], values], 2)
        self.past[layer] = keys, values
        return keys, values


class _SquaredReLUMLP(torch.autograd.Function):
    """``relu(x up^T)^2 down^T`` with its gradient written out.

    The same arithmetic as the three plain lines, with a third of the passes over the wide hidden
    array, which is what an MLP of this size spends its time on.  x (N, C), up (M, C), down (C, M).
    """

    @staticmethod
    def forward(ctx, x: Tensor, up: Tensor, down: Tensor) -> Tensor:
        hidden = (x @ up.mT).relu_()  # (N, M)
        squared = hidden * hidden
        ctx.save_for_backward(x, up, down, hidden, squared)
        return squared @ down.mT

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x, up, down, hidden, squared = ctx.saved_tensors
        inner = (gradient @ (2 * down)).mul_(hidden)  # (N, M): d(h^2) = 2 h dh, the 2 on the small matrix
        return inner @ up, inner.mT @ x, gradient.mT @ squared


def attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor, record: list[Tensor] | None = None) -> Tensor:
    """Softmax attention of queries (B, H, n, D) over keys and values (B, H, m, D); mask (n, m) is added.

    Short texts on a processor take two batched products (twice as fast there as the fused kernel, which
    everything else uses).  The weights (B, H, n, m) are appended to ``record`` when it is given.
    """
    if record is None and (q.device.type != "cpu" or k.size(2) > 96):
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    (b, h, n, d), m = q.shape, k.size(2)
    scores = torch.baddbmm(
        mask.expand(b * h, n, m), q.reshape(b * h, n, d), k.reshape(b * h, m, d).mT, alpha=d**-0.5
    )
    weights = scores.softmax(-1)
    if record is not None:
        record.append(weights.detach().view(b, h, n, m))
    return (weights @ v.reshape(b * h, m, d)).view(b, h, n, d)


class _Block(nn.Module):
    """What the two recipes share: queries for some positions, keys and values for all, heads side by side."""

    def __init__(self, spec: ModelSpec, layer: int):
        super().__init__()
        self.layer, self.heads = layer, spec.heads

    def split(self, x: Tensor) -> Tensor:
        """(B, T, C) -> (B, H, T, D)"""
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)

    def forward(
        self, x: Tensor, skip: int, start: int, mask: Tensor, cache: Cache | None, record: list | None
    ) -> Tensor:
        """Residual stream (B, n, C) in, (B, n - skip, C) out: the first ``skip`` positions only give keys
        and values.
        """
        q, k, v = self.queries_keys_values(self.norm_attention(x), skip, start)
        if cache is not None:
            k, v = cache.extend(self.layer, k, v)
        mixed = attend(q, k, v, mask[start + skip : start + x.size(1), : k.size(2)], record)
        mixed = mixed.transpose(1, 2).flatten(2)  # (B, H, n, D) -> (B, n, C)
        x = x[:, skip:] + self.output(mixed)
        return x + self.mlp(self.norm_mlp(x))


class _GPT2Block(_Block):
    """A block of GPT-2 (Radford et al., 2019): LayerNorm before each part, biases everywhere, GELU."""

    def __init__(self, spec: ModelSpec, layer: int):
        super().__init__(spec, layer)
        width, hidden = spec.width, spec.mlp_ratio * spec.width
        self.norm_attention, self.norm_mlp = nn.LayerNorm(width), nn.LayerNorm(width)
        self.inputs, self.output = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, hidden), nn.GELU("tanh"), nn.Linear(hidden, width))
        for linear in (self.inputs, self.output, self.mlp[0], self.mlp[2]):
            nn.init.normal_(linear.weight, std=0.02)
            nn.init.zeros_(linear.bias)
        for linear in (self.output, self.mlp[2]):
            nn.init.normal_(linear.weight, std=0.02 / math.sqrt(2 * spec.layers))

    def queries_keys_values(self, x: Tensor, skip: int, start: int) -> tuple[Tensor, Tensor, Tensor]:
        q, k, v = (self.split(part) for part in self.inputs(x).chunk(3, -1))
        return q[:, :, skip:], k, v


class _ModernBlock(_Block):
    """Rotary positions on queries and keys (Su et al., 2021), squared ReLU (So et al., 2021), no biases."""

    def __init__(self, spec: ModelSpec, layer: int, context: int):
        super().__init__(spec, layer)
        width, hidden = spec.width, spec.mlp_ratio * spec.width
        bound = width**-0.5
        for name, rows in {"q": width, "k": width, "v": width, "up": hidden}.items():
            self.register_parameter(name, nn.Parameter(torch.empty(rows, width).uniform_(-bound, bound)))
        self.out = nn.Parameter(torch.zeros(width, width))
        self.down = nn.Parameter(torch.zeros(width, hidden))
        half = width // spec.heads // 2
        # The slowest pair turns about once over a text; the usual base of 10,000 would leave most still.
        speeds = context ** (-torch.arange(half) / half)
        angles = torch.arange(context)[:, None, None] * speeds  # (T, 1, D / 2)
        self.register_buffer("turns", torch.polar(torch.ones_like(angles), angles), persistent=False)

    def norm_attention(self, x: Tensor) -> Tensor:
        return F.layer_norm(x, x.shape[-1:])

    norm_mlp = norm_attention

    def rotate(self, x: Tensor, start: int) -> Tensor:
        """Turn each pair of entries of (B, n, C) by an angle that grows with its position: (B, H, n, D)."""
        pairs = torch.view_as_complex(x.view(*x.shape[:2], self.heads, -1, 2))  # (B, n, H, D / 2)
        return torch.view_as_real(pairs * self.turns[start : start + x.size(1)]).flatten(-2).transpose(1, 2)

    def queries_keys_values(self, x: Tensor, skip: int, start: int) -> tuple[Tensor, Tensor, Tensor]:
        q = self.rotate(x[:, skip:] @ self.q.mT, start + skip)
        return q, self.rotate(x @ self.k.mT, start), self.split(x @ self.v.mT)

    def output(self, mixed: Tensor) -> Tensor:
        return mixed @ self.out.mT

    def mlp(self, x: Tensor) -> Tensor:
        return _SquaredReLUMLP.apply(x.flatten(0, -2), self.up, self.down).view_as(x)


class Transformer(nn.Module):
    """Tokens (B, T) -> logits (B, O, V) of the answer.

    >>> shape = Shape(vocabulary=30, prompt=19, context=29)
    >>> model = build(ModelSpec(), shape)
    >>> model(torch.zeros(5, 29, dtype=torch.long)).shape
    torch.Size([5, 11, 30])
    >>> sum(p.numel() for p in model.parameters())
    130560
    """

    def __init__(self, spec: ModelSpec, shape: Shape):
        super().__init__()
        self.spec, self.shape, self.modern = spec, shape, spec.recipe == "modern"
        width, context = spec.width, shape.context
        self.before = ()  # tables of what the tokens before each one add
        visible = torch.ones(context, context).tril().bool()
        if self.modern:
            visible[: shape.prompt, : shape.prompt] |= spec.prompt_attention == "both ways"
            self.embedding = nn.Parameter(torch.randn(shape.vocabulary, width))
            if spec.look_back:
                self.before = nn.Parameter(torch.zeros(spec.look_back, shape.vocabulary, width))
            self.head = nn.Parameter(torch.zeros(shape.vocabulary, width))
            self.blocks = nn.ModuleList(_ModernBlock(spec, i, context) for i in range(spec.layers))
        else:
            self.embedding = nn.Parameter(torch.randn(shape.vocabulary, width) * 0.02)
            self.positions = nn.Parameter(torch.randn(context, width) * 0.02)
            self.norm = nn.LayerNorm(width)
            self.blocks = nn.ModuleList(_GPT2Block(spec, i) for i in range(spec.layers))
        mask = torch.zeros(context, context).masked_fill(~visible, float("-inf"))
        self.register_buffer("mask", mask, persistent=False)  # (T, T), added to the attention scores

    def embed(self, tokens: Tensor) -> Tensor:
        """(B, T) -> (B, T, C)"""
        x = F.embedding(tokens, self.embedding)
        if not self.modern:
            return x + self.positions[: tokens.size(1)]
        for distance, table in enumerate(self.before, start=1):
            x[:, distance:] += F.embedding(tokens[:, :-distance], table)
        return F.layer_norm(x, x.shape[-1:])

    def unembed(self, x: Tensor) -> Tensor:
        """(B, O, C) -> (B, O, V)"""
        if self.modern:
            return F.layer_norm(x, x.shape[-1:]) @ self.head.mT
        return self.norm(x) @ self.embedding.mT

    def states(
        self,
        x: Tensor,
        skip: int = 0,
        start: int = 0,
        cache: Cache | None = None,
        record: list[Tensor] | None = None,
    ) -> Iterator[Tensor]:
        """The residual stream (B, n, C): embedded tokens ``x`` as they are, then after each layer.

        The last layer leaves out the first ``skip`` positions.
        """
        yield x
        for block in self.blocks:
            x = block(x, skip if block is self.blocks[-1] else 0, start, self.mask, cache, record)
            yield x

    def forward(
        self, tokens: Tensor, cache: Cache | None = None, record: list[Tensor] | None = None
    ) -> Tensor:
        """Logits for what follows each answer position of ``tokens``.

        With a ``cache`` the tokens (B, n) continue those of the last call.  With a ``record`` each
        layer appends its attention weights (B, H, T, T), and the logits cover all T positions.
        """
        start = 0
        if cache is not None:
            start = 0 if cache.tokens is None else cache.tokens.size(1)
            cache.tokens = tokens = tokens if cache.tokens is None else torch.cat([cache.tokens, tokens], 1)
        x = self.embed(tokens)[:, start:]
        skip = 0 if record is not None else max(0, self.shape.prompt - 1 - start)
        for each in self.states(x, skip, start, cache, record):
            x = each
        return self.unembed(x)


def differentiable(model: Transformer) -> Transformer:
    """The model, its MLPs in plain operations: ``torch.func`` does not see through a gradient that is
    written out, which has no second derivative either.
    """

    def mlp(block: nn.Module, x: Tensor) -> Tensor:
        return F.relu(x @ block.up.mT).square() @ block.down.mT

    for block in model.blocks:
        block.mlp = partial(mlp, block)
    return model


def build(spec: ModelSpec, shape: Shape) -> Transformer:
    """A model with the initial weights that ``spec.seed`` draws, whatever was drawn before."""
    with seeded(spec.seed):
        return Transformer(spec, shape)


@contextmanager
def seeded(seed: int, device: str = "cpu") -> Iterator[None]:
    """Within it, draws without a generator follow from ``seed`` alone; draws after it are as if there had
    been none.

    >>> with seeded(1):
    ...     first = torch.rand(2)
    >>> with seeded(1):
    ...     torch.equal(torch.rand(2), first)
    True
    """
    with torch.random.fork_rng(devices=[0] if device == "cuda" else []):
        torch.manual_seed(seed)  # noqa: TID251
        yield


def inherited(weights: dict[str, Tensor], fresh: dict[str, Tensor], how: str) -> dict[str, Tensor]:
    """The weights of a trained model as ``ModelSpec.inherits`` has them taken over, beside those of a
    ``fresh`` one.

    ``softened`` scales the queries and keys of each layer to the norms of fresh ones: training makes both
    larger, which makes attention sharper, and sharp attention moves little with the next gradients.
    ``rescaled`` does so with every matrix; those that begin at zero (what a layer writes, the head, the
    table of the letters before) are zero again.

    >>> new = Transformer(ModelSpec(layers=1), Shape(30, 10, 20)).state_dict()
    >>> old = {name: 3 * weight for name, weight in new.items()}
    >>> soft, small = (inherited(old, new, how) for how in ("softened", "rescaled"))
    >>> [round((begun[f"blocks.0.{name}"].norm() / new[f"blocks.0.{name}"].norm()).item(), 2)
    ...  for begun in (soft, small) for name in "qkv"]
    [1.0, 1.0, 3.0, 1.0, 1.0, 1.0]
    """

    if how == "all":
        return weights
    scaled = [name for name in weights if how == "rescaled" or name.endswith((".q", ".k"))]
    factors = {name: fresh[name].norm().item() / max(weights[name].norm().item(), 1e-12) for name in scaled}
    return {name: weight * factors.get(name, 1.0) for name, weight in weights.items()}
