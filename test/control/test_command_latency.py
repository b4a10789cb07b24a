"""A robot that moves later than it is commanded is where the plan's rows say, at their time."""

from collections import deque

import numpy as np
import pytest
from story import START, Story

from pi0_ros.control import Chunk
from pi0_ros.control.command_latency import earlier, sent_ahead
from pi0_ros.robot.spec import Kind

ROBOT = """
arm:
  kind: position
  channels: [j1, j2]
  command: {topic: arm/commands, type: float64_multi_array}
  limits: {source: urdf, acceleration: 10.0, jerk: 100.0}
  command_latency: LATE
hand:
  kind: gripper
  channels: [gripper]
  joint: {name: finger, closed: 0.0, open: 0.04}
  command: {topic: hand/commands, type: float64_multi_array}
"""


class LateRobot(Story):
    """The arm is where it was commanded to be some periods ago."""

    def __init__(self, robot, start, periods):
        super().__init__(robot, start=start)
        self.line = deque([np.array(start)] * (periods + 1), maxlen=periods + 1)
        self.places = []

    def sense(self):
        if self.steps and self.last.command is not None:
            self.line.append(self.values)
            self.measured = np.array(self.line[0])
        self.places.append((self.ros, float(self.measured[0])))
        super().sense()


def sine(time):
    return 0.3 * np.sin(1.2 * np.maximum(np.asarray(time) - START - 1.0, 0.0))


def behind(places, after):
    """The time shift [s] that fits the places best to the rows, and the RMS error without it."""
    times, at = np.array([p for p in places if p[0] > after]).T
    shifts = np.arange(-0.3, 0.4, 0.005)
    errors = [np.sqrt(np.mean((at - sine(times - s)) ** 2)) for s in shifts]
    return float(shifts[int(np.argmin(errors))]), float(np.sqrt(np.mean((at - sine(times)) ** 2)))


def driven(robot, periods):
    story = LateRobot(robot, [0.0, 0.2, 0.5], periods)
    story.run(0.2)
    assert story.ask("autonomy").ok
    story.tick()

    def plan(story):
        if len(story.steps) % 10 == 0:
            times = story.ros + 0.05 * np.arange(40)
            values = np.stack([sine(times), np.full(40, 0.2), np.full(40, 0.5)], axis=1)
            verdict = story.send(story.chunk(start=story.ros, period=0.05, values=values))
            assert verdict.accepted, verdict.reason

    return story.run(10.0, each=plan)


@pytest.mark.parametrize("periods", [5, 8])
def test_a_late_robot_is_where_the_rows_say_and_without_the_key_it_is_not(small_robot, periods):
    late = 0.02 * (periods + 1)  # what is commanded in one period is measured in the next at the earliest
    corrected, error = behind(driven(small_robot(ROBOT.replace("LATE", f"{late:.2f}")), periods).places, START + 4.0)
    assert abs(corrected) <= 0.011 and error < 0.012
    uncorrected, worse = behind(driven(small_robot(ROBOT.replace("LATE", "0.0")), periods).places, START + 4.0)
    assert uncorrected == pytest.approx(late, abs=0.025) and worse > 2.0 * error


def test_rows_come_earlier_by_the_latency_of_their_group_alone(small_robot):
    robot = small_robot(ROBOT.replace("LATE", "0.15"))
    values = np.array([[0.0, 1.0, 0.0], [0.1, 0.8, 0.0], [0.2, 0.6, 1.0], [0.3, 0.4, 1.0]])
    chunk = Chunk(1000.0, 0.1, ("j1", "j2", "gripper"), values, 1, 0)
    found = sent_ahead(chunk, robot)
    np.testing.assert_allclose(found.values[:, 0], [0.15, 0.25, 0.3, 0.3])
    np.testing.assert_allclose(found.values[:, 1], [0.7, 0.5, 0.4, 0.4])
    np.testing.assert_array_equal(found.values[:, 2], values[:, 2])
    shuffled = Chunk(1000.0, 0.1, ("gripper", "j1", "j2"), values[:, [2, 0, 1]], 1, 0)
    np.testing.assert_array_equal(sent_ahead(shuffled, robot).values[:, [1, 2, 0]], found.values)


def test_a_gripper_is_told_earlier_and_never_half():
    rows = np.array([[0.0], [0.0], [1.0], [1.0]])
    assert earlier(rows, 0.4, Kind.GRIPPER)[:, 0].tolist() == [0.0, 0.0, 1.0, 1.0]
    assert earlier(rows, 1.0, Kind.GRIPPER)[:, 0].tolist() == [0.0, 1.0, 1.0, 1.0]
    assert earlier(rows, 1.5, Kind.GRIPPER)[:, 0].tolist() == [0.0, 1.0, 1.0, 1.0]


def test_a_latency_longer_than_the_plan_leaves_its_last_row():
    rows = np.arange(6.0).reshape(3, 2)
    np.testing.assert_array_equal(earlier(rows, 7.3, Kind.POSITION), np.repeat(rows[-1:], 3, axis=0))
