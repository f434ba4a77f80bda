"""The one training loop of the repository.

``start`` gives the state of a run before its first step, ``train`` trains a state to its last step, calling
back for every row of the history and at every checkpoint.  The order of the examples follows from the spec
and the step alone, so a state that went through ``to_tensors`` and back (``runs`` does that) continues
exactly as if nothing had happened.  Several processes may train one state together: see ``process_group``.

    >>> task = RunSpec().task.but(alphabet="abcdef", instructions=3, unseen_instructions=2, examples=64)
    >>> spec = RunSpec(task, training=TrainingSpec(steps=4, batch=32, evaluate_every=2))
    >>> state = train(spec, start(spec), data_of(spec))
    >>> state.step, [row["step"] for row in state.history]
    (4, [2, 4])
"""

import math
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from unseen.errors import Explained
from unseen.evaluation import all_right
from unseen.model import Shape, Transformer, build
from unseen.objectives import Objective, loss_of
from unseen.optim import ADAM, LowRankAdamW, Muon, TokenAdamW
from unseen.process_group import ALONE, ProcessGroup
from unseen.specs import RunSpec, TrainingSpec
from unseen.worlds import Task
from unseen.worlds.base import Examples, generator

Row = dict[str, float]  # of the history: step, loss, seen, unseen, seconds
_MONITOR = 200  # examples of each split behind a row of the history


@dataclass(frozen=True)
class Data:
    """What a run trains on and is scored on (``seen`` and ``unseen``), and the instructions they were drawn
    from.
    """

    training: Examples
    evaluation: dict[str, Examples] = field(default_factory=dict)
    split: Any = None


def data_of(spec: RunSpec) -> Data:
    """Draw the instructions and examples of a run.

    >>> task = RunSpec().task.but(alphabet="abcdef", instructions=3, unseen_instructions=2, examples=6)
    >>> data = data_of(RunSpec(task))
    >>> len(data.training), sorted(data.evaluation)
    (6, ['seen', 'unseen'])
    """
    split = spec.task.split()
    evaluation = spec.task.evaluation(split, spec.evaluation.examples, spec.evaluation.seed)
    return Data(spec.task.training(split), evaluation, split)


class Diverged(Explained, RuntimeError):
    """The loss or a weight became infinite or not a number; the last checkpoint is the last finite state."""


@dataclass
class State:
    """A model in training after ``step`` steps: its optimizers, the history so far, and the losses since its
    last row.
    """

    model: Transformer
    optimizers: list[torch.optim.Optimizer]
    step: int = 0
    history: list[Row] = field(default_factory=list)
    losses: list[Tensor] = field(default_factory=list)  # scalars

    def to_tensors(self) -> dict[str, Tensor]:
        """Every tensor of the state by name: weights, the memory of the optimizers, losses."""
        tensors = {f"model.{name}": value for name, value in self.model.state_dict().items()}
        if self.losses:
            tensors["losses"] = torch.stack(self.losses)
        for number, optimizer in enumerate(self.optimizers):
            for parameter, memory in optimizer.state_dict()["state"].items():
                tensors |= {f"optimizer.{number}.{parameter}.{name}": value for name, value in memory.items()}
        return tensors

    def load_tensors(self, tensors: dict[str, Tensor]) -> None:
        """Load what ``to_tensors`` gave; raises ``RuntimeError`` when names or shapes do not fit."""
        self.model.load_state_dict(_under("model.", tensors))
        for number, optimizer in enumerate(self.optimizers):
            state: dict[int, dict[str, Tensor]] = defaultdict(dict)
            for name, value in _under(f"optimizer.{number}.", tensors).items():
                parameter, key = name.split(".")
                state[int(parameter)][key] = value.clone()  # load_state_dict would share it
            _check_memory(optimizer, state)
            optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
        device = next(self.model.parameters()).device
        self.losses = list(tensors["losses"].to(device)) if "losses" in tensors else []


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}


def _check_memory(optimizer: torch.optim.Optimizer, state: dict[int, dict[str, Tensor]]) -> None:
    """Raise ``RuntimeError`` unless an optimizer's memory is of its own parameters: torch would take any."""
    names = getattr(optimizer, "memory", ADAM)
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    expected = [{name: () if name == "step" else p.shape for name in names} for p in parameters]
    shapes = {i: {name: value.shape for name, value in memory.items()} for i, memory in state.items()}
    if state and shapes != dict(enumerate(expected)):
        raise RuntimeError("what it holds of an optimizer is not of these weights")


def start(spec: RunSpec, device: str = "cpu") -> State:
    """The state of a run before its first step, on any device torch knows."""
    model = build(spec.model, Shape.of(spec.task.layout)).to(device)
    return State(model, optimizers_of(model, spec.training))


def optimizers_of(model: Transformer, training: TrainingSpec) -> list[torch.optim.Optimizer]:
    """AdamW for everything, or Muon for the weight matrices of the blocks and AdamW for the rest.

    Fine-tuning may train an adapter in place of the weights.  A new token, the last of the vocabulary, may
    have a rate of its own, or be all that is trained.
    """
    if training.trains == "adapter":
        return [LowRankAdamW(model, training)]
    if training.token_rate or training.trains == "token":
        return [TokenAdamW(model, model.shape.vocabulary - 1, training)]
    matrices = [p for p in model.blocks.parameters() if p.ndim == 2] if training.matrix_learning_rate else []
    taken = {id(p) for p in matrices}
    rest = [p for p in model.parameters() if id(p) not in taken]
    betas = (0.9, 0.95) if matrices else (0.9, 0.999)
    adamw = torch.optim.AdamW(rest, lr=training.learning_rate, betas=betas, weight_decay=0.0, fused=True)
    if not matrices:
        return [adamw]
    rate, decay = training.matrix_learning_rate, training.weight_decay
    return [adamw, Muon(matrices, lr=rate, ns_steps=4, weight_decay=decay)]


def schedule(training: TrainingSpec, step: int) -> float:
    """The factor on both learning rates at a step: 1, then linearly down to 0 over the last ``decay_share``.

    >>> [schedule(TrainingSpec(steps=8, decay_share=0.5), step) for step in (0, 4, 5, 7)]
    [1.0, 1.0, 0.75, 0.25]
    """
    return min(1.0, (1 - step / training.steps) / training.decay_share) if training.decay_share else 1.0


@lru_cache(maxsize=2)
def _order(seed: int, epoch: int, size: int) -> np.ndarray:
    return generator(seed, f"order of epoch {epoch}").permutation(size)


def batch_size(task: Task, training: TrainingSpec) -> int:
    """How many examples B a step reads: never more than there are."""
    return min(training.batch, task.examples)


def batch_rows(task: Task, training: TrainingSpec, step: int) -> np.ndarray:
    """Which training examples (B,) a step reads: a new order every epoch, an incomplete last
    batch left out.
    """
    batch = batch_size(task, training)
    epoch, number = divmod(step, task.examples // batch)
    return _order(task.example_seed, epoch, task.examples)[number * batch : (number + 1) * batch]


def _synchronise(state: State, group: ProcessGroup) -> None:
    """Bring every member of a group to the state of its leader, who alone may have read a checkpoint."""
    if group.size == 1:
        return
    tensors = {name: value.cpu() for name, value in state.to_tensors().items()} if group.leads else {}
    step, history, tensors = group.same((state.step, list(state.history), tensors))
    if not group.leads:
        state.load_tensors(tensors)
        state.step, state.history = step, history


def update(state: State, loss: Tensor, factor: float) -> None:
    """One step down the gradient of a loss: every optimizer at its own learning rate times a factor."""
    for optimizer in state.optimizers:
        group = optimizer.param_groups[0]
        full = group.setdefault("initial_lr", group["lr"])  # the name that torch's schedulers use
        group["lr"] = factor * full
        optimizer.zero_grad()
    loss.backward()
    for optimizer in state.optimizers:
        optimizer.step()
    state.losses.append(loss.detach())
    state.step += 1


def train(
    spec: RunSpec,
    state: State,
    data: Data,
    watch: Callable[[Row], Any] = lambda row: None,
    save: Callable[[State], Any] = lambda state: None,
    group: ProcessGroup = ALONE,
    objective: Objective = loss_of,
    check: Callable[[State], Any] = lambda state: None,
) -> State:
    """Train until the last step of the spec; the state is changed in place and returned.

    ``objective`` is what is minimised.  ``watch`` is called with every new row of the history, ``save`` at
    every checkpoint and at the end, ``check`` before every step.  An exception from any of them (a person's
    stop, say) leaves the state whole between two steps.  Raises ``Diverged`` when the loss, or a weight about
    to be saved, is no longer finite.

    Every member of a ``group`` calls this with the same spec and its own state, which first becomes the
    leader's. Each trains on its share of every batch; only the leader scores, calls ``watch`` and ``save``,
    and gets new rows of the history, whose loss is the mean over all.  Raises ``ValueError`` before anything
    else when the batch cannot be shared evenly.
    """
    group.check(batch_size(spec.task, spec.training))
    _synchronise(state, group)
    model, training = state.model, spec.training
    shared = group.wrap(model)
    device = next(model.parameters()).device
    tokens = torch.from_numpy(data.training.tokens())
    monitor = {name: examples.first(_MONITOR) for name, examples in data.evaluation.items()}
    begun = time.perf_counter()
    spent = state.history[-1]["seconds"] if state.history else 0.0
    while state.step < training.steps:
        check(state)
        rows = group.share(batch_rows(spec.task, training, state.step))
        loss = objective(shared, tokens[rows].to(device, torch.long, non_blocking=True))
        update(state, loss, schedule(training, state.step))
        if state.step % training.evaluate_every == 0 or state.step == training.steps:
            mean = group.mean(torch.stack(state.losses).mean()).item()  # so that all diverge together
            if not math.isfinite(mean):
                raise Diverged(f"the loss is {mean} by step {state.step} of {training.steps}")
            spent, state.losses = spent + time.perf_counter() - begun, []
            if group.leads:
                scores = {name: float(all_right(model, few).mean()) for name, few in monitor.items()}
                state.history.append({"step": state.step, "loss": mean, **scores, "seconds": round(spent, 3)})
                watch(state.history[-1])
            begun = time.perf_counter()
        if state.step % training.checkpoint_every == 0 or state.step == training.steps:
            if not all(p.isfinite().all() for p in model.parameters()):
                raise Diverged(f"a weight is not finite after step {state.step} of {training.steps}")
            if state.losses:
                state.losses = list(group.mean(torch.stack(state.losses)))
            if group.leads:
                save(state)
    return state
