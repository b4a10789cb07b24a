"""Joints that turn for ever: angles that differ by whole turns are one place, whoever says them."""

import math

import numpy as np
import pytest
from story import Story

ARM = """
arm:
  kind: position
  channels: [j1, wrist]
  command: {topic: arm/commands, type: float64_multi_array}
  limits: {source: urdf, acceleration: 10.0, jerk: 100.0}
"""


def wrapped(angle):
    return math.remainder(angle, 2.0 * math.pi)


class Wrist(Story):
    """A robot whose wrist reports `says(angle)` and hangs `sag` below its command."""

    def __init__(self, robot, start, says=wrapped):
        super().__init__(robot, start=start)
        self.says, self.sag = says, 0.0

    def sense(self):
        i = self.robot.index["wrist"]
        kept, self.measured = self.measured, np.array(self.measured)
        self.measured[i] = self.says(self.measured[i] + self.sag)
        super().sense()
        self.measured = kept

    @property
    def turned(self):
        wrist = np.array([s.command.values for s in self.steps if s.command is not None])[:, self.robot.index["wrist"]]
        return float(np.abs(np.diff(wrist)).sum())


@pytest.fixture
def robot(small_robot):
    return small_robot(ARM)


def test_a_continuous_joint_needs_no_bounds_and_the_others_keep_theirs(robot):
    assert [c.continuous for c in robot.channels] == [False, True]
    assert (robot.channels[0].limits.lower, robot.channels[0].limits.upper) == (-2.0, 2.0)


def test_bounds_that_a_urdf_gives_a_continuous_joint_say_nothing(small_robot):
    """The URDF's definition ignores them; Jaco's has -6.28 .. 6.28."""
    joints = {"j1": ("revolute", -2.0, 2.0, 2.5), "wrist": ("continuous", -6.28, 6.28, 0.63)}
    limits = small_robot(ARM, joints=joints, mimics={}).channels[1].limits
    assert limits.lower < -1e5 and limits.upper > 1e5 and limits.velocity == 0.63


def test_in_hold_a_joint_that_sags_over_pi_is_not_turned(robot):
    story = Wrist(robot, start=[0.3, 3.1400])
    story.run(1.0)
    story.sag = 0.002
    story.run(4.0)
    assert story.last.mode.value == "hold" and story.turned < 1e-9
    assert story.last.measured[1] == pytest.approx(3.142, abs=1e-6)


def test_where_a_blocked_joint_is_held_is_the_turn_it_is_on(robot):
    trembling = iter(np.resize([0.0, 1e-4], 1000))
    story = Wrist(robot, start=[0.3, 2.9], says=lambda angle: wrapped(angle + next(trembling)))
    story.autonomy({"wrist": 3.5}, rows=30, period=0.05)
    story.run(0.3)
    story.follows = False  # blocked on this side of pi
    story.run(2.0, each=lambda s: s.send(goal={"wrist": 3.6}) if s.last.mode.value == "autonomy" else None)
    assert story.last.mode.value == "hold" and "wrist" in story.texts()
    assert abs(story.values[1] - story.measured[1]) < 0.02
    assert story.turned < 1.5, "no more than to the plan's end and back"


@pytest.mark.parametrize("reports", [wrapped, lambda a: a], ids=["driver wrapped", "driver unwrapped"])
@pytest.mark.parametrize("says", [wrapped, lambda a: a], ids=["policy wrapped", "policy unwrapped"])
def test_a_plan_over_pi_is_followed_over_pi(robot, reports, says):
    story = Wrist(robot, start=[0.3, 2.9], says=reports)
    story.run(0.1)
    assert story.ask("autonomy").ok
    story.tick()
    begin = story.ros

    def plan(story):
        if len(story.steps) % 10:
            return
        times = story.ros + 0.05 * np.arange(40)
        angles = [says(2.9 + 0.2 * np.clip(t - begin - 0.5, 0.0, 4.0)) for t in times]
        values = np.stack([np.full(40, 0.3), angles], axis=1)
        assert story.send(story.chunk(start=story.ros, period=0.05, values=values)).accepted

    story.run(6.0, each=plan)
    assert story.last.mode.value == "autonomy"
    assert story.at("wrist") == pytest.approx(3.7, abs=0.01)
    assert story.turned == pytest.approx(0.8, abs=0.02)


def test_a_leader_over_pi_is_followed_over_pi(small_robot):
    story = Wrist(small_robot(ARM + "  teleop: {topic: leader, type: joint_state, max_age: 0.2}\n"), start=[0.3, 3.0])
    story.run(0.1)
    assert story.ask("teleop").ok
    story.run(4.0, each=lambda s: s.teleop("arm", [0.3, wrapped(3.0 + min(0.3, 0.1 * s.steady))]))
    assert story.at("wrist") == pytest.approx(3.3, abs=1e-3)
    assert story.turned == pytest.approx(0.3, abs=0.01)


def test_a_leader_that_crosses_pi_in_hold_has_not_moved_by_a_turn(small_robot):
    text = ARM + "  teleop: {topic: leader, type: joint_state, max_age: 0.2}\n"
    robot = small_robot(text, head="robot: small\nurdf: small.urdf\ncameras: {}\ntakeover: {leader_motion: 0.05}\n")
    story = Wrist(robot, start=[0.3, 3.14])
    story.run(1.0, each=lambda s: s.teleop("arm", [0.3, wrapped(3.14 + 0.001 * (len(s.steps) % 5))]))
    assert story.last.mode.value == "hold"


def test_a_range_that_the_yaml_gives_is_kept_on_the_turn_where_the_robot_is(small_robot):
    text = ARM.replace("source: urdf,", "source: urdf, position: {wrist: [-6.0, 6.0]},")
    story = Wrist(small_robot(text), start=[0.3, 3.0])
    story.autonomy({"wrist": 4.0}, rows=30, period=0.05)
    story.run(4.0, each=lambda s: s.send(goal={"wrist": 4.0}) if len(s.steps) % 20 == 0 else None)
    assert story.at("wrist") > 3.9
    limits = story.robot.channels[1].limits
    assert (limits.lower, limits.upper) == (-6.0, 6.0)


def test_the_yaml_may_call_a_joint_continuous_that_the_urdf_bounds(small_robot):
    robot = small_robot(ARM.replace("channels: [j1, wrist]", "channels: [j1, j3]\n  continuous: [j3]"))
    assert [c.continuous for c in robot.channels] == [False, True]
