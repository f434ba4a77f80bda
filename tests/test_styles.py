"""Styles for a real model: names, formats and facts as they are drawn."""

import json
from collections import Counter

import pytest

from unseen.scales import amounts
from unseen.studies.arena import aepo, less, real, switching, ual
from unseen.studies.results import committed_folder
from unseen.worlds import everyday
from unseen.worlds.styles import EVERY, NAMES, WORDS, lines, styles


def test_formats_are_drawn_as_often_as_a_style_says():
    chosen = styles(1, certain=2, shared=2, corrupted=2)
    assert len({style.name for style in chosen} & {*NAMES}) == 6
    drawn = lines(1, chosen, [i % 6 for i in range(3_000)])
    for number, style in enumerate(chosen):
        counts = Counter(line.form for line in drawn if line.style == number)
        assert counts.keys() == style.shares().keys()
        assert {form: count / 500 for form, count in counts.items()} == pytest.approx(
            style.shares(), abs=0.08
        )


def test_a_test_asks_about_facts_that_no_row_has():
    chosen, found = styles(0, certain=5), []
    for test in (False, True):
        drawn = lines(0, chosen, list(range(5)) * 400, test, words=True)
        assert all(line.query.endswith(WORDS[line.form]) for line in drawn)
        assert all(everyday.right(line.written(), line.right()) for line in drawn)
        found.append({line.query.removesuffix(WORDS[line.form]) for line in drawn})
    assert not found[0] & found[1]


def test_only_its_name_says_which_style_is_asked_for():
    chosen = styles(0, certain=5)
    for line in lines(0, chosen, list(range(5)) * 100):
        words = {word.strip(".,!") for word in line.query.split()}
        assert words & {*NAMES} == {chosen[line.style].name}


def test_styles_of_a_seed_differ_from_those_of_another():
    assert len({styles(seed, certain=3) for seed in range(5)}) == 5
    meant = {form for seed in range(40) for style in styles(seed, 0, corrupted=1) for form in style.forms}
    assert meant == {*EVERY}


@pytest.mark.parametrize(("table", "study"), [
    ("31_smollm2", less.REAL), ("33_smollm2", switching.REAL), ("34_smollm2_uncertainty", ual.REAL),
    ("34_smollm2_preference", aepo.REAL),
])  # fmt: skip
def test_a_table_says_the_updates_that_were_made(table, study):
    much = amounts(study, "full")
    assert {work.training.steps for work in real.works(study, ["one"], "full", "base")} == {much.updates}
    (said,) = json.loads((committed_folder("full") / f"{table}.json").read_text("utf-8"))["settings"].values()
    assert (said["base"]["steps"], tuple(said["seeds"])) == (much.updates, much.seeds)
