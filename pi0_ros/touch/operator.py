"""A scripted operator: where every joint should go next, from what can be seen now.

The fingertip of the working arm follows a velocity field, a funnel over its block: hover above the blocks while far,
sink while close. Its gripper closes; the idle arm rises, goes home and opens.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from pi0_ros.robot import Robot
from pi0_ros.sim.robot import SimRobot
from pi0_ros.sim.scene import HOME, LIFT_HOME
from pi0_ros.sim.world import BLOCK_TOP, SIDES
from pi0_ros.touch.arms import Arms
from pi0_ros.touch.funnel import bounded, smooth, velocity_to
from pi0_ros.touch.tasks import parse_subtask


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
    """

    def __init__(
        self, robot: Robot, sim: SimRobot, period: float = 0.02, settings: OperatorSettings | None = None
    ) -> None:
        """An operator called every `period` seconds."""
        self.robot, self.sim, self.period = robot, sim, period
        self.settings = settings or OperatorSettings()
        self.arms = Arms(robot, sim)
        self._fastest = np.array([c.limits.velocity for c in robot.channels]) * self.settings.share
        self._grip = {s: robot.index[f"{s}_gripper"] for s in SIDES}
        self._lift = robot.index["lift"]
        self._home_tip = self._tips_at_home()
        self.command, self._velocity = np.zeros(len(robot.channels)), np.zeros(len(robot.channels))
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
        self.arms.place(self.command)
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
        self.arms.place(self.command)
        return {s: self.arms.tip(s).copy() for s in SIDES}

    def displaced(self, side: str, tip_velocity: np.ndarray, joint_velocity: np.ndarray) -> np.ndarray:
        """The command [D] one period on if that arm were pushed: its fingertip [3] m/s, its joints [6] rad/s."""
        self.arms.place(self.command)
        move = self.arms.joint_velocity(side, self.command, tip_velocity) + joint_velocity
        command = self.command.copy()
        fastest = self._fastest[self.arms.joints[side]]
        command[self.arms.joints[side]] += np.clip(move, -fastest, fastest) * self.period
        return np.asarray(np.clip(command, self.arms.lower, self.arms.upper))

    def _tips_at_home(self) -> dict[str, np.ndarray]:
        """Fingertips of the home posture in the base frame."""
        self.arms.place(np.array([HOME.get(c, 0.0) for c in self.robot.channel_names]))
        place, turn = self.arms.base()
        return {s: (self.arms.tip(s) - place) @ turn for s in SIDES}

    def _step(self, goal: tuple[str, str] | None) -> np.ndarray:
        wanted = np.zeros(len(self.command))
        tips = {s: self.arms.tip(s) for s in SIDES}
        apart = math.dist(tips["left"][:2], tips["right"][:2])
        for side in SIDES:
            working = goal is not None and goal[1] == side
            tip = self._reaching(tips[side], goal[0], apart) if goal and working else self._retreating(side, tips[side])
            wanted[self.arms.joints[side]] = self.arms.joint_velocity(side, self.command, tip)
            grip = self._grip[side]
            wanted[grip] = 4.0 * ((0.0 if working else 1.0) - self.command[grip])
        wanted[self._lift] = 1.5 * (LIFT_HOME - self.command[self._lift])
        return self._integrate(wanted)

    def _reaching(self, tip: np.ndarray, colour: str, apart: float) -> tuple[float, float, float]:
        """Fingertip velocity of the funnel over a block."""
        s = self.settings
        x, y, top = self.sim.block_top(colour)
        distance = math.hypot(x - tip[0], y - tip[1])
        height = top - s.depth + (s.hover + s.depth) * smooth((distance - s.near) / (s.far - s.near))
        wait = bounded((apart - 0.6 * s.keep_apart) / (0.4 * s.keep_apart), 0.0, 1.0)
        return self._velocity_to((x - tip[0], y - tip[1]), height - tip[2], wait if distance > s.far else 1.0)

    def _retreating(self, side: str, tip: np.ndarray) -> tuple[float, float, float]:
        """Fingertip velocity of the idle arm: up first, then home."""
        place, turn = self.arms.base()
        x, y, top = place + turn @ self._home_tip[side]
        distance = math.hypot(x - tip[0], y - tip[1])
        hover = BLOCK_TOP + self.settings.hover
        height = hover + (top - hover) * smooth(1.0 - distance / 0.25)
        return self._velocity_to((x - tip[0], y - tip[1]), height - tip[2], 1.0)

    def _velocity_to(self, way: tuple[float, float], climb: float, share: float) -> tuple[float, float, float]:
        s = self.settings
        return velocity_to(way, climb, s.speed, s.gain, s.slack, share)

    def _integrate(self, wanted: np.ndarray) -> np.ndarray:
        """Bound velocity and acceleration, move the command; base channels stay zero."""
        for joints in self.arms.joints.values():  # one factor for an arm keeps the direction
            wanted[joints] /= max(1.0, (np.abs(wanted[joints]) / self._fastest[joints]).max())
        wanted = np.minimum(np.maximum(wanted, -self._fastest), self._fastest)
        change = self.settings.acceleration * self.period
        velocity = np.minimum(np.maximum(wanted, self._velocity - change), self._velocity + change)
        moved = np.minimum(np.maximum(self.command + velocity * self.period, self.arms.lower), self.arms.upper)
        self._velocity = (moved - self.command) / self.period
        self.command = moved
        return np.array(moved)
