"""Two processes on one run: one trains it, the other waits or says who holds it; nothing is trained twice."""

import platform

import pytest
from deeds import LONG, essence, forked, train, train_until_told

from processes import until
from unseen import once
from unseen.errors import Held
from unseen.runs.store import Store, ensure
from unseen.runs.sweep import frame
from unseen.runs.workers import Processes, Serial


@pytest.fixture
def held(tmp_path):
    """A store in which another process trains the run, and the file that this one waits for."""
    store, go = Store(tmp_path / "store"), tmp_path / "go"
    process = forked(train_until_told, LONG, store.root, go)
    until(lambda: len(store.history(LONG)) > 5)
    yield store, process, go
    process.kill()
    process.join()


def test_who_holds_a_run_is_said(held, promise):
    store, process, go = held
    with pytest.raises(Held, match=rf"trained by process {process.pid} on {platform.node()} since"):
        ensure(LONG, store, device="cpu", patience=0)
    said = []

    def say(sentence):
        said.append(sentence)
        go.touch()

    ensure(LONG, store, device="cpu", say=say)
    assert f"trained by process {process.pid} on {platform.node()}" in said[0]
    assert said[0].endswith("waiting")
    assert said[1:] == []  # it was done by then: not trained, not resumed
    process.join()
    assert process.exitcode == 0
    promise("waiters that heard who holds a run", 2)


def test_one_trains_and_the_other_waits(undisturbed, tmp_path, promise, amount):
    for number in range(amount(1, 8, 60)):
        store = Store(tmp_path / str(number))
        processes = [forked(train, LONG, store.root) for _ in range(3)]
        for process in processes:
            process.join()
        assert [process.exitcode for process in processes] == [0, 0, 0]
        assert essence(store.manifest(LONG), store, LONG) == undisturbed
        assert store.manifest(LONG)["resumed"] == []
        promise("runs needed by three at once")


def test_a_waiter_goes_on_where_a_killed_holder_stopped(held, undisturbed, promise):
    store, process, _ = held
    said = []

    def say(sentence):
        said.append(sentence)
        process.kill()

    manifest = ensure(LONG, store, device="cpu", say=say)
    assert said[0].endswith("waiting")
    assert "resumes from step" in said[1]
    assert essence(manifest, store, LONG) == undisturbed
    promise("waiters that took over")


def sweep(specs, root, executor):
    frame(specs, Store(root), executor)


@pytest.mark.parametrize("executor", [Serial, Processes])
def test_two_sweeps_share_the_work(tmp_path, promise, executor):
    """A run that another one trains is left for later: the second sweep takes the next one instead of
    waiting.
    """
    store, specs = Store(tmp_path), [LONG.with_seed(seed) for seed in range(4)]
    other = forked(sweep, specs, store.root, Serial())
    until(lambda: once.state(store.folder(specs[0])).get("state") == "running" or store.manifest(specs[0]))
    table = frame(specs, store, executor() if executor is Serial else Processes(1))
    other.join()
    assert other.exitcode == 0
    assert table["run"].nunique() == 4
    assert all(store.manifest(spec)["resumed"] == [] for spec in specs)
    promise("sweeps at once", 2)
