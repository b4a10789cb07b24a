"""What commands the robot when the control core raises, and how it gets back."""

import numpy as np
import pytest

pytest.importorskip("rclpy")

from pi0_ros.control import ExecutorSettings
from pi0_ros.control.step import Seam
from pi0_ros.robot import load_robot
from pi0_ros.ros.guarded_core import GuardedCore, first_epoch
from pi0_ros.ros.plan_thread import PlanThread

ROBOT = load_robot("mobile_bimanual")
PERIOD = 1.0 / ROBOT.control_rate
T0 = 5000.0


@pytest.fixture
def guarded():
    planner = PlanThread(PERIOD)
    yield GuardedCore(ROBOT, ExecutorSettings(engage_time=0.0), planner)
    planner.stop()


def run(guarded, first, count):
    """Periods in which the robot is where it was commanded to be, from number `first` on; their commands."""
    commands = []
    for k in range(first, first + count):
        steady, ros = k * PERIOD, T0 + k * PERIOD
        positions = {joint: 0.02 if "finger" in joint else 0.1 for joint in ROBOT.joint_of_channel.values()}
        guarded.core.on_state(steady, ros, ros, positions)
        guarded.core.on_odometry(steady, ros, ros, 0.0, 0.0, 0.0)
        command = guarded.command(steady, ros)
        commands.append(command)
        guarded.last = command or guarded.last
    return commands


def broken(steady, ros):
    raise AssertionError("the core was given up")


def test_two_cores_have_two_epochs():
    assert first_epoch() != first_epoch() and first_epoch() > 0


def test_nobody_drives_a_robot_in_hold(guarded):
    assert run(guarded, 0, 10)[-1] is not None and not guarded.driven and guarded.fault == ""


def test_after_a_fault_the_core_is_not_asked_any_more_and_the_last_command_is_braked(guarded):
    run(guarded, 0, 10)
    before = guarded.last
    guarded.core.step = broken
    guarded.fail(1.0, T0 + 1.0, "Traceback\nValueError: one\nsecond line\n")
    assert guarded.fault == "second line" and "ValueError: one" in guarded.trace
    (command,) = run(guarded, 60, 1)
    assert command.stamp > before.stamp and np.allclose(command.values, before.values)
    assert guarded.core.blackbox.snapshot()[-1].kind == "command"


def test_a_second_fault_does_not_hide_the_first(guarded):
    guarded.fail(1.0, T0 + 1.0, "ValueError: one")
    guarded.fail(2.0, T0 + 2.0, "ValueError: two")
    assert guarded.fault == guarded.trace == "ValueError: one"


def test_without_a_command_there_is_nothing_to_brake(guarded):
    guarded.fail(1.0, T0 + 1.0, "ValueError: one")
    assert guarded.command(1.1, T0 + 1.1) is None


def test_only_a_reset_ends_a_fault_and_it_starts_another_core_with_another_epoch(guarded):
    run(guarded, 0, 10)
    core = guarded.core
    guarded.fail(1.0, T0 + 1.0, "ValueError: one")
    refused = guarded.request(1.1, T0 + 1.1, "autonomy", lambda: ("/policy",))
    assert not refused.ok and "reset first: ValueError: one" in refused.message and guarded.core is core
    assert guarded.request(1.2, T0 + 1.2, "reset", lambda: ("/policy",)).ok
    assert guarded.core is not core and guarded.core.epoch != core.epoch and guarded.fault == ""
    assert run(guarded, 70, 10)[-1] is not None


def test_a_reset_without_a_fault_keeps_the_core(guarded):
    run(guarded, 0, 10)
    core = guarded.core
    guarded.request(1.0, T0 + 1.0, "reset", lambda: ("/policy",))
    assert guarded.core is core


def test_events_are_told_once_and_of_seams_the_worst_of_each_kind_is_kept(guarded):
    run(guarded, 0, 1)
    assert guarded.take_events() == guarded.step.events and guarded.take_events() == ()
    step = guarded.core.step
    for seam in (Seam(0.3, 0.1, 0.02), Seam(0.2, 0.4, 0.01)):
        guarded.core.step = lambda steady, ros, seam=seam: step(steady, ros)._replace(seam=seam)
        run(guarded, 1, 1)
    assert guarded.worst_seam == Seam(0.3, 0.4, 0.02)


def test_what_brakes_is_in_the_black_box_at_its_steady_and_its_ros_time(guarded):
    run(guarded, 0, 10)
    guarded.fail(1.0, T0 + 1.0, "Traceback\nValueError: one")
    (command,) = run(guarded, 60, 1)
    kinds = [(entry.kind, entry.steady, entry.ros) for entry in guarded.core.blackbox.snapshot()]
    assert ("event", 1.0, T0 + 1.0) in kinds and kinds[-1] == ("command", 60 * PERIOD, T0 + 60 * PERIOD)
    stamp, values = guarded.core.blackbox.snapshot()[-1].data
    assert stamp == command.stamp and np.allclose(values, command.values)
