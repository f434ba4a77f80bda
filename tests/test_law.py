"""The fit finds the exponents that made the data, one constant what it says, and no setting is dropped."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curves import step_at
from unseen.scales import SCALES, scale
from unseen.specs import RunSpec
from unseen.studies import floor, law
from unseen.studies.results import committed_table
from unseen.training import schedule
from unseen.worlds.rules import leaks

TRUE = dict.fromkeys(law.FACTORS, 0.0) | {"alphabet": 1.3, "width": -1.0, "budget": -1.5}
TRUTH = TRUE | {"recipe gpt2": np.log(4)}
ABOVE = ("above", 600.0)


def middle_of(levels, powers=TRUE, base=270.0):
    """Where a power law puts the threshold."""
    home, modern = law.levels(RunSpec()), levels["recipe"] == "modern"
    own = {name: power for name, power in powers.items() if modern or name not in ("depth", "passes")}
    times = math.prod((levels[name] / home[name]) ** power for name, power in own.items())
    return base * times * (1 if modern else 4)


def known(name="quick", noise=0.0, middle=middle_of, seed=0):
    """The frame of ``by_seed`` of a design whose thresholds are known."""
    rng, design, rows = np.random.default_rng(seed), law.design_of(name), []
    for setting in design.settings:
        levels = law.levels(setting.base)
        about = {"setting": setting.name, "held_out": setting in design.held_out, **levels}
        for number in setting.seeds:
            threshold = middle(levels) * np.exp(noise * rng.standard_normal())
            rows.append(about | {"seed": number, "threshold": threshold})
    return pd.DataFrame(rows).assign(outside="", size=np.nan)


def censor(seeds, name, *outside):
    """Put seeds of a setting of ``known`` outside its sizes, one for each ``(where, size)``."""
    for at, (where, size) in zip(seeds.index[seeds["setting"] == name], outside, strict=True):
        seeds.loc[at, ["threshold", "outside", "size"]] = [np.nan, where, size]
    return seeds


def exponents(fitted):
    return fitted.exponents().set_index("factor")


@pytest.fixture(scope="module")
def noisy():
    return law.fit(known("full", noise=0.08))


# The design


@pytest.mark.parametrize("name", SCALES)
def test_a_design_changes_one_factor_to_fit_and_several_to_test(name):
    design = law.design_of(name)
    assert design.settings[0] == scale(name).main
    varied = law.varied(pd.DataFrame([law.levels(each.base) for each in design.settings]))
    fitted, held_out = varied[: len(design.fitted)], varied[len(design.fitted) :]
    pairs = zip(design.held_out, held_out, strict=True)
    alone = [each.base.model.width for each, what in pairs if " and " not in what]
    assert alone == [128] * (name in ("full", "show"))  # it extrapolates
    assert {each for each in fitted if " and " in each} <= {"budget and passes"}
    if name == "full":
        assert set(law.FACTORS) | {"recipe"} <= set(fitted)  # also all that is tested


@pytest.mark.parametrize("levels", [{"alphabet": 13}, {"pattern": 2}])
def test_where_strings_are_few_the_unseen_stay_unseen(levels):
    spec = law.at(RunSpec(), **levels)
    split = spec.task.but(instructions=law.room_of(spec)).split()
    assert leaks(split) == 0
    assert len(split.unseen) < RunSpec().task.unseen_instructions


def test_steps_follow_the_budget_and_the_passes():
    half = law.at(RunSpec(), budget=22_500, passes=2)
    steps = [law.at(RunSpec(), **levels).training.steps for levels in ({}, {"budget": 22_500}, {"passes": 2})]
    assert [*steps, half.training.steps] == [703, 351, 1_406, 703]
    assert law.levels(half)["passes"] == 2


# The thresholds


@pytest.mark.parametrize(("accuracy", "outside"), [
    ([0.0, 0.05, 0.3, 0.5], "above"), ([0.0, 0.05, 0.3, 0.51], ""),
    ([0.45, 0.6, 0.7, 0.8], "below"), ([0.40, 0.6, 0.7, 0.8], ""), ([0.45, 0.45, 0.45, 0.45], "above"),
])  # fmt: skip
def test_inside_means_past_half_of_the_top_and_the_top_above_one_half(accuracy, outside):
    results = committed_table("17_threshold_law", "quick")
    rows = results.eval("setting == 'width 32' and seed == 0 and split == 'unseen'")
    results.loc[rows, "accuracy"] = accuracy
    seeds = law.by_seed(results.sample(frac=1, random_state=0))
    row = seeds.set_index(["setting", "seed"]).loc[("width 32", 0)]
    assert row["outside"] == outside
    assert math.isnan(row["threshold"]) == bool(outside)
    notes = {"above": "never half right up to 2,000 (1 of 2 seeds)", "below": "below 200 (1 of 2 seeds)"}
    setting = law.by_setting(seeds).set_index("setting").loc["width 32"]  # one seed outside censors it
    assert (setting["note"], math.isnan(setting["middle"])) == (notes.get(outside, ""), bool(outside))


@pytest.mark.parametrize("read", law.READINGS.values(), ids=law.READINGS)
@given(step=st.floats(95, 900), steepness=st.floats(2, 12), top=st.floats(0.6, 1))
def test_every_reading_finds_a_step_that_sizes_lie_on(read, step, steepness, top):
    sizes = np.geomspace(20, 5_000, 25)
    top = 1 if read is law.READINGS[law.HALF_OF_ALL] else top
    assert read(sizes, step_at(step, steepness, top)(sizes)) == pytest.approx(step, rel=0.07)


def test_half_of_all_rules_is_not_half_of_a_low_top():
    """A training that ends at six rules of ten once had half of its threshold."""
    sizes, low = np.array([200.0, 400, 800, 1_600]), np.array([0.1, 0.32, 0.5, 0.6])
    of_top, of_all = (law.READINGS[name](sizes, low) for name in ("line in the logit", law.HALF_OF_ALL))
    assert 350 < of_top < 400
    assert of_all == pytest.approx(800)
    assert math.isnan(law.READINGS[law.HALF_OF_ALL](sizes, low / 2))


def test_the_committed_law_is_as_it_was_and_a_reading_without_one_has_no_rows(monkeypatch):
    results = committed_table("17_threshold_law", "quick")
    found = law.by_reading(results).pivot(index="factor", columns="reading", values="exponent")
    exponents = found.loc[["budget", "alphabet"], list(law.READINGS)].to_numpy()
    assert exponents == pytest.approx(np.array([[-1.08, -1.37, -1.08], [0.78, 0.78, 0.77]]), abs=0.006)
    monkeypatch.setitem(law.READINGS, law.HALF_OF_ALL, lambda *_: np.nan)
    assert law.HALF_OF_ALL not in set(law.by_reading(results)["reading"])


# The exponents


@settings(max_examples=15)
@given(st.floats(-2, 2), st.floats(-2, 2), st.floats(0.1, 2))
def test_the_exponents_that_made_the_data_are_found(alphabet, budget, width):
    powers = TRUE | {"alphabet": alphabet, "budget": budget, "width": width}
    fitted = law.fit(known(middle=lambda levels: middle_of(levels, powers)))
    found = exponents(fitted)["exponent"]
    assert found.to_dict() == pytest.approx({name: powers[name] for name in found.index}, abs=1e-6)


@pytest.mark.parametrize(("name", "off", "times"), [("quick", 0.0, 25), ("full", 0.15, 12)])
def test_intervals_hold_the_truth_about_as_often_as_they_say(name, off, times):
    """At full also where settings lie off a product of powers."""
    held = []
    for seed in range(times):
        rng, shifts = np.random.default_rng(seed), {}

        def bent(levels, rng=rng, shifts=shifts):
            return middle_of(levels) * shifts.setdefault(
                tuple(levels.values()), np.exp(off * rng.standard_normal())
            )

        fitted = law.fit(known(name, noise=0.1, middle=bent, seed=seed))
        held += [row.low <= TRUTH[row.factor] <= row.high for row in fitted.exponents().itertuples()]
    assert 0.85 <= np.mean(held) <= 1


def test_examples_at_fixed_steps_are_budget_minus_passes(noisy):
    powers = TRUE | {"budget": -1.2, "passes": -0.9}
    exact = law.fit(known("full", noise=1e-9, middle=lambda levels: middle_of(levels, powers)))
    assert exact.contrast({"budget": 1, "passes": -1})["exponent"] == pytest.approx(-0.3, abs=1e-6)
    alone, both = (noisy.contrast(weights) for weights in ({"budget": 1}, {"budget": 1, "passes": -1}))
    assert alone == pytest.approx(exponents(noisy).loc["budget"].to_dict())
    assert both["high"] - both["low"] > alone["high"] - alone["low"]


def test_few_degrees_of_freedom_leave_what_can_be_known():
    exact = law.fit(known(noise=0.05).query("setting != 'budget 31,500'"))  # as many settings as coefficients
    assert (exact.misfit_degrees, exact.misfit_variance) == (0, 0)
    assert np.isfinite(exponents(exact)["high"]).all()
    single = law.fit(known("full", noise=0.1).query("seed == 0"))  # one seed everywhere leaves the misfit
    assert single.seed_degrees == 0
    assert 0.02 < np.sqrt(single.misfit_variance) < 0.3
    assert (exponents(single)["low"] < exponents(single)["high"]).all()
    neither = law.fit(known().query("seed == 0 and setting != 'budget 31,500'"))
    assert exponents(neither)["low"].isna().all()


@pytest.mark.parametrize(("chosen", "why"), [
    ("setting == 'main'", "a fit needs two settings with a threshold, and 1 of 1 have one"),
    ("setting == 'main' or held_out", "3 settings determine 3 coefficients of 5"),  # all change together
])  # fmt: skip
def test_too_few_settings_are_no_fit(chosen, why):
    with pytest.raises(law.NoFit, match=why):
        law.fit(known().query(chosen).assign(held_out=False))


def test_one_constant_is_right_where_it_holds_and_says_nothing_of_another_recipe():
    def held(levels):
        steps = levels["budget"] * levels["passes"]
        return 1e7 * law.covering(levels["alphabet"], levels["pattern"]) / steps / levels["width"]

    table = law.by_setting(known("full", middle=held))
    said, modern = law.one_constant(table), table["recipe"] == "modern"
    assert said["predicted"][modern].to_numpy() == pytest.approx(table["middle"][modern].to_numpy())
    assert said[~modern].isna().all(axis=None)
    assert (~modern).sum() == 1
    noisy = law.by_setting(known("full", noise=0.2, middle=held))
    said = law.one_constant(noisy)[modern]
    inside = noisy["middle"][modern].between(said["predicted_low"], said["predicted_high"])
    assert 0.85 <= inside.mean() < 1


# What is not known


def test_a_factor_of_which_no_setting_has_a_threshold_is_not_fitted():
    """It was once taken not to matter."""
    seeds = censor(known(), "13 letters", ABOVE, ABOVE)
    assert set(law.fit(seeds).names) == {law.BASE, "input", "width", "budget"}
    rows = law.by_setting(seeds).set_index("setting")
    assert rows.loc["13 letters", "note"] == "never half right up to 600 (2 of 2 seeds)"


def test_a_censored_setting_has_a_note_of_all_its_seeds_and_a_prediction():
    rows = law.by_setting(censor(known(noise=0.1), "budget 31,500", ("above", 1_800.0), ("below", 180.0)))
    row = rows.join(law.one_constant(rows, floor=True)).set_index("setting").loc["budget 31,500"]
    assert row["note"] == "never half right up to 1,800 (1 of 2 seeds), below 180 (1 of 2 seeds)"
    assert math.isnan(row["middle"])
    assert 180 < row["predicted_low"] < row["predicted"] < row["predicted_high"]


def test_where_the_base_is_censored_levels_are_still_relative_to_it():
    seeds = censor(known(), "main", *[ABOVE] * 3)
    assert law.bases(law.by_setting(seeds)).loc["modern", "budget"] == 45_000
    found = exponents(law.fit(seeds))["exponent"]
    assert found.to_dict() == pytest.approx({name: TRUE[name] for name in found.index}, abs=1e-6)


@pytest.mark.parametrize("floor", [False, True])
def test_too_few_settings_do_not_determine_a_constant_or_its_floor(floor):
    table = law.by_setting(known()).query("setting == 'main' or setting == 'input 6'")  # alike for it
    with pytest.raises(law.NoFit, match=f"do not determine {1 + floor} number"):
        law.one_constant(table[: 1 + floor], floor)
    if floor:
        rows = pd.concat([table] * 2, ignore_index=True)
        with pytest.raises(law.NoFit, match="4 settings do not determine 2 numbers"):
            law.one_constant(rows, floor)


def test_look_back_is_varied_with_the_pattern_and_nothing_else():
    *settings, curve = law.look_back("full")
    assert len({run.digest() for each in settings for run in each.runs()}) == sum(
        len(s.runs()) for s in settings
    )
    base = law.at(scale("full").main.base, pattern=3)
    for each in (*settings, curve):
        model, task = each.base.model, each.base.task
        assert model.but(look_back=2, prompt_attention="both ways") == base.model
        assert task.pattern_length == task.replacement_length
        assert max(each.instructions) <= law.room_of(each.base)
    ways = {
        (s.base.task.pattern_length, s.base.model.look_back, s.base.model.prompt_attention) for s in settings
    }
    assert len(ways) == len(settings) == 18
    assert (curve.name, curve.base.model.look_back, curve.base.task.pattern_length) == (law.NO_HELP, 0, 3)
    assert set(curve.seeds) < set(scale("full").main.seeds)


@pytest.mark.parametrize(
    ("name", "threshold"),
    [
        ("one constant", lambda times: 300 / times),
        ("a power", lambda times: 300 * times**-0.6),
        ("a floor", lambda times: 80 + 220 / times),
    ],
)
def test_a_sentence_says_where_its_own_thresholds_end(name, threshold):
    rows = [{"setting": f"{times} times the steps", "threshold": threshold(times)} for times in (1, 3, 10)]
    found = floor.predicted(pd.DataFrame(rows).assign(seed=0), 3, 10).set_index("sentence")["ratio"]
    right = set(found.index[np.isclose(found, 1)])
    assert right == (set(floor.SENTENCES) if name == "one constant" else {name})  # the others hold it


@pytest.mark.parametrize("name", ["smoke", "quick", "full", "paper"])
def test_more_steps_read_the_same_examples_or_fresh_ones(name):
    first, *others = floor.settings(name)
    for each in others:
        run = each.bases[0] if each.bases else each.base
        longer = run.training.steps // first.base.training.steps
        assert each.name.startswith(f"{longer} times the steps")
        fresh = each.base.task.examples / first.base.task.examples
        assert fresh == (longer if each.name.endswith("fresh examples") else 1)


def test_a_branch_decays_from_the_end_of_the_same_run_at_a_constant_rate():
    by_name = {each.name: each for each in floor.settings("full")}
    branches = [each for each in by_name.values() if each.bases]
    assert len(branches) == 5
    for each in branches:
        trunk, _, steps = each.name.rpartition(", then ")
        trunks, runs = by_name[trunk].runs(), each.runs()
        assert [run.model.base for run in runs] == [before.digest() for before in trunks]
        for run, before in zip(runs, trunks, strict=True):
            assert run.but(model=run.model.but(base=""), training=before.training) == before
            rates = [
                schedule(spec.training, step)
                for spec in (before, run)
                for step in (0, spec.training.steps - 1)
            ]
            assert rates[:3] == [1, 1, 1]
            assert rates[3] == pytest.approx(1 / int(steps.split()[0]))


def test_a_floor_is_found_and_what_is_near_it_is_less_sure():
    """Thresholds of a floor of 50 and a constant above it, with deviations of a twentieth."""
    rows = pd.DataFrame([law.levels(law.at(RunSpec(), width=width)) for width in (16, 32, 48, 64, 96, 128)])
    far = pd.DataFrame([law.levels(law.at(RunSpec(), passes=30))])
    off = np.array([1.05, 0.95, 1.05, 0.95, 1.05, 0.95])
    rows = pd.concat([rows.assign(held_out=False, middle=off * (50 + 12_800 / rows["width"])),
                      far.assign(held_out=True, middle=np.nan)], ignore_index=True)  # fmt: skip
    alone, floor = (law.one_constant(rows, each) for each in (False, True))
    assert floor["predicted"].iloc[-1] == pytest.approx(50 + 200 / 30, rel=0.2)
    assert alone["predicted"].iloc[-1] < 20
    wide = np.log(floor["predicted_high"] / floor["predicted_low"])
    assert wide.iloc[-1] > 1.2 * wide.iloc[2]
    assert (wide.iloc[:-1] < np.log(1.6)).all()
    one = np.log(alone["predicted_high"] / alone["predicted_low"])
    assert one.to_numpy() == pytest.approx(one.iloc[0])
