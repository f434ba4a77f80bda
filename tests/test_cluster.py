"""The same sweep on a Dask cluster: the same table, whatever dies."""

import os
import subprocess
import sys
import threading
from functools import partial
from pathlib import Path

import psutil
import pytest
from distributed import Client, Future, LocalCluster

from processes import gone, until
from trainers import GOOD, KILLED, SMALL, WRONG, Reports, slow, wild
from unseen import once
from unseen.runs.cluster import BadScheduler, Dask, executor
from unseen.runs.store import Store, ensure
from unseen.runs.sweep import frame, train_one
from unseen.runs.workers import Processes, Serial

SPECS = [SMALL.with_seed(seed) for seed in range(10, 14)]


@pytest.fixture(scope="module")
def address():
    """A scheduler with two workers, as somebody else would have started it; they are threads, which start
    at once.
    """
    form = {"threads_per_worker": 1, "processes": False, "protocol": "tcp", "silence_logs": 50}
    with LocalCluster(2, **form, dashboard_address="127.0.0.1:0") as cluster:
        yield cluster.scheduler_address


def test_a_sweep_on_a_cluster_gives_the_table_of_serial(address, tmp_path, capsys, monkeypatch):
    """Two past faults: Dask has one thread for all callbacks, and one that waited there for a cluster that
    had gone stopped every later sweep; and Dask blames a worker's death on all tasks that wait there, so a
    run that was thrice unlucky failed.
    """
    threads, submitted, waiting = [], [], []
    result, submit = Future.result, Client.submit

    def counted(*arguments, **options):
        waiting.append(sum(task.status == "pending" for task in submitted))
        submitted.append(submit(*arguments, **options))
        return submitted[-1]

    serial = frame(SPECS, Store(tmp_path / "serial"), Serial()).drop(columns="seconds")
    store = Store(tmp_path / "dask")
    ensure(SPECS[0], store, device="cpu")  # only what is missing goes to the cluster
    monkeypatch.setattr(Future, "result", lambda *_: threads.append(threading.current_thread()) or result(*_))
    monkeypatch.setattr(Client, "submit", counted)
    assert frame(SPECS, store, executor(address)).drop(columns="seconds").equals(serial)
    assert "1 in the store, 3 to train" in capsys.readouterr().out
    assert threads == [threading.main_thread()] * 3  # the driver itself fetches results
    assert len(submitted) == 3
    assert max(waiting) <= 1  # beside the new one, on two workers of one thread


def test_dying_workers_harm_no_other_run(tmp_path):
    """KILLED dies once and resumes, WRONG raises, GOOD is undisturbed."""
    store, board = Store(tmp_path), Reports([KILLED, WRONG, GOOD])
    Dask("local", 2).run([KILLED, WRONG, GOOD], partial(wild, store=store), board.report)
    assert board.done == {KILLED.digest(), GOOD.digest()}
    assert board.failed == {WRONG.digest(): "ValueError: one bad run"}
    assert "its worker died, try 1 of 3" in [event.reason for event in board.of(KILLED)]
    assert board.running == {}
    assert store.manifest(KILLED)["resumed"][0]["step"] == 4
    alone = ensure(KILLED, Store(tmp_path / "alone"), device="cpu")
    assert store.manifest(KILLED)["files"]["weights.safetensors"] == alone["files"]["weights.safetensors"]


def test_an_interrupted_driver_leaves_checkpoints(address, tmp_path):
    store = Store(tmp_path)
    long = SMALL.but(training=SMALL.training.but(steps=400))

    def interrupt(event):
        if event.kind == "step":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        executor(address).run([long], partial(slow, store=store), interrupt)
    until(lambda: once.state(store.folder(long)).get("state") == "interrupted")
    assert list(store.folder(long).glob("checkpoint-*"))


def test_a_worker_that_does_not_see_the_store_says_so(address, tmp_path):
    board = Reports(SPECS[:1])
    elsewhere = Store(tmp_path / "of another host")
    executor(address).run(SPECS[:1], partial(train_one, store=elsewhere), board.report)
    (reason,) = board.failed.values()
    assert "does not see the driver's" in reason
    assert "UNSEEN_RUNS" in reason


def test_a_scheduler_that_is_unknown_or_does_not_answer_is_named(monkeypatch, tmp_path):
    for name in ("slurm", "tcp://", "tcp://host", "http://host:1", "tcp://host:99999", "LOCAL", " ", 3):
        with pytest.raises(BadScheduler, match=r"scheduler=.*'serial'"):
            executor(name)
    monkeypatch.setattr("unseen.runs.cluster._PATIENCE", 1)
    with pytest.raises(BadScheduler, match=r"'tcp://127\.0\.0\.1:9' does not answer"):
        frame(SPECS, Store(tmp_path), executor("tcp://127.0.0.1:9"))
    assert [path for path in tmp_path.iterdir() if path.is_dir()] == []


def test_without_the_extra_the_other_executors_work(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    assert isinstance(executor("serial"), Serial)
    assert isinstance(executor("processes"), Processes)
    with pytest.raises(BadScheduler, match=r"needs the extra 'cluster': pip install -e '\.\[cluster\]'"):
        executor("local")


DRIVER = """
import sys
from functools import partial
from pathlib import Path
from trainers import SMALL, slow
from unseen.runs.cluster import Dask
from unseen.runs.store import Store

if __name__ == "__main__":
    long = SMALL.but(training=SMALL.training.but(steps=2_000))
    Dask("local", 1).run([long], partial(slow, store=Store(Path(sys.argv[1]))), print)
"""


def test_a_killed_driver_leaves_no_local_cluster_behind(tmp_path):
    (tmp_path / "driver.py").write_text(DRIVER)
    store, long = Store(tmp_path), SMALL.but(training=SMALL.training.but(steps=2_000))
    paths = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    driver = subprocess.Popen([sys.executable, tmp_path / "driver.py", store.root],
                              env={**os.environ, "PYTHONPATH": paths}, **quiet)  # fmt: skip
    until(lambda: len(store.history(long)) > 1)
    children = psutil.Process(driver.pid).children(recursive=True)
    assert children
    driver.kill()
    driver.wait()
    until(lambda: all(map(gone, children)), seconds=60)


def test_a_client_of_ones_own_is_undisturbed(address, tmp_path):
    with Client(address) as mine:
        frame(SPECS[:1], Store(tmp_path), executor(address))
        assert mine.submit(sum, [1, 2]).result() == 3
