"""What is running, done and left of a sweep: a bar for a user, a line now and then when headless."""

import os
import time

from tqdm.auto import tqdm

from unseen.runs.workers import Event
from unseen.specs import RunSpec

SECONDS_BETWEEN_LINES, SECONDS_BETWEEN_BARS = 10, 0.2


def headless() -> bool:
    """Whether no user is looking: ``unseen run`` and ``unseen study`` say so in the environment."""
    return bool(os.environ.get("UNSEEN_HEADLESS"))


def duration(seconds: float) -> str:
    """A time in words.

    >>> duration(42), duration(90), duration(4000)
    ('42 s', '2 min', '1.1 h')
    """
    if seconds < 60:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 3600 else f"{seconds / 3600:.1f} h"


class Board:
    """Takes in the events of a sweep over ``missing`` runs and shows its progress.

    >>> runs = [RunSpec().with_seed(seed) for seed in range(3)]
    >>> board = Board(runs)
    >>> board.take(Event("started", runs[0].digest()))
    >>> board.take(Event("step", runs[0].digest(), 100))
    >>> board.line()
    '0 of 3 runs done, 1 running (modern I=1000 seed 0: 100/703), 2 left'
    """

    def __init__(self, missing: list[RunSpec]):
        self.specs = {spec.digest(): spec for spec in missing}
        self.running: dict[str, int] = {}  # digest -> its step
        self.failed: dict[str, str] = {}  # digest -> reason
        self.done: set[str] = set()
        self.held: set[str] = set()  # digests, reported once each
        self.shown = time.monotonic()
        self.bar: tqdm | None = None

    def __enter__(self) -> "Board":
        if headless():
            print(self.line(), flush=True)
        else:
            form = "{l_bar}{bar}| {elapsed}<{remaining}"
            self.bar = tqdm(total=len(self.specs), bar_format=form, desc=self.line())
        return self

    def __exit__(self, *_: object) -> None:
        self._show()
        if self.bar is not None:
            self.bar.close()

    def report(self, event: Event) -> None:
        """Take in an event and show it."""
        self.take(event)
        if event.kind == "note":
            print(event.reason, flush=True)
        elif event.kind == "held" and event.digest not in self.held:
            self.held.add(event.digest)
            print(f"{event.reason}; tried again later", flush=True)
        elif event.kind in ("failed", "lost"):
            print(f"run {event.digest} {event.kind}: {event.reason}", flush=True)
        pause = SECONDS_BETWEEN_LINES if self.bar is None else SECONDS_BETWEEN_BARS
        if time.monotonic() - self.shown >= pause:
            self._show()

    def take(self, event: Event) -> None:
        """Take in an event."""
        digest = event.digest
        if event.kind in ("started", "step"):
            self.running[digest] = event.step
        elif event.kind != "note":
            self.running.pop(digest, None)
        if event.kind == "done":
            self.done.add(digest)
        elif event.kind == "failed":
            self.failed[digest] = event.reason

    def line(self) -> str:
        """The progress of the sweep in a line."""
        parts = [f"{len(self.done)} of {len(self.specs)} runs done"]
        if self.failed:
            parts.append(f"{len(self.failed)} failed")
        if self.running:
            runs = [(self.specs[digest], step) for digest, step in self.running.items()]
            now = ", ".join(f"{name_of(spec)}: {step}/{spec.training.steps}" for spec, step in runs)
            parts.append(f"{len(self.running)} running ({now})")
        if left := len(self.specs) - len(self.done) - len(self.failed) - len(self.running):
            parts.append(f"{left} left")
        return ", ".join(parts)

    def _show(self) -> None:
        self.shown = time.monotonic()
        if self.bar is None:
            print(f"{time.strftime('%H:%M:%S')} {self.line()}", flush=True)
        else:
            self.bar.n = sum(map(self._share, self.specs))
            self.bar.set_description(self.line())

    def _share(self, digest: str) -> float:
        """The share of a run that is done, 0 to 1."""
        if digest in self.done or digest in self.failed:
            return 1.0
        return min(1.0, self.running.get(digest, 0) / self.specs[digest].training.steps)


def name_of(spec: RunSpec) -> str:
    """A run in a few words."""
    return f"{spec.model.recipe} I={spec.task.instructions} seed {spec.model.seed}"
