"""What training minimises: cross-entropy on answers, and what fine-tuning may add to it to keep to its base.

>>> objective_of(TrainingSpec()) is loss_of
True
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unseen.model import Transformer
from unseen.specs import TrainingSpec

Objective = Callable[[nn.Module, Tensor], Tensor]  # of a model and examples (B, P + O)


def loss_of(model: nn.Module, tokens: Tensor) -> Tensor:
    """Mean cross-entropy over the answer positions of examples (B, P + O); ``model`` may be wrapped by a
    group of processes.
    """
    logits = model(tokens[:, :-1])  # (B, O, V)
    return F.cross_entropy(logits.flatten(0, 1), tokens[:, -logits.size(1) :].flatten())


def loss_at(places: Sequence[int]) -> Objective:
    """The mean cross-entropy at some places of a text (see ``Layout.labels``) in place of its answer's."""

    def objective(model: nn.Module, tokens: Tensor) -> Tensor:
        logits, right = model(tokens[:, :-1]), tokens[:, places]  # (B, O, V), (B, places)
        at = [place - tokens.size(1) + logits.size(1) for place in places]
        return F.cross_entropy(logits[:, at].flatten(0, 1), right.flatten())

    return objective


def objective_of(
    training: TrainingSpec, base: Transformer | None = None, labels: Sequence[int] = ()
) -> Objective:
    """What a run minimises; raises ``ValueError`` when it keeps to a base and there is none, and when
    anything is added to the loss at ``labels``.
    """
    if (training.kl or training.pull) and base is None:
        raise ValueError("kl and pull need the base that the run started from")
    if not (training.kl or training.pull or training.smoothing):
        return loss_at(labels) if labels else loss_of
    if labels:
        raise ValueError("kl, pull and smoothing are of whole answers; this world's loss is at labels alone")

    def objective(model: nn.Module, tokens: Tensor) -> Tensor:
        logits = model(tokens[:, :-1])  # (B, O, V)
        loss = smoothed(logits, tokens[:, -logits.size(1) :], training.smoothing)
        if training.kl:
            loss = loss + training.kl * divergence(logits, base, tokens)
        return loss + training.pull * distance(model, base) if training.pull else loss

    return objective


def smoothed(logits: Tensor, answers: Tensor, smoothing: float) -> Tensor:
    """Cross-entropy of logits (B, O, V) and answers (B, O) with labels smoothed by each example's
    uncertainty.

    An example's uncertainty is one minus the geometric mean of the probabilities of its answer's tokens; the
    smoothing is in proportion to it and ``smoothing`` in the mean of a batch, at most a half (after
    uncertainty-aware learning, UAL, 2024).

    >>> logits, answers = torch.tensor([[[2.0, 0.0]], [[0.0, 2.0]]]), torch.tensor([[0], [0]])
    >>> plain = F.cross_entropy(logits.flatten(0, 1), answers.flatten())
    >>> torch.isclose(smoothed(logits, answers, 0.0), plain).item()
    True
    """
    shares = logits.log_softmax(-1)
    right = shares.gather(-1, answers[..., None]).squeeze(-1).mean(1)  # (B,)
    if not smoothing:
        return -right.mean()
    unsure = 1 - right.detach().exp()
    amount = (smoothing * unsure / unsure.mean().clamp_min(1e-6)).clamp(max=0.5)
    return -((1 - amount) * right + amount * shares.mean((1, 2))).mean()


def divergence(logits: Tensor, base: Transformer, tokens: Tensor) -> Tensor:
    """The Kullback-Leibler divergence of logits (B, O, V) from what the base says on the same tokens, in
    nats a token.
    """
    with torch.no_grad():
        kept = base(tokens[:, :-1]).log_softmax(-1)
    return F.kl_div(logits.log_softmax(-1), kept, reduction="none", log_target=True).sum(-1).mean()


def distance(model: nn.Module, base: Transformer) -> Tensor:
    """The squared distance of a model's weights from those of its base."""
    return sum(
        (own - old.detach()).square().sum()
        for own, old in zip(model.parameters(), base.parameters(), strict=True)
    )
