"""A room with two tables and a shelf, and things that lie on them. The names of places before which the robot can stand are those of
the furniture: "left", "right", "shelf".

A table's frame is that of the base which stands before it: its origin is on the floor under the base, x points to the table. In it
tables are where the table of a world without rooms is (`pi0_ros.sim.world`). Metres, radians.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import mujoco
import numpy as np

from pi0_ros.chores.plane import PlanarPose
from pi0_ros.chores.scenery import BIN_X, Bin, add_bin, add_block, grip_by_friction
from pi0_ros.sim.robot import SimRobot
from pi0_ros.sim.world import BASE_JOINTS, COLOURS, SIDES, TABLE_TOP, TABLE_X, TABLE_Y, THINGS

KINDS = ("block", "can")
OBJECTS = tuple(f"{colour}_{kind}" for colour in COLOURS for kind in KINDS)
"""All things that there can be: a box and a cylinder of each colour."""
TABLE_BIN = Bin((BIN_X, 0.0), (0.20, 0.38))
"""On each table, in its frame: both arms reach all of it."""
SPOTS = tuple((BIN_X + x, y) for x in (-0.045, 0.045) for y in (0.0, 0.125, -0.125))
"""Where things are let go in it."""
LOOKS: Mapping[str, tuple[float, float, float]] = {
    "wooden": (0.56, 0.39, 0.24),
    "white": (0.86, 0.86, 0.84),
    "black": (0.16, 0.16, 0.18),
    "grey": (0.50, 0.51, 0.53),
}
"""What a table can look like: the word for it and its colour."""
SHELF = "shelf"
FURNITURE = (*SIDES, SHELF)
SHELF_TOP = 0.27
"""Height of the shelf's board, m. With the lift at home no hand that points down gets below 0.33 m; with the lift down it does."""
SURFACES: Mapping[str, tuple[tuple[float, float], tuple[float, float], float]] = {
    **{side: (TABLE_X, TABLE_Y, TABLE_TOP) for side in SIDES},
    SHELF: ((0.40, 0.80), (-0.50, 0.50), SHELF_TOP),
}
"""On what things lie: from where to where it reaches along x and y, and its height, in the frame of the piece of furniture."""
WALLS = 2.9  # of the room, from its middle
SPECTATOR = "room"
"""Name of a camera that sees the whole room."""
_LEG = 0.025


@dataclass(frozen=True)
class Room:
    """places: a piece of furniture to where the base stands before it. looks: a table's name to what it looks like."""

    places: Mapping[str, PlanarPose]
    looks: Mapping[str, str]

    def arrange(self, model: mujoco.MjModel) -> None:
        """Put the furniture of a compiled world there; the next `load` shows it."""
        for name, place in self.places.items():
            body = model.body(f"table_{name}")
            body.pos[:] = (place.x, place.y, 0.0)
            body.quat[:] = (math.cos(place.yaw / 2), 0.0, 0.0, math.sin(place.yaw / 2))
            if name in self.looks:
                for part in _parts(name):
                    model.geom(f"table_{name}_{part}").rgba[:3] = LOOKS[self.looks[name]]


def furnish_room(spec: mujoco.MjSpec) -> None:
    """Two tables with a bin on each and a shelf in place of the one table, a floor on which things come to lie, walls, and all things."""
    grip_by_friction(spec)
    for name in ("table", "table_foot", "wall", "door"):
        spec.delete(spec.geom(name))
    floor = spec.geom("floor")
    floor.contype, floor.conaffinity, floor.rgba = THINGS, THINGS, [0.66, 0.63, 0.58, 1.0]
    _decorate(spec)
    for number, name in enumerate(FURNITURE):
        table = spec.worldbody.add_body(name=f"table_{name}", pos=[0.0, 1.0 - 2.0 * number, 0.0])
        for part, (place, half) in _parts(name).items():
            table.add_geom(
                name=f"table_{name}_{part}", type=mujoco.mjtGeom.mjGEOM_BOX, pos=place, size=half,
                contype=THINGS, conaffinity=THINGS, rgba=[0.45, 0.52, 0.60, 1.0],
            )  # fmt: skip
        if name in SIDES:
            add_bin(table, f"bin_{name}", TABLE_BIN)
    for number, name in enumerate(OBJECTS):
        add_block(spec, name, (-4.0, 0.5 * number, 0.5))


def base_pose(sim: SimRobot) -> PlanarPose:
    """Where the base stands now."""
    x, y, yaw = (float(sim.data.qpos[sim.world.qpos[joint]]) for joint in BASE_JOINTS)
    return PlanarPose(x, y, yaw)


def base_twist(sim: SimRobot) -> tuple[float, float]:
    """Speed [m/s] and turning [rad/s] of the base now, both without a sign."""
    vx, vy, wz = (float(sim.data.qvel[sim.world.dof[joint]]) for joint in BASE_JOINTS)
    return math.hypot(vx, vy), abs(wz)


def place_of(sim: SimRobot, name: str) -> PlanarPose:
    """Where the base stands before that piece of furniture."""
    body = sim.model.body(f"table_{name}")
    return PlanarPose(
        float(body.pos[0]), float(body.pos[1]), 2.0 * math.atan2(float(body.quat[3]), float(body.quat[0]))
    )


def places(sim: SimRobot) -> dict[str, PlanarPose]:
    """`place_of` of all."""
    return {name: place_of(sim, name) for name in FURNITURE}


def look_of(sim: SimRobot, name: str) -> str:
    """The word for what a table looks like."""
    rgb = sim.model.geom(f"table_{name}_top").rgba[:3]
    return min(LOOKS, key=lambda look: float(np.abs(rgb - LOOKS[look]).sum()))


def floor_between(one: PlanarPose, other: PlanarPose, of: tuple[str, str] = SIDES) -> float:
    """The least distance of two pieces of furniture [m], seen from above, of base poses before them; 0 if a corner of one is in the other.

    Between two rectangles that do not meet, the shortest way begins or ends at a corner.
    """
    pairs = ((one, of[0], other, of[1]), (other, of[1], one, of[0]))
    return min(
        _to_surface(there.local_point(here.point((x, y, 0.0))), at)
        for here, name, there, at in pairs
        for x in SURFACES[name][0]
        for y in SURFACES[name][1]
    )


def _to_surface(point: np.ndarray, name: str) -> float:
    """Distance of a point from a piece of furniture, in whose frame it is, seen from above."""
    spans = zip(point[:2], SURFACES[name][:2], strict=True)
    return math.hypot(*(max(low - v, 0.0, v - high) for v, (low, high) in spans))


def _parts(name: str) -> dict[str, tuple[tuple[float, float, float], tuple[float, float, float]]]:
    """Middle and half lengths of the boxes of a piece of furniture in its frame."""
    (near, far), (right, left), top = SURFACES[name]
    middle = ((near + far) / 2, (right + left) / 2, top - 0.02)
    board = {"top": (middle, ((far - near) / 2, (left - right) / 2, 0.02))}
    half = (top - 0.04) / 2
    if name == SHELF:
        sides = {
            f"side{n}": ((middle[0], y, half), ((far - near) / 2, 0.01, half)) for n, y in enumerate((right, left))
        }
        return {**board, **sides, "back": ((far + 0.01, 0.0, 0.25), (0.01, (left - right) / 2, 0.25))}
    return board | {
        f"leg{number}": ((x, y, half), (_LEG, _LEG, half))
        for number, (x, y) in enumerate((x, y) for x in (near + 0.06, far - 0.04) for y in (right + 0.04, left - 0.04))
    }


def _decorate(spec: mujoco.MjSpec) -> None:
    """What only cameras see: walls, a door behind, and a rug in either half of the room, so that left and right look different."""
    box, tube = mujoco.mjtGeom.mjGEOM_BOX, mujoco.mjtGeom.mjGEOM_CYLINDER
    high = 1.3
    shapes = (
        ("wall_back", box, (-WALLS, 0, high), (0.05, WALLS, high), (0.55, 0.60, 0.68)),
        ("wall_front", box, (WALLS, 0, high), (0.05, WALLS, high), (0.70, 0.67, 0.60)),
        ("wall_left", box, (0, WALLS, high), (WALLS, 0.05, high), (0.62, 0.66, 0.60)),
        ("wall_right", box, (0, -WALLS, high), (WALLS, 0.05, high), (0.66, 0.58, 0.56)),
        ("door", box, (-WALLS + 0.06, 0.9, 1.0), (0.03, 0.45, 1.0), (0.42, 0.36, 0.33)),
        ("rug_left", tube, (0.0, 1.25, 0.002), (0.95, 0.002, 0), (0.33, 0.45, 0.44)),
        ("rug_right", box, (0.0, -1.25, 0.002), (1.15, 0.80, 0.002), (0.50, 0.38, 0.36)),
    )
    for name, kind, place, size, colour in shapes:
        spec.worldbody.add_geom(
            name=name, type=kind, pos=place, size=size, rgba=[*colour, 1.0], contype=0, conaffinity=0
        )
    # From the upper corner over the door, looking at the middle of the room.
    spec.worldbody.add_camera(name=SPECTATOR, pos=[-2.75, 0.0, 2.5], xyaxes=[0, -1, 0, 0.62, 0, 0.78], fovy=72.0)
