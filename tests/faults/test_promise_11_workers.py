"""A killed worker's run is tried again; one that always dies fails alone; no orphans are left."""

import os
import random
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from functools import partial

import psutil
import pytest
from deeds import DONE, LONG, PATHS, essence, files, finished

from processes import gone, until
from trainers import slow
from unseen import once
from unseen.runs.progress import Board
from unseen.runs.store import Store
from unseen.runs.sweep import fill
from unseen.runs.workers import Processes

SPECS = [LONG.with_seed(seed) for seed in range(4)]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    root = tmp_path_factory.mktemp("undisturbed")
    return {spec: finished(spec, root) for spec in SPECS}


def is_running(store, spec):
    return once.state(store.folder(spec)).get("state") == "running"


def test_workers_are_killed_at_random_moments(undisturbed, tmp_path, promise, amount, rng):
    """Each run's worker once, and never one run three times, since that would be a run that always dies."""
    specs = SPECS[: amount(2, 4, 4)]
    for number in range(amount(1, 2, 15)):
        store, kills, over = Store(tmp_path / str(number)), [], threading.Event()

        def killer(store=store, kills=kills, over=over):
            while not over.wait(rng.uniform(0.05, 0.3)):
                left = [spec for spec in specs if spec not in kills and is_running(store, spec)]
                if left:
                    kills.append(rng.choice(left))
                    with suppress(KeyError, ProcessLookupError):  # it has just ended
                        os.kill(int(once.state(store.folder(kills[-1]))["process"]), signal.SIGKILL)

        store.root.mkdir()  # as a driver does
        board = Board(specs)
        thread = threading.Thread(target=killer)
        thread.start()
        Processes(2).run(specs, partial(slow, store=store, pause=0.03), board.report)
        over.set()
        thread.join()
        assert kills
        assert board.failed == {}
        assert all(essence(store.manifest(spec), store, spec) == undisturbed[spec] for spec in specs)
        assert all(files(store, spec) == DONE for spec in specs)
        promise("workers killed", len(kills))


DRIVER = """
import sys
from contextlib import suppress
from functools import partial
from pathlib import Path
from unseen.runs.store import Store
from unseen.runs.workers import Processes
from test_promise_11_workers import SPECS, slow

if __name__ == "__main__":
    store = Store(Path(sys.argv[1]))
    missing = [spec for spec in SPECS if store.manifest(spec) is None]
    Processes(2).run(missing, partial(slow, store=store, pause=0.03), print)
"""


def test_a_killed_driver_leaves_no_orphans_and_its_finished_runs(undisturbed, tmp_path, promise, amount):
    (tmp_path / "driver.py").write_text(DRIVER)
    store, moments = Store(tmp_path / "store"), random.Random(0)
    store.root.mkdir()

    def begun():
        return driver.poll() is not None or any(is_running(store, spec) for spec in SPECS)

    for _ in range(amount(1, 3, 20)):
        driver = subprocess.Popen(
            [sys.executable, tmp_path / "driver.py", store.root],
            stdout=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": PATHS},
        )
        known = {spec for spec in SPECS if store.folder(spec).is_dir()}
        until(begun)
        time.sleep(moments.uniform(0, 0.5))
        children = psutil.Process(driver.pid).children(recursive=True) if driver.poll() is None else []
        driver.kill()
        driver.wait()
        until(lambda: all(map(gone, children)))  # noqa: B023
        assert known <= {spec for spec in SPECS if store.folder(spec).is_dir()}
        promise("drivers killed")
    paths = [store.folder(spec) / "manifest.json" for spec in SPECS if store.manifest(spec)]
    done = {path: path.stat().st_mtime_ns for path in paths}
    assert fill(SPECS, store, Processes(1))[1] == {}
    assert {path: path.stat().st_mtime_ns for path in paths} == done
    assert {spec: essence(store.manifest(spec), store, spec) for spec in SPECS} == undisturbed
