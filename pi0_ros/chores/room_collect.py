"""Episodes of the scripted operator in a room, as rows of a LeRobot dataset, with disturbances and what mends them.

Frames have the subtask that the operator follows (`task`), and what the high level is asked and has to answer. A new answer is
followed up to a second late, as a high level notices late. Beside what disturbs the operator at one table, the base is pushed.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from pi0_ros.chores.collect import AFTERWARDS, ATTEMPTS, KNOCK, ChoreSettings, Recorded
from pi0_ros.chores.conditions import Eyes, Ranges, draw_conditions
from pi0_ros.chores.drive_task import DriveTo
from pi0_ros.chores.measure import block_pose, drawn_geom, holders
from pi0_ros.chores.room import OBJECTS, SURFACES, base_pose, place_of
from pi0_ros.chores.room_measure import standing
from pi0_ros.chores.room_operator import Errand, RoomOperator
from pi0_ros.chores.scenery import BIN_FLOOR
from pi0_ros.chores.tidy_task import Tidy
from pi0_ros.robot import Robot
from pi0_ros.sim.errors import SimError
from pi0_ros.sim.robot import SimRobot, state_vector
from pi0_ros.sim.seeds import FIRST_UNSEEN_SEED
from pi0_ros.sim.tasks import robot_before
from pi0_ros.sim.world import SIDES, TABLE_TOP
from pi0_ros.touch.collect import check_cameras
from pi0_ros.touch.disturbance import Disturbance, DisturbedOperator, push
from pi0_ros.touch.localise import block_pixels, project
from pi0_ros.touch.localised import SPOT, WAY
from pi0_ros.touch.record import Features, base_features, named_numbers

Row = dict[str, Any]
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
        self._grips = {side: robot.index[f"{side}_gripper"] for side in SIDES}

    @property
    def features(self) -> Features:
        """As those of `ChoreCollector`, with all things of the room in place of colours, and what the high level is asked and answers.

        `goal` is of the fingertips or, while the base drives, of the base: the table in the pictures and the way to its place.
        `aim`: the thing that is taken or put down, "" while the base drives.
        """
        cameras, text = self.settings.cameras, {"dtype": "string", "shape": (1,), "names": None}
        places = [f"{camera}.{name}.{n}" for camera in cameras for name in OBJECTS for n in SPOT]
        goal = [*(f"{camera}.{n}" for camera in cameras for n in SPOT), *WAY]
        return {
            **base_features(self.sim.robot, cameras, self.settings.size),
            "localisation": named_numbers(places),
            "goal": named_numbers(goal),
            "held": named_numbers(OBJECTS),
            "progress": {"dtype": "int64", "shape": (1,), "names": None},
            "high_level_task": dict(text),
            "high_level_target": dict(text),
        }

    def episode(self, seed: int) -> Recorded:
        """One successful episode, the same to the bit for a seed.

        A start that fails is thrown away and another one is drawn. Raises SimError when none of ATTEMPTS succeeds.
        """
        for attempt in range(ATTEMPTS):
            rng = np.random.default_rng([seed, 6011, attempt])
            conditions = draw_conditions(
                rng, self.sim.robot, self.settings.cameras, Ranges().scaled(self.settings.variety)
            )
            self.sim.change_world(conditions.world)
            self.task.reset(self.sim, int(rng.integers(FIRST_UNSEEN_SEED)))
            eyes = Eyes(conditions, self.settings.size, np.random.default_rng(rng.integers(2**63)))
            rows = tuple(self._attempt(rng, eyes))
            if self.task.success(self.sim):
                return Recorded(rows, attempt, conditions)
        raise SimError(f"seed {seed}: the operator failed {ATTEMPTS} times; choose a smaller --push-rate")

    def _attempt(self, rng: np.random.Generator, eyes: Eyes) -> Iterator[Row]:
        asked = self.task.say(int(rng.integers(1000)))
        drives = isinstance(self.task, DriveTo)
        followed = asked if drives else self.task.subtask(self.sim)
        self.operator.sync()
        words: Words = (followed, asked, self.task.subtask(self.sim))
        disturbed = DisturbedOperator(
            self.operator, self.sim, rng, self.settings.fps, self.settings.push_rate,
            disturb=lambda text: self._disturb(rng, text), look=lambda _: self._look(words, eyes),
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
            row = disturbed.step(followed)
            if row is not None:
                for side, grip in self._grips.items():
                    row["action"][grip] = self.operator.grip_goal[side]
                yield {**row, "perturbed": np.array([int(row["perturbed"])], np.int64)}

    def _look(self, words: Words, eyes: Eyes) -> Row:
        cameras, size = self.settings.cameras, self.settings.size
        followed, asked, target = words
        errand = self.operator.errand(followed)
        drawn = {name: drawn_geom(self.sim, name) for name in OBJECTS}
        return {
            **{f"observation.images.{c}": eyes.see(c, self.sim.render(c, size)) for c in cameras},
            "observation.state": state_vector(self.sim.robot, self.sim.measured()).astype(np.float32),
            "localisation": block_pixels(self.sim, cameras, drawn).reshape(-1),
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
        return np.array([*self._seen(place), *base.local_vector(way)], np.float32)

    def _seen(self, place: np.ndarray) -> Sequence[float]:
        spots = [project(self.sim, camera, place) for camera in self.settings.cameras]
        return [v for spot in spots for v in ((*spot, 1.0) if spot is not None else (0.0, 0.0, 0.0))]

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
            angle, speed = rng.uniform(-np.pi, np.pi), rng.uniform(*KNOCK)
            at = int(self.sim.model.joint(f"{errand.name}_free").dofadr[0])
            self.sim.data.qvel[at : at + 2] = speed * np.cos(angle), speed * np.sin(angle)
            return Disturbance()
        return push(rng, now, errand.side if rng.random() < 0.8 else SIDES[rng.integers(2)])
