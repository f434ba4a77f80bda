"""What a tuned model does with prompts of every kind, again and again while it is tuned."""

from collections.abc import Sequence

import pandas as pd
import torch
from torch.nn import functional as F

from unseen.datasets import Examples
from unseen.delia.methods import Method
from unseen.delia.prompts import KINDS
from unseen.delia.sampling import ensure_samples
from unseen.delia.world import questions
from unseen.evaluation import all_right
from unseen.model import Transformer
from unseen.running import following
from unseen.running.workers import Executor, Tell
from unseen.specs import RunSpec
from unseen.store import Store
from unseen.sweep import begun
from unseen.training import Row, data_of

_SIZE, _NAME = 200, "kinds-1"  # prompts of each kind; another name when what is looked at changes
_ROWS = 64  # of a history; looked at are the first, second, fourth and so on, since most happens early


def often(method: Method) -> list[RunSpec]:
    """The runs of a method with rows in their histories as ``due`` wants them."""
    training = method.run.training
    every = max(1, training.steps // _ROWS)
    return [run.but(training=training.but(evaluate_every=every)) for run in method.runs()]


def due(spec: RunSpec, step: int) -> bool:
    """Whether a model is looked at after a step: at rows 1, 2, 4, 8 ... of the history, and at its last.

    >>> from unseen.specs import TrainingSpec
    >>> spec = RunSpec(training=TrainingSpec(steps=30, evaluate_every=3))
    >>> [step for step in range(3, 31, 3) if due(spec, step)]
    [3, 6, 12, 24, 30]
    """
    row = step // spec.training.evaluate_every
    return step == spec.training.steps or row & (row - 1) == 0


@torch.no_grad()
def loss_of_answers(model: Transformer, examples: Examples) -> float:
    """The mean loss of whole right answers, in nats an answer."""
    tokens = torch.from_numpy(examples.tokens()).long()
    logits, wanted = model(tokens[:, :-1]), tokens[:, model.shape.prompt :]  # (B, O, V), (B, O)
    ended = (wanted == examples.encoding.special("end")).cumsum(1) > 1  # what fills up behind the end
    losses = F.cross_entropy(logits.transpose(1, 2), wanted, reduction="none")
    return float(losses.masked_fill(ended, 0.0).sum(1).mean())


def follow(spec: RunSpec, tell: Tell = lambda step, note="": None) -> pd.DataFrame:
    """Tune a base and ask it all kinds of prompts, before the first step and whenever it is ``due``.

    Columns: ratio, diverse, seed, step, prompts, accuracy, loss (nats an answer).
    """
    state, found = begun(spec, Store(), "cpu"), []
    asked = {kind: questions(spec.task, kind, spec.evaluation).first(_SIZE) for kind in KINDS}

    def look(row: Row | None = None) -> None:
        tell(state.step)
        if not due(spec, state.step):
            return
        for kind, examples in asked.items():
            right = float(all_right(state.model, examples).mean())
            found.append((state.step, kind, right, loss_of_answers(state.model, examples)))

    look()
    following.carry_on(spec, state, data_of(spec), look)
    table = pd.DataFrame(found, columns=["step", "prompts", "accuracy", "loss"])
    which = {"ratio": spec.task.ratio, "diverse": spec.task.diverse, "seed": spec.task.rule_seed}
    return pd.concat([pd.DataFrame([which] * len(table)), table], axis=1)


def curves(methods: Sequence[Method], executor: Executor | None = None) -> pd.DataFrame:
    """``follow`` of all runs of methods; their bases must be there."""
    runs = [run for method in methods for run in often(method)]
    ensure_samples(runs)
    return pd.concat(following.followed(runs, follow, _NAME, executor), ignore_index=True)
