"""A loss or weight that is not finite stops the run as diverged; the last finite state stays."""

import json

import pytest
import torch
from deeds import LONG, files

from unseen import objectives, training
from unseen.runs import inventory
from unseen.runs.store import Store, ensure, newest_first, resume
from unseen.training import Diverged, start


def diverging(monkeypatch, step, value):
    """Make the loss of one step, counted in this process, what it must not be."""
    real, count = objectives.loss_of, [0]

    def loss_of(model, tokens):
        count[0] += 1
        loss = real(model, tokens)
        return loss * value if count[0] == step else loss

    monkeypatch.setattr(objectives, "loss_of", loss_of)


@pytest.mark.parametrize(("step", "value"), [(1, "nan"), (2, "-inf"), (30, "nan"), (31, "-inf"), (60, "nan")])
def test_the_last_finite_state_is_kept(tmp_path, promise, monkeypatch, value, step):
    store = Store(tmp_path)
    diverging(monkeypatch, step, float(value))
    with pytest.raises(Diverged, match=r"is (nan|-?inf) by step|not finite"):
        ensure(LONG, store, device="cpu")
    assert store.manifest(LONG) is None
    entry = inventory.entry(store, store.folder(LONG))
    assert entry.state == "diverged"
    assert "60" in entry.reason
    state = start(LONG)
    if found := resume(store.folder(LONG), LONG, state):
        assert found[-1]["step"] < step
        assert all(p.isfinite().all() for p in state.model.parameters())
        assert all(torch.isfinite(torch.tensor(row["loss"])) for row in state.history)
    assert bool(found) == (step > 2)  # behind the first checkpoint
    assert store.history(LONG)["loss"].notna().all() if len(store.history(LONG)) else True
    json.loads((store.folder(LONG) / "state.json").read_text(), parse_constant=pytest.fail)
    promise("losses that were not finite")


def test_a_weight_that_is_not_finite_is_not_saved(tmp_path, promise, monkeypatch):
    store, real = Store(tmp_path), training.schedule
    rates = {29: float("inf")}
    monkeypatch.setattr(training, "schedule", lambda spec, step: rates.get(step) or real(spec, step))
    with pytest.raises(Diverged):
        ensure(LONG, store, device="cpu")
    assert int(newest_first(store.folder(LONG))[0].stem[-12:]) == 28
    promise("weights that were not finite")


def test_what_diverged_is_not_silently_tried_again(tmp_path, promise, monkeypatch):
    store = Store(tmp_path)
    diverging(monkeypatch, 30, float("nan"))
    with pytest.raises(Diverged):
        ensure(LONG, store, device="cpu")
    before = files(store, LONG)
    monkeypatch.setattr(objectives, "loss_of", lambda *_: pytest.fail("it was trained"))
    with pytest.raises(Diverged, match=r"known since the last try; delete .* to try again"):
        ensure(LONG, store, device="cpu")
    assert files(store, LONG) == before
    assert inventory.entry(store, store.folder(LONG)).state == "diverged"
    monkeypatch.undo()
    path = store.folder(LONG) / "state.json"
    said = json.loads(path.read_text())
    path.write_text(json.dumps({**said, "versions": {**said["versions"], "torch": "1.0"}}))
    assert ensure(LONG, store, device="cpu")["scores"]
    promise("second tries, the last with other versions", 2)
