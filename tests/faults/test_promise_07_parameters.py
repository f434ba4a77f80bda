"""Bad notebook parameters are refused before papermill starts, and by the notebook itself when a person edits the cell."""

import ast

import pytest
from deeds import AMOUNT
from hypothesis import given, settings
from hypothesis import strategies as st

from bad_parameters import (
    EVERY_KIND,
    EVERY_RULE,
    awkward_values,
    check_book,
    check_typed,
    check_value,
    payloads,
    values,
    write_book,
)
from unseen import headless
from unseen.cli import main
from unseen.disk.files import project_folder
from unseen.headless import run_notebook
from unseen.parameters import RULES, BadParameters, check_parameters, checked, parameters, read_notebook

fuzzed = settings(max_examples={"short": 50, "usual": 2_000, "long": 10_000}[AMOUNT])


@pytest.fixture(autouse=True)
def nothing_starts(monkeypatch, runs):
    monkeypatch.setattr(headless, "execute", lambda *_, **__: pytest.fail("it was started"))
    yield
    assert not runs.exists()


@pytest.fixture(scope="module")
def book(tmp_path_factory):
    return write_book(tmp_path_factory.mktemp("books") / "tiny.ipynb", declared=EVERY_KIND + EVERY_RULE)


BAD = {
    "unknown": (["04", "-p", "sice=3"], "has no parameter 'sice'"),
    "wrong type": (["04", "-p", "seed=many"], "seed='many' must be int"),
    "a fraction": (["04", "-p", "seed=1.5"], "seed"),
    "out of range": (["04", "-p", "seed=-1"], "seed=-1 must be"),
    "an unknown scale": (["10", "-p", "scale=fast"], "scale='fast' must be one of"),
    "an unknown scheduler": (["10", "-p", "scheduler=http://x"], "scheduler='http://x' must be"),
    "a name that is code": (["04", "-p", "seed;import os=3"], "has no parameter 'seed;import os'"),
    "a name with a line end": (["04", "-p", "seed\nimport os=3"], "has no parameter"),
    "no name": (["04", "-p", "=3"], "has no parameter ''"),
    "no value": (["04", "-p", "seed"], "must be NAME=VALUE"),
    "a way out": (["04", "--into", "../out"], "would lie outside"),
    "an absolute way": (["04", "--into", "/etc/out"], "would lie outside"),
    "no such notebook": (["77"], "is not one of"),
    "no notebook at all": (["README.md"], "is not one of"),
}  # fmt: skip


@pytest.mark.parametrize("what", BAD)
def test_the_command_refuses(promise, capsys, what):
    arguments, told = BAD[what]
    assert main(["run", *arguments]) == 2
    err = capsys.readouterr().err
    assert told in err
    assert "Traceback" not in err
    promise("bad parameters given to the command")


@pytest.mark.parametrize("tags", [(), ("parameters", "parameters"), ("parameter",)])
def test_a_missing_or_double_tag(tmp_path, promise, tags):
    path = write_book(tmp_path / "tiny.ipynb", declared="scale: str = 'smoke'", tags=tags)
    with pytest.raises(BadParameters, match="cells tagged 'parameters'; it must have one"):
        run_notebook(path, {})
    promise("missing or double tags")


def test_nothing_in_a_value_is_ever_evaluated(book, tmp_path, promise):
    canary = tmp_path / "canary"
    for payload in payloads(canary):
        for name in (*RULES, "label", "size", "rate", "loud", "sizes", "pair", payload):
            check_value(book, name, payload)
            promise("payloads")
        for name in RULES:
            check_typed(name, payload)
        assert not canary.exists()


def test_awkward_values(book, promise):
    for value in awkward_values():
        for name in ("label", "size", "rate", "loud", "sizes", "pair", *RULES):
            check_value(book, name, value)
            promise("awkward values")


@fuzzed
@given(st.sampled_from([*RULES, "label", "size", "rate", "loud", "sizes", "pair", "plain"]), values())
def fuzz(book, count, name, value):
    count("values of any kind, headless and in the notebook", 2)
    check_value(book, name, value)
    check_typed(name, value)


def test_hunt(book, promise):
    fuzz(book, promise)


# In the notebooks that there are

NOTEBOOKS = sorted((project_folder() / "notebooks").glob("*.ipynb"))


def call_of(path):
    """What a notebook gives to ``check_parameters``: the names, each with the variable that a person types into."""
    code = [cell.source for cell in read_notebook(path).cells if cell.cell_type == "code"][1]
    calls = [
        node
        for node in ast.walk(ast.parse(code))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "check_parameters"
    ]
    assert len(calls) == 1
    return {each.arg: ast.unparse(each.value) for each in calls[0].keywords}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=[path.stem for path in NOTEBOOKS])
def test_each_notebook_checks_what_a_person_types_as_the_command_does(path, promise):
    declared = parameters(path)
    assert call_of(path) == {name: name for name in declared}  # each of them, and in the first cell below
    for name, parameter in declared.items():
        for value in (None, b"x", [], "\0" * 999, -1, 10**30, float("nan"), object(), parameter.default):
            typed, given = ({each: other.default for each, other in declared.items()} | {name: value} for _ in range(2))
            fit = refusal(lambda typed=typed: check_parameters(**typed))
            assert fit == refusal(lambda given=given: checked(path, given))
            assert fit == (value is parameter.default)
            promise("values typed into notebooks and given to the command", 2)


def refusal(check):
    try:
        check()
    except BadParameters:
        return False
    return True


@fuzzed
@given(st.dictionaries(st.one_of(st.text(), st.sampled_from(sorted(RULES))), st.text(), min_size=1, max_size=3))
def fuzz_names(book, count, given):
    count("names of any text")
    if set(given) - set(parameters(book)):
        with pytest.raises(BadParameters, match="has no parameter"):
            run_notebook(book, given)


@fuzzed
@given(st.one_of(st.binary(), st.text().map(lambda text: text.encode(errors="surrogatepass"))))
def fuzz_files(book, count, content):
    count("notebook files of any bytes")
    assert check_book(book.with_name("any.ipynb"), content) is None


@pytest.mark.parametrize("hunt", [fuzz_names, fuzz_files])
def test_hunt_names_and_files(book, promise, hunt):
    hunt(book, promise)
