"""What was written is what is read: whole files, sealed runs, checkpoints that can be trusted."""

import errno
import hashlib
import os
import shutil
import subprocess
from unittest.mock import Mock

import pandas as pd
import pytest
import torch

from trainers import SMALL
from unseen import files
from unseen.files import BrokenRun, project_folder, provenance, runs_folder, write
from unseen.runs.following import followed, path_of
from unseen.runs.store import Store, committed_store, ensure, keep, newest_first, spec_of
from unseen.runs.workers import Serial
from unseen.training import data_of, start, train

FILES = ("weights.safetensors", "history.csv", "spec.json", "manifest.json")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A store in which SMALL is finished, and its manifest."""
    store = Store(tmp_path_factory.mktemp("trained"))
    return store, ensure(SMALL, store, device="cpu")


# Files


@pytest.mark.parametrize("call", ["os.replace", "os.fsync", "os.chmod"])
def test_a_write_that_fails_changes_nothing(tmp_path, monkeypatch, call):
    write(tmp_path / "old", "before")
    for error in (OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()):
        monkeypatch.setattr(call, Mock(side_effect=error))
        for name in ("old", "new"):
            with pytest.raises(type(error)):
                write(tmp_path / name, "after")
    assert [path.name for path in tmp_path.iterdir()] == ["old"]
    assert (tmp_path / "old").read_text() == "before"


def test_a_written_file_is_whole_and_others_may_read_it(tmp_path):
    before = os.umask(0o077)
    try:
        digest = write(tmp_path / "new" / "folder" / "file", "é\n")
    finally:
        os.umask(before)
    path = tmp_path / "new" / "folder" / "file"
    assert path.read_bytes() == "é\n".encode()
    assert path.stat().st_mode & 0o777 == 0o644
    assert digest == hashlib.sha256("é\n".encode()).hexdigest()


def test_runs_go_where_the_environment_says(tmp_path, monkeypatch):
    monkeypatch.setenv("UNSEEN_RUNS", str(tmp_path / "a" / ".." / "b"))
    assert Store().folder(SMALL) == tmp_path.resolve() / "b" / "store" / SMALL.digest()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("UNSEEN_RUNS", "here")
    assert runs_folder() == tmp_path.resolve() / "here"
    monkeypatch.setenv("UNSEEN_RUNS", "")
    assert runs_folder() == project_folder() / "runs"


def test_provenance_names_versions_processor_and_commit(monkeypatch, tmp_path):
    found = provenance()
    assert {"python", "unseen", "numpy"} <= set(found["versions"])
    assert torch.__version__.startswith(found["versions"]["torch"])  # which may not name the build
    assert found["processor"]
    monkeypatch.setenv("PATH", str(tmp_path))
    assert files._commit().startswith("unknown: [Errno 2]")
    too_long = Mock(side_effect=subprocess.TimeoutExpired("git", 20))
    monkeypatch.setattr(files.subprocess, "run", too_long)
    assert files._commit() in ("unknown: git took longer than 20 s", "unknown: no git checkout")
    monkeypatch.setattr(files, "_ROOT", tmp_path)
    assert files._commit() == "unknown: no git checkout"


def test_an_installed_package_finds_the_checkout_that_it_is_used_in(monkeypatch, tmp_path):
    """A notebook's kernel works in the folder of its notebook."""
    root = project_folder()
    monkeypatch.setattr(files, "_ROOT", tmp_path)
    monkeypatch.chdir(root / "notebooks")
    assert project_folder() == root
    monkeypatch.chdir(tmp_path)
    with pytest.raises(files.NoProject):
        project_folder()


# Finished runs


def test_a_finished_run_is_read_as_it_was_written(trained):
    store, manifest = trained
    assert store.manifest(SMALL) == manifest
    assert manifest["spec"] == SMALL.to_dict()
    assert manifest["digest"] == SMALL.digest() == store.folder(SMALL).name
    assert sorted(path.name for path in store.folder(SMALL).iterdir()) == sorted((".lock", *FILES))
    state = train(SMALL, start(SMALL), data_of(SMALL))
    model = store.model(SMALL)
    assert all(
        torch.equal(value, model.state_dict()[name]) for name, value in state.model.state_dict().items()
    )
    assert not model.training
    history = store.history(SMALL)
    assert list(history) == ["step", "loss", "seen", "unseen", "seconds"]
    assert history["loss"].tolist() == pytest.approx([row["loss"] for row in state.history], rel=1e-12)


def test_the_committed_runs_are_read():
    """Written by older versions of this library."""
    store = committed_store()
    for folder in store.root.iterdir():
        spec = spec_of(folder)
        assert store.manifest(spec)["spec"]
        assert store.model(spec).spec == spec.model


def test_a_copied_run_is_whole_or_not_there(trained, tmp_path, monkeypatch):
    store, copy = trained[0], Store(tmp_path / "copy")
    copy.copy(SMALL, store)
    assert copy.manifest(SMALL) == trained[1]
    monkeypatch.setattr("unseen.runs.store.write", Mock(side_effect=[None, KeyboardInterrupt]))
    with pytest.raises(KeyboardInterrupt):
        copy.copy(SMALL, store)
    assert copy.manifest(SMALL) is None
    rotten = Store(shutil.copytree(store.root, tmp_path / "rotten"))
    path = rotten.folder(SMALL) / "weights.safetensors"
    path.write_bytes(bytes([path.read_bytes()[0] ^ 1]) + path.read_bytes()[1:])
    with pytest.raises(BrokenRun, match=path.name):
        Store(tmp_path / "other").copy(SMALL, rotten)
    assert not (tmp_path / "other").exists()


def test_the_folder_of_another_run_is_refused_and_two_checkpoints_are_kept(trained, tmp_path):
    store, other = Store(shutil.copytree(trained[0].root, tmp_path / "store")), SMALL.with_seed(1)
    shutil.copytree(store.folder(SMALL), store.folder(other))
    with pytest.raises(BrokenRun, match=f"it holds another digest: {SMALL.digest()}"):
        store.manifest(other)
    state = start(SMALL)
    for state.step in (2, 900, 10, 1_000):
        keep(tmp_path, SMALL, state, [])
    assert [int(path.stem[-12:]) for path in newest_first(tmp_path)] == [1_000, 900]


# What is measured of runs


def look(spec, tell):
    """A measure of a run, which a worker finds by its name."""
    tell(1)
    return pd.DataFrame({"seed": [spec.model.seed], "third": [1 / 3]})


def test_followed_tables_are_computed_once_and_verified(runs, capsys):
    specs = [SMALL, SMALL.with_seed(1), SMALL]
    first = followed(specs, look, "look-1", Serial())
    assert [table["seed"].tolist() for table in first] == [[0], [1], [0]]
    again = followed(specs, None, "look-1", Serial())
    assert [table["third"].tolist() for table in again] == [[0.333333]] * 3
    assert "2 runs to follow: 2 done before, 0 left" in capsys.readouterr().out
    path = path_of(SMALL.digest(), "look-1") / "table.csv"
    path.write_text(path.read_text().replace("0.3", "0.4"))
    with pytest.raises(BrokenRun, match=r"table\.csv was changed"):
        followed(specs, look, "look-1", Serial())
