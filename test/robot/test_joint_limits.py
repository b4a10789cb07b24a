"""The limits of a group from its YAML and its joints alone: whole results, and both sides of every bound."""

import math
from dataclasses import replace
from pathlib import Path
from xml.etree.ElementTree import Element

import pytest

from pi0_ros.robot import RobotError
from pi0_ros.robot.limits import driven_limits, gripper_limits, position_limits, velocity_limits
from pi0_ros.robot.spec import ENDLESS, GripperMap, Limits, Origin
from pi0_ros.robot.urdf import Joint, Urdf
from pi0_ros.robot.yaml_compose import compose
from pi0_ros.robot.yaml_nodes import YamlNode

ELBOW = Joint("elbow", "revolute", -2.5, 2.0, 3.0, 10.0)
LIFT = Joint("lift", "prismatic", 0.1, 0.4, 0.25, 5.0)
WRIST = Joint("wrist", "continuous", -math.inf, math.inf, 2.0, 1.0)
WINCH = Joint("winch", "revolute", -20.0, 20.0, 3.0, 10.0)
RAIL = Joint("rail", "prismatic", -20.0, 20.0, 3.0, 10.0)
PLACE = "r.yaml:2"


def keys_of(text):
    """A group, whose limits are in line 2."""
    return YamlNode(Path("r.yaml"), "g", compose("\nlimits: {" + text + "}" if text else "{}")).section("limits")


def urdf_of(*joints):
    return Urdf(Path("r.urdf"), Element("robot"), {joint.name: joint for joint in joints})


def positions(text, *joints):
    """Limits, origins and warnings."""
    warnings = []
    return *position_limits(keys_of(text), list(joints), urdf_of(*joints), warnings), warnings


def bounds(text, joint):
    """Lower, upper, velocity and the number of warnings of one joint whose acceleration is given."""
    (found,), _, warnings = positions(f"{text}, acceleration: 1.0", joint)
    return found.lower, found.upper, found.velocity, len(warnings)


def refusal(text, joint):
    with pytest.raises(RobotError) as problem:
        bounds(text, joint)
    return str(problem.value)


def test_the_urdfs_limits_less_the_margin_count_with_a_jerk_of_ten_times_the_acceleration():
    limits, origins, warnings = positions(
        "source: urdf, acceleration: [1.5, 2.5, 3.5], margin: [0.125, 0.0625, 0.3]", ELBOW, LIFT, WRIST
    )
    assert limits == [
        Limits(-2.375, 1.875, 3.0, 1.5, 15.0),
        Limits(0.1625, 0.4 - 0.0625, 0.25, 2.5, 25.0),
        Limits(-ENDLESS, ENDLESS, 2.0, 3.5, 35.0),
    ]
    assert origins == [
        Origin("r.urdf", "r.urdf", 0.125, PLACE),
        Origin("r.urdf", "r.urdf", 0.0625, PLACE),
        Origin("continuous", "r.urdf", 0.0, PLACE),
    ]
    assert warnings == []


def test_what_the_yaml_says_counts_where_it_is_narrower():
    limits, origins, warnings = positions(
        "position: [[-1, 1.5], [0.15, 0.3], [-4, 3]], velocity: [2, 0.2, 1], acceleration: [7, 8, 9], jerk: [4, 5, 6]",
        ELBOW,
        LIFT,
        WRIST,
    )
    assert limits == [
        Limits(-1.0, 1.5, 2.0, 7.0, 4.0),
        Limits(0.15, 0.3, 0.2, 8.0, 5.0),
        Limits(-4.0, 3.0, 1.0, 9.0, 6.0),
    ]
    assert origins == [Origin(PLACE, PLACE, 0.0, PLACE)] * 3 and warnings == []


def test_what_the_yaml_says_counts_though_it_is_wider_if_it_overrides():
    limits, origins, warnings = positions(
        "position: {elbow: [-3, 3.5]}, velocity: {lift: 0.3}, source: urdf, acceleration: 1.0, override: true",
        ELBOW,
        LIFT,
    )
    assert limits == [Limits(-3.0, 3.5, 3.0, 1.0, 10.0), Limits(0.1, 0.4, 0.3, 1.0, 10.0)]
    assert [(o.position, o.velocity) for o in origins] == [
        (f"{PLACE} (override)", "r.urdf"),
        ("r.urdf", f"{PLACE} (override)"),
    ]
    assert len(warnings) == 2


@pytest.mark.parametrize(
    ("text", "joint", "expected"),
    [
        # a thousandth is rounding, and more is a warning
        ("position: [[-2.5009, 1]], source: urdf", ELBOW, (-2.5, 1.0, 3.0, 0)),
        ("position: [[-2.5011, 1]], source: urdf", ELBOW, (-2.5, 1.0, 3.0, 1)),
        ("position: [[-1, 2.0009]], source: urdf", ELBOW, (-1.0, 2.0, 3.0, 0)),
        ("position: [[-1, 2.0011]], source: urdf", ELBOW, (-1.0, 2.0, 3.0, 1)),
        ("velocity: 3.0029, source: urdf", ELBOW, (-2.5, 2.0, 3.0, 0)),
        ("velocity: 3.0031, source: urdf", ELBOW, (-2.5, 2.0, 3.0, 1)),
        ("velocity: 2.9, source: urdf", ELBOW, (-2.5, 2.0, 2.9, 0)),
        # beyond the URDF by less than a turn or 3 m
        ("position: [[-6.4, 1]], source: urdf", ELBOW, (-2.5, 1.0, 3.0, 1)),
        ("position: [[-1, 6.4]], source: urdf", ELBOW, (-1.0, 2.0, 3.0, 1)),
        ("position: [[-2.9, 0.3]], source: urdf", LIFT, (0.1, 0.3, 0.25, 1)),
        ("position: [[0.2, 2.9]], source: urdf", LIFT, (0.2, 0.4, 0.25, 1)),
        # inside a wide range of the URDF
        ("position: [[-12.9, 1]], source: urdf", WINCH, (-12.9, 1.0, 3.0, 0)),
        ("position: [[-1, 12.9]], source: urdf", WINCH, (-1.0, 12.9, 3.0, 0)),
        ("position: [[-9.9, 1]], source: urdf", RAIL, (-9.9, 1.0, 3.0, 0)),
        ("position: [[-1, 9.9]], source: urdf", RAIL, (-1.0, 9.9, 3.0, 0)),
        # without bounds in the URDF
        ("position: [[-64.9, 1]], source: urdf", WRIST, (-64.9, 1.0, 2.0, 0)),
        ("position: [[-1, 64.9]], source: urdf", WRIST, (-1.0, 64.9, 2.0, 0)),
        ("position: [[-1e7, 3]], source: urdf, margin: 0.5, override: true", WRIST, (-1e7 + 0.5, 2.5, 2.0, 0)),
        ("position: [[-3, 1e7]], source: urdf, margin: 0.5, override: true", WRIST, (-2.5, 1e7 - 0.5, 2.0, 0)),
        ("position: [[-1e6, 1e6]], source: urdf, margin: 0.5, override: true", WRIST, (-1e6, 1e6, 2.0, 0)),
        # speeds
        ("velocity: 29.9, source: urdf", ELBOW, (-2.5, 2.0, 3.0, 1)),
        ("velocity: 39.9, source: urdf", replace(ELBOW, velocity=math.nan), (-2.5, 2.0, 39.9, 0)),
        ("velocity: 9.9, source: urdf", replace(LIFT, velocity=math.nan), (0.1, 0.4, 9.9, 0)),
        ("velocity: 9999, source: urdf, override: true", ELBOW, (-2.5, 2.0, 9999.0, 1)),
        ("source: urdf", replace(ELBOW, velocity=39.9), (-2.5, 2.0, 39.9, 0)),
        ("source: urdf", replace(LIFT, velocity=9.9), (0.1, 0.4, 9.9, 0)),
        ("source: urdf, override: true", replace(LIFT, velocity=10.1), (0.1, 0.4, 10.1, 1)),
        # the URDF's own ranges
        ("source: urdf", replace(WINCH, lower=-12.9, upper=1.0), (-12.9, 1.0, 3.0, 0)),
        ("source: urdf", replace(WINCH, lower=-1.0, upper=12.9), (-1.0, 12.9, 3.0, 0)),
        ("source: urdf", replace(RAIL, lower=-9.9, upper=1.0), (-9.9, 1.0, 3.0, 0)),
        ("source: urdf", replace(RAIL, lower=-1.0, upper=9.9), (-1.0, 9.9, 3.0, 0)),
        ("source: urdf, override: true", RAIL, (-20.0, 20.0, 3.0, 1)),
        # margins and soft limits
        ("source: urdf, margin: 0", ELBOW, (-2.5, 2.0, 3.0, 0)),
        ("source: urdf, margin: 2.24", ELBOW, (-2.5 + 2.24, 2.0 - 2.24, 3.0, 0)),
        ("source: urdf, margin: 0.25", replace(ELBOW, soft_lower=-2.4, soft_upper=1.9), (-2.25, 1.75, 3.0, 0)),
        ("source: urdf, margin: 0.25", replace(ELBOW, soft_lower=-2.0, soft_upper=1.5), (-2.0, 1.5, 3.0, 0)),
    ],
)  # fmt: skip
def test_limits_that_can_be_meant_are_taken(text, joint, expected):
    assert bounds(text, joint) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("text", "joint", "words"),
    [
        ("position: [[-6.6, 1]], source: urdf", ELBOW, "-6.6 .. 1 is outside of the URDF's -2.5 .. 2 rad: degrees?"),
        ("position: [[-1, 6.6]], source: urdf", ELBOW, "degrees?"),
        ("position: [[-3.1, 0.3]], source: urdf", LIFT, "is outside of the URDF's 0.1 .. 0.4 m: millimetres?"),
        ("position: [[0.2, 3.1]], source: urdf", LIFT, "millimetres?"),
        ("position: [[-13.1, 1]], source: urdf", WINCH, "-13.1 .. 1 is more than joint winch can mean: degrees?"),
        ("position: [[-1, 13.1]], source: urdf", WINCH, "degrees?"),
        ("position: [[-10.1, 1]], source: urdf", RAIL, "-10.1 .. 1 is more than joint rail can mean: millimetres?"),
        ("position: [[-1, 10.1]], source: urdf", RAIL, "millimetres?"),
        ("position: [[-65.1, 1]], source: urdf", WRIST, "-65.1 .. 1 is more than joint wrist can mean: degrees?"),
        ("position: [[-1, 65.1]], source: urdf", WRIST, "degrees?"),
        ("position: [[2.0, 2.1]], source: urdf", ELBOW, "2 .. 2.1 is outside of the URDF's -2.5 .. 2 rad"),
        ("position: [[-2.6, -2.5]], source: urdf", ELBOW, "-2.6 .. -2.5 is outside of the URDF's -2.5 .. 2 rad"),
        ("velocity: 30.1, source: urdf", ELBOW, "30.1 rad/s is 10 times the URDF's 3: degrees?"),
        ("velocity: 40.1, source: urdf", replace(ELBOW, velocity=math.nan), "40.1 rad/s: degrees?"),
        ("velocity: 10.1, source: urdf", replace(LIFT, velocity=math.nan), "10.1 m/s: millimetres?"),
        ("velocity: 2.6, source: urdf", LIFT, "2.6 m/s is 10 times the URDF's 0.25: millimetres?"),
        ("velocity: 10000, source: urdf, override: true", ELBOW, "10000 rad/s is no limit"),
        ("source: urdf", replace(ELBOW, velocity=40.1), "joint elbow has 40.1 rad/s in r.urdf: degrees?"),
        ("source: urdf", replace(LIFT, velocity=10.1), "joint lift has 10.1 m/s in r.urdf: millimetres?"),
        ("source: urdf", replace(WINCH, lower=-13.1, upper=1.0), "joint winch has -13.1 .. 1 rad in r.urdf: degrees?"),
        ("source: urdf", replace(WINCH, lower=-1.0, upper=13.1), "joint winch has -1 .. 13.1 rad in r.urdf: degrees?"),
        ("source: urdf", replace(RAIL, lower=-10.1, upper=1.0), "joint rail has -10.1 .. 1 m in r.urdf: millimetres?"),
        ("source: urdf", replace(RAIL, lower=-1.0, upper=10.1), "joint rail has -1 .. 10.1 m in r.urdf: millimetres?"),
        ("source: urdf, margin: -0.01", ELBOW, "margin: must be above"),
        ("source: urdf, margin: 2.25", ELBOW, "nothing is left of -2.5 .. 2 after the margin 2.25"),
        ("source: urdf, jerk: 0", ELBOW, "jerk: must be above 0"),
        ("source: urdf, velocity: {shoulder: 1}", ELBOW, "shoulder is no channel of this group, which has elbow"),
        ("source: urdf, velocity: [1, 2]", ELBOW, "needs 1 entries, one a channel (elbow), and has 2"),
        ("source: urdf, jerk: {}", ELBOW, "elbow is missing; needs one number a channel"),
    ],
)  # fmt: skip
def test_limits_that_cannot_be_meant_are_refused(text, joint, words):
    message = refusal(text, joint)
    assert message.startswith("r.yaml:2: g.limits") and words in message


def test_the_velocities_of_a_base_are_the_same_in_both_directions():
    limits, origins = velocity_limits(keys_of("velocity: [0.5, 0.25], acceleration: {wz: 3, vx: 2}"), ("vx", "wz"))
    assert limits == [Limits(-0.5, 0.5, 0.5, 2.0, 20.0), Limits(-0.25, 0.25, 0.25, 3.0, 30.0)]
    assert origins == [Origin("", PLACE, 0.0, PLACE)] * 2
    (vx,), _ = velocity_limits(keys_of("velocity: 1.5, acceleration: 2, jerk: 7"), ("vx",))
    assert vx == Limits(-1.5, 1.5, 1.5, 2.0, 7.0)
    with pytest.raises(RobotError, match="g: key limits is missing; a group without limits is not moved"):
        velocity_limits(keys_of(""), ("vx",))


def test_velocities_that_move_joints_keep_these_where_they_may_be():
    text = "source: urdf, position: {lift: [0.2, 0.35]}, velocity: {a: 1.5}, acceleration: [3, 4], margin: {a: 0.125, b: 0.0625}"
    limits, origins, reach = driven_limits(keys_of(text), ("a", "b"), [ELBOW, LIFT], urdf_of(ELBOW, LIFT), [])
    assert limits == [Limits(-1.5, 1.5, 1.5, 3.0, 30.0), Limits(-0.25, 0.25, 0.25, 4.0, 40.0)]
    assert origins == [Origin("r.urdf", PLACE, 0.125, PLACE), Origin(PLACE, "r.urdf", 0.0625, PLACE)]
    assert reach == [(-2.375, 1.875), (0.2625, 0.35 - 0.0625)]


FINGER = Joint("finger", "prismatic", 0.0, 0.04, 0.2, 5.0)


def gripper(text, closed=0.0, opened=0.04, joint=FINGER):
    """Limits, origin and warnings of a gripper."""
    warnings = []
    grip = GripperMap("finger", closed, opened)
    (limits,), (origin,) = gripper_limits(keys_of(text), grip, joint, urdf_of(FINGER), warnings)
    return limits, origin, len(warnings)


@pytest.mark.parametrize(
    ("text", "velocity", "acceleration", "jerk", "source", "warnings"),
    [
        ("", 5.0, 50.0, 500.0, "r.urdf", 0),
        ("velocity: 2.0", 2.0, 20.0, 200.0, PLACE, 0),
        ("velocity: 5.004", 5.0, 50.0, 500.0, PLACE, 0),
        ("velocity: 8", 5.0, 50.0, 500.0, "r.urdf", 1),
        ("velocity: 8, override: true", 8.0, 80.0, 800.0, f"{PLACE} (override)", 1),
        ("velocity: 2.0, acceleration: 0.5", 2.0, 0.5, 5.0, PLACE, 0),
        ("velocity: 2.0, jerk: 0.25", 2.0, 20.0, 0.25, PLACE, 0),
        ("acceleration: 0.5, jerk: 0.75", 5.0, 0.5, 0.75, "r.urdf", 0),
    ],
)
def test_a_gripper_moves_between_nought_and_one_by_strokes_a_second(
    text, velocity, acceleration, jerk, source, warnings
):
    limits, origin, told = gripper(text)
    where = PLACE if text else "r.yaml:1"
    assert (limits.lower, limits.upper) == (0.0, 1.0)
    assert (limits.velocity, limits.acceleration, limits.jerk) == pytest.approx((velocity, acceleration, jerk))
    assert origin == Origin("closed .. open", source, 0.0, where) and told == warnings


def test_a_gripper_whose_stroke_is_more_than_ten_times_its_joints_range_is_in_another_unit():
    assert gripper("", 0.39, 0.0)[0].velocity == pytest.approx(0.2 / 0.39)
    for closed, opened in ((0.0, 0.41), (0.41, 0.0)):
        with pytest.raises(RobotError, match="finger has no velocity limit .* is in another unit than closed and open"):
            gripper("", closed, opened)
    assert gripper("velocity: 3", 0.0, 0.41)[0].velocity == 3.0


@pytest.mark.parametrize("key", ["velocity", "acceleration", "jerk"])
def test_a_gripper_has_no_limit_of_nought(key):
    with pytest.raises(RobotError, match=f"g.limits.{key}: must be above 0"):
        gripper(f"{key}: 0")
    with pytest.raises(RobotError, match="50.1 strokes/s is 10 times the URDF's 5: Write strokes/s"):
        gripper("velocity: 50.1")
    with pytest.raises(RobotError, match="joint finger is not in the URDF; name it right or give limits.velocity"):
        gripper("", joint=None)
    assert gripper("velocity: 70", joint=None)[0].velocity == 70.0
