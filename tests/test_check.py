"""Exercises: each has its cells, accepts its solution and no usual mistake, and keeps what a reader says."""

import json
import os
import re
import subprocess
import sys

import matplotlib.pyplot as plt
import nbformat
import pytest

from unseen import check, cli, exercises
from unseen.exercises import BrokenAnswers, Exercise
from unseen.files import project_folder
from unseen.headless import notebooks
from unseen.pages import copies

WRONG = {
    "leftmost": ["xcbac", "xababac", "xababaaba", "abc"],
    "once": ["aa -> a", "a -> aa", "aa -> \nbb -> \ncc -> ", "aa->a"],
    "shout": ["-> !", "-> .!", "*a -> a*\n*b -> b*\n* -> !\n-> *"],
    "trap": ["occurrences", "examples", "x"],
    "coverage": [30 / 26, 1, (25 / 26) ** 30, 69.2],
    "neighbours": [75, 3_000 / 26**3, 3_000 * 78 / 26**3, 3_000 / 26**2],
    "colleague": [0.17, 17, 1_000**2 / 26**3, 3],
    "targets": [10, 27, 16, 0],
    "fails": [("iss", "art", "kissmeonce"), ("iss", "art", "kissme"), ("iss", "art"), (1, 2, 3)],
    "finder": [0, 5, 3],
    "met": [250, 250 * 64, 250 / 3_000, 15, 1],
    "untrained": [3.951, 3.401, 5.807, 56, 3],
    "copyist": [3.258, 9.774, 0.977, 0.928, 0.5],
    "halves": [True],
    "wider": [True],
    "nine_tenths": [452, 2_260, 402, 251, 300],
    "one_score": [0.595, 0.751, 43.8, 0.204],
    "independent": [15, 5, 14],
    "evened": [1_000, 4.53, 300],
    "hill": [4, 2.56, 0.52, 1.43, 2],
    "mirror": ["sunsunsun", "sssuuunnn", "sunnusnus", "sunnus"],
    "room": [650, 26**6, 26**12, 52, 2],
    "decides": ["suffices", "fails", "both"],
    "shortcut": ["aY", "xo", "2b", "aYmxoizX12ByN2B6u7x"],
    "encrypted": ["adogz", "dfdwc", "agrjz"],
    "luck": [1 / 12, 2 * 0.5**12, 0.5, 6],
    "lion": [1 / 9_000, 0.1, 40.2, 0.04],
    "halfway": [50, 100, 37],
    "parity": ["aa -> e", "aa -> \na -> .o\n -> .e", "oa -> e\na -> o", "a -> a", "1 -> o"],
    "questions": [2, 6, 9, 3],
    "longer": [3, 1.98, 0.5, -3],
    "together": [3.72, 4, 1.8, 0.94],
    "false_alarm": [0.05, 0.35, 0.95**7, 0.7],
    "worth": [20_540, 11_540, 0.57, 3.1],
    "rival": ["algebra", "all three", "lists", "letter"],
    "copycat": [0, 0.1, 0.933, 6.67],
    "bystanders": [0.535, 3 / 17, 9 / 17, 0.44],
    "letterwise": [0.5, 0.125, 1 / 6, 0.83],
    "rereads": [6, 19_200, 600],
    "habit": ["task+token", "other formats", "task", "with"],
    "early": [5, 3],
    "visits": [192, 73.56, 191.3],
    "confound": ["task_examples", "rate", "ratio"],
    "chance": [1 / 32, 0.5, 0.2],
    "control": ["its name", "no format", "seeds"],
    "lottery": [45.5, 91, 1],
    "behind": [1, 5, 3],
    "chancy": [1e-5, 0.5, 0.1],
    "beyond": [0.7, 0.16, 0.1],
    "mixed": [0.0028, 67, 358],
    "warming": [1, 2, 100 / 64, 100 / 64 / 25],
    "remains": [0.533, 0.707, 0.174, 0.246],
    "anywhere": [1 / 8, 1 / 5, 3 / 8],
    "shots": [32, 256, 8],
    "tells": ["rules", "accuracy", "commonest"],
    "outliers": ["common", "any"],
    "smoothed": [0.2, 0.6, 1.0, 0.1],
    "agreeing": [2, 4, 24],
    "paid": [100, 200, 400, 8],
    "compared": ["AB", "BC", "A", "none"],
    "passes": [16, 32, 1, 120],
    "ridge": [0.5, 1.0, 0.25, 0],
    "relative": [7.08, 46.9, 1.07],
    "any_of_four": [0.025, 0.025**4, 0.975],
}
ALL = {each.name: each for each in exercises.exercises()}
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
def test_the_solution_is_right_and_usual_mistakes_are_not(name, monkeypatch):
    each = ALL[name]
    right = solution(each, monkeypatch)
    assert each.verdict(right).right
    assert each.verdict(right).text == f"✓ **Right.** {each.why}"
    assert WRONG[name]
    for wrong in [..., None, *WRONG[name]]:
        verdict = each.verdict(wrong)
        assert not verdict.right, wrong
        assert "✓" not in verdict.text
        assert "cannot be checked" not in verdict.text
        assert not holds(verdict.text, right) or wrong in (..., None)  # which show how answers are written


@pytest.mark.parametrize("name", ALL)
def test_a_mistake_of_any_kind_is_a_sentence(name):
    for strange in (
        "",
        "\n",
        0,
        -1,
        10**30,
        1.5,
        float("nan"),
        True,
        [],
        {},
        object(),
        print,
        ("", "", ""),
        b"x",
    ):
        verdict = ALL[name].verdict(strange)
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


def test_an_exercise_takes_three_lines(monkeypatch, runs, capsys):
    monkeypatch.setattr(exercises, "_EXERCISES", {})

    @exercises.exercise("04", "So it is.")
    def half(answer: float) -> str:
        """What is half of it?"""
        return exercises.close(answer, 0.5, {2: "Twice."})

    half(2)
    half(0.5)
    said = capsys.readouterr().out
    assert "**Not yet.** Twice." in said
    assert "✓ **Right.** So it is.\n\n1 of 1 done here, 1 of 1 in all" in said


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
    here = len(exercises.exercises("02"))
    last = f"1 of {here} done here, 2 of {len(ALL)} in all; next: "
    assert capsys.readouterr().out.endswith(
        f"{last}[03 · A small transformer](03_a_small_transformer.ipynb)\n"
    )


def test_several_answers_are_one_and_none_is_no_answer(runs, capsys):
    check.fails("a", "b", "c")
    assert kept(runs)["fails"]["answer"] == str(("a", "b", "c"))
    check.leftmost("xcbaaba", "or this")
    check.leftmost()
    said = capsys.readouterr().out
    assert "Write a text in quotation marks" in said
    assert "**Not answered yet.**" in said


def test_no_answer_keeps_nothing_and_says_how_to_answer(runs, capsys):
    check.leftmost(...)
    check.targets(None)
    said = capsys.readouterr().out
    assert "**Not answered yet.** Write a text in quotation marks" in said
    assert "a whole number, as in `12`, in place of `...`" in said
    assert not runs.exists()


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


def test_where_nothing_can_be_written_the_verdict_is_shown_all_the_same(tmp_path, monkeypatch, capsys):
    (tmp_path / "file").touch()
    monkeypatch.setenv("UNSEEN_RUNS", str(tmp_path / "file"))
    check.leftmost("xcbaaba")
    said = capsys.readouterr().out
    assert "✓ **Right.**" in said
    assert "Your answer is not kept: " in said


# A guess


@pytest.fixture
def ax():
    _, ax = plt.subplots()
    ax.semilogx([10, 1_000], [0, 1])
    yield ax
    plt.close("all")


def drawn(ax):
    return len(ax.lines), [each.get_text() for each in ax.texts], ax.get_xlim(), ax.get_ylim()


def test_without_a_guess_the_figure_is_as_it_was(ax):
    before = drawn(ax)
    assert check.guess(ax, None, right=300) is ax
    assert drawn(ax) == before


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


@pytest.mark.parametrize("value", ["three", 0, -3, float("nan"), True, [300]])
def test_what_is_no_guess_is_a_sentence(ax, value, capsys):
    before = drawn(ax)
    check.guess(ax, value, right=300)
    assert "A guess is a number, as in `0.5`, on the axis from" in capsys.readouterr().out
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


def test_an_edition_never_overwrites_what_someone_changed(runs, capsys):
    folder, _ = copies("student", notebooks())
    path = folder / "01_string_rewrites.ipynb"
    path.write_text("my answers")
    assert cli.main(["edition", "student"]) == 0
    assert f"{path} has changes of yours and is kept" in capsys.readouterr().err
    assert path.read_text() == "my answers"


def test_an_edition_that_is_not_known_is_refused(capsys):
    with pytest.raises(SystemExit, match="2"):
        cli.main(["edition", "../pupil"])
    assert "invalid choice: '../pupil'" in capsys.readouterr().err


@pytest.mark.parametrize("number", [path.stem[:2] for path in notebooks()])
def test_a_notebook_links_to_its_neighbours_at_its_top_and_end(number):
    names = list(BOOKS)
    at = [name[:2] for name in names].index(number)
    around = {names[0], *names[max(0, at - 1) : at + 2]} - {names[at]}
    cells = BOOKS[names[at]].cells
    for line in (cells[0].source.splitlines()[2], cells[-1].source):
        assert all(f"]({name})" in line for name in around)
