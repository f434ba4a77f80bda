"""What lies in a store: each way in which a run can stand, what is checked, and what can go."""

import json
import os
import time

import pytest

from trainers import SMALL
from unseen.disk import holding
from unseen.disk.files import runs_folder
from unseen.errors import NotFinished
from unseen.running import inventory
from unseen.running.inventory import STANDINGS, broken, litter, put_aside, status, verify
from unseen.running.workers import Stopped
from unseen.specs import TASKS
from unseen.store import Store
from unseen.sweep import ensure
from unseen.training import Diverged

DONE, STOPPED, DIVERGED, FAILED, DEAD, HELD, ROTTEN = (SMALL.with_seed(seed) for seed in range(7))


def stop_at(step, error):
    def watch(row):
        if row["step"] == step:
            raise error

    return watch


@pytest.fixture
def store(runs):
    """A store with a run in every state."""
    store = Store()
    ensure(DONE, store, device="cpu")
    for spec, error in ((STOPPED, Stopped()), (DIVERGED, Diverged("the loss is nan")), (FAILED, ValueError("no luck"))):
        with pytest.raises(type(error)):
            ensure(spec, store, stop_at(6, error), device="cpu")
    for spec in (DEAD, HELD):
        with pytest.raises(Stopped):
            ensure(spec, store, stop_at(4, Stopped()), device="cpu")
        holding.note(store.folder(spec), "running")
    ensure(ROTTEN, store, device="cpu")
    (store.folder(ROTTEN) / "manifest.json").write_text("{}")
    return store


def test_every_state_is_told_with_its_step_and_reason(store):
    with holding.hold(store.folder(HELD)):
        table = status(store).set_index("run")
    states = {spec: table.loc[spec.digest(), "state"] for spec in (DONE, STOPPED, DIVERGED, FAILED, DEAD, HELD, ROTTEN)}
    assert list(states.values()) == ["done", "interrupted", "diverged", "failed", "interrupted", "running", "failed"]
    assert table.loc[DONE.digest(), ["step", "steps"]].tolist() == [12, 12]
    assert table.loc[STOPPED.digest(), "step"] == 6
    assert table.loc[DIVERGED.digest(), "reason"] == "the loss is nan"
    assert table.loc[FAILED.digest(), "reason"] == "ValueError: no luck"
    assert f"its process {os.getpid()} on" in table.loc[DEAD.digest(), "reason"]
    assert f"trained by process {os.getpid()}" in table.loc[HELD.digest(), "reason"]
    assert "manifest.json is not a manifest" in table.loc[ROTTEN.digest(), "reason"]
    assert table["state"].map(STANDINGS.index).is_monotonic_increasing
    assert (table["size"] > 1_000).all()


def test_ages_are_never_negative(store):
    for path in store.folder(DONE).iterdir():
        os.utime(path, (time.time() + 10_000, time.time() + 10_000))
    assert (status(store)["age"] >= 0).all()


def test_verify_names_what_is_not_what_was_written(store):
    good, bad = verify(store)
    assert good > 10
    assert len(bad) == 1
    assert str(store.folder(ROTTEN) / "manifest.json") in bad[0]
    weights = store.folder(DONE) / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"!")
    assert len(verify(store)[1]) == 2


def test_only_what_no_run_needs_is_litter(store):
    assert litter(store) == []
    half = store.folder(STOPPED) / ".checkpoint-000000000008.safetensors.abcd1234.part"
    held = store.folder(HELD) / ".checkpoint-000000000008.safetensors.abcd1234.part"
    for path in (half, held, store.folder(DONE) / "progress.csv", store.folder(STOPPED) / "mine.part"):
        path.write_text("x")
    with holding.hold(store.folder(HELD)):
        assert litter(store) == sorted([half, store.folder(DONE) / "progress.csv"])
    assert held in litter(store)  # its writer is gone


def test_a_file_that_may_still_be_written_is_no_litter(store):
    path = runs_folder() / ".report.html.abcd1234.part"
    path.write_text("x")
    assert litter(store) == []
    os.utime(path, (1, 1))
    assert litter(store) == [path]


def test_broken_runs_are_moved_and_numbered(store):
    assert broken(store) == [store.folder(ROTTEN)]
    assert put_aside(store, store.folder(ROTTEN)).name == f"{ROTTEN.digest()}-1"
    assert broken(store) == []
    ensure(ROTTEN, store, device="cpu")
    (store.folder(ROTTEN) / "manifest.json").write_text("{}")
    assert put_aside(store, store.folder(ROTTEN)).name == f"{ROTTEN.digest()}-2"
    assert (runs_folder() / "broken" / f"{ROTTEN.digest()}-1" / "manifest.json").is_file()


def test_a_broken_run_that_is_held_stays(store):
    with holding.hold(store.folder(ROTTEN)):
        assert broken(store) == []


def test_looking_at_no_store_makes_none(runs):
    assert len(status(Store())) == 0
    assert verify(Store()) == (0, [])
    assert litter(Store()) == []
    assert not runs.exists()


def test_what_is_not_a_run_is_left_alone(store):
    (store.root / "notes.txt").write_text("mine")
    (store.root / "archive").mkdir()
    (store.root / ("f" * 16)).symlink_to(store.folder(DONE))
    assert len(status(store)) == 7


def test_a_state_that_cannot_be_read_is_an_interrupted_run(store):
    for content in ("", "[]", "null", '{"state": "done"}', json.dumps({"state": "running", "since": "x" * 9})):
        (store.folder(STOPPED) / "state.json").write_text(content)
        assert inventory.entry(store, store.folder(STOPPED)).state == "interrupted"


@pytest.mark.parametrize("world", TASKS)
def test_a_run_of_every_world_is_told_in_words(world):
    told = inventory.what(SMALL.but(task=TASKS[world]()))
    assert told.startswith(f"{world}, modern I=" if world else "modern I=")


def test_a_run_that_was_refused_tells_why_and_is_not_called_rotten(runs):
    store = Store()
    tuned = SMALL.but(model=SMALL.model.but(base="0" * 16))
    with pytest.raises(NotFinished):
        ensure(tuned, store, device="cpu")
    assert verify(store)[1] == broken(store) == []
    (line,) = status(store).itertuples()
    assert (line.state, line.reason[:25]) == ("failed", "NotFinished: run " + tuned.digest()[:8])


def test_a_folder_with_nothing_but_a_lock_is_no_run_yet(runs):
    store = Store()
    with holding.hold(store.folder(SMALL)):
        pass
    assert status(store).empty
    assert verify(store) == (0, [])
