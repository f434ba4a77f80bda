"""One dial: what its settings promise each other."""

from dataclasses import replace

import pytest

from unseen.files import packaged
from unseen.scales import SCALES, amounts, scale
from unseen.worlds.rules import leaks

every_scale = pytest.mark.parametrize("name", SCALES)


@pytest.mark.parametrize("name", ["fast", "", "Smoke", " smoke", "__import__('os')"])
def test_an_unknown_scale_is_refused_and_the_known_ones_listed(name):
    with pytest.raises(ValueError, match="known scales are show, smoke, quick, full, paper"):
        scale(name)


def test_every_study_has_a_row_for_every_scale_with_the_same_columns():
    table = packaged("scales.toml")
    for study, rows in table.items():
        assert {*rows, "show"} == {*SCALES}, study
        assert len({tuple(sorted(row)) for row in rows.values()}) == 1, study
        assert vars(amounts(study, "quick")).keys() == rows["quick"].keys()


@every_scale
def test_a_setting_varies_instructions_and_seeds_alone(name):
    study = scale(name)
    assert study.main.name == "main"
    assert len({run.digest() for run in study.runs()}) == len(study.runs())
    for setting in study.settings:
        runs = setting.runs()
        assert len(runs) == len(setting.instructions) * len(setting.seeds)
        sizes = sorted(setting.instructions)
        assert [run.task.instructions for run in runs[: len(sizes)]] == sizes  # the first seed's
        base = setting.base.with_seed(0)
        for run in runs:
            assert run.task.rule_seed == run.task.example_seed == run.model.seed
            assert run.with_task(instructions=base.task.instructions).with_seed(0) == base


def test_seeds_of_weights_are_crossed_with_those_of_rules():
    main = scale("smoke").main
    crossed = replace(main, instructions=(8, 16), seeds=(0, 1), weights=(0, 5)).runs()
    assert len({run.digest() for run in crossed}) == len(crossed) == 8
    assert {(run.task.rule_seed, run.model.seed) for run in crossed} == {(0, 0), (0, 5), (1, 0), (1, 5)}
    own = {(run.task.rule_seed, run.model.seed) for run in replace(main, seeds=(0, 1)).runs()}
    assert own == {(0, 0), (1, 1)}


@every_scale
def test_one_run_of_the_axis_is_the_run_of_the_study(name):
    study = scale(name)
    number, seed = study.instructions[-1], study.main.seeds[-1]
    assert study.run(number, seed) in study.runs()
    assert study.run(number - 1) not in study.runs()


def test_the_main_setting_of_quick_is_found_in_the_store_by_full():
    assert set(scale("quick").runs()) <= set(scale("full").main.runs())


def test_show_has_the_settings_of_full():
    assert scale("show").runs() == scale("full").runs()
    assert amounts("no_ops", "show") == amounts("no_ops", "full")
    assert {setting.scale for setting in scale("show").settings} == {"show"}


def test_the_paper_scale_is_the_papers():
    study = scale("paper").main
    task, model = study.base.task, study.base.model
    assert (task.examples, task.pattern_length, task.input_length) == (10**6, 20, 50)
    assert (model.recipe, model.layers, model.width, model.heads) == ("gpt2", 6, 256, 4)
    assert (min(study.instructions), max(study.instructions)) == (10, 10**6)


def test_smoke_is_small_and_holds_out_what_it_says():
    runs = scale("smoke").runs()
    assert sum(run.training.steps * run.training.batch for run in runs) < 10_000
    assert all(leaks(run.task.split()) == 0 for run in runs)
