"""Whatever lies in a file's place, sealed or not: nothing in it runs, the error is ours, little memory and time goes."""

import io
import json
import os
import pickle
import shutil
import socket

import numpy as np
import pytest
import torch
from bombs import (
    HEADERS,
    LIGHT,
    MANY,
    bad_headers,
    bad_tensors,
    bad_words,
    changed,
    heavy,
    heavy_header,
    rewritten_file,
    rubbish,
)
from deeds import LONG, essence, finished
from foreign import NAMES, World, build, outcomes, resealed

from unseen import cli, widgets
from unseen.cli import main
from unseen.files import BrokenRun, sealed
from unseen.runs import inventory
from unseen.runs.checkpoints import export_model, newest_first, shapes, to_bytes
from unseen.runs.store import Store, ensure
from unseen.signals import Stopped
from unseen.specs import ModelSpec, RunSpec
from unseen.training import start
from unseen.worlds.strings import TaskSpec

TENSORS = ("checkpoint", "weights", "model")
SIZES = dict.fromkeys(NAMES, 15 * 2**20) | dict.fromkeys(("manifest", "spec", "state", "description"), 4 * 2**20 - 99)
FEW = ("model", "notebook")  # whose heaviest are part of ``make test``
every_file, every_tensor_file = pytest.mark.parametrize("name", NAMES), pytest.mark.parametrize("name", TENSORS)


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    root = tmp_path_factory.mktemp("built") / "world"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UNSEEN_RUNS", str(root / "runs"))
        build(root)
    return World(root)


@pytest.fixture
def copied(built, tmp_path, monkeypatch):
    """Copies of the world; UNSEEN_RUNS and the working directory lie in the newest."""

    def copy(name):
        root = shutil.copytree(built.root, tmp_path / name)
        monkeypatch.setenv("UNSEEN_RUNS", str(root / "runs"))
        monkeypatch.chdir(root)
        return World(root)

    return copy


@pytest.fixture
def world(copied):
    return copied("world")


@pytest.fixture
def tried(built, world, tmp_path):
    """How contents end, by their names, that are put into the place of one file of a world that is whole otherwise."""

    def put_and_read(name, content):
        world.restore(built)
        world.put(name, content)
        return world.read(name)

    def end(name, contents):
        return outcomes(
            [(what, lambda each=each: put_and_read(name, each)) for what, each in contents.items()], tmp_path
        )

    return end


@pytest.fixture
def tried_alone(built, world, tmp_path):
    """How one content ends that is put there before memory is measured."""

    def end(name, what, content):
        world.restore(built)
        world.put(name, content)
        return outcomes([(what, lambda: world.read(name))], tmp_path)[what]

    return end


# Code


def test_the_payloads_are_live(tmp_path, promise):
    contents = rubbish(tmp_path / "canary")
    for number, content in enumerate(contents[:6]):
        pickle.loads(content)
        assert (tmp_path / "canary").exists(), number
        (tmp_path / "canary").unlink()
    np.load(io.BytesIO(contents[6]), allow_pickle=True)
    assert (tmp_path / "canary").exists()
    promise("payloads seen to run where they may", 7)


@every_file
def test_no_payload_runs_and_no_rubbish_is_believed(tried, tmp_path, promise, amount, rng, name):
    found = rubbish(tmp_path / "canary")
    contents = {
        str(number): found[number] for number in rng.sample(range(len(found)), amount(12, len(found), len(found)))
    }
    assert "believed" not in tried(name, contents).values()
    assert not (tmp_path / "canary").exists()
    promise("payloads and rubbish", len(contents))


# Bombs and lies


@every_file
def test_texts_that_are_much_work_are_refused_soon(tried, tried_alone, promise, amount, rng, name):
    light = dict(rng.sample(sorted(LIGHT.items()), amount(9, len(LIGHT), len(LIGHT))))
    assert "believed" not in tried(name, light).values()
    for what in rng.sample(sorted(MANY), amount(name in FEW, 5, len(MANY))):
        assert tried_alone(name, what, heavy(what, SIZES[name])) != "believed"
        promise("texts that are much work")
    promise("texts that are much work", len(light))


@every_tensor_file
def test_tensors_that_lie_are_refused(tried, built, promise, name):
    lies = bad_headers(built.content(name)) | bad_tensors(built.content(name))
    assert [what for what, outcome in tried(name, lies).items() if outcome == "believed"] == []
    promise("files of tensors that lie", len(lies))


@every_tensor_file
def test_headers_as_heavy_as_bombs_take_little_memory(tried_alone, promise, amount, rng, name):
    for what in rng.sample(*amount((HEADERS[1:4], name in FEW), (HEADERS, 5), (HEADERS, len(HEADERS)))):
        assert tried_alone(name, what, heavy_header(what, SIZES[name])) != "believed"
        promise("headers as heavy as bombs")


def test_checkpoints_that_say_what_none_says_are_refused(tried, built, promise):
    contents = bad_words(built.content("checkpoint"))
    assert "believed" not in tried("checkpoint", contents).values()
    promise("checkpoints with odd words", len(contents))


@every_file
def test_whatever_is_changed_in_a_file_is_taken_or_refused(tried, built, promise, amount, rng, name):
    content, contents = built.content(name), {}
    for number in range(amount(4, 60, 2_000)):
        rewrite = number % 2 and name not in ("progress", "history", "table")
        contents[str(number)] = rewritten_file(name, content, rng) if rewrite else changed(content, rng)
    ended = tried(name, contents)
    assert len(ended) == len(contents)
    promise("files changed at random", len(contents))
    promise("of these believed", list(ended.values()).count("believed"))


# What is not even a file

KINDS = ("pipe", "folder", "socket", "/dev/zero", "/dev/random", "/nothing/there", "itself", "terabyte", "missing")
COMMANDS = [["status"], ["verify"], ["clean"], ["clean", "--broken"], ["clean", "--broken", "--yes"],
            ["sweep", "table.csv", "--name", "../x"], ["run", "book.ipynb", "-p", "nothing=1"]]  # fmt: skip


def put_in_place(kind, path):
    """Put something that is not a file, a link, or a file of holes where a file was."""
    path.unlink(missing_ok=True)
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        (path / "inner").mkdir(parents=True)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(os.path.relpath(path))  # a socket's name may not be long
    elif kind == "terabyte":
        sparse(path, 2**40)
    elif kind != "missing":
        path.symlink_to(path.name if kind == "itself" else kind)


def sparse(path, size):
    """A file that takes no room on the disk."""
    with path.open("wb") as file:
        file.truncate(size)


@every_file
def test_what_is_no_file_is_not_waited_for(copied, tmp_path, promise, amount, rng, name):
    for kind in rng.sample(KINDS, amount(1, 4, len(KINDS))):
        world = copied(kind.replace("/", " "))
        put_in_place(kind, world.paths[name])
        work = [("read", lambda world=world: world.read(name))]
        work += [(" ".join(each), lambda each=each: main(each)) for each in rng.sample(COMMANDS, amount(1, 7, 7))]
        if name in ("spec", "state", "progress", "checkpoint"):
            work.append(("train", lambda world=world: ensure(LONG, world.stopped, device="cpu")))
        ended = outcomes(work, tmp_path)
        anew = name == "sweep" or (
            kind == "missing" and name in ("manifest", "checkpoint")
        )  # then the one before goes on
        assert anew or ended["read"] != "believed"
        promise("commands where a file is none", len(work))
        shutil.rmtree(world.root)


# What is far too large

WIDE = RunSpec(model=ModelSpec(layers=1_000, width=100_000, mlp_ratio=100))
FAR = RunSpec(
    task=TaskSpec(pattern_length=50_000, replacement_length=100_000, input_length=100_000), model=ModelSpec(width=8)
)
every_giant = pytest.mark.parametrize("spec", [WIDE, FAR], ids=["wide", "far"])


@every_giant
def test_stored_runs_may_be_of_any_size(tmp_path, promise, monkeypatch, amount, spec):
    """Folders of runs that nobody could train, with files as large as those of such runs."""
    monkeypatch.setenv("UNSEEN_RUNS", str(tmp_path))
    store, names = Store(), ("spec.json", "weights.safetensors", "history.csv")
    for each in (spec, spec.with_seed(1)):
        store.folder(each).mkdir(parents=True)
        (store.folder(each) / "spec.json").write_text(json.dumps(each.to_dict()))
        for name in names[1:]:
            sparse(store.folder(each) / name, 2**40)
    for number, size in enumerate([2**40, *[2**31] * amount(0, 0, 1)]):
        sparse(store.folder(spec.with_seed(1)) / f"checkpoint-{number:012d}.safetensors", size)
    said = {"digest": spec.digest(), "spec": spec.to_dict(), "scores": [], "train_seconds": 1.0,
            "files": dict.fromkeys(names, "0" * 64),
            "bytes": {name: (store.folder(spec) / name).stat().st_size for name in names}}  # fmt: skip
    (store.folder(spec) / "manifest.json").write_bytes(resealed(json.dumps(said).encode()))
    reads = [(each.__name__, lambda each=each: each(spec)) for each in (store.manifest, store.model, store.history)]
    ended = outcomes([*reads, *((" ".join(each), lambda each=each: main(each)) for each in COMMANDS[:5])], tmp_path)
    assert [ended[name] for name, _ in reads] == ["refused"] * 3
    promise("stores with runs too large to train", 2)


@every_giant
@pytest.mark.parametrize("size", [2**40, 2**31, 0])
def test_an_exported_model_may_be_of_any_size(world, tmp_path, promise, spec, size):
    if spec == FAR:  # all weights as they must be, and a mask of 640 GB
        world.put("model", to_bytes({name: torch.zeros(shape) for name, shape in shapes(spec).items()}))
    described = json.loads(world.paths["description"].read_text())
    world.paths["description"].write_text(json.dumps({**described, "spec": spec.to_dict()}))
    if size:
        sparse(world.paths["model"], size)
    assert outcomes([("model", lambda: world.read("model"))], tmp_path) == {"model": "refused"}
    promise("exported models too large to load")


def test_files_named_like_later_checkpoints_do_not_cost_any(world, tmp_path, promise):
    """Two of them beside a run had each new checkpoint dropped for them."""
    folder, said = world.stopped.folder(LONG), []
    for number in (10**12 - 1, 10**12 - 2):
        (folder / f"checkpoint-{number}.safetensors").write_bytes(sealed(b"x"))
    for odd in ("²", "x", "9" * 60, "-1", ""):
        (folder / f"checkpoint-{odd}.safetensors").write_bytes(b"x")
    (folder / "checkpoint-000000000001.safetensors").mkdir()

    def stop(row):
        if row["step"] == 45:
            raise Stopped

    with pytest.raises(Stopped):
        ensure(LONG, world.stopped, stop, device="cpu", say=said.append)
    assert [int(path.stem[-12:]) for path in newest_first(folder)][2:4] == [45, 44]
    assert inventory.entry(world.stopped, folder).state == "interrupted"
    manifest = ensure(LONG, world.stopped, device="cpu", say=said.append)
    assert essence(manifest, world.stopped, LONG) == finished(LONG, tmp_path / "undisturbed")
    assert ["goes on from step 30" in said[0], "goes on from step 45" in said[1]] == [True, True]
    promise("runs beside files named like checkpoints")


def test_no_device_is_copied_for_a_result(world, tmp_path, promise, monkeypatch):
    """``unseen keep`` copies by name whatever lies among the results: a link to zeros would have filled the disk."""
    monkeypatch.setattr(cli, "project_folder", lambda: tmp_path)
    results = world.root / "runs" / "smoke"
    results.mkdir()
    (results / "10_good.csv").write_text("a\n")
    for number, kind in enumerate(KINDS):
        put_in_place(kind, results / f"11_{number}.csv")
    keep = [("keep", lambda: main(["keep", "--scale", "smoke"]))]
    assert outcomes(keep, tmp_path) == {"keep": "believed"}  # that is exit code 2, for the terabyte
    (results / f"11_{KINDS.index('terabyte')}.csv").unlink()
    assert outcomes(keep, tmp_path) == {"keep": "ignored"}  # exit code 0
    assert [path.name for path in (tmp_path / "data" / "results" / "smoke").iterdir()] == ["10_good.csv"]
    promise("devices among the results", len(KINDS))


def test_two_models_for_one_field_read_the_same(tmp_path, promise, monkeypatch):
    monkeypatch.setattr(widgets, "project_folder", lambda: tmp_path)
    for name, alphabet in (("low", "abcdef"), ("high", "abcdeg")):
        spec = LONG.but(task=LONG.task.but(alphabet=alphabet))
        export_model(start(spec).model, spec, tmp_path / "data" / "checkpoints" / f"{name}.safetensors")
    with pytest.raises(BrokenRun, match="different alphabets"):
        widgets.load_demo()
    promise("models of another vocabulary")
