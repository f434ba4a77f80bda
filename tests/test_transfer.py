"""Models asked in other worlds: the tests are what they say, and nothing in them was trained on."""

import re
from dataclasses import replace
from itertools import count

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from trainers import SMALL
from unseen.claims import transfer as claims_transfer
from unseen.datasets import draw
from unseen.instructions import draw_split, strings_of
from unseen.running.workers import Serial
from unseen.scales import SCALES, Setting
from unseen.store import Store
from unseen.sweep import SweepFailed
from unseen.transfer import ask, pictures, settings

TASK = SMALL.task.but(
    pattern_length=4, replacement_length=4, input_length=6, instructions=40, family="mixed", k_low=2, k_high=4
)


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch, tmp_path):
    monkeypatch.setenv("UNSEEN_RUNS", str(tmp_path))  # what models answered is kept there


def questions(tests, task):
    split = draw_split(task)
    return split, list(tests.of(task, split))


def test_no_string_of_a_test_rule_stands_in_a_training_rule():
    split, asked = questions(ask.ByK((1, 2, 4)), TASK)
    assert {(columns["form"], columns["k"]) for columns, _, _ in asked} >= {("random", 1), ("periodic", 2)}
    for _, _, rules in asked:
        assert not strings_of(rules) & strings_of(split.seen)


FORM = {  # of strings of four letters, at k = 2
    "random": lambda x: True,
    "repeated": lambda x: x[0] == x[1] and x[2] == x[3],
    "periodic": lambda x: x[0] == x[2] and x[1] == x[3],
    "mirrored": lambda x: x[0] == x[3] and x[1] == x[2],
}


def test_a_test_has_the_form_and_the_k_that_it_says():
    _, asked = questions(ask.ByK((1, 2)), TASK)
    assert sorted((columns["form"], columns["k"]) for columns, _, _ in asked) == [
        ("mirrored", 2), ("periodic", 2), ("random", 1), ("repeated", 2)]  # fmt: skip
    for columns, _, rules in asked:
        assert len(rules) > 3
        assert all(FORM[columns["form"]](x) for side in (rules.patterns, rules.replacements) for x in side)


def test_where_training_took_all_strings_there_is_no_test():
    task = TASK.but(family="repeated", k_low=3, instructions=30)
    split = draw_split(task)
    everything = replace(
        split,
        seen=split.seen.__class__(task.alphabet, *(np.repeat(np.arange(6, dtype=np.uint8), 4).reshape(6, 4),) * 2),
    )
    assert [columns["k"] for columns, _, _ in ask.ByK((4,)).of(task, everything)] == []


def test_inputs_hold_the_pattern_as_often_as_the_test_says():
    task = SMALL.task.but(pattern_length=2, replacement_length=2, input_length=8, also_occurrences="2,3")
    split, asked = questions(ask.ByOccurrences((1, 2, 4)), task)
    assert ask.ByOccurrences((1,)).trained(task) == {"trained": "1, 2, 3"}
    for columns, world, rules in asked:
        assert rules is split.unseen
        examples = draw(world, rules, np.zeros(20, int), np.random.default_rng(0))
        found = {line.text.count(line.rule.pattern) for line in map(examples.line, range(20))}
        assert found == {columns["asked"]}


def test_every_model_is_asked_every_test(tmp_path):
    setting = Setting("mine", SMALL.but(task=TASK), (20, 40), (0, 1))
    results = ask.measure([setting], ask.ByK((1, 2)), Store(tmp_path), Serial(), size=30)
    assert len(results) == 2 * 2 * 4
    assert results.groupby(["instructions", "seed"])["run"].nunique().tolist() == [1] * 4
    assert (results["low"] <= results["accuracy"]).all()
    assert (results["accuracy"] <= results["high"]).all()
    again = ask.measure([setting], ask.ByK((1, 2)), Store(tmp_path), Serial(), size=30)
    pd.testing.assert_frame_equal(results, again)


def test_what_was_trained_stays_text_and_no_model_is_asked_twice(tmp_path, capsys):
    task = SMALL.task.but(pattern_length=2, replacement_length=2, input_length=8, occurrences=2)
    setting = Setting("2", SMALL.but(task=task), (20,), (0,))
    for left in (1, 0):
        results = ask.measure([setting], ask.ByOccurrences((1, 3)), Store(tmp_path), Serial(), size=30)
        assert results["trained"].tolist() == ["2", "2"]
        assert f"{left} left" in capsys.readouterr().out.splitlines()[-1]


def test_a_digest_that_could_be_a_number_names_its_run(tmp_path):
    base = SMALL.but(task=TASK.but(instructions=20))
    odd = next(seed for seed in count() if re.fullmatch(r"[0-9]+e[0-9]+", base.with_seed(seed).digest()))
    results = ask.measure([Setting("mine", base, (20,), (odd,))], ask.ByK((1,)), Store(tmp_path), Serial(), size=30)
    assert results["run"].tolist() == [base.with_seed(odd).digest()]


def test_a_model_of_which_nothing_can_be_asked_has_no_rows(tmp_path):
    setting = Setting("mine", SMALL.but(task=TASK), (20,), (0,))
    results = ask.measure([setting], ask.ByK(()), Store(tmp_path), Serial(), size=30)
    assert len(results) == 0
    assert "run" in results


def test_a_run_that_fails_is_told(tmp_path):
    setting = Setting(
        "wild", SMALL.but(training=SMALL.training.but(learning_rate=1.0, matrix_learning_rate=1.0, steps=1)), (3,), (0,)
    )
    broken = Setting("broken", SMALL.but(model=SMALL.model.but(base="0" * 16)), (3,), (0,))
    with pytest.raises(SweepFailed, match="1 of 2 runs failed"):
        ask.measure([setting, broken], ask.ByK((1,)), Store(tmp_path), Serial())


@pytest.mark.parametrize("scale", SCALES)
def test_every_setting_of_every_scale_can_be_drawn(scale):
    chosen = [*settings.semantics(scale), *settings.occurrences(scale)]
    assert len({setting.name for setting in chosen}) == len(chosen)
    if scale != "paper":
        for setting in chosen:
            draw_split(setting.runs()[-1].task)


def large(*seeds):
    """Trained on large k alone, each seed's accuracy on k below 3."""
    frame = pd.DataFrame({"seed": range(len(seeds)), "accuracy": seeds})
    return frame.assign(setting="one", family="mixed", k_low=5, k_high=9, instructions=2_000, k=1)


def occurring(**accuracy):
    rows = [(trained, size, 0, value) for trained, values in accuracy.items() for size, value in values.items()]
    frame = pd.DataFrame(rows, columns=["trained", "instructions", "seed", "accuracy"])
    return frame.assign(trained=frame["trained"].map({"one": "1", "mix": "1, 2"}))


def test_an_interval_that_decides_nothing_says_so():
    measured = claims_transfer.judge_large_k(large(0.0, 0.1, 0.2))[0].measured
    assert measured.endswith("which decides for neither version")
    for seeds in ((0.9, 0.91, 0.92), (0.0, 0.05, 0.1), (0.3, 0.4, 0.6)):  # one of the two claims has a verdict
        assert "neither" not in claims_transfer.judge_large_k(large(*seeds))[0].measured


def test_what_was_not_measured_stays_empty_beside_what_was():
    ours = claims_transfer.occurrence_table(occurring(one={500: 0.25}, mix={500: 0.5, 200: 0.0}))
    ours = {"here": ours.rename({"1, 2": "1, 2, 4, 6, 8"})}
    table = pictures.side_by_side(ours, claims_transfer.PUBLISHED_OCCURRENCES, (1, 2, 4, 6, 8))
    assert table.loc["1", (500, "here")] == "0.25"
    assert table.loc["1", (200, "here")] == "–"
    assert table.loc["all of them", (500, "published")] == "0.62"
    assert (table.loc["5 (here 2)"] == "–").all()
    assert [size for size, source in table.columns if source == "published"] == [2_000, 1_000, 500, 200]


def test_a_model_can_be_asked_about_its_own_number_alone():
    frame = pd.DataFrame({"trained": ["1", "1", "1, 8", "1, 8"], "asked": [1, 8, 1, 8], "instructions": 500, "seed": 0,
                          "accuracy": [1.0, 0.0, 0.6, 0.8]})  # fmt: skip
    assert claims_transfer.occurrence_table(frame)[500].to_dict() == {"1": 0.5, "1, 8": 0.7}
    assert claims_transfer.occurrence_table(frame, own=True)[500].to_dict() == {"1": 1.0, "1, 8": 0.7}


def test_the_heat_map_has_a_row_for_each_way_to_train_in_their_order():
    frame = pd.DataFrame({"setting": ["b", "a"], "instructions": [5, 5], "k": [1, 2], "accuracy": [0.5, 1.0]})
    ax = pictures.heat_map(frame, "k")
    assert [label.get_text().split()[0] for label in ax.get_yticklabels()] == ["b", "a"]
    assert sorted(text.get_text() for text in ax.texts) == ["100", "50"]
    plt.close("all")


def test_the_heat_map_frames_what_was_trained_and_draws_no_more_rows_than_can_be_read():
    frame = pd.DataFrame(
        {"setting": "8", "instructions": [5, 5, 6, 6], "trained": "8", "asked": [1, 8, 1, 8], "accuracy": 0.5}
    )
    framed = [patch for patch in pictures.heat_map(frame, "asked").patches if not patch.get_fill()]
    assert [(int(patch.get_x()), int(patch.get_y())) for patch in framed] == [(1, 0), (1, 1)]
    many = pd.concat([frame.assign(setting=str(number)) for number in range(20)])
    labels = [label.get_text() for label in pictures.heat_map(many, "asked").get_yticklabels()]
    assert (labels[0], len(labels)) == ("0  ·  6 rules", 20)
    plt.close("all")


def test_rows_stay_beside_their_names_where_a_setting_lacks_a_kind_of_test():
    rows = [
        ("mirrored", "mirrored", 3, 0.1),
        ("mirrored", "periodic", 3, 0.2),
        ("mixed", "mixed", 3, 0.3),
        ("periodic", "random", 1, 0.4),
    ]
    frame = pd.DataFrame(rows, columns=["family", "form", "k", "accuracy"]).assign(instructions=9, k_low=3, k_high=3)
    frame["setting"] = frame["family"]
    own, other = (ax for ax in pictures.by_family(frame).axes if ax.get_title())
    assert {text.get_text(): text.get_position()[1] for text in other.texts if text.get_text()} == {
        "20": 0.5,
        "40": 2.5,
    }
    assert [label.get_text().split()[0] for label in own.get_yticklabels()] == ["mirrored", "mixed", "periodic"]
    (alone,) = (ax for ax in pictures.by_family(frame[frame["form"] == "mirrored"]).axes if ax.get_title())
    assert alone.get_title() == "test rules of a trained form"
    plt.close("all")


def test_forms_that_were_trained_are_drawn_apart_from_others():
    rows = [
        (family, form, k)
        for family in ("mirrored", "mixed")
        for form, k in (("random", 1), ("mirrored", 3), ("periodic", 3))
    ]
    frame = pd.DataFrame(rows, columns=["family", "form", "k"]).assign(accuracy=0.5, instructions=9, k_low=3, k_high=3)
    frame["setting"] = frame["family"]
    own, other = (ax for ax in pictures.by_family(frame).axes if ax.get_title())
    assert [text.get_text() for text in own.get_xticklabels()] == ["3"]
    assert [text.get_text() for text in other.get_xticklabels()] == ["1", "3"]
    assert len([text for text in other.texts if text.get_text()]) == 3  # the mixture was trained on every form
    plt.close("all")
