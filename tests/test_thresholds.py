"""The fit finds the step it was given, says how sure it is, and refuses what does not step."""

import math
import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curves import SIZES, results, step_at
from unseen.diversity.thresholds import NoThreshold, Threshold, fit_threshold


@given(st.floats(40, 900), st.floats(2, 8), st.floats(0.8, 1.0))
def test_a_step_is_found_where_it_is(middle, steepness, top):
    found = fit_threshold(results(step_at(middle, steepness, top)))
    assert found.middle == pytest.approx(middle, rel=0.01)
    assert found.top == pytest.approx(top, abs=0.01)
    assert found.seeds == 3


@given(st.floats(60, 700), st.floats(2, 6), st.integers(0, 2**32 - 1))
def test_a_step_is_found_through_noise(middle, steepness, seed):
    rng = np.random.default_rng(seed)
    frame = results(step_at(middle, steepness), seeds=range(5))
    frame["accuracy"] = (frame["accuracy"] + rng.normal(0, 0.02, len(frame))).clip(0, 1)
    assert fit_threshold(frame).middle == pytest.approx(middle, rel=0.25)


def test_the_interval_holds_the_truth_as_often_as_it_says():
    """Seeds whose steps scatter around 200: about 95 % of the intervals of their mean hold 200."""
    rng, held = np.random.default_rng(0), []
    for _ in range(100):
        middles = 200 * np.exp(rng.normal(0, 0.2, 4))
        found = fit_threshold(pd.concat([results(step_at(m), seeds=[s]) for s, m in enumerate(middles)]))
        held.append(found.low <= 200 <= found.high)
        assert found.low < found.middle < found.high
        assert found.middle == pytest.approx(np.exp(np.log(middles).mean()), rel=0.02)
    assert 0.88 <= np.mean(held) <= 0.995


def test_one_seed_has_no_interval():
    found = fit_threshold(results(seeds=[0]))
    assert (found.seeds, math.isnan(found.low), math.isnan(found.high)) == (1, True, True)
    assert str(found) == "180 instructions (one seed, no interval)"


def test_equal_seeds_have_an_interval_of_no_width():
    found = fit_threshold(results())
    assert found.low == pytest.approx(found.middle) == found.high
    assert str(found) == "180 instructions (95 % interval 180 to 180, 3 seeds)"


@pytest.mark.parametrize("at", range(1, len(SIZES)))
def test_a_cliff_lies_between_its_neighbours(at):
    """Nothing below, everything from one size on: the fit says between which two, without a warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = fit_threshold(results(lambda size: float(size >= SIZES[at])))
    assert SIZES[at - 1] <= found.middle <= SIZES[at]
    assert found.steepness <= 30.01
    assert found.top == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize(
    ("curve", "how"),
    [
        (lambda size: 0.0, "from 0.00 to 0.00"),
        (lambda size: 0.5, "from 0.50 to 0.50"),
        (lambda size: 1.0, "from 1.00 to 1.00"),
        (step_at(180, top=0.4), "from 0.00 to 0.40"),
        (step_at(5), "from 0.94 to 1.00"),
        (step_at(50_000), "from 0.00 to 0.00"),
        (lambda size: step_at(180)(180**2 / size), "from 1.00 to 0.00"),
    ],
)
def test_what_does_not_step_is_refused_with_how_it_runs(curve, how):
    with pytest.raises(NoThreshold, match=f"unseen curve does not pass from below to above one half: it runs {how}"):
        fit_threshold(results(curve))


def test_no_rows_are_no_step():
    with pytest.raises(NoThreshold, match="there are no rows"):
        fit_threshold(results().query("split == 'seen'"))


@pytest.mark.parametrize("best", [0.0, 0.3])
def test_a_seed_that_never_learns_is_named(best):
    """Its step would lie nowhere, and the interval over seeds with it."""
    frame = pd.concat([results(seeds=[0, 1]), results(lambda size: best * (size > 100), seeds=[7])])
    with pytest.raises(NoThreshold, match=f"seed 7 never rises above one half: its best is {best:.2f}"):
        fit_threshold(frame)


@given(st.lists(st.floats(0, 1), min_size=4, max_size=7).filter(lambda values: values[0] <= 0.5 < max(values)))
def test_no_other_start_finds_a_better_curve(accuracy):
    """From a single start the fit once stopped in a local minimum."""
    frame = pd.DataFrame({"instructions": SIZES[: len(accuracy)], "accuracy": accuracy, "seed": 0, "split": "unseen"})
    least = squares(frame, fit_threshold(frame))
    for middle in np.geomspace(SIZES[0], SIZES[len(accuracy) - 1], 7):
        for steepness in (0.6, 2, 6, 25):
            for top in (0.3, 0.6, 1):
                assert least <= squares(frame, Threshold(middle, 0, 0, steepness, top, 1)) + 1e-6


def squares(frame, curve):
    """The sum of squares around a curve."""
    return float(((frame["accuracy"] - curve(frame["instructions"].to_numpy(float))) ** 2).sum())


def test_the_split_is_chosen():
    assert fit_threshold(results(), "unseen").middle == pytest.approx(180, rel=0.01)
    with pytest.raises(NoThreshold, match=r"the seen curve .* from 0\.98 to 0\.98"):
        fit_threshold(results(), "seen")


def test_the_order_of_the_rows_does_not_matter():
    frame = results(noise=0.02)
    turned = vars(fit_threshold(frame.sample(frac=1, random_state=1)))
    assert turned == pytest.approx(vars(fit_threshold(frame)), rel=1e-3)


def test_a_threshold_draws_its_curve():
    threshold = Threshold(200, 150, 260, 4, 0.9, 3)
    assert threshold(np.array([200])) == pytest.approx([0.45])
    assert threshold(np.array([1, 10**6])) == pytest.approx([0, 0.9], abs=1e-6)
