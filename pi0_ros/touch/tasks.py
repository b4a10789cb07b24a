"""Tasks with coloured blocks: touch one, or all of them. Success reads contacts of the physics and nothing else."""

from __future__ import annotations

import re

import numpy as np

from pi0_ros.sim.robot import SimRobot
from pi0_ros.sim.scene import sample_scene
from pi0_ros.sim.world import COLOURS, SIDES
from pi0_ros.touch.words import DONE, TOUCH_ALL

_SUBTASK = re.compile(rf"touch the ({'|'.join(COLOURS)}) block with the ({'|'.join(SIDES)}) arm")


def subtask_text(colour: str, side: str) -> str:
    """The low-level instruction for one block and arm."""
    return f"touch the {colour} block with the {side} arm"


def parse_subtask(text: str) -> tuple[str, str] | None:
    """(colour, side) of a low-level instruction, or None for any other text, such as "done"."""
    found = _SUBTASK.search(text.strip().lower())
    return (found[1], found[2]) if found else None


def next_subtask(sim: SimRobot) -> str:
    """What to do next for TOUCH_ALL: the first block in the order of COLOURS whose lamp is off, with the arm on whose
    side of the robot it lies (y >= 0 left, in the nominal base frame), else DONE."""
    for colour in COLOURS:
        if colour not in sim.lit:
            return subtask_text(colour, "left" if sim.block_positions[colour][1] >= 0 else "right")
    return DONE


class Reach:
    """Touch one named block with one named arm. The first touch of a block decides."""

    name = "reach"
    time_limit = 10.0

    def __init__(self) -> None:
        self.colour, self.side = COLOURS[0], SIDES[0]
        self.instruction = subtask_text(self.colour, self.side)

    def reset(self, sim: SimRobot, seed: int) -> str:
        """A random scene, target and arm; other lamps may be lit already, the target's never."""
        rng = np.random.default_rng(seed)
        self.colour = COLOURS[rng.integers(len(COLOURS))]
        self.side = SIDES[rng.integers(len(SIDES))]
        scene = sample_scene(rng, lit_chance=0.25)
        sim.load(type(scene)(scene.blocks, scene.lit - {self.colour}, scene.base, scene.start))
        self.instruction = subtask_text(self.colour, self.side)
        return self.instruction

    def success(self, sim: SimRobot) -> bool:
        """The first touch was the named block by the named gripper, in time."""
        first = sim.touches[0] if sim.touches else None
        return bool(first and (first.colour, first.side) == (self.colour, self.side) and first.time <= self.time_limit)

    def failed(self, sim: SimRobot) -> bool:
        """Something else was touched first, or time is over."""
        return not self.success(sim) and (bool(sim.touches) or sim.time >= self.time_limit)

    def subtask(self, sim: SimRobot) -> str:
        """The instruction itself."""
        return self.instruction

    def progress(self, sim: SimRobot) -> tuple[int, int]:
        """(1, 1) once touched, else (0, 1)."""
        return int(self.success(sim)), 1


class TouchAll:
    """Touch every block, in any order and with either arm."""

    name = "touch_all"
    time_limit = 40.0
    instruction = TOUCH_ALL

    def reset(self, sim: SimRobot, seed: int) -> str:
        """A random scene, all lamps off."""
        sim.load(sample_scene(np.random.default_rng(seed)))
        return self.instruction

    def success(self, sim: SimRobot) -> bool:
        """All lamps are lit, in time."""
        late = any(t.time > self.time_limit for t in sim.touches)
        return len(sim.lit) == len(COLOURS) and not late

    def failed(self, sim: SimRobot) -> bool:
        """Time is over with a lamp still off."""
        return not self.success(sim) and sim.time >= self.time_limit

    def subtask(self, sim: SimRobot) -> str:
        """`next_subtask`."""
        return next_subtask(sim)

    def progress(self, sim: SimRobot) -> tuple[int, int]:
        """(lamps lit, blocks)."""
        return len(sim.lit), len(COLOURS)
