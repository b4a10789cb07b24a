"""A joint that is measured far outside its limits: from where on, which of several, and what is said of it."""

from dataclasses import replace

import pytest
from story import make_robot

from pi0_ros.control.outside import OutsideWatch, outside_sentence
from pi0_ros.robot.measurement import readings_of
from pi0_ros.robot.spec import Channel, Kind, Limits, Origin

ROBOT = make_robot()
READINGS = readings_of(ROBOT)
ELBOW = Channel(
    "elbow", Kind.POSITION, "arm", "rad", Limits(-1.48, 1.88, 2.0, 5.0, 50.0),
    origin=Origin("arm.urdf", "arm.urdf", 0.02, "arm.yaml:13"),
)  # fmt: skip


@pytest.mark.parametrize(
    ("origin", "guess", "said"),
    [
        (ELBOW.origin, "", "(arm.urdf, margin 0.02): move it by hand, or give limits.position with override: true in arm.yaml:13"),
        (Origin("arm.urdf"), "", "(arm.urdf): move it by hand, or give limits.position with override: true"),
        (Origin(margin=0.02), "degrees? Then give scale", ": degrees? Then give scale"),
    ],
)  # fmt: skip
def test_the_sentence_has_the_place_the_limits_who_says_so_and_the_way_out(origin, guess, said):
    found = outside_sentence(replace(ELBOW, origin=origin), -1.65, guess)
    assert found.replace(" (", "(") == f"elbow is measured at -1.650, its limits are -1.480 .. 1.880{said}".replace(
        " (", "("
    )


def watch(*measured, tolerance=0.1):
    """A watch after these measurements: channel, how far beyond its upper end (below its lower one where it is negative)."""
    made = OutsideWatch(ROBOT, tolerance)
    for name, beyond in measured:
        note(made, name, beyond)
    return made


def note(made, name, beyond):
    i = ROBOT.index[name]
    reading = READINGS[i]
    value = reading.upper + beyond if beyond > 0.0 else reading.lower + beyond
    made.note(i, reading, value, value)


@pytest.mark.parametrize("side", [1.0, -1.0])
def test_a_position_may_be_outside_by_the_tolerance_and_a_gripper_not(side):
    assert watch(("left_joint2", 0.09 * side)).sentence() == ""
    assert watch(("left_joint2", 0.11 * side)).sentence().startswith("left_joint2 is measured at ")
    assert watch(("left_joint2", 0.11 * side), tolerance=0.2).sentence() == ""
    assert "left_finger_joint" in watch(("left_gripper", 0.01 * side)).sentence()


def test_of_several_the_worst_is_told_until_it_is_back_inside():
    made = watch(("left_joint2", 0.5), ("right_joint3", -0.7), ("lift", 0.6))
    for name in ("right_joint3", "lift", "left_joint2"):
        assert made.sentence().startswith(name)
        note(made, name, -1e-3 if name != "lift" else 1e-3)  # within the tolerance
    assert made.sentence() == ""


@pytest.mark.parametrize(("beyond", "guessed"), [(0.9, False), (1.1, True)])
def test_another_unit_is_guessed_of_what_is_more_than_a_radian_outside(beyond, guessed):
    assert ("degrees?" in watch(("left_joint2", beyond)).sentence()) is guessed


def test_a_value_is_told_as_it_was_reported():
    made, i = OutsideWatch(ROBOT, 0.1), ROBOT.index["left_joint2"]
    made.note(i, READINGS[i], READINGS[i].upper + 0.5, 300.25)
    assert made.sentence().startswith("left_joint2 is measured at 300.250")


@pytest.mark.parametrize(("reported", "guess"), [(35.0, "millimetres?"), (0.5, ""), (2.0, "degrees?")])
@pytest.mark.parametrize("turned", [False, True])
def test_a_gripper_far_outside_is_told_with_its_ends_in_order_and_the_unit_that_it_may_be_in(reported, guess, turned):
    """Closed at 0.01 and open at 0.05, or the other way round; 2 degrees are 0.0349 rad."""
    ends = (0.05, 0.01) if turned else (0.01, 0.05)
    groups = tuple(
        replace(g, gripper=replace(g.gripper, closed=ends[0], open=ends[1])) if g.gripper else g for g in ROBOT.groups
    )
    made, i = OutsideWatch(replace(ROBOT, groups=groups), 0.1), ROBOT.index["left_gripper"]
    made.note(i, READINGS[i], READINGS[i].upper + 1.0, reported)
    said = made.sentence()
    assert said.startswith(f"gripper joint left_finger_joint is {reported:.4g}, far outside of 0.01 .. 0.05")
    assert (f"; it reports {reported:.4g}: {guess}" in said) if guess else said.endswith("0.05")


def test_which_of_two_is_worse_is_a_matter_of_how_far_beyond_its_end_it_is_and_not_of_its_range():
    wide = max((READINGS[ROBOT.index[n]].upper - READINGS[ROBOT.index[n]].lower, n) for n in ("lift", "left_joint1"))[1]
    narrow = "lift" if wide == "left_joint1" else "left_joint1"
    for side in (1.0, -1.0):
        assert watch((wide, side * 0.2), (narrow, side * 0.3)).sentence().startswith(narrow)
        assert watch((narrow, side * 0.3), (wide, side * 0.2)).sentence().startswith(narrow)
