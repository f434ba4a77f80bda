"""Promises kept by doing the deed: real processes, signals and file systems; a line for each at the end."""

import random
from collections import Counter, defaultdict

import pytest
from deeds import AMOUNT, LONG, finished

from unseen.cli import main

PROMISES = {
    1: "kill -9 while training and while checkpointing",
    2: "rotten checkpoints and results",
    3: "disk full, read-only, missing",
    4: "two processes on one run",
    5: "a spec or library changed on resume",
    6: "bad sweep tables",
    7: "bad notebook parameters",
    8: "bad names",
    9: "malicious files",
    10: "divergence",
    11: "dying workers and drivers",
    12: "a killed kernel",
    13: "Ctrl-C and SIGTERM",
    14: "clocks and cut files",
    15: "bad widget input",
    16: "offline, odd paths, read-only checkout",
}


TRIED: dict[int, Counter[str]] = defaultdict(Counter)  # what was tried for a promise, and how often
LOST: dict[int, list[str]] = defaultdict(list)  # the tests that failed


@pytest.fixture
def promise(request):
    """Count what a test tries: ``promise("kills", 3)``; the number stands in the name of the test's file."""
    number = int(request.node.path.stem.split("_")[2])

    def tried(what: str, times: int = 1) -> None:
        TRIED[number][what] += times

    yield tried
    report = getattr(request.node, "report", None)
    if report is None or report.failed:
        LOST[number].append(request.node.name)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    report = (yield).get_result()
    if report.when == "call":
        item.report = report


@pytest.fixture
def refused(capsys):
    """Give arguments to the command; what it says where it refuses them."""

    def give(*arguments, code=2):
        assert main([str(each) for each in arguments]) == code
        err = capsys.readouterr().err
        assert "unseen: " in err
        assert "Traceback" not in err
        return err

    return give


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory):
    """What a run leaves that is let alone."""
    return finished(LONG, tmp_path_factory.mktemp("undisturbed"))


@pytest.fixture
def amount():
    """How often: ``amount(short, usual, long)``."""
    return lambda short, usual, long: {"short": short, "usual": usual, "long": long}[AMOUNT]


@pytest.fixture
def rng(request):
    """Random moments, the same every time for one test and amount."""
    return random.Random(f"{request.node.name} {AMOUNT}")


def pytest_terminal_summary(terminalreporter):
    if AMOUNT == "short" or not TRIED:
        return
    terminalreporter.section(f"promises, {AMOUNT}")
    for number, name in PROMISES.items():
        tried = ", ".join(f"{count:,} {what}" for what, count in TRIED[number].items())
        lost = "; ".join(LOST[number]) or "nothing"
        terminalreporter.write_line(f"{number:>2}  {name}: {tried or 'nothing tried'}. Lost: {lost}")
