"""How one arm takes a block and puts it into a bin: what hand and fingers should do next, from what can be seen now.

`decide` remembers nothing. A block that slipped or was pushed is simply somewhere else: it is approached and grasped anew.
The fingertips follow a velocity field, a funnel over the block: hover while far, sink while above it, turned to it and open.
World frame, m, rad, s.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from pi0_ros.chores.measure import UPRIGHT, inside
from pi0_ros.chores.scenery import BIN_FLOOR, BIN_RIM, BINS, Bin, Shape
from pi0_ros.sim.world import TABLE_TOP
from pi0_ros.touch.funnel import bounded, smooth, velocity_to

OPENED = 0.076  # commanded opening above which a hand is open
WIDEST = 0.052  # of what a hand is closed around: 14 mm are left on either side


@dataclass(frozen=True)
class Grasp:
    """A way to take a block: angle of the axis along which the hand opens (modulo pi), width between the fingers, half height."""

    angle: float
    width: float
    half_height: float


@dataclass(frozen=True)
class View:
    """What an arm knows: its fingertips [3], the angle along which its hand opens, its last joint, the opening between the
    fingers as measured and as commanded, the block's middle [3] and turn [3, 3], whether this hand is measured to hold it, and
    by how much [m] the fingertips are measured above where they are commanded, beyond the servos' delay: what pushes them up."""

    tip: np.ndarray
    angle: float
    wrist: float
    opening: float
    commanded: float
    block: np.ndarray
    turn: np.ndarray
    held: bool
    pressed: float = 0.0


@dataclass(frozen=True)
class Motion:
    """Velocity of the fingertips [3], of the hand about the vertical, the commanded opening (0 closed .. 1 open), and whether
    the work is done and the arm may go home."""

    tip: tuple[float, float, float]
    spin: float
    grip: float
    done: bool = False


@dataclass(frozen=True)
class GraspSettings:
    """How an arm moves."""

    speed: float = 0.30  # greatest fingertip speed
    gain: float = 2.6  # fingertip speed per metre still to go, 1/s
    hover: float = 0.045  # fingertips above the block's top while far
    carry: float = 0.035  # the block's underside above the rim of the bin while it is carried
    clear: float = 0.012  # fingertips above what the block stands on, at the grasp
    near: float = 0.006  # horizontal distance at which the funnel has reached the block
    far: float = 0.045  # horizontal distance at which it has reached hover height
    slack: float = 0.030  # horizontal speed is zero when the tip is this far below its height
    drop: float = 0.012  # the block's underside above the floor of the bin when it is let go
    firm: float = 0.020  # the command is this much narrower than the block before it is lifted
    loose: float = 0.008  # by so much more fingers that close already may be off
    turned: float = 0.06  # angle to the block at which the hand may sink
    spin: float = 1.6  # greatest turning of the hand
    press: float = 0.008  # fingertips pushed up by more than this stand on something: about 35 N, at 4 kN/m
    between: float = 0.010  # fingertips around a block are lower than its top by this, those that stand on it are not


def grasps(shape: Shape, turn: np.ndarray) -> list[Grasp]:
    """The ways to take a block that lies so, from above: across its sides that are narrow enough. Empty when there is none.

    An upright cylinder can be taken at every angle: one grasp stands for all, with angle nan.
    """
    sizes = np.array(shape.size)
    up = np.abs(turn[2])
    half = float(up @ sizes) / 2
    if shape.kind == "cylinder" and up[2] > UPRIGHT:
        return [Grasp(math.nan, shape.size[0], half)]
    across = [2] if shape.kind == "cylinder" else []  # a lying cylinder is not taken along its axis
    level = [i for i in range(3) if i != int(up.argmax()) and i not in across]
    axes = [(turn[:, i], sizes[i]) for i in level]
    return [Grasp(math.atan2(a[1], a[0]), float(width), half) for a, width in axes if width <= WIDEST]


def choose(ways: list[Grasp], view: View) -> tuple[Grasp, float] | None:
    """The way at which the last joint is nearest to its middle, and the angle still to turn about the vertical.

    It does not depend on how far the hand has turned already, so a plan that is made while an older one still runs chooses
    the same.
    """
    best, least = None, math.inf
    for way in ways:
        if math.isnan(way.angle):
            return way, 0.0
        turn = math.remainder(way.angle - view.angle, math.pi)
        for option in (turn, turn - math.copysign(math.pi, turn)):
            # Seen from above, the last joint turns a hand that points down the other way round.
            if abs(view.wrist - option) < least:
                best, least = (way, option), abs(view.wrist - option)
    return best


def decide(view: View, shape: Shape, side: str, settings: GraspSettings) -> Motion:
    """What to do next to bring a block into the bin of that side."""
    there = view.held or inside(view.block, BINS[side])
    return put(view, shape, BINS[side], BINS[side].centre, settings) if there else take(view, shape, settings)


def take(view: View, shape: Shape, settings: GraspSettings) -> Motion:
    """What to do next to hold a block. Done once it is held firmly: the hand is closed then."""
    picked = choose(grasps(shape, view.turn), view)
    if picked is None:
        return _OPEN_AND_DONE
    way, turn = picked
    if _pressed(view, way, settings):
        return _rise(view, way, settings)
    if view.held:
        return Motion((0.0, 0.0, 0.0), 0.0, 0.0, done=_firm(view, way, settings))
    return _fetch(view, way, turn, _away(view), settings)


def put(view: View, shape: Shape, container: Bin, to: tuple[float, float], settings: GraspSettings) -> Motion:
    """What to do next to let a block that is held go in a bin, at `to` (x, y). Done once the hand is open and free."""
    s = settings
    picked = choose(grasps(shape, view.turn), view)
    if picked is None:
        return _OPEN_AND_DONE
    way, _ = picked
    underside = view.block[2] - way.half_height
    if inside(view.block, container) and not (view.held and underside > TABLE_TOP + BIN_FLOOR + s.drop):
        beside = _away(view) < s.far and view.tip[2] < BIN_RIM + s.hover and view.opening < way.width + 0.010
        return Motion((0.0, 0.0, 0.0), 0.0, 1.0, done=not beside)
    if _pressed(view, way, settings):
        return _rise(view, way, settings)
    return _carry(view, way, to, s) if view.held else _OPEN_AND_DONE


_OPEN_AND_DONE = Motion((0.0, 0.0, 0.0), 0.0, 1.0, done=True)


def _away(view: View) -> float:
    return math.hypot(view.block[0] - view.tip[0], view.block[1] - view.tip[1])


def _pressed(view: View, way: Grasp, s: GraspSettings) -> bool:
    """Whether the fingertips stand on something."""
    top = view.block[2] + way.half_height
    return view.pressed > s.press and not (view.held and view.tip[2] + view.pressed < top - s.between)


def _rise(view: View, way: Grasp, s: GraspSettings) -> Motion:
    climb = view.block[2] + way.half_height + s.hover - view.tip[2]
    return Motion((0.0, 0.0, bounded(4.0 * climb, 0.0, s.speed)), 0.0, 1.0)


def _firm(view: View, way: Grasp, s: GraspSettings) -> bool:
    return view.commanded <= max(way.width - s.firm, 0.004)


def _carry(view: View, way: Grasp, to: tuple[float, float], s: GraspSettings) -> Motion:
    """Hold firmly, rise, go over the bin and sink into it; the hand turns back on the way."""
    if not _firm(view, way, s):
        return Motion((0.0, 0.0, 0.0), 0.0, 0.0)
    step = (to[0] - view.block[0], to[1] - view.block[1])
    underside = view.block[2] - way.half_height
    high, low = BIN_RIM + s.carry, TABLE_TOP + BIN_FLOOR
    height = low + (high - low) * smooth((math.hypot(*step) - 0.012) / 0.05)
    spin = bounded(1.5 * view.wrist, -s.spin / 2, s.spin / 2)
    return Motion(_towards(step, height - underside, s), spin, 0.0)


def _fetch(view: View, way: Grasp, turn: float, away: float, s: GraspSettings) -> Motion:
    grasp = view.block[2] - way.half_height + s.clear
    hover = view.block[2] + way.half_height + s.hover
    ready = abs(turn) < s.turned and view.opening > way.width + 0.008
    step = (view.block[0] - view.tip[0], view.block[1] - view.tip[1])
    closing = view.commanded < min(way.width + 0.030, OPENED)
    loose = s.loose if closing else 0.0  # fingers that close go on closing where open ones would still be moved
    there = away < s.near + 0.004 + loose and abs(view.tip[2] - grasp) < 0.004 + loose and abs(turn) < 2 * s.turned
    if there and view.opening > way.width - 0.004:
        return Motion((0.0, 0.0, 0.0), 0.0, 0.0)
    farther = 0.0 if ready else s.far
    height = grasp + (hover - grasp) * smooth((away + farther - s.near) / (s.far - s.near))
    spin = bounded(4.0 * turn, -s.spin, s.spin)
    return Motion(_towards(step, height - view.tip[2], s), spin, 1.0)


def _towards(step: tuple[float, float], climb: float, s: GraspSettings) -> tuple[float, float, float]:
    return velocity_to(step, climb, s.speed, s.gain, s.slack)
