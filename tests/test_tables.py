"""Sweep tables: what is read means what is written, and whatever is wrong is told with its place."""

import csv
import os
import time
from dataclasses import fields

import pytest
from hypothesis import given

from bad_tables import (
    BAD,
    DOTTED,
    check_bytes,
    check_mutation,
    check_round_trip,
    forms,
    mutations,
    never_good,
    raw_tables,
    tables,
)
from unseen.runs import tables as module
from unseen.runs.tables import COLUMNS, SHOWN, BadTable, read_table, run_of
from unseen.scales import scale
from unseen.specs import RunSpec, TaskSpec

BASE = RunSpec()
HEAD = "instructions,width,steps,seed\n"


@pytest.fixture
def table(tmp_path):
    """Write a table and give its path."""

    def write(content):
        path = tmp_path / "sweep.csv"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """One folder for all examples of a property."""
    return tmp_path_factory.mktemp("tables")


def problems(path):
    """What is wrong with a table, without the file's name, which is checked."""
    with pytest.raises(BadTable) as refused:
        read_table(path, BASE)
    lines = str(refused.value).split("\n")
    assert all(line.startswith(str(path)) for line in lines if not line.startswith("and "))
    return [line.removeprefix(f"{path}").removeprefix(", ").removeprefix(": ") for line in lines]


# Columns


def test_every_field_is_a_column_under_its_dotted_name():
    for name in DOTTED:
        part, field = name.split(".")
        kind = {each.name: each.type for each in fields(getattr(BASE, part))}[field]
        assert (COLUMNS[name].kind, COLUMNS[name].sets) == (kind, ((part, field),))
        assert kind in (int, float, str)  # a field of another type needs a way to be read


def test_a_short_name_means_one_field():
    short = {name: column for name, column in COLUMNS.items() if "." not in name}
    for name, column in short.items():
        same = [dotted for dotted in DOTTED if dotted.endswith(f".{name}")]
        assert name == "seed" or column == COLUMNS["task.examples" if name == "examples" else same[0]]
        assert len(same) == 1 or name in ("seed", "examples")
    assert {name.partition(".")[2] for name in DOTTED} == set(short)


def test_seed_is_that_of_the_spec():
    assert run_of({"seed": "5"}, BASE) == BASE.with_seed(5)
    assert run_of({"seed": "5", "evaluation.seed": "6", "width": "72"}, BASE).evaluation.seed == 6


def test_examples_alone_are_those_of_the_task():
    run = run_of({"examples": "50_000", "evaluation.examples": "7"}, BASE)
    assert (run.task.examples, run.evaluation.examples) == (50_000, 7)


# One run


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("steps", "100", 100),
        ("steps", " 1_000\t", 1_000),
        ("steps", "+7", 7),
        ("steps", "\u00a0007 ", 7),
        ("learning_rate", "1", 1.0),
        ("learning_rate", " 1e-3 ", 0.001),
        ("learning_rate", ".5", 0.5),
        ("learning_rate", "1.E-2", 0.01),
        ("weight_decay", "-0", 0.0),
    ],
)
def test_a_number_is_read(name, text, value):
    read = getattr(run_of({name: text}, BASE).training, name)
    assert (read, type(read)) == (value, type(value))


def test_a_text_is_the_whole_cell():
    assert run_of({"recipe": "gpt2"}, BASE).model.recipe == "gpt2"
    with pytest.raises(BadTable, match=r"^column 'recipe': ModelSpec\.recipe=' gpt2': known recipes are modern, gpt2$"):
        run_of({"recipe": " gpt2"}, BASE)


@pytest.mark.parametrize(("kind", "bad"), [(kind, bad) for kind in BAD for bad in BAD[kind]])
def test_a_cell_that_is_never_good_is_refused_in_every_column(kind, bad):
    for name in (name for name, column in COLUMNS.items() if column.kind is kind and bad in never_good(name)):
        with pytest.raises(BadTable, match=f"^column '{name}': "):
            run_of({name: bad}, BASE)


def test_nothing_given_is_the_base():
    assert run_of({}, BASE) == BASE


def test_what_goes_together_is_taken_whatever_its_order():
    long = {"pattern_length": "15", "input_length": "40", "occurrences": "2", "heads": "5", "width": "70"}
    run = run_of(long, BASE)
    assert run == run_of(dict(reversed(long.items())), BASE)
    assert (run.task.pattern_length, run.model.width) == (15, 70)
    swapped = BASE.but(task=TaskSpec(example_seed=BASE.evaluation.seed - 1))
    seeds = {"task.example_seed": str(BASE.evaluation.seed), "evaluation.seed": "0"}
    assert run_of(seeds, swapped).evaluation.seed == 0


@pytest.mark.parametrize(
    ("values", "columns"),
    [
        ({"width": "63", "steps": "9"}, "'width'"),
        ({"steps": "9", "heads": "5"}, "'heads'"),
        ({"width": "72", "heads": "5", "layers": "2"}, "'width', 'heads'"),
        ({"alphabet": "ab", "instructions": "100", "steps": "9"}, "'alphabet', 'instructions'"),
        ({"instructions": "45001", "width": "72"}, "'instructions'"),
        ({"example_seed": "7", "rule_seed": "8", "evaluation.seed": "7"}, "'example_seed', 'evaluation.seed'"),
        ({"seed": "1000000", "steps": "9"}, "'seed'"),
    ],
)
def test_a_refusal_of_the_spec_names_the_columns_that_cause_it(values, columns):
    with pytest.raises(BadTable, match=rf"^column {columns}: (Task|Model|Evaluation)Spec\.\w+="):
        run_of(values, BASE)


LENGTHS = [f"task.{name}" for name in ("pattern_length", "replacement_length", "input_length", "occurrences")]


@pytest.mark.parametrize(
    "names", [*([name] for name in DOTTED if COLUMNS[name].kind is int), LENGTHS[:3], LENGTHS], ids="+".join
)
def test_huge_numbers_are_refused_at_once(names):
    start = time.monotonic()
    with pytest.raises(BadTable, match=f"^column '{names[0]}'"):
        run_of(dict.fromkeys(names, "9" * 18), BASE)
    assert time.monotonic() - start < 5


def test_all_that_is_wrong_with_a_run_is_told():
    with pytest.raises(BadTable) as refused:
        run_of({"width": "1.0", "layers": "2", "learning_rate": "fast"}, BASE)
    assert str(refused.value).split("\n") == [
        "column 'width': '1.0' is not an integer such as 1000, of at most 18 digits",
        "column 'learning_rate': 'fast' is not a finite number such as 0.015",
    ]
    with pytest.raises(BadTable) as refused:
        run_of({"widht": "64", "model.width": "64", "width": "64"}, BASE)
    unknown, twice = str(refused.value).split("\n")
    assert unknown.startswith("column 'widht' is unknown; did you mean 'width'? (known, with commas between: instr")
    assert twice == "columns 'model.width' and 'width' both set model.width"


# Files


def test_a_table_of_a_scale():
    study = scale("smoke")
    rows = [{"instructions": str(run.task.instructions), "seed": str(run.model.seed)} for run in study.runs()]
    assert [run_of(row, study.main.base) for row in rows] == study.runs()


@pytest.mark.parametrize(
    "content",
    [
        HEAD + "100,64,703,0\n1000,96,703,1\n",
        HEAD + "100,64,703,0\n1000,96,703,1",
        HEAD + "100,64,703,0\n1000,96,703,1\n\n\r\n\n",
        b"\xef\xbb\xbf" + HEAD.encode() + b"100,64,703,0\r\n1_000,96,703,1\r\n",
        HEAD.replace("\n", "\r") + "100,64,703,0\r1000,96,703,1\r",
        HEAD + '"100",64,"703", 0\n"1000" ,96,703,1\n'.replace('" ,', '",'),
        "width, seed ,task.instructions,training.steps\n64,0,100,703\n96,1,1000,703\n",
    ],
)
def test_forms_of_one_table(table, content):
    runs = [
        run_of({"instructions": n, "width": w, "seed": s}, BASE)
        for n, w, s in [("100", "64", "0"), ("1000", "96", "1")]
    ]
    assert read_table(table(content), BASE) == runs


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("", "empty, or a header without rows"),
        (b"\xef\xbb\xbf\r\n\n", "empty, or a header without rows"),
        (HEAD, "empty, or a header without rows"),
        (HEAD + "\n\n", "empty, or a header without rows"),
        ("\n" + HEAD + "1,64,1,1\n", "row 1: column 1 has no name (known, "),
        ("width,\n64,1\n", "row 1: column 2 has no name (known, "),
        ("width,colour\n64,1\n", "row 1: column 'colour' is unknown (known, "),
        ("widths\n64\n", "row 1: column 'widths' is unknown; did you mean 'width'? (known, "),
        ("instructions;width\n100;64\n", "row 1: column 'instructions;width' is unknown; did you mean 'instructions'? (known, with"),
        ("width,steps,width\n64,9,64\n", "row 1: columns 'width' and 'width' both set model.width"),
        ("width,model.width\n64,64\n", "row 1: columns 'width' and 'model.width' both set model.width"),
        ("model.seed,seed\n1,1\n", "row 1: columns 'model.seed' and 'seed' both set model.seed"),
        ("seed,rule_seed\n1,1\n", "row 1: columns 'seed' and 'rule_seed' both set task.rule_seed"),
        ("," * 5_000 + "\n1\n", f"row 1: 5,001 columns, but there are only {len(COLUMNS)} names: "),
        ("width,steps\n64,9\n64\n", "row 3: 1 cell(s) for 2 column(s), none for column 'steps'"),
        ("width,steps\n64,9,\n", "row 2: 3 cell(s) for 2 column(s)"),
        ("width,steps\n64,9\n\n64,8\n", "row 3: 1 cell(s) for 2 column(s), none for column 'steps'"),
        ("width\n64\n\n72\n", "row 3: column 'width': '' is not an integer"),
        ("width\n64\n \n", "row 3: column 'width': ' ' is not an integer"),
        ("width,steps\n64,9\n64,0\n", "row 3: column 'steps': TrainingSpec.steps=0: must be at least 1"),
        ("width\n64\n 6_4\n", f"row 3: the same run ({BASE.digest()}) as row 2"),
        ("seed\n" + "9" * 19, "row 2: column 'seed': '9999999999999999999' is not an integer such as 1000, of at most 18"),
        ("weight_decay\n1e400\n", "row 2: column 'weight_decay': '1e400' is not a finite number such as 0.015"),
        ("width\n=1+1\n", "row 2: column 'width': '=1+1' is not an integer"),
        ("width\n__import__('os').abort()\n", "row 2: column 'width': \"__import__('os').abort()\" is not an integer"),
        ("width\n6\0004\n", r"row 2: column 'width': '6\x004' is not an integer"),
        ("width\n" + "64".encode("utf-16-le").decode() + "\n", r"row 2: column 'width': '6\x004\x00' is not an integer"),
        ("width\n64".encode("utf-16"), "row 1: not CSV in UTF-8 ("),
        (b"recipe\nmodern\ngpt\xff2\n", "row 3: not CSV in UTF-8 ("),
        ('width,steps\n"64,9\n', "row 2: not CSV in UTF-8 (unexpected end of data); a quoted cell must end on its own row"),
        ('width,steps\n"64"1,9\n', "row 2: not CSV in UTF-8 ("),
        ("width\n" + "1" * 10_001, "row 2: longer than 10,000 bytes"),
        ("width\n" + "1" * 10_000, "row 2: column 'width': '1111"),
    ],
)  # fmt: skip
def test_a_bad_table_is_told_by_its_place(table, content, told):
    (problem,) = problems(table(content))
    assert problem.startswith(told)


def test_all_rows_are_checked_before_any_is_given(table):
    content = 'width,learning_rate\n64,0.1\n63,0.1\n64,nan\nx,inf\n64\n"64,1\n64,0.1\n72,0.1\n'
    told = problems(table(content))
    assert [line.partition(": ")[0] for line in told] == [f"row {row}" for row in (3, 4, 5, 5, 6, 7, 8)]
    assert told[-1] == f"row 8: the same run ({run_of({'learning_rate': '0.1'}, BASE).digest()}) as row 2"


@pytest.mark.parametrize(("bad", "more"), [(SHOWN, None), (SHOWN + 1, 1), (5_000, 5_000 - SHOWN)])
def test_of_many_problems_the_first_are_told(table, bad, more):
    told = problems(table("width,heads\n" + "63,4\n" * bad))
    assert told[:SHOWN] == [f"row {row}: column 'width': ModelSpec.width=63: must be a multiple of 2 x heads=4"
                            for row in range(2, SHOWN + 2)]  # fmt: skip
    assert told[SHOWN:] == ([f"and {more:,} more"] if more else [])


def test_many_unknown_columns_are_counted(table):
    told = problems(table(",".join(f"c{n}" for n in range(30)) + "\n"))
    assert (len(told), told[-1]) == (SHOWN + 1, f"and {30 - SHOWN} more")


def test_a_row_of_an_error_deep_in_a_file_is_the_editors(table):
    lines = [f"{n}" for n in range(1, 900)]
    lines[700] = "x"
    assert problems(table("task.rule_seed\r\n" + "\r\n".join(lines)))[0].startswith(
        "row 702: column 'task.rule_seed': 'x'"
    )


def test_what_is_no_file_is_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for name, why in [("none.csv", "no such file"), (".", "not a file"), ("pipe", "not a file"), ("x\0y", "no such file"),
                      ("x" * 5_000, "File name too long"), ("\udc80", "no such file")]:  # fmt: skip
        assert problems(tmp_path / name) == [why]


def test_a_table_has_a_largest_size(table, monkeypatch):
    content = "width,seed\r\n" + "".join(f"64,{n}\r\n" for n in range(9))
    monkeypatch.setattr(module, "LARGEST", len(content))
    monkeypatch.setattr(module, "MOST_ROWS", 9)
    assert len(read_table(table(content), BASE)) == 9
    assert problems(table(content + "\n")) == [f"more than {len(content)} bytes"]
    monkeypatch.undo()
    monkeypatch.setattr(module, "MOST_ROWS", 8)
    assert problems(table(content)) == ["more than 8 rows"]


def test_a_lowered_limit_of_the_csv_module_is_a_problem_of_the_row(table):
    before = csv.field_size_limit(5)
    try:
        assert problems(table("width\n64\n123456\n"))[0].startswith("row 3: not CSV in UTF-8 (field larger")
    finally:
        csv.field_size_limit(before)


def test_only_that_file_is_opened(table, monkeypatch):
    path, opened = table(HEAD + "/etc/passwd,@/etc/passwd,file:///etc/passwd,=WEBSERVICE()\n"), []
    audit = type(path).open
    monkeypatch.setattr(type(path), "open", lambda self, *args: opened.append(self) or audit(self, *args))
    assert len(problems(path)) == 4
    assert opened == [path]


# Any file


@given(raw_tables())
def test_any_bytes_are_runs_or_a_bad_table(folder, data):
    check_bytes(data, folder)


@given(mutations(), forms())
def test_one_bad_cell_is_told_by_row_and_column(folder, mutation, form):
    check_mutation(*mutation, form, folder)


@given(tables(), forms())
def test_a_table_means_its_runs(folder, table, form):
    check_round_trip(table, form, folder)
