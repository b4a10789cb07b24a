"""The judge of commands finds every kind of broken promise, and none in commands that keep them."""

import numpy as np
import pytest

from pi0_ros.control.audit import GroupAudit, violations
from pi0_ros.robot import load_robot

ROBOT = load_robot("mobile_bimanual")
PERIOD = 1.0 / ROBOT.control_rate


def still() -> np.ndarray:
    """Eight commands in the middle of every range, the base at rest."""
    middle = [0.5 * (c.limits.lower + c.limits.upper) for c in ROBOT.channels]
    return np.tile(middle, (8, 1))


def test_a_robot_that_stands_still_breaks_nothing():
    assert violations(ROBOT, still(), PERIOD) == []


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_number_that_is_not_finite_is_found(value):
    commands = still()
    commands[3, 1] = value
    assert violations(ROBOT, commands, PERIOD) == ["a command is not finite"]


def test_a_step_above_the_velocity_limit_is_found_in_its_group():
    commands = still()
    commands[4:, 0] += 1.01 * ROBOT.channels[0].limits.velocity * PERIOD
    assert any(text.startswith("left_arm: velocity") for text in violations(ROBOT, commands, PERIOD))


def test_a_sudden_start_within_the_velocity_limit_breaks_acceleration():
    commands = still()
    commands[:, 0] += np.maximum(np.arange(8) - 3, 0) * 0.5 * ROBOT.channels[0].limits.velocity * PERIOD
    found = violations(ROBOT, commands, PERIOD)
    assert any("acceleration" in text for text in found) and not any("velocity" in text for text in found)


def test_leaving_the_position_limits_is_found_and_coming_back_is_not():
    upper = ROBOT.channels[0].limits.upper
    way = np.linspace(0.0, 0.002, 8)
    out, back = still(), still()
    out[:, 0], back[:, 0] = upper + way, upper + way[::-1]
    assert any("beyond its limit" in text for text in violations(ROBOT, out, PERIOD))
    assert not any("beyond its limit" in text for text in violations(ROBOT, back, PERIOD))


# --- command by command -----------------------------------------------------------------------------------------------

ARM, BASE = ROBOT.group("left_arm"), ROBOT.group("base")
LIMITS = {key: np.array([getattr(c.limits, key) for c in ARM.channels]) for key in ("velocity", "acceleration", "jerk", "lower", "upper")}  # fmt: skip
HOME = 0.5 * (LIMITS["lower"] + LIMITS["upper"])
ONE = np.array([0.0, 1.0, 0.0, 0.0, 0.0, 0.0])


def judged(values, group=ARM):
    audit = GroupAudit(group, PERIOD)
    return [audit.judge(value) for value in values]


@pytest.mark.parametrize("side", [1.0, -1.0])
@pytest.mark.parametrize(("order", "key"), [(1, "velocity"), (2, "acceleration"), (3, "jerk")])
def test_each_promise_is_kept_up_to_its_limit(side, order, key):
    """After `order` commands at rest, only the difference of that order is near its limit."""
    for share, told in ((1.0, ""), (1.0000005, ""), (1.0000015, f"{key} above its limit")):
        step = side * share * LIMITS[key][1] * PERIOD**order
        assert judged([HOME] * order + [HOME + step * ONE]) == [""] * order + [told]


def test_a_number_that_is_not_finite_is_told_and_nothing_is_compared_with_it():
    audit = GroupAudit(ARM, PERIOD)
    assert audit.judge(HOME) == "" and audit.judge(HOME * np.nan) == "it is not finite"
    assert audit.judge(HOME + 0.5) == ""  # as if it were the first


@pytest.mark.parametrize("side", ["upper", "lower"])
def test_what_is_beyond_a_position_limit_is_told_with_how_far_and_from_outside_inward_is_good(side):
    out = 1.0 if side == "upper" else -1.0
    edge = np.where(ONE > 0.0, LIMITS[side], HOME)
    assert judged([edge, edge + out * 5e-9 * ONE]) == ["", ""]
    assert judged([edge, edge + out * 1e-4 * ONE])[1] == "position 0.0001 beyond its limit"
    assert judged([edge + out * 0.3 * ONE, edge + out * 0.2999 * ONE]) == ["", ""]
    assert judged([edge + out * 0.3 * ONE, edge + out * 0.3001 * ONE])[1] == "position 0.0001 beyond its limit"


@pytest.mark.parametrize("side", [1.0, -1.0])
@pytest.mark.parametrize(
    ("periods", "share", "good"),
    [(3, 1.0, True), (3, 1.001, False), (2, 1.0, True), (2, 1.001, False), (1, 0.5, False)],
)
def test_across_a_gap_only_the_way_counts_and_what_was_before_it_is_forgotten(side, periods, share, good):
    audit, step = GroupAudit(ARM, PERIOD), LIMITS["velocity"] * PERIOD
    for _ in range(4):
        assert audit.judge(HOME) == ""
    there = HOME + side * share * periods * step
    said = audit.judge(there, periods)
    assert (said == "") is good
    if good:
        assert audit.judge(there) == "" and audit.judge(there) == ""  # at rest at once: its speed before is not known
    elif periods > 1:
        assert said == "velocity above its limit"


def test_across_a_gap_the_way_is_that_from_the_newest_command():
    audit, step = GroupAudit(ARM, PERIOD), LIMITS["velocity"] * PERIOD
    for k in (0.0, 0.01, 0.04, 0.1):
        audit.judge(HOME + k * step)
    assert audit.judge(HOME + 2.0999 * step, 2) == ""
    for k in (2.1, 2.0, 2.1):
        audit.judge(HOME + k * step)
    assert audit.judge(HOME + 0.0999 * step, 2) == "velocity above its limit"


def test_what_was_told_once_is_not_told_again():
    assert judged([HOME, HOME + 0.5 * ONE, HOME + 0.5 * ONE])[1:] == [
        "velocity above its limit",
        "acceleration above its limit",
    ]


def test_who_was_outside_four_commands_ago_has_come_back():
    edge = np.where(ONE > 0.0, LIMITS["upper"], HOME)
    out = edge + 1e-3 * ONE
    assert not judged([out, edge, edge, out])[-1].startswith("position")
    assert judged([out, edge, edge, edge, out])[-1] == "position 0.001 beyond its limit"


def test_a_first_command_after_a_gap_is_judged_by_its_place_alone():
    audit = GroupAudit(ARM, PERIOD)
    assert (
        audit.judge(HOME, 5) == ""
        and audit.judge(HOME + 2.0 * LIMITS["velocity"] * PERIOD) == "velocity above its limit"
    )


@pytest.mark.parametrize("side", [1.0, -1.0])
def test_a_base_may_change_its_speed_by_its_acceleration_and_that_by_its_jerk_and_no_more_is_promised(side):
    """1 m/s^2 and 10 m/s^3: 0.02 m/s a period, which changes by 0.004; what comes after that is free."""
    ahead = side * np.array([1.0, 0.0, 0.0])
    assert (
        judged([0.0 * ahead, 0.004 * ahead, 0.012 * ahead, 0.024 * ahead, 0.04 * ahead, 0.06 * ahead], BASE) == [""] * 6
    )
    assert judged([0.0 * ahead, 0.0201 * ahead], BASE)[1] == "velocity above its limit"
    assert judged([0.0 * ahead, 0.0 * ahead, 0.0041 * ahead], BASE)[2] == "acceleration above its limit"
    assert judged([0.0 * ahead, 0.004 * ahead, 0.004 * ahead, 0.008 * ahead, 0.008 * ahead], BASE) == [""] * 5


def test_the_whole_run_is_told_with_its_group_and_how_many_times_the_limit():
    commands = still()
    commands[5:, 0] += 1.5 * ROBOT.channels[0].limits.velocity * PERIOD
    found = violations(ROBOT, commands, PERIOD)
    assert found[0] == "left_arm: velocity 1.5 times its limit" and len(found) == 3
    base = still()
    base[3:, ROBOT.index["base_vy"]] -= 0.06
    assert violations(ROBOT, base, PERIOD) == [
        "base: velocity 3 times its limit",
        "base: acceleration 15 times its limit",
    ]
    out = still()
    out[6:, ROBOT.index["lift"]] = ROBOT.channels[ROBOT.index["lift"]].limits.lower - 0.25
    assert violations(ROBOT, out, PERIOD)[0] == "lift: position up to 0.25 beyond its limit"
