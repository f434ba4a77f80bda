"""Ctrl-C and SIGTERM: a checkpoint, ``interrupted``, resumable, and the exit status says which."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from deeds import AMOUNT, LONG, essence, forked, train_slowly

from bad_parameters import write_book
from processes import gone, until
from unseen import once
from unseen.runs import inventory
from unseen.runs.store import Store, ensure, newest_first
from unseen.runs.sweep import frame
from unseen.runs.workers import Serial
from unseen.scales import scale
from unseen.signals import Terminated

CODES = {signal.SIGINT: 130, signal.SIGTERM: 143}


def each_signal(*short):
    """Both signals, or in ``make test`` the one that no other test sends to such a process."""
    return pytest.mark.parametrize(
        "number", short if AMOUNT == "short" else CODES, ids=lambda each: each.name
    )


def command(*arguments, runs, **environment):
    """The ``unseen`` command as a process, in a group of its own."""
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    environment = {**os.environ, "UNSEEN_RUNS": str(runs), **environment}
    command = [sys.executable, "-m", "unseen", *arguments]
    return subprocess.Popen(command, **pipes, text=True, start_new_session=True, env=environment)


def base(steps):
    spec = scale("smoke").main.base
    return spec.but(training=spec.training.but(steps=steps))


@pytest.mark.parametrize(("taken", "code"), [(signal.default_int_handler, -2), (signal.SIG_IGN, 7)])
def test_ctrl_c_while_the_libraries_load(tmp_path, promise, taken, code):
    """It ends the command without a page of traceback, unless whoever started it wants Ctrl-C ignored."""
    stub = "import sys\nprint('loading', flush=True)\nsys.stdin.readline()\nsys.exit(7)"
    (tmp_path / "torch.py").write_text(stub)
    here = signal.signal(signal.SIGINT, taken)  # handed on to the command
    try:
        process = command("status", runs=tmp_path, PYTHONPATH=str(tmp_path))
    finally:
        signal.signal(signal.SIGINT, here)
    assert process.stdout.readline() == "loading\n"
    process.send_signal(signal.SIGINT)
    _, err = process.communicate("go on\n", timeout=60)
    assert (process.returncode, err) == (code, "")
    promise("commands stopped")


@each_signal(signal.SIGINT)
def test_train(tmp_path, promise, number):
    spec, store = base(20_000), Store(tmp_path / "store")
    process = command("train", "--scale", "smoke", "-p", "steps=20000", runs=tmp_path)
    until(lambda: len(store.history(spec)) > 2)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == CODES[number]
    assert "the same command resumes from here" in err
    assert "Traceback" not in err
    last = int(store.history(spec)["step"].iloc[-1])
    assert int(newest_first(store.folder(spec))[0].stem[-12:]) == last  # not a step is lost
    assert once.state(store.folder(spec))["state"] == "interrupted"
    promise("commands stopped")


def serially(spec, root):
    try:
        frame([spec], Store(root), Serial())
    except Terminated:
        os._exit(143)
    except KeyboardInterrupt:
        os._exit(130)
    os._exit(0)


@each_signal(*CODES)
def test_serial_sweeps_at_random_moments(undisturbed, tmp_path, promise, amount, rng, number):
    """In a step, in a checkpoint, in the drawing of data: never is anything but whole states left."""
    for count in range(amount(3, 30, 200)):
        store = Store(tmp_path / str(count))
        process = forked(serially, LONG, store.root)
        process.join(rng.uniform(0.05, 0.6))
        if process.is_alive():
            os.kill(process.pid, number)
        process.join()
        assert process.exitcode in (0, CODES[number], -number)  # the last before anything is begun
        if process.exitcode == CODES[number] and store.folder(LONG).is_dir():
            assert inventory.entry(store, store.folder(LONG)).state in ("interrupted", "done")
            promise("sweeps stopped")
        manifest = ensure(LONG, store, device="cpu", say=lambda _: None)
        assert essence(manifest, store, LONG) == undisturbed


def test_a_second_ctrl_c_does_not_wait(tmp_path, promise):
    store = Store(tmp_path)
    process = forked(train_slowly, LONG, store.root, 30)
    until(lambda: once.state(store.folder(LONG)).get("state") == "running")
    time.sleep(0.3)
    for _ in range(2):
        os.kill(process.pid, signal.SIGINT)
    began = time.monotonic()
    process.join()
    assert time.monotonic() - began < 10
    assert once.state(store.folder(LONG))["state"] == "interrupted"
    promise("impatient stops")


NOTEBOOK = """\
from pathlib import Path
from unseen.scales import scale
from unseen.runs.sweep import frame
from unseen.runs.workers import Processes
base = scale("smoke").main.base
base = base.but(training=base.training.but(steps=20_000))
frame([base], executor=Processes(1))
"""


@each_signal(signal.SIGTERM)
def test_a_notebook_with_worker_processes(tmp_path, promise, number):
    """The signal reaches only the command; kernel and workers are ended by it, with a checkpoint."""
    spec, store = base(20_000), Store(tmp_path / "runs" / "store")
    book = write_book(tmp_path / "tiny.ipynb", NOTEBOOK, "print('the end')", declared="scale: str = 'smoke'")
    process = command("run", str(book), runs=tmp_path / "runs")
    until(lambda: len(store.history(spec)) > 2)
    parent = psutil.Process(process.pid)
    everyone = [parent, *parent.children(recursive=True)]
    assert len(everyone) >= 3
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == CODES[number], err
    assert "stopping: runs under way write a checkpoint" in err
    assert err.strip().endswith("the same command resumes from here")
    until(lambda: all(map(gone, everyone)), seconds=30)
    last = int(store.history(spec)["step"].iloc[-1])
    assert int(newest_first(store.folder(spec))[0].stem[-12:]) == last
    assert once.state(store.folder(spec))["state"] == "interrupted"
    assert not Path(tmp_path / "runs" / "smoke" / "tiny.success.json").exists()
    promise("notebooks stopped")
