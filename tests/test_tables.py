"""Sweep tables: what is read means what is written, and whatever is wrong is named with its place."""

import gzip
import os
import re
from dataclasses import fields
from functools import partial

import pytest

from bad_tables import BAD
from unseen.runs import tables as module
from unseen.runs.tables import COLUMNS, SHOWN, BadTable, folder_in, name_of, read_table, run_of
from unseen.scales import scale
from unseen.specs import RunSpec

BASE = RunSpec()
DOTTED = [f"{part.name}.{field.name}" for part in fields(RunSpec) for field in fields(type(part.default))]


@pytest.fixture
def table(written):
    """Write a table and give its path."""
    return partial(written, "sweep.csv")


def problems(path):
    """What is wrong with a table, without the file's name, which is checked."""
    with pytest.raises(BadTable) as refused:
        read_table(path, BASE)
    lines = str(refused.value).split("\n")
    assert all(line.startswith(str(path)) for line in lines if not line.startswith("and "))
    return [line.removeprefix(f"{path}").removeprefix(", ").removeprefix(": ") for line in lines]


# One run


def test_every_field_is_a_column_and_a_short_name_means_one_field():
    for name in DOTTED:
        part, field = name.split(".")
        kind = {each.name: each.type for each in fields(getattr(BASE, part))}[field]
        kind = getattr(kind, "__origin__", kind)  # without its bounds
        assert tuple(COLUMNS[name]) == (kind, ((part, field),))
        assert kind in (int, float, str)  # a field of another type needs a way to be read
    for name in (name for name in COLUMNS if "." not in name and name not in ("seed", "examples")):
        assert [COLUMNS[name]] == [COLUMNS[dotted] for dotted in DOTTED if dotted.endswith(f".{name}")]


def test_seed_and_examples_are_those_of_the_task():
    assert run_of({"seed": "5"}, BASE) == BASE.with_seed(5)
    run = run_of({"examples": "50_000", "evaluation.examples": "7", "evaluation.seed": "6"}, BASE)
    assert (run.task.examples, run.evaluation.examples, run.evaluation.seed) == (50_000, 7, 6)
    assert run_of({}, BASE) == BASE


def test_a_row_of_all_columns_is_its_run():
    run = BASE.with_task(alphabet="éβж日٣ñ", instructions=70, unseen_instructions=60, cipher="shift:2")
    run = run.but(model=run.model.but(width=96, recipe="gpt2", look_back=2)).with_seed(9)
    values = {name: str(getattr(getattr(run, name.split(".")[0]), name.split(".")[1])) for name in DOTTED}
    assert run_of(values, RunSpec().with_seed(3)) == run


def test_a_number_is_read():
    for name, text, value in (("steps", " 1_000\t", 1_000), ("steps", "+7", 7), ("learning_rate", "1", 1.0),
                              ("learning_rate", " 1e-3 ", 0.001), ("learning_rate", ".5", 0.5)):  # fmt: skip
        read = getattr(run_of({name: text}, BASE).training, name)
        assert (read, type(read)) == (value, type(value))


@pytest.mark.parametrize("name", COLUMNS)
def test_a_cell_that_is_never_good_is_refused_in_every_column(name):
    for bad in BAD[COLUMNS[name].kind]:
        with pytest.raises(BadTable, match=f"^column .*'{name}'.*: "):
            run_of({name: bad}, BASE)


@pytest.mark.parametrize(("values", "columns"), [
    ({"width": "63", "steps": "9"}, "'width'"),
    ({"width": "72", "heads": "5", "layers": "2"}, "'width', 'heads'"),
    ({"instructions": "45001", "width": "72"}, "'instructions'"),
    ({"example_seed": "7", "rule_seed": "8", "evaluation.seed": "7"}, "'example_seed', 'evaluation.seed'"),
    ({"seed": "1000000", "steps": "9"}, "'seed'"),
])  # fmt: skip
def test_a_refusal_of_the_spec_names_its_columns(values, columns):
    with pytest.raises(BadTable, match=rf"^column {columns}: (Task|Model|Evaluation)Spec\.\w+="):
        run_of(values, BASE)


# Files


def test_a_table_of_a_scale():
    study = scale("smoke")
    rows = [{"instructions": str(run.task.instructions), "seed": str(run.model.seed)} for run in study.runs()]
    assert [run_of(row, study.main.base) for row in rows] == study.runs()


@pytest.mark.parametrize(("content", "message"), [
    ("", "empty, or a header without rows"),
    (b"\xef\xbb\xbf\r\n\n", "empty, or a header without rows"),
    ("instructions,width,steps,seed\n", "empty, or a header without rows"),
    (",width\n0,64\n", "row 1: column '' is unknown: an empty cell; a row without this"),
    ("\nwidth\n64\n", "row 1: empty, above the column names; delete it"),
    ("width;steps,seed\n64;9,1\n", "row 1: column 'width;steps' is unknown; did you mean "),
    ("Width\n64\n", "row 1: column 'Width' is unknown; did you mean 'width'?"),
    ("# mine\nwidth\n64\n", "row 1: column '# mine' is unknown; columns are settings of a run, not"),
    ("width,note\n64,a\n", "row 1: column 'note' is unknown; columns are settings of a run, not notes"),
    ('[{"width": 64}]', "this is JSON"),
    ("width,model.width\n64,64\n", "row 1: columns 'width' and 'model.width' both set model.width"),
    ("width,steps\n64,9\n64\n", "row 3: 1 cell(s) for 2 column(s)"),
    ("width,steps\n64,1,000\n", "row 2: 3 cell(s) for 2 column(s): width, steps (a comma in a number"),
    ("width,steps\n64,9\n\n64,8\n", "row 3: 0 cell(s) for 2 column(s): width, steps (delete the empty"),
    ("width\n64\n0\n", "row 3: column 'width': ModelSpec.width=0: Input should be greater than or equal to"),
    ("width\n64\n 6_4\n", f"row 3: the same run ({BASE.digest()}) as row 2"),
    ("width\n64".encode("utf-16-be"), "this is text in UTF-16; save it as UTF-8"),
    ("width\r64é\r".encode("latin-1"), "line 2: byte 0xe9 is not UTF-8 (Latin-1 or Windows-1252?)"),
    (gzip.compress(b"width\n64\n", mtime=0), "this is compressed (gzip); unpack it first"),
    (b"PK\x03\x04\x14\0\x06\0", "this is a workbook (xlsx, ods, xls) or a zip archive; save"),
    (b"PAR1\x15\x04", "this is a table in Parquet or Arrow; write it as text with pandas"),
    (b"version https://git-lfs.github.com/spec/v1\n", "this is a pointer that git-lfs left"),
    (b"\n<!DOCTYPE html>", "this is a web page"),
    ('width,steps\n"64,9\n', "row 2: unexpected end of data"),
])  # fmt: skip
def test_a_bad_table_is_refused_with_its_place(table, content, message):
    (problem,) = problems(table(content))
    assert problem.startswith(message)


@pytest.mark.parametrize("content", [
    "width;seed\n64;1\n", "width\tseed\n64\t1\n", "width|seed\n64|1\n", '"width";"seed"\r"64";"1"\r',
    "sep=;\r\nwidth;seed\r\n64;1\r\n", '"sep=,"\nwidth,seed\n64,1\n', "\ufeffSEP=\t\nwidth\tseed\n64\t1",
    "width,seed,\n64,1,\n", "width,seed,,\n64,1, ,\n,,,\n \n\n", "width,seed,\n64,1\n", "width,seed\n64,1,\n",
    "width,seed\n6.4E+01,1.0\n", "width,seed\n64.,1e0\n",
])  # fmt: skip
def test_what_spreadsheets_write_is_read(table, content):
    assert read_table(table(content), BASE) == [run_of({"width": "64", "seed": "1"}, BASE)]


@pytest.mark.parametrize(("text", "what"), [
    *((text, "separators of thousands") for text in
      ("1,000", "1.000", "1 000", "1'000", "1’000", "1\xa0000", "1\u202f000", "-1.000.000", "1.000,5")),
    *((text, "a decimal comma") for text in ("0,001", ",5", "0,1e-3", "0,000", "1,5")),
    *((text, "a missing value") for text in ("nan", "NA", "N/A", "None", "null", "-", "<NA>")),
    *((text, "") for text in ("True", "−1", "١٠", "１e3", "10%", "1M", "#REF!", "[10]", "'10")),
    *((text, "a date") for text in ("2026-01-10", "10.1.2026", "10 Jan", "Jan-10", "1/3/26")),
    ("=10*10", "a formula"), ("@A1", "a formula"), ("", "an empty cell"),
])  # fmt: skip
def test_a_cell_that_is_no_number_is_refused_by_what_it_is(text, what):
    for name in ("width", "learning_rate"):
        if (name, text) != ("learning_rate", "1.000"):  # there it is a one
            with pytest.raises(BadTable, match=f"^column '{name}': .* is not an? .*{what}"):
                run_of({name: text}, BASE)


@pytest.mark.parametrize("text", ["９" * 10**6 + "a", "1" + ",000" * 10**6 + "x", " #" * 10**6, "9" * 10**6])
def test_a_long_cell_is_refused_at_once(text):
    with pytest.raises(BadTable, match=r"^column 'width': .* is not an integer") as error:
        run_of({"width": text}, BASE)
    assert len(str(error.value)) < 400


@pytest.mark.parametrize(("stem", "fit"), [
    ("mine", "mine"), ("u\u0308ber alles", "über alles"), ("mine (1)", "mine 1 ...."),
    ("run 😀", "run ...."), ("😀", "table ...."), ("store", "store ...."), ("con", "con ...."),
    (".mine", "mine ...."),
    ("-rf", "rf ...."), ("ab" * 90, "(ab){25} ...."), ("hi\udc80", "hi ...."), ("a\nb", "ab ...."),
])  # fmt: skip
def test_any_file_name_gives_a_name_of_a_sweep(tmp_path, stem, fit):
    name = name_of(tmp_path / f"{stem}.csv")
    assert re.fullmatch(fit, name)
    assert folder_in(tmp_path, name, "sweep name") == tmp_path / name


def test_names_made_to_fit_differ_where_their_files_do(tmp_path):
    assert len({name_of(tmp_path / f"mine {sign}.csv") for sign in ("(1)", "[1]", "1", "1?", "1😀")}) == 5
    assert folder_in(tmp_path, "u\u0308", "sweep name") == tmp_path / "ü"


def test_all_rows_are_checked_and_the_first_problems_shown(table):
    found = problems(table("width,learning_rate\n64,0.1\n63,0.1\n64,nan\nx,inf\n64\n64,0.1\n72,0.1\n"))
    assert [line.partition(": ")[0] for line in found] == [f"row {row}" for row in (3, 4, 5, 5, 6, 7)]
    assert found[-1].startswith("row 7: the same run")
    found = problems(table("width,heads\n" + "63,4\n" * 1_100))
    assert found[0] == "row 2: column 'width', 'heads': ModelSpec.width=63: must be a multiple of 2 x heads=4"
    assert [len(found), found[-1]] == [SHOWN + 1, f"and {1_100 - SHOWN:,} more"]


def test_what_is_no_file_is_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for name in ("none.csv", ".", "pipe", "x" * 5_000):
        (problem,) = problems(tmp_path / name)
        assert "file" in problem.lower()


def test_a_table_has_a_largest_size(table, monkeypatch):
    content = "width,seed\n" + "".join(f"64,{n}\n" for n in range(9))
    monkeypatch.setattr(module, "LARGEST", len(content) - 1)
    assert "larger than" in problems(table(content))[0]
    monkeypatch.undo()
    monkeypatch.setattr(module, "MOST_ROWS", 8)
    assert problems(table(content)) == ["more than 8 rows"]
