"""Executors: where the missing runs of a sweep are trained."""

import math
import multiprocessing
import os
import signal
import threading
import time
import traceback
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from typing import Any, Protocol

import torch

from unseen.errors import Explained, Held
from unseen.signals import Stopped, polite_stops
from unseen.specs import RunSpec

_LITTLE = 2_000_000  # examples read, times layers, times width: a second or two of one core
RETRIES = 2  # more tries of a run whose worker died
AGAIN = 2.0  # seconds until the next try of one that is held
ENDS = ("done", "failed", "lost", "held")  # kinds of events after which a run is not running


@dataclass(frozen=True)
class Event:
    """News of one run: started, note (in ``reason``), step, done, failed (why in ``reason``), lost (its
    worker died) or held (another process trains it); the last two are tried again."""

    kind: str
    digest: str
    step: int = 0
    reason: str = ""


Report = Callable[[Event], Any]
Tell = Callable[..., Any]  # (step, note=""): how a trainer reports its step, or a note for the user
Trainer = Callable[[RunSpec, Tell], Any]  # trains one run; raises ``Held`` when another process does
Start = Callable[[RunSpec], bool]  # starts a run somewhere, or returns False where no worker is free
News = Callable[[], Iterable[Event]]  # what has happened, after at most half a second


class Executor(Protocol):
    """Trains specs somewhere."""

    def run(self, specs: list[RunSpec], trainer: Trainer, report: Report) -> None:
        """Train all specs, report events, return when all have ended; ``trainer`` can be pickled."""


def drive(specs: list[RunSpec], start: Start, news: News, report: Report) -> None:
    """Start runs in order and report what becomes of them, until all have ended.

    A run that is ``lost`` starts again before the others, and fails after ``RETRIES`` more tries; one that
    is ``held`` is tried again after ``AGAIN`` seconds, behind the others.
    """
    line, tries = deque((0.0, spec) for spec in specs), Counter[str]()
    running: dict[str, RunSpec] = {}
    while line or running:
        while line and line[0][0] <= time.monotonic() and start(line[0][1]):
            _, spec = line.popleft()
            running[spec.digest()] = spec
        for event in news():
            if event.digest not in running:  # late news of a run that has ended
                continue
            if event.kind == "lost":
                tries[event.digest] += 1
                kind = "lost" if tries[event.digest] <= RETRIES else "failed"
                reason = f"{event.reason}, try {tries[event.digest]} of {RETRIES + 1}"
                event = replace(event, kind=kind, reason=reason)
            report(event)
            if event.kind in ENDS:
                spec = running.pop(event.digest)
            if event.kind == "lost":
                line.appendleft((0.0, spec))
            elif event.kind == "held":
                line.append((time.monotonic() + AGAIN, spec))


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
        ended: list[Event] = []
        with threads(1), polite_stops() as check:

            def checked(event: Event) -> None:
                report(event)
                check()

            def start(spec: RunSpec) -> bool:
                if ended:
                    return False
                ended.append(run_one(spec, trainer, checked))
                return True

            def news() -> Iterator[Event]:
                check()
                if not ended:
                    time.sleep(0.1)
                while ended:
                    yield ended.pop()

            drive(specs, start, news, checked)


def suited(specs: list[RunSpec]) -> Executor:
    """Worker processes, or this process where the runs take less time than starting workers.

    >>> from unseen.scales import scale
    >>> [type(suited(scale(name).runs())).__name__ for name in ("smoke", "quick")]
    ['Serial', 'Processes']
    """
    sizes = [(run.training.steps, run.training.batch, run.model.layers, run.model.width) for run in specs]
    return Serial() if sum(map(math.prod, sizes)) < _LITTLE else Processes()


class Processes:
    """Runs on one-thread worker processes, by default one for each core; one that dies is replaced."""

    def __init__(self, workers: int | None = None):
        self.workers = workers or cores()

    def run(self, specs: list[RunSpec], trainer: Trainer, report: Report) -> None:
        """Train the specs, several at a time, in order; returns when all have ended."""
        size = min(self.workers, len(specs))
        alone = size >= cores()  # beside others, the system finds the idle cores
        workers = [_Worker(trainer, place if alone else None) for place in range(size)]

        def start(spec: RunSpec) -> bool:
            idle = next((worker for worker in workers if worker.spec is None), None)
            if idle:
                idle.take(spec)
            return idle is not None

        def news() -> Iterator[Event]:
            busy = {worker.connection: worker for worker in workers if worker.spec}
            for connection in wait(list(busy), timeout=0.5):
                worker = busy[connection]
                event = worker.news()
                if event.kind == "lost":
                    workers[workers.index(worker)] = _Worker(trainer, worker.place)
                elif event.kind in ENDS:
                    worker.spec = None
                yield event

        try:
            drive(specs, start, news, report)
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
        self.place = place
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=_work, args=(theirs, trainer, place), daemon=True)
        self.process.start()
        theirs.close()

    def take(self, spec: RunSpec) -> None:
        """Start on a run."""
        self.spec = spec
        with suppress(OSError):  # it has just died: ``news`` notices
            self.connection.send(spec)

    def news(self) -> Event:
        """The next event; ``lost`` when the process has died."""
        try:
            return self.connection.recv()
        except (EOFError, OSError):
            self.process.join(5)
            why = f"its worker died (exit code {self.process.exitcode})"
            return Event("lost", self.spec.digest(), reason=why)

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
