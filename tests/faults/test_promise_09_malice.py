"""Whatever lies in a file's place: nothing in it runs, huge claims are refused unread, the error is ours."""

import io
import json
import os
import pickle
import shutil
import struct
from hashlib import sha256

import pytest
import torch
from deeds import LONG, essence, finished

from trainers import stopped
from unseen import cli, once
from unseen.cli import main
from unseen.errors import Explained
from unseen.files import BrokenRun, seal, sealed
from unseen.runs import inventory
from unseen.runs.store import Store, ensure, fault, from_bytes, newest_first, resume, spec_of, to_bytes
from unseen.training import start

STOPPED = {"checkpoint": "checkpoint-000000000030.safetensors", "spec": "spec.json", "state": "state.json",
           "progress": "progress.csv"}  # fmt: skip
DONE = {"weights": "weights.safetensors", "history": "history.csv", "manifest": "manifest.json"}
FILES = STOPPED | DONE
TENSORS = ("checkpoint", "weights")
every_file = pytest.mark.parametrize("name", FILES)
every_tensor_file = pytest.mark.parametrize("name", TENSORS)


class World:
    """A store with a finished run, and one with a stopped run."""

    def __init__(self, root):
        self.root, self.done, self.stopped = root, Store(root / "done"), Store(root / "stopped")
        runs = ((STOPPED, self.stopped.folder(LONG)), (DONE, self.done.folder(LONG)))
        self.paths = {name: folder / file for files, folder in runs for name, file in files.items()}

    def content(self, name):
        """A file's content, without its seal."""
        return self.paths[name].read_bytes()[: -32 if name == "checkpoint" else None]

    def put(self, name, content):
        """Put a content into a file's place, with every hash as it must be."""
        self.paths[name].write_bytes(sealed(content) if name == "checkpoint" else content)
        if name in ("weights", "history"):
            manifest = json.loads(self.paths["manifest"].read_text())
            manifest["files"][FILES[name]] = sha256(content).hexdigest()
            manifest["bytes"][FILES[name]] = len(content)
            self.paths["manifest"].write_text(resealed(manifest))

    def believed(self, name):
        """Whether what a file holds is believed, read in all ways that there are."""
        try:
            return bool(self._read(name))
        except Explained:
            return False

    def _read(self, name):
        folder = self.stopped.folder(LONG)
        store = self.done if name in DONE else self.stopped
        assert len(inventory.status(store)) == 1
        inventory.verify(store)
        if name == "checkpoint":
            skipped = resume(folder, LONG, start(LONG))[-1]["skipped"]
            assert bool(skipped) == bool(fault(self.paths[name], LONG))
            return not skipped
        reads = {
            "spec": lambda: spec_of(folder),
            "state": lambda: once.state(folder),
            "progress": lambda: len(self.stopped.history(LONG)),
            "weights": lambda: self.done.model(LONG),
            "history": lambda: len(self.done.history(LONG)),
            "manifest": lambda: self.done.manifest(LONG),
        }
        return reads[name]()


def resealed(manifest):
    manifest.pop("seal", None)
    return json.dumps({**manifest, "seal": seal(manifest)})


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    world = World(tmp_path_factory.mktemp("built"))
    finished(LONG, world.done.root)
    stopped(LONG, world.stopped, 30)
    return world


@pytest.fixture
def world(built, tmp_path):
    return World(shutil.copytree(built.root, tmp_path / "world"))


class Payload:
    def __init__(self, canary):
        self.canary = canary

    def __reduce__(self):
        return os.mkdir, (str(self.canary),)


@every_file
def test_no_payload_runs(world, tmp_path, promise, name):
    canary, box = tmp_path / "canary", io.BytesIO()
    torch.save({"x": Payload(canary)}, box)
    payloads = [pickle.dumps(Payload(canary), protocol) for protocol in (0, 2, 5)]
    pickle.loads(payloads[0])
    canary.rmdir()  # so they are live
    text = f"__import__('os').mkdir({str(canary)!r})".encode()
    rubbish = [b"", b"\0" * 99, b"\xff\xfe{}", b"[" * 10**5, b"1e999", b"NaN", b"[]", b"null", b"{}"]
    for content in [*payloads, box.getvalue(), text, *rubbish]:
        world.put(name, content)
        assert not world.believed(name)
        assert not canary.exists()
        promise("payloads and rubbish")


def together(header, data):
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


@every_tensor_file
def test_tensors_that_are_not_those_of_the_spec_are_refused(world, promise, name):
    whole, about = from_bytes(world.content(name))
    first, *others = sorted(whole)
    value = whole[first]
    odd = {
        "not finite": whole | {first: torch.full_like(value, float("nan"))},
        "infinite": whole | {first: torch.full_like(value, float("inf"))},
        "integers": whole | {first: value.to(torch.int32)},
        "flat": whole | {first: torch.cat([value.flatten(), value.flatten()])},
        "missing": {other: whole[other] for other in others},
        "renamed": {"x" if other == first else other: whole[other] for other in whole},
        "one more": whole | {"model.x" if name == "checkpoint" else "x": torch.ones(1)},
    }
    if name == "checkpoint":
        memory = next(each for each in sorted(whole) if each.startswith("optimizer."))
        odd["half a memory"] = {each: whole[each] for each in whole if each != memory}
    for what, tensors in odd.items():
        world.put(name, to_bytes(tensors, about))
        assert not world.believed(name), what
        promise("files of tensors that lie")


@every_tensor_file
def test_headers_that_lie_are_refused(world, promise, name):
    content = world.content(name)
    end = 8 + struct.unpack("<Q", content[:8])[0]
    header, data = json.loads(content[8:end]), content[end:]
    first = next(each for each in header if each != "__metadata__")
    lies = [
        together(header | {first: header[first] | {"shape": [2**62]}}, data),
        together(header | {first: header[first] | {"data_offsets": [0, 2**40]}}, data),
        together(header | {"more": header[first]}, data),
        together(header, data + b"\0" * 4),
        together(header, data[:-4]),
        *(struct.pack("<Q", size) + b"{}" for size in (0, 200 * 2**20, 2**63)),
    ]
    for lie in lies:
        world.put(name, lie)
        assert not world.believed(name)
        promise("files of tensors that lie")


def test_checkpoints_with_impossible_words_are_refused(world, promise):
    tensors, about = from_bytes(world.content("checkpoint"))
    head = json.loads(about["state"])
    words = {"step": (-1, 61, "3", None), "spec": (None, {"task": 3})}
    for odd in [{name: value} for name, values in words.items() for value in values]:
        world.put("checkpoint", to_bytes(tensors, {"state": json.dumps(head | odd)}))
        try:
            assert not world.believed("checkpoint")
        except BrokenRun:
            assert "spec" in odd
        promise("checkpoints with impossible words")


@pytest.mark.parametrize("name", ["../../spec.json", "/etc/passwd", "a/../../x"])
def test_a_manifest_names_no_file_outside_its_folder(world, promise, name):
    manifest = json.loads(world.paths["manifest"].read_text())
    manifest["files"][name], manifest["bytes"][name] = "0" * 64, 0
    world.paths["manifest"].write_text(resealed(manifest))
    with pytest.raises(BrokenRun, match="is not the expected manifest"):
        world.done.manifest(LONG)
    promise("manifests that lead out")


KINDS = ("pipe", "folder", "/dev/zero", "/nothing/there", "itself", "terabyte", "missing")


def put_in_place(kind, path):
    """Put something that is not a file, a link, or a sparse file where a file was."""
    path.unlink(missing_ok=True)
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        (path / "inner").mkdir(parents=True)
    elif kind == "terabyte":
        sparse(path, 2**40)
    elif kind != "missing":
        path.symlink_to(path.name if kind == "itself" else kind)


def sparse(path, size):
    with path.open("wb") as file:
        file.truncate(size)


@every_file
def test_what_is_no_file_or_far_too_large_is_not_read(built, tmp_path, promise, name):
    for kind in KINDS:
        world = World(shutil.copytree(built.root, tmp_path / kind.strip("/").replace("/", " ")))
        put_in_place(kind, world.paths[name])
        absent = kind == "missing" and name in ("manifest", "checkpoint")  # not finished; the one before
        assert absent or not world.believed(name), kind
        promise("places without a file")
    if name in ("state", "progress"):  # which the run itself does not read
        assert ensure(LONG, world.stopped, device="cpu", say=lambda _: None)


def test_files_named_like_later_checkpoints_do_not_cost_any(world, undisturbed, promise):
    """Two of them beside a run had each new checkpoint dropped for them."""
    folder, said = world.stopped.folder(LONG), []
    for number in (10**12 - 1, 10**12 - 2):
        (folder / f"checkpoint-{number}.safetensors").write_bytes(sealed(b"x"))
    (folder / "checkpoint-x.safetensors").write_bytes(b"x")
    (folder / "checkpoint-000000000001.safetensors").mkdir()
    stopped(LONG, world.stopped, 45, say=said.append)
    assert [int(path.stem[-12:]) for path in newest_first(folder)][2:4] == [45, 44]
    manifest = ensure(LONG, world.stopped, device="cpu", say=said.append)
    assert essence(manifest, world.stopped, LONG) == undisturbed
    assert ["resumes from step 30" in said[0], "resumes from step 45" in said[1]] == [True, True]
    promise("runs beside files named like checkpoints")


def test_no_device_is_copied_for_a_result(tmp_path, promise, monkeypatch):
    """``unseen keep`` copies by name whatever is among the results: a link to zeros would have filled the
    disk.
    """
    monkeypatch.setenv("UNSEEN_RUNS", str(tmp_path / "runs"))
    monkeypatch.setattr(cli, "project_folder", lambda: tmp_path)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "README.md").touch()
    (tmp_path / "README.md").touch()
    results = tmp_path / "runs" / "full"
    results.mkdir(parents=True)
    (results / "10_good.csv").write_text("a\n")
    (results / "10_good.json").write_text('{"scale": "full"}')
    for number, kind in enumerate(KINDS):
        put_in_place(kind, results / f"11_{number}.csv")
    assert main(["keep", "--scale", "full"]) == 2  # for the terabyte
    (results / f"11_{KINDS.index('terabyte')}.csv").unlink()
    assert main(["keep", "--scale", "full"]) == 0
    kept = [path.name for path in (tmp_path / "data" / "results" / "full").iterdir()]
    assert sorted(kept) == ["10_good.csv", "10_good.json"]
    promise("devices among the results", len(KINDS))
