"""One rule for the quantiles that a running system tells."""

from collections import deque

import numpy as np
import pytest

from pi0_ros.robot.quantile import quantiles


@pytest.mark.parametrize("kind", [list, tuple, deque, np.array], ids=lambda k: k.__name__)
def test_a_quantile_is_a_value_that_was_measured(kind):
    values = kind([9.0, 1.0, 4.0, 2.0])
    assert quantiles(values, 0.0, 0.25, 0.5, 0.75, 0.99, 1.0) == (1.0, 2.0, 4.0, 9.0, 9.0, 9.0)


def test_of_two_hundred_the_99th_percentile_leaves_two_that_are_as_large_or_larger():
    assert quantiles(np.random.default_rng(3).permutation(200.0 * np.arange(200)), 0.5, 0.99) == (20000.0, 39600.0)


def test_there_are_zeros_where_nothing_was_measured_and_one_value_is_every_quantile():
    assert quantiles([], 0.5, 0.99) == (0.0, 0.0)
    assert quantiles([3.0], 0.01, 0.99) == (3.0, 3.0)


def test_the_numbers_given_stay_as_they_are():
    values = np.array([3.0, 1.0, 2.0])
    quantiles(values, 0.5)
    assert values.tolist() == [3.0, 1.0, 2.0]
