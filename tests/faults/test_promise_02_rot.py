"""Truncated, emptied, bit-flipped or lengthened files are noticed; a run resumes from the one before."""

import shutil

import pytest
from deeds import LONG, essence, finished

from trainers import stopped
from unseen import once
from unseen.cli import main
from unseen.files import BrokenRun
from unseen.runs import inventory
from unseen.runs.store import Store, ensure, newest_first
from unseen.runs.sweep import frame
from unseen.runs.workers import Serial


@pytest.fixture(scope="module")
def roots(tmp_path_factory):
    """A store with the run finished, one with it stopped at step 30, and what it must come to."""
    done, begun = (tmp_path_factory.mktemp(name) for name in ("done", "begun"))
    expected = finished(LONG, done)
    stopped(LONG, Store(begun), 30)
    return done, begun, expected


def rot(content, rng):
    """Something that happens to files, and its name."""
    place = rng.randrange(len(content))
    flipped = content[:place] + bytes([content[place] ^ 1 << rng.randrange(8)]) + content[place + 1 :]
    junk = rng.randbytes(rng.randrange(1, 100))
    return rng.choice([("truncated", content[:place]), ("emptied", b""), ("bit flipped", flipped),
                       ("junk appended", content + junk), ("zeroed", bytes(len(content))),
                       ("overwritten", (junk + content)[: len(content)])])  # fmt: skip


def test_a_rotten_checkpoint_is_named_and_the_one_before_goes_on(roots, tmp_path, promise, amount, rng):
    for number in range(amount(4, 40, 400)):
        store = Store(shutil.copytree(roots[1], tmp_path / str(number)))
        newest, before = newest_first(store.folder(LONG))
        what, content = rot(newest.read_bytes(), rng)
        if content == newest.read_bytes():
            continue
        newest.write_bytes(content)
        said = []
        manifest = ensure(LONG, store, device="cpu", say=said.append)
        assert f"skipped {newest.name}" in said[0]
        assert f"resumes from step {int(before.stem[-12:])}" in said[0]
        assert essence(manifest, store, LONG) == roots[2]
        assert manifest["resumed"][0]["skipped"]  # and it stays written down
        promise(f"checkpoints {what}")
        shutil.rmtree(store.root)


def test_when_all_checkpoints_are_rotten_nothing_starts_afresh(roots, tmp_path, promise, amount, rng):
    for number in range(amount(3, 30, 300)):
        store = Store(shutil.copytree(roots[1], tmp_path / str(number)))
        for path in newest_first(store.folder(LONG)):
            content, rotten = path.read_bytes(), rot(path.read_bytes(), rng)[1]
            path.write_bytes(rotten if rotten != content else content[:-1])
        with pytest.raises(BrokenRun, match=r"no whole checkpoint.*skipped.*skipped.*clean --broken"):
            ensure(LONG, store, device="cpu", say=lambda _: None)
        assert len(inventory.verify(store)[1]) == 2
        assert inventory.broken(store) == [store.folder(LONG)]
        promise("runs with all checkpoints rotten")
        shutil.rmtree(store.root)


def test_a_rotten_result_is_named_and_not_trained_again(roots, tmp_path, promise, amount, rng):
    for number in range(amount(8, 200, 2_000)):
        store = Store(shutil.copytree(roots[0], tmp_path / str(number)))
        path = rng.choice([each for each in store.folder(LONG).iterdir() if each.name != ".lock"])
        what, content = rot(path.read_bytes(), rng)
        if content == path.read_bytes():
            continue
        path.write_bytes(content)
        with pytest.raises(BrokenRun, match=path.name):
            store.manifest(LONG)
        assert any(path.name in sentence for sentence in inventory.verify(store)[1])
        assert path.read_bytes() == content  # nobody wrote over it
        promise(f"results {what}")
        shutil.rmtree(store.root)


def test_what_is_read_is_checked_when_it_is_read(roots, tmp_path, promise):
    """A sweep reads manifests; weights and history are checked by whoever reads those."""
    for name, reads in (("weights.safetensors", "model"), ("history.csv", "history")):
        store = Store(shutil.copytree(roots[0], tmp_path / name))
        path = store.folder(LONG) / name
        path.write_bytes(bytes([path.read_bytes()[0] ^ 1]) + path.read_bytes()[1:])
        with pytest.raises(BrokenRun, match=name):
            getattr(store, reads)(LONG)
        path.write_bytes(path.read_bytes()[:-1])
        with pytest.raises(BrokenRun, match=name):
            frame([LONG], store, Serial())
        promise("rotten files read")


def test_a_broken_run_is_put_aside_and_trained_again(roots, tmp_path, promise, monkeypatch, capsys):
    monkeypatch.setenv("UNSEEN_RUNS", str(tmp_path))
    store = Store(shutil.copytree(roots[0], tmp_path / "store"))
    for number in (1, 2):
        (store.folder(LONG) / "manifest.json").write_bytes(b"{}")
        assert main(["verify"]) == 1
        assert "manifest.json is not the expected manifest" in capsys.readouterr().out
        with once.hold(store.folder(LONG)):
            assert inventory.broken(store) == []  # somebody is at work on it
        assert main(["clean", "--broken"]) == 0
        assert store.folder(LONG).is_dir()  # it was only a report
        assert main(["clean", "--broken", "--yes"]) == 0
        assert (tmp_path / "broken" / f"{LONG.digest()}-{number}" / "manifest.json").read_bytes() == b"{}"
        manifest = ensure(LONG, store, device="cpu")
    assert essence(manifest, store, LONG) == roots[2]
    promise("broken runs put aside", 2)
