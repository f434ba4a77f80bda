"""What is running, done and left of a sweep: a bar for a person, a line now and then when headless."""

import os
import time
from dataclasses import dataclass, field

from tqdm.auto import tqdm

from unseen.encoding import layout_of
from unseen.running.workers import Event
from unseen.specs import RunSpec

SECONDS_BETWEEN_LINES, SECONDS_BETWEEN_BARS = 10, 0.2


def headless() -> bool:
    """Whether nobody looks: ``unseen run`` and ``unseen study`` say so in the notebook's environment."""
    return bool(os.environ.get("UNSEEN_HEADLESS"))


def duration(seconds: float) -> str:
    """A time a person can read.

    >>> duration(42), duration(90), duration(4000)
    ('42 s', '2 min', '1.1 h')
    """
    if seconds < 60:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 3600 else f"{seconds / 3600:.1f} h"


@dataclass
class Board:
    """Takes in the events of a sweep over ``missing`` runs and shows how it goes.

    >>> runs = [RunSpec().with_seed(seed) for seed in range(3)]
    >>> board = Board(runs)
    >>> board.take(Event("started", runs[0].digest()))
    >>> board.take(Event("step", runs[0].digest(), 100))
    >>> board.line().split(",")[:2]
    ['0 of 3 runs done', ' 1 running (modern I=1000 seed 0: 100/703)']
    """

    missing: list[RunSpec]
    running: dict[str, int] = field(default_factory=dict)  # digest -> its step
    failed: dict[str, str] = field(default_factory=dict)  # digest -> reason
    done: set[str] = field(default_factory=set)
    resumed: dict[str, int] = field(default_factory=dict)  # digest -> the step it went on from
    told: set[tuple[str, str]] = field(default_factory=set)  # what is said once

    def __post_init__(self) -> None:
        self.specs = {spec.digest(): spec for spec in self.missing}
        self.begun = self.spoke = time.monotonic()
        self.bar: tqdm | None = None

    def __enter__(self) -> "Board":
        if headless():
            print(self.line(), flush=True)
        else:
            self.bar = tqdm(total=len(self.missing), bar_format="{l_bar}{bar}| {elapsed}", desc=self.line())
        return self

    def __exit__(self, *_: object) -> None:
        self._show()
        if self.bar is not None:
            self.bar.close()

    def report(self, event: Event) -> None:
        """Take in an event and show it."""
        self.take(event)
        if event.reason and (event.kind, event.digest) not in self.told:
            what = "" if event.kind in ("note", "held") else f"run {event.digest} {event.kind}: "
            print(f"{what}{event.reason}{'; asked again later' * (event.kind == 'held')}", flush=True)
            self.told |= (
                {(event.kind, event.digest)} if event.kind == "held" else set()
            )  # once, however often it is asked
        if time.monotonic() - self.spoke >= (SECONDS_BETWEEN_LINES if self.bar is None else SECONDS_BETWEEN_BARS):
            self._show()

    def take(self, event: Event) -> None:
        """Take in an event."""
        digest = event.digest
        if event.kind == "note":
            return
        if event.kind in ("started", "step"):
            self.running[digest] = event.step
            if event.kind == "step":
                begun = max(0, event.step - self.specs[digest].training.evaluate_every)
                self.resumed.setdefault(digest, begun)
            return
        self.running.pop(digest, None)
        if event.kind == "done":
            self.done.add(digest)
        elif event.kind == "failed":
            self.failed[digest] = event.reason

    def line(self) -> str:
        """How the sweep stands, in a line."""
        parts = [f"{len(self.done)} of {len(self.missing)} runs done"]
        if self.failed:
            parts.append(f"{len(self.failed)} failed")
        if self.running:
            now = (f"{_name(self.specs[d])}: {step}/{self.specs[d].training.steps}" for d, step in self.running.items())
            parts.append(f"{len(self.running)} running ({', '.join(now)})")
        if left := len(self.missing) - len(self.done) - len(self.failed) - len(self.running):
            parts.append(f"{left} left")
        if (seconds := self._seconds_left()) is not None:
            parts.append(f"about {duration(seconds)}")
        return ", ".join(parts)

    def _show(self) -> None:
        self.spoke = time.monotonic()
        if self.bar is None:
            print(f"{time.strftime('%H:%M:%S')} {self.line()}", flush=True)
        else:
            self.bar.n = sum(min(1.0, self._share(digest)) for digest in self.specs)
            self.bar.set_description(self.line())

    def _share(self, digest: str) -> float:
        if digest in self.done or digest in self.failed:
            return 1.0
        return self.running.get(digest, 0) / self.specs[digest].training.steps

    def _seconds_left(self) -> float | None:
        """From the arithmetic done so far in this sweep and the arithmetic left; None before any or at the end."""
        gone = sum(work(spec) * (self._share(d) - self.resumed[d] / spec.training.steps)
                   for d, spec in self.specs.items() if d in self.resumed)  # fmt: skip
        left = sum(work(spec) * (1 - self._share(digest)) for digest, spec in self.specs.items())
        return (time.monotonic() - self.begun) * left / gone if gone > 0 and left > 0 else None


def _name(spec: RunSpec) -> str:
    return f"{spec.model.recipe} I={spec.task.instructions} seed {spec.model.seed}"


def work(spec: RunSpec) -> float:
    """The arithmetic of a run, up to a factor.

    >>> work(RunSpec().but(training=RunSpec().training.but(steps=1_406))) / work(RunSpec())
    2.0
    """
    return (
        spec.training.steps
        * spec.training.batch
        * spec.model.layers
        * spec.model.width**2
        * layout_of(spec.task).context
    )
