"""Arms that take joint velocities: driven, braked before their joints' ends, and never on a measurement that stands still."""

from collections import deque

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from story import Story

from pi0_ros.control.joint_guard import BRAKING, stoppable_speed

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
