"""What a robot waits for before it is commanded, and where its commands begin."""

from types import SimpleNamespace

import numpy as np
import pytest
from story import make_robot, middle

from pi0_ros.control import BlackBox
from pi0_ros.control.journal import Journal, Now
from pi0_ros.control.modes import Trigger
from pi0_ros.control.start_up import StartUp
from pi0_ros.robot.spec import Kind

ROBOT = make_robot()


def start_up(values=None, competitors=None, unsettled=""):
    """Of a robot measured at `values` [D], NaN where nobody measures."""
    measured = SimpleNamespace(
        unsettled=lambda steady: f"{unsettled} at {steady:g}" if unsettled else "",
        or_commanded=lambda other: np.where(np.isnan(values), other, values),
    )
    inputs = SimpleNamespace(competitors=competitors or {}, measured=measured)
    return StartUp(ROBOT, inputs, Journal(BlackBox()))


@pytest.mark.parametrize(
    ("competitors", "quiet", "unsettled", "why"),
    [
        ({Trigger.SECOND_PUBLISHER: "somebody else sends"}, "j1 is late", "two places", "somebody else sends"),
        ({Trigger.TWO_DEVICES: "two devices"}, "j1 is late", "two places", "j1 is late"),
        ({Trigger.TWO_DEVICES: "two devices"}, "", "two places", "two places at 5"),
        ({Trigger.TWO_DEVICES: "two devices"}, "", "", ""),
    ],
)
def test_nobody_else_sends_everything_is_measured_and_settled_before_commands_go_out(
    competitors, quiet, unsettled, why
):
    assert start_up(competitors=competitors, unsettled=unsettled).objection(5.0, quiet) == why


def test_what_is_waited_for_is_told_every_ten_seconds_and_forgotten_once_it_came_or_another_mode_is_asked_for():
    of = start_up()
    assert (of.done, of.waiting) == (False, "")
    for steady in (5.0, 14.9, 15.1):
        of.wait(Now(steady, 900.0), "j1 is late")
    told = [(e.steady, e.ros, e.level, e.name, e.text) for e in of._journal.take(Now(20.0, 900.0))]
    assert told == [(at, 900.0, "warn", "waiting", "waiting: j1 is late") for at in (5.0, 15.1)]
    of.change_owner(16.0)
    assert (of.done, of.waiting) == (False, "")
    of.wait(Now(17.0, 900.0), "j2 is late")
    assert of.waiting == "waiting: j2 is late"
    of.begin()
    assert (of.done, of.waiting) == (True, "")


def test_commands_begin_where_the_robot_is_with_its_base_at_rest_and_unmeasured_grippers_open():
    values = middle(ROBOT) + 0.005 * np.arange(len(ROBOT.channels))
    grip, other = ROBOT.index["left_gripper"], ROBOT.index["right_gripper"]
    values[grip], values[other] = 0.3, np.nan
    expected = np.where([c.kind is Kind.VELOCITY for c in ROBOT.channels], 0.0, values)
    expected[other] = 1.0
    of = start_up(values)
    np.testing.assert_array_equal(of.place(Now(5.0, 900.0)), expected)
    assert of._journal.take(Now(5.0, 900.0)) == ()


@pytest.mark.parametrize("side", [1.0, -1.0])
def test_a_robot_beyond_its_limits_begins_there_and_that_is_told(side):
    values, arm = middle(ROBOT), ROBOT.index["left_joint2"]
    limits = ROBOT.channels[arm].limits
    values[arm] = (limits.upper if side > 0.0 else limits.lower) + side * 0.05
    of = start_up(values)
    assert of.place(Now(5.0, 900.0))[arm] == values[arm]
    ((at, level, name, text),) = [(e.steady, e.level, e.name, e.text) for e in of._journal.take(Now(5.0, 900.0))]
    assert (at, level, name) == (5.0, "warn", "beyond limit") and "left_joint2" in text
