"""Muon for many small matrices, in step with AdamW for everything else; and what fine-tuning takes in place
of both.

``torch.optim.Muon`` treats one matrix at a time and in bfloat16, which on a processor takes a third of
a training step at these sizes.  This one does the same arithmetic (Jordan et al., 2024) in the
parameters' own precision, for all matrices of one shape at once; the tests hold the two against each other.
"""

import re
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from unseen.model import Transformer
from unseen.specs import TrainingSpec

# Of both recipes: the weights of attention, and the embeddings.
_ADAPTED = {"embedding", "before", "q", "k", "v", "out", "inputs.weight", "output.weight"}
ADAM = ("step", "exp_avg", "exp_avg_sq")  # what torch's Adam remembers of a parameter
_COEFFICIENTS = 3.4445, -4.7750, 2.0315  # of the quintic iteration, from the same source


def orthogonalise(matrices: Tensor, steps: int = 5) -> Tensor:
    """The nearest (semi-)orthogonal matrices to ``matrices`` (K, R, C), R <= C, by Newton-Schulz iteration.

    Singular values come out between about 0.7 and 1.2, which is all that Muon needs.
    """
    a, b, c = _COEFFICIENTS
    x = matrices / matrices.norm(dim=(-2, -1), keepdim=True).clamp_min(1e-7)
    for _ in range(steps):
        gram = x @ x.mT  # (K, R, R)
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x


class Muon(torch.optim.Optimizer):
    """Momentum, then orthogonalised updates, decoupled weight decay; batched over matrices of one shape."""

    memory = ("momentum",)

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        lr: float,
        momentum: float = 0.95,
        ns_steps: int = 5,
        weight_decay: float = 0.1,
    ):
        defaults = {"lr": lr, "momentum": momentum, "ns_steps": ns_steps, "weight_decay": weight_decay}
        super().__init__(parameters, defaults)

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        """One update of every matrix that has a gradient."""
        for group in self.param_groups:
            same_shape = defaultdict(list)
            for p in group["params"]:
                if p.grad is not None:
                    same_shape[p.shape].append(p)
            for parameters in same_shape.values():
                self._update(
                    parameters, group["lr"], group["momentum"], group["ns_steps"], group["weight_decay"]
                )

    def _update(
        self, parameters: list[nn.Parameter], lr: float, momentum: float, steps: int, weight_decay: float
    ) -> None:
        rows, columns = parameters[0].shape
        gradients = torch.stack([p.grad for p in parameters])  # (K, R, C)
        for p in parameters:
            if not self.state[p]:
                self.state[p]["momentum"] = torch.zeros_like(p)
        buffers = torch.stack([self.state[p]["momentum"] for p in parameters]).lerp_(gradients, 1 - momentum)
        updates = gradients.lerp_(buffers, momentum)  # Nesterov's look ahead
        updates = orthogonalise(updates.mT, steps).mT if rows > columns else orthogonalise(updates, steps)
        scale = max(1.0, rows / columns) ** 0.5
        for p, buffer, update in zip(parameters, buffers, updates, strict=True):
            self.state[p]["momentum"].copy_(buffer)
            p.mul_(1 - lr * weight_decay).add_(update, alpha=-lr * scale)


class TokenAdamW(torch.optim.AdamW):
    """AdamW without weight decay for a whole model, in which the vectors of one token have a learning rate
    of their own.

    Adam's step is in proportion to its rate, so the token's share of a step is the common one, stretched.
    With ``trains="token"`` nothing else moves.
    """

    def __init__(self, model: Transformer, token: int, training: TrainingSpec):
        tables = [
            (model.embedding, token),
            *([(model.before, (slice(None), token))] if len(model.before) else []),
        ]
        self.alone, rate = training.trains == "token", training.token_rate or training.learning_rate
        self.tables, self.stretch = tables, rate / training.learning_rate
        parameters = [table for table, _ in tables] if self.alone else model.parameters()
        super().__init__(
            parameters, lr=training.learning_rate, betas=(0.9, 0.999), weight_decay=0.0, fused=True
        )

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        """One update of everything, the token's stretched."""
        if self.alone:
            for table, place in self.tables:
                own = table.grad[place].clone()
                table.grad.zero_()[place] = own
        old = [table[place].clone() for table, place in self.tables]
        super().step()
        for (table, place), before in zip(self.tables, old, strict=True):
            table[place] = before + self.stretch * (table[place] - before)


class LowRankAdamW(torch.optim.AdamW):
    """A low-rank adapter on attention and embeddings (LoRA, Hu et al., 2021; DELIA's setting: rank 16, alpha
    16), as an optimizer.

    Each weight W (R, C) moves by B A alone: B (R, r) from zero, and A (r, C) drawn by the model's seed.  The
    gradients of both follow from that of W by the chain rule, so the model stays as it is and always holds
    the merged weights.
    """

    memory = (*ADAM, "value")  # of B and of A each

    def __init__(self, model: Transformer, training: TrainingSpec):
        named = model.named_parameters()
        weights = [p for name, p in named if re.sub(r"blocks\.\d+\.", "", name) in _ADAPTED]
        self.model = model
        self.tables = [p.detach().flatten(0, -2) for p in weights]  # (R, C), the same memory
        self.weights, self.pairs = weights, []
        draw = torch.Generator().manual_seed(model.spec.seed)
        for table in self.tables:
            rows, columns = table.shape
            drawn = (2 * torch.rand(training.rank, columns, generator=draw) - 1) / columns**0.5
            self.pairs.append(
                (nn.Parameter(table.new_zeros(rows, training.rank)), nn.Parameter(drawn.to(table.device)))
            )
        factors = [factor for pair in self.pairs for factor in pair]
        super().__init__(factors, lr=training.learning_rate, weight_decay=0.0, fused=True)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients of the whole model: those of its weights are where the factors' come from."""
        self.model.zero_grad(set_to_none)

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        """One update of all factors, and of the weights by what their products changed."""
        for weight, (b, a) in zip(self.weights, self.pairs, strict=True):
            gradient = weight.grad.flatten(0, -2)  # (R, C)
            b.grad, a.grad = gradient @ a.mT, b.mT @ gradient
        before = [b @ a for b, a in self.pairs]
        super().step()
        for table, (b, a), old in zip(self.tables, self.pairs, before, strict=True):
            table += b @ a - old
        for factor in self.param_groups[0]["params"]:
            self.state[factor]["value"] = factor.detach()  # what a checkpoint needs of it

    @torch.no_grad()
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over a state and the factors in it."""
        super().load_state_dict(state_dict)
        for factor, memory in self.state.items():
            factor.copy_(memory["value"])
