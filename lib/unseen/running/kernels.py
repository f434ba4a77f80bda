"""papermill with manners: a signal to us interrupts the kernel, so that what it trains writes checkpoints first.

papermill itself would die of SIGTERM and leave the kernel to find out, and at Ctrl-C pull the kernel down with all
that it holds.
"""

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import papermill
from papermill.clientwrap import PapermillNotebookClient
from papermill.engines import NBClientEngine, papermill_engines
from papermill.log import logger
from traitlets.config import Config

from unseen.running.signals import polite_stops

_KERNEL = Config(KernelManager={"transport_encryption": "auto"})  # else every start warns of plain TCP


class _Engine(NBClientEngine):
    """papermill's own engine, with a client that ``execute`` knows, and no cell started behind a signal."""

    @classmethod
    def execute_managed_notebook(
        cls,
        nb_man: Any,
        kernel_name: str,
        clients: list[PapermillNotebookClient],
        check: Callable[[], None],
        **options: Any,
    ) -> Any:
        wanted = {name: options[name] for name in ("stdout_file", "stderr_file", "config")}
        client = PapermillNotebookClient(nb_man, kernel_name=kernel_name, log=logger, startup_timeout=60,
                                         on_cell_execute=lambda **_: check(), **wanted)  # fmt: skip
        clients.append(client)
        return client.execute()


def execute(source: str, target: str, folder: Path) -> None:
    """Run the notebook ``source`` in ``folder`` and write what came out to ``target``; see papermill for both names.

    Raises ``KeyboardInterrupt`` or ``Terminated`` when a signal ended it, what papermill raises when it failed.
    """
    clients: list[PapermillNotebookClient] = []  # one, once there is a kernel to start
    papermill_engines.register("unseen", _Engine)
    with polite_stops(lambda: _interrupt(clients)) as check:
        try:
            papermill.execute_notebook(source, target, cwd=str(folder), kernel_name="python3", engine_name="unseen",
                                       progress_bar=False, config=_KERNEL, stdout_file=sys.stdout,
                                       stderr_file=sys.stderr, clients=clients, check=check)  # fmt: skip
        finally:
            check()


def _interrupt(clients: list[PapermillNotebookClient]) -> bool:
    """Pass a signal on to the kernel; whether there is one."""
    pids = [getattr(getattr(client.km, "provisioner", None), "pid", None) for client in clients]
    if not any(pids):
        return False
    print("stopping: runs under way write a checkpoint (again to stop at once)", file=sys.stderr, flush=True)
    os.kill(pids[0], signal.SIGINT)
    return True
