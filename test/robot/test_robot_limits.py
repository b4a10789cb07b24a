"""How far and how fast: the narrower of YAML and URDF counts, and everything that counts has an origin."""

import math

import pytest

from pi0_ros.robot import RobotError, load_robot
from pi0_ros.robot.spec import ENDLESS

URDF = """<robot name="r"><link name="base"/><link name="l1"/><link name="l2"/><link name="l3"/><link name="f"/><link name="w"/>
<joint name="j1" type="J1TYPE"><parent link="base"/><child link="l1"/>J1</joint>
<joint name="j2" type="revolute"><parent link="l1"/><child link="l2"/>J2</joint>
<joint name="lift" type="prismatic"><parent link="l2"/><child link="l3"/>
  <limit lower="0" upper="0.4" velocity="0.1" effort="1"/></joint>
<joint name="finger" type="FTYPE"><parent link="l3"/><child link="f"/>FINGER</joint>
EXTRA</robot>"""
PARTS = {
    "J1TYPE": "revolute",
    "J1": '<limit lower="-2.5" upper="2.0" velocity="3" effort="1"/>',
    "J2": '<limit lower="-1.5" upper="1.6" velocity="1" effort="1"/>',
    "FTYPE": "prismatic",
    "FINGER": '<limit lower="0" upper="0.04" velocity="0.2" effort="1"/>',
    "EXTRA": "",
}
YAML = """robot: r
urdf: r.urdf
cameras: {}
state: [{topic: joint_states, type: joint_state, max_age: 0.1}]
groups:
  arm:
    kind: position
    channels: [j1, j2, lift]
    command: {topic: arm, type: joint_state}
    limits: {LIMITS}
  hand:
    kind: gripper
    channels: [hand]
    joint: {name: finger, closed: CLOSED, open: OPEN}
    command: {topic: hand, type: joint_state}
HANDLIMITS"""


def robot(folder, limits="source: urdf, acceleration: 1.0", hand="", closed="0.0", opened="0.04", **parts):
    urdf = URDF
    for key, value in (PARTS | parts).items():
        urdf = urdf.replace(key, value, 1)
    (folder / "r.urdf").write_text(urdf)
    text = YAML.replace("HANDLIMITS", f"    limits: {{{hand}}}\n" if hand else "").replace("LIMITS", limits, 1)
    (folder / "r.yaml").write_text(text.replace("CLOSED", closed).replace("OPEN", opened))
    return load_robot(folder / "r.yaml")


def refusal(folder, *args, **kwargs):
    with pytest.raises(RobotError) as problem:
        robot(folder, *args, **kwargs)
    return str(problem.value).replace(f"{folder}/", "")


def ranges(robot):
    return [(c.limits.lower, c.limits.upper) for c in robot.channels[:3]]


def speeds(robot):
    return [c.limits.velocity for c in robot.channels[:3]]


def test_the_urdfs_limits_count_and_say_so(tmp_path):
    found = robot(tmp_path)
    assert ranges(found) == [(-2.5, 2.0), (-1.5, 1.6), (0.0, 0.4)]
    assert speeds(found) == [3.0, 1.0, 0.1]
    assert {(c.origin.position, c.origin.velocity, c.origin.where) for c in found.channels[:3]} == {
        ("r.urdf", "r.urdf", "r.yaml:10")
    }
    assert found.warnings == ()


def test_a_wider_yaml_does_not_count_and_is_told(tmp_path):
    found = robot(tmp_path, "source: urdf, position: [[-3.0, 1.0], [-1, 1], [0.1, 0.5]], acceleration: 1.0")
    assert ranges(found) == [(-2.5, 1.0), (-1.0, 1.0), (0.1, 0.4)]
    assert [c.origin.position for c in found.channels[:3]] == ["r.urdf, r.yaml:10", "r.yaml:10", "r.urdf, r.yaml:10"]
    first, second = (w.replace(f"{tmp_path}/", "") for w in found.warnings)
    assert first == (
        "r.yaml:10: groups.arm.limits.position[0]: -3 .. 1 is wider than the URDF's -2.5 .. 2 rad, and the narrower counts; "
        "override: true changes that"
    )
    assert "position[2]: 0.1 .. 0.5 is wider than the URDF's 0 .. 0.4 m" in second


def test_a_wider_yaml_counts_no_more_without_source_urdf(tmp_path):
    found = robot(tmp_path, "position: [[-3, 3], [-1, 1], [0, 0.3]], velocity: [9.0, 0.5, 0.1], acceleration: 1.0")
    assert ranges(found)[0] == (-2.5, 2.0)
    assert speeds(found) == [3.0, 0.5, 0.1]
    assert len(found.warnings) == 2


def test_an_override_counts_and_is_told(tmp_path):
    limits = "source: urdf, position: {j1: [-3.0, 3.0]}, velocity: {j2: 40}, acceleration: 1.0, override: true"
    found = robot(tmp_path, limits)
    assert ranges(found)[0] == (-3.0, 3.0)
    assert speeds(found) == [3.0, 40.0, 0.1]
    assert "-3 .. 3 counts instead of the URDF's -2.5 .. 2 rad (override: true)" in found.warnings[0]
    assert "40 rad/s counts instead of the URDF's 1 (override: true)" in found.warnings[1]
    assert found.channels[0].origin.position == "r.yaml:10 (override)"


def test_what_somebody_rounded_is_no_warning_and_still_no_wider(tmp_path):
    found = robot(tmp_path, "source: urdf, position: {j1: [-2.5008, 2.0]}, velocity: {j1: 3.002}, acceleration: 1.0")
    assert (found.channels[0].limits.lower, found.warnings) == (-2.5, ())
    assert found.channels[0].limits.velocity == 3.0
    for wider in ("position: {j1: [-2.5015, 2.0]}", "position: {j1: [-2.5, 2.0015]}", "velocity: {j1: 3.0045}"):
        found = robot(tmp_path, f"source: urdf, {wider}, acceleration: 1.0")
        assert len(found.warnings) == 1 and (found.channels[0].limits.lower, found.channels[0].limits.upper) == (
            -2.5,
            2.0,
        )


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        ("position: {j1: [-143, 114]}", "position.j1: -143 .. 114 is outside of the URDF's -2.5 .. 2 rad: degrees? Write rad"),
        ("position: {lift: [0, 400]}", "position.lift: 0 .. 400 is outside of the URDF's 0 .. 0.4 m: millimetres? Write m"),
        ("velocity: {j1: 180}", "velocity.j1: 180 rad/s is 60 times the URDF's 3: degrees? Write rad/s"),
        ("velocity: {lift: 100}", "velocity.lift: 100 m/s is 1000 times the URDF's 0.1: millimetres? Write m/s"),
        ("velocity: {j1: 1e5}", "velocity.j1: 100000 rad/s is no limit"),
        ("position: {j1: [2.1, 3]}", "position.j1: 2.1 .. 3 is outside of the URDF's -2.5 .. 2 rad"),
        ("position: {j1: [1, -1]}", "position.j1: lower 1 must be below upper -1"),
        ("position: {j1: 1}", "position.j1: must be a pair [lower, upper]"),
        ("position: {j1: [1, 2, 3]}", "position.j1: must be a pair [lower, upper], and has 3 entries"),
        ("position: {j7: [-1, 1]}", "position.j7: j7 is no channel of this group, which has j1, j2, lift"),
        ("position: [[-1, 1], [-1, 1]]", "needs 3 entries, one a channel (j1, j2, lift), and has 2"),
        ("velocity: 0", "velocity: must be above 0"),
        ("margin: 0.25", "lift: nothing is left of 0 .. 0.4 after the margin 0.25"),
        ("source: yaml", "must be one of urdf"),
    ],
)  # fmt: skip
def test_limits_that_cannot_be_meant_are_refused_with_a_guess(tmp_path, limits, words):
    source = "" if limits.startswith("source") else "source: urdf, "
    message = refusal(tmp_path, f"{source}{limits}, acceleration: 1.0")
    assert message.startswith("r.yaml:10: groups.arm.limits")
    assert words in message


@pytest.mark.parametrize(
    ("limits", "missing"), [("velocity: 1.0", "position"), ("position: [[-1, 1], [-1, 1], [0, 0.4]]", "velocity")]
)
def test_without_the_urdfs_limits_each_kind_has_to_be_given(tmp_path, limits, missing):
    assert f"groups.arm.limits: key {missing} is missing; give it, or source: urdf" in refusal(
        tmp_path, f"{limits}, acceleration: 1.0"
    )


@pytest.mark.parametrize(
    ("parts", "limits", "words"),
    [
        (
            {"J1": '<limit lower="-180" upper="170" velocity="3" effort="1"/>'},
            "",
            "joint j1 has -180 .. 170 rad in r.urdf: degrees? Give limits.position: {j1: [lower, upper]}",
        ),
        (
            {"J1": '<limit lower="-2.5" upper="2.0" velocity="225" effort="1"/>'},
            "",
            "joint j1 has 225 rad/s in r.urdf: degrees? Give limits.velocity: {j1: rad/s}",
        ),
        (
            {'lower="0" upper="0.4" velocity="0.1"': 'lower="0" upper="450" velocity="0.1"'},
            "",
            "joint lift has 0 .. 450 m in r.urdf: millimetres? Give limits.position: {lift: [lower, upper]}",
        ),
        (
            {'lower="0" upper="0.4" velocity="0.1"': 'lower="0" upper="0.4" velocity="250"'},
            "",
            "joint lift has 250 m/s in r.urdf: millimetres? Give limits.velocity: {lift: m/s}",
        ),
        (  # and the YAML repeats what the URDF says
            {"J1": '<limit lower="-180" upper="170" velocity="225" effort="1"/>'},
            ", position: {j1: [-180, 170]}",
            "-180 .. 170 is more than joint j1 can mean: degrees?",
        ),
        (
            {"J1": '<limit lower="-2.5" upper="2.0" velocity="225" effort="1"/>'},
            ", velocity: {j1: 225}",
            "225 rad/s: degrees? Write rad/s",
        ),
    ],
)
def test_what_a_urdf_says_in_degrees_or_millimetres_is_refused_unless_it_is_meant(tmp_path, parts, limits, words):
    source = "source: urdf, acceleration: 1.0" + limits
    assert words in refusal(tmp_path, source, **parts)
    assert robot(tmp_path, source + ", override: true", **parts).channels[0].name == "j1"


def test_what_a_urdf_says_in_degrees_is_replaced_by_what_the_yaml_says_in_radians(tmp_path):
    parts = {"J1": '<limit lower="-180" upper="170" velocity="225" effort="1"/>'}
    limits = "source: urdf, acceleration: 1.0, position: {j1: [-3.1, 2.9]}, velocity: {j1: 3.9}"
    found = robot(tmp_path, limits, **parts)
    assert ranges(found)[:2] == [(-3.1, 2.9), (-1.5, 1.6)] and speeds(found)[:2] == [3.9, 1.0]


def test_two_turns_and_a_fast_ankle_are_believed(tmp_path):
    found = robot(tmp_path, J1='<limit lower="-12.5" upper="12.5" velocity="37" effort="1"/>')
    assert ranges(found)[0] == (-12.5, 12.5) and speeds(found)[0] == 37.0


def test_one_continuous_joint_may_have_a_range_of_its_own_and_the_others_keep_theirs(tmp_path):
    parts = {"J1TYPE": "continuous", "J1": '<limit lower="-6.28" upper="6.28" velocity="2" effort="1"/>'}
    endless = robot(tmp_path, **parts)
    assert ranges(endless) == [(-ENDLESS, ENDLESS), (-1.5, 1.6), (0.0, 0.4)]
    assert endless.channels[0].origin.position == "continuous"
    assert "joint j1 is continuous in the URDF, so its <limit> -6.28 .. 6.28 does not count" in endless.warnings[0]
    for position in ("{j1: [-9.0, 6.28]}", "[[-9.0, 6.28], null, ~]"):
        found = robot(tmp_path, f"source: urdf, position: {position}, acceleration: 1.0", **parts)
        assert ranges(found) == [(-9.0, 6.28), (-1.5, 1.6), (0.0, 0.4)]
        assert found.warnings == ()
    degrees = refusal(tmp_path, "source: urdf, position: {j1: [-180, 180]}, acceleration: 1.0", **parts)
    assert "-180 .. 180 is more than joint j1 can mean: degrees?" in degrees


def test_numbers_may_be_given_by_joint(tmp_path):
    limits = "source: urdf, acceleration: {j1: 1, j2: 2, lift: 3}, jerk: {lift: 7, j2: 8, j1: 9}, margin: {j1: 0.1, j2: 0, lift: 0.01}"
    found = robot(tmp_path, limits)
    assert [(c.limits.acceleration, c.limits.jerk) for c in found.channels[:3]] == [(1, 9), (2, 8), (3, 7)]
    assert ranges(found) == [(-2.4, 1.9), (-1.5, 1.6), (0.01, 0.39)]
    assert "acceleration: lift is missing" in refusal(tmp_path, "source: urdf, acceleration: {j1: 1, j2: 2}")


SOFT = (
    '<limit lower="-1.5" upper="1.6" velocity="1"/><safety_controller soft_lower_limit="-1.2" soft_upper_limit="1.59"/>'
)


def test_soft_limits_count_if_they_are_narrower(tmp_path):
    found = robot(tmp_path, "source: urdf, acceleration: 1.0, margin: 0.05", J2=SOFT)
    assert ranges(found)[1] == pytest.approx((-1.2, 1.55))
    assert found.channels[1].origin.position == "r.urdf soft limits"
    assert found.channels[0].origin.position == "r.urdf"


def test_soft_limits_count_for_bounds_of_the_yaml_too_unless_overridden(tmp_path):
    limits = "source: urdf, position: {j2: [-1.4, 1.0]}, acceleration: 1.0"
    assert ranges(robot(tmp_path, limits, J2=SOFT))[1] == (-1.2, 1.0)
    assert ranges(robot(tmp_path, limits + ", override: true", J2=SOFT))[1] == (-1.4, 1.0)


@pytest.mark.parametrize(
    ("j1", "limits", "words"),
    [
        ("", "", "joint j1 has no position limits in the URDF; give limits.position: {j1: [lower, upper]} in rad"),
        ('<limit velocity="1"/>', "", "joint j1 goes from 0 to 0 in the URDF; give limits.position"),
        ('<limit lower="-1" upper="1" effort="30"/>', "", "joint j1 has no velocity limit in the URDF; give limits.velocity ({j1: rad/s}"),
        ('<limit lower="-1" upper="1" velocity="0"/>', "", "joint j1 has no velocity limit in the URDF; give limits.velocity ({j1: rad/s}; joints not named keep the URDF's; the URDF says 0)"),
        ('<limit lower="-1" upper="1" velocity="inf"/>', "", "the URDF says inf)"),
        ('<limit lower="-1,5" upper="1" velocity="1"/>', "", "joint j1 of the URDF: lower is '-1,5', which is no number; correct it, or give"),
        ('<limit lower="1" upper="-1" velocity="1"/>', "", "joint j1 of the URDF: lower 1 is above upper -1"),
        ('<limit lower="-1,5" upper="1" velocity="1"/>', "position: {j1: [-1, 1]}, ", "keep the URDF's; lower is '-1,5', which is no number)"),
    ],
)  # fmt: skip
def test_a_joint_that_is_used_and_lacks_something_is_told_with_the_way_out(tmp_path, j1, limits, words):
    message = refusal(tmp_path, f"source: urdf, {limits}acceleration: 1.0", J1=j1)
    assert message.startswith("r.yaml:10: groups.arm.limits: ")
    assert words in message


@pytest.mark.parametrize(
    "j1", ["", '<limit effort="3"/>', '<limit lower="-1,5" upper="1"/>', '<limit lower="1" upper="-1" velocity="0"/>']
)
def test_the_way_out_works(tmp_path, j1):
    found = robot(tmp_path, "source: urdf, position: {j1: [-1, 2]}, velocity: {j1: 0.5}, acceleration: 1.0", J1=j1)
    assert (ranges(found)[0], speeds(found)[0], found.warnings) == ((-1.0, 2.0), 0.5, ())


@pytest.mark.parametrize(
    "extra",
    [
        '<joint name="wheel" type="continuous"><limit effort="30"/></joint>',
        '<joint name="wheel" type="revolute"><limit upper="1.0" velocity="1" effort="30"/></joint>',
        '<joint name="wheel" type="revolute"><mimic joint="finger"/></joint>',
        '<joint name="wheel" type="revolute"><limit lower="a" upper="b" velocity="c"/></joint>',
        '<joint name="wheel" type="revolute"/>',
    ],
)
def test_a_joint_that_is_not_used_may_lack_everything(tmp_path, extra):
    assert speeds(robot(tmp_path, EXTRA=extra)) == [3.0, 1.0, 0.1]


# grippers


def hand(robot):
    return robot.channels[3].limits


def test_a_gripper_is_as_fast_as_its_joint(tmp_path):
    found = robot(tmp_path, closed="0.03", opened="0.01")
    assert (hand(found).velocity, hand(found).acceleration, hand(found).jerk) == pytest.approx((10.0, 100.0, 1000.0))
    assert found.channels[3].origin.velocity == "r.urdf"


@pytest.mark.parametrize(
    ("kind", "finger", "found"),
    [
        ("prismatic", '<limit lower="0" upper="0.04" velocity="0" effort="0"/>', "; the URDF says 0"),
        ("prismatic", '<limit lower="0" upper="0.04" effort="0"/>', ""),
        ("prismatic", '<limit lower="0" upper="0.04" velocity="inf"/>', "; the URDF says inf"),
        ("continuous", "", ""),
        ("revolute", "", ""),
    ],
)
def test_a_gripper_whose_joint_has_no_speed_needs_one_in_the_yaml(tmp_path, kind, finger, found):
    message = refusal(tmp_path, FTYPE=kind, FINGER=finger)
    assert message == (
        "r.yaml:12: groups.hand: joint finger has no velocity limit in the URDF; give limits.velocity "
        f"(1.0: the whole stroke in one second{found})"
    )
    given = hand(robot(tmp_path, hand="velocity: 0.5", FTYPE=kind, FINGER=finger))
    assert (given.velocity, given.acceleration) == (0.5, 5.0)


def test_a_gripper_faster_than_its_joint_is_slowed_unless_overridden(tmp_path):
    found = robot(tmp_path, hand="velocity: 8.0")
    assert hand(found).velocity == pytest.approx(5.0)
    assert "8 strokes/s is faster than the URDF's 5, which counts" in found.warnings[0]
    found = robot(tmp_path, hand="velocity: 8.0, override: true")
    assert (hand(found).velocity, len(found.warnings)) == (8.0, 1)


def test_the_urdfs_speed_says_nothing_of_a_stroke_in_another_unit(tmp_path):
    message = refusal(tmp_path, opened="85, measured: false")
    assert "give limits.velocity (1.0: the whole stroke in one second; the URDF's is in another unit" in message
    assert hand(robot(tmp_path, opened="85, measured: false", hand="velocity: 2.0")).velocity == 2.0


# velocities that move joints


def driven(folder, limits):
    robot(folder)
    text = (folder / "r.yaml").read_text().replace("kind: position", "kind: velocity")
    text = text.replace("[j1, j2, lift]", "[a, b, c]\n    joints: [j1, j2, lift]")
    (folder / "r.yaml").write_text(text.replace("source: urdf, acceleration: 1.0", limits))
    return load_robot(folder / "r.yaml")


def test_velocities_that_move_joints_have_the_joints_speeds_and_reach(tmp_path):
    limits = (
        "source: urdf, position: {j1: [-3, 1]}, velocity: {b: 0.5}, acceleration: 1.0, margin: {a: 0.1, b: 0, c: 0.01}"
    )
    found = driven(tmp_path, limits)
    assert [(c.limits.lower, c.limits.velocity) for c in found.channels[:3]] == [(-3.0, 3.0), (-0.5, 0.5), (-0.1, 0.1)]
    assert [c.reach for c in found.channels[:3]] == [(-2.4, 0.9), (-1.5, 1.6), (0.01, 0.39)]
    assert "position.j1: -3 .. 1 is wider than the URDF's -2.5 .. 2 rad" in found.warnings[0]


def test_velocities_that_move_joints_are_no_faster_than_the_joints(tmp_path):
    found = driven(tmp_path, "source: urdf, velocity: [9.0, 1.0, 0.1], acceleration: 1.0")
    assert [c.limits.velocity for c in found.channels[:3]] == [3.0, 1.0, 0.1]
    assert "9 rad/s is faster than the URDF's 3, which counts" in found.warnings[0]


def test_no_limit_is_ever_not_a_number_or_zero(tmp_path):
    for channel in robot(tmp_path).channels:
        limits = channel.limits
        assert all(math.isfinite(v) for v in (limits.lower, limits.upper))
        assert all(0.0 < v < math.inf for v in (limits.velocity, limits.acceleration, limits.jerk))


def test_bounds_inside_a_wide_range_of_the_urdf_are_believed_and_beyond_it_a_whole_turn_is_in_degrees(tmp_path):
    """A winch may turn by ten rad; eight rad are no bound of a joint that goes from -2.5 to 2."""
    winch = '<limit lower="-12" upper="12" velocity="3" effort="1"/>'
    found = robot(tmp_path, "source: urdf, position: {j1: [-10, 9]}, acceleration: 1.0", J1=winch)
    assert ranges(found)[0] == (-10.0, 9.0) and found.warnings == ()
    message = refusal(tmp_path, "source: urdf, position: {j1: [-8, 7]}, acceleration: 1.0")
    assert "-8 .. 7 is outside of the URDF's -2.5 .. 2 rad: degrees? Write rad" in message
    narrower = robot(tmp_path, "source: urdf, position: {j1: [-6, 6]}, acceleration: 1.0")
    assert ranges(narrower)[0] == (-2.5, 2.0) and len(narrower.warnings) == 1


def test_a_joint_that_goes_nowhere_is_told_with_its_place(tmp_path):
    stuck = '<limit lower="0.7" upper="0.7" velocity="1" effort="1"/>'
    assert "joint j1 goes from 0.7 to 0.7 in the URDF" in refusal(tmp_path, J1=stuck)
    endless = '<limit lower="-inf" upper="inf" velocity="1" effort="1"/>'
    assert "joint j1 has no position limits in the URDF" in refusal(tmp_path, J1=endless)


LIMIT = '<limit lower="{}" upper="{}" velocity="{}" effort="1"/>'


@pytest.mark.parametrize(
    ("lower", "upper", "good"),
    [
        (-12.9, 2.0, True),
        (-13.1, 2.0, False),
        (-1.0, 12.9, True),
        (-1.0, 13.1, False),
        (-13.1, -13.05, False),
        (13.05, 13.1, False),
    ],
)
def test_a_range_of_the_urdf_beyond_two_turns_is_doubted_on_either_side(tmp_path, lower, upper, good):
    limit = LIMIT.format(lower, upper, 3.0)
    if good:
        assert ranges(robot(tmp_path, J1=limit))[0] == (lower, upper)
    else:
        assert f"joint j1 has {lower:g} .. {upper:g} rad in r.urdf: degrees?" in refusal(tmp_path, J1=limit)


@pytest.mark.parametrize(("speed", "good"), [(40.0, True), (40.1, False)])
def test_forty_radians_a_second_are_the_most_that_a_joint_is_believed_to_turn(tmp_path, speed, good):
    limit = LIMIT.format(-1.0, 1.0, speed)
    if good:
        assert speeds(robot(tmp_path, J1=limit))[0] == speed
    else:
        assert f"joint j1 has {speed:g} rad/s in r.urdf: degrees?" in refusal(tmp_path, J1=limit)


@pytest.mark.parametrize(("times", "good"), [(9.9, True), (10.1, False)])
def test_a_speed_of_ten_times_the_urdfs_is_in_another_unit_and_a_smaller_one_is_only_too_fast(tmp_path, times, good):
    limits = f"source: urdf, velocity: {{j2: {times}}}, acceleration: 1.0"
    if good:
        found = robot(tmp_path, limits)
        assert speeds(found)[1] == 1.0 and f"{times} rad/s is faster than the URDF's 1" in found.warnings[0]
    else:
        assert f"{times} rad/s is 10 times the URDF's 1: degrees? Write rad/s" in refusal(tmp_path, limits)


@pytest.mark.parametrize(
    ("parts", "position", "words"),
    [
        ({"J1": '<limit velocity="1"/>'}, "{j1: [-180, 180]}", "-180 .. 180 is more than joint j1 can mean: degrees?"),
        ({'<limit lower="0" upper="0.4" velocity="0.1" effort="1"/>': '<limit velocity="0.1"/>'}, "{lift: [0, 5]}",
         "0 .. 5 is more than joint lift can mean: millimetres?"),
        ({'<limit lower="0" upper="0.4" velocity="0.1" effort="1"/>': '<limit velocity="0.1"/>'}, "{lift: [-5, 0]}",
         "-5 .. 0 is more than joint lift can mean: millimetres?"),
    ],
)  # fmt: skip
def test_a_range_for_a_joint_that_has_none_is_doubted_by_its_size_alone(tmp_path, parts, position, words):
    limits = f"source: urdf, position: {position}, acceleration: 1.0"
    assert words in refusal(tmp_path, limits, **parts)
    assert robot(tmp_path, limits + ", override: true", **parts).warnings == ()
    near = robot(tmp_path, limits.replace("180", "60").replace("5", "2.9"), **parts)
    assert near.warnings == ()


@pytest.mark.parametrize("end", ["closed", "opened"])
@pytest.mark.parametrize("side", [1.0, -1.0])
def test_a_grippers_ends_may_be_beyond_its_joints_by_a_fiftieth_of_the_range(tmp_path, end, side):
    """From 0.05 to 0.10 m: a fiftieth of 0.05 m is 0.001 m."""
    finger = {"FINGER": '<limit lower="0.05" upper="0.1" velocity="0.2" effort="1"/>'}
    ends = (
        {"closed": "0.05", "opened": "0.1"}
        if side * (1.0 if end == "opened" else -1.0) > 0.0
        else {"closed": "0.1", "opened": "0.05"}
    )
    beyond = 0.1 if side > 0.0 else 0.05
    assert robot(tmp_path, **(ends | {end: f"{beyond + side * 0.0009:g}"}), **finger) is not None
    key = {"closed": "closed", "opened": "open"}[end]
    assert f"joint.{key}: {beyond + side * 0.0011:g} is beyond the URDF's 0.05 .. 0.1 of joint finger" in refusal(
        tmp_path, **(ends | {end: f"{beyond + side * 0.0011:g}"}), **finger
    )


@pytest.mark.parametrize(
    ("bounds", "left"),
    [
        ("-1.4, -1.19", (-1.2, -1.19)),
        ("-1.4, -1.2", None),
        ("-1.4, -1.3", None),
        ("1.58, 1.6", (1.58, 1.59)),
        ("1.59, 1.6", None),
        ("1.595, 1.6", None),
    ],
)
def test_bounds_of_which_nothing_is_inside_the_soft_limits_are_refused_unless_overridden(tmp_path, bounds, left):
    limits = f"source: urdf, position: {{j2: [{bounds}]}}, acceleration: 1.0"
    if left:
        assert ranges(robot(tmp_path, limits, J2=SOFT))[1] == left
        return
    message = refusal(tmp_path, limits, J2=SOFT)
    assert message.startswith("r.yaml:10: ") and "j2" in message and "soft limits -1.2 .. 1.59" in message
    asked = tuple(float(end) for end in bounds.split(","))
    assert ranges(robot(tmp_path, limits + ", override: true", J2=SOFT))[1] == asked
