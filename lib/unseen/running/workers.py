"""Executors: where the missing runs of a sweep are trained.

An executor is anything with the ``run`` method of ``Serial`` and ``Processes``: it gets specs and a
function that trains one, and reports ``Event`` s.
"""

import multiprocessing
import os
import signal
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any, Protocol

import torch

from unseen.errors import Explained, Held
from unseen.running.signals import polite_stops
from unseen.specs import RunSpec

_LITTLE = 2_000_000  # examples read, times layers, times width: a second or two of one core
RETRIES = 2  # how often a run whose worker died is given to another


class Stopped(BaseException):
    """A person or the system asked a run to stop; its checkpoint is kept."""


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
    """How a trainer tells its step now and then, or something that a person should know."""

    def __call__(self, step: int, note: str = "") -> Any: ...


Trainer = Callable[[RunSpec, Tell], Any]  # trains one run; raises ``Held`` when another process does


class Line:
    """The runs that wait, in order; those that another process trains wait at the end, to be asked for again.

    >>> first, second = RunSpec(), RunSpec().with_seed(1)
    >>> line = Line([first])
    >>> line.next() == first, line.next()
    (True, None)
    >>> line.later(first)  # held: not before ``AGAIN`` seconds have gone
    >>> line.next(), bool(line)
    (None, True)
    """

    AGAIN = 2.0  # seconds between two tries

    def __init__(self, specs: list[RunSpec]):
        self.fresh: deque[RunSpec] = deque(specs)
        self.held: deque[tuple[float, RunSpec]] = deque()

    def __bool__(self) -> bool:
        return bool(self.fresh or self.held)

    def next(self) -> RunSpec | None:
        """The next run that may start now, taken out of the line."""
        if self.fresh:
            return self.fresh.popleft()
        if self.held and self.held[0][0] <= time.monotonic():
            return self.held.popleft()[1]
        return None

    def first(self, spec: RunSpec) -> None:
        """Let a run wait at the front."""
        self.fresh.appendleft(spec)

    def later(self, spec: RunSpec) -> None:
        """Let a run wait until its holder may be done."""
        self.held.append((time.monotonic() + self.AGAIN, spec))


class Executor(Protocol):
    """Trains specs somewhere and reports events; returns when all have ended."""

    def run(self, specs: list[RunSpec], trainer: Trainer, report: Report) -> None:
        """Train all specs; ``trainer`` can be sent to another process."""
        ...


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
    """Worker processes, or this one where the runs are so small that starting workers would take longer than training them.

    >>> from unseen.scales import scale
    >>> [type(suited(scale(name).runs())).__name__ for name in ("smoke", "quick")]
    ['Serial', 'Processes']
    """
    work = sum(spec.training.steps * spec.training.batch * spec.model.layers * spec.model.width for spec in specs)
    return Serial() if work < _LITTLE else Processes()


class Processes:
    """Runs on one-thread worker processes, by default one for each core: two such workers get half as
    much again out of two cores as one worker with two threads.  A worker that dies is replaced and its
    run tried again, ``RETRIES`` times."""

    def __init__(self, workers: int | None = None):
        self.workers = workers or cores()

    def run(self, specs: list[RunSpec], trainer: Trainer, report: Report) -> None:
        """Train the specs, several at a time, in order; returns when all have ended."""
        line, tries = Line(specs), dict.fromkeys(specs, 0)
        size = min(self.workers, len(specs))
        places = range(size) if size >= cores() else [None] * size  # beside others, the system finds the idle cores
        crew = [_Worker(trainer, place) for place in places]
        try:
            while True:
                for worker in crew:
                    if worker.spec is None:
                        worker.take(line)
                busy = {worker.connection: worker for worker in crew if worker.spec}
                if not busy and not line:
                    return
                for connection in wait(list(busy), timeout=0.5 if line else None):
                    worker = busy[connection]
                    if (event := worker.news()) is None:
                        tries[worker.spec] += 1
                        event = self._bury(worker, line, tries[worker.spec])
                        crew[crew.index(worker)] = _Worker(trainer, worker.place)
                    elif event.kind == "held":
                        line.later(worker.spec)
                    report(event)
                    if event.kind in ("done", "failed", "held"):
                        worker.spec = None
        finally:
            for worker in crew:
                worker.ask()
            for worker in crew:
                worker.stop()

    def _bury(self, worker: "_Worker", line: Line, tries: int) -> Event:
        """A worker died: its run waits for another one, or has failed."""
        reason = f"its worker died (exit code {worker.exit_code()}), try {tries} of {RETRIES + 1}"
        if not worker.heard:  # it did not get as far as the run
            reason += "; in a script, what starts runs must stand under: if __name__ == '__main__':"
        if tries > RETRIES:
            return Event("failed", worker.spec.digest(), reason=reason)
        line.first(worker.spec)
        return Event("lost", worker.spec.digest(), reason=reason)


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

    def take(self, line: Line) -> None:
        """Start on the next run that may start now, if there is one."""
        self.spec = line.next()
        if self.spec:
            with suppress(OSError):  # it has just died: ``news`` will tell
                self.connection.send(self.spec)

    def news(self) -> Event | None:
        """The next event, or None when the process is gone."""
        try:
            event = self.connection.recv()
        except (EOFError, OSError):
            return None
        self.heard = True
        return event

    def exit_code(self) -> int | None:
        """How the process ended, as ``subprocess`` tells it: -9 is SIGKILL."""
        self.process.join(5)
        return self.process.exitcode

    def ask(self) -> None:
        """Ask a busy worker for a checkpoint, an idle one to go home."""
        if self.spec:
            self.process.terminate()
        self.connection.close()

    def stop(self) -> None:
        """Wait until it has gone, not for ever."""
        self.process.join(30)
        if self.process.is_alive():
            self.process.kill()


def _work(connection: Connection, trainer: Trainer, place: int | None) -> None:
    """The life of a worker: receive a spec, train it, report; end when the parent is gone or asks."""
    asked_to_stop = threading.Event()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent, which asks each worker
    signal.signal(signal.SIGTERM, lambda *_: asked_to_stop.set())
    torch.set_num_threads(1)
    if place is not None:
        stay_on_core(place)

    def report(event: Event) -> None:
        if asked_to_stop.is_set():
            raise Stopped
        try:
            connection.send(event)
        except OSError as error:  # the parent is gone: keep a checkpoint and go
            raise Stopped from error

    try:
        while True:
            report(run_one(connection.recv(), trainer, report))
    except (EOFError, OSError, Stopped):
        return


def run_one(spec: RunSpec, trainer: Trainer, report: Report) -> Event:
    """Train one run and return its last event: an error becomes one too, so that the others go on."""
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


def stay_on_core(number: int) -> None:
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
