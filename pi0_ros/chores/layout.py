"""What differs from one start to the next: shapes, sizes and masses of the blocks, where they lie, how the robot stands."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from pi0_ros.chores.scenery import Shape, settle_masses, shape_block
from pi0_ros.sim.robot import SimRobot
from pi0_ros.sim.scene import Scene, sample_scene
from pi0_ros.sim.world import COLOURS, TABLE_TOP

# Region of the blocks' middles in the world frame, m. Both arms grasp in all of it, gripper pointing down.
PICK_X, PICK_Y = (0.44, 0.66), (-0.24, 0.24)
GAP = 0.115  # least distance of two blocks' middles: an open hand fits between them
LIGHTEST, HEAVIEST = 0.030, 0.120  # kg


@dataclass(frozen=True)
class Layout:
    """A start: the scene with the places of the blocks, and their shapes by colour."""

    scene: Scene
    shapes: Mapping[str, Shape]

    def load(self, sim: SimRobot) -> None:
        """Start the simulation anew in this layout."""
        for colour, shape in self.shapes.items():
            shape_block(sim.model, colour, shape)
        settle_masses(sim.model)
        sim.load(self.scene)


def sample_layout(rng: np.random.Generator) -> Layout:
    """A random layout: blocks at least GAP apart in the region, turned in any way, and the robot a little off its home."""
    scene = replace(sample_scene(rng), blocks={})
    shapes = {colour: sample_shape(rng) for colour in COLOURS}
    places = _spread(rng, len(COLOURS))
    objects = {
        colour: (x, y, TABLE_TOP + shapes[colour].size[2] / 2, float(rng.uniform(-math.pi, math.pi)))
        for colour, (x, y) in zip(COLOURS, places, strict=True)
    }
    return Layout(replace(scene, objects=objects), shapes)


def sample_shape(rng: np.random.Generator) -> Shape:
    """A cube, a brick or a cylinder of wood, light to heavy."""
    kind = ("cube", "brick", "cylinder")[rng.integers(3)]
    density = float(rng.uniform(500, 1100))
    if kind == "cube":
        length = float(rng.uniform(0.036, 0.050))
        size, volume = (length, length, length), length**3
    elif kind == "brick":
        size = (float(rng.uniform(0.055, 0.070)), float(rng.uniform(0.030, 0.042)), float(rng.uniform(0.032, 0.045)))
        volume = size[0] * size[1] * size[2]
    else:
        width, height = float(rng.uniform(0.038, 0.050)), float(rng.uniform(0.036, 0.048))
        size, volume = (width, width, height), math.pi / 4 * width**2 * height
    mass = min(max(density * volume, LIGHTEST), HEAVIEST)
    return Shape("cylinder" if kind == "cylinder" else "box", size, mass)


def _spread(rng: np.random.Generator, count: int) -> list[tuple[float, float]]:
    while True:
        points = rng.uniform((PICK_X[0], PICK_Y[0]), (PICK_X[1], PICK_Y[1]), (count, 2))
        gaps = np.linalg.norm(points[:, None] - points[None], axis=-1) + np.eye(count)
        if gaps.min() >= GAP:
            return [(float(x), float(y)) for x, y in points]
