"""Episodes of the scripted operator with blocks and bins, as rows of a LeRobot dataset, with disturbances and what mends them.

Three things disturb it: the arm is pushed aside, a block is knocked away, a hand lets go of what it carries. The action of a frame is
what the operator means to do, also while it is being disturbed; of a gripper it is where the fingers are to go, 0 closed or 1 open.
Words, light, the cameras' colours, noise and places, and the calibration of the arms vary from episode to episode.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from pi0_ros.chores.conditions import Conditions
from pi0_ros.chores.measure import block_pose, drawn_geom, holders, within
from pi0_ros.chores.operator import ChoreOperator
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
from pi0_ros.chores.scenery import BIN_FLOOR, bin_centre
from pi0_ros.chores.tasks import PickPlace
from pi0_ros.chores.words import SEEN_PHRASES, put_text
from pi0_ros.robot import Robot
from pi0_ros.sim.robot import SimRobot
from pi0_ros.sim.seeds import FIRST_UNSEEN_SEED
from pi0_ros.sim.tasks import robot_before
from pi0_ros.sim.world import COLOURS, SIDES, TABLE_TOP
from pi0_ros.touch.collect import check_cameras
from pi0_ros.touch.disturbance import Disturbance, DisturbedOperator, push
from pi0_ros.touch.localise import block_pixels
from pi0_ros.touch.record import Features

PATIENCE = 16.0  # s after which a start counts as failed; with disturbances half of them take less than 7


class ChoreCollector:
    """One simulation that is used for episode after episode."""

    def __init__(self, robot: Robot, settings: ChoreSettings) -> None:
        """Build the simulation. Raises SimError for a camera that the robot lacks."""
        check_cameras(robot, settings.cameras)
        self.settings, self.task = settings, PickPlace()
        self.sim: SimRobot = robot_before(self.task, robot)
        self.operator = ChoreOperator(robot, self.sim)

    @property
    def features(self) -> Features:
        """`chore_features` of the colours: `aim` is that of the block, and `goal` leads to the block or to the bin."""
        return chore_features(self.sim.robot, self.settings, COLOURS)

    def episode(self, seed: int, seen: tuple[int, int] = EVERY_ROW) -> Recorded:
        """One successful episode, the same to the bit for a seed. seen: the first row with pictures, and how many rows it is to
        the next; each picture is as if there were all. Raises SimError when no start succeeds."""
        return first_success(
            self.sim, self.task, self.settings, (seed, 6007), lambda rng, drawn: self._attempt(rng, drawn, seen)
        )

    def _attempt(self, rng: np.random.Generator, conditions: Conditions, seen: tuple[int, int]) -> Iterator[Row]:
        self.task.reset(self.sim, int(rng.integers(FIRST_UNSEEN_SEED)))
        text = put_text(self.task.colour, self.task.side, str(rng.choice(SEEN_PHRASES)))
        self.operator.sync()
        pictures = Pictures(self.sim, self.settings, conditions, rng, seen)
        disturbed = DisturbedOperator(
            self.operator, self.sim, rng, self.settings.fps, self.settings.push_rate,
            disturb=lambda _: self._disturb(rng), look=lambda _: pictures.next() | self._look(text),
        )  # fmt: skip
        end = PATIENCE
        while self.sim.time < end and not self.task.failed(self.sim):
            if end == PATIENCE and self.task.success(self.sim):
                end = self.sim.time + AFTERWARDS
            frame = disturbed.step(text)
            if frame is not None:
                yield finished_row(frame, self.sim.robot, self.operator.grip_goal)

    def _look(self, text: str) -> Row:
        cameras = self.settings.cameras
        done, _ = self.task.progress(self.sim)
        held = {colour: holders(self.sim, colour) for colour in COLOURS}
        drawn = {colour: drawn_geom(self.sim, colour) for colour in COLOURS}
        return {
            "observation.state": measured_state(self.sim),
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
        turn = self.sim.data.body("base_link").xmat.reshape(3, 3)
        way = turn.T @ (place - self.sim.data.body(f"{self.task.side}_tip").xpos)
        return np.array([*spots(self.sim, self.settings.cameras, place), *way], np.float32)

    def _disturb(self, rng: np.random.Generator) -> Disturbance:
        """Something new: a hand that lets go if it carries the block, else a knock for the block or a push for an arm."""
        colour, side, now = self.task.colour, self.task.side, self.sim.time
        kind = rng.random()
        if kind < 0.4 and side in holders(self.sim, colour):
            return Disturbance(now + float(rng.uniform(0.2, 0.4)), side, opens=True)
        if kind < 0.4 and not within(block_pose(self.sim, colour).place, side):
            knock(self.sim, colour, rng)
            return Disturbance()
        return push(rng, now, side if rng.random() < 0.8 else SIDES[rng.integers(2)])
