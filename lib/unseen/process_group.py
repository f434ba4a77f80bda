"""Several processes train one run: each computes its share of every batch, on a GPU or a host of its own.

``torchrun`` starts the processes and gives each its rank in the environment; ``joined`` reads that and
yields the ``ProcessGroup`` that ``training.train`` takes.  Without ``torchrun`` it is a group of one, which
costs nothing.

    >>> ProcessGroup(rank=1, size=2).share([3, 1, 2, 4])
    [2, 4]

What all processes meet (``Diverged``) each of them raises.  What only the leader meets, who alone watches
and saves (a stop, a full disk), must leave ``joined`` and end its process with an exit code other than
zero: the others find the connection broken or are ended by ``torchrun``.
"""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel


@dataclass(frozen=True)
class ProcessGroup:
    """One process's place in a group, and its ``device``, which is None in a group of one: any will do.

    ``mean``, ``same`` and a ``backward`` through what ``wrap`` returns wait until every process has made
    the same call.
    """

    rank: int = 0
    size: int = 1
    device: str | None = None

    @property
    def leads(self) -> bool:
        """Whether this process is the one that evaluates, writes and reports."""
        return self.rank == 0

    def check(self, batch: int) -> None:
        """Raise ``ValueError`` when a batch cannot be shared evenly: its mean is not that of the shares."""
        if batch % self.size:
            raise ValueError(f"a batch of {batch} examples cannot be shared evenly by {self.size} processes")

    def share(self, rows: Any) -> Any:
        """This process's part (B / size, ...) of the rows (B, ...) of a batch; raises as ``check`` does."""
        self.check(len(rows))
        part = len(rows) // self.size
        return rows[self.rank * part : (self.rank + 1) * part]

    def wrap(self, model: nn.Module) -> nn.Module:
        """What to call instead of ``model``, equal everywhere: ``backward`` leaves mean gradients."""
        if self.size == 1:
            return model
        wrapped = DistributedDataParallel(model, init_sync=False)
        wrapped.broadcast_buffers = False  # they follow from the spec
        return wrapped

    def mean(self, tensor: Tensor) -> Tensor:
        """The mean over the processes, the same bits at each; any shape."""
        if self.size == 1:
            return tensor
        total = tensor / self.size
        dist.all_reduce(total)
        return total

    def same(self, value: Any) -> Any:
        """The leader's value, at every process.  Tensors must be on the CPU."""
        if self.size == 1:
            return value
        box = [value]
        dist.broadcast_object_list(box, src=0)  # pickled, but only by our own leader
        return box[0]


ALONE = ProcessGroup()


@contextmanager
def joined() -> Iterator[ProcessGroup]:
    """This process's place in the group that torchrun started, connected until the end of the block.

    Raises ``ValueError`` when this host has no GPU for it.
    """
    usual = {"RANK": 0, "WORLD_SIZE": 1, "LOCAL_RANK": 0}
    rank, size, local = (int(os.environ.get(name, value)) for name, value in usual.items())
    if size == 1:
        yield ALONE
        return
    device = _device(local)
    dist.init_process_group("gloo" if device == "cpu" else "nccl")
    interrupt, whole = signal.getsignal(signal.SIGINT), False
    try:
        if rank:
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # or the leader could not finish its step and save
        yield ProcessGroup(rank, size, device)
        whole = True
    finally:
        signal.signal(signal.SIGINT, interrupt)
        if whole or device == "cpu":  # after an error NCCL would wait for processes that wait for this one
            dist.destroy_process_group()


def _device(local: int) -> str:
    """The device of a process, made torch's current one: a GPU of its own, or the CPU where there is none."""
    if not torch.cuda.is_available():
        return "cpu"
    if local >= (found := torch.cuda.device_count()):
        few = f"this host has {found} GPU(s), so --nproc-per-node {found} at most"
        raise ValueError(f"LOCAL_RANK={local}: {few}")
    torch.cuda.set_device(local)
    return f"cuda:{local}"


def best_device() -> str:
    """``cuda`` or ``mps`` where torch finds one, else ``cpu``."""
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"
