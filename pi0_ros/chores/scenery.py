"""The things on the table: four coloured blocks whose shape and size a layout chooses, and two bins with walls.

Contacts are solved with elliptic friction cones. A block slides on table and bin with the friction of wood on wood, and between
the fingertips with that of rubber on wood; sources of the numbers: Engineering ToolBox, "Friction coefficients".
Metres, kilograms, radians; world frame as in `pi0_ros.sim.world`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import mujoco
import numpy as np

from pi0_ros.sim.world import BLOCK_RGBA, COLOURS, SIDES, TABLE_TOP, THINGS

WOOD_ON_WOOD = (0.45, 0.003, 0.0002)  # sliding; turning about the normal [m]; rolling [m]
RUBBER_ON_WOOD = (0.85, 0.006, 0.0002)
STIFF = ((0.008, 1.0), (0.95, 0.99, 0.0005, 0.5, 2.0))  # solref [s, -], solimp of contacts of blocks and fingertips
BIN_X, BIN_Y = 0.85, 0.30  # middle of the left bin; the right one is at -BIN_Y
BIN_INSIDE = (0.20, 0.20)  # along x and y
BIN_WALL, BIN_FLOOR, BIN_HEIGHT = 0.006, 0.004, 0.060
BIN_RIM = TABLE_TOP + BIN_HEIGHT
BIN_RGBA = (0.72, 0.72, 0.74, 1.0)
AWAY = (-3.0, 0.5)  # a block that was not placed yet stands behind the robot, this far apart from the next one


@dataclass(frozen=True)
class Shape:
    """kind: "box" or "cylinder", upright. size: whole lengths along its own x, y, z; a cylinder's x and y are its diameter."""

    kind: str
    size: tuple[float, float, float]
    mass: float


USUAL = Shape("box", (0.04, 0.04, 0.04), 0.05)


@dataclass(frozen=True)
class Bin:
    """Middle (x, y) of a bin that stands on a table, and its lengths along x and y inside, in the frame of the table."""

    centre: tuple[float, float]
    size: tuple[float, float] = BIN_INSIDE


def bin_centre(side: str) -> tuple[float, float]:
    """(x, y) of the middle of a bin."""
    return BIN_X, BIN_Y if side == SIDES[0] else -BIN_Y


BINS = {side: Bin(bin_centre(side)) for side in SIDES}


def furnish(spec: mujoco.MjSpec) -> None:
    """Put blocks and bins on the table of a world that is being built, and rubber on the robot's fingertips."""
    grip_by_friction(spec)
    for side in SIDES:
        add_bin(spec.worldbody, f"{side}_bin", BINS[side])
    for number, colour in enumerate(COLOURS):
        add_block(spec, colour, (AWAY[0], AWAY[1] * number, USUAL.size[2] / 2))


def grip_by_friction(spec: mujoco.MjSpec) -> None:
    """Contacts with elliptic cones, and rubber on the robot's fingertips."""
    spec.option.cone = mujoco.mjtCone.mjCONE_ELLIPTIC
    spec.option.impratio = 10.0
    for body in spec.bodies:
        if body.name.startswith(tuple(f"{side}_finger" for side in SIDES)):
            _rubber(body)


def colour_of(name: str) -> str:
    """The colour of a block: its name, or what its name begins with, as in "red_can"."""
    return name.partition("_")[0]


def shape_block(model: mujoco.MjModel, name: str, shape: Shape, shade: float = 1.0) -> None:
    """Give a block of a compiled world another shape, size and mass. Call `settle_masses` after the last one.

    shade: how bright its colour is, 1 as usual.
    """
    used, other = (f"{name}_{kind}" for kind in (("box", "tube") if shape.kind == "box" else ("tube", "box")))
    half = np.array(shape.size) / 2
    geom, hidden, body = model.geom(used), model.geom(other), model.body(f"{name}_body")
    round_one = shape.kind == "cylinder"
    geom.size[:] = (half[0], half[2], 0.0) if round_one else half
    model.geom_rbound[geom.id] = math.hypot(half[0], half[2]) if round_one else float(np.linalg.norm(half))
    model.geom_aabb[geom.id, 3:] = half
    for one, shown in ((geom, True), (hidden, False)):
        one.contype[:], one.conaffinity[:] = (THINGS, THINGS | 7) if shown else (0, 0)
        one.rgba[:3] = np.clip(shade * np.array(BLOCK_RGBA[colour_of(name)][:3]), 0.0, 1.0)
        one.rgba[3] = 1.0 if shown else 0.0
    body.mass[:] = shape.mass
    body.inertia[:] = _inertia(shape)
    model.body_gravcomp[body.id] = 0.0


def hide_block(model: mujoco.MjModel, name: str) -> None:
    """Take a block out of a compiled world: nothing touches it, it weighs nothing, and no camera sees it. `shape_block` brings it back."""
    for kind in ("box", "tube"):
        geom = model.geom(f"{name}_{kind}")
        geom.contype[:], geom.conaffinity[:] = 0, 0
        geom.rgba[3] = 0.0
    model.body_gravcomp[model.body(f"{name}_body").id] = 1.0


def settle_masses(model: mujoco.MjModel) -> None:
    """Renew what MuJoCo derives from the masses."""
    mujoco.mj_setConst(model, mujoco.MjData(model))


def _inertia(shape: Shape) -> tuple[float, float, float]:
    x, y, z = shape.size
    if shape.kind == "cylinder":
        across = shape.mass * (3 * (x / 2) ** 2 + z * z) / 12
        return across, across, shape.mass * (x / 2) ** 2 / 2
    return tuple(shape.mass * (a * a + b * b) / 12 for a, b in ((y, z), (x, z), (x, y)))  # type: ignore[return-value]


def add_block(spec: mujoco.MjSpec, name: str, place: tuple[float, float, float]) -> None:
    """A body with the two geoms that it can be: a box and an upright cylinder. MuJoCo lets a geom that was built to collide stop
    it later, and not the reverse, so both are built so; `shape_block` chooses.
    """
    body = spec.worldbody.add_body(name=f"{name}_body", pos=place)
    body.add_freejoint(name=f"{name}_free")
    body.mass, body.inertia, body.explicitinertial = USUAL.mass, _inertia(USUAL), True
    body.ipos, body.iquat = (0, 0, 0), (1, 0, 0, 0)
    half = [length / 2 for length in USUAL.size]
    (time_constant, damping), solimp = STIFF
    for form, kind, size in (
        ("box", mujoco.mjtGeom.mjGEOM_BOX, half),
        ("tube", mujoco.mjtGeom.mjGEOM_CYLINDER, [half[0], half[2], 0]),
    ):
        shown = form == "box"
        body.add_geom(
            name=f"{name}_{form}", type=kind, size=size, rgba=[*BLOCK_RGBA[colour_of(name)][:3], 1.0 if shown else 0.0],
            contype=THINGS, conaffinity=THINGS | 7, condim=6, priority=1,
            friction=WOOD_ON_WOOD, solref=[time_constant, damping], solimp=solimp,
        )  # fmt: skip


def _rubber(body: mujoco.MjsBody) -> None:
    """Contacts of these geoms have the friction of rubber, whatever they meet."""
    for geom in body.geoms:
        if geom.contype:
            geom.friction, geom.condim, geom.priority = RUBBER_ON_WOOD, 6, 2
            geom.solref, geom.solimp = STIFF


def add_bin(table: mujoco.MjsBody, name: str, container: Bin) -> None:
    """A floor and four walls that stand fast on a table."""
    (x, y), (long, wide) = container.centre, container.size
    half = BIN_HEIGHT / 2
    parts = {
        "floor": ((x, y, TABLE_TOP + BIN_FLOOR / 2), (long / 2, wide / 2, BIN_FLOOR / 2)),
        **{
            f"{end}_wall": (
                (x + sign * (long + BIN_WALL) / 2, y, TABLE_TOP + half),
                (BIN_WALL / 2, wide / 2 + BIN_WALL, half),
            )
            for end, sign in (("far", 1), ("near", -1))
        },
        **{
            f"{end}_wall": ((x, y + sign * (wide + BIN_WALL) / 2, TABLE_TOP + half), (long / 2, BIN_WALL / 2, half))
            for end, sign in (("left", 1), ("right", -1))
        },
    }
    for part, (place, size) in parts.items():
        table.add_geom(
            name=f"{name}_{part}", type=mujoco.mjtGeom.mjGEOM_BOX, pos=place, size=size, rgba=BIN_RGBA,
            contype=THINGS, conaffinity=THINGS | 7,
        )  # fmt: skip
