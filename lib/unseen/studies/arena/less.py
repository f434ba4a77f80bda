"""LESS: of a pool, train on the rows whose gradients point where those of a few rows of the target do.

*Claim.* The 5 % of highest influence beat random 5 %, often the whole pool, and the rows nearest by hidden
state: so it is not by surface.
*Source.* Xia and others, ICML 2024, arXiv 2402.04333; released code (princeton-nlp/LESS, MIT).
*Formula.* Tune an adapter on random 5 % for four epochs.  At the end of epoch c, with Adam's moments m and v,
a row z of the pool has the direction Γ = (β1 m + (1 - β1) g) / sqrt(β2 v + (1 - β2) g² + ε), g its gradient.
Its influence is the mean over the target's rows of the sum over c of η_c cos(Γ_c(z), g_c(target's row)), η_c
the mean learning rate of the epoch.
*Ours.* Inner products are exact; ``projected`` has them in random directions, as the paper does.  The target
is one subtask, so no maximum over subtasks is taken.  All weights are tuned on what was chosen.

    >>> update = direction(torch.tensor([0.0, 1.0]), torch.zeros(2), torch.ones(2))
    >>> [round(each, 3) for each in update.tolist()]
    [0.0, 0.1]
"""

from functools import partial

import numpy as np
import torch
from torch import Tensor
from torch.func import functional_call, grad, vmap
from torch.nn.functional import normalize

from unseen.model import Transformer, differentiable
from unseen.objectives import loss_of
from unseen.optim import LowRankAdamW
from unseen.runs.store import Store, begun
from unseen.runs.workers import Tell
from unseen.specs import RunSpec
from unseen.studies.delia import ADAPTER
from unseen.training import Data, schedule, train
from unseen.worlds.base import generator

EPOCHS, BETAS, DIMENSIONS = 4, (0.9, 0.999), 512
_BATCH = 8  # rows of a step of the adapter
_AT_ONCE = 64  # rows whose gradients are held


def direction(gradient: Tensor, first: Tensor, second: Tensor) -> Tensor:
    """Adam's direction (N, F) for each gradient (N, F) alone, after the moments (F,) of training."""
    slow, slower = BETAS
    second = slower * second + (1 - slower) * gradient**2
    return (slow * first + (1 - slow) * gradient) / (second + 1e-8).sqrt()


def closeness(rows: Tensor, targets: Tensor) -> Tensor:
    """The mean cosine (N,) of each row (N, F) to targets (M, F)."""
    return normalize(rows) @ normalize(targets).mean(0)


def gradients(model: Transformer, adapter: LowRankAdamW, tokens: Tensor) -> Tensor:
    """The gradient (N, F) of the loss of each row (N, T) by the factors of an adapter."""
    names = {id(weight): name for name, weight in model.named_parameters()}
    whole = {name: weight.detach() for name, weight in model.named_parameters()}
    factors = {names[id(weight)]: (b.detach(), a.detach())
               for weight, (b, a) in zip(adapter.weights, adapter.pairs, strict=True)}  # fmt: skip
    rest = {name: whole[name] - (b @ a).view_as(whole[name]) for name, (b, a) in factors.items()}

    def loss(pairs: dict[str, tuple[Tensor, Tensor]], row: Tensor) -> Tensor:
        adapted = {name: rest[name] + (b @ a).view_as(rest[name]) for name, (b, a) in pairs.items()}
        return loss_of(partial(functional_call, model, whole | adapted), row[None])

    each = vmap(grad(loss), (None, 0))(factors, tokens)
    return torch.cat([factor.flatten(1) for pair in each.values() for factor in pair], 1)


def influences(run: RunSpec, rows: Tensor, targets: dict[str, Tensor], tell: Tell) -> dict[str, np.ndarray]:
    """The influence (N,) of rows (N, T) on each target (M, T), and on that of LESS in other ways."""
    per_epoch = max(1, run.task.examples // _BATCH)
    training = run.training.but(**ADAPTER, batch=_BATCH, steps=EPOCHS * per_epoch, evaluate_every=per_epoch)
    run = run.but(training=training)
    state = begun(run, Store(), "cpu")
    adapter = state.optimizers[0]
    differentiable(state.model)
    found = {name: np.zeros(len(rows)) for name in (*targets, "plain", "unnormalised", "projected")}
    signs = torch.tensor(generator(0, "directions").choice([-1.0, 1.0], (_size(adapter), DIMENSIONS))).float()

    def at_epoch(row: dict[str, float]) -> None:
        steps = range(int(row["step"]) - per_epoch, int(row["step"]))
        rate = training.learning_rate * np.mean([schedule(training, step) for step in steps])
        memory = [adapter.state[factor] for factor in adapter.param_groups[0]["params"]]
        moments = [torch.cat([each[name].flatten() for each in memory]) for name in ("exp_avg", "exp_avg_sq")]
        of = {name: gradients(state.model, adapter, each) for name, each in targets.items()}
        own = of["LESS"]
        for at in torch.arange(len(rows)).split(_AT_ONCE):
            tell(int(row["step"]))
            plain = gradients(state.model, adapter, rows[at])
            updates = direction(plain, *moments)
            ways = {name: closeness(updates, each) for name, each in of.items()}
            ways["plain"] = closeness(plain, own)
            ways["unnormalised"] = updates @ own.mean(0)
            ways["projected"] = closeness(updates @ signs, own @ signs)
            for name, each in ways.items():
                found[name][at] += rate * each.numpy()

    train(run, state, Data(None, run.task.training(run.task.split()), {}), at_epoch)
    return found


def _size(adapter: LowRankAdamW) -> int:
    return sum(factor.numel() for pair in adapter.pairs for factor in pair)


def cost(run: RunSpec) -> int:
    """How many rows LESS reads with a gradient before it has chosen."""
    return EPOCHS * (run.task.examples + run.task.pool)
