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
*The study.* Pre-trainings on some operations, compared by what few rows of a new one make of them.

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

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad

from unseen.evaluation import all_right
from unseen.model import Transformer, differentiable
from unseen.objectives import Objective, loss_of
from unseen.runs.following import followed
from unseen.runs.workers import Executor, Tell
from unseen.scales import amounts, each_seed
from unseen.specs import EvaluationSpec, ModelSpec, RunSpec, TrainingSpec
from unseen.studies.delia import RATE
from unseen.training import Data, start, train
from unseen.worlds.base import Examples, generator
from unseen.worlds.language import VERBS, OperationsSpec


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


# The study

ARMS = {
    "k = 0": Pretraining(),
    "k = 0, twice the steps": Pretraining(longer=2),
    "k = 0, four times the steps": Pretraining(longer=4),
    "k = 1, first order": Pretraining(1),
    "k = 1, second order": Pretraining(1, "second"),
    "k = 1, mixed": Pretraining(1, mixed=True),
    "k = 2, first order": Pretraining(2),
    "Reptile": Pretraining(1, "Reptile"),
    "oracle": Pretraining(longer=2),
}


def pretrained(name: str) -> RunSpec:
    """The pre-training of a scale with k = 0."""
    much = amounts("meta", name)
    task = OperationsSpec(examples=much.examples)
    training = TrainingSpec(
        steps=much.steps,
        batch=much.batch,
        learning_rate=0.01,
        matrix_learning_rate=0.015,
        evaluate_every=much.steps,
        checkpoint_every=1_000_000,
    )
    return RunSpec(task, ModelSpec(**much.model), training, EvaluationSpec(much.prompts))


def measure(name: str, executor: Executor | None = None) -> pd.DataFrame:
    """A row per arm, seed, held-out operation, rows and steps of tuning; what is missing is trained first.

    Columns: arm, k, order, seed, gradients (thousands, in pre-training), seconds (of it), operation (held
    out, or ``trained`` for all others), rows, steps, right, run.
    """
    much, tables = amounts("meta", name), []
    runs = each_seed("meta", name, pretrained(name)).runs()
    for arm in ARMS:
        follow = partial(follow_arm, arm=arm, rate=much.rate, rows=much.rows, steps=much.tuning)
        named = f"meta-{arm.replace(' ', '').replace(',', '-').replace('=', '')}-{much.rate:g}-1"
        tables += followed(runs, follow, named, executor, arm)
    return pd.concat(tables, ignore_index=True)


def follow_arm(
    run: RunSpec, tell: Tell, arm: str, rate: float, rows: Sequence[int], steps: Sequence[int]
) -> pd.DataFrame:
    """Pre-train in one way and tune it on few rows of each held-out operation, for a worker."""
    way, split = ARMS[arm], run.task.split()
    longer = run.but(training=run.training.but(
        steps=round(way.longer * run.training.steps), batch=(way.k + 1) * run.training.batch,
        evaluate_every=round(way.longer * run.training.steps)))  # fmt: skip
    if arm == "oracle":
        longer = longer.with_task(instructions=run.task.instructions + run.task.unseen_instructions)
    state = start(longer)
    differentiable(state.model)
    data = Data(longer.task.training(longer.task.split()))
    train(longer, state, data, lambda row: tell(int(row["step"])),
          objective=objective(longer, way, rate))  # fmt: skip
    asked = run.task.evaluation(split, run.evaluation.examples, run.evaluation.seed)
    right = float(all_right(state.model, asked["seen"]).mean())
    lines = [{"operation": "trained", "rows": 0, "steps": 0, "right": right}]
    for at, operation in enumerate(split.unseen):
        mine = asked["unseen"].where(asked["unseen"].rule == at)
        for count in rows:
            drawn = run.task.draw(
                split.unseen, np.full(count, at), generator(run.task.example_seed, f"few {at}")
            )
            for step, right in tuned(run, state.model, drawn, mine, steps):
                lines.append({"operation": operation, "rows": count, "steps": step, "right": right})
    about = {
        "arm": arm,
        "k": way.k,
        "order": way.order if way.k else "",
        "seed": run.task.rule_seed,
        "gradients": longer.training.steps * (way.k + 1) / 1_000,
        "seconds": state.history[-1]["seconds"],
    }
    return pd.DataFrame(lines).assign(**about, run=run.digest())


def tuned(
    run: RunSpec, model: Transformer, rows: Examples, asked: Examples, steps: Sequence[int]
) -> Iterator[tuple[int, float]]:
    """How often a copy of a model is right on what is asked, after so many steps of tuning on rows."""
    few = run.with_task(examples=len(rows), instructions=1)
    training = TrainingSpec(batch=32, learning_rate=RATE, matrix_learning_rate=0.0, decay_share=0.0)
    state = start(few.but(training=training))
    state.model.load_state_dict(model.state_dict())
    for step in steps:
        if step:
            train(few.but(training=training.but(steps=step)), state, Data(rows))
        yield step, float(all_right(state.model, asked).mean())
