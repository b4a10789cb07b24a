"""What a person beside the robot knows: where objects and fingertips are, and when it goes wrong.

A copy of the scene is kept in step with what the robot says of its joints and its base. Nothing is read from the
simulation that plays the robot.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import mujoco
import numpy as np
from numpy.typing import NDArray

from pi0_ros.robot import Robot
from pi0_ros.sim.robot import SimRobot
from pi0_ros.sim.tasks import make_task
from pi0_ros.sim.world import BASE_JOINTS
from pi0_ros.touch.operator import Operator
from pi0_ros.touch.tasks import parse_subtask

Pose = tuple[float, float, float]


@dataclass(frozen=True)
class Patience:
    """What is looked at before taking over. window [s]: in which the fingertip has to come `progress` [m] closer to its
    block, from the `grace` [s] on that the executor takes to start gently. low, beside [m]: a fingertip so little above the
    blocks' tops, and so far from its block but no further than `there`, sinks beside it."""

    grace: float = 1.5
    window: float = 1.5
    progress: float = 0.03
    low: float = 0.03
    beside: float = 0.06
    there: float = 0.20


def goes_wrong(seen: Sequence[tuple[float, float, float, float]], patience: Patience) -> str:
    """Why a person would take over, "" while all is well.

    seen: time [s] since the policy drives, distance to the block, horizontal distance, height above its top [m] of the fingertip, oldest first.
    """
    if not seen:
        return ""
    now, distance, beside, height = seen[-1]
    if height < patience.low and patience.beside < beside < patience.there:
        return f"it sinks {100 * beside:.0f} cm beside the block"
    before = [d for t, d, _, _ in seen if patience.grace <= t <= now - patience.window]
    if before and before[-1] - distance < patience.progress:
        return f"it came {100 * (before[-1] - distance):.0f} cm closer in {patience.window:g} s"
    return ""


class Bystander:
    """Watches one scene after another."""

    def __init__(self, robot: Robot, patience: Patience | None = None, period: float = 0.02) -> None:
        """period: seconds between two calls of `lead`."""
        self.robot, self.patience, self.sim = robot, patience or Patience(), SimRobot(robot)
        self.operator = Operator(robot, self.sim, period)
        self._joints = {joint: at for joint, at in self.sim.world.qpos.items() if joint not in BASE_JOINTS}
        self._seen: deque[tuple[float, float, float, float]] = deque(maxlen=400)
        self.task = make_task("reach")
        self.task.reset(self.sim, 0)

    def begin(self, task: str, seed: int) -> str:
        """Another scene, known by its task and seed; what is to be done in it, in words."""
        self.task = make_task(task)
        self._seen.clear()
        return self.task.reset(self.sim, seed)

    def see(self, seconds: float, joints: Mapping[str, float], pose: Pose) -> None:
        """Where the robot is `seconds` after the scene began: joints [rad or m], base (x, y, yaw) against its start."""
        data, (ox, oy, turned), (x, y, yaw) = self.sim.data, self.sim.scene.base, pose
        c, s = np.cos(turned), np.sin(turned)
        data.time = seconds
        for joint, at in self._joints.items():
            if joint in joints:
                data.qpos[at] = joints[joint]
        for joint, value in zip(BASE_JOINTS, (ox + c * x - s * y, oy + s * x + c * y, turned + yaw), strict=True):
            data.qpos[self.sim.world.qpos[joint]] = value
        mujoco.mj_forward(self.sim.model, data)
        self.sim.lamps.feel(self.sim.data)
        self._look(seconds)

    def _look(self, now: float) -> None:
        goal = parse_subtask(self.task.subtask(self.sim))
        if goal is None:
            self._seen.clear()
            return
        colour, side = goal
        way = self.sim.block_top(colour) - self.sim.data.body(f"{side}_tip").xpos
        self._seen.append((now, float(np.linalg.norm(way)), float(np.hypot(way[0], way[1])), float(-way[2])))

    @property
    def objection(self) -> str:
        """Why a person would take over now, "" while all is well."""
        return goes_wrong(self._seen, self.patience)

    def look_anew(self) -> None:
        """Somebody else drives from here on: what was seen before says nothing of him."""
        self._seen.clear()

    @property
    def solved(self) -> bool:
        """Whether the task is done."""
        return bool(self.task.success(self.sim))

    @property
    def lost(self) -> bool:
        """Whether it cannot be done any more."""
        return bool(self.task.failed(self.sim))

    def take(self, command: NDArray[np.float64]) -> None:
        """Begin to drive from the robot's newest command [D]."""
        self.operator.set_command(np.asarray(command, np.float64))

    def lead(self, measured: NDArray[np.float64], reach: float = 0.15) -> NDArray[np.float64]:
        """Where the leader is moved in this period [D], at most `reach` [rad or m] ahead of the robot."""
        wanted = self.operator.act(self.task.subtask(self.sim))
        known = np.where(np.isfinite(measured), measured, wanted)
        held = np.clip(wanted, known - reach, known + reach)
        grips = [i for i, c in enumerate(self.robot.channels) if c.kind.value == "gripper"]
        held[grips] = wanted[grips]
        self.operator.command = held.copy()
        return np.asarray(held)

    def close(self) -> None:
        """Let go of the simulation."""
        self.sim.close()
