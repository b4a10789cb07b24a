"""Plans for robots that lag behind their commands: the rows of such a group are sent earlier by its latency.

As universal_manipulation_interface does with `robot_action_latency` and `gripper_action_latency`: a row is where
the robot should be at its time, so its command has to be sent earlier.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from pi0_ros.control.chunk import Chunk
from pi0_ros.robot.spec import Kind, Robot

Array = npt.NDArray[np.float64]
WHOLE = 1e-6  # [rows] within which a shift is one by whole rows


def sent_ahead(chunk: Chunk, robot: Robot) -> Chunk:
    """The same plan with every group's rows `command_latency` earlier; its last row is held for what is then missing.

    Between two rows a value is interpolated linearly, a gripper's is the earlier row's. The chunk must have passed
    `check_shape` and `check_values`.
    """
    if not any(group.command_latency for group in robot.groups):
        return chunk
    values = np.array(chunk.values)
    column = {name: i for i, name in enumerate(chunk.names)}
    for group in robot.groups:
        if group.command_latency:
            columns = [column[c.name] for c in group.channels]
            values[:, columns] = earlier(values[:, columns], group.command_latency / chunk.period, group.kind)
    return replace(chunk, values=values)


def earlier(rows: Array, shift: float, kind: Kind) -> Array:
    """Rows [H, D] as they are `shift` rows later; the last one is held."""
    at = np.minimum(np.arange(len(rows)) + shift, len(rows) - 1)
    before = np.floor(at + WHOLE).astype(int)
    if kind is Kind.GRIPPER:
        held: Array = rows[before]
        return held
    share = np.maximum(at - before, 0.0)[:, None]
    after = np.minimum(before + 1, len(rows) - 1)
    moved: Array = rows[before] * (1.0 - share) + rows[after] * share
    return moved
