"""Where the blocks are in a picture: projection by the pinhole model, visibility by a ray through the scene."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import mujoco
import numpy as np

from pi0_ros.sim.robot import SimRobot
from pi0_ros.sim.world import COLOURS

NEAREST = 0.01  # m before the lens
_DRAWN = np.array([1, 1, 1, 0, 0, 0], np.uint8)  # geom groups that are drawn; 3 is collision shapes


def block_pixels(sim: SimRobot, cameras: Sequence[str], geoms: Mapping[str, str] | None = None) -> np.ndarray:
    """Centres of the blocks in pictures: float32 [camera, colour of COLOURS, 3]. geoms: thing to the geom that is drawn, in the order
    of the result, where the things are not the blocks with lamps.

    The three numbers are x (0 left edge .. 1 right edge), y (0 top .. 1 bottom) and 1 for visible. A block that is out
    of the picture or hidden has (0, 0, 0).
    """
    drawn = geoms or {colour: f"{colour}_block" for colour in COLOURS}
    found = np.zeros((len(cameras), len(drawn), 3), np.float32)
    for row, name in enumerate(cameras):
        camera = sim.model.camera(name).id
        for column, geom in enumerate(drawn.values()):
            place = project(sim, name, sim.data.geom(geom).xpos)
            if place is not None and _seen(sim, camera, geom):
                found[row, column] = (*place, 1.0)
    return found


def project(sim: SimRobot, camera: str, point: np.ndarray) -> tuple[float, float] | None:
    """(x, y) of a world point in a camera's square picture; None outside it, or behind the lens."""
    eye, rotation = sim.data.camera(camera).xpos, sim.data.camera(camera).xmat.reshape(3, 3)
    right, up, back = rotation.T @ (point - eye)
    if back > -NEAREST:
        return None
    scale = 0.5 / np.tan(np.radians(sim.model.camera(camera).fovy[0]) / 2)
    x, y = 0.5 + scale * right / -back, 0.5 - scale * up / -back
    return (float(x), float(y)) if 0 <= x < 1 and 0 <= y < 1 else None


def _seen(sim: SimRobot, camera: int, geom: str) -> bool:
    eye, block = sim.data.cam_xpos[camera], sim.data.geom(geom)
    hit = np.zeros(1, np.int32)
    mujoco.mj_ray(sim.model, sim.data, eye, block.xpos - eye, _DRAWN, 1, -1, hit)
    return bool(int(hit[0]) == block.id)
