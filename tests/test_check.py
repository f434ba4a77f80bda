"""Exercises: each has its cells, accepts its solution and no usual mistake, and keeps what a reader says."""

import ast
import json
import os
import re
import subprocess
import sys

import matplotlib.pyplot as plt
import nbformat
import pytest

from unseen import check, cli, exercises, right_answers
from unseen.exercises import BrokenAnswers, Exercise
from unseen.files import packaged, project_folder
from unseen.headless import notebooks
from unseen.pages import copies

JUDGED = {  # wrong answers where many are right
    "once": ["aa -> a", "a -> aa", "aa -> \nbb -> \ncc -> ", "aa->a"],
    "shout": ["-> !", "-> .!", "*a -> a*\n*b -> b*\n* -> !\n-> *"],
    "fails": [("iss", "art", "kissmeonce"), ("iss", "art", "kissme"), ("iss", "art"), (1, 2, 3)],
    "parity": ["aa -> e", "aa -> \na -> .o\n -> .e", "oa -> e\na -> o", "a -> a", "1 -> o"],
}
ALL = exercises.exercises()
BOOKS = {path.name: nbformat.read(path, as_version=4)
         for path in sorted((project_folder() / "notebooks").glob("*.ipynb"))}  # fmt: skip


def tags(cell):
    return cell.metadata.get("tags", [])


def book_of(number):
    (found,) = [book for name, book in BOOKS.items() if name.startswith(f"{number}_")]
    return found


def answer_cell(each):
    """Where the notebook of an exercise asks for its answer: the cells and the place."""
    cells = book_of(each.notebook).cells
    (place,) = [i for i, cell in enumerate(cells) if cell.source.startswith(f"check.{each.name}(")]
    return cells, place


def solution(each, monkeypatch):
    """What the solution cell of an exercise passes on, run below the parameters and imports alone."""
    cells, place = answer_cell(each)
    first = next(i for i, cell in enumerate(cells) if "parameters" in tags(cell))
    given, space = [], {}
    monkeypatch.setattr(Exercise, "solution", lambda self, answer: given.append((self.name, answer)))
    for cell in (cells[first], cells[first + 1], cells[place + 1]):
        exec(cell.source, space)
    ((name, answer),) = given
    assert name == each.name
    return answer


def holds(hint, right):
    """Whether a hint gives the answer away, as text or as a number of three digits."""
    forms = {str(right), f"{right:.3g}" if isinstance(right, float) else str(right)}
    return any(re.search(rf"(?<![\w.]){re.escape(form)}(?!\w)", hint) for form in forms)


# Every exercise


@pytest.mark.parametrize("name", ALL)
def test_an_exercise_has_a_cell_for_the_reader_and_below_it_a_folded_solution(name):
    cells, place = answer_cell(ALL[name])
    mine, below = cells[place], cells[place + 1]
    assert tags(mine) == ["exercise"]
    assert mine.source.startswith(f"check.{name}(...)  # ")
    assert tags(below) == ["solution"]
    assert below.metadata["jupyter"] == {"source_hidden": True}
    assert below.source.startswith("# Solution\n")  # its first line shows in the fold


@pytest.mark.parametrize("name", ALL)
def test_the_solution_is_right_and_each_usual_mistake_gets_its_hint(name, monkeypatch):
    each = ALL[name]
    right = solution(each, monkeypatch)
    assert each.verdict(right) == (True, f"✓ **Right.** {each.why}")
    usual = each.known()
    said = {brief: each.verdict(wrong) for brief, wrong in usual.items() if brief != "right"}
    assert said == {brief: (False, f"**Not yet.** {hint}") for brief, hint in each.hints.items()}
    assert name in JUDGED or each.hints or each.answer == "true or false"
    judged = [each.verdict(wrong) for wrong in JUDGED.get(name, [])]
    assert not any(verdict.right or "cannot be checked" in verdict.text for verdict in judged)
    for hint in (each.otherwise, *each.hints.values(), *(verdict.text for verdict in judged)):
        assert not holds(hint, right)
    assert each.otherwise or each.answer == "number" or callable(usual["right"])
    for strange in (..., None, "\n", -1, 10**30, float("nan"), True, [], object(), ("", "", ""), b"x"):
        verdict = each.verdict(strange)
        assert not verdict.right
        assert verdict.text


def test_nothing_is_solved_by_running_all_cells_or_left_without_its_exercise():
    for book in BOOKS.values():
        for cell in book.cells:
            names = [name for name in ALL if f"check.{name}" in cell.source]
            assert len(names) <= 1
            if "exercise" in tags(cell):
                assert names, cell.source
            if "solution" in tags(cell):
                assert "check." not in cell.source or f"check.{names[0]}.solution(" in cell.source


def test_a_hint_that_holds_the_answer_is_noticed():
    assert holds("It is 12.8.", 12.7999)
    assert holds("Write ab.", "ab")
    assert not holds("It is 112.85 of abc", 12.8)
    assert not holds("abc", "ab")


def test_a_solution_that_is_wrong_fails():
    check.leftmost.solution("xcbaaba")
    with pytest.raises(AssertionError, match=r"leftmost: \*\*Not yet"):
        check.leftmost.solution("xcbac")


def test_texts_and_right_answers_go_together():
    computed = {
        name
        for name, each in vars(right_answers).items()
        if getattr(each, "__module__", "") == right_answers.__name__ and name[0] != "_"
    }
    assert computed == {name for name, each in ALL.items() if each.right is None}
    assert vars(check).items() >= ALL.items()
    numbers = [each.notebook for each in ALL.values()]
    assert numbers == sorted(numbers)
    assert len(numbers) == sum(map(len, packaged("exercises.toml").values())), "two have one name"


HALF = {"question": "What is half of it?", "answer": "number", "why": "So it is."}


def test_an_exercise_takes_a_table(monkeypatch, runs, capsys):
    table = HALF | {"hints": {"2": "Twice.", "all": "All."}}
    monkeypatch.setattr(exercises, "packaged", lambda name: {"04": {"half": table}})
    monkeypatch.setattr(right_answers, "half", lambda: {"right": 0.5, "all": 1.0}, raising=False)
    monkeypatch.setattr(exercises, "exercises", exercises.exercises.__wrapped__)
    half = exercises.exercises()["half"]
    for answer in (2, 0.999, 0.4, 0.51):
        half(answer)
    said = capsys.readouterr().out
    for line in ("**Not yet.** Twice.", "**Not yet.** All.", "**Not yet.** Your number is too small."):
        assert line in said
    assert "✓ **Right.** So it is.\n\n1 of 1 done here, 1 of 1 in all" in said


@pytest.mark.parametrize(("change", "named"), [
    ({"answer": "a word"}, r"\[04.half\]: Exercise.answer='a word': known are text, letters, number"),
    ({"hint": {}}, r"\[04.half\]: Exercise.hint: unknown field; the fields are name, notebook, question"),
])  # fmt: skip
def test_a_wrong_table_is_named(change, named, monkeypatch):
    monkeypatch.setattr(exercises, "packaged", lambda name: {"04": {"half": HALF | change}})
    with pytest.raises(ValueError, match=f"exercises.toml, {named}"):
        exercises.exercises.__wrapped__()


def test_the_module_is_imported_at_once():
    slow = "[name for name in ('torch', 'pandas', 'matplotlib', 'scipy', 'IPython') if name in sys.modules]"
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; from unseen import check; print({slow})"],
        capture_output=True, text=True, check=True, env=os.environ,
    )  # fmt: skip
    assert done.stdout == "[]\n"


# Keeping and counting


def kept(runs):
    return json.loads((runs / "answers.json").read_text())


def test_an_answer_is_kept_and_counted_and_a_right_one_stays(runs, capsys):
    check.leftmost("wrong")
    assert kept(runs) == {"leftmost": {"answer": "wrong", "right": False}}
    check.leftmost("xcbaaba")
    check.leftmost("wrong again")
    check.neighbours(12.8)
    assert kept(runs)["leftmost"] == {"answer": "xcbaaba", "right": True}
    assert kept(runs)["neighbours"] == {"answer": "12.8", "right": True}
    here = sum(each.notebook == "02" for each in ALL.values())
    last = f"1 of {here} done here, 2 of {len(ALL)} in all; next: "
    assert capsys.readouterr().out.endswith(
        f"{last}[03 · A small transformer](03_a_small_transformer.ipynb)\n"
    )


def test_no_answer_keeps_nothing_and_says_how_to_answer_and_several_are_one(runs, capsys):
    check.leftmost(...)
    check.leftmost()
    check.targets(None)
    said = capsys.readouterr().out
    assert said.count("**Not answered yet.** Write a text in quotation marks") == 2
    assert "a whole number, as in `12`, in place of `...`" in said
    assert not runs.exists()
    check.leftmost("xcbaaba", "or this")
    assert "yours is `('xcbaaba', 'or this')`" in capsys.readouterr().out
    check.fails("a", "b", "c")
    assert kept(runs)["fails"]["answer"] == str(("a", "b", "c"))


def test_a_copy_or_a_broken_notebook_of_the_reader_changes_no_link(tmp_path, monkeypatch):
    (tmp_path / "notebooks").mkdir()
    right = '{"cells": [{"source": ["# 02 · Sets\\n", "text"]}]}'
    files = {"02_sets": right, "02_sets-Copy1": "{}", "02_sets_mine": "", "03_mine": "[]"}
    for name, text in files.items():
        (tmp_path / "notebooks" / f"{name}.ipynb").write_text(text)
    monkeypatch.setattr(exercises, "project_folder", lambda: tmp_path)
    links = exercises._titles.__wrapped__()
    assert links == {"02": ("02_sets.ipynb", "02 · Sets"), "03": ("03_mine.ipynb", "03_mine")}


def test_progress_lists_all(runs, capsys):
    check.leftmost("xcbaaba")
    check.once("a -> b")
    capsys.readouterr()
    check.progress()
    first, _, _, _, *lines = capsys.readouterr().out.splitlines()
    assert first == f"1 of {len(ALL)} exercises done"
    assert len(lines) == len(ALL)
    assert [line.rsplit("|", 2)[1].strip() for line in lines[:3]] == ["✓", "tried", ""]
    assert lines[0].startswith("| [01 · String rewrites](01_string_rewrites.ipynb) | What does")


@pytest.mark.parametrize("content", [b"{", b"[]", b"\xff", b'{"leftmost": 1}', b'{"leftmost": {}}', b"null"])
def test_a_damaged_file_is_named_and_left_as_it_is(content, runs, capsys):
    runs.mkdir()
    (runs / "answers.json").write_bytes(content)
    check.leftmost("xcbaaba")
    said = capsys.readouterr().out
    assert "✓ **Right.**" in said
    assert f"Your answer is not kept: {runs / 'answers.json'} cannot be read" in said
    assert (runs / "answers.json").read_bytes() == content
    with pytest.raises(BrokenAnswers, match="move or delete it"):
        check.progress()


# A guess


@pytest.fixture
def ax():
    _, ax = plt.subplots()
    ax.semilogx([10, 1_000], [0, 1])
    yield ax
    plt.close("all")


def drawn(ax):
    return len(ax.lines), [each.get_text() for each in ax.texts], ax.get_xlim(), ax.get_ylim()


@pytest.mark.parametrize(("value", "axis", "label"), [
    (150, "x", "your guess: 150\ntoo low by a factor of 2.0"),
    (900, "x", "your guess: 900\ntoo high by a factor of 3.0"),
    (290, "x", "your guess: 290\nright within a tenth"),
    (10**9, "x", "your guess: 1e+09\ntoo high by a factor of 3,333,333"),
    (0.5, "y", "your guess: 0.5\ntoo low by a factor of 600"),
])  # fmt: skip
def test_a_guess_is_a_line_within_the_axes_that_says_how_far_off_it_is(ax, value, axis, label):
    lines, _, *ends = drawn(ax)
    check.guess(ax, value, right=300, axis=axis)
    assert drawn(ax) == (lines + 1, [label], *ends)
    low, high = ends[axis == "y"]
    (place, _) = getattr(ax.lines[-1], f"get_{axis}data")()
    assert place == min(max(value, low), high)


@pytest.mark.parametrize("value", [None, "three", 0, -3, float("nan"), True, [300]])
def test_what_is_no_guess_is_a_sentence_and_draws_nothing(ax, value, capsys):
    before = drawn(ax)
    assert check.guess(ax, value, right=300) is ax
    said = "A guess is a number, as in `0.5`, on the axis from" in capsys.readouterr().out
    assert said == (value is not None)
    assert drawn(ax) == before


# Editions and links


def test_editions_are_without_solutions_and_with_open_ones(runs, capsys):
    assert cli.main(["edition", "student"]) == cli.main(["edition", "student"]) == 0
    assert capsys.readouterr().out == f"{runs / 'student'}\n" * 2
    copies("teacher", notebooks())
    for name, book in BOOKS.items():
        student, teacher = (nbformat.read(runs / which / name, 4) for which in ("student", "teacher"))
        solutions = [cell.id for cell in book.cells if "solution" in tags(cell)]
        assert [cell.id for cell in student.cells] == [c.id for c in book.cells if c.id not in solutions]
        assert [cell.source for cell in teacher.cells] == [cell.source for cell in book.cells]
        assert [c.id for c in teacher.cells if c.metadata.get("jupyter", {}).get("source_hidden")] == []


@pytest.mark.parametrize("name", BOOKS)
def test_a_notebook_says_its_goals_and_minutes_links_to_its_neighbours_and_has_exercises(name):
    names, cells, about = list(BOOKS), BOOKS[name].cells, BOOKS[name].metadata["unseen"]
    top, at = cells[0].source, names.index(name)
    for part in ("**The question.** ", "**You will learn**", "**Before this:** "):
        assert part in top
    assert f"**Time:** {about['minutes']} minutes" in top
    assert about["minutes"] > 0
    assert about["answer"].endswith(".")
    around = {names[0], *names[max(0, at - 1) : at + 2]} - {name}
    for line in (top.splitlines()[2], cells[-1].source):
        assert all(f"]({other})" in line for other in around)
    number = sum("exercise" in tags(cell) for cell in cells)
    assert number in range(2, 5) or name.startswith("00")


def test_the_map_on_the_start_page_has_every_notebook():
    prose = "\n".join(cell.source for cell in book_of("00").cells)
    rows = re.findall(r"^\| `(\d\d)\w*`(?: to `(\d\d)`)? \|", prose, re.M)
    numbers = {f"{n:02}" for first, last in rows for n in range(int(first), int(last or first) + 1)}
    assert {name[:2] for name in BOOKS} - numbers == {"00"}


def test_no_cell_trains_a_model_by_itself():
    """Only functions do, which `report.measured` does not call at ``show``."""

    def trains(source):
        body = [each for each in ast.parse(source).body if not isinstance(each, ast.FunctionDef)]
        calls = [node.func for each in body for node in ast.walk(each) if isinstance(node, ast.Call)]
        return "train" in [getattr(each, "attr", getattr(each, "id", "")) for each in calls]

    code = [cell.source for book in BOOKS.values() for cell in book.cells if cell.cell_type == "code"]
    assert [source for source in code if trains(source)] == []
    assert trains("state = training.train(run, state, data)")  # the check itself
