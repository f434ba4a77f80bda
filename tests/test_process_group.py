"""One run by several processes: the numbers of one process, and no process is left when the leader ends."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import nn

import members
from members import RUNS, kept
from processes import until
from unseen.process_group import ALONE, ProcessGroup, joined
from unseen.training import batch_rows, data_of, start, train

CLOSE = 1e-5  # of losses near 2, weights, memory: two halves add up in another order (seen here: 4e-7)
SECONDS = 20  # from the leader's exception to the end of every process (seen here: 2)
PATIENCE = 120  # seconds for anything that two processes do
SET = {"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "0", "MASTER_ADDR": "localhost", "MASTER_PORT": "29500"}


def environment(monkeypatch, **changes):
    """Set what torchrun sets, with changes; None is left out."""
    for name, value in (SET | changes).items():
        monkeypatch.delenv(name, raising=False)
        if value is not None:
            monkeypatch.setenv(name, value)


# One process


@pytest.mark.parametrize("changes", [dict.fromkeys(SET), {"RANK": "0", "WORLD_SIZE": "1"}])
def test_alone_every_call_returns_what_it_got(monkeypatch, changes):
    environment(monkeypatch, **changes)
    model, value = nn.Linear(2, 2), torch.ones(3)
    with joined() as alone:
        assert not dist.is_initialized()
        assert alone is ALONE
        assert (alone.leads, alone.rank, alone.size, alone.device) == (True, 0, 1, None)
        assert alone.wrap(model) is model
        assert alone.mean(value) is value
        assert alone.same(value) is value
        assert alone.share([1, 2, 3]) == [1, 2, 3]


def test_the_shares_of_all_processes_are_the_batch_and_an_uneven_one_is_refused_before_any_work():
    spec, three = RUNS["modern"], ProcessGroup(0, 3)
    rows = batch_rows(spec.task, spec.training, 3)
    for size in (1, 2, 4, 16):
        shares = [ProcessGroup(rank, size).share(rows) for rank in range(size)]
        assert {len(share) for share in shares} == {16 // size}
        assert [row for share in shares for row in share] == list(rows)
    with pytest.raises(ValueError, match=r"^a batch of 16 examples cannot be shared evenly by 3 processes$"):
        train(spec, None, None, members.ignore, members.ignore, three)
    wide = spec.but(training=spec.training.but(batch=99))  # but there are only 64 examples
    with pytest.raises(ValueError, match=r"a batch of 64 examples .* by 3 processes"):
        train(wide, None, None, members.ignore, members.ignore, three)


# How a process connects, without a GPU at hand


@pytest.fixture
def calls(monkeypatch):
    """The calls to torch's process group, which does not exist."""
    made = []
    monkeypatch.setattr(dist, "init_process_group", made.append)
    monkeypatch.setattr(dist, "destroy_process_group", lambda: made.append("destroyed"))
    monkeypatch.setattr(torch.cuda, "set_device", made.append)
    return made


def gpus(monkeypatch, number):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: number > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: number)


@pytest.mark.parametrize(("number", "device", "expected"), [(0, "cpu", ["gloo"]), (2, "cuda:1", [1, "nccl"])])
def test_each_process_has_a_device_and_leaves_at_the_end(monkeypatch, calls, number, device, expected):
    environment(monkeypatch, LOCAL_RANK="1")
    gpus(monkeypatch, number)
    interrupt = signal.getsignal(signal.SIGINT)
    with joined() as group:
        assert group == ProcessGroup(1, 2, device)
        assert not group.leads
        assert calls == expected
        assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    assert calls == [*expected, "destroyed"]
    assert signal.getsignal(signal.SIGINT) == interrupt


@pytest.mark.parametrize(("number", "expected"), [(0, ["gloo", "destroyed"]), (1, [0, "nccl"])])
def test_an_error_ends_the_group_unless_that_would_wait_for_others(monkeypatch, calls, number, expected):
    environment(monkeypatch)
    gpus(monkeypatch, number)
    for error in (ValueError, KeyboardInterrupt):
        calls.clear()
        with pytest.raises(error), joined():
            raise error
        assert calls == expected


def test_a_process_without_a_gpu_of_its_own_is_refused(monkeypatch, calls):
    environment(monkeypatch, LOCAL_RANK="1")
    gpus(monkeypatch, 1)
    with pytest.raises(ValueError, match=r"^LOCAL_RANK=1: this host has 1 GPU\(s\), so --nproc-per-node 1 "):
        joined().__enter__()
    assert calls == []


# Two processes, started by torchrun


def launch(folder: Path, meanwhile) -> int:
    """Let two processes do what stands in ``members.py``, on CPUs; the exit code of torchrun."""
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    clean = {name: value for name, value in os.environ.items() if name not in SET}
    clean |= {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen([*torchrun, Path(members.__file__), folder], env=clean)
    try:
        meanwhile(process)
        return process.wait(PATIENCE)
    finally:
        process.terminate()  # if it still runs: it ends its members
        process.wait(PATIENCE)


@pytest.fixture(scope="module")
def alone():
    """Both recipes trained by one process: the state at the first checkpoint and at the end."""
    found = {}
    for name, spec in RUNS.items():
        states = {}

        def save(state, states=states):
            states[state.step] = kept(state)

        train(spec, start(spec), data_of(spec), members.ignore, save)
        found[name] = states[spec.training.checkpoint_every], states[spec.training.steps]
    return found


@pytest.fixture(scope="module")
def group(alone, tmp_path_factory):
    """The folder of two processes that trained both recipes, and then until Ctrl-C; their exit code, and the
    seconds from the leader's exception to the end of all.
    """
    folder = tmp_path_factory.mktemp("group")
    for name, (early, _) in alone.items():
        torch.save(early, folder / f"{name}.pt")

    def interrupt(process):
        until(lambda: (folder / "trains").exists() or process.poll() is not None, PATIENCE)
        process.send_signal(signal.SIGINT)

    code = launch(folder, interrupt)
    return folder, code, time.time() - float((folder / "raised").read_text())


@pytest.fixture(scope="module")
def results(group):
    """What each of two processes had in the end."""
    return [torch.load(group[0] / f"member-{rank}.pt", weights_only=True) for rank in range(2)]


def matters(name: str, tensor: torch.Tensor) -> torch.Tensor:
    """A tensor without what no output depends on: a bias of all keys adds the same to every attention
    score, so its gradient is rounding noise, which AdamW scales up to whole steps."""
    if not (name.startswith("model.") and name.endswith("inputs.bias")):
        return tensor
    queries, _, values = tensor.chunk(3)
    return torch.cat([queries, values])


@pytest.mark.parametrize("recipe", RUNS)
@pytest.mark.parametrize("way", ["whole", "resumed"])
def test_two_processes_hold_the_same_bits_and_end_where_one_process_ends(alone, results, recipe, way):
    """From the start, and from a checkpoint of one process that the leader alone has read."""
    one, (two, second) = alone[recipe][1], (member[f"{recipe} {way}"] for member in results)
    assert two["step"] == second["step"] == 12
    assert all(torch.equal(tensor, second["tensors"][name]) for name, tensor in two["tensors"].items())
    assert [row["step"] for row in two["history"]] == [row["step"] for row in one["history"]] == [3, 6, 9, 12]
    for ours, theirs in zip(two["history"], one["history"], strict=True):
        assert ours["loss"] == pytest.approx(theirs["loss"], abs=CLOSE)
    assert two["tensors"].keys() == one["tensors"].keys()
    far = {name: (matters(name, tensor) - matters(name, one["tensors"][name])).abs().max().item()
           for name, tensor in two["tensors"].items()}  # fmt: skip
    assert {name: distance for name, distance in far.items() if distance > CLOSE} == {}


def test_only_the_leader_watches_and_saves_and_all_agree(results):
    places = [(member["rank"], member["size"], member["device"]) for member in results]
    assert places == [(0, 2, "cpu"), (1, 2, "cpu")]
    assert [member["calls"] for member in results] == [2 * (4 + 3), 0]
    assert [len(member["modern whole"]["history"]) for member in results] == [4, 0]
    assert [member["mean"].tolist() for member in results] == [[0.5, 10.0]] * 2
    assert [member["same"] for member in results] == ["from 0"] * 2
    assert [member["diverged"] for member in results] == ["the loss is nan by step 2 of 12"] * 2


def test_when_the_leader_raises_every_process_ends_within_seconds(group):
    """At an interrupt the leader still trains to the next row and stops there; the others ignore it."""
    folder, code, seconds = group
    assert code != 0
    assert seconds < SECONDS
    for rank in range(2):  # torchrun has waited for both, so no zombie of either is left
        with pytest.raises(ProcessLookupError):
            os.kill(int((folder / f"{rank}.pid").read_text()), 0)
