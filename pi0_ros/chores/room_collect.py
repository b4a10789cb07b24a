"""Episodes of the scripted operator in a room, as rows of a LeRobot dataset, with disturbances and what mends them.

Frames have the subtask that the operator follows (`task`), and what the high level is asked and has to answer. A new answer is
followed up to a second late, as a high level notices late. Beside what disturbs the operator at one table, the base is pushed.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from pi0_ros.chores.conditions import Conditions
from pi0_ros.chores.drive_task import DriveTo
from pi0_ros.chores.measure import block_pose, drawn_geom, holders
from pi0_ros.chores.recording import (
    AFTERWARDS,
    EVERY_ROW,
    ChoreSettings,
    Pictures,
    Recorded,
    Row,
    chore_features,
    finished_row,
    first_success,
    knock,
    measured_state,
    spots,
)
from pi0_ros.chores.room import OBJECTS, SURFACES, base_pose, place_of
from pi0_ros.chores.room_measure import standing
from pi0_ros.chores.room_operator import Errand, RoomOperator
from pi0_ros.chores.scenery import BIN_FLOOR
from pi0_ros.chores.tidy_task import Tidy
from pi0_ros.robot import Robot
from pi0_ros.sim.robot import SimRobot
from pi0_ros.sim.seeds import FIRST_UNSEEN_SEED
from pi0_ros.sim.tasks import robot_before
from pi0_ros.sim.world import SIDES, TABLE_TOP
from pi0_ros.touch.collect import check_cameras
from pi0_ros.touch.disturbance import Disturbance, DisturbedOperator, push
from pi0_ros.touch.localise import block_pixels
from pi0_ros.touch.record import Features

LATEST = 1.0  # s by which the operator follows a new subtask late
PUSHED = (0.30, 0.30, 0.60)  # m/s, m/s, rad/s: greatest velocity at which the base is pushed
Words = tuple[str, str, str]
"""The subtask that is followed, the task that the high level is given, and what it has to answer now."""


class RoomCollector:
    """One simulation that is used for episode after episode."""

    def __init__(self, robot: Robot, task: DriveTo | Tidy, settings: ChoreSettings) -> None:
        """Build the simulation. Raises SimError for a camera that the robot lacks."""
        check_cameras(robot, settings.cameras)
        self.settings, self.task = settings, task
        self.sim: SimRobot = robot_before(task, robot)
        self.operator = RoomOperator(robot, self.sim)

    @property
    def features(self) -> Features:
        """`chore_features` of all things of the room, and what the high level is asked and answers.

        `goal` is of the fingertips or, while the base drives, of the base: the table in the pictures and the way to its place.
        `aim`: the thing that is taken or put down, "" while the base drives.
        """
        text = {"dtype": "string", "shape": (1,), "names": None}
        columns = chore_features(self.sim.robot, self.settings, OBJECTS)
        return {**columns, "high_level_task": dict(text), "high_level_target": dict(text)}

    def episode(self, seed: int, seen: tuple[int, int] = EVERY_ROW) -> Recorded:
        """One successful episode, the same to the bit for a seed. seen: the first row with pictures, and how many rows it is to
        the next; each picture is as if there were all. Raises SimError when no start succeeds."""
        return first_success(
            self.sim, self.task, self.settings, (seed, 6011), lambda rng, drawn: self._attempt(rng, drawn, seen)
        )

    def _attempt(self, rng: np.random.Generator, conditions: Conditions, seen: tuple[int, int]) -> Iterator[Row]:
        self.task.reset(self.sim, int(rng.integers(FIRST_UNSEEN_SEED)))
        pictures = Pictures(self.sim, self.settings, conditions, rng, seen)
        asked = self.task.say(int(rng.integers(1000)))
        drives = isinstance(self.task, DriveTo)
        followed = asked if drives else self.task.subtask(self.sim)
        self.operator.sync()
        words: Words = (followed, asked, self.task.subtask(self.sim))
        disturbed = DisturbedOperator(
            self.operator, self.sim, rng, self.settings.fps, self.settings.push_rate,
            disturb=lambda text: self._disturb(rng, text), look=lambda _: pictures.next() | self._look(words),
        )  # fmt: skip
        end, due = math.inf, math.inf
        while self.sim.time < end and not self.task.failed(self.sim):
            if end == math.inf and self.task.success(self.sim):
                end = self.sim.time + AFTERWARDS + (0.0 if drives else LATEST)
            target = self.task.subtask(self.sim)
            if not drives and target != followed and due == math.inf:
                due = self.sim.time + float(rng.uniform(0.1, LATEST))
            if self.sim.time >= due:
                followed, due = target, math.inf
            words = (followed, asked, target)
            frame = disturbed.step(followed)
            if frame is not None:
                yield finished_row(frame, self.sim.robot, self.operator.grip_goal)

    def _look(self, words: Words) -> Row:
        followed, asked, target = words
        errand = self.operator.errand(followed)
        drawn = {name: drawn_geom(self.sim, name) for name in OBJECTS}
        return {
            "observation.state": measured_state(self.sim),
            "localisation": block_pixels(self.sim, self.settings.cameras, drawn).reshape(-1),
            "goal": self._goal(errand, self.operator.destination(followed)),
            "held": np.array([bool(holders(self.sim, name)) for name in OBJECTS], np.float32),
            "progress": np.array([self.task.progress(self.sim)[0]], np.int64),
            "aim": errand.name if errand else "",
            "task": followed,
            "high_level_task": asked,
            "high_level_target": target,
        }

    def _goal(self, errand: Errand | None, table: str | None) -> np.ndarray:
        """Where fingertips or base go next in each picture (x, y, visible), and the way there [3] m in the base frame; zeros for a
        robot that has nothing to do."""
        base = base_pose(self.sim)
        if errand is not None:
            place = block_pose(self.sim, errand.name).place
            if errand.spot is not None:
                place = errand.frame.point((*errand.spot, TABLE_TOP + BIN_FLOOR))
            way = place - self.sim.data.body(f"{errand.side}_tip").xpos
        elif table is not None:
            goal = place_of(self.sim, table)
            along, _, top = SURFACES[table]
            place = goal.point((sum(along) / 2, 0.0, top))
            way = np.array([goal.x - base.x, goal.y - base.y, 0.0])
        else:
            return np.zeros(3 * len(self.settings.cameras) + 3, np.float32)
        return np.array([*spots(self.sim, self.settings.cameras, place), *base.local_vector(way)], np.float32)

    def _disturb(self, rng: np.random.Generator, text: str) -> Disturbance:
        """Something new: a push of the base, a hand that lets go of what it carries before a table, a knock for the thing that is to be
        taken, or a push of an arm."""
        errand, now, kind = self.operator.errand(text), self.sim.time, rng.random()
        if kind < 0.3 or errand is None:
            twist = rng.uniform(-1.0, 1.0, 3) * PUSHED
            twist[0] = -abs(twist[0])  # never into a table
            return Disturbance(now + float(rng.uniform(0.3, 0.7)), twist=twist)
        if kind < 0.6 and errand.side in holders(self.sim, errand.name) and standing(self.sim):
            return Disturbance(now + float(rng.uniform(0.2, 0.4)), errand.side, opens=True)
        if kind < 0.6 and errand.spot is None:
            knock(self.sim, errand.name, rng)
            return Disturbance()
        return push(rng, now, errand.side if rng.random() < 0.8 else SIDES[rng.integers(2)])
