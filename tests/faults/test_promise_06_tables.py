"""A bad sweep table: all rows are checked first, row and column are named, and nothing starts."""

import re

import pytest
from deeds import AMOUNT
from hypothesis import given, settings

from bad_tables import raw_tables
from unseen.runs import tables
from unseen.runs.tables import SHOWN, BadTable, read_table
from unseen.specs import RunSpec

fuzzed = settings(max_examples={"short": 20, "usual": 500, "long": 5_000}[AMOUNT])


def test_one_bad_row_among_many_is_found_before_any_starts(
    runs, tmp_path, promise, refused, monkeypatch, amount, rng
):
    monkeypatch.setattr(tables, "fill", lambda *_: pytest.fail("it was started"))
    table, count = tmp_path / "mine.csv", 500
    for _ in range(amount(2, 30, 300)):
        rows, place = [f"64,{seed}" for seed in range(count)], rng.randrange(count)
        rows[place] = rng.choice(
            [f"63,{place}", f"x,{place}", f",{place}", f"64,{place},1", "64,nan", "64,-1"]
        )
        table.write_text("\n".join(["width,seed", *rows]))
        err = refused("sweep", table, "--scale", "smoke")
        assert f"row {place + 2}: " in err
        assert err.count("\n") == 1
        assert not runs.exists()
        promise(f"tables with a bad row among {count}")


@pytest.mark.parametrize("options", [["--scheduler", "slurm"], ["--name", "../mine"], ["--scale", "fast"]])
def test_nothing_starts_on_a_good_table_with_a_bad_option(runs, tmp_path, promise, refused, options):
    (tmp_path / "mine.csv").write_text("steps\n4\n")
    assert options[1] in refused("sweep", tmp_path / "mine.csv", *options)
    assert not runs.exists()
    promise("good tables with a bad option")


@fuzzed
@given(raw_tables())
def fuzz(path, count, data):
    """Any file is a list of different runs or a ``BadTable`` of few lines, each with the file's name."""
    count("files of any bytes")
    path.write_bytes(data)
    try:
        runs = read_table(path, RunSpec())
        assert 0 < len(runs) == len({run.digest() for run in runs})
    except BadTable as error:
        lines = str(error).split("\n")
        assert re.fullmatch(r"and [\d,]+ more", lines.pop()) if len(lines) > SHOWN else lines
        assert all(line.startswith(str(path)) and line.isprintable() for line in lines)


def test_hunt(tmp_path, promise):
    fuzz(tmp_path / "table.csv", promise)
