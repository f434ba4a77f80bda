"""papermill with manners: a signal to us interrupts the kernel, so that what it trains writes checkpoints first.

papermill itself would die of SIGTERM and leave the kernel to find out, and at Ctrl-C pull the kernel down with all
that it holds.
"""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import papermill
from papermill.clientwrap import PapermillNotebookClient
from papermill.engines import NBClientEngine, papermill_engines
from papermill.log import logger
from traitlets.config import Config

from unseen.workers import Terminated

_KERNEL = Config(KernelManager={"transport_encryption": "auto"})  # else every start warns of plain TCP
_SIGNALS = {signal.SIGINT: KeyboardInterrupt, signal.SIGTERM: Terminated}


class _Asked:
    """The signals that came while a notebook runs."""

    def __init__(self) -> None:
        self.numbers: list[int] = []
        self.client: PapermillNotebookClient | None = None

    def take(self, number: int, _: Any) -> None:
        """Interrupt the kernel; at the second signal do not wait for it any longer."""
        self.numbers.append(number)
        if len(self.numbers) > 1:
            raise _SIGNALS[number]
        pid = getattr(getattr(getattr(self.client, "km", None), "provisioner", None), "pid", None)
        if pid is None:
            raise _SIGNALS[number]
        print("stopping: runs under way write a checkpoint (again to stop at once)", file=sys.stderr, flush=True)
        os.kill(pid, signal.SIGINT)

    def check(self, **_: Any) -> None:
        """Let no further cell start."""
        if self.numbers:
            raise _SIGNALS[self.numbers[0]]


_asked = _Asked()  # one notebook at a time has this process' signals


class _Engine(NBClientEngine):
    """papermill's own engine, with a client that we know."""

    @classmethod
    def execute_managed_notebook(cls, nb_man: Any, kernel_name: str, **options: Any) -> Any:
        wanted = {name: options[name] for name in ("stdout_file", "stderr_file", "config") if name in options}
        client = PapermillNotebookClient(nb_man, kernel_name=kernel_name, log=logger, startup_timeout=60,
                                         on_cell_execute=_asked.check, **wanted)  # fmt: skip
        _asked.client = client
        return client.execute(**({"cwd": options["cwd"]} if options.get("cwd") else {}))


def execute(source: str, target: str, folder: Path) -> None:
    """Run the notebook ``source`` in ``folder`` and write what came out to ``target``; see papermill for both names.

    Raises ``KeyboardInterrupt`` or ``Terminated`` when a signal ended it, what papermill raises when it failed.
    """
    papermill_engines.register("unseen", _Engine)
    with _signals():
        try:
            papermill.execute_notebook(source, target, cwd=str(folder), kernel_name="python3", engine_name="unseen",
                                       progress_bar=False, config=_KERNEL, stdout_file=sys.stdout,
                                       stderr_file=sys.stderr)  # fmt: skip
        finally:
            _asked.check()


@contextmanager
def _signals() -> Iterator[None]:
    _asked.__init__()
    here = threading.current_thread() is threading.main_thread()
    before = {number: signal.signal(number, _asked.take) for number in _SIGNALS} if here else {}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
