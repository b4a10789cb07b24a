"""Tasks with blocks and bins. Success and progress read the physics and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

import mujoco
import numpy as np

from pi0_ros.chores.layout import sample_layout
from pi0_ros.chores.measure import block_pose, hand_opening, holders, over, placed_in
from pi0_ros.chores.operator import ChorePlanner
from pi0_ros.chores.scenery import BINS, furnish
from pi0_ros.chores.unseen import DrawsUnseen, Unseen
from pi0_ros.chores.words import PUT, UNSEEN_PHRASES, put_text
from pi0_ros.closed_loop.harness import Planner
from pi0_ros.closed_loop.rubric import load_rubric
from pi0_ros.sim.robot import SimRobot
from pi0_ros.sim.world import COLOURS, SIDES, TABLE_TOP

NEAR = 0.06  # m from the fingertips to the block's middle: approached
OPEN = 0.045  # m between the fingers
LIFTED = 0.03  # m


class Outcome(Enum):
    """What became of an episode so far."""

    OPEN = "open"
    SUCCESS = "success"
    FAILURE = "failure"


class PickPlace(DrawsUnseen):
    """Put one named block into one named bin, with either arm. The first block that lies in a bin decides."""

    name = "pick_place"
    time_limit = 25.0

    def __init__(self) -> None:
        """Raises RubricError when the rubric of the task cannot be read."""
        self.colour, self.side = COLOURS[0], SIDES[0]
        self.instruction = put_text(self.colour, self.side)
        self.rubric = load_rubric(self.name)
        self._points, self._height = 0, 0.0
        self._judged: tuple[bytes, Outcome] | None = None

    def furnish(self, spec: mujoco.MjSpec) -> None:
        """Blocks and bins."""
        furnish(spec)

    def operator(self, sim: SimRobot) -> Planner:
        """The script that solves it."""
        return ChorePlanner(sim)

    def reset(self, sim: SimRobot, seed: int) -> str:
        """A random layout, block, bin and, where words are unseen, phrase."""
        rng = np.random.default_rng(seed)
        self.colour = COLOURS[rng.integers(len(COLOURS))]
        self.side = SIDES[rng.integers(len(SIDES))]
        sample_layout(rng, self.colour, self.unseen).load(sim)
        phrase = UNSEEN_PHRASES[rng.integers(len(UNSEEN_PHRASES))] if Unseen.WORDS in self.unseen else PUT
        self.instruction = put_text(self.colour, self.side, phrase)
        self._points, self._judged = 0, None
        self._height = float(block_pose(sim, self.colour).place[2])
        return self.instruction

    def success(self, sim: SimRobot) -> bool:
        """The named block lies in the named bin, let go and at rest, in time."""
        return self._judge(sim) is Outcome.SUCCESS

    def failed(self, sim: SimRobot) -> bool:
        """Another block or another bin came first, the block fell off the table, or time is over."""
        return self._judge(sim) is Outcome.FAILURE

    def _judge(self, sim: SimRobot) -> Outcome:
        """What the physics says now. It is read once a state, however often and in which words it is asked."""
        state = np.concatenate([(sim.time,), sim.data.qpos, sim.data.qvel]).tobytes()
        if self._judged is None or self._judged[0] != state:
            placed = {colour: placed_in(sim, colour) for colour in COLOURS}
            self._points = max(self._points, self.rubric.points_of(self._step(sim, placed[self.colour])))
            self._judged = state, self._outcome(sim, placed)
        return self._judged[1]

    def _outcome(self, sim: SimRobot, placed: Mapping[str, str | None]) -> Outcome:
        if placed[self.colour] == self.side and sim.time <= self.time_limit:
            return Outcome.SUCCESS
        lost = block_pose(sim, self.colour).place[2] < TABLE_TOP
        wrong = any(side is not None for side in placed.values())
        return Outcome.FAILURE if wrong or lost or sim.time >= self.time_limit else Outcome.OPEN

    def subtask(self, sim: SimRobot) -> str:
        """The instruction itself."""
        return self.instruction

    def progress(self, sim: SimRobot) -> tuple[int, int]:
        """(points of the rubric, all of them): of the farthest step that was seen when anything was asked."""
        self._judge(sim)
        return self._points, self.rubric.total

    def _step(self, sim: SimRobot, placed: str | None) -> str | None:
        """The farthest step of the rubric that holds now. placed: the bin in which the block lies."""
        if placed == self.side:
            return "placed"
        place = block_pose(sim, self.colour).place
        if not holders(sim, self.colour):
            tips = [sim.data.body(f"{s}_tip").xpos for s in SIDES if hand_opening(sim, s) >= OPEN]
            return "approach" if any(np.linalg.norm(tip - place) <= NEAR for tip in tips) else None
        if place[2] < self._height + LIFTED:
            return "grasped"
        return "above_bin" if over(place, BINS[self.side]) else "lifted"
