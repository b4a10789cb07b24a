"""What differs from one start to the next: where the blocks lie, which lamps are lit, how the robot stands."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from pi0_ros.sim.world import COLOURS

# Table region of the blocks' centres in the world frame, m. Both arms reach all of it, gripper pointing down.
REGION_X = (0.48, 0.76)
REGION_Y = (-0.25, 0.25)
SPACING = 0.13

_ARM_HOME = (0.896, 0.225, 0.744, 0.0, 0.602, 0.0)
LIFT_HOME = 0.15
HOME: Mapping[str, float] = {
    **{f"left_joint{i + 1}": v for i, v in enumerate(_ARM_HOME)},
    **{f"right_joint{i + 1}": -v if i == 0 else v for i, v in enumerate(_ARM_HOME)},
    "left_gripper": 1.0,
    "right_gripper": 1.0,
    "lift": LIFT_HOME,
}


@dataclass(frozen=True)
class Scene:
    """A start.

    `blocks`: colour to (x, y, yaw) in the world frame. `lit`: colours whose lamp is on already.
    `objects`: name of any other thing that can be moved to (x, y, z, yaw) of its body; others stay where they were built.
    `base`: (x, y, yaw) of the base in the world frame. `start`: channel to value, for position and gripper channels.
    """

    blocks: Mapping[str, tuple[float, float, float]]
    lit: frozenset[str] = frozenset()
    base: tuple[float, float, float] = (0.0, 0.0, 0.0)
    start: Mapping[str, float] = field(default_factory=lambda: dict(HOME))
    objects: Mapping[str, tuple[float, float, float, float]] = field(default_factory=dict)


def sample_scene(rng: np.random.Generator, lit_chance: float = 0.0, wobble: float = 1.0) -> Scene:
    """A random start: blocks at least SPACING apart in the region, each lamp lit with `lit_chance`.

    `wobble` scales how far base (1.5 cm, 0.03 rad), lift (3 cm) and arms (0.12 rad) are off their home.
    """
    places = _spread(rng, len(COLOURS))
    order = rng.permutation(len(COLOURS))
    blocks = {c: (*places[i], float(rng.uniform(-math.pi, math.pi))) for c, i in zip(COLOURS, order, strict=True)}
    lit = frozenset(c for c in COLOURS if rng.random() < lit_chance)
    off = wobble * rng.uniform(-1.0, 1.0, 3) * (0.015, 0.015, 0.03)
    return Scene(blocks, lit, (float(off[0]), float(off[1]), float(off[2])), _start(rng, wobble))


def nothing_in_reach(start: Mapping[str, float]) -> Scene:
    """A start in which the robot stands as `start` says (channels that it lacks: at home), all blocks far behind it."""
    away = {colour: (-3.0, 0.5 * k, 0.0) for k, colour in enumerate(COLOURS)}
    return Scene(away, start={**HOME, **{name: value for name, value in start.items() if name in HOME}})


def _spread(rng: np.random.Generator, count: int) -> list[tuple[float, float]]:
    """Points in the region with at least SPACING between any two, by rejection."""
    while True:
        points = rng.uniform((REGION_X[0], REGION_Y[0]), (REGION_X[1], REGION_Y[1]), (count, 2))
        gaps = np.linalg.norm(points[:, None] - points[None], axis=-1) + np.eye(count)
        if gaps.min() >= SPACING:
            return [(float(x), float(y)) for x, y in points]


def _start(rng: np.random.Generator, wobble: float) -> dict[str, float]:
    start = dict(HOME)
    for name in start:
        if name == "lift":
            start[name] += 0.03 * wobble * float(rng.uniform(-1, 1))
        elif not name.endswith("gripper"):
            start[name] += 0.12 * wobble * float(rng.uniform(-1, 1))
    return start
