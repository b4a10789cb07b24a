"""A scripted operator: where every joint should go next, from what can be seen now.

The fingertip of the working arm follows a velocity field, a funnel over its block: hover above the blocks while far,
sink while close. Its gripper closes; the idle arm rises, goes home and opens. Joint velocities follow from damped least
squares on MuJoCo's Jacobians (Nakamura and Hanafusa 1986) with the posture as the secondary goal.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import mujoco
import numpy as np

from pi0_ros.robot import Robot
from pi0_ros.sim.robot import SimRobot
from pi0_ros.sim.scene import HOME, LIFT_HOME
from pi0_ros.sim.world import BLOCK_TOP, SIDES
from pi0_ros.touch.tasks import parse_subtask

_EYE3 = np.eye(3)
_DAMPING = 0.02**2 * np.eye(6)
_POSTURE = np.array([0.0, 0.0, 0.0, 1.0, 0.0, 1.0])


@dataclass(frozen=True)
class OperatorSettings:
    """How the operator moves. Metres, seconds, radians."""

    speed: float = 0.26  # greatest fingertip speed
    gain: float = 2.4  # fingertip speed per metre still to go, 1/s
    hover: float = 0.085  # fingertip above the block tops while far
    depth: float = 0.005  # how far below the block's top the command goes
    near: float = 0.012  # horizontal distance at which the funnel has reached the block
    far: float = 0.060  # horizontal distance at which it has reached hover height
    slack: float = 0.035  # horizontal speed is zero when the tip is this far below its height
    keep_apart: float = 0.16  # horizontal distance between the hands below which the working one waits
    acceleration: float = 6.0  # of a joint, rad/s^2
    share: float = 0.6  # of a joint's velocity limit that is used


class Operator:
    """Moves its own command; `act` reads the simulation's blocks and base and, after `sync`, the joints.

    The command is the only thing remembered, and it is within servo lag of the measured state.

    Larger than a class should be because it has tables of the joints of both arms beside its state.
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
        positions = [(robot.index[c], sim.world.qpos[j]) for c, j in robot.joint_of_channel.items()]
        self._qpos = tuple(np.array(column) for column in zip(*positions, strict=True))
        self._tip = {s: sim.model.body(f"{s}_tip").id for s in SIDES}
        limits = [c.limits for c in robot.channels]
        self._lower, self._upper = np.array([x.lower for x in limits]), np.array([x.upper for x in limits])
        self._fastest = np.array([x.velocity for x in limits]) * self.settings.share
        self._home = np.array([HOME.get(c, 0.0) for c in robot.channel_names])
        self._grip = {s: robot.index[f"{s}_gripper"] for s in SIDES}
        self._lift = robot.index["lift"]
        self._linear, self._angular = np.zeros((3, sim.model.nv)), np.zeros((3, sim.model.nv))
        self._base = sim.model.body("base_link").id
        self._home_tip = self._tips_at_home()
        self.command, self._velocity = np.zeros(len(limits)), np.zeros(len(limits))
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

    def act(self, subtask: str) -> np.ndarray:
        """The next command [D] in robot units, one period later. Any text that names no block sends both arms home."""
        self._place(self.command)
        return self._step(parse_subtask(subtask))

    def plan(self, subtask: str, rows: int, period: float) -> np.ndarray:
        """The commands of the next `rows` periods [rows, D] without physics; row 0 is what `act` would return now.

        What the operator would send if nothing disturbed it: a label for any state. Its own command is left as it was.
        """
        command, velocity = self.command.copy(), self._velocity.copy()
        planned = [self.act(subtask)]
        for _ in range(rows - 1):
            for _ in range(max(1, round(period / self.period))):
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

    def displaced(self, side: str, tip_velocity: np.ndarray, joint_velocity: np.ndarray) -> np.ndarray:
        """The command [D] one period on if that arm were pushed: its fingertip [3] m/s, its joints [6] rad/s."""
        self._place(self.command)
        move = self._joint_velocity(side, self.command, tip_velocity) + joint_velocity
        command = self.command.copy()
        fastest = self._fastest[self._arm[side]]
        command[self._arm[side]] += np.clip(move, -fastest, fastest) * self.period
        return np.asarray(np.clip(command, self._lower, self._upper))

    def _place(self, command: np.ndarray) -> None:
        """Kinematics of the scratch model: commanded joints on the true base."""
        data = self._data
        data.qpos[:] = self.sim.data.qpos
        data.qpos[self._qpos[1]] = command[self._qpos[0]]
        mujoco.mj_kinematics(self.sim.model, data)
        mujoco.mj_comPos(self.sim.model, data)

    def _tips_at_home(self) -> dict[str, np.ndarray]:
        """Fingertips of the home posture in the base frame."""
        self._place(self._home)
        place, turn = self._data.xpos[self._base], self._data.xmat[self._base].reshape(3, 3)
        return {s: (self._data.xpos[self._tip[s]] - place) @ turn for s in SIDES}

    def _step(self, goal: tuple[str, str] | None) -> np.ndarray:
        wanted = np.zeros(len(self.command))
        tips = {s: self._data.xpos[self._tip[s]] for s in SIDES}
        apart = math.dist(tips["left"][:2], tips["right"][:2])
        for side in SIDES:
            working = goal is not None and goal[1] == side
            tip = self._reaching(tips[side], goal[0], apart) if goal and working else self._retreating(side, tips[side])
            wanted[self._arm[side]] = self._joint_velocity(side, self.command, tip)
            grip = self._grip[side]
            wanted[grip] = 4.0 * ((0.0 if working else 1.0) - self.command[grip])
        wanted[self._lift] = 1.5 * (LIFT_HOME - self.command[self._lift])
        return self._integrate(wanted)

    def _reaching(self, tip: np.ndarray, colour: str, apart: float) -> tuple[float, float, float]:
        """Fingertip velocity of the funnel over a block."""
        s = self.settings
        x, y, top = self.sim.block_top(colour)
        distance = math.hypot(x - tip[0], y - tip[1])
        height = top - s.depth + (s.hover + s.depth) * _smooth((distance - s.near) / (s.far - s.near))
        wait = _bounded((apart - 0.6 * s.keep_apart) / (0.4 * s.keep_apart), 0.0, 1.0)
        return self._velocity_to((x - tip[0], y - tip[1]), height - tip[2], wait if distance > s.far else 1.0)

    def _retreating(self, side: str, tip: np.ndarray) -> tuple[float, float, float]:
        """Fingertip velocity of the idle arm: up first, then home."""
        turn = self._data.xmat[self._base].reshape(3, 3)
        x, y, top = self._data.xpos[self._base] + turn @ self._home_tip[side]
        distance = math.hypot(x - tip[0], y - tip[1])
        hover = BLOCK_TOP + self.settings.hover
        height = hover + (top - hover) * _smooth(1.0 - distance / 0.25)
        return self._velocity_to((x - tip[0], y - tip[1]), height - tip[2], 1.0)

    def _velocity_to(self, way: tuple[float, float], climb: float, share: float) -> tuple[float, float, float]:
        """Horizontal speed proportional to the way and bounded; less the further the tip is below its height."""
        s = self.settings
        distance = math.hypot(*way)
        speed = min(s.speed, s.gain * distance) * share * _bounded(1.0 - (climb - 0.01) / s.slack, 0.0, 1.0)
        factor = speed / max(distance, 1e-9)
        return way[0] * factor, way[1] * factor, _bounded(4.0 * climb, -s.speed, s.speed)

    def _uprightness(self, side: str) -> float:
        """Cosine between the gripper's pointing direction and straight down."""
        return -float(self._data.xmat[self._tip[side]][6])

    def _joint_velocity(self, side: str, command: np.ndarray, tip_velocity: Sequence[float] | np.ndarray) -> np.ndarray:
        """Joint velocities [6] that move the tip so and turn the gripper down; joints 4 and 6 tend to zero."""
        mujoco.mj_jacBody(self.sim.model, self._data, self._linear, self._angular, self._tip[side])
        pointing = self._data.xmat[self._tip[side]][::3]
        across = 0.3 * (_EYE3 - pointing[:, None] * pointing)  # turning about the pointing axis is free
        jacobian = np.empty((6, 6))
        jacobian[:3] = self._linear[:, self._dofs[side]]
        jacobian[3:] = across @ self._angular[:, self._dofs[side]]
        goal = np.empty(6)
        goal[:3] = tip_velocity
        goal[3:] = 3.0 * (across @ (-pointing[1], pointing[0], 0.0))  # pointing x down
        posture = -2.0 * _POSTURE * command[self._arm[side]]
        damped = jacobian @ jacobian.T + _DAMPING
        return np.asarray(posture + jacobian.T @ np.linalg.solve(damped, goal - jacobian @ posture))

    def _integrate(self, wanted: np.ndarray) -> np.ndarray:
        """Bound velocity and acceleration, move the command; base channels stay zero."""
        for joints in self._arm.values():  # one factor for an arm keeps the direction
            wanted[joints] /= max(1.0, (np.abs(wanted[joints]) / self._fastest[joints]).max())
        wanted = np.minimum(np.maximum(wanted, -self._fastest), self._fastest)
        change = self.settings.acceleration * self.period
        velocity = np.minimum(np.maximum(wanted, self._velocity - change), self._velocity + change)
        moved = np.minimum(np.maximum(self.command + velocity * self.period, self._lower), self._upper)
        self._velocity = (moved - self.command) / self.period
        self.command = moved
        return np.array(moved)


def _bounded(x: float, lower: float, upper: float) -> float:
    return float(min(max(x, lower), upper))


def _smooth(x: float) -> float:
    """Smoothstep: 0 below 0, 1 above 1."""
    x = _bounded(x, 0.0, 1.0)
    return x * x * (3 - 2 * x)
