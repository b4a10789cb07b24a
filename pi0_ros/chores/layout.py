"""What differs from one start to the next: shapes, sizes and masses of the blocks, where they lie, how the robot stands."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

import numpy as np

from pi0_ros.chores.scenery import Shape, settle_masses, shape_block
from pi0_ros.chores.unseen import Unseen
from pi0_ros.sim.robot import SimRobot
from pi0_ros.sim.scene import Scene, sample_scene
from pi0_ros.sim.world import COLOURS, TABLE_TOP

# Region of the blocks' middles in the world frame, m. Both arms grasp in all of it, gripper pointing down.
PICK_X, PICK_Y = (0.44, 0.66), (-0.24, 0.24)
UNSEEN_X, UNSEEN_Y = (0.66, 0.70), (-0.16, 0.16)  # of a named block that lies where none was trained on
GAP = 0.115  # least distance of two blocks' middles: an open hand fits between them
LIGHTEST, HEAVIEST = 0.030, 0.120  # kg
SHADES, UNSEEN_SHADES = (0.9, 1.05), ((0.6, 0.75), (1.15, 1.3))  # of the blocks' colours


@dataclass(frozen=True)
class Layout:
    """A start: the scene with the places of the blocks; by colour their shapes, and how bright they are (1: as usual)."""

    scene: Scene
    shapes: Mapping[str, Shape]
    shades: Mapping[str, float]

    def load(self, sim: SimRobot) -> None:
        """Start the simulation anew in this layout."""
        for colour, shape in self.shapes.items():
            shape_block(sim.model, colour, shape, self.shades[colour])
        settle_masses(sim.model)
        sim.load(self.scene)


def sample_layout(rng: np.random.Generator, named: str = "", unseen: Collection[Unseen] = frozenset()) -> Layout:
    """A random layout: blocks at least GAP apart in the region, turned in any way, and the robot a little off its home.

    unseen: what is drawn from the ranges kept for evaluation: all blocks (OBJECTS), the place of block `named` (PLACES).
    """
    scene = replace(sample_scene(rng), blocks={})
    new = Unseen.OBJECTS in unseen
    shapes = {colour: sample_unseen_shape(rng) if new else sample_shape(rng) for colour in COLOURS}
    beyond = COLOURS.index(named) if Unseen.PLACES in unseen else None
    places = _spread(rng, len(COLOURS), beyond)
    objects = {
        colour: (x, y, TABLE_TOP + shapes[colour].size[2] / 2, float(rng.uniform(-math.pi, math.pi)))
        for colour, (x, y) in zip(COLOURS, places, strict=True)
    }
    shades = {c: float(rng.uniform(*(UNSEEN_SHADES[rng.integers(2)] if new else SHADES))) for c in COLOURS}
    return Layout(replace(scene, objects=objects), shapes, shades)


def sample_shape(rng: np.random.Generator) -> Shape:
    """A cube, a brick or a cylinder of wood, light to heavy."""
    return _sample_seen(("cube", "brick", "cylinder")[rng.integers(3)], rng)


def sample_shape_of(kind: str, rng: np.random.Generator, unseen: bool = False) -> Shape:
    """A "block", which is a cube or a brick, or a "can". unseen: of the ranges of `sample_unseen_shape`."""
    if unseen:
        return _unseen_of(kind, float(rng.uniform(500, 1100)), rng)
    return _sample_seen("cylinder" if kind == "can" else ("cube", "brick")[rng.integers(2)], rng)


def _sample_seen(kind: str, rng: np.random.Generator) -> Shape:
    density = float(rng.uniform(500, 1100))
    if kind == "cube":
        length = float(rng.uniform(0.036, 0.050))
        return _wooden("box", (length, length, length), density)
    if kind == "brick":
        size = (float(rng.uniform(0.055, 0.070)), float(rng.uniform(0.030, 0.042)), float(rng.uniform(0.032, 0.045)))
        return _wooden("box", size, density)
    width, height = float(rng.uniform(0.038, 0.050)), float(rng.uniform(0.036, 0.048))
    return _wooden("cylinder", (width, width, height), density)


def sample_unseen_shape(rng: np.random.Generator) -> Shape:
    """A longer brick or a slimmer, taller cylinder than any that `sample_shape` draws."""
    density = float(rng.uniform(500, 1100))
    return _unseen_of("block" if rng.random() < 0.5 else "can", density, rng)


def _unseen_of(kind: str, density: float, rng: np.random.Generator) -> Shape:
    if kind == "block":
        size = (float(rng.uniform(0.072, 0.080)), float(rng.uniform(0.026, 0.030)), float(rng.uniform(0.028, 0.034)))
        return _wooden("box", size, density)
    width, height = float(rng.uniform(0.032, 0.037)), float(rng.uniform(0.049, 0.056))
    return _wooden("cylinder", (width, width, height), density)


def _wooden(kind: str, size: tuple[float, float, float], density: float) -> Shape:
    volume = size[0] * size[1] * size[2] * (math.pi / 4 if kind == "cylinder" else 1.0)
    return Shape(kind, size, min(max(density * volume, LIGHTEST), HEAVIEST))


def _spread(rng: np.random.Generator, count: int, beyond: int | None = None) -> list[tuple[float, float]]:
    """Points at least GAP apart; number `beyond` in the strip that is kept for evaluation."""
    while True:
        points = rng.uniform((PICK_X[0], PICK_Y[0]), (PICK_X[1], PICK_Y[1]), (count, 2))
        if beyond is not None:
            points[beyond] = rng.uniform((UNSEEN_X[0], UNSEEN_Y[0]), (UNSEEN_X[1], UNSEEN_Y[1]))
        gaps = np.linalg.norm(points[:, None] - points[None], axis=-1) + np.eye(count)
        if gaps.min() >= GAP:
            return [(float(x), float(y)) for x, y in points]
