"""A spec changed on resume is refused field by field; a library changed since is a warning, and recorded."""

import json

import pytest
from deeds import LONG, essence

from trainers import stopped
from unseen.cli import main
from unseen.files import provenance
from unseen.runs.store import SpecChanged, Store, ensure, newest_first


@pytest.fixture
def begun(tmp_path):
    return stopped(LONG, Store(tmp_path / "begun"), 30)


def test_a_changed_field_is_shown(begun, promise):
    """Whoever edits spec.json of a run does not get another run under the old one's name."""
    path = begun.folder(LONG) / "spec.json"
    content = path.read_text()
    before = {each.name: each.read_bytes() for each in newest_first(begun.folder(LONG))}
    for part, name in (("task", "alphabet"), ("model", "width"), ("training", "pull")):
        written = json.loads(content)
        was = written[part][name]
        written[part][name] = f"{was}?" if isinstance(was, str) else was + 1
        path.write_text(json.dumps(written))
        with pytest.raises(SpecChanged, match=rf"{part}\.{name}: .* before, {was!r} now"):
            ensure(LONG, begun, device="cpu", say=lambda _: None)
        assert {each.name: each.read_bytes() for each in newest_first(begun.folder(LONG))} == before
        promise("changed fields")


def test_a_checkpoint_of_another_spec_is_refused(begun, promise):
    other = LONG.but(training=LONG.training.but(learning_rate=0.5))
    folder = begun.folder(other)
    folder.mkdir()
    for path in newest_first(begun.folder(LONG)):
        (folder / path.name).write_bytes(path.read_bytes())
    with pytest.raises(SpecChanged, match=r"training\.learning_rate: 0\.015 before, 0\.5 now"):
        ensure(other, begun, device="cpu", say=lambda _: None)
    promise("checkpoints of other specs")


def test_a_named_sweep_does_not_change_under_its_name(tmp_path, promise, monkeypatch, capsys):
    monkeypatch.setenv("UNSEEN_RUNS", str(tmp_path / "runs"))
    table = tmp_path / "mine.csv"
    table.write_text("steps,seed\n4,0\n8,0\n")
    assert main(["sweep", str(table), "--scale", "smoke", "--scheduler", "serial"]) == 0
    results = (tmp_path / "runs" / "sweeps" / "mine" / "results.csv").read_bytes()
    table.write_text("steps,seed\n4,0\n9,0\n")
    assert main(["sweep", str(table), "--scale", "smoke", "--scheduler", "serial"]) == 2
    assert "row 3: training.steps: 8 before, 9 now" in capsys.readouterr().err
    assert (tmp_path / "runs" / "sweeps" / "mine" / "results.csv").read_bytes() == results
    table.write_text("steps,seed\n4,0\n8,0\n9,0\n")  # rows may be added
    assert main(["sweep", str(table), "--scale", "smoke", "--scheduler", "serial"]) == 0
    assert "3 runs: 2 in the store, 1 to train" in capsys.readouterr().out
    table.write_text("steps,seed\n4,0\n8,0\n")
    assert main(["sweep", str(table), "--scale", "smoke", "--scheduler", "serial"]) == 2
    assert "row 4: gone" in capsys.readouterr().err
    promise("changed tables", 2)


def test_other_versions_are_a_warning_and_recorded(begun, promise, monkeypatch, undisturbed):
    then = provenance()
    newer = {**then, "versions": {**then["versions"], "torch": "9.9"}}
    monkeypatch.setattr("unseen.runs.store.provenance", lambda: newer)
    said = []
    manifest = ensure(LONG, begun, device="cpu", say=said.append)
    assert f"warning: other versions (torch {then['versions']['torch']} then, 9.9 now)" in said[0]
    assert manifest["resumed"][0]["versions"] == then["versions"]
    assert essence(manifest, begun, LONG) == undisturbed
    promise("changed versions")
