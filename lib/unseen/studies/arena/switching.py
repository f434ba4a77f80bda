"""SwitchCIT: an adapter per task, and a small network that reads the instruction and chooses among them.

*Claim.* Tasks arrive one after the other.  After the last one the switch keeps all of them, where tuning in
sequence forgets, also if it rehearses 1 % of the earlier rows.
*Source.* Wu and others, arXiv 2407.11780, and the released code (xinbowu2/SwitchCIT, Apache-2.0).
*Method.* Per task a low-rank adapter on the frozen base.  The switch: the state of a frozen model at the last
token of the prompt -> 200 ReLU units -> the number of tasks; cross-entropy on the few prompts retained of
each task; AdamW at 1e-3, batches of 32.  Its largest output chooses the adapter.
*Ours.* The frozen model is the base itself, and its states have mean 0 and size 1.  200 epochs in place of
20, since a handful of prompts makes few steps.  The released code trains the switch on ``tasks[1:]``, so
never on the first task: that is the arm ``coded``.

    >>> states = torch.tensor([[3.0, 0.0], [0.0, 3.0], [2.9, 0.1]])
    >>> switch(states, torch.tensor([0, 1, 0]), tasks=2, seed=0)(states).argmax(1).tolist()
    [0, 1, 0]
"""

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unseen.model import Transformer, seeded
from unseen.studies.arena.bags import held
from unseen.studies.inside import streams
from unseen.worlds.base import Examples, generator

ROUTES = {
    "random": "routed at random",
    "words": "a switch on words",
    "coded": "SwitchCIT, as coded",
    "switch": "SwitchCIT",
    "oracle": "routed by the oracle",
}
UNITS, EPOCHS, BATCH, RATE = 200, 200, 32, 1e-3
Router = Callable[[Examples], np.ndarray]  # the expert (N,) that answers each prompt


def switch(states: Tensor, tasks_of: Tensor, tasks: int, seed: int, epochs: int = EPOCHS) -> nn.Module:
    """A network from states (N, C) to the scores of so many tasks, trained on states of known tasks (N,)."""
    with seeded(seed):
        network = nn.Sequential(nn.Linear(states.size(1), UNITS), nn.ReLU(), nn.Linear(UNITS, tasks))
        optimizer = torch.optim.AdamW(network.parameters(), lr=RATE)
        for _ in range(epochs):
            for rows in torch.randperm(len(states)).split(BATCH):
                optimizer.zero_grad()
                F.cross_entropy(network(states[rows]), tasks_of[rows]).backward()
                optimizer.step()
    return network


def states_of(model: Transformer, prompts: np.ndarray) -> Tensor:
    """The last hidden state (N, C) of a model at the last token of prompts (N, P), of mean 0 and size 1."""
    last = streams(model, prompts)[-1][:, -1]
    return F.layer_norm(last, last.shape[-1:])


def words_of(prompts: np.ndarray, vocabulary: int) -> Tensor:
    """Which tokens of a vocabulary occur in each of the prompts (N, P), of mean 0 and size 1: (N, V)."""
    return F.layer_norm(torch.from_numpy(held(prompts, vocabulary)).float(), (vocabulary,))


def router(route: str, model: Transformer, retained: Sequence[Examples], seed: int) -> Router:
    """How one of ``ROUTES`` sends prompts to experts, by the prompts ``retained`` of each task so far.

    ``words`` is the same switch on which words occur, in place of what the frozen model makes of them; the
    ``oracle`` knows the task of each prompt (``rule``).
    """
    tasks, labels = len(retained), np.repeat(np.arange(len(retained)), [len(each) for each in retained])
    if route == "oracle":
        return lambda asked: asked.rule % tasks
    if route == "random":
        return lambda asked: generator(seed, f"routes among {tasks}").integers(0, tasks, len(asked))
    read = partial(states_of, model)
    if route == "words":
        read = partial(words_of, vocabulary=model.shape.vocabulary)
    known = labels > 0 if route == "coded" and tasks > 1 else labels >= 0
    prompts = np.concatenate([each.prompts for each in retained])[known]
    network = switch(read(prompts), torch.from_numpy(labels[known]), tasks, seed)
    return lambda asked: network(read(asked.prompts)).argmax(1).numpy()
