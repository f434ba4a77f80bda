"""Runs on a Dask cluster: a local one, or any scheduler that is reached by its address.

Slurm, Kubernetes and the clouds come from dask-jobqueue, dask-kubernetes and their like, which start schedulers and
workers; here are only the runs.  Results stay on the disk that all workers share; a few bytes a run go over the wire.
Needs the extra ``cluster``.
"""

import logging
import queue
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from unseen.errors import Explained
from unseen.parameters import check_parameters
from unseen.running.workers import (
    RETRIES,
    Event,
    Executor,
    Line,
    Processes,
    Report,
    Serial,
    Stopped,
    Trainer,
    cores,
    run_one,
    stay_on_core,
    threads,
)
from unseen.specs import RunSpec

if TYPE_CHECKING:
    from distributed import Client, Future

_PATIENCE = 10  # seconds for a scheduler to answer


class BadScheduler(Explained, ValueError):
    """There is no such scheduler, or it does not answer."""


def executor(scheduler: str = "") -> Executor | None:
    """The executor of a name: ``serial``, ``processes``, ``local`` (Dask on this machine), or a Dask scheduler's address.

    An empty name leaves the choice to ``sweep.frame``.  Raises ``BadParameters`` for any other name.

    >>> type(executor("serial")).__name__, executor("")
    ('Serial', None)
    >>> executor("slurm")
    Traceback (most recent call last):
    ...
    unseen.parameters.BadParameters: scheduler='slurm' must be 'serial', 'processes', 'local', an address as in ...
    """
    check_parameters(scheduler=scheduler)
    chosen = {"": lambda: None, "serial": Serial, "processes": Processes}
    if scheduler in chosen:
        return chosen[scheduler]()
    return Dask(scheduler)


class Dask:
    """Runs as tasks of a Dask cluster: ``local`` for one of one-thread workers on this machine, or an address.

    Dask gives a dead worker's runs to others; the store's locks and checkpoints make that safe.
    """

    def __init__(self, scheduler: str = "local", workers: int | None = None):
        try:
            import distributed
        except ImportError as error:
            raise BadScheduler(
                f"scheduler={scheduler!r} needs the extra 'cluster': pip install -e '.[cluster]'"
            ) from error
        self.distributed, self.scheduler, self.workers = distributed, scheduler, workers or cores()

    def run(self, specs: list[RunSpec], trainer: Trainer, report: Report) -> None:
        """Train the specs on the cluster; returns when all have ended."""
        topic, news = f"unseen-{uuid4().hex}", queue.SimpleQueue[Any]()
        with self._client() as client:
            client.subscribe_topic(topic, lambda stamped: news.put(Event(**stamped[1]["news"])))
            stop = self.distributed.Event(topic, client=client)
            running: dict[str, tuple[Future, RunSpec]] = {}
            try:
                self._until_done(Line(specs), running, news, report,
                                 lambda spec: client.submit(_task, spec, trainer, topic, key=f"{spec.digest()}-{uuid4().hex}",
                                                            pure=False, retries=0))  # fmt: skip
            except BaseException:
                with suppress(Exception):  # each writes a checkpoint at its next row; what is queued never starts
                    stop.set()
                    self.distributed.wait([future for future, _ in running.values()], timeout=30)
                raise
            finally:
                client.unsubscribe_topic(topic)

    def _until_done(
        self,
        line: Line,
        running: dict[str, tuple["Future", RunSpec]],
        news: queue.SimpleQueue[Any],
        report: Report,
        submit: Callable[[RunSpec], "Future"],
    ) -> None:
        started, blamed = Counter[str](), set[str]()
        while line or running:
            while (spec := line.next()) is not None:
                future = submit(spec)
                digest = spec.digest()
                running[digest] = future, spec
                future.add_done_callback(lambda _, digest=digest: news.put(digest))
            try:
                item = news.get(timeout=0.5)
            except queue.Empty:
                continue
            if isinstance(item, Event):
                if item.digest not in running:
                    continue  # news and results come by different ways: this run has ended
                if item.kind == "started":
                    if started[item.digest]:
                        report(Event("lost", item.digest, reason="its worker died; another one goes on"))
                    started[item.digest] += 1
                report(item)
                continue
            future, spec = running.pop(item)
            event = self._last(future, spec)
            if event.kind == "died" and started[item] <= RETRIES and item not in blamed:
                # Dask counts a worker's death against all that waited on it: one more chance for who was not at work
                blamed.add(item)
                event = Event("lost", item, reason="it waited on workers that died; it is asked for again")
            if event.kind in ("held", "lost"):
                line.later(spec)
            del started[item]
            report(Event("failed", item, reason=event.reason) if event.kind == "died" else event)

    def _last(self, future: "Future", spec: RunSpec) -> Event:
        """How a run ended; ``died`` if Dask gave it up for its dead workers."""
        try:
            return Event(**future.result())
        except self.distributed.KilledWorker:
            kind, reason = "died", f"its worker died, and so did {RETRIES} more that went on with it"
        except Exception as error:  # a broken cluster, since the errors of runs come as events
            kind, reason = "failed", f"{type(error).__name__}: {error}"
        return Event(kind, spec.digest(), reason=reason)

    @contextmanager
    def _client(self) -> Iterator["Client"]:
        """A connection to the scheduler, and the local cluster behind it if that was asked for."""
        quiet = {"distributed.scheduler.allowed-failures": RETRIES, "distributed.admin.tick.limit": "1h"}
        import dask

        with dask.config.set(quiet):
            if self.scheduler == "local":
                cluster = self.distributed.LocalCluster(
                    n_workers=self.workers,
                    threads_per_worker=1,
                    dashboard_address="127.0.0.1:0",
                    silence_logs=logging.ERROR,
                )
                with cluster, self.distributed.Client(cluster) as client:
                    yield client
                return
            try:
                client = self.distributed.Client(self.scheduler, timeout=_PATIENCE, set_as_default=False)
            except (OSError, ValueError) as error:
                raise BadScheduler(f"scheduler={self.scheduler!r} does not answer ({error})") from error
            with client:
                yield client


def _task(spec: RunSpec, trainer: Trainer, topic: str) -> dict[str, Any]:
    """What a worker does with a run; its news go to the driver, its results to the store."""
    from distributed import Event as Flag
    from distributed import get_worker

    worker, stop = get_worker(), Flag(topic)
    if isinstance(worker.name, int):  # of a local cluster
        stay_on_core(worker.name)

    def report(event: Event) -> None:
        if stop.is_set():
            raise Stopped
        worker.log_event(topic, {"news": asdict(event)})

    try:
        with threads(1):
            return asdict(run_one(spec, trainer, report))
    except Stopped:
        return asdict(Event("failed", spec.digest(), reason="stopped with the driver; its checkpoint is kept"))
