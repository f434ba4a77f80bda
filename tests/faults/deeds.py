"""Runs small enough to be killed by the dozen, and processes to kill."""

import multiprocessing
import os
import signal
import time
from pathlib import Path

import unseen
from processes import until
from trainers import SMALL
from unseen.runs.store import Store, ensure

HERE = Path(__file__).parent
LIBRARY = Path(unseen.__file__).parents[1]
PATHS = os.pathsep.join(map(str, (HERE, HERE.parent, LIBRARY)))  # for processes that import from the tests
AMOUNT = os.environ.get("FAULTS", "short")  # short in make test, usual in make test-faults, long with LONG=1

# 64 examples in batches of 16: an epoch is four steps, so checkpoints fall into epochs and on their ends
LONG = SMALL.but(training=SMALL.training.but(steps=60, evaluate_every=3, checkpoint_every=2))


def forked(target, *arguments):
    """A process of our own; forked, so that it starts in milliseconds."""
    process = multiprocessing.get_context("fork").Process(target=_alone, args=(target, *arguments))
    process.start()
    return process


def _alone(target, *arguments):
    os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    target(*arguments)


def train(spec, root):
    """What a run does."""
    ensure(spec, Store(Path(root)), device="cpu", say=lambda _: None)


def train_until_call(spec, root, name, number):
    """Train, and be killed in the ``number``-th call of a function of ``os``."""
    real, calls = getattr(os, name), [0]

    def counted(*arguments, **named):
        calls[0] += 1
        if calls[0] == number:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*arguments, **named)

    setattr(os, name, counted)
    train(spec, root)


def train_slowly(spec, root, pause=0.05):
    """Train with a pause at each row, so that others find the run held."""
    ensure(spec, Store(Path(root)), lambda _: time.sleep(pause), device="cpu", say=lambda _: None)


def train_until_told(spec, root, go):
    """Train to the row of step 18 and wait there for a file; until then others find the run held."""

    def pause(row):
        if row["step"] == 18:
            until(go.exists)

    ensure(spec, Store(Path(root)), pause, device="cpu", say=lambda _: None)


def finished(spec, root):
    """The hashes, scores and history of a run that was let alone."""
    manifest = ensure(spec, Store(Path(root)), device="cpu", say=lambda _: None)
    return essence(manifest, Store(Path(root)), spec)


def essence(manifest, store, spec):
    """What must be the same however a run came about: weights, scores, history but for its times."""
    history = store.history(spec).drop(columns="seconds").to_csv()
    return manifest["files"]["weights.safetensors"], manifest["scores"], history


def files(store, spec):
    """The names in a run's folder, without the lock that stays."""
    return sorted(path.name for path in store.folder(spec).iterdir() if path.name != ".lock")


DONE = ["history.csv", "manifest.json", "spec.json", "weights.safetensors"]
