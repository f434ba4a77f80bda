"""What a tuned model does with prompts of every kind, again and again while it is tuned."""

from collections.abc import Sequence

import pandas as pd
import torch
from torch.nn import functional as F

from unseen import following
from unseen.datasets import Examples
from unseen.delia.methods import Method
from unseen.delia.prompts import KINDS
from unseen.delia.sampling import ensure_samples
from unseen.delia.world import questions
from unseen.evaluation import all_right
from unseen.model import Transformer
from unseen.specs import RunSpec
from unseen.store import Store
from unseen.training import Row, State, data_of, start, train
from unseen.workers import Executor, Tell

_SIZE, _NAME = 200, "kinds-1"  # prompts of each kind; another name when what is looked at changes
ROWS = 12  # of each curve, so many times a model is looked at


def begun(spec: RunSpec) -> State:
    """The state of a tuning before its first step."""
    state = start(spec)
    state.model.load_state_dict(Store().base(spec).state_dict())
    return state


def often(method: Method, rows: int = ROWS) -> list[RunSpec]:
    """The runs of a method, looked at ``rows`` times."""
    training = method.run.training
    every = max(1, training.steps // rows)
    return [run.but(training=training.but(evaluate_every=every)) for run in method.runs()]


@torch.no_grad()
def loss_of_answers(model: Transformer, examples: Examples) -> float:
    """The mean loss of whole right answers, in nats an answer."""
    tokens = torch.from_numpy(examples.tokens()).long()
    logits, wanted = model(tokens[:, :-1]), tokens[:, model.shape.prompt :]  # (B, O, V), (B, O)
    ended = (wanted == examples.encoding.special("end")).cumsum(1) > 1  # what fills up behind the end
    losses = F.cross_entropy(logits.transpose(1, 2), wanted, reduction="none")
    return float(losses.masked_fill(ended, 0.0).sum(1).mean())


def follow(spec: RunSpec, tell: Tell = lambda step, note="": None) -> pd.DataFrame:
    """Tune a base and ask it all kinds of prompts, before the first step and at each row of the history.

    Columns: ratio, diverse, seed, step, prompts, accuracy, loss (nats an answer).
    """
    state, found = begun(spec), []
    asked = {kind: questions(spec.task, kind, spec.evaluation).first(_SIZE) for kind in KINDS}

    def look(row: Row | None = None) -> None:
        for kind, examples in asked.items():
            right = float(all_right(state.model, examples).mean())
            found.append((state.step, kind, right, loss_of_answers(state.model, examples)))
        tell(state.step)

    look()
    train(spec, state, data_of(spec), watch=look)
    table = pd.DataFrame(found, columns=["step", "prompts", "accuracy", "loss"])
    which = {"ratio": spec.task.ratio, "diverse": spec.task.diverse, "seed": spec.task.rule_seed}
    return pd.concat([pd.DataFrame([which] * len(table)), table], axis=1)


def curves(methods: Sequence[Method], executor: Executor | None = None) -> pd.DataFrame:
    """``follow`` of all runs of methods; their bases must be there."""
    runs = [run for method in methods for run in often(method)]
    ensure_samples(runs)
    return following.followed(runs, follow, _NAME, executor)
