"""Bad notebook parameters are refused before papermill starts, and by the notebook itself."""

import pytest
from deeds import AMOUNT
from hypothesis import given, settings
from hypothesis import strategies as st

from bad_parameters import EVERY_KIND, EVERY_KNOWN, check_value, payloads, values, write_book
from unseen import headless
from unseen.headless import run_notebook
from unseen.parameters import KNOWN, BadParameters, parameters

fuzzed = settings(max_examples={"short": 50, "usual": 2_000, "long": 10_000}[AMOUNT])
NAMES = [*KNOWN, "label", "size", "rate", "loud", "plain"]


@pytest.fixture(autouse=True)
def nothing_starts(monkeypatch, runs):
    monkeypatch.setattr(headless, "_execute", lambda *_: pytest.fail("it was started"))
    yield
    assert not runs.exists()


@pytest.fixture(scope="module")
def book(tmp_path_factory):
    return write_book(tmp_path_factory.mktemp("books") / "tiny.ipynb", declared=EVERY_KIND + EVERY_KNOWN)


BAD = {
    "04 -p seed=1.5": "seed='1.5' must be",
    "10 -p scale=fast": "scale='fast' must be one of",
    "04 -p seed;import=3": "has no parameter 'seed;import'",
    "04 -p =3": "has no parameter ''",
    "04 --into ../out": "output folder '../out' must be",
    "README.md": "nor the path of an .ipynb file",
}


def test_the_command_refuses(promise, refused):
    for arguments, message in BAD.items():
        assert message in refused("run", *arguments.split())
        promise("bad parameters given to the command")


def test_nothing_in_a_value_or_a_name_is_evaluated(book, tmp_path, promise):
    canary = tmp_path / "canary"
    for payload in payloads(canary):
        for name in (*NAMES, payload):
            check_value(book, name, payload)
            promise("payloads")
    assert not canary.exists()


@fuzzed
@given(st.sampled_from(NAMES), values())
def fuzz_values(book, count, name, value):
    count("values of any kind")
    check_value(book, name, value)


@fuzzed
@given(st.dictionaries(st.text() | st.sampled_from(sorted(KNOWN)), st.text(), min_size=1, max_size=3))
def fuzz_names(book, count, given):
    count("names of any text")
    if set(given) - set(parameters(book)):
        with pytest.raises(BadParameters, match="has no parameter"):
            run_notebook(book, given)


@pytest.mark.parametrize("hunt", [fuzz_values, fuzz_names])
def test_hunt(book, promise, hunt):
    hunt(book, promise)
