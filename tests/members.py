"""What each process does in ``test_process_group``: ``torchrun ... members.py <folder>``."""

import os
import signal
import sys
import time
from pathlib import Path

import torch

from trainers import SMALL
from unseen.process_group import ProcessGroup, joined
from unseen.signals import Stopped
from unseen.specs import RunSpec
from unseen.training import Diverged, Row, State, data_of, start, train

TRAINING = SMALL.training.but(evaluate_every=3)  # the checkpoint at 4 stands between two rows
RUNS = {
    "modern": SMALL.but(training=TRAINING),
    "gpt2": SMALL.but(model=SMALL.model.but(recipe="gpt2"), training=TRAINING.but(matrix_learning_rate=0.0)),
}


def ignore(_: object) -> None:
    """A callback that does nothing."""


def kept(state: State) -> dict:
    """All of a state, its own copy, ready for ``torch.save``."""
    tensors = {name: value.clone() for name, value in state.to_tensors().items()}
    return {"tensors": tensors, "step": state.step, "history": list(state.history)}


def restored(spec: RunSpec, found: dict) -> State:
    """The inverse of ``kept``."""
    state = start(spec)
    state.load_tensors(found["tensors"])
    state.step, state.history = found["step"], list(found["history"])
    return state


def compare(group: ProcessGroup, folder: Path) -> None:
    """Train both recipes from the start and from a checkpoint of one process; save the results."""
    out, called = {"rank": group.rank, "size": group.size, "device": group.device}, []
    for name, spec in RUNS.items():
        data = data_of(spec)
        state = start(spec if group.leads else spec.with_seed(5))  # the others take over the leader's state
        out[f"{name} whole"] = kept(train(spec, state, data, called.append, called.append, group))
        early = torch.load(folder / f"{name}.pt", weights_only=True)
        state = restored(spec, early) if group.leads else start(spec)
        out[f"{name} resumed"] = kept(train(spec, state, data, ignore, ignore, group))
    out["calls"] = len(called)
    out["mean"] = group.mean(torch.tensor([group.rank, 10.0]))
    out["same"] = group.same(f"from {group.rank}")
    out["diverged"] = diverge(group)
    torch.save(out, folder / f"member-{group.rank}.pt")


def diverge(group: ProcessGroup) -> str:
    """What each process raises when a weight of a member, not the leader, becomes infinite after step 1."""
    state = start(SMALL)
    step = state.optimizers[0].step

    def broken() -> None:
        step()
        if group.rank == 1 and state.step == 0:
            state.model.head.data.fill_(float("inf"))

    state.optimizers[0].step = broken
    try:
        train(SMALL, state, data_of(SMALL), ignore, ignore, group)
    except Diverged as error:
        return str(error)
    return "no"


def interrupt(group: ProcessGroup, folder: Path) -> None:
    """Ctrl-C reaches all; the leader alone stops, at the next row, as a run does that writes a checkpoint.

    They train for longer than any test waits, so that no process ends by being done.
    """
    stops = []
    if group.leads:
        signal.signal(signal.SIGINT, lambda number, frame: stops.append(number))

    def watch(row: Row) -> None:
        (folder / "trains").touch()
        if stops:
            (folder / "raised").write_text(str(time.time()))
            raise Stopped

    (folder / f"{group.rank}.pid").write_text(str(os.getpid()))
    spec = SMALL.but(training=SMALL.training.but(steps=10**6))
    train(spec, start(spec), data_of(spec), watch, ignore, group)


if __name__ == "__main__":
    torch.set_num_threads(1)
    with joined() as here:
        compare(here, Path(sys.argv[1]))
        interrupt(here, Path(sys.argv[1]))
