"""Active learning with BALD: label the rows on whose class a model's own dropout passes disagree.

*Claim.* At equal labels BALD beats random rows, in mean and in spread; to freeze the quarter of the layers
that is nearest the output narrows the spread and costs nothing.
*Source.* Grießhaber, Maucher and Vu, COLING 2020, pages 1158 to 1171, arXiv 2012.02462; no code was
published.
*Formula.* I(x) = H(mean of p(y | x)) - mean of H(p(y | x)), over S passes with dropout in the head alone.
The first rows are random; each round adds the rows of highest I and tunes again from the base.  F > 0 layers
are frozen from the input side, F < 0 from the output side.
*Ours.* A transformer of three layers in place of BERT, what it reads at ``=`` in place of a pooled text, two
linear layers as the head, operations as the classes.  Embeddings are trained at every F.

    >>> agree, differ = torch.tensor([[[0.5, 0.5]]] * 2), torch.tensor([[[1.0, 0.0]], [[0.0, 1.0]]])
    >>> [round(disagreement(passes).item(), 2) for passes in (agree, differ)]
    [0.0, 0.69]
"""

from copy import deepcopy

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unseen.model import Transformer
from unseen.specs import TrainingSpec

PASSES, DROPOUT = 50, 0.3
_READ = 24  # tokens before an answer: the longest query


def disagreement(passes: Tensor) -> Tensor:
    """What (N,) the passes (S, N, K) of each row would tell about the weights, in nats."""
    return torch.special.entr(passes.mean(0)).sum(-1) - torch.special.entr(passes).sum(-1).mean(0)


class Classifier(nn.Module):
    """A base with a head of ``classes``: it reads prompts (B, P) and gives logits (B, K)."""

    def __init__(self, base: Transformer, classes: int, frozen: int):
        super().__init__()
        width, self.body = base.spec.width, deepcopy(base)
        layers = (nn.Dropout(DROPOUT), nn.Linear(width, width), nn.ReLU())
        self.head = nn.Sequential(*layers, nn.Dropout(DROPOUT), nn.Linear(width, classes))
        blocks = self.body.blocks
        for block in blocks[:frozen] if frozen >= 0 else blocks[frozen:]:
            block.requires_grad_(False)

    def states(self, prompts: Tensor) -> Tensor:
        """What the body reads at the last place of prompts (B, P): (B, C)."""
        x = self.body.embed(prompts[:, -_READ:])
        for block in self.body.blocks:
            x = block(x, x.size(1) - 1 if block is self.body.blocks[-1] else 0, 0, self.body.mask, None, None)
        return F.layer_norm(x[:, -1], x.shape[-1:])

    def forward(self, prompts: Tensor) -> Tensor:
        return self.head(self.states(prompts))


def learned(
    base: Transformer, prompts: Tensor, labels: Tensor, classes: int, frozen: int, training: TrainingSpec
) -> Classifier:
    """A classifier tuned from the base on labelled prompts (N, P)."""
    model = Classifier(base, classes, frozen).train()
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=training.learning_rate, weight_decay=0.0, fused=True)
    for _ in range(training.steps):
        rows = torch.randperm(len(prompts))[: training.batch]
        optimizer.zero_grad()
        F.cross_entropy(model(prompts[rows]), labels[rows]).backward()
        optimizer.step()
    return model


@torch.no_grad()
def passes(model: Classifier, prompts: Tensor) -> Tensor:
    """The probabilities (S, N, K) of dropout passes through the head; the body is read once."""
    states = torch.cat([model.states(part) for part in prompts.split(512)])
    return torch.stack([model.head(states).softmax(-1) for _ in range(PASSES)])


def wanted(arm: str, model: Classifier, prompts: Tensor, labels: Tensor, taken: Tensor) -> Tensor:
    """How much (N,) an arm wants the label of each row, of which some are ``taken`` (N,)."""
    draw = torch.rand(len(prompts)).masked_fill(taken, -1.0)
    if arm == "random":
        return draw
    if arm == "balanced":  # the n-th row of a class counts as if n of it were there
        return draw - ((labels[:, None] == labels) & (draw < draw[:, None])).sum(1)
    found = passes(model, prompts)
    return disagreement(found) if arm == "BALD" else torch.special.entr(found.mean(0)).sum(-1)
