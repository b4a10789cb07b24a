"""In which frame a base's velocity is, found from how its pose changes."""

from __future__ import annotations

from enum import StrEnum

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
FAR = 0.05  # [m] a base has to have gone, to tell
TURNED = 0.2  # [rad] its heading has to differ from the frame of the pose, to tell the two frames apart
FITS = 0.3  # share of the way by which the right one may be off
ELSEWHERE = 0.7  # share by which the wrong one has to be off


class TwistFrame(StrEnum):
    """What a twist is said in; UNKNOWN if the base did not move enough to tell."""

    UNKNOWN = "unknown"
    BASE = "base"
    WORLD = "world"
    NOTHING = "nothing"  # the twist stays at zero while the pose moves


def twist_frame(times: Array, poses: Array, twists: Array) -> TwistFrame:
    """The frame of `twists` [N, 2] (vx, vy in m/s), from `poses` [N, 3] (x, y in m, heading in rad) at `times` [N] in s.

    The velocities are summed up in both frames and compared with the way that the pose went.
    """
    times = np.ravel(times)
    if len(times) < 3:
        return TwistFrame.UNKNOWN
    dt, heading = np.diff(times), poses[:-1, 2] + 0.5 * _nearest(np.diff(poses[:, 2]))
    steps, reported = np.diff(poses[:, :2], axis=0), 0.5 * (twists[:-1] + twists[1:]) * dt[:, None]
    length = float(np.linalg.norm(steps, axis=1).sum())
    if length < FAR or np.any(dt <= 0.0):
        return TwistFrame.UNKNOWN
    if float(np.linalg.norm(reported, axis=1).sum()) < (1.0 - ELSEWHERE) * FAR:
        return TwistFrame.NOTHING
    cos, sin = np.cos(heading), np.sin(heading)
    turned = np.stack(
        [cos * reported[:, 0] - sin * reported[:, 1], sin * reported[:, 0] + cos * reported[:, 1]], axis=1
    )
    base, world = (float(np.linalg.norm(steps - way, axis=1).sum()) / length for way in (turned, reported))
    if float(np.abs(_nearest(heading)).max()) < TURNED:
        return TwistFrame.UNKNOWN
    if world < FITS and base > min(2.0 * FITS, 2.0 * world + 0.1):
        return TwistFrame.WORLD
    return TwistFrame.BASE if base < FITS else TwistFrame.UNKNOWN


def _nearest(angles: Array) -> Array:
    return (angles + np.pi) % (2.0 * np.pi) - np.pi
