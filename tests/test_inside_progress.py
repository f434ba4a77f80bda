"""A run that is followed is measured at every row, kept, and never trained again."""

import numpy as np
import pandas as pd
import pytest

from trainers import SMALL
from unseen.disk.files import BrokenRun
from unseen.inside import progress
from unseen.running.workers import Serial
from unseen.scales import SCALES


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch, tmp_path):
    monkeypatch.setenv("UNSEEN_RUNS", str(tmp_path))


def test_every_row_has_every_signal_and_the_first_is_before_the_first_step():
    steps = []
    table = progress.follow(SMALL, lambda step, note="": steps.append(step))
    assert steps == [0, 2, 4, 6, 8, 10, 12]
    assert set(table["signal"]) == set(progress.SIGNALS)
    assert table.groupby("signal")["step"].apply(list).map(lambda found: found == steps).all()
    assert table["value"].notna().all()
    assert np.isclose(table.query("signal == 'loss, unseen' and step == 0")["value"], np.log(10)).all()


def test_following_changes_nothing_in_a_run():
    from unseen.training import data_of, start, train

    state = train(SMALL, start(SMALL), data_of(SMALL))
    seen = progress.follow(SMALL).query("signal == 'exact match, seen' and step > 0")["value"]
    assert seen.tolist() == [row["seen"] for row in state.history]


def test_what_was_followed_is_read_and_not_trained_again(capsys, monkeypatch):
    first = progress.followed([SMALL], Serial())
    assert "what was found of 0 before is read, 1 left" in capsys.readouterr().out
    monkeypatch.setattr(progress, "follow", None)
    pd.testing.assert_frame_equal(progress.followed([SMALL], Serial()), first)
    assert "what was found of 1 before is read, 0 left" in capsys.readouterr().out


def test_a_run_that_two_settings_share_is_followed_once(capsys):
    table = progress.followed([SMALL, SMALL], Serial())
    assert "what was found of 0 before is read, 1 left" in capsys.readouterr().out
    assert len(table) == 2 * len(progress.followed([SMALL], Serial()))


@pytest.mark.parametrize("content", [b"", b"instructions,seed\n", b"x" * 100])
def test_measures_that_rotted_are_named(content):
    progress.followed([SMALL], Serial())
    progress.path_of(SMALL).write_bytes(content)
    with pytest.raises(BrokenRun, match="delete it"):
        progress.followed([SMALL], Serial())


def test_a_run_that_fails_is_told(monkeypatch):
    def fails(spec, tell):
        raise ValueError("no such luck")

    monkeypatch.setattr(progress, "follow", fails)
    with pytest.raises(BrokenRun, match="no such luck"):
        progress.followed([SMALL], Serial())


@pytest.mark.parametrize("name", SCALES)
def test_runs_of_a_scale_look_at_both_sides_of_the_step(name):
    runs = [run for setting in progress.runs(name) for run in setting.runs()]
    assert len({run.digest() for run in runs}) == len(runs)
    assert len({run.task.instructions for run in runs}) > 1


def history(**signals):
    parts = [
        pd.DataFrame({"instructions": 8, "seed": 0, "step": range(0, 60, 10), "signal": name, "value": value})
        for name, value in signals.items()
    ]
    return pd.concat(parts)


def test_a_signal_that_falls_rises_too_and_one_that_stays_does_not():
    flat, down, up = [0.01] * 6, [3, 1, 1, 1, 1, 1], [0, 0, 0, 1, 1, 1]
    table = history(**{progress.EXACT: up, "loss, unseen": down, "recites": flat})
    steps = progress.rises(table).set_index("signal")
    assert steps.loc["loss, unseen", ["step", "lead"]].tolist() == [5, 20]
    assert np.isnan(steps.loc["recites", "step"])
    assert progress.leads(table)["signal"].tolist() == ["loss, unseen"]
    way = progress.scaled(table).set_index(["signal", "step"])["way"]
    assert way["loss, unseen"].tolist() == [0, 1, 1, 1, 1, 1]
    assert way["recites"].isna().all()


def test_where_exact_match_never_rises_nothing_leads():
    table = history(**{progress.EXACT: [0.0] * 6, "copies z": [0, 1, 1, 1, 1, 1]})
    assert progress.leads(table).empty


def test_letters_to_the_power_of_their_number():
    table = history(**{progress.EXACT: [0, 0, 0.1, 0.2, 0.3, 0.5], progress.LETTER: [0, 0.5, 0.5, 0.5, 0.5, 0.8]})
    found = progress.by_letters(table, 3)
    assert found["all letters"].round(3).tolist() == [0, 0.125, 0.125, 0.125, 0.125, 0.512]
    assert found["exact match"].tolist() == [0, 0, 0.1, 0.2, 0.3, 0.5]
