"""Episodes of the scripted operator with blocks and bins, as rows of a LeRobot dataset, with disturbances and what mends them.

Three things disturb it: the arm is pushed aside, a block is knocked away, a hand lets go of what it carries. The action of a frame is
what the operator means to do, also while it is being disturbed; of a gripper it is where the fingers are to go, 0 closed or 1 open.
Words, light, the cameras' colours, noise and places, and the calibration of the arms vary from episode to episode.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from typing import Any

import numpy as np

from pi0_ros.chores.conditions import Conditions, Eyes, Ranges, draw_conditions
from pi0_ros.chores.measure import block_pose, drawn_geom, holders, within
from pi0_ros.chores.operator import ChoreOperator
from pi0_ros.chores.scenery import BIN_FLOOR, bin_centre
from pi0_ros.chores.tasks import PickPlace
from pi0_ros.chores.words import SEEN_PHRASES, put_text
from pi0_ros.robot import Robot
from pi0_ros.sim.errors import SimError
from pi0_ros.sim.robot import SimRobot, state_vector
from pi0_ros.sim.seeds import FIRST_UNSEEN_SEED
from pi0_ros.sim.tasks import robot_before
from pi0_ros.sim.world import COLOURS, SIDES, TABLE_TOP
from pi0_ros.touch.collect import check_cameras
from pi0_ros.touch.disturbance import Disturbance, DisturbedOperator, push
from pi0_ros.touch.localise import block_pixels, project
from pi0_ros.touch.localised import SPOT, WAY
from pi0_ros.touch.record import Features, base_features, named_numbers

Row = dict[str, Any]
ATTEMPTS = 10  # starts of one episode until one of them succeeds
PATIENCE = 16.0  # s after which a start counts as failed; with disturbances half of them take less than 7
AFTERWARDS = 0.6  # s that are recorded after the block lies in its bin
KNOCK = (0.3, 0.7)  # m/s that a block gets; friction stops it after 1 to 6 cm


@dataclass(frozen=True)
class ChoreSettings:
    """What is recorded. push_rate: disturbances a second. variety: how much conditions vary, 1 as usual, 0 not at all."""

    cameras: tuple[str, ...] = ("base", "left_wrist", "right_wrist", "back")
    size: int = 224
    fps: int = 10
    push_rate: float = 0.25
    variety: float = 1.0


@dataclass(frozen=True)
class Recorded:
    """One episode: its rows under the names of `ChoreCollector.features`, and `task`; how many starts failed before it, and the
    conditions under which it was recorded."""

    rows: tuple[Row, ...]
    failed_starts: int
    conditions: Conditions

    def note(self) -> dict[str, object]:
        """For the dataset's log of episodes."""
        return {"outcome": "success", "failed_starts": self.failed_starts, "conditions": self.conditions.note()}


class ChoreCollector:
    """One simulation that is used for episode after episode."""

    def __init__(self, robot: Robot, settings: ChoreSettings) -> None:
        """Build the simulation. Raises SimError for a camera that the robot lacks."""
        check_cameras(robot, settings.cameras)
        self.settings, self.task = settings, PickPlace()
        self.sim: SimRobot = robot_before(self.task, robot)
        self.operator = ChoreOperator(robot, self.sim)
        self._grips = {side: robot.index[f"{side}_gripper"] for side in SIDES}

    @property
    def features(self) -> Features:
        """`base_features` with the colour of the block as `aim`, and what only chores have.

        `goal`: where the fingertips go next, the block or the bin, in all pictures, and the way there from the working hand's
        fingertips [m], in the base frame. `held`: 1 for a block between the fingers of a hand. `progress`: points of the
        task's rubric.
        """
        cameras = self.settings.cameras
        goal = [*(f"{camera}.{n}" for camera in cameras for n in SPOT), *WAY]
        return {
            **base_features(self.sim.robot, cameras, self.settings.size),
            "goal": named_numbers(goal),
            "held": named_numbers(COLOURS),
            "progress": {"dtype": "int64", "shape": (1,), "names": None},
        }

    def episode(self, seed: int, seen: tuple[int, int] = (0, 1)) -> Recorded:
        """One successful episode, the same to the bit for a seed. seen: the first row with pictures, and how many rows it is to
        the next; each picture is as if there were all.

        A start that fails is thrown away and another one is drawn. Raises SimError when none of ATTEMPTS succeeds.
        """
        for attempt in range(ATTEMPTS):
            rng = np.random.default_rng([seed, 6007, attempt])
            conditions = draw_conditions(
                rng, self.sim.robot, self.settings.cameras, Ranges().scaled(self.settings.variety)
            )
            self.sim.change_world(conditions.world)
            rows = tuple(self._attempt(rng, conditions, seen))
            if self.task.success(self.sim):
                return Recorded(rows, attempt, conditions)
        raise SimError(f"seed {seed}: the operator failed {ATTEMPTS} times; choose a smaller --push-rate")

    def _attempt(self, rng: np.random.Generator, conditions: Conditions, seen: tuple[int, int]) -> Iterator[Row]:
        self.task.reset(self.sim, int(rng.integers(FIRST_UNSEEN_SEED)))
        text = put_text(self.task.colour, self.task.side, str(rng.choice(SEEN_PHRASES)))
        self.operator.sync()
        # Noise of its own, so that pictures change nothing else.
        eyes = Eyes(conditions, self.settings.size, np.random.default_rng(rng.integers(2**63)))
        looks, (first, step) = count(), seen
        disturbed = DisturbedOperator(
            self.operator, self.sim, rng, self.settings.fps, self.settings.push_rate,
            disturb=lambda _: self._disturb(rng),
            look=lambda _: self._pictures(eyes, (next(looks) - first) % step == 0) | self._look(text),
        )  # fmt: skip
        end = PATIENCE
        while self.sim.time < end and not self.task.failed(self.sim):
            if end == PATIENCE and self.task.success(self.sim):
                end = self.sim.time + AFTERWARDS
            row = disturbed.step(text)
            if row is not None:
                for side, grip in self._grips.items():
                    row["action"][grip] = self.operator.grip_goal[side]
                yield {**row, "perturbed": np.array([int(row["perturbed"])], np.int64)}

    def _pictures(self, eyes: Eyes, seen: bool) -> Row:
        cameras, size = self.settings.cameras, self.settings.size
        if seen:
            return {f"observation.images.{c}": eyes.see(c, self.sim.render(c, size)) for c in cameras}
        for _ in cameras:
            eyes.blink()
        return {}

    def _look(self, text: str) -> Row:
        cameras = self.settings.cameras
        done, _ = self.task.progress(self.sim)
        held = {colour: holders(self.sim, colour) for colour in COLOURS}
        drawn = {colour: drawn_geom(self.sim, colour) for colour in COLOURS}
        return {
            "observation.state": state_vector(self.sim.robot, self.sim.measured()).astype(np.float32),
            "localisation": block_pixels(self.sim, cameras, drawn).reshape(-1),
            "goal": self._goal(carried=self.task.side in held[self.task.colour]),
            "held": np.array([bool(hands) for hands in held.values()], np.float32),
            "progress": np.array([done], np.int64),
            "aim": self.task.colour,
            "task": text,
        }

    def _goal(self, carried: bool) -> np.ndarray:
        """Where the fingertips go next in each picture (x, y, visible), and from where they are [3] m in the base frame."""
        place = block_pose(self.sim, self.task.colour).place
        if carried or within(place, self.task.side):
            place = np.array([*bin_centre(self.task.side), TABLE_TOP + BIN_FLOOR])
        spots = [project(self.sim, camera, place) for camera in self.settings.cameras]
        turn = self.sim.data.body("base_link").xmat.reshape(3, 3)
        way = turn.T @ (place - self.sim.data.body(f"{self.task.side}_tip").xpos)
        seen = [(*spot, 1.0) if spot is not None else (0.0, 0.0, 0.0) for spot in spots]
        return np.array([*np.ravel(seen), *way], np.float32)

    def _disturb(self, rng: np.random.Generator) -> Disturbance:
        """Something new: a hand that lets go if it carries the block, else a knock for the block or a push for an arm."""
        colour, side, now = self.task.colour, self.task.side, self.sim.time
        kind = rng.random()
        if kind < 0.4 and side in holders(self.sim, colour):
            return Disturbance(now + float(rng.uniform(0.2, 0.4)), side, opens=True)
        if kind < 0.4 and not within(block_pose(self.sim, colour).place, side):
            angle, speed = rng.uniform(-np.pi, np.pi), rng.uniform(*KNOCK)
            at = int(self.sim.model.joint(f"{colour}_free").dofadr[0])
            self.sim.data.qvel[at : at + 2] = speed * np.cos(angle), speed * np.sin(angle)
            return Disturbance()
        return push(rng, now, side if rng.random() < 0.8 else SIDES[rng.integers(2)])
