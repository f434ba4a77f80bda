"""What is running, done and left of a sweep: a bar for a user, a line now and then when headless."""

import os
import time
from dataclasses import astuple

from tqdm.auto import tqdm

from unseen.runs.workers import ENDS, Event
from unseen.signals import Interrupted
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
    >>> board.report(Event("started", runs[0].digest()))
    >>> board.report(Event("step", runs[0].digest(), 100))
    >>> board.line()
    '0 of 3 runs done, 1 running (modern I=1000 seed 0: 100/703), 2 left'
    """

    def __init__(self, missing: list[RunSpec]):
        self.specs = {spec.digest(): spec for spec in missing}
        self.running: dict[str, int] = {}  # digest -> its step
        self.failed: dict[str, str] = {}  # digest -> reason
        self.done: set[str] = set()
        self.held: set[str] = set()  # digests, reported once each
        self.began = self.shown = time.monotonic()
        self.bar: tqdm | None = None

    def __enter__(self) -> "Board":
        if headless():
            print(self.line(), flush=True)
        else:
            form = "{l_bar}{bar}| {elapsed}, {remaining} left"
            self.bar = tqdm(total=len(self.specs), bar_format=form, desc=self.line(), dynamic_ncols=True)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._show()
        if self.bar is None:
            return
        self.bar.close()
        if kind is KeyboardInterrupt:
            raise Interrupted(f"{self.line()}; what is done is kept, and the same cell resumes") from None

    def report(self, event: Event) -> None:
        """Take in an event; print its reason at once, and the progress now and then."""
        kind, digest, step, reason = astuple(event)
        if kind in ("started", "step"):
            self.running[digest] = step
        elif kind in ENDS:
            self.running.pop(digest, None)
        if kind == "done":
            self.done.add(digest)
        elif kind == "note":
            print(reason, flush=True)
        elif kind == "held" and digest not in self.held:
            self.held.add(digest)
            print(f"{reason}; tried again later", flush=True)
        elif kind in ("failed", "lost"):
            print(f"run {digest} {kind}: {reason}", flush=True)
        if kind == "failed":
            self.failed[digest] = reason
        pause = SECONDS_BETWEEN_LINES if self.bar is None else SECONDS_BETWEEN_BARS
        if time.monotonic() - self.shown >= pause:
            self._show()

    def line(self) -> str:
        """The progress of the sweep in a line."""
        done, failed, running = len(self.done), len(self.failed), len(self.running)
        left = len(self.specs) - done - failed - running
        runs = [(self.specs[digest], step) for digest, step in self.running.items()]
        now = ", ".join(f"{name_of(spec)}: {step}/{spec.training.steps}" for spec, step in runs)
        which = "" if self.bar is not None else f" ({now})"  # a bar is wide enough only without
        return (
            f"{done} of {len(self.specs)} runs done"
            + (f", {failed} failed" if failed else "")
            + (f", {running} running{which}" if running else "")
            + (f", {left} left" if left else "")
        )

    def _show(self) -> None:
        self.shown = time.monotonic()
        if self.bar is None:
            share = sum(map(self._share, self.specs)) / max(1, len(self.specs))
            left = (time.monotonic() - self.began) * (1 / share - 1) if share else 0
            soon = f", about {duration(left)} to go" if left else ""
            print(f"{time.strftime('%H:%M:%S')} {self.line()}{soon}", flush=True)
        else:
            self.bar.n = sum(map(self._share, self.specs))
            self.bar.set_description(self.line())

    def _share(self, digest: str) -> float:
        """The share of a run that is done, 0 to 1."""
        if digest in self.done or digest in self.failed:
            return 1.0
        return min(1.0, self.running.get(digest, 0) / self.specs[digest].training.steps)


def name_of(spec: RunSpec) -> str:
    """A run in a few words; one that is no ``RunSpec`` has a name."""
    if hasattr(spec, "name"):
        return spec.name
    return f"{spec.model.recipe} I={spec.task.instructions} seed {spec.model.seed}"
