"""Where a curve passes zero, at the edges too."""

import math

import numpy as np
import pytest

from unseen.crossing import crosses


@pytest.mark.parametrize(("values", "place"), [
    ([0.0, 1, 1], 1), ([-1, 1, 1], 10**0.5), ([-1, 0, -1], 10), ([-1, 1, -1], 10**0.5), ([-1, -1, 3], 10**1.25),
])  # fmt: skip
def test_on_a_log_axis_the_first_rise_counts(values, place):
    assert crosses(np.array([1, 10, 100]), np.array(values)) == pytest.approx(place)


@pytest.mark.parametrize("values", [[-1, -1], [math.nan, math.nan], [-1, math.nan]])
def test_what_never_rises_has_no_place(values):
    assert math.isnan(crosses(np.array([1, 10]), np.array(values)))


def test_steps_may_begin_at_zero():
    assert crosses(np.array([0, 10]), np.array([-1, 1]), log=False) == 5
