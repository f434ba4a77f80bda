"""From specs to a tidy frame: what is done stays done, and what fails harms nobody else."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from processes import gone, until
from trainers import SMALL
from unseen import sweep
from unseen.disk import holding
from unseen.disk.files import BrokenRun
from unseen.errors import NotFinished
from unseen.parallel import Crew
from unseen.running.workers import Processes, Serial, Stopped
from unseen.store import Store
from unseen.sweep import SweepFailed, best_device, ensure, frame, histories, in_order

SPECS = [SMALL.with_seed(seed) for seed in range(3)]
COLUMNS = ["recipe", "layers", "width", "pattern_length", "input_length", "instructions", "examples_per_instruction",
           "seed", "split", "accuracy", "low", "high", "examples", "seconds", "run"]  # fmt: skip


class Nobody:
    """An executor that must not be needed."""

    def run(self, specs, trainer, report):
        raise AssertionError(f"{len(specs)} runs were trained again")


class Counting(Serial):
    """Serial, and what it was asked for."""

    def __init__(self):
        self.asked = []

    def run(self, specs, trainer, report):
        self.asked += specs
        super().run(specs, trainer, report)


@pytest.fixture(scope="module")
def serial(tmp_path_factory):
    store = Store(tmp_path_factory.mktemp("serial"))
    return store, frame(SPECS, store, Serial())


def files(store):
    return {path: path.stat().st_mtime_ns for path in store.root.rglob("*") if path.is_file()}


def test_the_frame_is_tidy(serial):
    store, table = serial
    assert list(table.columns) == COLUMNS
    assert table["seed"].tolist() == [0, 0, 1, 1, 2, 2]
    assert table["split"].tolist() == ["seen", "unseen"] * 3
    assert table["run"].tolist() == [spec.digest() for spec in SPECS for _ in range(2)]
    first = table.iloc[0]
    assert first[COLUMNS[:7]].tolist() == ["modern", 1, 16, 3, 10, 3, 64 / 3]
    assert first["accuracy"] == store.manifest(SPECS[0])["scores"][0]["accuracy"]
    assert first["seconds"] == store.history(SPECS[0])["seconds"].iloc[-1]
    assert table["examples"].eq(20).all()
    assert (table["low"] <= table["accuracy"]).all()
    assert (table["accuracy"] <= table["high"]).all()


def test_finished_runs_are_never_trained_again(serial, capsys):
    store, table = serial
    before = files(store)
    again = frame(SPECS, store, Nobody())
    assert again.equals(table)
    assert files(store) == before
    assert capsys.readouterr().out == "3 runs: 3 in the store, 0 to train\n"


def test_the_frame_follows_the_order_of_the_specs(serial):
    store, table = serial
    turned = frame(reversed(SPECS), store, Nobody())
    assert turned["seed"].tolist() == [2, 2, 1, 1, 0, 0]
    assert turned.sort_values(["seed", "split"], ignore_index=True).equals(table)


def test_only_what_is_missing_is_trained_and_only_once(tmp_path):
    store, executor = Store(tmp_path), Counting()
    frame(SPECS[:1], store, executor)
    table = frame([SPECS[1], SPECS[0], SPECS[1], SPECS[1]], store, executor)
    assert executor.asked == SPECS[:2]
    assert table["seed"].tolist() == [1, 1, 0, 0]


def test_the_longest_runs_begin_first_and_equal_ones_in_their_order(tmp_path):
    long = SMALL.but(training=SMALL.training.but(steps=2 * SMALL.training.steps))
    executor = Counting()
    frame([SPECS[0], SPECS[2], long], Store(tmp_path), executor)
    assert executor.asked == [long, SPECS[0], SPECS[2]]


def test_a_failed_run_is_named_and_the_others_are_kept(tmp_path, monkeypatch):
    store = Store(tmp_path)
    real = sweep.data_of

    def fails(spec):
        if spec == SPECS[1]:
            raise ValueError("no such data")
        return real(spec)

    monkeypatch.setattr(sweep, "data_of", fails)
    with pytest.raises(
        SweepFailed, match=rf"1 of 3 runs failed; the first, {SPECS[1].digest()}: ValueError: no such data"
    ):
        frame(SPECS, store, Serial())
    assert [store.manifest(spec) is not None for spec in SPECS] == [True, False, True]
    monkeypatch.setattr(sweep, "data_of", real)
    executor = Counting()
    assert len(frame(SPECS, store, executor)) == 6
    assert executor.asked == SPECS[1:2]


def test_a_broken_run_is_not_silently_trained_again(tmp_path):
    store = Store(tmp_path)
    frame(SPECS[:1], store, Serial())
    (store.folder(SPECS[0]) / "history.csv").write_text("")
    with pytest.raises(BrokenRun, match=r"history\.csv"):
        frame(SPECS, store, Nobody())
    with pytest.raises(BrokenRun, match=r"history\.csv"):
        ensure(SPECS[0], store)


@pytest.mark.parametrize("stop", [Stopped, KeyboardInterrupt])
@pytest.mark.parametrize("step", [2, 4, 6, 12])  # before, at and behind a checkpoint, at the end
def test_a_stopped_run_goes_on_to_the_same_bits(serial, tmp_path, capsys, stop, step):
    store = Store(tmp_path)

    def watch(row):
        if row["step"] == step:
            raise stop

    with pytest.raises(stop):
        ensure(SPECS[0], store, watch, device="cpu")
    assert store.manifest(SPECS[0]) is None
    steps = []
    manifest = ensure(SPECS[0], store, lambda row: steps.append(row["step"]), device="cpu")
    assert steps == list(range(step + 2, 13, 2))
    expected = serial[0].manifest(SPECS[0])
    assert manifest["files"]["weights.safetensors"] == expected["files"]["weights.safetensors"]
    assert manifest["scores"] == expected["scores"]
    assert capsys.readouterr().out == f"run {SPECS[0].digest()} goes on from step {step}\n"


def test_an_error_in_the_watcher_is_no_reason_for_a_checkpoint(tmp_path):
    def watch(row):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        ensure(SPECS[0], Store(tmp_path), watch, device="cpu")
    store = Store(tmp_path)
    assert list(store.folder(SPECS[0]).glob("checkpoint-*")) == []
    said = holding.state(store.folder(SPECS[0]))
    assert (said["state"], said["reason"]) == ("failed", "ZeroDivisionError: ")


def test_the_score_is_of_the_whole_evaluation(serial, monkeypatch, tmp_path):
    """Not of the few examples that the history looks at."""
    monkeypatch.setattr("unseen.training._MONITOR", 5)
    manifest = ensure(SPECS[0], Store(tmp_path), device="cpu")
    assert manifest["scores"] == serial[0].manifest(SPECS[0])["scores"]
    assert {line["examples"] for line in manifest["scores"]} == {20}


def test_histories_are_ready_to_plot(serial):
    table = histories(SPECS, serial[0])
    assert list(table.columns) == ["step", "loss", "seconds", "split", "accuracy", "recipe", "instructions", "seed"]
    assert len(table) == 3 * 6 * 2
    last = table[(table["seed"] == 2) & (table["step"] == 12)].set_index("split")["accuracy"]
    expected = serial[0].history(SPECS[2]).iloc[-1]
    assert last.to_dict() == {"seen": expected["seen"], "unseen": expected["unseen"]}


def test_the_best_device(monkeypatch):
    for cuda, mps, best in ((True, True, "cuda"), (False, True, "mps"), (False, False, "cpu")):
        monkeypatch.setattr("torch.cuda.is_available", lambda cuda=cuda: cuda)
        monkeypatch.setattr("torch.backends.mps.is_available", lambda mps=mps: mps)
        assert best_device() == best


@pytest.mark.parametrize(
    ("device", "steps", "executor"), [("cpu", 100_000, "Processes"), ("cpu", 12, "Serial"), ("cuda", 100_000, "Serial")]
)
def test_processes_share_processors_and_one_process_has_the_gpu_or_little_to_do(
    monkeypatch, tmp_path, device, steps, executor
):
    class Chosen(Exception):
        pass

    def run(self, *_):
        raise Chosen(type(self).__name__)

    monkeypatch.setattr(sweep, "best_device", lambda: device)
    monkeypatch.setattr(Processes, "run", run)
    monkeypatch.setattr(Serial, "run", run)
    with pytest.raises(Chosen, match=executor):
        frame([spec.but(training=spec.training.but(steps=steps)) for spec in SPECS], Store(tmp_path))


# With processes


def test_processes_give_the_frame_of_serial(serial, tmp_path):
    table = frame([*SPECS, SPECS[0]], Store(tmp_path), Processes(2))
    assert table.drop(columns="seconds").equals(serial[1].drop(columns="seconds"))


DRIVER = """
import sys
from functools import partial
from pathlib import Path
from trainers import SMALL, slow
from unseen.store import Store
from unseen.running.workers import Processes

if __name__ == "__main__":
    long = SMALL.but(training=SMALL.training.but(steps=200))
    Processes(1).run([long], partial(slow, store=Store(Path(sys.argv[1]))), print)
"""


def test_workers_do_not_outlive_a_killed_driver(tmp_path):
    (tmp_path / "driver.py").write_text(DRIVER)
    store, spec = Store(tmp_path / "store"), SMALL.but(training=SMALL.training.but(steps=200))
    paths = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    driver = subprocess.Popen(
        [sys.executable, tmp_path / "driver.py", store.root],
        env={**os.environ, "PYTHONPATH": paths},
        stdout=subprocess.DEVNULL,
    )
    try:
        until(lambda: list(store.folder(spec).glob("checkpoint-*")))
        children = psutil.Process(driver.pid).children(recursive=True)
        assert children
    finally:
        driver.send_signal(signal.SIGKILL)
        driver.wait()
    until(lambda: all(map(gone, children)))
    assert store.manifest(spec) is None
    rows = []
    manifest = ensure(spec, store, rows.append, device="cpu")
    assert len(rows) < 100  # it went on from what the orphan saved
    expected = ensure(spec, Store(tmp_path / "once"), device="cpu")
    assert manifest["files"]["weights.safetensors"] == expected["files"]["weights.safetensors"]


def test_a_base_is_trained_before_what_starts_from_it(tmp_path):
    model = SMALL.model.but(base=SPECS[0].digest())
    tuned = SMALL.but(model=model, training=SMALL.training.but(steps=3 * SMALL.training.steps))
    assert in_order([tuned, SPECS[1], SPECS[0]]) == [[SPECS[1], SPECS[0]], [tuned]]
    assert len(frame([tuned, SPECS[0]], Store(tmp_path), Processes(2))) == 4


def test_among_many_runs_only_very_long_ones_leave_their_place():
    runs = [SMALL.with_seed(seed) for seed in range(40)]
    rather, very = (SMALL.but(training=SMALL.training.but(steps=times * SMALL.training.steps)) for times in (2, 20))
    assert in_order([*runs, rather, very]) == [[very, *runs, rather]]


def test_what_is_not_finished_has_no_scores_and_no_history(tmp_path):
    for ask in (sweep.kinds, histories):
        with pytest.raises(NotFinished, match=rf"^run {SMALL.digest()} is not finished in .*; train it first$"):
            ask([SMALL], Store(tmp_path))


def test_where_all_inputs_are_no_ops_the_scores_say_so(tmp_path):
    run = SMALL.but(task=SMALL.task.but(no_op_share=1.0))
    frame([run], Store(tmp_path))
    assert sweep.kinds([run], Store(tmp_path))["kind"].tolist() == ["no-op", "no-op"]


def test_smoothing_asks_for_the_whole_batch(tmp_path):
    run = SMALL.but(training=SMALL.training.but(smoothing=0.1))
    with pytest.raises(ValueError, match="smoothing the whole batch: train it with one process"):
        ensure(run, Store(tmp_path), crew=Crew(0, 2))
