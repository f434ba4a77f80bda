"""Disk full, folder read-only or missing: a clear error, the last good state intact, no litter."""

import json
import os
import shutil
import subprocess
import sys

import pytest
from deeds import LONG, PATHS, essence, finished

from unseen.files import CannotWrite
from unseen.runs.store import Store, ensure, newest_first
from unseen.runs.sweep import SweepFailed, frame
from unseen.runs.workers import Serial
from unseen.signals import Stopped

SMALL_DISK = """
import json
import shutil
import sys
from pathlib import Path
import torch
from deeds import LONG
from unseen import files
from unseen.files import CannotWrite, leftovers
from unseen.runs.store import Store
from unseen.runs.store import ensure

torch.set_num_threads(1)  # as the run that it is compared with
place = Path(sys.argv[1])
for number, room in enumerate(map(int, sys.argv[2:])):
    store = Store(place / str(number))
    files.check_room = lambda root, needed=0: None  # the disk fills after the check
    free = shutil.disk_usage(place).free
    (place / "ballast").write_bytes(bytes(max(0, free - room)))
    try:
        ensure(LONG, store, device="cpu", say=lambda _: None)
        said = "nothing"
    except CannotWrite as error:
        said = str(error)
    litter = len(leftovers(store.folder(LONG))) if store.folder(LONG).is_dir() else 0
    (place / "ballast").unlink()
    weights = ensure(LONG, store, device="cpu", say=lambda _: None)["files"]["weights.safetensors"]
    print(json.dumps({"said": said, "litter": litter, "weights": weights}))
    shutil.rmtree(store.root)
"""


def can_mount():
    tried = subprocess.run(["unshare", "-rm", "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True)
    return tried.returncode == 0


needs_mounts = pytest.mark.skipif(
    shutil.which("unshare") is None or not can_mount(),
    reason="needs a Linux that lets this user mount in a namespace (unshare -rm)",
)


def mounted(how, *arguments):
    """A process in a namespace of its own, in which ``how`` was mounted before."""
    command = ["unshare", "-rm", "sh", "-c", f'{how} && exec "$@"', "sh", sys.executable, *arguments]
    return subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": PATHS})


@needs_mounts
def test_on_a_disk_that_is_really_full(undisturbed, tmp_path, promise, amount, rng):
    rooms = [str(rng.randrange(5, 130) * 1024) for _ in range(amount(3, 30, 300))]
    ran = mounted(f'mount -t tmpfs -o size=1m none "{tmp_path}"', "-c", SMALL_DISK, tmp_path, *rooms)
    assert ran.returncode == 0, ran.stderr
    outcomes = [json.loads(line) for line in ran.stdout.splitlines()]
    assert [(each["litter"], each["weights"]) for each in outcomes] == [(0, undisturbed[0])] * len(rooms)
    stopped = [each["said"] for each in outcomes if each["said"] != "nothing"]
    assert stopped
    assert all("No space left on device; what was there before is intact" in each for each in stopped)
    promise("runs on a full disk", len(stopped))


def test_too_little_room_is_reported_before_anything_starts(tmp_path, promise, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**9, 10**9, 1000))
    with pytest.raises(SweepFailed, match=r"MB free and this run needs [\d.]+ MB; 'unseen clean' shows"):
        frame([LONG], Store(tmp_path), Serial())
    assert newest_first(Store(tmp_path).folder(LONG)) == []
    promise("starts with too little room")


@needs_mounts
def test_a_read_only_store_is_read_and_not_written(tmp_path, promise, undisturbed):
    finished(LONG, tmp_path / "store")
    other = LONG.with_seed(3)
    code = (
        "import sys; from pathlib import Path; from deeds import LONG; from unseen.runs.store import Store;"
        "from unseen.runs.sweep import frame; from unseen.runs.workers import Serial;"
        "store = Store(Path(sys.argv[1])); print(len(frame([LONG], store, Serial())));"
        "store.model(LONG); frame([LONG.with_seed(3)], store, Serial())"
    )
    how = f'mount --bind "{tmp_path}" "{tmp_path}" && mount -o remount,ro,bind "{tmp_path}"'
    ran = mounted(how, "-c", code, tmp_path / "store")
    assert "2\n" in ran.stdout, ran.stderr
    assert "cannot be used (Read-only file system); UNSEEN_RUNS chooses another place" in ran.stderr
    assert not Store(tmp_path / "store").folder(other).exists()
    promise("sweeps on a read-only disk")


@pytest.mark.parametrize("what", ["a file", "below a file", "a dangling link"])
def test_a_runs_folder_that_cannot_be(tmp_path, promise, monkeypatch, refused, what):
    place = tmp_path / "place"
    if what == "a dangling link":
        place.symlink_to(tmp_path / "nothing" / "there")
        (tmp_path / "nothing").write_text("")
    else:
        place.write_text("")
    monkeypatch.setenv("UNSEEN_RUNS", str(place if what != "below a file" else place / "x"))
    said = refused("train", "--scale", "smoke", code=1)
    assert "UNSEEN_RUNS chooses another place" in said or "cannot write" in said
    promise("runs folders that cannot be")


def test_a_folder_that_goes_away_while_a_run_writes(undisturbed, tmp_path, promise):
    store, gone = Store(tmp_path / "store"), []

    def remove(row):
        if row["step"] == 30 and not gone:
            gone.append(shutil.rmtree(store.root))
        if row["step"] == 45:
            raise Stopped

    with pytest.raises((Stopped, CannotWrite)):
        ensure(LONG, store, remove, device="cpu")
    assert essence(ensure(LONG, store, device="cpu"), store, LONG) == undisturbed
    promise("folders that go away")
