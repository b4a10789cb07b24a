"""The lamps of the blocks: the first touch of a gripper lights a block's lamp."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import mujoco
import numpy as np

from pi0_ros.sim.world import COLOURS, LIT_RGBA, SIDES, UNLIT_RGBA, World


@dataclass(frozen=True)
class Touch:
    """A gripper met a block: when (simulated s), which block, which arm."""

    time: float
    colour: str
    side: str


class Lamps:
    """touches: contacts of grippers with blocks since the reset, oldest first, once per block and side.

    lit: the colours whose lamp is on.
    """

    def __init__(self, world: World) -> None:
        side, colour = world.touch_side, world.touch_colour
        codes = np.where((side[:, None] >= 0) & (colour[None] >= 0), side[:, None] * 4 + colour[None], -1)
        self._codes = np.maximum(codes, codes.T)
        """What a pair of geoms means: 4 * side + colour if a gripper meets a block, -1 otherwise."""
        self._world = world
        self.touches: list[Touch] = []
        self.lit: set[str] = set()

    def reset(self, lit: Iterable[str]) -> None:
        """No touch yet, these lamps on and the others off."""
        self.touches, self.lit = [], set(lit)
        for colour in self._world.plate:
            self._show(colour, colour in self.lit)

    def feel(self, data: mujoco.MjData) -> None:
        """Note every gripper that meets a block now, and light that block's lamp."""
        pairs = data.contact.geom
        met = self._codes[pairs[:, 0], pairs[:, 1]]
        for code in sorted(set(met[met >= 0].tolist())):
            side, colour = SIDES[code // 4], COLOURS[code % 4]
            if not any(t.colour == colour and t.side == side for t in self.touches):
                self.touches.append(Touch(float(data.time), colour, side))
            if colour not in self.lit:
                self.lit.add(colour)
                self._show(colour, True)

    def _show(self, colour: str, on: bool) -> None:
        self._world.model.geom_rgba[self._world.plate[colour]] = LIT_RGBA if on else UNLIT_RGBA
