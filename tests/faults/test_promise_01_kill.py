"""``kill -9`` at any moment: the run resumes from its newest whole checkpoint to the same bits."""

import os
import signal
import time

import pytest
from deeds import DONE, LONG, essence, files, forked, train, train_slowly, train_until_call

from processes import until
from unseen.runs.store import Store, ensure, newest_first


@pytest.fixture(scope="module")
def seconds(tmp_path_factory):
    """How long a run takes that is let alone."""
    began = time.monotonic()
    process = forked(train, LONG, tmp_path_factory.mktemp("timed"))
    process.join()
    return time.monotonic() - began


def check_done(store, expected):
    manifest = store.manifest(LONG)
    assert essence(manifest, store, LONG) == expected
    assert files(store, LONG) == DONE  # no litter of the writers that were killed
    return manifest


def test_killed_at_random_moments_until_done(undisturbed, seconds, tmp_path, promise, amount, rng):
    kills = 0
    for number in range(amount(2, 12, 120)):
        store = Store(tmp_path / str(number))
        process = forked(train_slowly, LONG, store.root)
        until(lambda: newest_first(store.folder(LONG)))  # noqa: B023
        os.kill(process.pid, signal.SIGKILL)  # one for certain behind a checkpoint, the others at any moment
        process.join()
        kills += 1
        while store.manifest(LONG) is None:
            process = forked(train, LONG, store.root)
            process.join(rng.uniform(0.01, seconds))
            if process.is_alive():
                os.kill(process.pid, signal.SIGKILL)
                kills += 1
            process.join()
            assert process.exitcode in (0, -9)
        ensure(LONG, store, device="cpu")  # the last kill may have left what the manifest supersedes
        resumed = check_done(store, undisturbed)["resumed"]
        assert resumed
        assert [each["step"] for each in resumed] == sorted(each["step"] for each in resumed)
    promise("kills at random moments", kills)


@pytest.mark.parametrize("call", ["fsync", "replace", "unlink"])
def test_killed_inside_a_write(undisturbed, tmp_path, promise, amount, call):
    """In every call that makes a file whole or drops one: checkpoints, ends of epochs, the last files."""
    kills, number = 0, 1
    while True:
        store = Store(tmp_path / f"{call}-{number}")
        process = forked(train_until_call, LONG, store.root, call, number)
        process.join()
        if process.exitcode == 0:
            break
        assert process.exitcode == -9
        kept, done = newest_first(store.folder(LONG)), store.manifest(LONG)
        found = []
        ensure(LONG, store, device="cpu", say=found.append)
        if done:  # it died over what it no longer needed
            assert found == []
        elif kept:  # nothing that was whole is lost
            assert any(f"resumes from step {int(kept[0].stem[-12:])}" in sentence for sentence in found)
        check_done(store, undisturbed)
        kills += 1
        number += amount(13, 3, 1)
    promise(f"kills inside {call}", kills)
    assert kills
