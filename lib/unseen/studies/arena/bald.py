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
*The study.* The classifier says which operation a request means.  Arms start from the same random rows and
add equally many each round; the questions are about all operations equally often.

    >>> agree, differ = torch.tensor([[[0.5, 0.5]]] * 2), torch.tensor([[[1.0, 0.0]], [[0.0, 1.0]]])
    >>> [round(disagreement(passes).item(), 2) for passes in (agree, differ)]
    [0.0, 0.69]
"""

from copy import deepcopy
from functools import partial
from itertools import cycle, islice

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unseen.model import Transformer, seeded
from unseen.runs.following import followed
from unseen.runs.store import Store
from unseen.runs.workers import Executor, Tell
from unseen.scales import amounts, each_seed
from unseen.specs import EvaluationSpec, RunSpec, TrainingSpec
from unseen.studies.arena.less import base_of
from unseen.studies.delia import ready
from unseen.worlds.base import Examples, generator
from unseen.worlds.gaps import POOL, RequestsSpec
from unseen.worlds.language import OPERATIONS

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
        read = self.body.embed(prompts[:, -_READ:])
        *_, x = self.body.states(read, read.size(1) - 1)
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


# The study

ARMS = {
    "random": "random rows",
    "entropy": "most uncertain (entropy)",
    "BALD": "BALD",
    "balanced": "every operation equally often",
}
POOLS = ("even", "long-tailed")
START = 10  # labels at first


def learning(name: str) -> RunSpec:
    """What a scale tunes a classifier on at most: as many rows of the pool as get a label."""
    much, base = amounts("bald", name), base_of(name)
    training = TrainingSpec(steps=much.updates, batch=32, learning_rate=much.rate, matrix_learning_rate=0.0)
    task = RequestsSpec(pool=much.pool, examples=much.labels)
    return RunSpec(task, base.model.but(base=base.digest()), training, EvaluationSpec(much.prompts))


def measure(name: str, executor: Executor | None = None) -> pd.DataFrame:
    """A row per pool, arm, F, seed and round; what is missing is trained first.

    Columns: pool (of ``POOLS``), arm, frozen (F), seed, labels, right (on queries about all operations
    equally often), missing (operations without a label), uneven (labels of the commonest minus those of the
    rarest), run.
    """
    much = amounts("bald", name)
    ready([base_of(name)], executor)
    runs = each_seed("bald", name, learning(name)).runs()
    ways = [(pool, arm, 0) for pool in POOLS for arm in ARMS]
    ways += [("even", "BALD", frozen) for frozen in much.frozen]
    tables = []
    for pool, arm, frozen in ways:
        follow = partial(follow_way, pool=pool, arm=arm, frozen=frozen, more=much.round)
        tables += followed(
            runs, follow, f"bald-{pool}-{arm}-{frozen}-{much.round}-1", executor, f"{arm}, {pool}, {frozen}"
        )
    return pd.concat(tables, ignore_index=True)


def follow_way(run: RunSpec, tell: Tell, pool: str, arm: str, frozen: int, more: int) -> pd.DataFrame:
    """Label ``more`` rows a round and learn from all, for a worker."""
    rows, asked = pool_of(run, pool), questions(run)
    prompts, labels = torch.from_numpy(rows.prompts).long(), torch.from_numpy(rows.rule).long()
    taken, base, found = torch.arange(len(rows)) < START, Store().base(run), []
    named = f"{arm}, F = {frozen}" if frozen else arm
    of_way = {"pool": pool, "arm": named, "frozen": frozen, "seed": run.task.rule_seed}
    with seeded(run.task.example_seed):
        for number in range(START, min(run.task.examples, len(rows) - more) + 1, more):
            model = learned(base, prompts[taken], labels[taken], len(OPERATIONS), frozen, run.training)
            counts = torch.bincount(labels[taken], minlength=len(OPERATIONS))
            about = {"missing": int((counts == 0).sum()), "uneven": int(counts.max() - counts.min())}
            found.append({**of_way, "labels": number, "right": right(model, asked), **about})
            tell(number)
            score = wanted(arm, model, prompts, labels, taken).masked_fill(taken, -torch.inf)
            taken[score.topk(more).indices] = True
    return pd.DataFrame(found).assign(run=run.digest())


def pool_of(run: RunSpec, pool: str) -> Examples:
    """The pool in random order; in a long-tailed one the operation of rank k keeps one of k of its rows."""
    task = run.task
    rows = task.rows(task.candidates())
    rng = generator(task.example_seed, "labelled first")
    rank = 1 + rng.permutation(len(OPERATIONS))[rows.rule]
    kept = rng.random(task.pool) < 1 / rank if pool == "long-tailed" else np.full(task.pool, True)
    return rows.where(rng.permutation(np.flatnonzero(kept)))


def questions(run: RunSpec) -> Examples:
    """Queries about all operations in turn, in the words of the pool."""
    rng = generator(run.evaluation.seed, "asked for a class")
    names = islice(cycle(OPERATIONS), run.evaluation.examples)
    return run.task.rows([run.task.asked(rng, POOL, name) for name in names])


@torch.no_grad()
def right(model: Classifier, asked: Examples) -> float:
    """The share of queries whose operation a classifier names, without dropout."""
    model.eval()
    answers = model(torch.from_numpy(asked.prompts).long()).argmax(-1).numpy()
    model.train()
    return float((answers == asked.rule).mean())
