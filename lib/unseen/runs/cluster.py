"""Runs on a Dask cluster: a local one, or any scheduler that is reached by its address.

Slurm, Kubernetes and the clouds come from dask-jobqueue, dask-kubernetes and the like, which start
schedulers and workers.  Results stay on the disk that all workers share; a few bytes per run go over the
network.  Needs the extra ``cluster``.
"""

import logging
import queue
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict
from typing import Any
from uuid import uuid4

from unseen.errors import Explained
from unseen.runs import workers
from unseen.runs.workers import Event, Executor, Report, Trainer
from unseen.signals import Stopped
from unseen.specs import RunSpec

SCHEDULERS = "'serial', 'processes', 'local', an address as in 'tcp://host:8786' or 'tls://host:8786', or ''"
_ADDRESS = re.compile(r"(?:tcp|tls)://(?:[A-Za-z0-9][A-Za-z0-9._-]*|\[[0-9A-Fa-f:.]+\]):([1-9][0-9]{0,4})")
_PATIENCE = 10  # seconds for a scheduler to answer


class BadScheduler(Explained, ValueError):
    """There is no such scheduler, or it does not answer."""


def executor(scheduler: str = "") -> Executor | None:
    """The executor called ``serial``, ``processes``, ``local`` (Dask on this machine), or by a Dask address.

    An empty name leaves the choice to ``sweep.frame``.  Raises ``BadScheduler`` for any other name.

    >>> type(executor("serial")).__name__, executor("")
    ('Serial', None)
    """
    chosen = {"": lambda: None, "serial": workers.Serial, "processes": workers.Processes}
    return chosen.get(known_scheduler(scheduler), lambda: Dask(scheduler))()


def known_scheduler(name: str) -> str:
    """The name, if ``executor`` knows it, or it has the form of an address; raises ``BadScheduler``.

    >>> known_scheduler("tls://head:8786")
    'tls://head:8786'
    """
    address = _ADDRESS.fullmatch(str(name))
    if int(address[1]) >= 2**16 if address else name not in ("", "serial", "processes", "local"):
        raise BadScheduler(f"scheduler={name!r:.100} must be {SCHEDULERS}")
    return name


class Dask:
    """Runs as tasks of a Dask cluster: ``local`` for one-thread workers on this machine, or an address.

    A dead worker's runs go to others; the store's locks and checkpoints make that safe.
    """

    def __init__(self, scheduler: str = "local", count: int | None = None):
        try:
            import distributed
        except ImportError as error:
            needs = "needs the extra 'cluster': pip install -e '.[cluster]'"
            raise BadScheduler(f"scheduler={scheduler!r} {needs}") from error
        self.distributed, self.scheduler, self.workers = distributed, scheduler, count or workers.cores()

    def run(self, specs: list[RunSpec], trainer: Trainer, report: Report) -> None:
        """Train the specs on the cluster; returns when all have ended."""
        topic, events, tasks = f"unseen-{uuid4().hex}", queue.SimpleQueue[Any](), {}
        with self._client() as client:
            client.subscribe_topic(topic, lambda stamped: events.put(Event(**stamped[1]["news"])))
            stop = self.distributed.Event(topic, client=client)

            def start(spec: RunSpec) -> bool:
                if len(tasks) >= sum(client.nthreads().values()):
                    return False  # Dask blames a worker's death on all that waits there, so nothing does
                digest = spec.digest()
                key = f"{digest}-{uuid4().hex}"
                tasks[digest] = client.submit(_task, spec, trainer, topic, key=key, pure=False, retries=0)
                tasks[digest].add_done_callback(lambda _: events.put(digest))
                return True

            def news() -> Iterator[Event]:
                with suppress(queue.Empty):
                    item = events.get(timeout=0.5)
                    # Not in the callback: Dask has one thread for all of them, and one that waits stops all
                    yield item if isinstance(item, Event) else self._last(tasks.pop(item), item)

            try:
                workers.drive(specs, start, news, report)
            except BaseException:
                with suppress(Exception):  # runs keep a checkpoint at their next row; queued ones never start
                    stop.set()
                    self.distributed.wait(list(tasks.values()), timeout=30)
                raise
            finally:
                client.unsubscribe_topic(topic)

    def _last(self, future: Any, digest: str) -> Event:
        """How a task ended; one whose worker died is tried again."""
        try:
            return Event(**future.result())
        except self.distributed.KilledWorker:
            return Event("lost", digest, reason="its worker died")
        except Exception as error:  # a broken cluster, since the errors of runs come as events
            return Event("failed", digest, reason=f"{type(error).__name__}: {error}")

    @contextmanager
    def _client(self) -> Iterator[Any]:
        """A connection to the scheduler, after starting a cluster for ``local``."""
        import dask

        quiet = {"distributed.scheduler.allowed-failures": 0, "distributed.admin.tick.limit": "1h"}
        with dask.config.set(quiet), ExitStack() as stack:
            where = self.scheduler
            if where == "local":
                form = {"threads_per_worker": 1, "dashboard_address": "127.0.0.1:0"}
                cluster = self.distributed.LocalCluster(self.workers, **form, silence_logs=logging.ERROR)
                where = stack.enter_context(cluster)
            try:
                client = self.distributed.Client(where, timeout=_PATIENCE, set_as_default=False)
            except (OSError, ValueError) as error:
                raise BadScheduler(f"scheduler={self.scheduler!r} does not answer ({error})") from error
            yield stack.enter_context(client)


def _task(spec: RunSpec, trainer: Trainer, topic: str) -> dict[str, Any]:
    """What a worker does with a run; its events go to the driver, its results to the store."""
    from distributed import Event as Flag
    from distributed import get_worker

    worker, stop = get_worker(), Flag(topic)
    if isinstance(worker.name, int):  # of a local cluster
        workers.stay_on_core(worker.name)

    def report(event: Event) -> None:
        if stop.is_set():
            raise Stopped
        worker.log_event(topic, {"news": asdict(event)})

    try:
        with workers.threads(1):
            return asdict(workers.run_one(spec, trainer, report))
    except Stopped:
        reason = "stopped with the driver; its checkpoint is kept"
        return asdict(Event("failed", spec.digest(), reason=reason))
