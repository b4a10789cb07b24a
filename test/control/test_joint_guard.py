"""Arms that take joint velocities: driven, braked before their joints' ends, and never on a measurement that stands still."""

from collections import deque
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from story import Story

from pi0_ros.control.joint_guard import BRAKING, JointGuard, stoppable_speed

ARM = """
arm:
  kind: velocity
  channels: [j1_velocity, wrist_velocity]
  joints: [j1, wrist]
  command: {topic: arm/commands, type: float64_multi_array}
  limits: {source: urdf, acceleration: 5.0, margin: 0.1}
"""


class VelocityArm(Story):
    """Joints that follow the commanded velocities `late` periods later."""

    def __init__(self, robot, joints=(0.0, 0.0), late=0, says_rates=True):
        super().__init__(robot, start=[0.0, 0.0])
        self.joints_at = np.array(joints, float)
        self.line, self.says_rates = deque([np.zeros(2)] * (late + 1), maxlen=late + 1), says_rates
        self.seen, self.moving = [], True

    def sense(self):
        if self.steps and self.last.command is not None:
            self.line.append(self.values[:2])
        if self.moving:
            self.joints_at += self.line[0] * self.period
        self.seen.append(self.joints_at.copy())
        rates = dict(zip(("j1", "wrist"), self.line[0].tolist(), strict=True)) if self.says_rates else None
        at = dict(zip(("j1", "wrist"), self.joints_at.tolist(), strict=True))
        self.executor.on_state(self.steady, self.ros, self.ros, at, rates)

    def drive(self, rows):
        if len(self.steps) % 10 == 0 and self.last.mode.value == "autonomy":
            verdict = self.send(self.chunk(values=np.tile(rows, (40, 1)), period=0.05, start=self.ros))
            assert verdict.accepted, verdict.reason


def test_velocities_are_driven_and_measured_by_their_joints(small_robot):
    story = VelocityArm(small_robot(ARM))
    story.run(0.1)
    assert story.ask("autonomy").ok
    story.run(3.0, each=lambda s: s.drive([0.3, -0.4]))
    assert story.last.mode.value == "autonomy"
    assert story.values.tolist() == pytest.approx([0.3, -0.4], abs=1e-4)
    assert story.last.measured.tolist() == pytest.approx([0.3, -0.4], abs=1e-4)
    story.sound()


def test_a_driver_that_says_no_velocities_is_driven_too(small_robot):
    story = VelocityArm(small_robot(ARM), says_rates=False)
    story.run(0.1)
    assert story.ask("autonomy").ok
    story.run(2.0, each=lambda s: s.drive([0.3, 0.0]))
    assert story.last.mode.value == "autonomy" and story.values[0] == pytest.approx(0.3, abs=1e-4)


@pytest.mark.parametrize("late", [0, 2, 5])
@pytest.mark.parametrize("speed", [2.5, 0.6, -2.5])
def test_a_joint_comes_to_rest_before_its_end_and_can_leave_it_again(small_robot, late, speed):
    story = VelocityArm(small_robot(ARM), joints=(0.2, 0.0), late=late)
    story.run(0.1)
    assert story.ask("autonomy").ok
    story.run(8.0, each=lambda s: s.drive([speed, 0.5]))
    at = np.array(story.seen)[:, 0]
    assert np.abs(at).max() <= 1.9 + 1e-6, "the URDF's end less the margin"
    assert abs(at[-1]) > 1.85 and abs(story.values[0]) < 0.02
    assert story.values[1] == pytest.approx(0.5, abs=1e-4), "the other joint goes on"
    story.run(2.0, each=lambda s: s.drive([-0.5 * np.sign(speed), 0.5]))
    assert abs(story.seen[-1][0]) < 1.5
    story.sound()


def test_without_its_joints_measurements_nothing_is_driven(small_robot):
    story = VelocityArm(small_robot(ARM))
    story.run(0.1)
    story.ask("autonomy")
    story.run(2.0, each=lambda s: s.drive([0.5, 0.0]))
    story.sense = lambda: None
    story.run(0.4)  # braked once they are too old, HOLD after the grace
    assert story.last.mode.value == "hold" and "no fresh measurement of j1" in story.texts()
    story.run(0.6)
    sent = [command for run in story.runs for command in run]
    assert np.all(np.abs(sent[-1]) < 1e-6)


def test_measurements_that_stand_still_while_the_arm_is_driven_are_none(small_robot):
    story = VelocityArm(small_robot(ARM), says_rates=False)
    story.run(0.1)
    story.ask("autonomy")
    story.run(1.0, each=lambda s: s.drive([0.5, 0.0]))
    story.moving = False
    story.run(1.0, each=lambda s: s.drive([0.5, 0.0]))
    assert story.last.mode.value == "hold" and "frozen" in story.texts()


@given(st.floats(0.0, 10.0), st.floats(0.1, 20.0), st.floats(1.0, 200.0), st.floats(0.005, 0.1))
def test_the_speed_that_is_left_can_be_stopped_in_the_distance(distance, acceleration, jerk, period):
    speed = stoppable_speed(distance, acceleration, jerk, period)
    braking = BRAKING * acceleration
    way = speed * (period + acceleration / jerk) + speed * speed / (2.0 * braking)
    assert speed >= 0.0 and way == pytest.approx(distance, rel=1e-6, abs=1e-9)


def test_beyond_the_end_only_the_way_back_is_open():
    assert stoppable_speed(-0.1, 5.0, 50.0, 0.02) == 0.0


HAND = """
hand:
  kind: gripper
  channels: [gripper]
  joint: {name: finger, closed: 0.0, open: 0.04, measured: false}
  command: {topic: hand/commands, type: float64_multi_array}
"""


@pytest.mark.parametrize("speed", [2.5, -2.5])
def test_an_arm_that_says_how_late_it_is_comes_to_rest_before_its_end_though_nothing_else_is_late(small_robot, speed):
    robot = small_robot(ARM.rstrip() + "\n  command_latency: 0.2\n" + HAND)
    story = VelocityArm(robot, joints=(0.2, 0.0), late=14)  # 0.28 s
    story.velocity, story.measured = np.array([True, True, False]), np.array([0.0, 0.0, 1.0])
    story.run(0.1)
    assert story.ask("autonomy").ok
    story.run(6.0, each=lambda s: s.drive([speed, 0.0, 1.0]))
    at = np.array(story.seen)[:, 0]
    assert np.abs(at).max() <= 1.9 + 1e-6 and abs(at[-1]) > 1.8


def bounded(robot, joint, goal, sent=0.0, count=20, delay=0.1):
    """What becomes of a goal [rad/s] of j1, which is measured at `joint`; what was commanded before it, so many periods."""
    guard = JointGuard(robot, 0.02, delay)
    measured = SimpleNamespace(joint=lambda name: joint if name == "j1" else 3.0)
    wanted = np.array([[goal, -0.7], [0.4, 0.3], [0.2, 0.1]])
    for _ in range(count - 1):
        guard.bounded(0.0 * wanted, np.array([sent, 0.5]), measured)
    before = wanted.copy()
    found = guard.bounded(wanted, np.array([sent, 0.5]), measured)
    np.testing.assert_array_equal(wanted, before)
    np.testing.assert_array_equal(found[:, 1], wanted[:, 1])  # a joint without ends goes on
    return found[:, 0].tolist()


@pytest.mark.parametrize("side", [1.0, -1.0])
@pytest.mark.parametrize(
    ("delay", "sent", "count", "coming"),
    [
        (0.1, 0.0, 20, 0.0),
        (0.1, 0.5, 20, 7 * 0.5 * 0.02),  # five periods late, and two that are read and sent meanwhile
        (0.11, 0.5, 20, 8 * 0.5 * 0.02),  # five and a half are six
        (0.2, 0.5, 20, 12 * 0.5 * 0.02),
        (0.1, 0.5, 3, 3 * 0.5 * 0.02),
        (0.1, -0.5, 20, 0.0),  # away from the end: not counted on
    ],
)
def test_a_joint_is_braked_for_what_is_left_of_its_way_once_what_was_sent_has_arrived(
    small_robot, side, delay, sent, count, coming
):
    """0.25 rad before its end; 5 rad/s^2 reached in 0.1 s, of which 0.7 count."""
    left, braking, late = 0.25 - coming, 0.7 * 5.0, 0.02 + 0.1
    fastest = max(np.roots([0.5 / braking, late, -left]))
    robot, joint = small_robot(ARM), side * (1.9 - 0.25)
    found = bounded(robot, joint, side * 2.0, side * sent, count, delay)
    assert found == pytest.approx([side * fastest, -side * braking, 0.0])
    slower = bounded(robot, joint, side * 0.98 * fastest, side * sent, count, delay)
    assert slower == [side * 0.98 * fastest, 0.4, 0.2]
    assert bounded(robot, joint, -side * 2.0, side * sent, count, delay) == [-side * 2.0, 0.4, 0.2]


@pytest.mark.parametrize("side", [1.0, -1.0])
def test_beyond_its_end_a_joint_is_not_led_on_and_nothing_is_to_be_slowed_any_more(small_robot, side):
    assert bounded(small_robot(ARM), side * 1.95, side * 0.3) == [0.0, 0.0, 0.0]
    assert bounded(small_robot(ARM), side * 1.95, -side * 0.3) == [-side * 0.3, 0.4, 0.2]


def test_a_robot_without_such_joints_is_left_alone(small_robot):
    goal = np.full((3, 1), 9.0)
    guard = JointGuard(small_robot(HAND), 0.02, 0.1)
    assert guard.bounded(goal, np.array([0.5]), SimpleNamespace()) is goal
