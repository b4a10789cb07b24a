"""A person's devices: what is taken, what is refused, where a moving hand is met."""

import math
from dataclasses import replace

import numpy as np
import pytest
from story import make_robot

from pi0_ros.control import ExecutorSettings
from pi0_ros.control.teleop import Device, Teleop
from pi0_ros.robot.spec import Takeover, TeleopTopic

NAMES = tuple(f"left_joint{i}" for i in range(1, 7))
HOME = np.array([0.1, 0.6, 0.5, -0.2, 0.3, 0.4])


@pytest.fixture
def robot():
    return make_robot()


def heard(robot, *inputs, group="left_arm", names=NAMES, settings=None):
    """Teleop after inputs (time, values)."""
    teleop = Teleop(robot, settings or ExecutorSettings())
    for at, values in inputs:
        assert teleop.hear(at, group, names, values) == ""
    return teleop


def test_values_come_by_name_in_any_order_and_other_names_are_skipped(robot):
    teleop = heard(robot, (1.0, (9.0, *HOME[::-1])), names=("gadget", *NAMES[::-1]))
    np.testing.assert_array_equal(teleop.devices["left_arm"].goal, [HOME, np.zeros(6), np.zeros(6)])


@pytest.mark.parametrize(
    ("group", "names", "values", "words"),
    [
        ("tail", NAMES, HOME, "'tail', which is no group"),
        ("left_arm", NAMES, HOME[:5], "6 names and 5 values"),
        ("left_arm", NAMES[1:], HOME[1:], "lacks left_joint1"),
        ("left_arm", NAMES, [*HOME[:5], math.nan], "is not finite"),
        ("left_arm", NAMES, [*HOME[:5], "x"], "left_arm"),
    ],
)
def test_what_makes_no_sense_is_refused_and_the_last_good_input_stays(robot, group, names, values, words):
    teleop = heard(robot, (1.0, HOME))
    assert words in teleop.hear(1.1, group, names, values)
    device = teleop.devices["left_arm"]
    np.testing.assert_array_equal(device.goal[0], HOME)
    assert device.received == 1.0


def test_an_input_is_fresh_for_its_own_max_age_and_any_fresh_one_keeps_a_person_alive(robot):
    age = robot.group("left_arm").teleop.max_age
    teleop = heard(robot, (1.0, HOME))
    assert teleop.devices["left_arm"].fresh(1.0 + 0.99 * age) and not teleop.devices["left_arm"].fresh(1.001 + age)
    assert not teleop.devices["right_arm"].fresh(1.0)
    assert teleop.alive(1.0 + 0.99 * age) and not teleop.alive(1.001 + age)


def test_a_steady_hand_is_met_a_little_behind_where_it_has_moved_on_to(robot):
    """A joint at 0.5 rad/s, said every 20 ms: 10 ms later it is met at 20 ms behind, with its velocity."""
    speed = np.array([0.5, -0.3, 0.2, 0.0, 0.1, -0.4])
    teleop = heard(robot, *[(1.0 + 0.02 * k, HOME + speed * 0.02 * k) for k in range(6)])
    goal = teleop.devices["left_arm"].aim(1.11)
    np.testing.assert_allclose(goal[1], speed, atol=1e-9)
    np.testing.assert_allclose(goal[0], HOME + speed * (0.11 - 0.02), atol=1e-9)
    # No further ahead than the stretch from which its velocity is known (40 ms).
    later = teleop.devices["left_arm"].aim(1.19)
    np.testing.assert_allclose(later[0], HOME + speed * (0.10 + 0.04 - 0.02), atol=1e-9)


@pytest.mark.parametrize("times", [[1.0], [1.0, 1.02], [1.0, 1.16]])
def test_of_a_hand_that_was_hardly_heard_no_velocity_is_known(robot, times):
    teleop = heard(robot, *[(at, HOME + 0.02 * k) for k, at in enumerate(times)])
    goal = teleop.devices["left_arm"].aim(times[-1] + 0.01)
    np.testing.assert_array_equal(goal, [HOME + 0.02 * (len(times) - 1), np.zeros(6), np.zeros(6)])


def test_a_joystick_is_followed_as_it_says(robot):
    names = tuple(c.name for c in robot.group("base").channels)
    teleop = heard(robot, (1.0, (0.1, 0.0, -0.2)), (1.05, (0.2, 0.05, -0.1)), group="base", names=names)
    np.testing.assert_array_equal(teleop.devices["base"].aim(1.06), [[0.2, 0.05, -0.1], np.zeros(3), np.zeros(3)])
    assert teleop.devices["base"].travel(1.06) == 0.0
    assert teleop.devices["base"].lead.scale(1.06) == 1.0


def test_a_deadman_button_counts_while_it_is_held_and_heard(robot):
    needs = replace(robot, takeover=Takeover(deadman_topic="joy", deadman_button=1))
    teleop, age = Teleop(needs, ExecutorSettings()), ExecutorSettings().teleop_stale
    assert not teleop.enabled(0.0) and Teleop(robot, ExecutorSettings()).enabled(0.0)
    teleop.update_button(5.0, True)
    assert teleop.enabled(5.0 + 0.99 * age) and not teleop.enabled(5.01 + age)
    teleop.update_button(5.1, False)
    assert not teleop.enabled(5.1)


def test_a_leader_takes_over_once_it_has_moved_within_its_max_age_and_only_where_the_robot_says_so(robot):
    inputs = [(1.0, HOME), (1.1, HOME + np.array([0.0, 0.0, -0.06, 0.0, 0.02, 0.0]))]
    wants = replace(robot, takeover=Takeover(leader_motion=0.05))
    assert heard(wants, *inputs).leader_moved(1.1, "left_arm")
    assert not heard(robot, *inputs).leader_moved(1.1, "left_arm")
    assert not heard(replace(robot, takeover=Takeover(leader_motion=0.07)), *inputs).leader_moved(1.1, "left_arm")
    age = robot.group("left_arm").teleop.max_age
    teleop = heard(wants, *inputs)
    assert teleop.devices["left_arm"].travel(1.0 + 0.99 * age) == pytest.approx(0.06)
    assert teleop.devices["left_arm"].travel(1.01 + age) == 0.0
    assert not teleop.leader_moved(1.01 + age, "left_arm")


def test_a_device_that_begins_or_begins_again_or_jumps_is_followed_slowly_at_first(robot):
    """A second at 20 %, then half a second up to everything; a jump at 20 % until it is reached."""
    teleop = heard(robot, (1.0, HOME))
    device = teleop.devices["left_arm"]

    def shares(since):
        return [device.lead.scale(since + later) for later in (0.0, 0.9, 1.25, 1.6)]

    slow_then_all = pytest.approx([0.2, 0.2, 0.6, 1.0])
    assert shares(1.0) == slow_then_all
    teleop.hear(1.0 + 0.5 * device.max_age, "left_arm", NAMES, HOME)
    assert shares(1.0) == slow_then_all and teleop.jumped("left_arm") == ""
    teleop.hear(9.0, "left_arm", NAMES, HOME)  # it was silent
    assert shares(9.0) == slow_then_all
    teleop.restart(20.0)  # somebody else drove
    assert shares(20.0) == slow_then_all
    teleop.hear(30.0, "left_arm", NAMES, HOME)
    away = HOME - np.array([0.0, 0.0, 0.0, 1.9, 0.0, 0.0])
    teleop.hear(30.0 + 0.5 * device.max_age, "left_arm", NAMES, away)
    assert "jumped; it is approached slowly" in teleop.jumped("left_arm")
    assert device.lead.scale(60.0) == 0.2
    device.lead.reached(away.tolist(), HOME.tolist())
    assert device.lead.scale(60.0) == 0.2
    device.lead.reached(away.tolist(), (away + 0.01).tolist())
    assert device.lead.scale(60.0) == 1.0


def test_a_jump_is_said_of_the_input_that_jumped_and_of_no_later_one(robot):
    teleop = heard(robot, (1.0, HOME))
    away = HOME + np.array([0.0, 0.9, 0.0, 0.0, 0.0, 0.0])
    for then in (1.02, 9.0):  # the next one comes soon, or after a silence
        teleop.hear(1.01 if then < 2.0 else 1.05, "left_arm", NAMES, away if then < 2.0 else HOME)
        assert "jumped" in teleop.jumped("left_arm")
        teleop.hear(then, "left_arm", NAMES, away if then < 2.0 else HOME)
        assert teleop.jumped("left_arm") == ""


@pytest.mark.parametrize("since", [0.029, 0.031, 0.149, 0.151])
def test_a_velocity_is_known_from_positions_between_thirty_and_a_hundred_and_fifty_milliseconds_apart(robot, since):
    teleop = heard(robot, (1.0, HOME), (1.0 + since, HOME + 0.01))
    speed = 0.01 / since if 0.03 < since < 0.15 else 0.0
    np.testing.assert_allclose(teleop.devices["left_arm"].aim(1.0 + since)[1], speed)
    assert np.all(teleop.devices["left_arm"].aim(1.0 + since)[2] == 0.0)


def test_of_several_older_positions_the_newest_that_is_old_enough_says_the_velocity(robot):
    moved = ((1.0, -9e-3), (1.02, 0.0), (1.055, 3.5e-3), (1.065, 4e-3), (1.09, 9e-3))
    teleop = heard(robot, *[(at, HOME + way) for at, way in moved])
    np.testing.assert_allclose(teleop.devices["left_arm"].aim(1.1)[1], 5.5e-3 / 0.035)


def test_inputs_of_one_group_say_nothing_of_another(robot):
    teleop = heard(robot, (1.0, HOME))
    assert teleop.hear(1.3, "right_arm", tuple(n.replace("left", "right") for n in NAMES), HOME[::-1]) == ""
    np.testing.assert_array_equal(teleop.devices["left_arm"].goal[0], HOME)
    np.testing.assert_array_equal(teleop.devices["right_arm"].goal[0], HOME[::-1])
    assert teleop.devices["left_arm"].received == 1.0 and teleop.alive(1.3 + teleop.devices["right_arm"].max_age)


def test_a_gripper_beyond_its_ends_is_told_with_what_its_topic_takes(robot):
    hand = robot.group("left_gripper")
    hand = replace(hand, gripper=replace(hand.gripper, closed=0.01, open=0.05))
    says = Device(
        replace(hand, teleop=TeleopTopic("teleop/hand", "joint_state", 0.2, ("finger",))), 0.2, ExecutorSettings()
    )
    answer = says.hear(1.0, ["left_gripper"], [24.75])
    assert (
        "left_gripper is 24.75, far beyond its limit 1; teleop/hand takes 0.01 for closed and 0.05 for open" in answer
    )
    assert f"those of joint {hand.gripper.joint}" in answer
    own = TeleopTopic("teleop/hand", "joint_state", 0.2, ("finger",), range=(255.0, 0.0))
    answer = Device(replace(hand, teleop=own), 0.2, ExecutorSettings()).hear(1.0, ["left_gripper"], [-12.0])
    assert (
        "left_gripper is -12, far beyond its limit 0; teleop/hand takes 255 for closed and 0 for open (its own"
        in answer
    )


def test_an_arm_beyond_its_limits_is_told_without_a_word_on_grippers(robot):
    device = heard(robot, (1.0, HOME)).devices["left_arm"]
    assert device.hear(1.1, NAMES, [9.0, *HOME[1:]]).endswith(
        f"far beyond its limit {robot.channels[0].limits.upper:.4g}"
    )


def test_who_was_never_heard_is_met_nowhere(robot):
    for group in ("left_arm", "base"):
        device = Teleop(robot, ExecutorSettings()).devices[group]
        np.testing.assert_array_equal(device.aim(5.0), np.zeros((3, len(device.group.channels))))
        assert device.travel(5.0) == 0.0 and not device.fresh(5.0)


ENDLESS = """
hand:
  kind: gripper
  channels: [grip]
  joint: {name: finger, closed: 0.0, open: 0.04}
  command: {topic: hand, type: joint_state}
arm:
  kind: position
  channels: [j1, wrist]
  command: {topic: arm, type: joint_state}
  limits: {source: urdf, acceleration: 5.0}
"""


@pytest.mark.parametrize(("turn", "taken"), [(None, 7.0), (0.5, 7.0 - 2.0 * math.pi), (12.7, 7.0 + 2.0 * math.pi)])
def test_a_joint_without_ends_is_asked_for_on_the_turn_of_its_command(small_robot, turn, taken):
    teleop = Teleop(small_robot(ENDLESS), ExecutorSettings())
    command = None if turn is None else np.array([1.0, 99.0, turn])
    assert teleop.hear(1.0, "arm", ("wrist", "j1"), (7.0, 1.5), command) == ""
    np.testing.assert_allclose(teleop.devices["arm"].goal[0], [1.5, taken])


@pytest.mark.parametrize("side", [1.0, -1.0])
def test_how_far_a_hand_has_come_counts_and_not_its_way(robot, side):
    there = [0.0, 0.09, 0.04]
    teleop = heard(robot, *[(1.0 + 0.02 * k, HOME + side * far * np.eye(6)[3]) for k, far in enumerate(there)])
    assert teleop.devices["left_arm"].travel(1.05) == pytest.approx(0.04)


def test_a_device_of_which_the_robot_says_nothing_is_believed_for_as_long_as_the_settings_say(robot):
    groups = tuple(replace(g, teleop=None) if g.name == "right_arm" else g for g in robot.groups)
    devices = Teleop(replace(robot, groups=groups), ExecutorSettings(teleop_stale=0.375)).devices
    assert devices["right_arm"].max_age == 0.375
    assert devices["left_arm"].max_age == robot.group("left_arm").teleop.max_age != 0.375
