"""The metadata of a policy server, compared with the adapter.

openpi servers send what the training configuration holds (often nothing); RoboArena's send action space, picture size
and whether they want a session. Keys of other projects that mean the same are read alike.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from pi0_ros.policy.adapter import Adapter, Remote
from pi0_ros.robot.spec import Kind, Robot

WIDTH = ("action_dim", "action_size")
ROWS = ("action_horizon", "chunk_size", "n_action_steps", "open_loop_horizon")
RATE = ("control_hz", "control_frequency", "action_hz", "fps")
NAMES = ("action_names", "action_keys")
PICTURE = ("image_resolution", "image_size")
OTHER_SPACES = ("cartesian", "eef", "end_effector", "ee_pose", "delta", "relative")


def misfits(metadata: Mapping[str, object], adapter: Adapter, remote: Remote, robot: Robot) -> list[str]:
    """What the server says and the adapter says otherwise, a sentence each; empty if they agree.

    A plan of such a server would move the robot wrongly, so nothing of it is used.
    """
    found = [
        _width(metadata, adapter, remote),
        _rate(metadata, adapter),
        _space(metadata, adapter, robot),
        _names(metadata, adapter),
    ]
    return [text for text in found if text]


def notes(metadata: Mapping[str, object], adapter: Adapter, remote: Remote, rows: int) -> list[str]:
    """What is worth a warning: other rows, another picture size, a session that the adapter does not give."""
    found = []
    key, value = _number(metadata, ROWS)
    if key and value != rows:
        found.append(f"the server says {key} {value:g} and answers {rows} rows")
    if adapter.horizon and adapter.horizon != rows:
        found.append(f"{adapter.file} says horizon {adapter.horizon} and the server answers {rows} rows")
    for name in PICTURE:
        size = np.asarray(metadata.get(name, ())).ravel()
        if size.size == 2 and size.dtype.kind in "iu" and tuple(size.tolist()) != remote.size:
            found.append(f"the server wants pictures of {size[0]}x{size[1]}: remote: {{size: [{size[0]}, {size[1]}]}}")
    if metadata.get("needs_session_id") is True and not remote.session:
        found.append("the server wants a session: remote: {session: session_id}")
    return found


def _number(metadata: Mapping[str, object], keys: tuple[str, ...]) -> tuple[str, float]:
    for key in keys:
        value = metadata.get(key)
        if isinstance(value, int | float | np.number) and not isinstance(value, bool) and np.isfinite(value):
            return key, float(value)
    return "", 0.0


def _width(metadata: Mapping[str, object], adapter: Adapter, remote: Remote) -> str:
    key, value = _number(metadata, WIDTH)
    wanted = remote.width or len(adapter.action_channels)
    return f"{key} {value:g}, the adapter has {wanted} numbers per row" if key and value != wanted else ""


def _rate(metadata: Mapping[str, object], adapter: Adapter) -> str:
    key, value = _number(metadata, RATE)
    if not key or abs(value * adapter.period - 1.0) < 0.02:
        return ""
    return (
        f"{key} {value:g}, the adapter has a period of {adapter.period:g} s, which is {1.0 / adapter.period:g} a second"
    )


def _space(metadata: Mapping[str, object], adapter: Adapter, robot: Robot) -> str:
    value = metadata.get("action_space")
    if not isinstance(value, str):
        return ""
    kinds = {robot.channels[robot.index[n]].kind for n in adapter.action_channels if n in robot.index}
    moving = kinds - {Kind.GRIPPER}
    space = value.lower()
    wrong = any(word in space for word in OTHER_SPACES)
    wrong = wrong or ("velocity" in space and moving == {Kind.POSITION})
    wrong = wrong or ("position" in space and moving == {Kind.VELOCITY})
    ours = " and ".join(sorted(kind.value for kind in moving))
    return f"action_space {value}, the robot's channels are {ours} of joints" if wrong else ""


def _names(metadata: Mapping[str, object], adapter: Adapter) -> str:
    for key in NAMES:
        value = metadata.get(key)
        if isinstance(value, list | tuple) and value and all(isinstance(n, str) for n in value):
            wanted = adapter.action_channels
            if set(value) & set(wanted) and tuple(value) != wanted:
                return f"{key} {', '.join(value)}, the adapter has {', '.join(wanted)}"
    return ""
