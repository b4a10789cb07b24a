"""What plans need to know of a robot's channels, one entry per channel in the order of the action vector."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pi0_ros.control.limiter import goes_own_way
from pi0_ros.robot.spec import Kind, Robot

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class PlanChannels:
    """[D] each; limits in rad, m and s. Masks of numbers are 1.0 and 0.0."""

    names: tuple[str, ...]
    kinds: tuple[Kind, ...]
    lower: Array
    upper: Array
    velocity: Array
    rate_limit: Array  # of the first derivative: a velocity's is an acceleration
    brake: Array  # deceleration behind a last row
    position: npt.NDArray[np.bool_]
    smooth: Array  # not a gripper
    bound: Array  # its command is the plan's own


def plan_channels(robot: Robot) -> PlanChannels:
    """The channels of a robot."""
    kinds, limits = [c.kind for c in robot.channels], [c.limits for c in robot.channels]
    driven = [k is Kind.VELOCITY for k in kinds]
    return PlanChannels(
        names=robot.channel_names,
        kinds=tuple(kinds),
        lower=np.array([m.lower for m in limits]),
        upper=np.array([m.upper for m in limits]),
        velocity=np.array([m.velocity for m in limits]),
        rate_limit=np.array([m.acceleration if d else m.velocity for m, d in zip(limits, driven, strict=True)]),
        brake=np.array([0.5 * m.acceleration for m in limits]),
        position=np.array([k is Kind.POSITION for k in kinds]),
        smooth=np.array([float(k is not Kind.GRIPPER) for k in kinds]),
        bound=np.array([float(not goes_own_way(g)) for g in robot.groups for _ in g.channels]),
    )
