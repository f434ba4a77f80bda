"""What a study leaves behind: a page that stands alone, tables and figures, where they come from."""

import json
import re

import nbformat
import pandas as pd
import pytest
import seaborn as sns
from matplotlib import pyplot as plt
from nbformat.v4 import new_code_cell, new_markdown_cell, new_output

from curves import results
from unseen import report
from unseen.files import LARGEST_TEXT, provenance, read_json
from unseen.scales import scale
from unseen.specs import RunSpec
from unseen.studies.results import COMMITTED, committed_folder, committed_table

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


@pytest.fixture
def executed(runs):
    """A main notebook that has been executed, with its table."""
    figure = new_output("display_data", {"image/png": PIXEL})
    cells = [
        new_markdown_cell("# The question"),
        new_code_cell("secret = 1", outputs=[new_output("stream", text="251 instructions")]),
        new_code_cell("train()", metadata={"tags": ["progress"]},
                      outputs=[new_output("stream", text="3 of 27 runs done")]),
        new_markdown_cell("## The curve\n\nSee:"),
        new_code_cell("draw()", outputs=[figure]),
        new_code_cell("draw()", outputs=[figure], metadata={"alt": "as the cell says"}),
        new_markdown_cell("## The end"),
    ]  # fmt: skip
    report.write_table(report.MAIN, "quick", (), results())
    nbformat.write(nbformat.v4.new_notebook(cells=cells), runs / "quick" / f"{report.MAIN}.ipynb")
    return runs / "quick"


def test_the_report_is_the_main_notebook_without_code_and_stands_alone(executed):
    path = report.write_report("quick", {report.MAIN: 90, "00_start_here": 5})
    page = path.read_text("utf-8")
    assert path == executed / "report.html"
    assert "The question" in page
    assert "251 instructions" in page
    assert "secret" not in page
    assert "runs done" not in page
    assert re.findall('alt="([^"]*)"', page) == ["The curve", "as the cell says"]
    assert re.search(f'href="{report.MAIN}.html">{report.MAIN}</a>, 2 min', page)
    assert "27 trained models, 9 min of training in all" in page
    assert "each scored on 2,000 examples a split" in page
    assert provenance()["commit"] in page
    assert "<script" not in page
    links = re.findall("""(?:src|href)=["']([^"']*)["']""", page)
    assert all(link.startswith(("data:image/png;base64,", "#", report.MAIN, "00_")) for link in links)
    assert not re.search(r"@import|url\(", page)


def test_the_name_of_a_machine_is_text(executed, monkeypatch):
    named = {**provenance(), "processor": "<script>alert(1)</script>"}
    monkeypatch.setattr(report, "provenance", lambda: named)
    report.write_table(report.MAIN, "quick", (), results())
    assert "&lt;script&gt;alert(1)" in report.write_report("quick", {}).read_text("utf-8")


def test_without_the_main_notebook_there_is_no_report(runs):
    with pytest.raises(FileNotFoundError, match=report.MAIN):
        report.write_report("quick", {})
    assert not runs.exists()


def test_tables_are_read_back_and_their_provenance_stands_beside_them(runs):
    path = report.write_table("12_long_tail", "full", scale("full").settings, results().drop(columns="run"))
    pd.testing.assert_frame_equal(
        pd.read_csv(path), results().drop(columns="run"), rtol=1e-5, check_dtype=False
    )
    about = json.loads(path.with_suffix(".json").read_text())
    assert about["command"] == "unseen run 12 -p scale=full"
    assert {"versions", "commit", "processor"} <= set(about)
    assert list(about["settings"]) == [setting.name for setting in scale("full").settings]
    for setting in scale("full").settings:
        kept = about["settings"][setting.name]
        assert RunSpec.from_dict(kept["base"]) == setting.base
        assert (tuple(kept["seeds"]), tuple(kept["instructions"])) == (setting.seeds, setting.instructions)


def of_scale(name):
    """A table with the runs of a scale."""
    return pd.DataFrame({"run": [run.digest() for run in scale(name).runs()]})


@pytest.mark.parametrize(("settings", "table"), [("smoke", "smoke"), ("quick", "smoke"), ("quick", "full")])
def test_a_result_or_figure_of_another_scale_is_refused(runs, settings, table):
    refused = r"^10_x: .*scale=.*quick.* run the notebook again from its"
    with pytest.raises(report.Mislabelled, match=refused):
        report.write_table("10_x", "quick", scale(settings).settings, of_scale(table))
    with pytest.raises(report.Mislabelled, match="these results are of scale=smoke, not quick"):
        report.write_figure("10_x", "quick", plt.figure(), scale("smoke").settings)
    plt.close("all")  # other tests count open figures
    assert not runs.exists()


OWN = {"base": "/my own", "rank": 512}


@pytest.mark.parametrize(("change", "message"), [
    (lambda folder: (folder / "10_x.csv").write_text("run\n1\n"), "10_x.csv is not what its JSON describes"),
    (lambda folder: (folder / "10_x.ipynb").touch(), "10_x.ipynb did not reach its end"),
    (lambda folder: (folder / "10_x.json").unlink(), "10_x.csv is not what its JSON describes"),
    (lambda folder: folder.rename(folder.with_name("full")), "10_x.json is of scale=smoke"),
    (lambda folder: (folder / "11_y.json").write_text('{"command": "unseen run 11"}'), "of scale=unknown"),
    (lambda _: report.write_table("15_pretrained_model", "smoke", (), of_scale("smoke"), OWN),
     "of a run of your own .unseen run 15 -p scale=smoke -p 'base=/my own'., so it is not kept"),
    (lambda folder: (folder / "11_y.json").write_text('{"command": "make study SCALE=full"}'), "scale=full"),
])  # fmt: skip
def test_what_is_kept_is_of_its_folders_scale(runs, change, message):
    report.write_table("10_x", "smoke", scale("smoke").settings, of_scale("smoke"))
    report.check_kept(runs / "smoke", "smoke")
    change(runs / "smoke")
    (folder,) = runs.iterdir()
    with pytest.raises(report.Mislabelled, match=message):
        report.check_kept(folder, folder.name)


@pytest.mark.parametrize("name", COMMITTED)
def test_the_committed_results_are_of_their_scale(name):
    report.check_kept(committed_folder(name), name)


def test_figures_axes_and_grids_are_written_and_stay_open(runs):
    grid = sns.relplot(pd.DataFrame({"x": [1], "y": [2]}), x="x", y="y")
    for figure in (grid, grid.ax, grid.figure):
        path = report.write_figure("17_threshold_law", "smoke", figure)
        assert path == runs / "smoke" / "17_threshold_law.png"
        assert path.read_bytes().startswith(b"\x89PNG")
        assert plt.fignum_exists(grid.figure.number)
        path.unlink()
    plt.close(grid.figure)


def test_show_draws_the_committed_table_and_elsewhere_it_is_measured_and_written(runs):
    shown = report.measured(report.MAIN, "show", scale("show").settings, None)
    pd.testing.assert_frame_equal(shown, committed_table(report.MAIN, "full"))
    assert not runs.exists()
    table = of_scale("smoke")
    assert report.measured("10_x", "smoke", scale("smoke").settings, lambda: table) is table
    pd.testing.assert_frame_equal(pd.read_csv(runs / "smoke" / "10_x.csv"), table)


def test_the_table_of_a_language_model_is_the_committed_one_unless_a_base_is_given(monkeypatch):
    calls = []
    monkeypatch.setattr(report, "measured", lambda *given, **how: calls.append((given, how)))
    committed = report.measured_on("", "35_smollm2", "quick", [], None)
    assert len(committed)
    assert not calls
    for base in ("smollm2", "/models/mine"):
        report.measured_on(base, "35_smollm2", "quick", [], None)
    given = ("35_smollm2", "quick", [], None)
    assert calls == [(given, {"named": {"base": "smollm2"}}), (given, {"given": {"base": "/models/mine"}})]


def test_the_report_of_show_says_what_made_the_committed_results(executed):
    executed.rename(executed.with_name("show"))
    page = report.write_report("show", {}).read_text("utf-8")
    about = read_json(committed_folder("full") / f"{report.MAIN}.json", LARGEST_TEXT)
    assert about["commit"] in page
    assert (executed.with_name("show") / f"{report.MAIN}.csv").is_file()


def test_a_notebook_opens_with_what_its_scale_shows_and_paper_asks_a_person(monkeypatch):
    said = {"show": "nothing is trained", "smoke": "Nothing is learned", "quick": "Trained here"}
    assert all(words in report.opening(name).data for name, words in said.items())
    monkeypatch.delenv("UNSEEN_HEADLESS", raising=False)
    monkeypatch.setattr("builtins.input", lambda _: "no")
    with pytest.raises(ValueError, match=r"^scale='paper': not started\. .*days"):
        report.opening("paper")
    monkeypatch.setattr("builtins.input", lambda _: "yes")
    assert "paper" in report.opening("paper").data
