"""From specs to a tidy frame: what is done stays done, and what fails harms nothing else."""

import pytest

from trainers import SMALL, stopped
from unseen import once
from unseen.errors import NotFinished
from unseen.process_group import ProcessGroup, best_device
from unseen.runs import sweep
from unseen.runs.store import Store, ensure
from unseen.runs.sweep import SweepFailed, frame, histories, in_order
from unseen.runs.workers import Processes, Serial
from unseen.signals import Stopped

SPECS = [SMALL.with_seed(seed) for seed in range(3)]
COLUMNS = ["recipe", "layers", "width", "pattern_length", "input_length", "instructions",
           "examples_per_instruction", "seed", "split", "accuracy", "low", "high", "examples", "seconds",
           "run"]  # fmt: skip


class Counting(Serial):
    """Serial, and the specs that it got."""

    def __init__(self):
        self.got = []

    def run(self, specs, trainer, report):
        self.got += specs
        super().run(specs, trainer, report)


@pytest.fixture(scope="module")
def serial(tmp_path_factory):
    store = Store(tmp_path_factory.mktemp("serial"))
    return store, frame(SPECS, store, Serial())


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


def test_only_what_is_missing_is_trained_and_only_once(tmp_path):
    store, executor = Store(tmp_path), Counting()
    frame(SPECS[:1], store, executor)
    table = frame([SPECS[1], SPECS[0], SPECS[1], SPECS[1]], store, executor)
    assert executor.got == SPECS[:2]
    assert table["seed"].tolist() == [1, 1, 0, 0]  # in the order of the specs


def test_a_failed_run_is_named_and_the_others_are_kept(tmp_path, monkeypatch, capfd):
    store = Store(tmp_path)

    def fails(spec, *arguments, **named):
        if spec == SPECS[1]:
            raise ValueError("no such data")
        return ensure(spec, *arguments, **named)

    monkeypatch.setattr("unseen.runs.sweep.ensure", fails)
    failed = rf"1 of 3 runs failed.*{SPECS[1].digest()}: ValueError: no such data"
    with pytest.raises(SweepFailed, match=failed):
        frame(SPECS, store, Serial())
    assert "Traceback" in capfd.readouterr().err  # what the one line leaves out
    assert [store.manifest(spec) is not None for spec in SPECS] == [True, False, True]
    monkeypatch.undo()
    executor = Counting()
    assert len(frame(SPECS, store, executor)) == 6
    assert executor.got == SPECS[1:2]


@pytest.mark.parametrize(("step", "stop"), [(2, Stopped), (4, KeyboardInterrupt), (12, KeyboardInterrupt)])
def test_a_stopped_run_resumes_to_the_same_bits(serial, tmp_path, capsys, stop, step):
    store = stopped(SPECS[0], Store(tmp_path), step, stop())
    assert store.manifest(SPECS[0]) is None
    assert once.state(store.folder(SPECS[0]))["state"] == "interrupted"
    steps = []
    manifest = ensure(SPECS[0], store, lambda row: steps.append(row["step"]), device="cpu")
    assert steps == list(range(step + 2, 13, 2))
    expected = serial[0].manifest(SPECS[0])
    assert manifest["files"]["weights.safetensors"] == expected["files"]["weights.safetensors"]
    assert manifest["scores"] == expected["scores"]
    assert capsys.readouterr().out == f"run {SPECS[0].digest()} resumes from step {step}\n"


def test_the_score_is_of_the_whole_evaluation(serial, monkeypatch, tmp_path):
    """Not of the few examples behind a row of the history."""
    monkeypatch.setattr("unseen.training._MONITOR", 5)
    manifest = ensure(SPECS[0], Store(tmp_path), device="cpu")
    assert manifest["scores"] == serial[0].manifest(SPECS[0])["scores"]
    assert {line["examples"] for line in manifest["scores"]} == {20}


def test_histories_are_ready_to_plot(serial):
    table = histories(SPECS, serial[0])
    assert list(table) == ["step", "loss", "seconds", "split", "accuracy", "recipe", "instructions", "seed"]
    assert len(table) == 3 * 6 * 2
    last = table[(table["seed"] == 2) & (table["step"] == 12)].set_index("split")["accuracy"]
    expected = serial[0].history(SPECS[2]).iloc[-1]
    assert last.to_dict() == {"seen": expected["seen"], "unseen": expected["unseen"]}


def test_an_unfinished_run_has_no_scores_and_no_history(tmp_path):
    refused = rf"^run {SMALL.digest()} is not finished in .*; train it first$"
    for read in (sweep.kinds, histories):
        with pytest.raises(NotFinished, match=refused):
            read([SMALL], Store(tmp_path))


def test_where_all_inputs_are_no_ops_the_scores_say_so(tmp_path):
    run = SMALL.but(task=SMALL.task.but(no_op_share=1.0))
    frame([run], Store(tmp_path))
    assert sweep.kinds([run], Store(tmp_path))["kind"].tolist() == ["no-op", "no-op"]


@pytest.mark.parametrize(("device", "steps", "executor"), [
    ("cpu", 100_000, "Processes"), ("cpu", 12, "Serial"), ("cuda", 100_000, "Serial"),
])  # fmt: skip
def test_one_process_has_the_gpu_or_little_to_do(monkeypatch, tmp_path, device, steps, executor):
    class Chosen(Exception):
        pass

    def run(self, *_):
        raise Chosen(type(self).__name__)

    monkeypatch.setattr("torch.cuda.is_available", lambda: device == "cuda")
    monkeypatch.setattr("torch.backends.mps.is_available", lambda: False)
    assert best_device() == device
    monkeypatch.setattr(Processes, "run", run)
    monkeypatch.setattr(Serial, "run", run)
    with pytest.raises(Chosen, match=executor):
        frame([spec.but(training=spec.training.but(steps=steps)) for spec in SPECS], Store(tmp_path))


def test_processes_give_the_frame_of_serial_and_train_a_base_first(serial, tmp_path):
    tuned = SMALL.but(model=SMALL.model.but(base=SPECS[0].digest()))
    table = frame([tuned, *SPECS, SPECS[0]], Store(tmp_path), Processes(2))
    same = table[table["run"] != tuned.digest()].drop(columns="seconds").reset_index(drop=True)
    assert same.equals(serial[1].drop(columns="seconds"))


def test_bases_come_first_then_long_runs():
    long, longer = (SMALL.but(training=SMALL.training.but(steps=steps)) for steps in (20, 30))
    tuned = longer.but(model=SMALL.model.but(base=SPECS[1].digest()))
    assert in_order([tuned, *SPECS, long, longer]) == [[longer, long, *SPECS], [tuned]]


def test_smoothing_needs_the_whole_batch(tmp_path):
    run = SMALL.but(training=SMALL.training.but(smoothing=0.1))
    with pytest.raises(ValueError, match=r"smoothing.* with one process"):
        ensure(run, Store(tmp_path), group=ProcessGroup(0, 2))
