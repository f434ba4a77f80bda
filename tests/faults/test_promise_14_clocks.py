"""A clock set back, time zones, cut files: order by step, no negative durations, whole rows only."""

import os
import time
from itertools import count

import pytest
from deeds import LONG, essence, finished, forked

from trainers import stopped
from unseen import once
from unseen.runs import inventory
from unseen.runs.store import Store, ensure, newest_first, read_progress


@pytest.mark.parametrize("jump", [0.5, 1e8])
def test_a_clock_that_goes_back(undisturbed, tmp_path, promise, monkeypatch, jump):
    store = Store(tmp_path)
    monkeypatch.setattr(time, "time", count(2e9, -jump).__next__)  # goes back at every look
    stopped(LONG, store, 30)
    for age, path in enumerate(newest_first(store.folder(LONG))):
        os.utime(path, (1e9 + age * 1e6, 1e9 + age * 1e6))  # the older step is the newer file
    said = []
    manifest = ensure(LONG, store, device="cpu", say=said.append)
    assert said == [f"run {LONG.digest()} resumes from step 30"]
    assert essence(manifest, store, LONG) == undisturbed
    history = store.history(LONG)
    assert history["step"].is_monotonic_increasing
    assert history["seconds"].is_monotonic_increasing
    assert (history["seconds"] >= 0).all()
    assert manifest["train_seconds"] >= 0
    assert inventory.status(store)["age"].ge(0).all()
    promise("clocks that went back")


def with_zone(zone, root):
    os.environ["TZ"] = zone
    time.tzset()
    assert once.holder(Store(root).folder(LONG))
    finished(LONG, root)


@pytest.mark.parametrize("zone", ["Pacific/Kiritimati", "America/St_Johns", "nonsense"])
def test_other_time_zones_between_two_goes(undisturbed, tmp_path, promise, zone):
    store = Store(tmp_path)
    stopped(LONG, store, 30)
    process = forked(with_zone, zone, tmp_path)
    process.join()
    assert process.exitcode == 0
    assert essence(store.manifest(LONG), store, LONG) == undisturbed
    promise("time zones")


def test_a_history_cut_anywhere_gives_its_whole_rows(tmp_path, promise, amount, rng):
    store = Store(tmp_path)
    stopped(LONG, store, 30)
    path = store.folder(LONG) / "progress.csv"
    content, whole = path.read_bytes(), store.history(LONG)
    assert len(whole) == 10
    places = range(len(content)) if amount(0, 1, 1) else rng.sample(range(len(content)), 40)
    for place in places:
        path.write_bytes(content[:place])
        found = read_progress(path)
        lines = content[:place].count(b"\n")
        assert len(found) == max(0, lines - 1)
        assert found.equals(whole.head(len(found))) or not len(found)
        promise("histories cut")
    path.write_bytes(content[:-7])
    assert inventory.entry(store, store.folder(LONG)).step == 30  # the checkpoint knows
    assert len(store.history(LONG)) == 9


def test_a_cut_history_does_not_disturb_the_run(undisturbed, tmp_path, promise):
    store = Store(tmp_path)
    stopped(LONG, store, 30)
    path = store.folder(LONG) / "progress.csv"
    path.write_bytes(path.read_bytes()[:-7] + b"\xff\x00,,\n")
    assert essence(ensure(LONG, store, device="cpu"), store, LONG) == undisturbed
    promise("runs with a cut history")
