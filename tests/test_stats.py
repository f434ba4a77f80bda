"""The fit finds the step it was given, says how sure it is, and refuses what does not step."""

import math
import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import t as student

from curves import SIZES, results, step_at
from unseen.stats import NoThreshold, Threshold, crosses, fit_threshold, half_width, interval


def test_on_a_log_axis_the_first_rise_counts_and_what_never_rises_has_no_place():
    rises = {(0.0, 1, 1): 1, (-1, 0, -1): 10, (-1, 1, -1): 10**0.5, (-1, -1, 3): 10**1.25}
    for values, place in rises.items():
        assert crosses(np.array([1, 10, 100]), np.array(values)) == pytest.approx(place)
    for values in ((-1, -1), (math.nan, math.nan), (-1, math.nan)):
        assert math.isnan(crosses(np.array([1, 10]), np.array(values)))


def test_variances_add_with_the_degrees_of_freedom_they_have():
    assert half_width((4.0, 3)) == pytest.approx(2 * student.ppf(0.975, 3))
    assert half_width((1.0, 3), (1.0, 3)) == pytest.approx(2**0.5 * student.ppf(0.975, 6))
    assert half_width((4.0, 3), (1e9, 0)) == half_width((4.0, 3))
    assert half_width((0.0, 3)) == 0
    assert math.isnan(half_width((4.0, 0)))
    assert [math.isnan(end) for end in interval(pd.Series([90.0]))] == [False, True, True]


@given(st.floats(40, 900), st.floats(2, 8), st.floats(0.8, 1.0))
def test_a_step_is_found_where_it_is(middle, steepness, top):
    found = fit_threshold(results(step_at(middle, steepness, top)))
    assert found.middle == pytest.approx(middle, rel=0.01)
    assert found.top == pytest.approx(top, abs=0.01)
    assert found.seeds == 3


def test_one_seed_has_no_interval_and_equal_seeds_one_of_no_width():
    one, equal = fit_threshold(results(seeds=[0])), fit_threshold(results())
    assert (one.seeds, math.isnan(one.low), math.isnan(one.high)) == (1, True, True)
    assert str(one) == "180 instructions (one seed, no interval)"
    assert str(equal) == "180 instructions (95 % interval 180 to 180, 3 seeds)"


@pytest.mark.parametrize("at", range(1, len(SIZES)))
def test_a_cliff_lies_between_its_neighbours(at):
    """Nothing below, everything from one size on: the fit says between which two, without a warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = fit_threshold(results(lambda size: float(size >= SIZES[at])))
    assert SIZES[at - 1] <= found.middle <= SIZES[at]
    assert found.steepness <= 30.01


@pytest.mark.parametrize(("curve", "how"), [
    (lambda size: 0.5, "from 0.50 to 0.50"), (lambda size: 1.0, "from 1.00 to 1.00"),
    (step_at(180, top=0.4), "from 0.00 to 0.40"),
    (lambda size: step_at(180)(180**2 / size), "from 1.00 to 0.00"),
])  # fmt: skip
def test_what_does_not_step_is_refused_with_how_it_runs(curve, how):
    refused = f"unseen curve does not pass from below to above one half: it runs {how}"
    with pytest.raises(NoThreshold, match=refused):
        fit_threshold(results(curve))
    with pytest.raises(NoThreshold, match="there are no rows"):
        fit_threshold(results(curve).query("split == 'seen'"))


@pytest.mark.parametrize("best", [0.0, 0.3])
def test_a_seed_that_never_learns_is_named(best):
    """Its step would lie nowhere, and the interval over seeds with it."""
    frame = pd.concat([results(seeds=[0, 1]), results(lambda size: best * (size > 100), seeds=[7])])
    with pytest.raises(NoThreshold, match=f"seed 7 never rises above one half: its best is {best:.2f}"):
        fit_threshold(frame)


@given(
    st.lists(st.floats(0, 1), min_size=4, max_size=7).filter(lambda values: values[0] <= 0.5 < max(values))
)
def test_no_other_start_finds_a_better_curve(accuracy):
    """From a single start the fit once stopped in a local minimum."""
    frame = pd.DataFrame(
        {"instructions": SIZES[: len(accuracy)], "accuracy": accuracy, "seed": 0, "split": "unseen"}
    )
    least = squares(frame, fit_threshold(frame))
    for middle in np.geomspace(SIZES[0], SIZES[len(accuracy) - 1], 7):
        for steepness in (0.6, 2, 6, 25):
            for top in (0.3, 0.6, 1):
                assert least <= squares(frame, Threshold(middle, 0, 0, steepness, top, 1)) + 1e-6


def squares(frame, curve):
    """The sum of squares around a curve."""
    return float(((frame["accuracy"] - curve(frame["instructions"].to_numpy(float))) ** 2).sum())
