"""Episodes of the scripted operator with blocks and bins, as rows of a LeRobot dataset, with disturbances and what mends them.

Three things disturb it: the arm is pushed aside, a block is knocked away, a hand lets go of what it carries. The action of a frame is
what the operator means to do, also while it is being disturbed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pi0_ros.chores.measure import block_pose, holders, within
from pi0_ros.chores.operator import ChoreOperator
from pi0_ros.chores.tasks import PickPlace
from pi0_ros.robot import Robot
from pi0_ros.sim.errors import SimError
from pi0_ros.sim.robot import SimRobot, state_vector
from pi0_ros.sim.tasks import robot_before
from pi0_ros.sim.world import SIDES
from pi0_ros.touch.collect import check_cameras

Row = dict[str, Any]
ATTEMPTS = 10  # starts of one episode until one of them succeeds
AFTERWARDS = 0.6  # s that are recorded after the block lies in its bin
KNOCK = (0.3, 0.7)  # m/s that a block gets; friction stops it after 1 to 6 cm


@dataclass(frozen=True)
class ChoreSettings:
    """What is recorded. push_rate: disturbances a second."""

    cameras: tuple[str, ...] = ("base", "left_wrist", "right_wrist", "back")
    size: int = 224
    fps: int = 10
    push_rate: float = 0.25


@dataclass
class _Disturbance:
    """What happens to the robot until a time [s]: fingertip velocity [3] m/s and joint velocity [6] of an arm, or the hand
    that it opens."""

    until: float = -1.0
    side: str = "left"
    tip: np.ndarray = field(default_factory=lambda: np.zeros(3))
    joints: np.ndarray = field(default_factory=lambda: np.zeros(6))
    lets_go: bool = False


class ChoreCollector:
    """One simulation that is used for episode after episode."""

    def __init__(self, robot: Robot, settings: ChoreSettings) -> None:
        """Build the simulation. Raises SimError for a camera that the robot lacks."""
        check_cameras(robot, settings.cameras)
        self.settings, self.task = settings, PickPlace()
        self.sim: SimRobot = robot_before(self.task, robot)
        self.operator = ChoreOperator(robot, self.sim)

    @property
    def features(self) -> dict[str, dict[str, Any]]:
        """The features of a LeRobot v3.0 info.json, without those that every dataset has.

        `perturbed`: 1 if the operator or the block was disturbed since the frame before. `aim`: the colour of the block.
        `progress`: points of the task's rubric.
        """
        names, size = list(self.sim.robot.channel_names), self.settings.size
        picture = {"dtype": "video", "shape": (size, size, 3), "names": ["height", "width", "channels"]}
        vector = {"dtype": "float32", "shape": (len(names),), "names": names}
        number = {"dtype": "int64", "shape": (1,), "names": None}
        return {
            **{f"observation.images.{camera}": dict(picture) for camera in self.settings.cameras},
            "observation.state": dict(vector),
            "action": dict(vector),
            "perturbed": dict(number),
            "progress": dict(number),
            "aim": {"dtype": "string", "shape": (1,), "names": None},
        }

    def rows(self, seed: int) -> list[Row]:
        """The frames of one successful episode under the names of `features`, and `task`; the same to the bit for a seed.

        A start that fails is thrown away and another one is drawn. Raises SimError when none of ATTEMPTS succeeds.
        """
        for attempt in range(ATTEMPTS):
            rng = np.random.default_rng([seed, 6007, attempt])
            rows = list(self._attempt(rng))
            if self.task.success(self.sim):
                return rows
        raise SimError(f"seed {seed}: the operator failed {ATTEMPTS} times; choose a smaller --push-rate")

    def _attempt(self, rng: np.random.Generator) -> Iterator[Row]:
        text = self.task.reset(self.sim, int(rng.integers(2**31)))
        self.operator.sync()
        period = self.operator.period
        every = round(1.0 / (self.settings.fps * period))
        now, disturbed, tick, end = _Disturbance(), False, 0, np.inf
        while self.sim.time < end and not self.task.failed(self.sim):
            if end == np.inf and self.task.success(self.sim):
                end = self.sim.time + AFTERWARDS
            if now.until < self.sim.time and rng.random() < self.settings.push_rate * period:
                now, disturbed = self._disturb(rng), True
            disturbing = now.until >= self.sim.time
            row = self._look(text, disturbed) if tick % every == 0 else None
            command = self.operator.act(text)
            if row is not None:
                yield {**row, "action": command.astype(np.float32)}
                disturbed = disturbing
            self.sim.set_command(self.sim.robot.channel_names, self._disturbed(now, command) if disturbing else command)
            self.sim.advance(period)
            disturbed = disturbed or disturbing
            tick += 1

    def _look(self, text: str, disturbed: bool) -> Row:
        done, _ = self.task.progress(self.sim)
        return {
            **{f"observation.images.{c}": self.sim.render(c, self.settings.size) for c in self.settings.cameras},
            "observation.state": state_vector(self.sim.robot, self.sim.measured()).astype(np.float32),
            "perturbed": np.array([int(disturbed)], np.int64),
            "progress": np.array([done], np.int64),
            "aim": self.task.colour,
            "task": text,
        }

    def _disturb(self, rng: np.random.Generator) -> _Disturbance:
        """Something new: a hand that lets go if it carries the block, else a knock for the block or a push for an arm."""
        colour, side, now = self.task.colour, self.task.side, self.sim.time
        kind = rng.random()
        if kind < 0.4 and side in holders(self.sim, colour):
            return _Disturbance(now + float(rng.uniform(0.2, 0.4)), side, lets_go=True)
        if kind < 0.4 and not within(block_pose(self.sim, colour).place, side):
            angle, speed = rng.uniform(-np.pi, np.pi), rng.uniform(*KNOCK)
            at = int(self.sim.model.joint(f"{colour}_free").dofadr[0])
            self.sim.data.qvel[at : at + 2] = speed * np.cos(angle), speed * np.sin(angle)
            return _Disturbance()
        pushed = side if rng.random() < 0.8 else SIDES[rng.integers(2)]
        tip = rng.uniform((-0.3, -0.3, -0.03), (0.3, 0.3, 0.2))
        return _Disturbance(now + float(rng.uniform(0.2, 0.5)), pushed, tip, rng.uniform(-0.3, 0.3, 6))

    def _disturbed(self, now: _Disturbance, command: np.ndarray) -> np.ndarray:
        """The command after one period of a disturbance; the operator goes on from there."""
        if now.lets_go:
            moved = command.copy()
            moved[self.sim.robot.index[f"{now.side}_gripper"]] = 1.0
        else:
            moved = self.operator.displaced(now.side, now.tip, now.joints)
        self.operator.set_command(moved)
        return moved
