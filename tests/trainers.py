"""The smallest runs there are, and trainers that go wrong; worker processes import them from here."""

import os
import signal
import time

import pytest

from unseen.runs.progress import Board
from unseen.runs.store import ensure
from unseen.runs.sweep import train_one
from unseen.signals import Stopped
from unseen.specs import EvaluationSpec, ModelSpec, RunSpec, TrainingSpec
from unseen.worlds.strings import TaskSpec

SMALL = RunSpec(
    task=TaskSpec(alphabet="abcdef", instructions=3, unseen_instructions=2, examples=64),
    model=ModelSpec(layers=1, width=16, heads=2),
    training=TrainingSpec(steps=12, batch=16, evaluate_every=2, checkpoint_every=4),
    evaluation=EvaluationSpec(examples=20),
)
GOOD, DEADLY, KILLED, WRONG = (SMALL.with_seed(seed) for seed in range(4))


def wild(spec, tell, store):
    """Trains; but DEADLY always ends its process, KILLED is killed once after step 6, and WRONG raises."""
    if spec == DEADLY:
        os._exit(7)
    if spec == WRONG:
        raise ValueError("one bad run")
    once = store.root / f"{spec.digest()}.once"

    def tell_or_die(step, note=""):
        tell(step, note)
        if spec == KILLED and step == 6 and not once.exists():
            once.touch()
            os.kill(os.getpid(), signal.SIGKILL)

    train_one(spec, tell_or_die, store)


class Reports(Board):
    """A board that keeps all events."""

    def __init__(self, missing):
        super().__init__(missing)
        self.events = []

    def report(self, event):
        self.events.append(event)
        super().report(event)

    def of(self, spec):
        return [event for event in self.events if event.digest == spec.digest()]

    def story(self, spec):
        """Kinds and steps of a run's events, as text."""
        return " ".join(f"{event.step}" if event.kind == "step" else event.kind for event in self.of(spec))


def stopped(spec, store, step=8, error=None, say=lambda _: None):
    """The store, once the run is stopped there at a step."""
    error = error or Stopped()

    def watch(row):
        if row["step"] == step:
            raise error

    with pytest.raises(type(error)):
        ensure(spec, store, watch, device="cpu", say=say)
    return store


def slow(spec, tell, store, pause=0.1):
    """Trains with a pause after each row of the history, so that there is time to interrupt."""

    def tell_and_wait(step, note=""):
        tell(step, note)
        time.sleep(pause)

    train_one(spec, tell_and_wait, store)
