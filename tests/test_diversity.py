"""The main study: what is measured, and that its sentences say what the numbers say."""

import pandas as pd
import pytest

from curves import results, step_at
from unseen.claims import INSTRUCTION_DIVERSITY, PublishedThreshold
from unseen.diversity import curve
from unseen.diversity.curve import baselines, main_curve, main_threshold, measure, readings, thresholds
from unseen.running.workers import Serial
from unseen.scales import Scale, Setting, scale
from unseen.store import Store

PAPER = INSTRUCTION_DIVERSITY


def falling(size):
    return step_at(180)(180**2 / size)


def read(curve, **more):
    return readings(results(curve, **more), PAPER)


@pytest.mark.parametrize(
    ("middle", "against"),
    [
        (150, "below the 300 under which the paper, at its size, saw none generalise"),
        (295, "below the 300 under which"),
        (305, "inside the paper's own range of 300 to 1,000"),
        (990, "inside the paper's own range of 300 to 1,000"),
        (1_300, "above the 1,000 from which the paper, at its size, saw all generalise"),
    ],
)
def test_the_step_is_compared_with_the_published_range(middle, against):
    sentence = read(step_at(middle, 8))[1]
    assert against in sentence
    assert f"{middle} instructions (95 % interval {middle} to {middle}, 3 seeds)" in sentence


def test_the_published_range_is_the_one_that_is_given():
    sentence = readings(results(step_at(180)), PublishedThreshold("nobody", 20, 90, (30,)))[1]
    assert sentence.endswith("above the 90 from which the paper, at its size, saw all generalise.")


def test_the_width_of_the_step_is_told_where_it_is_seen():
    assert "from under a tenth of its height at 100 to over nine tenths at 300" in read(step_at(180, 6))[1]
    gentle = read(step_at(180, 1), sizes=(100, 150, 200, 300))[1]
    assert "tenth" not in gentle


def test_a_curve_that_rises_and_falls_again_has_no_width():
    sentence = read(lambda size: float(100 < size < 1_000))[1]
    assert "instructions (95 % interval" in sentence
    assert "tenth" not in sentence


def test_a_curve_that_steps():
    ends, _, budget = read(step_at(180))
    assert ends == (
        "Models that trained on 10 different instructions do not follow unseen ones (0.0% right, against 98.0% on seen "
        "ones); models that trained on 3,000 do (100.0%, against 98.0%)."
    )
    assert budget.startswith(
        "The budget is the same everywhere, so this is diversity and not amount: 18 examples of each"
    )
    assert budget.endswith("of 3,000 instructions gave 100.0% on unseen ones, 5,400 examples of each of 10 gave 0.0%.")


def test_a_curve_that_stays_down():
    ends, step, budget = read(lambda size: 0.001 * (size > 100))
    assert "do not follow unseen ones" in ends
    assert "still do not (0.1%" in ends
    assert step == ("Between them there is no step to fit: the mean accuracy on unseen instructions lies between 0.0% "
                    "and 0.1%.")  # fmt: skip
    assert "did not help: the best accuracy on unseen ones is 0.1%, that with the fewest 0.0%." in budget


def test_a_curve_that_is_always_up():
    ends, step, budget = read(lambda size: 0.97)
    assert "instructions follow unseen ones (97.0%" in ends
    assert "3,000 do (97.0%" in ends
    assert "no step to fit" in step
    assert "did not help" in budget


def test_a_curve_that_falls():
    ends, step, budget = read(falling)
    assert "instructions follow unseen ones (100.0%" in ends
    assert "3,000 do not (0.0%" in ends
    assert "still" not in ends
    assert step.endswith("lies between 0.0% and 100.0%.")
    assert budget.endswith("the best accuracy on unseen ones is 100.0%, that with the fewest 100.0%.")


def test_one_seed_is_read_without_an_interval():
    assert "nan" not in " ".join(read(step_at(180), seeds=[0]))
    assert "(one seed, no interval)" in read(step_at(180), seeds=[0])[1]


def test_only_the_main_setting_is_read():
    other = pd.concat([results(step_at(180)), results(step_at(600), setting="longer strings")])
    assert readings(other, PAPER) == read(step_at(180))
    assert main_threshold(other) == main_threshold(results(step_at(180)))
    assert set(main_curve(other)["setting"]) == {"main"}


def test_every_setting_gets_a_row_whether_it_steps_or_not():
    table = thresholds(pd.concat([results(step_at(600), setting="b"), results(falling, setting="a", seeds=[0])]))
    assert list(table) == ["setting", "middle", "low", "high", "steepness", "top", "seeds", "note"]
    assert table["setting"].tolist() == ["b", "a"]
    assert table["middle"].round().tolist()[:1] == [600]
    assert table["note"].tolist()[0] == ""
    assert "does not pass from below to above one half" in table["note"].tolist()[1]
    assert table["seeds"].tolist() == [3, 1]
    assert table.loc[1, ["middle", "low", "high", "steepness", "top"]].isna().all()


def test_where_nothing_steps_the_table_has_the_same_columns():
    table = thresholds(results(falling))
    assert list(table) == list(thresholds(results()))
    assert main_threshold(results(falling)) is None


def test_a_seed_that_never_learns_is_a_note_and_no_crash():
    frame = pd.concat([results(seeds=[0, 1]), results(lambda size: 0.0, seeds=[2])])
    assert "seed 2 never rises" in thresholds(frame)["note"][0]
    assert "no step to fit" in readings(frame, PAPER)[1]


# What is measured


def test_measure_names_the_setting_of_every_run(tmp_path):
    main = scale("smoke").main
    first = Setting("main", main.base, (2, 8), (0,))
    study = Scale("tiny", "", (first, Setting("again", main.base, (8, 64), (0,))))
    table = measure(study, Store(tmp_path), Serial())
    assert table.columns[0] == "setting"
    assert table.groupby("setting", sort=False)["instructions"].unique().map(list).to_dict() == {
        "main": [2, 8], "again": [64]}  # fmt: skip  # a run of both belongs to the first


def test_baselines_know_what_needs_no_learning(monkeypatch):
    monkeypatch.setattr(curve, "_BASELINE_EXAMPLES", 60)
    table = baselines(scale("smoke"))
    assert list(table) == ["baseline", "instructions", "seed", "split", "accuracy", "examples"]
    assert table["examples"].eq(60).all()
    assert len(table) == 6 * 2 * 3  # runs, splits, baselines
    means = table.groupby(["baseline", "split"])["accuracy"].agg(["min", "max"])
    assert means.loc[("oracle", "seen")].tolist() == means.loc[("oracle", "unseen")].tolist() == [1, 1]
    assert means.loc[("nearest rule", "seen")].tolist() == [1, 1]
    assert means.loc[("nearest rule", "unseen"), "max"] == 0
    assert means.loc[("copy", "seen"), "max"] == 0
