"""Pre-training as meta-learning: weights that are good k steps of gradient descent further on.

*Claim.* At equal compute, k > 0 gives an initialisation from which few rows of a new task are learned better
than from k = 0, which is usual multi-task pre-training.
*Source.* Lv and others, arXiv 2004.05568; no code was published.  MAML: Finn and others, arXiv 1703.03400;
Reptile: Nichol and others, arXiv 1803.02999.
*Formula.* θ_0 = θ, θ_j = θ_{j-1} - α grad L_{T_j}(θ_{j-1}) for j = 1..k; θ minimises L_{T'}(θ_k).
First order: the gradient at θ_k is taken for that at θ.  Reptile: θ moves towards θ_{k+1}.
*Ours.* α and the split of tasks were not published: the rows of each step are dealt out by operation, so that
T_1, ..., T_k and T' are about different ones; ``mixed`` deals out rows, whatever they are about.  Inner steps
are plain gradient descent, the outer optimizer is that of all runs here (Muon and AdamW).

    >>> one, square = nn.Linear(1, 1, bias=False), lambda model, part: (model(part) - 1).square().mean()
    >>> _ = one.weight.data.fill_(0.0)
    >>> parts = [torch.ones(1, 1)] * 2
    >>> [round(meta_loss(one, parts, 0.25, order, square).item(), 4) for order in ("first", "second")]
    [0.25, 0.25]
    >>> grads = []
    >>> for order in ("first", "second", "Reptile"):
    ...     one.zero_grad()
    ...     meta_loss(one, parts, 0.25, order, square).backward()
    ...     grads.append(round(one.weight.grad.item(), 4))
    >>> grads
    [-1.0, -0.5, -3.0]
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad

from unseen.objectives import Objective, loss_of
from unseen.specs import RunSpec
from unseen.worlds.base import generator
from unseen.worlds.language import VERBS


@dataclass(frozen=True)
class Pretraining:
    """A pre-training: ``k`` inner steps, how their gradient is taken, how many times the steps of k = 0."""

    k: int = 0
    order: str = "first"
    longer: float = 1
    mixed: bool = False


def meta_loss(
    model: nn.Module, parts: Sequence[Tensor], rate: float, order: str, loss: Objective = loss_of
) -> Tensor:
    """The loss on the last of the ``parts`` after a step of size ``rate`` on each of those before it.

    Its gradient is that of the ``order``; of Reptile it is the sum of all, and the value means nothing.
    """
    weights = dict(model.named_parameters())

    def at(weights: dict[str, Tensor], part: Tensor) -> Tensor:
        return loss(lambda read: functional_call(model, weights, (read,)), part)

    inner = parts if order == "Reptile" else parts[:-1]
    for part in inner:
        gradients = grad(at)(weights, part)
        if order != "second":
            gradients = {name: each.detach() for name, each in gradients.items()}
        weights = {name: weight - rate * gradients[name] for name, weight in weights.items()}
    if order == "Reptile":
        return sum(
            (own * (own - weights[name]).detach() / rate).sum() for name, own in model.named_parameters()
        )
    return at(weights, parts[-1])


def dealt(
    tokens: Tensor, parts: int, operations: Tensor, rng: np.random.Generator, mixed: bool
) -> list[Tensor]:
    """Rows (B, P + O) in so many parts: operations are dealt out, or when ``mixed`` rows of any.

    ``operations`` (V,) are those of ``operations_of``.
    """
    asked = operations[tokens].amax(1)  # (B,)
    hand = torch.from_numpy(rng.permutation(len(asked) if mixed else int(operations.max()) + 1)) % parts
    given = hand if mixed else hand[asked]
    return [tokens[given == number] for number in range(parts)]


def operations_of(run: RunSpec) -> Tensor:
    """The number of the trained operation that each token of the vocabulary (V,) is a verb of, or -1."""
    verbs = {verb: at for at, name in enumerate(run.task.split().seen) for verb in VERBS[name]}
    return torch.tensor([verbs.get(token, -1) for token in run.task.layout.vocabulary])


def objective(run: RunSpec, arm: Pretraining, rate: float) -> Objective:
    """What an arm minimises."""
    operations, rng = operations_of(run), generator(run.task.example_seed, "dealt")

    def after_steps(model: nn.Module, tokens: Tensor) -> Tensor:
        return meta_loss(model, dealt(tokens, arm.k + 1, operations, rng, arm.mixed), rate, arm.order)

    return after_steps if arm.k else loss_of
