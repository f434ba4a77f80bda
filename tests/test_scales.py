"""One dial: what its settings promise each other."""

import pytest

from unseen.cli import DEMO
from unseen.instructions import draw_split, leaks
from unseen.scales import SCALES, scale

every_scale = pytest.mark.parametrize("name", SCALES)


def test_the_dial_has_four_settings():
    assert list(SCALES) == ["smoke", "quick", "full", "paper"]
    assert [scale(name).name for name in SCALES] == list(SCALES)


@pytest.mark.parametrize("name", ["fast", "", "Smoke", " smoke", "__import__('os')"])
def test_an_unknown_scale_is_refused_and_the_known_ones_listed(name):
    with pytest.raises(ValueError, match="known scales are smoke, quick, full, paper"):
        scale(name)


@every_scale
def test_no_run_occurs_twice_and_settings_have_names_of_their_own(name):
    study = scale(name)
    digests = [run.digest() for run in study.runs()]
    assert len(set(digests)) == len(digests)
    assert len({setting.name for setting in study.settings}) == len(study.settings)
    assert study.main.name == "main"


@every_scale
def test_a_setting_varies_instructions_and_seeds_alone(name):
    for setting in scale(name).settings:
        runs = setting.runs()
        assert len(runs) == len(setting.instructions) * len(setting.seeds)
        assert {(run.task.instructions, run.model.seed) for run in runs} == {
            (number, seed) for number in setting.instructions for seed in setting.seeds
        }
        for run in runs:
            assert run.task.rule_seed == run.task.example_seed == run.model.seed
            alike = run.but(task=run.task.but(instructions=setting.base.task.instructions)).with_seed(0)
            assert alike == setting.base.with_seed(0)
        assert list(setting.instructions) == sorted(setting.instructions)
        assert [run.task.instructions for run in runs[: len(setting.instructions)]] == list(setting.instructions)


@every_scale
def test_one_run_of_the_axis_is_the_run_of_the_study(name):
    study = scale(name)
    number, seed = study.instructions[-1], study.main.seeds[-1]
    assert study.run(number, seed) in study.runs()
    assert study.run(number, seed).task.instructions == number
    assert study.run(number - 1) not in study.runs()
    assert study.run(number - 1).task.instructions == number - 1


def test_the_main_setting_of_quick_is_found_in_the_store_by_full():
    assert set(scale("quick").runs()) <= set(scale("full").main.runs())


def test_quick_holds_the_two_committed_models():
    assert set(DEMO.values()) <= set(scale("quick").instructions)


def test_the_paper_scale_is_the_papers():
    study = scale("paper").main
    task, model = study.base.task, study.base.model
    assert (task.examples, task.pattern_length, task.input_length) == (10**6, 20, 50)
    assert (model.recipe, model.layers, model.width, model.heads) == ("gpt2", 6, 256, 4)
    assert (min(study.instructions), max(study.instructions)) == (10, 10**6)


def test_smoke_is_small_and_holds_out_what_it_says():
    runs = scale("smoke").runs()
    assert sum(run.training.steps * run.training.batch for run in runs) < 10_000
    assert all(leaks(draw_split(run.task)) == 0 for run in runs)
