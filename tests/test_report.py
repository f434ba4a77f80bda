"""What a study leaves behind: a page that stands alone, a table with its columns, where both come from."""

import html
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest
from matplotlib import pyplot as plt

from curves import baselines, results, step_at
from unseen import report
from unseen.disk.files import provenance
from unseen.diversity.thresholds import fit_threshold
from unseen.scales import scale
from unseen.specs import RunSpec

STUDY = scale("quick")


class Page(HTMLParser):
    """The tags, links and text of a page."""

    def __init__(self, source):
        super().__init__()
        self.tags, self.links, self.text, self.open = [], [], "", []
        self.feed(source)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.links += [value for name, value in attributes if name in ("src", "href")]
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def reported(frame, notebooks=(), seconds=()):
    report.write_results(STUDY, frame, baselines())
    path = report.write_report(STUDY, list(notebooks), dict(seconds))
    return path, Page(path.read_text("utf-8"))


def test_the_page_stands_alone_and_is_well_formed(runs):
    path, page = reported(results(), [Path("a/10_diversity_threshold.ipynb")], {"10_diversity_threshold": 90})
    assert path == runs / "quick" / "report.html"
    assert page.open == []
    assert "script" not in page.tags
    assert all(link.startswith("data:image/png;base64,") or re.fullmatch(r"[\w.]+", link) for link in page.links)
    assert "10_diversity_threshold.html" in page.links
    assert "10_diversity_threshold, 2 min" in page.text
    assert (path.parent / "10_diversity_threshold.png").read_bytes().startswith(b"\x89PNG")
    assert not re.search(r"@import|url\(", path.read_text("utf-8"))


def test_the_page_tells_the_threshold_and_the_means(runs):
    frame = results(step_at(180))
    _, page = reported(frame)
    assert f"Half accuracy at {fit_threshold(frame)}." in page.text
    assert "180 instructions (95 % interval 180 to 180, 3 seeds)" in page.text
    assert "arXiv 2402.10891" in page.text
    assert "Models that trained on 10 different instructions do not follow unseen ones" in page.text
    assert "0.980" in page.text
    assert "27 trained models, 9 min of training in all, 20 s each; each scored on 2,000 examples a split" in page.text
    assert provenance()["commit"] in page.text


def test_a_study_without_a_step_says_so(runs):
    _, page = reported(results(lambda size: 0.0))
    assert "No step to fit at this scale." in page.text


def test_a_study_of_one_seed_has_no_interval(runs):
    _, page = reported(results(seeds=[0]))
    assert "180 instructions (one seed, no interval)" in page.text
    assert "nan" not in page.text.lower()


def test_other_settings_stand_in_a_table(runs):
    frame = pd.concat(
        [results(), results(step_at(600), setting="wider"), results(lambda n: 0.0, setting="<b>flat</b>")]
    )
    path, page = reported(frame)
    assert "Other settings" in page.text
    assert page.tags.count("img") == 2
    assert "<b>flat</b>" in page.text  # as text
    assert "<b>" not in path.read_text("utf-8")
    assert "the unseen curve does not pass" in page.text


def test_other_settings_without_any_step_are_a_table_alone(runs):
    frame = pd.concat([results(lambda n: 0.0), results(lambda n: 0.1, setting="wider")])
    _, page = reported(frame)
    assert "Other settings" in page.text
    assert page.tags.count("img") == 1


def test_what_the_machine_calls_itself_is_text(runs, monkeypatch):
    named = {**provenance(), "processor": "<script>alert(1)</script> & Co", "commit": "v1<2"}
    monkeypatch.setattr(report, "provenance", lambda: named)
    path, page = reported(results())
    assert "script" not in page.tags
    assert "<script>alert(1)</script> & Co" in page.text
    assert html.escape("v1<2") in path.read_text("utf-8")


def test_no_figure_is_left_open(runs):
    before = plt.get_fignums()  # of other tests
    reported(pd.concat([results(), results(step_at(600), setting="wider")]))
    assert plt.get_fignums() == before


def test_a_report_without_results_is_no_report(runs):
    with pytest.raises(FileNotFoundError, match="10_diversity_threshold"):
        report.write_report(STUDY, [], {})
    assert not (runs / "quick" / "report.html").exists()


# Results


def test_the_table_is_tidy_and_read_back_as_it_was(runs):
    frame = results(noise=0.02)
    path = report.write_results(STUDY, frame, baselines())
    assert path == runs / "quick" / "10_diversity_threshold.csv"
    read = pd.read_csv(path)
    assert {"setting", "recipe", "instructions", "examples_per_instruction", "seed", "split", "accuracy", "low", "high",
            "examples", "seconds", "run"} <= set(read)  # fmt: skip
    pd.testing.assert_frame_equal(read, frame, rtol=1e-5, check_dtype=False)  # 180.0 is written as 180
    pd.testing.assert_frame_equal(pd.read_csv(path.with_name("10_baselines.csv")), baselines(), check_dtype=False)
    assert b"\r" not in path.read_bytes()


def test_where_the_numbers_come_from_is_written_beside_them(runs):
    path = report.write_results(scale("full"), results(), baselines())
    about = json.loads(path.with_suffix(".json").read_text())
    assert about["command"] == "make study SCALE=full"
    assert {"versions", "commit", "processor"} <= set(about)
    assert list(about["settings"]) == [setting.name for setting in scale("full").settings]
    for setting in scale("full").settings:
        told = about["settings"][setting.name]
        assert RunSpec.from_dict(told["base"]) == setting.base
        assert tuple(told["seeds"]) == setting.seeds
        assert tuple(told["instructions"]) == setting.instructions


def test_a_figure_is_written_beside_its_table_and_stays_open(runs):
    figure = plt.figure()
    path = report.write_figure("17_threshold_law", "smoke", figure)
    assert path == runs / "smoke" / "17_threshold_law.png"
    assert path.read_bytes().startswith(b"\x89PNG")
    assert plt.fignum_exists(figure.number)
    plt.close(figure)
