"""What the executor works with where nobody says otherwise, and which numbers make no sense.

The values are those of docs/safety.md; a robot behaves otherwise with others, so they change there and here.
"""

import math

import pytest

from pi0_ros.control import ExecutorSettings

SECONDS = {
    "chunk_max_age": 1.0, "state_stale": 0.1, "state_grace": 0.15, "state_lost": 1.0, "state_stamp_tolerance": 0.5,
    "state_frozen": 0.25, "teleop_stale": 0.2, "estop_heartbeat": 0.5, "tracking_time": 0.2, "tracking_lag": 0.1,
    "reach_time": 0.1, "engage_time": 1.0, "engage_ramp": 0.5, "engage_timeout": 10.0, "policy_lost": 2.0,
    "clock_jump": 0.5, "blend_time": 0.6, "chunk_max_ahead": 0.5, "wait_max_age": 30.0,
}  # fmt: skip
RADIANS = {
    "frozen_motion": 0.1, "tracking_error": 0.2, "tracking_error_m": 0.05, "start_gap": 0.2, "outside_fault": 0.1,
    "recovery_velocity": 0.0175,
}  # fmt: skip
SHARES = {
    "limit_margin": 0.1, "reach_speed": 3.0, "engage_scale": 0.2, "slow_down": 3.0, "ensemble_decay": 0.01,
    "ensemble_depth": 4, "strategy": "auto", "second_publisher": "stop", "estop_required": False,
}  # fmt: skip


def test_what_is_not_said_is_what_the_safety_page_says():
    assert vars(ExecutorSettings()) == SECONDS | RADIANS | SHARES


@pytest.mark.parametrize("name", [*SECONDS, *RADIANS, "limit_margin", "ensemble_depth"])
@pytest.mark.parametrize("value", [-0.001, math.nan, math.inf, 1e6, "1", None])
def test_a_number_that_makes_no_sense_is_refused_by_name(name, value):
    with pytest.raises(ValueError, match=f"^{name} must be a number from 0 on"):
        ExecutorSettings(**{name: value})


@pytest.mark.parametrize("value", [0, 0.0, 1, 2.5, 999_999.0])
def test_any_other_number_is_taken(value):
    assert ExecutorSettings(blend_time=value).blend_time == value


@pytest.mark.parametrize(("value", "good"), [(0.0, False), (1e-6, True), (1.0, True), (1.0001, False)])
def test_the_slow_share_is_above_nothing_and_at_most_all(value, good):
    if good:
        assert ExecutorSettings(engage_scale=value).engage_scale == value
    else:
        with pytest.raises(ValueError, match="engage_scale must be above 0 and at most 1"):
            ExecutorSettings(engage_scale=value)


@pytest.mark.parametrize("name", ["auto", "replace", "blend", "ensemble", "rtc", "wait"])
def test_every_strategy_of_the_interface_is_taken_and_no_other(name):
    assert ExecutorSettings(strategy=name).strategy == name
    with pytest.raises(ValueError, match="is none of auto, replace, blend, ensemble, rtc, wait"):
        ExecutorSettings(strategy=name + "s")


@pytest.mark.parametrize("name", ["stop", "warn"])
def test_a_second_publisher_stops_the_robot_or_is_warned_of_and_nothing_else(name):
    assert ExecutorSettings(second_publisher=name).second_publisher == name
    with pytest.raises(ValueError, match=f"second_publisher '{name}s' is none of stop, warn"):
        ExecutorSettings(second_publisher=name + "s")
