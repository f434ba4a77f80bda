"""What is in a store: each way in which a run can stand, what is checked, and what can be deleted."""

import json
import os
import shutil
import time

import pytest

from trainers import SMALL, stopped
from unseen import once
from unseen.errors import NotFinished
from unseen.files import runs_folder
from unseen.runs import inventory
from unseen.runs.inventory import broken, litter, status, verify
from unseen.runs.store import Store, ensure, newest_first
from unseen.signals import Stopped
from unseen.training import Diverged
from unseen.worlds import WORLDS

DONE, STOPPED, DIVERGED, FAILED, DEAD, HELD, ROTTEN = (SMALL.with_seed(seed) for seed in range(7))


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A store with a run in every state."""
    store = Store(tmp_path_factory.mktemp("prepared"))
    ensure(DONE, store, device="cpu")
    errors = {STOPPED: Stopped(), DIVERGED: Diverged("the loss is nan"), FAILED: ValueError("no luck")}
    for spec, error in (errors | {DEAD: Stopped(), HELD: Stopped()}).items():
        stopped(spec, store, 6, error)
    for spec in (DEAD, HELD):
        once.note(store.folder(spec), "running")
    ensure(ROTTEN, store, device="cpu")
    (store.folder(ROTTEN) / "manifest.json").write_text("{}")
    return store


@pytest.fixture
def store(runs, prepared):
    """A copy of it, which a test may change."""
    return Store(shutil.copytree(prepared.root, Store().root))


def test_every_state_is_shown_with_its_step_and_reason(store):
    with once.hold(store.folder(HELD)):
        table = status(store).set_index("run")
    specs = (DONE, STOPPED, DIVERGED, FAILED, DEAD, HELD, ROTTEN)
    states = [table.loc[spec.digest(), "state"] for spec in specs]
    assert states == ["done", "interrupted", "diverged", "failed", "interrupted", "running", "failed"]
    assert table.loc[DONE.digest(), ["step", "steps"]].tolist() == [12, 12]
    assert table.loc[STOPPED.digest(), "step"] == 6
    kept = [[int(path.stem[-12:]) for path in newest_first(store.folder(spec))] for spec in (STOPPED, FAILED)]
    assert kept == [[6, 4], [4]]  # the state of an error is not kept
    reasons = {DIVERGED: "the loss is nan", FAILED: "ValueError: no luck",
               DEAD: f"its process {os.getpid()} on", HELD: f"trained by process {os.getpid()}",
               ROTTEN: "manifest.json is not the expected manifest"}  # fmt: skip
    for spec, reason in reasons.items():
        assert reason in table.loc[spec.digest(), "reason"]
    assert table.iloc[0]["state"] == "running"
    assert table.iloc[-1]["state"] == "done"
    assert (table["size"] > 1_000).all()
    for path in store.folder(DONE).iterdir():
        os.utime(path, (time.time() + 10_000, time.time() + 10_000))
    assert (status(store)["age"] >= 0).all()


def test_only_what_no_run_needs_is_litter(store):
    assert litter(store) == []
    half = store.folder(STOPPED) / ".checkpoint-000000000008.safetensors.abcd1234.part"
    held = store.folder(HELD) / ".checkpoint-000000000008.safetensors.abcd1234.part"
    young = runs_folder() / ".report.html.abcd1234.part"  # it may still be written
    for path in (half, held, young, store.folder(DONE) / "progress.csv", store.folder(STOPPED) / "mine.part"):
        path.write_text("x")
    with once.hold(store.folder(HELD)):
        assert litter(store) == sorted([half, store.folder(DONE) / "progress.csv"])
    assert held in litter(store)  # its writer has ended
    os.utime(young, (1, 1))
    assert young in litter(store)


def test_what_is_not_a_run_is_ignored(runs):
    store = Store()
    assert status(store).empty
    assert verify(store) == (0, [])
    assert litter(store) == []
    assert not runs.exists()
    ensure(DONE, store, device="cpu")
    (store.root / "notes.txt").write_text("mine")
    (store.root / "archive").mkdir()
    (store.root / ("f" * 16)).symlink_to(store.folder(DONE))
    with once.hold(store.folder(SMALL.with_seed(1))):  # nothing but a lock: it has not begun
        pass
    assert len(status(store)) == 1


def test_a_state_that_cannot_be_read_is_an_interrupted_run(store):
    for text in ("", "[]", '{"state": "done"}', json.dumps({"state": "running", "since": "x" * 9})):
        (store.folder(STOPPED) / "state.json").write_text(text)
        assert inventory.entry(store, store.folder(STOPPED)).state == "interrupted"


def test_a_run_of_every_world_is_described():
    for name, world in WORLDS.items():
        described = inventory.what(SMALL.but(task=world()))
        assert described.startswith(f"{name}, modern I=" if name else "modern I=")


def test_a_refused_run_says_why_and_is_not_broken(runs):
    store = Store()
    tuned = SMALL.but(model=SMALL.model.but(base="0" * 16))
    with pytest.raises(NotFinished):
        ensure(tuned, store, device="cpu")
    assert verify(store)[1] == broken(store) == []
    (line,) = status(store).itertuples()
    assert (line.state, line.reason[:25]) == ("failed", "NotFinished: run " + tuned.digest()[:8])
