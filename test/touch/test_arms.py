"""Fingertips and joints of the arms, against finite differences of the simulation's own kinematics."""

import numpy as np
import pytest

pytest.importorskip("mujoco")

from pi0_ros.robot import load_robot
from pi0_ros.sim.robot import SimRobot
from pi0_ros.sim.scene import HOME
from pi0_ros.touch.arms import Arms

ROBOT = load_robot("mobile_bimanual")
COMMAND = np.array([HOME.get(c, 0.0) for c in ROBOT.channel_names])
STEP = 1e-5  # [s]


@pytest.fixture(scope="module")
def arms():
    return Arms(ROBOT, SimRobot(ROBOT, seed=2))


def tip_of(arms, side, command):
    arms.place(command)
    return arms.tip(side).copy()


@pytest.mark.parametrize("side", ["left", "right"])
def test_joints_that_move_as_told_move_the_fingertip_as_asked(arms, side):
    asked = np.array([0.11, -0.07, 0.05])
    before = tip_of(arms, side, COMMAND)
    moved = COMMAND.copy()
    moved[arms.joints[side]] += STEP * arms.joint_velocity(side, COMMAND, asked)
    np.testing.assert_allclose((tip_of(arms, side, moved) - before) / STEP, asked, atol=0.01)


@pytest.mark.parametrize("side", ["left", "right"])
def test_a_solved_command_has_the_fingertip_there_and_leaves_the_other_arm_alone(arms, side):
    goal = tip_of(arms, side, COMMAND) + (0.03, 0.02, 0.01)
    solved = arms.solve(side, goal, COMMAND)
    assert np.linalg.norm(tip_of(arms, side, solved) - goal) < 2e-3
    others = [k for k in range(len(COMMAND)) if k not in arms.joints[side]]
    assert (solved[others] == COMMAND[others]).all()
    assert (solved >= arms.lower).all() and (solved <= arms.upper).all()


def test_what_is_out_of_reach_is_not_solved(arms):
    assert arms.solve("left", np.array([3.0, 0.0, 1.0]), COMMAND, rounds=20) is None
