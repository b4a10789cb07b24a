import numpy as np
import pytest

from pi0_ros.robot import load_robot
from pi0_ros.ros.command_monitor import CommandMonitor

ROBOT = load_robot("mobile_bimanual")
ARM = ROBOT.group("left_arm")
FAST = np.array([c.limits.velocity for c in ARM.channels]) * 0.02
HOME = np.array([(c.limits.lower + c.limits.upper) / 2 for c in ARM.channels])


@pytest.fixture
def monitor():
    return CommandMonitor(ROBOT)


def test_steps_at_the_limit_are_allowed_and_steps_above_it_are_counted(monitor):
    assert monitor.see("left_arm", 1.00, HOME) == ""
    assert monitor.see("left_arm", 1.02, HOME + FAST) == ""
    assert monitor.see("left_arm", 1.04, HOME + 2.01 * FAST)
    assert monitor.violations == 1


def test_a_step_after_a_missed_period_may_be_twice_as_long(monitor):
    monitor.see("left_arm", 1.00, HOME)
    assert monitor.see("left_arm", 1.04, HOME + 2.0 * FAST) == ""
    assert monitor.groups["left_arm"].missed == 1


def test_a_position_outside_its_limits_or_not_finite_is_a_violation(monitor):
    edge = np.array([c.limits.upper for c in ARM.channels])
    assert monitor.see("left_arm", 1.0, edge) == ""
    assert "position 0.001 beyond" in monitor.see("left_arm", 1.02, edge + 1e-3)
    assert "not finite" in monitor.see("left_arm", 1.04, np.full(6, np.nan))


def test_a_robot_that_starts_outside_its_limits_may_come_inward_and_no_further_out(monitor):
    outside = np.array([c.limits.upper + 0.1 for c in ARM.channels])
    assert monitor.see("left_arm", 1.0, outside) == ""
    assert monitor.see("left_arm", 1.02, outside - 1e-4) == ""
    assert "position" in monitor.see("left_arm", 1.04, outside + 1e-4)


@pytest.mark.parametrize(("steps", "broken"), [((0.0, 0.0, 0.0), ""), ((0.0, 0.0, 0.9), "acceleration"),
                                               ((0.0, 0.0, 0.03), "jerk"), ((0.9, 0.9, 0.9), "")])  # fmt: skip
def test_a_promise_is_all_of_velocity_acceleration_and_jerk(monitor, steps, broken):
    place, told = HOME.copy(), []
    for k, share in enumerate((0.0, *steps)):
        place = place + share * FAST
        told.append(monitor.see("left_arm", 1.0 + 0.02 * k, place))
    assert broken in told[-1] if broken else not any(told[1:]), told
    assert monitor.violations == bool(broken)


def test_the_base_may_change_its_velocity_by_its_acceleration_only(monitor):
    monitor.see("base", 1.00, [0.0, 0.0, 0.0])
    assert monitor.see("base", 1.02, [0.02, 0.0, 0.0]) == ""
    assert monitor.see("base", 1.04, [0.05, 0.0, 0.0])


def test_the_report_counts_what_the_slowest_group_got(monitor):
    for k in range(101):
        for group in ROBOT.groups:
            if group.name != "lift" or k % 2 == 0:
                middle = [(c.limits.lower + c.limits.upper) / 2 for c in group.channels]
                monitor.see(group.name, 5.0 + 0.02 * k + 0.001 * (k % 2), middle)
    told = monitor.control()
    assert told["commands"] == 51 and told["rate_hz"] == pytest.approx(25.0)
    assert told["missed"] == 50
    assert told["period_error_ms"]["p50"] == pytest.approx(1.0)
    assert monitor.violations == 0


def test_after_a_restart_only_what_follows_counts(monitor):
    monitor.see("left_arm", 1.0, HOME)
    monitor.see("left_arm", 1.02, HOME + 5 * FAST)
    monitor.restart()
    assert monitor.violations == 0
    assert monitor.see("left_arm", 1.04, HOME)


def test_nothing_seen_is_no_error(monitor):
    assert monitor.control()["commands"] == 0
    assert monitor.control()["period_error_ms"] == {"p50": 0.0, "p99": 0.0, "max": 0.0}


def test_a_command_that_was_lost_on_the_way_is_no_step_of_the_next_one_however_they_arrive(monitor):
    sent = {k: HOME + k * FAST for k in range(1, 8)}
    for number, at in ((1, 1.000), (2, 1.035), (3, 1.040), (5, 1.061), (7, 1.085)):  # 4 and 6 were lost
        assert monitor.see("left_arm", at, sent[number], number) == "", number
    assert monitor.violations == 0


def test_a_step_too_long_is_one_also_if_it_arrives_late(monitor):
    monitor.see("left_arm", 1.00, HOME, 7)
    assert "velocity" in monitor.see("left_arm", 1.09, HOME + 2.0 * FAST, 8)


def test_commands_of_a_publisher_that_began_anew_or_was_silent_are_judged_by_the_time(monitor):
    monitor.see("left_arm", 1.00, HOME, 700)
    assert monitor.see("left_arm", 1.04, HOME + 2.0 * FAST, 1) == ""
    assert monitor.see("left_arm", 1.64, HOME + 20.0 * FAST, 2) == ""
    assert monitor.violations == 0


def test_the_rate_is_that_of_the_slowest_group_to_a_thousandth(monitor):
    for group in ROBOT.groups:
        middle = [(c.limits.lower + c.limits.upper) / 2 for c in group.channels]
        for k in range(8):
            monitor.see(group.name, 5.0 + 0.0201234 * k, middle)
    told = monitor.control()
    assert told["rate_hz"] == 49.693  # 1 / 0.0201234 is 49.69339...
    assert told["period_error_ms"] == {"p50": 0.123, "p99": 0.123, "max": 0.123} and told["missed"] == 0


def test_a_command_whose_number_is_not_known_is_none_that_others_are_counted_from(monitor):
    arm = monitor.groups["left_arm"]
    arm.see(1.0, HOME)
    assert arm.see(1.02, HOME + 4 * FAST, 5), "one period later, whatever its number"
    other = CommandMonitor(ROBOT)
    other.see("left_arm", 1.0, HOME)
    assert other.see("left_arm", 1.02, HOME + 4 * FAST, 5)
