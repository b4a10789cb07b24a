"""Kinematics of both arms on a scratch copy of the simulation: where the fingertips are, and how joints move them.

Joint velocities follow from damped least squares on MuJoCo's Jacobians (Nakamura and Hanafusa 1986) with the posture as the
secondary goal.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import mujoco
import numpy as np

from pi0_ros.robot import Robot
from pi0_ros.sim.robot import SimRobot
from pi0_ros.sim.world import SIDES

_EYE3 = np.eye(3)
_DAMPING = 0.02**2 * np.eye(6)
_POSTURE = np.array([0.0, 0.0, 0.0, 1.0, 0.0, 1.0])


class Arms:
    """The arms of a robot at commands [D] in robot units, on the simulation's true base. `place` comes before questions."""

    def __init__(self, robot: Robot, sim: SimRobot) -> None:
        self._sim, self._data = sim, mujoco.MjData(sim.model)
        channels = {s: [f"{s}_joint{i}" for i in range(1, 7)] for s in SIDES}
        self.joints = {s: [robot.index[c] for c in channels[s]] for s in SIDES}
        """Places of an arm's joints in a command, by side."""
        self._dofs = {s: [sim.world.dof[c] for c in channels[s]] for s in SIDES}
        positions = [(robot.index[c], sim.world.qpos[j]) for c, j in robot.joint_of_channel.items()]
        self._qpos = tuple(np.array(column) for column in zip(*positions, strict=True))
        self._tip = {s: sim.model.body(f"{s}_tip").id for s in SIDES}
        limits = [c.limits for c in robot.channels]
        self.lower, self.upper = np.array([x.lower for x in limits]), np.array([x.upper for x in limits])
        """Ends of the range of all channels [D]."""
        self._linear, self._angular = np.zeros((3, sim.model.nv)), np.zeros((3, sim.model.nv))
        self._base = sim.model.body("base_link").id

    def place(self, command: np.ndarray) -> None:
        """Kinematics of the scratch model: commanded joints on the true base."""
        data = self._data
        data.qpos[:] = self._sim.data.qpos
        channels = self._qpos[0]
        data.qpos[self._qpos[1]] = command[channels] + self._sim.encoder_offset[channels]
        mujoco.mj_kinematics(self._sim.model, data)
        mujoco.mj_comPos(self._sim.model, data)

    def tip(self, side: str) -> np.ndarray:
        """Fingertip position [3] in the world frame, as it was placed last; a view."""
        return np.asarray(self._data.xpos[self._tip[side]])

    def base(self) -> tuple[np.ndarray, np.ndarray]:
        """Position [3] and rotation [3, 3] of the base in the world frame; views."""
        return self._data.xpos[self._base], self._data.xmat[self._base].reshape(3, 3)

    def solve(self, side: str, tip: np.ndarray, command: np.ndarray, rounds: int = 200) -> np.ndarray | None:
        """Command [D] with that arm's fingertip at `tip` [3] (world), pointing down; None if it cannot be reached."""
        command = command.copy()
        for _ in range(rounds):
            self.place(command)
            error = tip - self.tip(side)
            if np.linalg.norm(error) < 2e-3 and self._uprightness(side) > 0.999:
                return command
            move = self.joint_velocity(side, command, 8.0 * error)
            command[self.joints[side]] += 0.05 * np.clip(move, -4.0, 4.0)
            command = np.clip(command, self.lower, self.upper)
        return None

    def _uprightness(self, side: str) -> float:
        """Cosine between the gripper's pointing direction and straight down."""
        return -float(self._data.xmat[self._tip[side]][6])

    def angle(self, side: str) -> float:
        """Angle [rad] about the vertical of the axis along which the hand opens."""
        matrix = self._data.xmat[self._tip[side]]
        return math.atan2(matrix[4], matrix[1])

    def joint_velocity(
        self, side: str, command: np.ndarray, tip_velocity: Sequence[float] | np.ndarray, spin: float | None = None
    ) -> np.ndarray:
        """Joint velocities [6] that move the tip so and turn the gripper down; joints 4 and 6 tend to zero.

        spin [rad/s]: of the hand about the vertical, in place of joint 6 that tends to zero.
        """
        mujoco.mj_jacBody(self._sim.model, self._data, self._linear, self._angular, self._tip[side])
        pointing = self._data.xmat[self._tip[side]][::3]
        across = 0.3 * (_EYE3 - pointing[:, None] * pointing)  # turning about the pointing axis is free
        jacobian = np.empty((6, 6))
        jacobian[:3] = self._linear[:, self._dofs[side]]
        jacobian[3:] = across @ self._angular[:, self._dofs[side]]
        goal = np.empty(6)
        goal[:3] = tip_velocity
        goal[3:] = 3.0 * (across @ (-pointing[1], pointing[0], 0.0))  # pointing x down
        if spin is not None:
            jacobian[3:] = 0.3 * self._angular[:, self._dofs[side]]
            goal[3:] += 0.3 * spin * -pointing
        posture = -2.0 * _POSTURE * command[self.joints[side]]
        damped = jacobian @ jacobian.T + _DAMPING
        return np.asarray(posture + jacobian.T @ np.linalg.solve(damped, goal - jacobian @ posture))
