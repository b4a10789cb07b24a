"""What differs from one start in a room to the next: where the furniture stands, what lies on it, where the robot is."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

import numpy as np

from pi0_ros.chores.layout import GAP, PICK_X, PICK_Y, SHADES, UNSEEN_SHADES, sample_shape_of
from pi0_ros.chores.plane import PlanarPose
from pi0_ros.chores.room import FURNITURE, KINDS, OBJECTS, SHELF, SURFACES, Room, floor_between
from pi0_ros.chores.scenery import Shape, hide_block, settle_masses, shape_block
from pi0_ros.chores.unseen import Unseen
from pi0_ros.sim.robot import SimRobot
from pi0_ros.sim.scene import Scene, sample_scene
from pi0_ros.sim.world import COLOURS, SIDES, TABLE_X

NEAREST, FARTHEST, UNSEEN_FARTHEST = (
    1.5,
    2.7,
    3.0,
)  # m of floor between the tables; the last part is kept for evaluation
ASIDE, ASKEW = (
    0.30,
    0.20,
)  # rad: how far off 90 degrees to the left and right tables stand, and how they are turned there
SEEN_LOOKS, UNSEEN_LOOKS = ("wooden", "white"), ("black", "grey")
MIDDLE = 0.25  # m around the middle of the floor: where a robot that stands before no table starts
MOST_ON_A_TABLE, MOST_ON_THE_SHELF = 3, 2
SHELF_AWAY = (
    1.50,
    1.90,
)  # m from the middle of the room to that of the shelf, straight ahead for whoever comes in by the door
APART = 0.15  # m between the shelf and a table at least


@dataclass(frozen=True)
class RoomLayout:
    """A start: the room, the scene with places of things (world frame) and base, their shapes, and how bright they are (1: as usual).

    before: name of the table before which the robot starts, "" for none. on: thing to the piece of furniture on which it lies.
    """

    room: Room
    scene: Scene
    shapes: Mapping[str, Shape]
    shades: Mapping[str, float]
    before: str
    on: Mapping[str, str]

    def load(self, sim: SimRobot) -> None:
        """Start the simulation anew in this layout."""
        self.room.arrange(sim.model)
        for name in OBJECTS:
            if name in self.shapes:
                shape_block(sim.model, name, self.shapes[name], self.shades[name])
            else:
                hide_block(sim.model, name)
        settle_masses(sim.model)
        sim.load(self.scene)


def sample_room_layout(rng: np.random.Generator, unseen: Collection[Unseen] = frozenset()) -> RoomLayout:
    """A random room: tables to the left and right, one to MOST_ON_A_TABLE things on each and up to MOST_ON_THE_SHELF on the shelf, the
    robot before a table or between.

    unseen: what is drawn from the ranges kept for evaluation: tables of other colours and things of other shapes (OBJECTS), tables
    farther apart (PLACES).
    """
    room = _sample_room(rng, unseen)
    scene = replace(sample_scene(rng), blocks={})
    on = _share_out(rng)
    new = Unseen.OBJECTS in unseen
    shapes = {name: sample_shape_of(name.partition("_")[2], rng, new) for name in on}
    objects = {}
    for piece in FURNITURE:
        names = [name for name in on if on[name] == piece]
        for name, spot in zip(names, _spots(rng, len(names)), strict=True):
            x, y, z = room.places[piece].point((*spot, SURFACES[piece][2] + shapes[name].size[2] / 2))
            objects[name] = (float(x), float(y), float(z), float(rng.uniform(-math.pi, math.pi)))
    shades = {n: float(rng.uniform(*(UNSEEN_SHADES[rng.integers(2)] if new else SHADES))) for n in on}
    before = SIDES[rng.integers(2)] if rng.random() < 0.6 else ""
    base = _standing(scene.base, room.places[before]) if before else _between(rng, room)
    return RoomLayout(room, replace(scene, objects=objects, base=base), shapes, shades, before, on)


def _sample_room(rng: np.random.Generator, unseen: Collection[Unseen]) -> Room:
    looks = UNSEEN_LOOKS if Unseen.OBJECTS in unseen else SEEN_LOOKS
    least, most = (FARTHEST, UNSEEN_FARTHEST) if Unseen.PLACES in unseen else (NEAREST, FARTHEST)
    drawn = dict(zip(SIDES, rng.permutation(looks).tolist(), strict=True))
    while True:
        placed = {side: _sample_place(rng, (math.pi / 2, -math.pi / 2)[n], least, most) for n, side in enumerate(SIDES)}
        placed[SHELF] = _sample_shelf(rng)
        apart = min(floor_between(placed[side], placed[SHELF], (side, SHELF)) for side in SIDES)
        if least <= floor_between(placed[SIDES[0]], placed[SIDES[1]]) <= most and apart >= APART:
            return Room(placed, drawn)


def _sample_shelf(rng: np.random.Generator) -> PlanarPose:
    away, yaw = float(rng.uniform(*SHELF_AWAY)), float(rng.uniform(-ASKEW / 2, ASKEW / 2))
    middle = sum(SURFACES[SHELF][0]) / 2
    return PlanarPose(away - middle * math.cos(yaw), -middle * math.sin(yaw), yaw)


def _sample_place(rng: np.random.Generator, direction: float, least: float, most: float) -> PlanarPose:
    """Where the base stands before a table whose middle is in about that direction from the middle of the room."""
    direction += float(rng.uniform(-ASIDE, ASIDE))
    yaw = direction + float(rng.uniform(-ASKEW, ASKEW))
    middle = sum(TABLE_X) / 2
    far = float(rng.uniform(least / 2, most / 2)) + (TABLE_X[1] - TABLE_X[0]) / 2 + 0.1
    return PlanarPose(
        far * math.cos(direction) - middle * math.cos(yaw), far * math.sin(direction) - middle * math.sin(yaw), yaw
    )


def _standing(off: tuple[float, float, float], place: PlanarPose) -> tuple[float, float, float]:
    """A base a little off its place before a table."""
    x, y, _ = place.point((off[0], off[1], 0.0))
    return float(x), float(y), place.yaw + off[2]


def _between(rng: np.random.Generator, room: Room) -> tuple[float, float, float]:
    """A base in the middle of the floor, turned in any way."""
    middle = [sum(getattr(room.places[side], axis) for side in SIDES) / len(SIDES) for axis in ("x", "y")]
    x, y = (float(v + rng.uniform(-MIDDLE, MIDDLE)) for v in middle)
    return x, y, float(rng.uniform(-math.pi, math.pi))


def _share_out(rng: np.random.Generator) -> dict[str, str]:
    """Things to the furniture on which they lie."""
    names = [f"{COLOURS[i // 2]}_{KINDS[i % 2]}" for i in rng.permutation(len(OBJECTS))]
    most = (MOST_ON_A_TABLE, MOST_ON_A_TABLE, MOST_ON_THE_SHELF)
    counts = [int(rng.integers(piece != SHELF, n + 1)) for piece, n in zip(FURNITURE, most, strict=True)]
    pieces = [piece for piece, count in zip(FURNITURE, counts, strict=True) for _ in range(count)]
    return dict(zip(names, pieces, strict=False))


def _spots(rng: np.random.Generator, count: int) -> list[tuple[float, float]]:
    """Points of a table, in its frame, at least GAP apart."""
    while True:
        points = rng.uniform((PICK_X[0], PICK_Y[0]), (PICK_X[1], PICK_Y[1]), (count, 2))
        gaps = np.linalg.norm(points[:, None] - points[None], axis=-1) + np.eye(count)
        if not count or gaps.min() >= GAP:
            return [(float(x), float(y)) for x, y in points]
