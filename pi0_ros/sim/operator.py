"""A scripted operator: where every joint should go next, from what can be seen now.

The fingertip of the working arm follows a velocity field, a funnel over its block: hover above the blocks while far,
sink while close. Its gripper closes; the idle arm rises, goes home and opens. Joint velocities follow from damped least
squares on MuJoCo's Jacobians (Nakamura and Hanafusa 1986) with the posture as the secondary goal.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import mujoco
import numpy as np

from pi0_ros.robot import Robot
from pi0_ros.sim.robot import SimRobot
from pi0_ros.sim.scene import HOME, LIFT_HOME
from pi0_ros.sim.tasks import parse_subtask
from pi0_ros.sim.world import BASE_JOINTS, BLOCK_TOP, SIDES


@dataclass(frozen=True)
class OperatorSettings:
    """How the operator moves. Metres, seconds, radians."""

    speed: float = 0.26  # greatest fingertip speed
    gain: float = 2.4  # fingertip speed per metre still to go, 1/s
    hover: float = 0.085  # fingertip above the block tops while far
    depth: float = 0.005  # how far below the block's top the command goes
    near: float = 0.012  # horizontal distance at which the funnel has reached the block
    far: float = 0.060  # horizontal distance at which it has reached hover height
    home_height: float = 0.15  # idle fingertip above the block tops
    keep_apart: float = 0.16  # horizontal distance between the hands below which the working one waits
    acceleration: float = 6.0  # of a joint, rad/s^2
    share: float = 0.6  # of a joint's velocity limit that is used


class Operator:
    """Moves its own command; `act` reads the simulation's blocks and base and, after `sync`, the joints.

    The command is the only thing remembered, and it is within servo lag of the measured state.
    """

    def __init__(
        self, robot: Robot, sim: SimRobot, period: float = 0.02, settings: OperatorSettings | None = None
    ) -> None:
        """An operator called every `period` seconds."""
        self.robot, self.sim, self.period = robot, sim, period
        self.settings = settings or OperatorSettings()
        self._data = mujoco.MjData(sim.model)
        self._channels = {s: [f"{s}_joint{i}" for i in range(1, 7)] for s in SIDES}
        self._arm = {s: [robot.index[c] for c in self._channels[s]] for s in SIDES}
        self._dofs = {s: [sim.world.dof[c] for c in self._channels[s]] for s in SIDES}
        self._qpos = [(robot.index[c], sim.world.qpos[j]) for c, j in robot.joint_of_channel.items()]
        self._tip = {s: sim.model.body(f"{s}_tip").id for s in SIDES}
        self._base_qpos = [sim.world.qpos[j] for j in BASE_JOINTS]
        limits = [c.limits for c in robot.channels]
        self._lower, self._upper = np.array([x.lower for x in limits]), np.array([x.upper for x in limits])
        self._fastest = np.array([x.velocity for x in limits]) * self.settings.share
        self._home = np.array([HOME.get(c, 0.0) for c in robot.channel_names])
        self._jacobian = np.zeros((2, 3, sim.model.nv))
        self.sync()

    def sync(self) -> None:
        """Start from the measured joints at rest. Call after every reset."""
        measured = self.sim.measured()
        self.command = np.array([measured[c] for c in self.robot.channel_names])
        self._at_rest()

    def set_command(self, command: np.ndarray) -> None:
        """Go on from this command [D] instead of the own one, at rest (a disturbance, a policy, a person)."""
        self.command = command.copy()
        self._at_rest()

    def _at_rest(self) -> None:
        self.command[[self.robot.index[c.name] for c in self.robot.channels if c.kind.value == "velocity"]] = 0.0
        self._velocity = np.zeros(len(self.command))
        self._home_tip = self._tips_at_home()

    def act(self, subtask: str) -> np.ndarray:
        """The next command [D] in robot units, one period later. Any text that names no block sends both arms home."""
        self._place(self.command)
        return self._step(parse_subtask(subtask))

    def plan(self, subtask: str, rows: int, period: float) -> np.ndarray:
        """The commands of the next `rows` periods [rows, D], row 0 being the present command, without physics.

        What the operator would send if nothing disturbed it: a label for any state. Its own command is left as it was.
        """
        command, velocity = self.command.copy(), self._velocity.copy()
        steps = max(1, round(period / self.period))
        planned = [self.command.copy()]
        for _ in range(rows - 1):
            for _ in range(steps):
                self.act(subtask)
            planned.append(self.command.copy())
        self.command, self._velocity = command, velocity
        return np.stack(planned)

    def fingertips(self) -> dict[str, np.ndarray]:
        """Side to the commanded fingertip position [3] in the world frame."""
        self._place(self.command)
        return {s: self._data.xpos[self._tip[s]].copy() for s in SIDES}

    def solve(self, side: str, tip: np.ndarray, command: np.ndarray, rounds: int = 200) -> np.ndarray | None:
        """Command [D] with that arm's fingertip at `tip` [3] (world), pointing down; None where it cannot be reached."""
        command = command.copy()
        for _ in range(rounds):
            self._place(command)
            error = tip - self._data.xpos[self._tip[side]]
            if np.linalg.norm(error) < 2e-3 and self._uprightness(side) > 0.999:
                return command
            move = self._joint_velocity(side, command, 8.0 * error)
            command[self._arm[side]] += 0.05 * np.clip(move, -4.0, 4.0)
            command = np.clip(command, self._lower, self._upper)
        return None

    def _place(self, command: np.ndarray) -> None:
        """Kinematics of the scratch model: commanded joints on the true base."""
        data = self._data
        data.qpos[:] = self.sim.data.qpos
        for channel, at in self._qpos:
            data.qpos[at] = command[channel]
        mujoco.mj_kinematics(self.sim.model, data)
        mujoco.mj_comPos(self.sim.model, data)

    def _tips_at_home(self) -> dict[str, np.ndarray]:
        self._place(self._home)
        return {s: self._data.xpos[self._tip[s]].copy() for s in SIDES}

    def _step(self, goal: tuple[str, str] | None) -> np.ndarray:
        wanted = np.zeros(len(self.command))
        tips = {s: self._data.xpos[self._tip[s]].copy() for s in SIDES}
        apart = float(np.linalg.norm(tips["left"][:2] - tips["right"][:2]))
        for side in SIDES:
            working = goal is not None and goal[1] == side
            tip = self._reaching(tips[side], goal[0], apart) if goal and working else self._retreating(side, tips[side])
            wanted[self._arm[side]] = self._joint_velocity(side, self.command, tip)
            grip = self.robot.index[f"{side}_gripper"]
            wanted[grip] = 4.0 * ((0.0 if working else 1.0) - self.command[grip])
        lift = self.robot.index["lift"]
        wanted[lift] = 1.5 * (LIFT_HOME - self.command[lift])
        return self._integrate(wanted)

    def _reaching(self, tip: np.ndarray, colour: str, apart: float) -> np.ndarray:
        """Fingertip velocity [3] of the funnel over a block."""
        s = self.settings
        top = self.sim.block_positions[colour]
        way = top[:2] - tip[:2]
        distance = float(np.linalg.norm(way))
        height = top[2] - s.depth + (s.hover + s.depth) * _smooth((distance - s.near) / (s.far - s.near))
        wait = np.clip((apart - 0.6 * s.keep_apart) / (0.4 * s.keep_apart), 0.0, 1.0)
        return self._velocity_to(way, height - tip[2], 0.035, wait if distance > s.far else 1.0)

    def _retreating(self, side: str, tip: np.ndarray) -> np.ndarray:
        """Fingertip velocity [3] of the idle arm: up first, then home."""
        s = self.settings
        goal = self._home_tip[side]
        way = goal[:2] - tip[:2]
        distance = float(np.linalg.norm(way))
        height = BLOCK_TOP + s.hover + (goal[2] - BLOCK_TOP - s.hover) * _smooth((0.25 - distance) / 0.25)
        return self._velocity_to(way, height - tip[2], 0.035, 1.0)

    def _velocity_to(self, way: np.ndarray, climb: float, slack: float, share: float) -> np.ndarray:
        """Horizontal speed proportional to the way and bounded; less the further the tip is below its height."""
        s = self.settings
        distance = float(np.linalg.norm(way))
        speed = min(s.speed, s.gain * distance) * share * np.clip(1.0 - (climb - 0.01) / slack, 0.0, 1.0)
        horizontal = way / max(distance, 1e-9) * speed
        return np.array([*horizontal, np.clip(4.0 * climb, -s.speed, s.speed)])

    def _uprightness(self, side: str) -> float:
        """Cosine between the gripper's pointing direction and straight down."""
        return -float(self._data.xmat[self._tip[side]].reshape(3, 3)[2, 0])

    def _joint_velocity(self, side: str, command: np.ndarray, tip_velocity: np.ndarray) -> np.ndarray:
        """Joint velocities [6] that move the tip so and turn the gripper down; joints 4 and 6 tend to zero."""
        mujoco.mj_jacBody(self.sim.model, self._data, self._jacobian[0], self._jacobian[1], self._tip[side])
        pointing = self._data.xmat[self._tip[side]].reshape(3, 3)[:, 0]
        turn = 3.0 * np.cross(pointing, (0.0, 0.0, -1.0))
        across = np.eye(3) - np.outer(pointing, pointing)  # turning about the pointing axis is free
        own = self._jacobian[:, :, self._dofs[side]]
        jacobian = np.concatenate([own[0], 0.3 * across @ own[1]])
        goal = np.concatenate([tip_velocity, 0.3 * across @ turn])
        posture = np.zeros(6)
        posture[[3, 5]] = -2.0 * command[self._arm[side]][[3, 5]]
        damped = jacobian @ jacobian.T + 0.02**2 * np.eye(6)
        return posture + jacobian.T @ np.linalg.solve(damped, goal - jacobian @ posture)

    def _integrate(self, wanted: np.ndarray) -> np.ndarray:
        """Bound velocity and acceleration, move the command; base channels stay zero."""
        for joints in self._arm.values():  # one factor for an arm keeps the direction
            wanted[joints] /= max(1.0, float(np.max(np.abs(wanted[joints]) / self._fastest[joints])))
        wanted = np.clip(wanted, -self._fastest, self._fastest)
        change = self.settings.acceleration * self.period
        self._velocity = self._velocity + np.clip(wanted - self._velocity, -change, change)
        moved = np.clip(self.command + self._velocity * self.period, self._lower, self._upper)
        self._velocity = (moved - self.command) / self.period
        self.command = moved
        return moved.copy()


def _smooth(x: float) -> float:
    """Smoothstep: 0 below 0, 1 above 1."""
    x = min(max(x, 0.0), 1.0)
    return x * x * (3 - 2 * x) if math.isfinite(x) else 0.0
