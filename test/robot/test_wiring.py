"""What a group sends and hears: axes, orders, names, fingers, ranges; and what is refused with the way out."""

import pytest

from pi0_ros.robot import RobotError
from pi0_ros.robot.spec import Axis, CommandTopic, TeleopTopic
from pi0_ros.robot.wire import fingers, from_wire, in_channel_order, in_wire_order, to_wire

ARM = """
arm:
  kind: position
  channels: [j1, j2, j3]
  command: {topic: arm/commands, type: float64_multi_array}
  limits: {source: urdf, acceleration: 5.0}
"""
HAND = """
hand:
  kind: gripper
  channels: [gripper]
  joint: {name: finger, closed: 0.0, open: 0.04}
  command: {topic: hand/commands, type: float64_multi_array}
"""
BASE = """
base:
  kind: velocity
  channels: [base_vx, base_wz]
  command: {topic: cmd_vel, type: twist}
  limits: {velocity: [0.5, 1.0], acceleration: 1.0}
"""
DRIVEN = """
arm:
  kind: velocity
  channels: [j1_velocity, j2_velocity]
  joints: [j1, j2]
  command: {topic: arm/commands, type: float64_multi_array}
  limits: {source: urdf, acceleration: 5.0, margin: 0.1}
"""


@pytest.mark.parametrize(
    ("channels", "axes", "expected"),
    [
        ("[base.wz, base.vx]", "", (Axis.WZ, Axis.VX)),
        ("[base.vx, base.vy]", "", (Axis.VX, Axis.VY)),
        ("[base_vy, base_vx]", "", (Axis.VY, Axis.VX)),
        ("[x.vel, theta.vel]", "axes: [vx, wz]", (Axis.VX, Axis.WZ)),
        ("[base_vx, base_wz]", "axes: [wz, vx]", (Axis.WZ, Axis.VX)),
    ],
)
def test_a_bases_axes_go_by_name_or_as_the_yaml_says(small_robot, channels, axes, expected):
    text = BASE.replace("[base_vx, base_wz]", channels) + (f"  {axes}\n" if axes else "")
    robot = small_robot(text)
    assert tuple(c.axis for c in robot.channels) == expected
    assert [c.unit for c in robot.channels] == ["rad/s" if a is Axis.WZ else "m/s" for a in expected]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (BASE.replace("base_wz", "spin"), "spin does not: say what each channel is, for example axes: [vx, wz]"),
        (BASE.replace("base_wz", "other_vx"), "two channels are vx"),
        (BASE + "  axes: [vx]\n", "needs 2 axes, one a channel"),
        (BASE + "  axes: [vx, vz]\n", "must be one of vx, vy, wz"),
        (BASE + "  joints: [j1, j2]\n  axes: [vx, wz]\n", "axes (a base) or joints (an arm), not both"),
        (BASE.replace("type: twist", "type: twist, joints: [a, b]"), "a twist carries no joint names"),
        (BASE.replace("type: twist", "type: joint_trajectory"), "carries positions, and the group's kind is velocity"),
        (ARM.replace("type: float64_multi_array", "type: twist"), "twist carries velocities"),
        (ARM + "  axes: [vx, vy, wz]\n", "only a group of kind velocity has axes"),
        (ARM + "  joints: [j1, j2, j3]\n", "only a group of kind velocity has joints"),
        (ARM + "  measured: false\n", "only velocities can do without a measurement"),
        (ARM + "  continuous: [j9]\n", "j9 is no channel of this group"),
        (ARM.replace("j3]", "slide]\n  continuous: [slide]"), "slide is prismatic"),
        (ARM.replace("j3]", "finger_r]"), "finger_r mimics finger in the URDF; command finger alone"),
        (
            ARM.replace("float64_multi_array", "float64_multi_array, joints: [a, b, c]"),
            "carries no names; joints gives the order",
        ),
        (
            ARM.replace("float64_multi_array", "joint_trajectory, joints: [j3, j2, j1]"),
            "calls channel j1 j3, which is another channel of the group",
        ),
        (
            ARM.replace("float64_multi_array", "float64_multi_array, closed: 0, open: 1"),
            "only a gripper has closed and open",
        ),
        (ARM.replace("j3]", "finger]") + HAND, "joint finger is already measured by channel finger"),
        (
            HAND + HAND.replace("hand", "hand2").replace("[gripper]", "[g2]"),
            "joint finger is already measured by channel gripper",
        ),
        (HAND.replace("open: 0.04", "open: 0.08"), "0.08 is beyond the URDF's 0 .. 0.04 of joint finger"),
        (HAND.replace("open: 0.04", "open: 85"), "85 is beyond the URDF's 0 .. 0.04 of joint finger"),
        (
            ARM + HAND.replace("hand/commands", "arm/commands"),
            "already owned by group arm; only groups whose types are all",
        ),
        (DRIVEN.replace("[j1, j2]", "[j1]"), "needs 2 joints, one a channel"),
        (DRIVEN.replace("[j1, j2]", "[j1, j9]"), "j9 is not a movable joint of the URDF"),
        (DRIVEN.replace("source: urdf, ", ""), "key velocity is missing; give it, or source: urdf"),
        (DRIVEN.replace("margin: 0.1", "margin: 2.0"), "nothing is left of -2 .. 2 after the margin 2"),
    ],
)
def test_what_would_move_something_else_is_refused(small_robot, text, words):
    with pytest.raises(RobotError) as problem:
        small_robot(text)
    assert words in str(problem.value)
    assert ".yaml:" in str(problem.value)


@pytest.mark.parametrize("velocity", ["0.0", "inf", None])
def test_a_gripper_joint_without_a_speed_asks_for_one(small_robot, velocity):
    kind = "continuous" if velocity is None else "prismatic"
    joints = {"finger": (kind, None if velocity is None else 0.0, 0.04, velocity)}
    with pytest.raises(RobotError, match="joint finger has no velocity limit in the URDF; give limits.velocity"):
        small_robot(HAND, joints=joints, mimics={})


def test_an_array_may_have_an_order_of_its_own(small_robot):
    group = small_robot(ARM.replace("float64_multi_array", "float64_multi_array, joints: [j3, j1, j2]")).group("arm")
    assert in_wire_order(group.command, [0.1, 0.2, 0.3]) == [0.3, 0.1, 0.2]
    assert in_channel_order(group.command, [0.3, 0.1, 0.2]) == [0.1, 0.2, 0.3]


def test_a_gripper_has_ends_of_its_own_for_measurement_command_and_teleop(small_robot):
    text = HAND.replace("float64_multi_array}", "float64_multi_array, closed: 255, open: 0}")
    text += "  teleop: {topic: leader, type: joint_state, max_age: 0.2, closed: -10, open: 10}\n"
    group = small_robot(text).group("hand")
    assert to_wire(group, [0.25]) == [191.25] and from_wire(group, [191.25]) == [0.25]
    assert to_wire(group, [0.25], group.teleop) == [-5.0] and from_wire(group, [-5.0], group.teleop) == [0.25]
    assert (group.gripper.closed, group.gripper.open) == (0.0, 0.04)


def test_two_fingers_are_commanded_together_each_as_its_mimic_says(small_robot):
    text = HAND.replace("float64_multi_array", "joint_trajectory, joints: [finger, finger_r]")
    group = small_robot(text).group("hand")
    assert fingers(group.command, [0.03]) == pytest.approx([0.03, 0.07])
    assert group.command.joints == ("finger", "finger_r")


def test_a_finger_may_mimic_the_first_finger_or_the_grippers_joint_and_no_other(small_robot):
    text = HAND.replace("float64_multi_array", "joint_trajectory, joints: [NAMES]")
    driver = small_robot(text.replace("NAMES", "first, finger_r")).group("hand")
    assert fingers(driver.command, [0.03]) == pytest.approx([0.03, 0.07])  # finger_r mimics finger, the gripper's joint
    slide = {"finger_r": ("slide", 3.0, 0.02)}
    other = small_robot(text.replace("NAMES", "slide, finger_r"), mimics=slide).group("hand")
    assert fingers(other.command, [0.03]) == pytest.approx([0.03, 0.11])
    with pytest.raises(RobotError, match="finger_r mimics slide in the URDF, not finger$"):
        small_robot(text.replace("NAMES", "finger, finger_r"), mimics=slide)


def test_velocities_of_an_arm_know_their_joints_and_where_these_are_kept(small_robot):
    robot = small_robot(DRIVEN)
    assert robot.driven_joints == {"j1_velocity": "j1", "j2_velocity": "j2"}
    assert robot.state_joints == ("j1", "j2")
    assert [c.reach for c in robot.channels] == [pytest.approx((-1.9, 1.9)), pytest.approx((-1.4, 1.8))]
    assert [c.limits.upper for c in robot.channels] == [2.5, 2.0]
    assert [c.unit for c in robot.channels] == ["rad/s", "rad/s"]


def test_groups_that_speak_by_name_may_share_a_topic(small_robot):
    one = "joint_command, type: joint_state"
    text = ARM.replace("arm/commands, type: float64_multi_array", one)
    hand = HAND.replace("hand/commands, type: float64_multi_array", one)
    assert [g.command.topic for g in small_robot(text + hand).groups] == ["joint_command"] * 2
    with pytest.raises(RobotError, match="already carries j2 of group arm"):
        small_robot(text + hand.replace("joint_state}", "joint_state, joints: [j2]}"))


@pytest.mark.parametrize("joints", ["[a, b]", "[a, b, c, d]"])
def test_names_on_the_topic_are_as_many_as_channels(small_robot, joints):
    text = ARM.replace("float64_multi_array}", f"joint_state, joints: {joints}}}")
    with pytest.raises(RobotError, match=r"needs 3 names, one a channel \(j1, j2, j3\), and has"):
        small_robot(text)


@pytest.mark.parametrize(
    ("continuous", "words"),
    [("[slide]", "slide is prismatic in the URDF"), ("[j9]", "j9 is no channel of this group, which has j1, slide")],
)
def test_only_a_joint_of_the_group_that_turns_is_continuous(small_robot, continuous, words):
    text = ARM.replace("[j1, j2, j3]", "[j1, slide]") + f"  continuous: {continuous}\n"
    with pytest.raises(RobotError, match=words):
        small_robot(text)
    turning = small_robot(ARM.replace("[j1, j2, j3]", "[j1, slide]") + "  continuous: [j1]\n")
    assert [c.continuous for c in turning.channels] == [True, False]


@pytest.mark.parametrize(
    ("closed", "opened", "key"),
    [("-0.0007", "0.0407", ""), ("-0.0009", "0.04", "closed"), ("0.0", "0.0409", "open"), ("0.0409", "0.0", "closed")],
)
def test_a_grippers_ends_may_be_beyond_its_joints_by_a_fiftieth_of_its_range(small_robot, closed, opened, key):
    text = HAND.replace("closed: 0.0, open: 0.04", f"closed: {closed}, open: {opened}")
    if not key:
        hand = small_robot(text).groups[0].gripper
        assert (hand.closed, hand.open) == (float(closed), float(opened))
        return
    with pytest.raises(RobotError, match=f"{key}: .* is beyond the URDF's 0 .. 0.04 of joint finger"):
        small_robot(text)


def test_a_group_is_led_by_messages_of_its_own_kind(small_robot):
    led = "  teleop: {topic: leader, type: twist, max_age: 0.2}\n"
    with pytest.raises(RobotError, match="twist carries velocities; the group's kind is position"):
        small_robot(ARM + led)
    assert small_robot(BASE + led).groups[0].teleop.type == "twist"


def test_a_gripper_goes_from_closed_at_nought_to_open_at_one(small_robot):
    (channel,) = small_robot(HAND).channels
    assert (channel.limits.lower, channel.limits.upper) == (0.0, 1.0)


@pytest.mark.parametrize(
    ("groups", "words"),
    [
        (
            HAND.replace("[gripper]", "[left, right]"),
            "a gripper group has one channel; make one group for each gripper",
        ),
        (HAND + "  continuous: [gripper]\n", "only a group of kind position has continuous joints"),
        (BASE + "  continuous: [base_wz]\n", "only a group of kind position has continuous joints"),
        (DRIVEN + "  continuous: [j1_velocity]\n", "only a group of kind position has continuous joints"),
    ],
)
def test_what_another_kind_of_group_has_is_refused(small_robot, groups, words):
    with pytest.raises(RobotError, match=words):
        small_robot(groups)


def test_only_a_trajectory_may_say_when_it_begins(small_robot):
    for kind in ("float64_multi_array", "joint_state"):
        with pytest.raises(RobotError, match=rf"\.yaml:\d+: .*stamp.* joint_trajectory; a {kind}"):
            small_robot(ARM.replace("float64_multi_array", f"{kind}, stamp: now"))
    for more, stamped in (("", False), (", stamp: zero", False), (", stamp: now", True)):
        command = small_robot(ARM.replace("float64_multi_array", "joint_trajectory" + more)).groups[0].command
        assert command.stamped is stamped


def test_a_group_is_up_to_half_a_second_late_or_not_at_all(small_robot):
    assert small_robot(ARM).groups[0].command_latency == 0.0
    for late in (0, 0.0, 0.07, 0.5):
        assert small_robot(ARM + f"  command_latency: {late}\n").groups[0].command_latency == late
    for late in (-0.001, 0.501):
        with pytest.raises(RobotError, match=rf"command_latency: .*{late}"):
            small_robot(ARM + f"  command_latency: {late}\n")


NAMES = ("j1", "j2", "j3")


@pytest.mark.parametrize(
    ("text", "command"),
    [
        (ARM, CommandTopic("arm/commands", "float64_multi_array", NAMES)),
        (
            ARM.replace("float64_multi_array", "float64_multi_array, joints: [j1, j2, j3]"),
            CommandTopic("arm/commands", "float64_multi_array", NAMES),
        ),
        (
            ARM.replace("float64_multi_array", "float64_multi_array, joints: [j2, j3, j1]"),
            CommandTopic("arm/commands", "float64_multi_array", NAMES, order=(1, 2, 0)),
        ),
        (
            ARM.replace("float64_multi_array", "joint_state, joints: [a, b, c], frame: base_link"),
            CommandTopic("arm/commands", "joint_state", ("a", "b", "c"), frame="base_link"),
        ),
        (
            ARM.replace("float64_multi_array", "joint_trajectory, joints: [j1, j2, j3], stamp: now"),
            CommandTopic("arm/commands", "joint_trajectory", NAMES, stamped=True),
        ),
        (
            BASE.replace("type: twist", "type: twist_stamped, frame: base_link"),
            CommandTopic("cmd_vel", "twist_stamped", ("base_vx", "base_wz"), frame="base_link"),
        ),
        (HAND, CommandTopic("hand/commands", "float64_multi_array", ("gripper",))),
        (
            HAND.replace("float64_multi_array", "joint_state, joints: [thumb], closed: 7, open: -3.5"),
            CommandTopic("hand/commands", "joint_state", ("thumb",), range=(7.0, -3.5)),
        ),
        (
            HAND.replace("float64_multi_array", "joint_state, joints: [finger, finger_r, other]"),
            CommandTopic(
                "hand/commands",
                "joint_state",
                ("finger", "finger_r", "other"),
                followers=((1.0, 0.0), (2.0, 0.01), (1.0, 0.0)),
            ),
        ),
        (
            DRIVEN.replace("float64_multi_array", "joint_state, joints: [left, right]"),
            CommandTopic("arm/commands", "joint_state", ("left", "right")),
        ),
    ],
)
def test_a_command_goes_where_and_as_the_yaml_says(small_robot, text, command):
    assert small_robot(text).groups[0].command == command


@pytest.mark.parametrize(
    ("group", "keys", "teleop"),
    [
        (ARM, "type: joint_state", TeleopTopic("leader", "joint_state", 0.25, NAMES)),
        (
            ARM,
            "type: joint_state, joints: [j3, j1, j2]",
            TeleopTopic("leader", "joint_state", 0.25, ("j3", "j1", "j2")),
        ),
        (
            ARM,
            "type: float64_multi_array, joints: [j3, j1, j2]",
            TeleopTopic("leader", "float64_multi_array", 0.25, NAMES, (2, 0, 1)),
        ),
        (
            HAND,
            "type: joint_state, joints: [glove], closed: 4, open: 9.5",
            TeleopTopic("leader", "joint_state", 0.25, ("glove",), (), (4.0, 9.5)),
        ),
        (BASE, "type: twist_stamped", TeleopTopic("leader", "twist_stamped", 0.25, ("base_vx", "base_wz"))),
    ],
)
def test_a_person_leads_a_group_from_where_and_as_the_yaml_says(small_robot, group, keys, teleop):
    found = small_robot(group + f"  teleop: {{topic: leader, max_age: 0.25, {keys}}}\n").groups[0]
    assert found.teleop == teleop and small_robot(group).groups[0].teleop is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (HAND.replace("float64_multi_array", "joint_state, closed: 1"), "hand.command: key open is missing"),
        (HAND.replace("float64_multi_array", "joint_state, open: 1"), "hand.command: key closed is missing"),
        (HAND.replace("float64_multi_array", "joint_state, closed: 1, open: 1"), "closed and open are the same value"),
        (HAND.replace("type: float64_multi_array", "type: twist"), "twist carries velocities; the group's kind is gripper"),
        (HAND.replace("{name: finger", "{name: finger_r"), "finger_r mimics finger in the URDF; command finger alone"),
        (HAND.replace("  joint: {name: finger, closed: 0.0, open: 0.04}\n", ""), "key joint is missing"),
        (HAND.replace("open: 0.04", "open: 0.0"), "hand.joint: closed and open are the same value"),
        (ARM.replace("float64_multi_array", "joint_state, stamp: now"), "stamp is a key of a joint_trajectory"),
        (ARM.replace("float64_multi_array", "joint_trajectory, stamp: later"), "must be one of zero, now, not 'later'"),
        (ARM + "  teleop: {topic: leader, type: joint_trajectory, max_age: 0.2}\n", "must be one of joint_state"),
        (ARM + "  teleop: {topic: leader, type: joint_state, max_age: 0}\n", "teleop.max_age: must be above 0"),
        (ARM.replace("[j1, j2, j3]", "[j1, wrist]") + "  continuous: [wrist, j2]\n", "j2 is no channel of this group"),
        (ARM + HAND.replace("[gripper]", "[j2]"), "channel j2 is already in group arm"),
    ],
)  # fmt: skip
def test_a_topic_that_cannot_be_meant_is_refused(small_robot, text, words):
    with pytest.raises(RobotError) as problem:
        small_robot(text)
    assert words in str(problem.value)


def test_joints_that_turn_for_ever_are_those_of_the_urdf_and_those_that_the_yaml_names(small_robot):
    arm = ARM.replace("[j1, j2, j3]", "[j1, wrist, j3]")
    assert [c.continuous for c in small_robot(arm).channels] == [False, True, False]
    assert [c.continuous for c in small_robot(arm + "  continuous: [j3]\n").channels] == [False, True, True]


SHARED = "all, type: joint_state, joints: [JOINTS]"


def test_a_topic_of_two_groups_carries_values_of_one_kind_and_each_name_once(small_robot):
    arm = ARM.replace("arm/commands, type: float64_multi_array", SHARED.replace("JOINTS", "q, p, r"))
    turret = DRIVEN.replace("arm:", "turret:").replace("[j1, j2]", "[slide, wrist]")
    turret = turret.replace("arm/commands, type: float64_multi_array", SHARED.replace("JOINTS", "s, t"))
    turret = turret.replace(", margin: 0.1", "")
    for groups, first in ((arm + turret, "arm"), (turret + arm, "turret")):
        with pytest.raises(RobotError, match=f"carries the positions of {first} or the velocities, not both"):
            small_robot(groups)
    other = ARM.replace("arm:", "other:").replace("[j1, j2, j3]", "[slide, wrist]")
    for names, told in (("s, t", ""), ("q, t", "q"), ("t, r", "r"), ("r, q", "q")):
        text = arm + other.replace("arm/commands, type: float64_multi_array", SHARED.replace("JOINTS", names))
        if told:
            with pytest.raises(RobotError, match=f"topic all already carries {told} of group arm"):
                small_robot(text)
        else:
            assert [g.command.topic for g in small_robot(text).groups] == ["all", "all"]
    trajectory = other.replace("arm/commands, type: float64_multi_array", "all, type: joint_trajectory")
    with pytest.raises(RobotError, match="command topic all is already owned by group arm"):
        small_robot(arm + trajectory)


def test_velocities_that_move_joints_are_no_base_whatever_they_are_called(small_robot):
    robot = small_robot(DRIVEN.replace("[j1_velocity, j2_velocity]", "[arm_vx, arm_wz]"))
    assert [(c.axis, c.unit, c.joint) for c in robot.channels] == [(None, "rad/s", "j1"), (None, "rad/s", "j2")]


def test_two_channels_of_one_axis_are_refused_beside_others_that_are_none(small_robot):
    base = BASE.replace("type: twist", "type: float64_multi_array").replace("[0.5, 1.0]", "0.5")
    with pytest.raises(RobotError, match="two channels are vx; a base has one of each"):
        small_robot(base.replace("[base_vx, base_wz]", "[a, b, c_vx, d_vx]"))
    found = small_robot(base.replace("[base_vx, base_wz]", "[a, b, c_vx, d_wz]"))
    assert [c.axis for c in found.channels] == [None, None, Axis.VX, Axis.WZ]
