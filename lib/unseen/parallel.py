"""Several processes at one run: each computes its share of every batch, on a GPU or a host of its own.

``torchrun`` starts the processes and tells each its place; ``crew`` reads that and gives the ``Crew`` that
``training.train`` takes.  Without ``torchrun`` it is the crew of one, which costs nothing.

    >>> Crew(rank=1, size=2).share([3, 1, 2, 4])
    [2, 4]

How a run ends early: what all members meet (``Diverged``, a batch that cannot be shared) each of them raises.  What one
meets (a stop or a full disk at the leader, who alone watches and saves) must leave ``crew`` and end its process with a
code other than zero: members that wait for it find the connection broken or are ended by ``torchrun``.  A Ctrl-C is
for the leader alone to answer; torchrun gives it 30 seconds.
"""

import os
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

_TOLD = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_PORT")  # by torchrun, to each process, besides MASTER_ADDR
_entered = count()  # connections of this process so far


@dataclass(frozen=True)
class Crew:
    """One member's place among the processes of a run; its ``device``, which is None when alone: any will do.

    ``mean``, ``same`` and a ``backward`` through what ``wrap`` gives wait for every member to come to the same call.
    """

    rank: int = 0
    size: int = 1
    device: str | None = None

    @property
    def leads(self) -> bool:
        """Whether this member is the one that evaluates, writes and reports."""
        return self.rank == 0

    def check(self, batch: int) -> None:
        """Raise ``ValueError`` when a batch cannot be shared evenly: the mean of the shares would not be its mean."""
        if batch % self.size:
            raise ValueError(f"a batch of {batch} examples cannot be shared evenly by {self.size} processes")

    def share(self, rows: Any) -> Any:
        """This member's part (B / size, ...) of the rows (B, ...) of a batch; raises as ``check`` does."""
        self.check(len(rows))
        part = len(rows) // self.size
        return rows[self.rank * part : (self.rank + 1) * part]

    def wrap(self, model: nn.Module) -> nn.Module:
        """What to call for ``model``, of equal weights at all, so that ``backward`` leaves the crew's mean gradients."""
        if self.size == 1:
            return model
        wrapped = DistributedDataParallel(model, init_sync=False)
        wrapped.broadcast_buffers = False  # no need to send them at every step: they follow from the spec
        return wrapped

    def mean(self, tensor: Tensor) -> Tensor:
        """The mean over the members, the same bits at each; any shape."""
        if self.size == 1:
            return tensor
        total = tensor / self.size
        dist.all_reduce(total)
        return total

    def same(self, value: Any) -> Any:
        """The leader's value, at every member; what the others pass is dropped.  Tensors must be on the processor."""
        if self.size == 1:
            return value
        box = [value]
        dist.broadcast_object_list(box, src=0)  # pickled, but only by our own leader
        return box[0]


ALONE = Crew()


@contextmanager
def crew() -> Iterator[Crew]:
    """This process' place in the crew that torchrun started, connected until the end of the block; once for each process.

    Raises ``ValueError`` when the environment tells an impossible place, or this host has no GPU for it, and
    ``RuntimeError`` the second time.
    """
    rank, size, local = _place(os.environ)
    if size == 1:
        yield ALONE
        return
    device = _device(local)
    if next(_entered):
        raise RuntimeError("crew() connects a process once: the second time torch would wait for ever")
    dist.init_process_group("gloo" if device == "cpu" else "nccl")
    interrupt, whole = signal.getsignal(signal.SIGINT), False
    try:
        if rank:
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # or the leader could not finish its step and save
        yield Crew(rank, size, device)
        whole = True
    finally:
        signal.signal(signal.SIGINT, interrupt)
        if whole or device == "cpu":  # NCCL's end would wait for members that wait for this one: leave it to the system
            dist.destroy_process_group()


def _place(told: Mapping[str, str]) -> tuple[int, int, int]:
    """Rank, size and rank on this host, from an environment."""
    if not {"RANK", "WORLD_SIZE"} & set(told):
        return 0, 1, 0
    if odd := [f"{name}={told.get(name)!r}" for name in _TOLD if not told.get(name, "").isdecimal()]:
        raise ValueError(f"{', '.join(odd)}: expected whole numbers, all of them, as torchrun sets them")
    rank, size, local, _ = (int(told[name]) for name in _TOLD)
    if not local <= rank < size:
        raise ValueError(f"LOCAL_RANK={local}, RANK={rank}, WORLD_SIZE={size}: each must be in reach of the next")
    return rank, size, local


def _device(local: int) -> str:
    """The device of a member, made torch's current one: a GPU of its own, or the processor where there is none."""
    if not torch.cuda.is_available():
        return "cpu"
    if local >= (found := torch.cuda.device_count()):
        raise ValueError(f"LOCAL_RANK={local}: this host has {found} GPU(s), so --nproc-per-node {found} at most")
    torch.cuda.set_device(local)
    return f"cuda:{local}"
