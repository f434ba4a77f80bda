"""One dial: what its settings promise each other."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest

from unseen.files import packaged
from unseen.scales import SCALES, amounts, scale
from unseen.specs import RunSpec
from unseen.studies import (
    delia,
    delia_own,
    diversity,
    domains,
    floor,
    inside_runs,
    law,
    memory,
    pretraining,
    programs,
    transfer,
)
from unseen.studies.arena import choosing, position
from unseen.studies.results import committed_folder
from unseen.worlds.rules import leaks

every_scale = pytest.mark.parametrize("name", SCALES)


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


STUDIES = (
    diversity.no_ops,
    diversity.long_tail,
    transfer.semantics,
    transfer.occurrences,
    domains.designs,
    domains.from_a_base,
    pretraining.tunings,
    programs.settings,
    inside_runs.settings,
    position.settings,
    choosing.settings,
    law.look_back,
    lambda name: law.design_of(name).settings,
)


@every_scale
def test_settings_of_a_study_have_names_of_their_own_and_runs_that_are_stored_and_can_be_drawn(name):
    for settings in (study(name) for study in STUDIES):
        assert len({each.name for each in settings}) == len(settings)
        for run in (each.runs()[-1] for each in settings):
            assert RunSpec.from_dict(run.to_dict()) == run
            assert name != "quick" or run.task.split()


COMMITTED = {  # what made the committed tables, whose runs can so be trained again
    "10_diversity_threshold": lambda name: scale(name).settings,
    "11_no_ops": diversity.no_ops,
    "12_long_tail": diversity.long_tail,
    "13_semantics": transfer.semantics,
    "13_shortcut": lambda name: transfer.semantics(name, "open_semantics"),  # without decoys
    "14_occurrences": transfer.occurrences,
    "14_shortcut": lambda name: transfer.occurrences(name, "shortcut"),
    "15_bases": pretraining.on_bases,
    "15_halving": pretraining.near_the_step,
    "15_pretrained_model": pretraining.tunings,
    "16_markov_programs": programs.settings,
    "17_look_back": law.look_back,
    "17_threshold_law": lambda name: law.design_of(name).settings,
    "18_from_a_base": domains.from_a_base,
    "18_specialist_and_generalist": domains.designs,
    "21_delia": lambda name: [*delia.by_ratio(name), *delia.once(name), *delia.rivals(name)],
    "21_bases": lambda name: delia.apart(name, (*delia.APART, *delia.BEHIND)),
    "21_base_or_task": delia.by_base,
    "23_displacement": delia.ways,
    "26_own_answers": lambda name: [
        *delia_own.methods(name),
        SimpleNamespace(runs=lambda: delia_own.bases(name)),
    ],
    "22_new_token": lambda name: [*delia.regimes(name), *delia.spread(name), *delia.two_words(name)],
    "30_choosing_data": choosing.settings,
    "35_position": position.settings,
    "40_memory_or_rule": lambda name: [memory.setting(name)],
    "41_longer_training": floor.settings,
}


@pytest.mark.parametrize("table", COMMITTED)
def test_committed_results_are_of_the_runs_that_the_study_trains(table):
    paths = [committed_folder(name) / f"{table}.csv" for name in ("quick", "full")]
    for path in filter(Path.is_file, paths):
        runs = {run.digest() for setting in COMMITTED[table](path.parent.name) for run in setting.runs()}
        assert set(pd.read_csv(path, dtype={"run": str})["run"].dropna()) == runs


def test_seeds_of_weights_are_crossed_with_those_of_rules():
    main = scale("smoke").main
    crossed = replace(main, instructions=(8, 16), seeds=(0, 1), weights=(0, 5)).runs()
    assert len({run.digest() for run in crossed}) == len(crossed) == 8
    assert {(run.task.rule_seed, run.model.seed) for run in crossed} == {(0, 0), (0, 5), (1, 0), (1, 5)}
    own = {(run.task.rule_seed, run.model.seed) for run in replace(main, seeds=(0, 1)).runs()}
    assert own == {(0, 0), (1, 1)}


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
