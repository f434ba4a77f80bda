"""What a sweep shows of its progress."""

import pytest

from trainers import SMALL
from unseen.runs import progress
from unseen.runs.progress import Board, headless
from unseen.runs.workers import Event
from unseen.signals import Interrupted

SPECS = [SMALL.with_seed(seed) for seed in range(4)]
A, B, C, D = (spec.digest() for spec in SPECS)


class Clock:
    now = 100.0


@pytest.fixture
def clock(monkeypatch):
    monkeypatch.setattr(progress.time, "monotonic", lambda: Clock.now)
    return Clock


@pytest.fixture
def alone(monkeypatch):
    monkeypatch.setenv("UNSEEN_HEADLESS", "1")


def line(board, *events):
    """The line after some events."""
    for event in events:
        board.report(Event(*event))
    return board.line()


def test_the_line_counts_every_run_once(clock):
    board = Board(SPECS)
    assert line(board) == "0 of 4 runs done, 4 left"
    assert line(board, ("started", A)) == "0 of 4 runs done, 1 running (modern I=3 seed 0: 0/12), 3 left"
    shown = line(board, ("started", B), ("failed", A, 0, "no"))
    assert shown == "0 of 4 runs done, 1 failed, 1 running (modern I=3 seed 1: 0/12), 2 left"
    assert line(board, ("lost", B, 0, "died")) == "0 of 4 runs done, 1 failed, 3 left"
    for digest in (B, C, D):
        line(board, ("started", digest), ("done", digest))
    assert board.line() == "3 of 4 runs done, 1 failed"
    assert board.failed == {A: "no"}


def test_headless_there_is_a_line_now_and_then(clock, alone, capsys):
    with Board(SPECS) as board:
        for step in range(2, 13, 2):
            clock.now += 4
            board.report(Event("step", A, step))
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4  # at once, after 12 and 24 seconds, at the end
    assert lines[0] == "0 of 4 runs done, 4 left"
    assert [line.split("seed 0: ")[1].split(")")[0] for line in lines[1:]] == ["6/12", "12/12", "12/12"]
    assert lines[1].endswith(", about 1 min to go")  # an eighth is done after 12 seconds


def test_reasons_are_printed_at_once_and_waiting_only_once(clock, alone, capsys):
    with Board(SPECS) as board:
        board.report(Event("failed", A, reason="ValueError: no luck"))
        for _ in range(2):
            board.report(Event("held", B, reason="it is held"))
        lines = capsys.readouterr().out.splitlines()[1:]
        assert lines == [f"run {A} failed: ValueError: no luck", "it is held; tried again later"]


def test_a_user_sees_a_bar(monkeypatch, capsys):
    monkeypatch.delenv("UNSEEN_HEADLESS", raising=False)
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_BARS", 0)
    assert not headless()
    with Board(SPECS) as board:
        for event in (Event("step", A, 6), Event("done", B), Event("failed", C, reason="no")):
            board.report(event)
        assert board.bar.n == pytest.approx(2.5)
        assert board.bar.total == 4
    seen = capsys.readouterr()
    assert "1 of 4 runs done, 1 failed" in seen.err
    assert seen.out == f"run {C} failed: no\n"


def interrupted(board, *events):
    with board:
        line(board, *events)
        raise KeyboardInterrupt


def test_an_interrupted_bar_says_what_is_kept_and_shows_no_traceback(monkeypatch):
    monkeypatch.delenv("UNSEEN_HEADLESS", raising=False)
    with pytest.raises(Interrupted, match="1 of 4 runs done, 1 running, 2 left; ") as caught:
        interrupted(Board(SPECS), ("done", A), ("step", B, 6))
    assert caught.value._render_traceback_() == [f"Interrupted: {caught.value}"]
