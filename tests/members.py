"""What each member of a crew does in the tests of ``parallel``: ``torchrun ... crews.py <task> <folder>``."""

import errno
import os
import signal
import sys
import time
from pathlib import Path

import torch

from trainers import SMALL
from unseen.parallel import Crew, crew
from unseen.running.workers import Stopped
from unseen.specs import RunSpec
from unseen.training import Diverged, Row, State, data_of, start, train

MODERN = SMALL.but(training=SMALL.training.but(evaluate_every=3))  # the checkpoint at 4 stands between two rows
GPT2 = MODERN.but(model=SMALL.model.but(recipe="gpt2"), training=MODERN.training.but(matrix_learning_rate=0.0))
RUNS = {"modern": MODERN, "gpt2": GPT2}


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


def compare(members: Crew, folder: Path) -> None:
    """Train both recipes from their start and on from a checkpoint of one process; leave what came out."""
    out, called = {"rank": members.rank, "size": members.size, "device": members.device}, []
    for name, spec in RUNS.items():
        data = data_of(spec)
        state = start(spec if members.leads else spec.with_seed(5))  # the others take over what the leader has
        out[f"{name} whole"] = kept(train(spec, state, data, called.append, called.append, members))
        early = torch.load(folder / f"{name}.pt", weights_only=True)
        state = restored(spec, early) if members.leads else start(spec)
        out[f"{name} resumed"] = kept(train(spec, state, data, crew=members))
    out["calls"] = len(called)
    out["mean"] = members.mean(torch.tensor([members.rank, 10.0]))
    out["same"] = members.same(f"from {members.rank}")
    out["diverged"] = diverge(members)
    torch.save(out, folder / f"member-{members.rank}.pt")


def diverge(members: Crew) -> str:
    """What each member is told when one weight of one member, not the leader, becomes infinite after step 1."""
    state = start(SMALL)
    step = state.optimizers[0].step

    def broken() -> None:
        step()
        if members.rank == 1 and state.step == 0:
            state.model.head.data.fill_(float("inf"))

    state.optimizers[0].step = broken
    try:
        train(SMALL, state, data_of(SMALL), crew=members)
    except Diverged as error:
        return str(error)
    return "no"


def fill(members: Crew, folder: Path) -> None:
    """The leader alone finds the disk full at its first checkpoint."""
    leave(members, folder, save=lambda state: raised(folder, OSError(errno.ENOSPC, "No space left on device")))


def interrupt(members: Crew, folder: Path) -> None:
    """Ctrl-C reaches all; the leader alone stops, at the next row, as a run does that wants a checkpoint."""
    asked = []
    if members.leads:
        signal.signal(signal.SIGINT, lambda number, frame: asked.append(number))

    def watch(row: Row) -> None:
        (folder / "trains").touch()
        if asked:
            raised(folder, Stopped())

    leave(members, folder, watch=watch)


def leave(members: Crew, folder: Path, **callbacks) -> None:
    """Train for longer than any test waits, so that nobody ends by being done."""
    (folder / f"{members.rank}.pid").write_text(str(os.getpid()))
    spec = SMALL.but(training=SMALL.training.but(steps=10**6))
    train(spec, start(spec), data_of(spec), **callbacks, crew=members)


def raised(folder: Path, error: BaseException) -> None:
    """Raise an error, and leave the time."""
    (folder / "raised").write_text(str(time.time()))
    raise error


ENDINGS = {"fill": fill, "interrupt": interrupt}

if __name__ == "__main__":
    torch.set_num_threads(1)
    with crew() as here:
        ({"compare": compare} | ENDINGS)[sys.argv[1]](here, Path(sys.argv[2]))
