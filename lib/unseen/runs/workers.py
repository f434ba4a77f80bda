"""Executors: where the missing runs of a sweep are trained.

An executor has the ``run`` method of ``Executor``: it gets specs and a function that trains one, and reports ``Event`` s.
"""

import multiprocessing
import os
import signal
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any, Protocol

import torch

from unseen.errors import Explained, Held
from unseen.runs.signals import Stopped, polite_stops
from unseen.specs import RunSpec

_LITTLE = 2_000_000  # examples read, times layers, times width: a second or two of one core
RETRIES = 2  # how often a run whose worker died is given to another


@dataclass(frozen=True)
class Event:
    """News of one run: ``started``, ``note`` (in ``reason``), ``step``, ``done``, ``failed`` (with the reason), ``lost``
    (its worker died) or ``held`` (another process trains it); the last two are tried again."""

    kind: str
    digest: str
    step: int = 0
    reason: str = ""


Report = Callable[[Event], Any]


class Tell(Protocol):
    """How a trainer reports its step now and then, or a note for the user."""

    def __call__(self, step: int, note: str = "") -> Any: ...


Trainer = Callable[[RunSpec, Tell], Any]  # trains one run; raises ``Held`` when another process does


class Executor(Protocol):
    """Trains specs somewhere and reports events; returns when all have ended."""

    def run(self, specs: list[RunSpec], trainer: Trainer, report: Report) -> None:
        """Train all specs; ``trainer`` can be sent to another process."""
        ...


class Line:
    """The runs that wait, in order; those that another process trains wait ``AGAIN`` seconds before the next try.

    >>> first, second = RunSpec(), RunSpec().with_seed(1)
    >>> line = Line([first])
    >>> line.next() == first, line.next()
    (True, None)
    >>> line.later(first)
    >>> line.next(), bool(line)
    (None, True)
    """

    AGAIN = 2.0

    def __init__(self, specs: list[RunSpec]):
        self.waiting = [(0.0, spec) for spec in specs]  # not before this time

    def __bool__(self) -> bool:
        return bool(self.waiting)

    def next(self) -> RunSpec | None:
        """The next run that may start now, removed from the line."""
        now = time.monotonic()
        place = next((place for place, (time, _) in enumerate(self.waiting) if time <= now), None)
        return None if place is None else self.waiting.pop(place)[1]

    def first(self, spec: RunSpec) -> None:
        """Let a run wait at the front."""
        self.waiting.insert(0, (0.0, spec))

    def later(self, spec: RunSpec) -> None:
        """Let a run wait until its holder may be done."""
        self.waiting.append((time.monotonic() + self.AGAIN, spec))


def run_one(spec: RunSpec, trainer: Trainer, report: Report) -> Event:
    """Train one run and return its last event: an error becomes one too, so that the other runs continue."""
    digest = spec.digest()
    report(Event("started", digest))
    try:
        trainer(spec, lambda step, note="": report(Event("note" if note else "step", digest, step, note)))
    except Held as error:
        return Event("held", digest, reason=str(error))
    except Exception as error:
        if not isinstance(error, Explained):
            traceback.print_exc()
        return Event("failed", digest, reason=f"{type(error).__name__}: {error}")
    return Event("done", digest)


class Serial:
    """One run after the other in this process, on one thread."""

    def run(self, specs: list[RunSpec], trainer: Trainer, report: Report) -> None:
        """Train the specs in order; a failed run is reported and the next one starts."""
        line = Line(specs)
        with threads(1), polite_stops() as check:

            def checked(event: Event) -> None:
                report(event)
                check()

            while line:
                if (spec := line.next()) is None:
                    time.sleep(0.1)
                    check()
                    continue
                last = run_one(spec, trainer, checked)
                if last.kind == "held":
                    line.later(spec)
                checked(last)


def suited(specs: list[RunSpec]) -> Executor:
    """Worker processes, or this process where the runs take less time than starting workers.

    >>> from unseen.scales import scale
    >>> [type(suited(scale(name).runs())).__name__ for name in ("smoke", "quick")]
    ['Serial', 'Processes']
    """
    work = sum(spec.training.steps * spec.training.batch * spec.model.layers * spec.model.width for spec in specs)
    return Serial() if work < _LITTLE else Processes()


class Processes:
    """Runs on one-thread worker processes, by default one for each core.

    On two cores two such workers get half as much again done as one worker with two threads.  A worker that dies is
    replaced and its run tried again, ``RETRIES`` times.
    """

    def __init__(self, workers: int | None = None):
        self.workers = workers or cores()

    def run(self, specs: list[RunSpec], trainer: Trainer, report: Report) -> None:
        """Train the specs, several at a time, in order; returns when all have ended."""
        line, tries, size = Line(specs), Counter[RunSpec](), min(self.workers, len(specs))
        places = range(size) if size >= cores() else [None] * size  # beside others, the system finds the idle cores
        workers = [_Worker(trainer, place) for place in places]
        try:
            while True:
                for worker in workers:
                    if worker.spec is None:
                        worker.take(line.next())
                busy = {worker.connection: worker for worker in workers if worker.spec}
                if not busy and not line:
                    return
                for connection in wait(list(busy), timeout=0.5 if line else None):
                    worker = busy[connection]
                    spec, event = worker.spec, worker.news()
                    if event is None:
                        tries[spec] += 1
                        event = worker.obituary(tries[spec])
                        workers[workers.index(worker)] = _Worker(trainer, worker.place)
                    report(event)
                    if event.kind == "lost":
                        line.first(spec)
                    elif event.kind == "held":
                        line.later(spec)
                    if event.kind in ("done", "failed", "held"):
                        worker.spec = None
        finally:
            for worker in workers:
                worker.ask()
            for worker in workers:
                worker.stop()


class _Worker:
    """A worker process and the pipe to it, seen from the parent; with a ``place`` it stays on that core."""

    def __init__(self, trainer: Trainer, place: int | None):
        context = multiprocessing.get_context("spawn")
        self.spec: RunSpec | None = None
        self.place, self.heard = place, False
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=_work, args=(theirs, trainer, place), daemon=True)
        self.process.start()
        theirs.close()

    def take(self, spec: RunSpec | None) -> None:
        """Start on a run, if there is one."""
        self.spec = spec
        if spec:
            with suppress(OSError):  # it has just died: ``news`` notices
                self.connection.send(spec)

    def news(self) -> Event | None:
        """The next event, or None when the process has ended."""
        try:
            event = self.connection.recv()
        except (EOFError, OSError):
            return None
        self.heard = True
        return event

    def obituary(self, tries: int) -> Event:
        """What its death means for its run: ``lost``, or ``failed`` after the last try."""
        self.process.join(5)
        reason = f"its worker died (exit code {self.process.exitcode}), try {tries} of {RETRIES + 1}"
        if not self.heard:  # it never reached the run
            reason += "; in a script, what starts runs must stand under: if __name__ == '__main__':"
        return Event("failed" if tries > RETRIES else "lost", self.spec.digest(), reason=reason)

    def ask(self) -> None:
        """Ask a busy worker for a checkpoint, an idle one to end."""
        if self.spec:
            self.process.terminate()
        self.connection.close()

    def stop(self) -> None:
        """Wait until it has ended, not for ever."""
        self.process.join(30)
        if self.process.is_alive():
            self.process.kill()


def _work(connection: Connection, trainer: Trainer, place: int | None) -> None:
    """The life of a worker: receive a spec, train it, report; end when the parent has ended or asks."""
    asked = threading.Event()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent, which asks each worker
    signal.signal(signal.SIGTERM, lambda *_: asked.set())
    torch.set_num_threads(1)
    if place is not None:
        stay_on_core(place)

    def report(event: Event) -> None:
        if asked.is_set():
            raise Stopped
        try:
            connection.send(event)
        except OSError as error:  # the parent has ended: keep a checkpoint and end
            raise Stopped from error

    with suppress(EOFError, OSError, Stopped):
        while True:
            report(run_one(connection.recv(), trainer, report))


def stay_on_core(number: int) -> None:
    """Pin this process to a core: some virtual machines leave two workers on one core for minutes."""
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
