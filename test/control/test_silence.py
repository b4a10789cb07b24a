"""The sentence about a silent topic: its name, its age in steps, its limit."""

import math

import pytest

from pi0_ros.control.silence import silence


@pytest.mark.parametrize(
    ("age", "told"),
    [(0.3, "0.2"), (0.5, "0.5"), (0.9, "0.5"), (1.0, "1"), (1.9, "1"), (2.0, "2"), (4.9, "2"), (5.0, "5"), (9.0, "5")]
    + [(10.0, "10"), (29.0, "10"), (30.0, "30"), (59.0, "30"), (60.0, "60"), (400.0, "60")],
)
def test_the_age_is_told_in_steps(age, told):
    assert silence("joint_states", age, 0.2) == f"nothing new on joint_states for {told} s and more (max_age 0.2 s)"


def test_a_long_limit_is_the_least_that_is_told():
    assert silence("odom", 1.6, 1.5) == "nothing new on odom for 1.5 s and more (max_age 1.5 s)"


def test_what_never_came_is_told_so():
    assert silence("", math.inf, 0.1) == "nothing came on the robot's state yet (max_age 0.1 s)"
