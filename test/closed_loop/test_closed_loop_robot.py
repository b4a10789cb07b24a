"""The harness and `pi0 replay` need no simulator: any robot that can be asked will do."""

import subprocess
import sys

import numpy as np
import pytest

from pi0_ros.closed_loop.harness import Harness, Trial
from pi0_ros.closed_loop.latency import Latency
from pi0_ros.control import BlackBox
from pi0_ros.control.audit import violations
from pi0_ros.data.blackbox_file import write_black_box
from pi0_ros.policy import Plan
from pi0_ros.robot import load_robot

ARM, AWAY = "left_waist", 0.4


class PointRobot:
    """Every joint is where it was commanded to be, a control period later."""

    def __init__(self, robot):
        self.robot, self.time, self.at = robot, 0.0, {}
        self.reset()

    def reset(self):
        self.time = 0.0
        self.at = {c.name: 0.5 * (c.limits.lower + c.limits.upper) for c in self.robot.channels}

    def joint_state(self):
        grippers = {g.channels[0].name: g.gripper for g in self.robot.groups if g.gripper is not None}
        joints = {}
        for channel, joint in self.robot.joint_of_channel.items():
            gripper, value = grippers.get(channel), self.at[channel]
            joints[joint] = gripper.closed + value * (gripper.open - gripper.closed) if gripper else value
        return tuple(joints), np.array(list(joints.values())), np.zeros(len(joints))

    def odometry(self):
        return (0.0,) * 6

    def measured(self):
        return dict(self.at)

    def render(self, camera):
        return np.zeros((2, 2, 3), np.uint8)

    def set_command(self, names, values):
        self.at |= dict(zip(names, np.asarray(values).tolist(), strict=True))

    def advance(self, seconds):
        self.time += seconds

    def close(self):
        return None


class Straight:
    """Plans the way of one joint to where it is wanted, at 0.3 rad/s."""

    finished, cameras, high_level_cameras = (), (), ()
    horizon, period = 10, 0.1

    def __init__(self, body):
        self.names, self.target = body.robot.channel_names, body.at[ARM] + AWAY

    def plan(self, observation, seed, told):
        rows = np.tile([observation.state[name] for name in self.names], (self.horizon, 1))
        way = self.target - observation.state[ARM]
        column = rows[:, self.names.index(ARM)]
        column += np.sign(way) * np.minimum(abs(way), 0.3 * self.period * np.arange(self.horizon))
        return Plan(rows, self.names, self.period)

    def subtask(self, observation, task):
        return task


class Arrive:
    """Done once the joint is within 0.01 rad of where it is wanted."""

    name, time_limit, instruction = "arrive", 8.0, "go there"

    def reset(self, sim, seed):
        sim.reset()
        self.target = sim.at[ARM] + AWAY
        return self.instruction

    def success(self, sim):
        return abs(sim.at[ARM] - self.target) < 0.01

    def failed(self, sim):
        return sim.time > self.time_limit

    def subtask(self, sim):
        return self.instruction

    def progress(self, sim):
        return int(self.success(sim)), 1


@pytest.fixture(scope="module")
def robot():
    return load_robot("aloha")


def run(robot, box=None):
    trial = Trial(latency=Latency(0.1, 0.1), rtc="none")
    return Harness(PointRobot(robot), Straight, trial).run(Arrive(), 0, box)


def test_the_core_takes_a_robot_that_is_no_simulation_where_a_plan_leads(robot):
    episode = run(robot)
    assert episode.success and episode.done == 1
    assert not violations(robot, episode.commands, 1 / robot.control_rate)


def test_a_recording_is_replayed_where_there_is_no_simulator(robot, tmp_path):
    box = BlackBox()
    run(robot, box)
    file = write_black_box(tmp_path, box.snapshot(), "test", robot.channel_names)
    program = (
        "import sys; sys.modules['mujoco'] = None; from pi0_ros.cli import main; "
        f"sys.exit(main(['replay', {str(file)!r}, '--robot', 'aloha']))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert "rms_jerk" in done.stdout
