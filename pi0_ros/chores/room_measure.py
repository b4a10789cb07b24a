"""What the physics says of a room: before which table the base stands, and where each thing is."""

from __future__ import annotations

import math

from pi0_ros.chores.measure import block_pose, block_shape, holding, over, settled, touching
from pi0_ros.chores.plane import PlanarPose
from pi0_ros.chores.room import SURFACES, TABLE_BIN, base_pose, base_twist, places
from pi0_ros.chores.scenery import BIN_RIM
from pi0_ros.chores.tidying import Whereabouts
from pi0_ros.sim.robot import SimRobot
from pi0_ros.sim.world import SIDES

CLOSE, TURNED = 0.06, 0.10  # m and rad off its place within which a base stands before a table
STILL, STILL_TURNING = 0.02, 0.03  # m/s, rad/s
RAISED = 0.05  # m of a thing's underside off the table: taken


def stands_before(base: PlanarPose, twist: tuple[float, float], place: PlanarPose) -> bool:
    """Whether a base is at rest where it stands before a table. twist: speed [m/s] and turning [rad/s], without signs."""
    off = place.local(base)
    still = twist[0] < STILL and twist[1] < STILL_TURNING
    return still and math.hypot(off.x, off.y) < CLOSE and abs(off.yaw) < TURNED


def standing(sim: SimRobot) -> str:
    """The piece of furniture before which the base stands at rest now, "" for none."""
    base, twist = base_pose(sim), base_twist(sim)
    return next((side for side, place in places(sim).items() if stands_before(base, twist, place)), "")


def things_in(sim: SimRobot) -> tuple[str, ...]:
    """The things of this episode."""
    return tuple(sim.scene.objects)


def whereabouts(sim: SimRobot) -> dict[str, Whereabouts]:
    """Where all things are now."""
    tables = places(sim)
    return {name: _where(sim, name, tables) for name in things_in(sim)}


def _where(sim: SimRobot, name: str, tables: dict[str, PlanarPose]) -> Whereabouts:
    place, met = block_pose(sim, name).place, touching(sim, name)
    half, hands, rests = min(block_shape(sim, name).size) / 2, holding(met), settled(sim, name, met)
    for piece, table in tables.items():
        at, ((near, far), (right, left), top) = table.local_point(place), SURFACES[piece]
        if near <= at[0] <= far and right <= at[1] <= left and at[2] > top:
            above = piece in SIDES and over(at, TABLE_BIN)
            held = min(hands) if hands and (at[2] - half > top + RAISED or above) else ""
            deep = at[2] - half < BIN_RIM or not rests  # on another thing in the bin it may look out
            return Whereabouts(piece, float(at[1]), held, above and deep and not held, rests)
    return Whereabouts("", held=min(hands) if hands else "", settled=rests)
