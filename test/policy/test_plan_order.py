"""A model's columns become the plan's channels; what it does not command is held."""

from dataclasses import replace

import numpy as np
import pytest

from pi0_ros.policy.adapter_reading import load_adapter
from pi0_ros.policy.errors import PolicyError
from pi0_ros.policy.plan import Observation, PlanPrefix, in_plan_order, values_before
from pi0_ros.robot import load_robot

ROBOT = load_robot("mobile_bimanual")


@pytest.fixture
def adapter():
    """The model commands everything but the lift and the turning of the base."""
    made = load_adapter("mobile_bimanual")
    held = ("lift", "base_wz")
    actions = tuple(
        replace(block, channels=kept)
        for block in made.actions
        if (kept := tuple(c for c in block.channels if c not in held))
    )
    return replace(made, actions=actions, hold=held)


def test_columns_go_to_the_channels_of_their_names_and_held_ones_stay_where_they_are(adapter):
    given = adapter.action_channels
    rows = np.arange(3.0)[:, None] + 10.0 * np.arange(len(given))
    channels = tuple(reversed(ROBOT.channel_names))
    plan = in_plan_order(ROBOT, adapter, channels, rows, {"lift": 0.123, "base_wz": 0.7})
    assert plan.shape == (3, len(channels))
    for name, column in zip(channels, plan.T, strict=True):
        # What is driven by velocity is held by standing still, whatever it does now.
        wanted = {"lift": [0.123] * 3, "base_wz": [0.0] * 3}.get(name)
        np.testing.assert_array_equal(column, wanted if wanted else rows[:, given.index(name)], err_msg=name)


@pytest.mark.parametrize("state", [{}, {"lift": np.nan}])
def test_what_is_to_be_held_has_to_be_known(adapter, state):
    with pytest.raises(PolicyError, match="no measured value for lift"):
        in_plan_order(ROBOT, adapter, ROBOT.channel_names, np.zeros((2, len(adapter.action_channels))), state)


def test_before_a_plan_the_running_one_counts_then_the_command_then_the_measurement():
    seen = Observation(1.0, {}, {"a": 0.1, "b": 0.2, "c": 0.3}, "go", {"b": 1.2, "c": 1.3})
    running = PlanPrefix(np.array([[2.3, 2.4], [9.0, 9.0]]), ("c", "d"), 1, 1)
    assert values_before(seen, running) == {"a": 0.1, "b": 1.2, "c": 2.3, "d": 2.4}
    nothing_left = replace(running, values=np.zeros((0, 2)))
    assert values_before(seen, None) == values_before(seen, nothing_left) == {"a": 0.1, "b": 1.2, "c": 1.3}
