"""Executors: where the missing runs of a sweep are trained."""

import math
import multiprocessing
import os
import signal
import sys
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
from unseen.signals import Stopped, Terminated, polite_stops
from unseen.specs import RunSpec

_LITTLE = 2_000_000  # examples read, times layers, times width: a second or two of one core
_UNGUARDED = 64  # exit code of a worker that came to start workers while it read the user's script
RETRIES = 2  # more tries of a run whose worker died
AGAIN = 2.0  # seconds until the next try of one that is held
ENDS = ("done", "failed", "lost", "held")  # kinds of events after which a run is not running


class Unguarded(Explained, RuntimeError):
    """A script starts workers where they read it too."""


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
    """Each run in a process of its own, on one thread; by default as many at a time as there are cores."""

    def __init__(self, workers: int | None = None):
        self.workers = workers or cores()

    def run(self, specs: list[RunSpec], trainer: Trainer, report: Report) -> None:
        """Train the specs, several at a time, in order; returns when all have ended.

        Raises ``Unguarded`` in a script that does not keep what it does from the workers.
        """
        if getattr(multiprocessing.current_process(), "_inheriting", False):  # a worker reads the script
            os._exit(_UNGUARDED)
        size = min(self.workers, len(specs))
        alone = size >= cores()  # beside others, the system finds the idle cores
        places = [place if alone else None for place in range(size)]
        running: dict[Connection, _Worker] = {}

        def start(spec: RunSpec) -> bool:
            if not places:
                return False
            worker = _Worker(spec, trainer, places.pop())
            running[worker.connection] = worker
            return True

        def news() -> Iterator[Event]:
            for connection in wait(list(running), timeout=0.5):
                event = running[connection].news()
                if event.kind in ENDS:
                    worker = running.pop(connection)
                    worker.join()
                    places.append(worker.place)
                yield event

        try:
            drive(specs, start, news, report)
        finally:
            for worker in running.values():  # each keeps a checkpoint at its next row
                worker.process.terminate()
            for worker in running.values():
                worker.join()


class _Worker:
    """A process that trains one run, seen from the driver; with a ``place`` it stays on that core.

    On Linux it is forked from a server that has imported this library once, so it starts in milliseconds.
    """

    def __init__(self, spec: RunSpec, trainer: Trainer, place: int | None):
        context = multiprocessing.get_context("forkserver" if sys.platform == "linux" else "spawn")
        ours = [name for name in sys.modules if name.startswith("unseen.")]
        context.set_forkserver_preload([*ours, "torch._dynamo"])  # which torch imports at the first step
        self.digest, self.place = spec.digest(), place
        self.connection, theirs = context.Pipe(duplex=False)
        given = spec, trainer, theirs, place, dict(os.environ)
        self.process = context.Process(target=_work, args=given, daemon=True)
        self.process.start()
        theirs.close()

    def news(self) -> Event:
        """The next event; ``lost`` when the process has died."""
        try:
            return self.connection.recv()
        except (EOFError, OSError):
            self.process.join(5)
            if self.process.exitcode == _UNGUARDED:
                script = sys.modules["__main__"].__file__
                how = 'put what it does under  if __name__ == "__main__":'
                raise Unguarded(f"workers read the script {script} too: {how}") from None
            why = f"its worker died (exit code {self.process.exitcode})"
            return Event("lost", self.digest, reason=why)

    def join(self) -> None:
        """Wait until the process has ended, not for ever."""
        self.process.join(30)
        if self.process.is_alive():
            self.process.kill()
        self.connection.close()


def _work(
    spec: RunSpec, trainer: Trainer, connection: Connection, place: int | None, environment: dict[str, str]
) -> None:
    """The life of a worker: it trains one run; on SIGTERM, or when the driver has ended, it stops."""
    os.environ.update(environment)  # the server may be older than a change of the driver's
    torch.set_num_threads(1)
    if place is not None:
        stay_on_core(place)
    with suppress(Stopped, Terminated), polite_stops() as check:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the driver, which stops each worker

        def report(event: Event) -> None:
            check()
            try:
                connection.send(event)
            except OSError as error:  # the driver has ended
                raise Stopped from error

        report(run_one(spec, trainer, report))


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
