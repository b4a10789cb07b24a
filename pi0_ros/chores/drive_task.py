"""The task of driving to a table. Success and progress read the physics and nothing else."""

from __future__ import annotations

import math

import mujoco
import numpy as np

from pi0_ros.chores.plane import PlanarPose
from pi0_ros.chores.room import SHELF_TOP, base_pose, base_twist, furnish_room, place_of, places
from pi0_ros.chores.room_layout import RoomLayout, sample_room_layout
from pi0_ros.chores.room_measure import stands_before
from pi0_ros.chores.room_operator import RoomPlanner
from pi0_ros.chores.room_words import DRIVE, OTHER, SEEN_DRIVES, UNSEEN_DRIVES, drive_text
from pi0_ros.chores.unseen import DrawsUnseen, Unseen
from pi0_ros.closed_loop.harness import Planner
from pi0_ros.closed_loop.rubric import load_rubric
from pi0_ros.sim.robot import SimRobot
from pi0_ros.sim.world import SIDES

NEAR, FACING = 0.60, 0.35  # m and rad: on the way
AWAY, AWAY_TURNED = 0.15, 0.35  # m and rad from the start: it has set off


class DriveTo(DrawsUnseen):
    """Drive to one named table of two. The first table before which the base stands at rest, once it has set off, decides."""

    name = "drive_to"
    time_limit = 25.0

    def __init__(self) -> None:
        """Raises RubricError when the rubric of the task cannot be read."""
        self.side, self.instruction = SIDES[0], drive_text(SIDES[0])
        self._word = SIDES[0]
        self.rubric = load_rubric(self.name)
        self._points, self._start, self._set_off, self._arrived = 0, PlanarPose(0, 0, 0), False, ""
        self._judged: bytes = b""

    def furnish(self, spec: mujoco.MjSpec) -> None:
        """The room."""
        furnish_room(spec)

    def operator(self, sim: SimRobot) -> Planner:
        """The script that solves it."""
        return RoomPlanner(sim)

    def reset(self, sim: SimRobot, seed: int) -> str:
        """A random room and table, which is called left or right, by its look or, where the base starts before another, the other.

        The words are the usual ones or, where words are unseen, a phrase of those kept for evaluation.
        """
        rng = np.random.default_rng(seed)
        layout = sample_room_layout(rng, self.unseen)
        self.side = SIDES[1 - SIDES.index(layout.before)] if layout.before else SIDES[rng.integers(2)]
        layout.load(sim)
        phrases = UNSEEN_DRIVES if Unseen.WORDS in self.unseen else (DRIVE,)
        self._word = self._drawn_word(rng, layout)
        self.instruction = drive_text(self._word, phrases[rng.integers(len(phrases))])
        self._start, self._set_off, self._arrived = base_pose(sim), False, ""
        self._points, self._judged = 0, b""
        return self.instruction

    def say(self, number: int) -> str:
        """Another way to say the same to whoever records: phrase `number`, counted round, of those that training data have."""
        self.instruction = drive_text(self._word, SEEN_DRIVES[number % len(SEEN_DRIVES)])
        return self.instruction

    def _drawn_word(self, rng: np.random.Generator, layout: RoomLayout) -> str:
        words = (self.side, layout.room.looks[self.side], *((OTHER,) if layout.before else ()))
        return str(words[rng.integers(len(words))])

    def success(self, sim: SimRobot) -> bool:
        """The base stands before the named table, at rest, in time."""
        self._judge(sim)
        return self._arrived == self.side and sim.time <= self.time_limit

    def failed(self, sim: SimRobot) -> bool:
        """It came to rest before another table first, something fell off a table, or time is over."""
        self._judge(sim)
        wrong = self._arrived not in ("", self.side)
        return wrong or (not self._arrived and sim.time >= self.time_limit) or self._fallen(sim)

    def subtask(self, sim: SimRobot) -> str:
        """The instruction, with the side of the table in place of other words for it."""
        return drive_text(self.side)

    def progress(self, sim: SimRobot) -> tuple[int, int]:
        """(points of the rubric, all of them): of the farthest step that was seen when anything was asked."""
        self._judge(sim)
        return self._points, self.rubric.total

    def _judge(self, sim: SimRobot) -> None:
        state = np.concatenate([(sim.time,), sim.data.qpos, sim.data.qvel]).tobytes()
        if state == self._judged:
            return
        self._judged = state
        base, twist = base_pose(sim), base_twist(sim)
        off = self._start.local(base)
        self._set_off = self._set_off or math.hypot(off.x, off.y) > AWAY or abs(off.yaw) > AWAY_TURNED
        if self._set_off and not self._arrived:
            stood = [side for side, place in places(sim).items() if stands_before(base, twist, place)]
            self._arrived = stood[0] if stood else ""
        self._points = max(self._points, self.rubric.points_of(self._step(sim, base)))

    def _step(self, sim: SimRobot, base: PlanarPose) -> str | None:
        """The farthest step of the rubric that holds now."""
        off = place_of(sim, self.side).local(base)
        if self._arrived == self.side:
            return "stands"
        if math.hypot(off.x, off.y) < NEAR:
            return "turned" if abs(off.yaw) < FACING else "near"
        return "set_off" if self._set_off else None

    def _fallen(self, sim: SimRobot) -> bool:
        heights = [sim.data.body(f"{name}_body").xpos[2] for name in sim.scene.objects]
        return any(height < SHELF_TOP for height in heights)
