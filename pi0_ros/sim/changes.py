"""A world that is not the one trained in: moved and turned cameras, another light, joints that are not calibrated well."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import mujoco
import numpy as np

from pi0_ros.robot import Robot
from pi0_ros.robot.resources import config_file, config_names
from pi0_ros.robot.yaml_nodes import read_plain
from pi0_ros.sim.errors import SimError

FARTHEST, BRIGHTEST = 2.0, 3.0  # m or rad; times the usual light
FARTHEST_OFF = 0.2  # rad or m, of a joint


@dataclass(frozen=True)
class CameraShift:
    """How a camera stands otherwise: metres along its own axes (as it looked before), radians. tilt: downwards; turn: to
    the left; roll: clockwise."""

    forward: float = 0.0
    left: float = 0.0
    up: float = 0.0
    tilt: float = 0.0
    turn: float = 0.0
    roll: float = 0.0


@dataclass(frozen=True)
class WorldChange:
    """cameras: by the robot's names of them. light: share of the usual one.

    joints: channel to how much farther [rad, m] its joint really is than the robot measures and is commanded.
    """

    cameras: Mapping[str, CameraShift] = field(default_factory=dict)
    light: float = 1.0
    joints: Mapping[str, float] = field(default_factory=dict)


def load_world(name: str) -> WorldChange:
    """The change that a YAML file, or a name under config/worlds, describes; "" is the usual world.

    Raises: SimError naming file and key.
    """
    if not name:
        return WorldChange()
    file = config_file("worlds", name)
    if not file.is_file():
        known = ", ".join(config_names("worlds"))
        raise SimError(f"there is no world {name!r}: give a YAML file, or one of {known or 'config/worlds'}")
    return _change(read_plain(file, SimError), str(file))


def _change(given: Any, where: str) -> WorldChange:
    known = _mapping(given, where, ("cameras", "light", "joints"))
    cameras = known.get("cameras", {})
    axes = tuple(f.name for f in fields(CameraShift))
    shifts = {}
    for camera, shift in _mapping(cameras, f"{where}: cameras", None).items():
        place = f"{where}: cameras: {camera}"
        values = _mapping(shift, place, axes).items()
        shifts[camera] = CameraShift(**{a: _number(v, f"{place}: {a}", -FARTHEST, FARTHEST) for a, v in values})
    joints = {
        channel: _number(value, f"{where}: joints: {channel}", -FARTHEST_OFF, FARTHEST_OFF)
        for channel, value in _mapping(known.get("joints", {}), f"{where}: joints", None).items()
    }
    return WorldChange(shifts, _number(known.get("light", 1.0), f"{where}: light", 0.0, BRIGHTEST), joints)


def _mapping(value: Any, where: str, keys: tuple[str, ...] | None) -> dict[str, Any]:
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise SimError(f"{where}: has to be a mapping{' of ' + ', '.join(keys) if keys else ''}")
    unknown = [key for key in value if keys is not None and key not in keys]
    if unknown:
        raise SimError(f"{where}: unknown key {unknown[0]!r}; there are {', '.join(keys or ())}")
    return value


def _number(value: Any, where: str, least: float, most: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
        raise SimError(f"{where}: {value!r} has to be a number from {least:g} to {most:g}")
    return float(value)


class Looks:
    """Cameras and light of a compiled model, which can be changed, always from what they were at first."""

    def __init__(self, model: mujoco.MjModel) -> None:
        self._model = model
        self._usual = [(array, array.copy()) for array in self._arrays()]

    def apply(self, change: WorldChange) -> None:
        """Change the model in place. Raises SimError for a camera that it lacks."""
        for array, usual in self._usual:
            array[:] = usual
        model = self._model
        for name, shift in change.cameras.items():
            number = mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_CAMERA, name)
            if number < 0:
                have = ", ".join(model.camera(i).name for i in range(model.ncam))
                raise SimError(f"the changed world moves camera {name!r}, which this robot lacks; it has {have}")
            _shift(model, number, shift)
        for light in (model.light_diffuse, model.vis.headlight.ambient, model.vis.headlight.diffuse):
            light[:] *= change.light

    def _arrays(self) -> tuple[np.ndarray, ...]:
        model = self._model
        head = model.vis.headlight
        return model.cam_pos, model.cam_quat, model.light_diffuse, head.ambient, head.diffuse


def encoder_offsets(robot: Robot, change: WorldChange) -> np.ndarray:
    """How much farther the joint of each channel is than it is measured [D], rad or m.

    Raises SimError for a channel that the robot lacks, or that is no joint with a position of its own.
    """
    grippers = {group.channels[0].name for group in robot.groups if group.gripper is not None}
    offsets = np.zeros(len(robot.channels))
    for channel, value in change.joints.items():
        if channel not in robot.joint_of_channel or channel in grippers:
            have = ", ".join(name for name in robot.joint_of_channel if name not in grippers)
            raise SimError(f"the changed world puts joint {channel!r} off, which this robot lacks; it has {have}")
        offsets[robot.index[channel]] = value
    return offsets


def _shift(model: mujoco.MjModel, number: int, shift: CameraShift) -> None:
    """MuJoCo's camera looks along -z with x to the right and y up."""
    before = np.zeros(9)
    mujoco.mju_quat2Mat(before, model.cam_quat[number])
    axes = before.reshape(3, 3)
    model.cam_pos[number] += axes @ (-shift.left, shift.up, -shift.forward)
    turned = axes @ _about(1, shift.turn) @ _about(0, -shift.tilt) @ _about(2, -shift.roll)
    mujoco.mju_mat2Quat(model.cam_quat[number], turned.ravel())


def _about(axis: int, angle: float) -> np.ndarray:
    """Rotation matrix about one of the axes."""
    c, s, (i, j) = math.cos(angle), math.sin(angle), ((axis + 1) % 3, (axis + 2) % 3)
    matrix = np.eye(3)
    matrix[i, i], matrix[i, j], matrix[j, i], matrix[j, j] = c, -s, s, c
    return matrix
