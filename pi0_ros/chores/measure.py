"""What the physics says of the blocks: where they are, which hand holds them, whether they lie in a bin."""

from __future__ import annotations

from dataclasses import dataclass

import mujoco
import numpy as np

from pi0_ros.chores.scenery import BIN_FLOOR, BIN_RIM, BINS, Bin, Shape
from pi0_ros.sim.robot import SimRobot
from pi0_ros.sim.world import SIDES, TABLE_TOP

SLOW, SLOW_TURN = 0.02, 0.3  # m/s, rad/s: a block below both that something carries is at rest
UPRIGHT = 0.9  # cosine beyond which an axis counts as upright


@dataclass(frozen=True)
class Pose:
    """Of a block's middle in the world frame: place [3] m, turn [3, 3]."""

    place: np.ndarray
    turn: np.ndarray


def block_pose(sim: SimRobot, colour: str) -> Pose:
    """Where a block is now."""
    body = sim.data.body(f"{colour}_body")
    return Pose(body.xpos.copy(), body.xmat.reshape(3, 3).copy())


def block_shape(sim: SimRobot, colour: str) -> Shape:
    """What a block is now."""
    name = drawn_geom(sim, colour)
    x, y, z = 2 * sim.model.geom(name).size
    mass = float(sim.model.body(f"{colour}_body").mass[0])
    if name.endswith("tube"):  # a cylinder's numbers are its radius and half its length
        return Shape("cylinder", (float(x), float(x), float(y)), mass)
    return Shape("box", (float(x), float(y), float(z)), mass)


def drawn_geom(sim: SimRobot, colour: str) -> str:
    """Name of the geom that a block is now."""
    return f"{colour}_{'tube' if sim.model.geom(f'{colour}_tube').contype[0] else 'box'}"


def touching(sim: SimRobot, colour: str) -> frozenset[str]:
    """Names of the bodies that a block touches now; "world" is table, bins and floor."""
    body = sim.model.body(f"{colour}_body").id
    bodies = sim.model.geom_bodyid[sim.data.contact.geom]
    near = sim.data.contact.dist <= 0.0
    others = {int(b if a == body else a) for a, b in bodies[near] if body in (a, b)}
    return frozenset(sim.model.body(i).name for i in others)


def holders(sim: SimRobot, colour: str) -> frozenset[str]:
    """The sides whose hand has the block between its fingers: both of them touch it."""
    return holding(touching(sim, colour))


def holding(met: frozenset[str]) -> frozenset[str]:
    """The sides whose hand has a thing between its fingers that touches these bodies."""
    return frozenset(side for side in SIDES if {f"{side}_finger1", f"{side}_finger2"} <= met)


def within(place: np.ndarray, side: str) -> bool:
    """Whether a point [3] (world) is inside a bin: between its walls, above its floor and below its rim."""
    return inside(place, BINS[side])


def over(place: np.ndarray, container: Bin) -> bool:
    """Whether a point [3], in the frame of the bin's table, is over the bin's floor or in the bin."""
    return bool((np.abs(place[:2] - container.centre) <= np.array(container.size) / 2).all())


def inside(place: np.ndarray, container: Bin) -> bool:
    """`over`, and above the floor of the bin and below its rim."""
    return over(place, container) and bool(TABLE_TOP + BIN_FLOOR <= place[2] <= BIN_RIM)


def placed_in(sim: SimRobot, colour: str) -> str | None:
    """The side of the bin in which a block lies: its middle inside, no hand or arm on it, at rest on something."""
    side = next((s for s in SIDES if within(sim.data.body(f"{colour}_body").xpos, s)), None)
    if side is None:
        return None
    return side if settled(sim, colour, touching(sim, colour)) else None


def settled(sim: SimRobot, colour: str, met: frozenset[str]) -> bool:
    """Whether a block that touches these bodies lies at rest on something, no hand or arm on it."""
    free = not any(name.startswith(tuple(f"{s}_" for s in SIDES)) for name in met)
    return free and bool(met) and _at_rest(sim, colour)


def _at_rest(sim: SimRobot, colour: str) -> bool:
    velocity = np.zeros(6)
    body = mujoco.mjtObj.mjOBJ_BODY
    mujoco.mj_objectVelocity(sim.model, sim.data, body, sim.model.body(f"{colour}_body").id, velocity, 0)
    return bool(np.linalg.norm(velocity[3:]) < SLOW and np.linalg.norm(velocity[:3]) < SLOW_TURN)


def hand_opening(sim: SimRobot, side: str) -> float:
    """Distance between a hand's fingers now, m."""
    q = sim.world.qpos
    return float(sim.data.qpos[q[f"{side}_finger_joint"]] + sim.data.qpos[q[f"{side}_finger2_joint"]])


def tip_motion(sim: SimRobot, side: str) -> tuple[np.ndarray, np.ndarray]:
    """Place [3] and velocity [3] of a hand's fingertips now, world frame, m and m/s."""
    velocity, body = np.zeros(6), sim.model.body(f"{side}_tip").id
    mujoco.mj_objectVelocity(sim.model, sim.data, mujoco.mjtObj.mjOBJ_BODY, body, velocity, 0)
    return sim.data.xpos[body].copy(), velocity[3:]
