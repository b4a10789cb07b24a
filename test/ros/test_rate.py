"""How often something happens, over a window of the steady clock."""

import math

import pytest

pytest.importorskip("rclpy")

from pi0_ros.ros.diagnostics import Rate, shown


def test_a_rate_is_what_happened_in_the_window_over_its_length():
    rate = Rate(2.0)
    assert rate.hz(5.0) == 0.0 and rate.age(5.0) == math.inf
    for k in range(50):
        rate.tick(10.0 + 0.1 * k)  # the last one at 14.9
    assert rate.hz(14.95) == 10.0
    assert rate.hz(15.95) == 5.0 and rate.age(15.95) == pytest.approx(1.05)
    assert rate.hz(17.0) == 0.0 and rate.age(17.0) == math.inf


def test_numbers_are_shown_with_four_digits_and_all_else_as_it_is():
    assert [shown(v) for v in (1.23456, 12345678, "1.23456", 0.0, True)] == [
        "1.235",
        "12345678",
        "1.23456",
        "0",
        "True",
    ]
