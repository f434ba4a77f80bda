"""Executors: what they report, and what a dying, failing or interrupted worker does to the others."""

import multiprocessing
import os
import signal
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Timer

import pytest
import torch
from filelock import FileLock

from trainers import DEADLY, GOOD, KILLED, WRONG, slow, wild
from unseen.disk.holding import hold
from unseen.running import workers
from unseen.running.progress import Board
from unseen.running.signals import Terminated, polite_stops
from unseen.running.workers import Event, Line, Processes, Serial, Stopped, cores, threads
from unseen.store import Store
from unseen.sweep import ensure, train_one

SPECS = [GOOD.with_seed(seed) for seed in (5, 6, 7)]


class Reports:
    """Keeps the events that an executor reports."""

    def __init__(self):
        self.events = []

    def __call__(self, event):
        self.events.append(event)

    def of(self, spec):
        return [event for event in self.events if event.digest == spec.digest()]

    def story(self, spec):
        """Kinds and steps of a run's events, as text."""
        return " ".join(f"{event.step}" if event.kind == "step" else event.kind for event in self.of(spec))


def weights(store, spec):
    return store.manifest(spec)["files"]["weights.safetensors"]


# Serial


def test_serial_trains_in_order_on_one_thread_and_reports():
    seen, reports = [], Reports()
    torch.set_num_threads(2)

    def trainer(spec, tell):
        seen.append((spec, torch.get_num_threads()))
        tell(1)
        tell(2)

    try:
        Serial().run(SPECS, trainer, reports)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)
    assert seen == [(spec, 1) for spec in SPECS]
    digests = [spec.digest() for spec in SPECS]
    assert reports.events == [event for d in digests for event in (
        Event("started", d), Event("step", d, 1), Event("step", d, 2), Event("done", d))]  # fmt: skip


def test_serial_goes_on_behind_a_failed_run(capfd):
    reports = Reports()

    def trainer(spec, tell):
        if spec == SPECS[1]:
            raise ValueError("no luck")

    Serial().run(SPECS, trainer, reports)
    assert [reports.story(spec) for spec in SPECS] == ["started done", "started failed", "started done"]
    assert reports.of(SPECS[1])[-1].reason == "ValueError: no luck"
    assert "Traceback" in capfd.readouterr().err  # what the one line leaves out


@pytest.mark.parametrize("stop", [KeyboardInterrupt, Stopped])
def test_serial_stops_when_it_is_told(stop):
    seen = []

    def trainer(spec, tell):
        seen.append(spec)
        raise stop

    with pytest.raises(stop):
        Serial().run(SPECS, trainer, Reports())
    assert seen == SPECS[:1]


def test_threads_are_given_back_after_an_error():
    def inside():
        with threads(2):
            raise RuntimeError(f"with {torch.get_num_threads()} threads")

    with pytest.raises(RuntimeError, match="with 2 threads"):
        inside()
    assert torch.get_num_threads() == 1


def test_by_default_there_is_a_worker_for_each_core(monkeypatch):
    monkeypatch.setattr(workers, "cores", lambda: 7)
    assert Processes().workers == 7
    assert Processes(3).workers == 3
    assert cores() >= 1


# Processes; each worker takes seconds to start, so one crew lives through all of it


@pytest.fixture(scope="module")
def lived(tmp_path_factory):
    """What a crew of two, with one retry, reports and stores for runs that end in every way."""
    store, reports = Store(tmp_path_factory.mktemp("lived")), Reports()
    store.root.mkdir(exist_ok=True)
    specs = [KILLED, DEADLY, WRONG, GOOD]
    board = Board(specs)

    def report(event):
        reports(event)
        board.take(event)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(workers, "RETRIES", 1)
        Processes(2).run(specs, partial(wild, store=store), report)
    return store, reports, board


def test_every_run_ends_and_no_worker_stays(lived):
    _, _, board = lived
    assert board.done == {spec.digest() for spec in (KILLED, GOOD)}
    assert set(board.failed) == {spec.digest() for spec in (DEADLY, WRONG)}
    assert board.running == {}
    assert multiprocessing.active_children() == []


def test_a_run_is_not_harmed_by_what_happens_to_others(lived):
    store, reports, _ = lived
    assert reports.story(GOOD) == "started 2 4 6 8 10 12 done"
    assert store.manifest(GOOD)["threads"] == 1


def test_a_killed_workers_run_goes_on_from_its_checkpoint(lived, tmp_path):
    store, reports, _ = lived
    assert reports.story(KILLED) == "started 2 4 6 lost started note 6 8 10 12 done"
    assert [event.reason for event in reports.of(KILLED) if event.reason] == [
        "its worker died (exit code -9), try 1 of 2",
        f"run {KILLED.digest()} goes on from step 4",
    ]
    ensure(KILLED, Store(tmp_path), device="cpu")
    assert weights(store, KILLED) == weights(Store(tmp_path), KILLED)


def test_a_run_that_always_kills_its_worker_has_failed_at_last(lived):
    _, reports, board = lived
    assert reports.story(DEADLY) == "started lost started failed"
    assert board.failed[DEADLY.digest()] == "its worker died (exit code 7), try 2 of 2"


def test_an_error_is_not_tried_again(lived):
    _, reports, board = lived
    assert reports.story(WRONG) == "started failed"
    assert board.failed[WRONG.digest()] == "ValueError: one bad run"


def test_an_interrupted_crew_leaves_checkpoints_and_nobody(tmp_path):
    store, spec = Store(tmp_path), SPECS[0]

    def report(event):
        if event.kind == "step":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Processes(1).run([spec], partial(slow, store=store), report)
    assert multiprocessing.active_children() == []
    assert store.manifest(spec) is None
    assert list(store.folder(spec).glob("checkpoint-*"))
    steps = []
    train_one(spec, lambda step, note="": steps.append(step), store)
    assert steps[1] > 2  # behind the note


def test_a_worker_that_dies_before_it_gets_a_run_is_no_news():
    worker = workers._Worker(train_one, 0)
    worker.process.kill()
    worker.process.join(10)
    worker.take(Line(SPECS))
    assert worker.spec == SPECS[0]
    assert worker.news() is None
    assert worker.exit_code() == -9
    worker.stop()


class Unreadable:
    """A trainer with which a worker dies before it hears of any run, as in a script without a guard."""

    def __reduce__(self):
        return os._exit, (1,)


def test_a_worker_that_dies_on_its_way_tells_of_the_guard_that_scripts_need():
    told = []
    Processes(1).run([GOOD], Unreadable(), told.append)
    assert told[-1].kind == "failed"
    assert told[-1].reason.endswith("must stand under: if __name__ == '__main__':")


def test_while_it_waits_for_another_a_run_stops_at_once(tmp_path):
    other = FileLock(tmp_path / ".lock", thread_local=False)
    with ThreadPoolExecutor(1) as thread, polite_stops():
        thread.submit(other.acquire).result()
        timer = Timer(0.3, signal.raise_signal, [signal.SIGTERM])
        with pytest.raises(Terminated), hold(tmp_path, say=lambda note: timer.start()):
            raise AssertionError("it is held")
        other.release()
