"""Executors: what they report, and what a dying, failing or interrupted worker does to the other runs."""

import multiprocessing
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Timer

import pytest
import torch
from filelock import FileLock

from trainers import DEADLY, GOOD, KILLED, WRONG, Reports, wild
from unseen.once import hold
from unseen.runs import workers
from unseen.runs.store import Store, ensure
from unseen.runs.workers import Event, Processes, Serial
from unseen.signals import Terminated, polite_stops

SPECS = [GOOD.with_seed(seed) for seed in (5, 6, 7)]


def test_serial_trains_in_order_on_one_thread_and_reports():
    seen, reports = [], Reports(SPECS)
    torch.set_num_threads(2)

    def trainer(spec, tell):
        seen.append((spec, torch.get_num_threads()))
        tell(1)
        tell(2)

    try:
        Serial().run(SPECS, trainer, reports.report)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)
    assert seen == [(spec, 1) for spec in SPECS]
    digests = [spec.digest() for spec in SPECS]
    assert reports.events == [event for d in digests for event in (
        Event("started", d), Event("step", d, 1), Event("step", d, 2), Event("done", d))]  # fmt: skip


@pytest.mark.parametrize(("outcomes", "expected"), [
    (["held", "done", "done"], "held, second done, done"),  # it waits behind the others
    (["lost", "done", "done"], "lost, done, second done"),  # it starts again before the others
    (["lost", "lost", "lost", "done"], "lost, lost, failed, second done"),
])  # fmt: skip
def test_what_ends_a_run_decides_when_it_is_tried_again(monkeypatch, outcomes, expected):
    monkeypatch.setattr(workers, "AGAIN", 0.0)
    started, said, outcomes = [], [], list(outcomes)

    def start(spec):
        if started:
            return False
        started.append(spec)
        return True

    def news():
        spec = started.pop()
        yield Event(outcomes.pop(0), spec.digest())
        yield Event("step", spec.digest(), 3)  # late news

    workers.drive(SPECS[:2], start, news, said.append)
    names = {SPECS[0].digest(): "", SPECS[1].digest(): "second "}
    assert ", ".join(names[event.digest] + event.kind for event in said) == expected


@pytest.fixture(scope="module")
def lived(tmp_path_factory):
    """What two workers, with one retry, report and store for runs that end in every way."""
    store, reports = Store(tmp_path_factory.mktemp("lived")), Reports([KILLED, DEADLY, WRONG, GOOD])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(workers, "RETRIES", 1)
        Processes(2).run([KILLED, DEADLY, WRONG, GOOD], partial(wild, store=store), reports.report)
    return store, reports


def test_every_run_ends_and_no_worker_stays(lived):
    _, reports = lived
    assert reports.done == {spec.digest() for spec in (KILLED, GOOD)}
    assert reports.running == {}
    assert multiprocessing.active_children() == []
    assert reports.story(DEADLY) == "started lost started failed"
    assert reports.story(WRONG) == "started failed"  # an error is not tried again
    died, raised = "its worker died (exit code 7), try 2 of 2", "ValueError: one bad run"
    assert reports.failed == {DEADLY.digest(): died, WRONG.digest(): raised}


def test_a_killed_workers_run_resumes_from_its_checkpoint_and_others_are_not_harmed(lived, tmp_path):
    store, reports = lived
    assert reports.story(GOOD) == "started 2 4 6 8 10 12 done"
    assert store.manifest(GOOD)["threads"] == 1
    assert reports.story(KILLED) == "started 2 4 6 lost started note 6 8 10 12 done"
    assert [event.reason for event in reports.of(KILLED) if event.reason] == [
        "its worker died (exit code -9), try 1 of 2",
        f"run {KILLED.digest()} resumes from step 4",
    ]
    alone = ensure(KILLED, Store(tmp_path), device="cpu")
    assert store.manifest(KILLED)["files"]["weights.safetensors"] == alone["files"]["weights.safetensors"]


def test_while_it_waits_for_another_a_run_stops_at_once(tmp_path):
    other = FileLock(tmp_path / ".lock", thread_local=False)
    with ThreadPoolExecutor(1) as thread, polite_stops():
        thread.submit(other.acquire).result()
        timer = Timer(0.3, signal.raise_signal, [signal.SIGTERM])
        with pytest.raises(Terminated), hold(tmp_path, say=lambda note: timer.start()):
            raise AssertionError("it is held")
        other.release()


def test_a_script_whose_workers_read_it_too_is_told_what_to_do(tmp_path):
    script = tmp_path / "study.py"
    script.write_text(
        "from unseen.runs.workers import Processes, run_one\n"
        "from unseen.scales import scale\n"
        "Processes(1).run(scale('smoke').runs()[:1], run_one, print)\n"
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 1
    *_, said = done.stderr.splitlines()
    assert said.endswith(
        f'workers read the script {script} too: put what it does under  if __name__ == "__main__":'
    )
