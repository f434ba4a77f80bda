"""Executors: where the missing runs of a sweep are trained.

An executor is anything with the ``run`` method of ``Serial`` and ``Processes``: it gets specs and a
function that trains one, and reports ``Event`` s.
"""

import multiprocessing
import os
import signal
import threading
import traceback
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any, Protocol

import torch

from unseen.specs import RunSpec

RETRIES = 2  # how often a run whose worker died is given to another


class Stopped(BaseException):
    """A person or the system asked a run to stop; its checkpoint is kept."""


@dataclass(frozen=True)
class Event:
    """News of one run: ``started``, ``step``, ``done`` or ``failed`` (with the reason)."""

    kind: str
    digest: str
    step: int = 0
    reason: str = ""


Report = Callable[[Event], Any]
Trainer = Callable[[RunSpec, Callable[[int], Any]], Any]  # trains one run, telling its step now and then


class Executor(Protocol):
    """Trains specs somewhere and reports events; returns when all have ended."""

    def run(self, specs: list[RunSpec], trainer: Trainer, report: Report) -> None:
        """Train all specs; ``trainer`` can be sent to another process."""
        ...


class Serial:
    """One run after the other in this process, on one thread."""

    def run(self, specs: list[RunSpec], trainer: Trainer, report: Report) -> None:
        """Train the specs in order; a failed run is reported and the next one starts."""
        with threads(1):
            for spec in specs:
                _run_one(spec, trainer, report)


class Processes:
    """Runs on one-thread worker processes, by default one for each core: two such workers get half as
    much again out of two cores as one worker with two threads.  A worker that dies is replaced and its
    run tried again, ``RETRIES`` times."""

    def __init__(self, workers: int | None = None):
        self.workers = workers or cores()

    def run(self, specs: list[RunSpec], trainer: Trainer, report: Report) -> None:
        """Train the specs, several at a time, in order; returns when all have ended."""
        waiting, tries = deque(specs), dict.fromkeys(specs, 0)
        crew = [_Worker(trainer, number) for number in range(min(self.workers, len(specs)))]
        try:
            for worker in crew:
                worker.take(waiting)
            while busy := {worker.connection: worker for worker in crew if worker.spec}:
                for connection in wait(list(busy)):
                    worker = busy[connection]
                    event = worker.news()
                    if event is None:
                        tries[worker.spec] += 1
                        event = self._bury(worker, waiting, tries[worker.spec])
                        crew[crew.index(worker)] = worker = _Worker(trainer, worker.number)
                    report(event)
                    if worker.spec is None or event.kind in ("done", "failed"):
                        worker.take(waiting)
        finally:
            for worker in crew:
                worker.stop()

    def _bury(self, worker: "_Worker", waiting: deque[RunSpec], tries: int) -> Event:
        """A worker died: its run waits for another one, or has failed."""
        reason = f"its worker died (exit code {worker.exit_code()}), try {tries} of {RETRIES + 1}"
        if tries > RETRIES:
            return Event("failed", worker.spec.digest(), reason=reason)
        waiting.appendleft(worker.spec)
        return Event("lost", worker.spec.digest(), reason=reason)


class _Worker:
    """A worker process and the pipe to it, seen from the parent."""

    def __init__(self, trainer: Trainer, number: int):
        context = multiprocessing.get_context("spawn")
        self.spec: RunSpec | None = None
        self.number = number
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=_work, args=(theirs, trainer, number), daemon=True)
        self.process.start()
        theirs.close()

    def take(self, waiting: deque[RunSpec]) -> None:
        """Start on the next waiting run, if there is one."""
        self.spec = waiting.popleft() if waiting else None
        if self.spec:
            with suppress(OSError):  # it has just died: ``news`` will tell
                self.connection.send(self.spec)

    def news(self) -> Event | None:
        """The next event, or None when the process is gone."""
        try:
            return self.connection.recv()
        except (EOFError, OSError):
            return None

    def exit_code(self) -> int | None:
        """How the process ended, as ``subprocess`` tells it: -9 is SIGKILL."""
        self.process.join(5)
        return self.process.exitcode

    def stop(self) -> None:
        """Let an idle worker go home; ask a busy one for a checkpoint first."""
        if self.spec:
            self.process.terminate()
        self.connection.close()
        self.process.join(30)
        if self.process.is_alive():
            self.process.kill()


def _work(connection: Connection, trainer: Trainer, number: int) -> None:
    """The life of a worker: receive a spec, train it, report; end when the parent is gone or asks."""
    asked_to_stop = threading.Event()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent, which asks each worker
    signal.signal(signal.SIGTERM, lambda *_: asked_to_stop.set())
    torch.set_num_threads(1)
    _stay_on_core(number)

    def report(event: Event) -> None:
        if asked_to_stop.is_set():
            raise Stopped
        try:
            connection.send(event)
        except OSError as error:  # the parent is gone: keep a checkpoint and go
            raise Stopped from error

    try:
        while True:
            _run_one(connection.recv(), trainer, report)
    except (EOFError, OSError, Stopped):
        return


def _run_one(spec: RunSpec, trainer: Trainer, report: Report) -> None:
    """Train one run; an error becomes an event, so that the others go on."""
    digest = spec.digest()
    report(Event("started", digest))
    try:
        trainer(spec, lambda step: report(Event("step", digest, step)))
    except Exception as error:
        traceback.print_exc()
        report(Event("failed", digest, reason=f"{type(error).__name__}: {error}"))
    else:
        report(Event("done", digest))


def _stay_on_core(number: int) -> None:
    """Give each worker a core of its own: some virtual machines leave two of them on one core for minutes."""
    if hasattr(os, "sched_setaffinity"):
        allowed = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {allowed[number % len(allowed)]})


def cores() -> int:
    """The cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def threads(number: int) -> Iterator[None]:
    """Let torch use a number of threads for a while."""
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)
