"""What was written is what is read: whole files, sealed runs, checkpoints that can be trusted."""

import errno
import hashlib
import json
import os
import shutil
import threading

import pytest
import torch

from trainers import SMALL
from unseen import store as store_module
from unseen.disk import files, holding, weights
from unseen.disk.checkpoints import SpecChanged, go_on
from unseen.disk.files import BrokenRun, leftovers, project_folder, provenance, runs_folder, write
from unseen.disk.weights import export_model, import_model
from unseen.evaluation import greedy_answers
from unseen.running.workers import Stopped
from unseen.specs import RECIPES
from unseen.store import Store
from unseen.sweep import ensure
from unseen.training import data_of, start, train

FILES = ("weights.safetensors", "history.csv", "spec.json", "manifest.json")
DAMAGE = {
    "first bit flipped": lambda content: bytes([content[0] ^ 1]) + content[1:],
    "bit flipped in the middle": lambda c: c[: len(c) // 2] + bytes([c[len(c) // 2] ^ 1]) + c[len(c) // 2 + 1 :],
    "last bit flipped": lambda content: content[:-1] + bytes([content[-1] ^ 1]),
    "truncated": lambda content: content[:-9],
    "emptied": lambda content: b"",
    "junk behind": lambda content: content + b"\0junk",
}
every_damage = pytest.mark.parametrize("damage", DAMAGE)


def names(store, spec=SMALL):
    return sorted(path.name for path in store.folder(spec).iterdir() if path.name != ".lock")


def damaged(path, damage):
    path.write_bytes(DAMAGE[damage](path.read_bytes()))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The folder of a store in which SMALL is finished, and the manifest that finishing it gave."""
    store = Store(tmp_path_factory.mktemp("trained"))
    return store, ensure(SMALL, store, device="cpu")


@pytest.fixture
def store(trained, tmp_path):
    """A copy to damage."""
    return Store(shutil.copytree(trained[0].root, tmp_path / "store"))


# Files


@pytest.mark.parametrize("call", ["os.replace", "os.fsync", "os.chmod"])
@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
def test_a_write_that_fails_changes_nothing(tmp_path, monkeypatch, call, error):
    def fails(*_, **__):
        raise error

    write(tmp_path / "old", "before")
    monkeypatch.setattr(call, fails)
    for name in ("old", "new"):
        with pytest.raises(type(error)):
            write(tmp_path / name, "after")
    assert [path.name for path in tmp_path.iterdir()] == ["old"]
    assert (tmp_path / "old").read_text() == "before"


def test_what_is_written_is_whole_and_can_be_read_by_others(tmp_path):
    before = os.umask(0o077)
    try:
        digest = write(tmp_path / "new" / "folder" / "file", "é\n")
    finally:
        os.umask(before)
    path = tmp_path / "new" / "folder" / "file"
    assert path.read_bytes() == "é\n".encode()
    assert path.stat().st_mode & 0o777 == 0o644
    assert digest == hashlib.sha256("é\n".encode()).hexdigest() == write(path, "é\n".encode())


def test_runs_go_where_the_environment_says(tmp_path, monkeypatch):
    monkeypatch.setenv("UNSEEN_RUNS", str(tmp_path / "a" / ".." / "b"))
    assert runs_folder() == tmp_path.resolve() / "b"
    assert Store().folder(SMALL) == tmp_path.resolve() / "b" / "store" / SMALL.digest()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("UNSEEN_RUNS", "here")
    assert runs_folder() == tmp_path.resolve() / "here"
    for unset in ("", None):
        monkeypatch.setenv("UNSEEN_RUNS", "") if unset == "" else monkeypatch.delenv("UNSEEN_RUNS")
        assert runs_folder() == project_folder() / "runs"


def test_looking_makes_no_folder(tmp_path):
    store = Store(tmp_path / "nothing")
    assert store.manifest(SMALL) is None
    assert go_on(store.folder(SMALL), SMALL, start(SMALL)) is None
    with pytest.raises(KeyError, match=SMALL.digest()):
        store.model(SMALL)
    assert list(tmp_path.iterdir()) == []


def test_provenance_names_versions_processor_and_commit(monkeypatch, tmp_path):
    found = provenance()
    assert {"python", "unseen", "torch", "numpy"} <= set(found["versions"])
    assert found["versions"]["torch"] == torch.__version__
    assert found["processor"]
    assert found["commit"]
    monkeypatch.setattr(files, "project_folder", lambda: tmp_path)
    assert files._commit() == "unknown"


# Finished runs


def test_a_finished_run_is_read_as_it_was_written(trained):
    store, manifest = trained
    assert store.manifest(SMALL) == manifest
    assert manifest["spec"] == SMALL.to_dict()
    assert manifest["digest"] == SMALL.digest() == store.folder(SMALL).name
    assert names(store) == sorted(FILES)
    state = train(SMALL, start(SMALL), data_of(SMALL))
    assert all(torch.equal(value, store.model(SMALL).state_dict()[n]) for n, value in state.model.state_dict().items())
    assert not store.model(SMALL).training
    history = store.history(SMALL)
    assert list(history) == ["step", "loss", "seen", "unseen", "seconds"]
    assert history["loss"].tolist() == pytest.approx([row["loss"] for row in state.history], rel=1e-12)


@pytest.mark.parametrize("name", FILES)
@every_damage
def test_a_changed_file_is_noticed_and_named(store, name, damage):
    damaged(store.folder(SMALL) / name, damage)
    with pytest.raises(BrokenRun, match=rf"{name}.* is trained again"):
        store.manifest(SMALL)


@pytest.mark.parametrize("name", [name for name in FILES if name != "manifest.json"])
def test_a_missing_file_is_noticed_and_named(store, name):
    (store.folder(SMALL) / name).unlink()
    with pytest.raises(BrokenRun, match=rf"{name} is missing"):
        store.manifest(SMALL)


def test_without_a_manifest_a_run_is_not_finished(store):
    (store.folder(SMALL) / "manifest.json").unlink()
    assert store.manifest(SMALL) is None


def test_no_flipped_bit_of_a_manifest_goes_unnoticed(store):
    path = store.folder(SMALL) / "manifest.json"
    content = path.read_bytes()
    for place in range(0, len(content), 23):
        path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        with pytest.raises(BrokenRun, match=r"manifest\.json"):
            store.manifest(SMALL)


@pytest.mark.parametrize(
    "text", ["[]", "null", "7", "{}", '{"files": {}}', '{"seal": "0", "digest": "0", "files": {}}']
)
def test_what_is_no_manifest_is_no_finished_run(store, text):
    (store.folder(SMALL) / "manifest.json").write_text(text)
    with pytest.raises(BrokenRun, match="is not a manifest"):
        store.manifest(SMALL)


def test_the_folder_of_another_run_is_not_taken_for_this_one(store):
    other = SMALL.with_seed(1)
    shutil.copytree(store.folder(SMALL), store.folder(other))
    with pytest.raises(BrokenRun, match=f"it is of run {SMALL.digest()}"):
        store.manifest(other)


def test_an_interrupted_finish_is_not_finished(trained, tmp_path, monkeypatch):
    """Whichever of the four writes fails, there is no manifest, and the checkpoint is still there."""
    real = write
    for failing in FILES:
        store, state = Store(tmp_path / failing), start(SMALL)
        state.history = [{"step": 1, "loss": 1.0, "seen": 0.0, "unseen": 0.0, "seconds": 0.0}]
        store.checkpoint(SMALL, state)

        def full(path, content, failing=failing):
            if path.name == failing:
                raise OSError(errno.ENOSPC, "No space left on device")
            return real(path, content)

        monkeypatch.setattr(store_module, "write", full)
        with pytest.raises(OSError, match="No space"):
            store.finish(SMALL, state, [])
        monkeypatch.setattr(store_module, "write", real)
        assert store.manifest(SMALL) is None
        assert str(go_on(store.folder(SMALL), SMALL, start(SMALL))) == "goes on from step 0"


# Checkpoints


def checkpoints(store):
    return sorted(path.name for path in store.folder(SMALL).glob("checkpoint-*"))


@pytest.fixture
def stopped(tmp_path):
    """A store with the checkpoints of steps 4 and 8 of SMALL, stopped in step 8."""
    store = Store(tmp_path / "stopped")

    def stop(row):
        if row["step"] == 8:
            raise Stopped

    with pytest.raises(Stopped):
        ensure(SMALL, store, stop, device="cpu")
    return store


def test_only_the_newest_two_checkpoints_are_kept(tmp_path):
    store, state = Store(tmp_path), start(SMALL)
    for state.step in (2, 900, 10, 1_000):
        store.checkpoint(SMALL, state)
    assert checkpoints(store) == ["checkpoint-000000000900.safetensors", "checkpoint-000000001000.safetensors"]


def test_a_resumed_run_ends_with_the_same_bits(trained, stopped):
    assert checkpoints(stopped) == ["checkpoint-000000000004.safetensors", "checkpoint-000000000008.safetensors"]
    steps = []
    manifest = ensure(SMALL, stopped, lambda row: steps.append(row["step"]), device="cpu")
    assert steps == [10, 12]
    assert manifest["files"]["weights.safetensors"] == trained[1]["files"]["weights.safetensors"]
    assert manifest["scores"] == trained[1]["scores"]
    assert stopped.history(SMALL).drop(columns="seconds").equals(trained[0].history(SMALL).drop(columns="seconds"))
    assert checkpoints(stopped) == []


@every_damage
def test_a_broken_checkpoint_is_skipped_and_said(trained, stopped, damage):
    damaged(stopped.folder(SMALL) / "checkpoint-000000000008.safetensors", damage)
    state = start(SMALL)
    said = str(go_on(stopped.folder(SMALL), SMALL, state))
    assert said == "skipped checkpoint-000000000008.safetensors: its hash does not match; goes on from step 4"
    assert (state.step, [row["step"] for row in state.history]) == (4, [2, 4])
    train(SMALL, state, data_of(SMALL))
    expected = trained[0].model(SMALL).state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in state.model.state_dict().items())


@every_damage
def test_when_all_checkpoints_are_broken_nothing_starts_silently(stopped, damage):
    for name in checkpoints(stopped):
        damaged(stopped.folder(SMALL) / name, damage)
    with pytest.raises(BrokenRun, match=r"000000008.*000000004.*puts the run aside"):
        ensure(SMALL, stopped, device="cpu")


def test_a_checkpoint_of_another_run_is_not_gone_on_from(stopped):
    other = SMALL.with_seed(1)
    shutil.copytree(stopped.folder(SMALL), stopped.folder(other))
    with pytest.raises(SpecChanged, match=r"task\.rule_seed: 0 before, 1 now"):
        go_on(stopped.folder(other), other, start(other))
    with pytest.raises(SpecChanged, match=r"model\.seed: 0 before, 1 now.*task\.example_seed"):
        ensure(other, stopped, device="cpu")


def test_what_a_dead_writer_left_is_no_checkpoint(stopped):
    litter = stopped.folder(SMALL) / ".checkpoint-000000000010.safetensors.k3x_91ab.part"
    litter.write_bytes(b"half")
    assert leftovers(stopped.folder(SMALL)) == [litter]  # so are they named
    assert str(go_on(stopped.folder(SMALL), SMALL, start(SMALL))) == "goes on from step 8"


def test_a_checkpoint_that_cannot_be_written_leaves_the_older_ones(stopped, monkeypatch):
    state = start(SMALL)
    state.step = 10
    monkeypatch.setattr("os.fsync", lambda _: (_ for _ in ()).throw(OSError(errno.ENOSPC, "No space left on device")))
    with pytest.raises(OSError, match="No space"):
        stopped.checkpoint(SMALL, state)
    assert str(go_on(stopped.folder(SMALL), SMALL, start(SMALL))) == "goes on from step 8"


def test_a_run_is_held_by_one_at_a_time(tmp_path):
    store, order = Store(tmp_path), []

    def other():
        with holding.hold(store.folder(SMALL)):
            order.append("second")

    waiting = threading.Thread(target=other)
    with holding.hold(store.folder(SMALL)):
        waiting.start()
        with holding.hold(store.folder(SMALL.with_seed(1))):  # another run is free
            waiting.join(0.3)
        order.append("first")
    waiting.join(10)
    assert order == ["first", "second"]


# Exported models


@pytest.mark.parametrize("recipe", RECIPES)
def test_an_exported_model_answers_as_before(tmp_path, recipe):
    spec = SMALL.but(model=SMALL.model.but(recipe=recipe), training=SMALL.training.but(steps=40))
    data = data_of(spec)
    model = train(spec, start(spec), data).model
    export_model(model, spec, tmp_path / "m.safetensors", accuracy={"seen": 0.5})
    half, read_spec = import_model(tmp_path / "m.safetensors")
    prompts = data.evaluation["seen"].prompts
    assert read_spec == spec
    assert {value.dtype for value in half.state_dict().values()} == {torch.float32}
    assert not half.training
    assert (greedy_answers(half, prompts) == greedy_answers(model, prompts)).mean() > 0.9
    assert (tmp_path / "m.safetensors").stat().st_size < 0.7 * len(weights.to_bytes(model.state_dict()))
    described = json.loads((tmp_path / "m.json").read_text())
    assert described["accuracy"] == {"seen": 0.5}
    assert {"versions", "commit"} <= set(described)


@pytest.fixture
def exported(tmp_path):
    path = tmp_path / "m.safetensors"
    export_model(start(SMALL).model, SMALL, path)
    return path


@pytest.mark.parametrize("name", ["m.safetensors", "m.json"])
@pytest.mark.parametrize("damage", [name for name in DAMAGE if "bit" not in name])
def test_an_exported_file_that_was_changed_is_refused(exported, name, damage):
    damaged(exported.with_name(name), damage)
    with pytest.raises(BrokenRun, match=r"m\.safetensors"):
        import_model(exported)


@pytest.mark.parametrize("name", ["m.safetensors", "m.json"])
def test_an_exported_file_that_is_missing_is_named(exported, name):
    exported.with_name(name).unlink()
    with pytest.raises(BrokenRun, match=r"m\.safetensors"):
        import_model(exported)


def test_no_flipped_bit_of_exported_weights_goes_unnoticed(exported):
    content = exported.read_bytes()
    for place in range(0, len(content), len(content) // 50):
        exported.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        with pytest.raises(BrokenRun, match=r"is not the file that m\.json describes"):
            import_model(exported)


def test_weights_that_do_not_fit_their_spec_are_refused(exported):
    described = json.loads(exported.with_suffix(".json").read_text())
    described["spec"]["model"]["width"] = 32
    exported.with_suffix(".json").write_text(json.dumps(described))
    with pytest.raises(BrokenRun, match="does not hold the weights of its spec"):
        import_model(exported)
