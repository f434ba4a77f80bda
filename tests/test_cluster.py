"""The same sweep on a Dask cluster: the same table, whatever dies."""

import os
import queue
import signal
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path

import psutil
import pytest
from distributed import Client, LocalCluster

from processes import until
from trainers import DEADLY, GOOD, KILLED, SMALL, WRONG, wild
from unseen.disk import holding, space
from unseen.disk.files import CannotWrite
from unseen.parameters import BadParameters
from unseen.running.cluster import BadScheduler, Dask, executor
from unseen.running.progress import Board
from unseen.running.workers import Line, Processes, Serial
from unseen.store import Store
from unseen.sweep import ensure, frame, train_one

SPECS = [SMALL.with_seed(seed) for seed in range(10, 14)]


@pytest.fixture(scope="module")
def address():
    """A scheduler with two worker processes, as somebody else would have started it."""
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address="127.0.0.1:0", silence_logs=50) as cluster:
        yield cluster.scheduler_address


def essence(table):
    return table.drop(columns="seconds")


def test_serial_processes_and_dask_give_one_table(address, tmp_path, capsys):
    tables = [frame(SPECS, Store(tmp_path / name), chosen) for name, chosen in
              (("serial", Serial()), ("processes", Processes(2)), ("dask", executor(address)))]  # fmt: skip
    assert essence(tables[0]).equals(essence(tables[1]))
    assert essence(tables[0]).equals(essence(tables[2]))
    assert "4 of 4 runs done" in capsys.readouterr().err
    assert list((tmp_path / "dask").glob(".probe*")) == []


def test_only_what_is_missing_goes_to_the_cluster(address, tmp_path, capsys):
    store = Store(tmp_path)
    ensure(SPECS[0], store, device="cpu")
    written = (store.folder(SPECS[0]) / "manifest.json").stat().st_mtime_ns
    frame(SPECS[:2], store, executor(address))
    assert "1 in the store, 1 to train" in capsys.readouterr().out
    assert (store.folder(SPECS[0]) / "manifest.json").stat().st_mtime_ns == written


class Told(Board):
    """A board that keeps all events."""

    def __post_init__(self):
        super().__post_init__()
        self.events = []

    def take(self, event):
        self.events.append(event)
        super().take(event)

    def kinds(self, spec):
        return [event.kind for event in self.events if event.digest == spec.digest()]


def test_dying_workers_harm_nobody_else(tmp_path):
    """KILLED dies once and goes on, DEADLY always dies, WRONG raises, GOOD is in peace."""
    store, board = Store(tmp_path), Told([KILLED, DEADLY, WRONG, GOOD])
    store.root.mkdir(exist_ok=True)
    Dask("local", 2).run([KILLED, WRONG, GOOD, DEADLY], partial(wild, store=store), board.take)
    assert board.done == {KILLED.digest(), GOOD.digest()}
    assert board.failed[WRONG.digest()] == "ValueError: one bad run"
    assert "its worker died" in board.failed[DEADLY.digest()]
    assert "lost" in board.kinds(KILLED)
    assert board.running == {}
    assert store.manifest(KILLED)["resumed"][0]["step"] == 4
    ensure(KILLED, Store(tmp_path / "alone"), device="cpu")
    alone = Store(tmp_path / "alone").manifest(KILLED)
    assert store.manifest(KILLED)["files"]["weights.safetensors"] == alone["files"]["weights.safetensors"]


class Blamed:
    """What Dask says of a run that it gave up, and of one that came to its end."""

    def __init__(self, digest, outcome):
        self.digest, self.outcome = digest, outcome

    def add_done_callback(self, call):
        call(self)

    def result(self):
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return {"kind": self.outcome, "digest": self.digest}


@pytest.mark.parametrize(("outcomes", "kinds"), [
    (["died", "done"], ["lost", "done"]),
    (["died", "died"], ["lost", "failed"]),
])  # fmt: skip
def test_a_run_that_only_waited_on_dying_workers_is_asked_for_again_once(monkeypatch, outcomes, kinds):
    """Dask counts the death of a worker against all runs that were sent there, not only the one at work."""
    monkeypatch.setattr("unseen.running.workers.Line.AGAIN", 0)
    dask, said = Dask("local", 1), []
    died = dask.distributed.KilledWorker("a run", None, 3)
    dask._until_done(Line([GOOD]), {}, queue.SimpleQueue(), said.append,
                     lambda spec: Blamed(spec.digest(), died if (end := outcomes.pop(0)) == "died" else end))  # fmt: skip
    assert [event.kind for event in said] == kinds
    assert outcomes == []


def slow_on_disk(spec, tell, store):
    """Train with pauses; a worker finds this by name."""

    def told(step, note=""):
        tell(step, note)
        time.sleep(0.1)

    train_one(spec, told, store)


def test_an_interrupted_driver_leaves_checkpoints(address, tmp_path):
    store = Store(tmp_path)
    long = SMALL.but(training=SMALL.training.but(steps=400))

    def interrupt(event):
        if event.kind == "step":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        executor(address).run([long], partial(slow_on_disk, store=store), interrupt)
    until(lambda: holding.state(store.folder(long)).get("state") == "interrupted")
    assert list(store.folder(long).glob("checkpoint-*"))


def test_a_run_that_another_process_trains_is_asked_for_again(address, tmp_path):
    store, board = Store(tmp_path), Told(SPECS[:2])
    with holding.hold(store.folder(SPECS[0])):
        done = threading.Thread(target=executor(address).run,
                                args=(SPECS[:2], partial(train_one, store=store), board.take), daemon=True)  # fmt: skip
        done.start()
        until(lambda: "held" in board.kinds(SPECS[0]))
    done.join(300)
    assert board.done == {spec.digest() for spec in SPECS[:2]}


def test_a_worker_that_does_not_see_the_store_says_so(address, tmp_path):
    board = Told(SPECS[:1])
    executor(address).run(
        SPECS[:1], partial(train_one, store=Store(tmp_path), probe=".probe-of-another-disk"), board.take
    )
    (reason,) = board.failed.values()
    assert "does not see the driver's" in reason
    assert "UNSEEN_RUNS" in reason
    with pytest.raises(CannotWrite):
        space.same_as(tmp_path, ".probe")


@pytest.mark.parametrize("name", ["slurm", "tcp://", "tcp://host", "http://host:1", "tcp://host:99999", "LOCAL", " "])
def test_an_unknown_scheduler_is_refused(name):
    with pytest.raises(BadParameters, match="scheduler="):
        executor(name)


def test_a_scheduler_that_does_not_answer_is_told(monkeypatch, tmp_path):
    monkeypatch.setattr("unseen.running.cluster._PATIENCE", 1)
    with pytest.raises(BadScheduler, match=r"'tcp://127\.0\.0\.1:9' does not answer"):
        frame(SPECS, Store(tmp_path), executor("tcp://127.0.0.1:9"))
    assert [path for path in tmp_path.iterdir() if path.is_dir()] == []


def test_without_the_extra_the_other_executors_work(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    assert isinstance(executor("serial"), Serial)
    assert isinstance(executor("processes"), Processes)
    with pytest.raises(BadScheduler, match=r"needs the extra 'cluster': pip install -e '\.\[cluster\]'"):
        executor("local")


def test_a_killed_driver_leaves_no_local_cluster_behind(tmp_path):
    code = (
        "import sys; from functools import partial; from pathlib import Path; from trainers import SMALL, slow;"
        "from unseen.running.cluster import Dask; from unseen.store import Store\n"
        "if __name__ == '__main__':\n"
        "    long = SMALL.but(training=SMALL.training.but(steps=2_000))\n"
        "    Dask('local', 1).run([long], partial(slow, store=Store(Path(sys.argv[1]))), print)\n"
    )
    (tmp_path / "driver.py").write_text(code)
    store, long = Store(tmp_path / "store"), SMALL.but(training=SMALL.training.but(steps=2_000))
    driver = subprocess.Popen([sys.executable, tmp_path / "driver.py", store.root], stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL,
                              env={**os.environ, "PYTHONPATH": str(Path(__file__).parent)})  # fmt: skip
    end = time.monotonic() + 60
    while len(store.history(long)) < 2:
        assert time.monotonic() < end
        time.sleep(0.05)
    children = psutil.Process(driver.pid).children(recursive=True)
    assert children
    os.kill(driver.pid, signal.SIGKILL)
    driver.wait()
    end = time.monotonic() + 60
    while any(child.is_running() and child.status() != psutil.STATUS_ZOMBIE for child in children):
        assert time.monotonic() < end
        time.sleep(0.1)


def test_a_client_of_ones_own_is_left_alone(address, tmp_path):
    with Client(address) as mine:
        frame(SPECS[:1], Store(tmp_path), executor(address))
        assert mine.submit(sum, [1, 2]).result() == 3
