"""A simulated robot: what a driver offers (commands in, measurements and pictures out), in virtual time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import mujoco
import numpy as np

from pi0_ros.robot import Kind, Robot
from pi0_ros.sim.changes import Looks, WorldChange, encoder_offsets
from pi0_ros.sim.errors import SimError
from pi0_ros.sim.lamps import Lamps, Touch
from pi0_ros.sim.mobile_base import MobileBase
from pi0_ros.sim.render import Renderer
from pi0_ros.sim.scene import HOME, Scene, sample_scene
from pi0_ros.sim.world import (
    BLOCK_HALF,
    TABLE_TOP,
    TIMESTEP,
    Furnish,
    build_world,
)

TICK = 0.01  # s: how often the driver sets the base velocity and looks for touches; a whole number of TIMESTEPs
WATCHDOG = 0.5  # s without a command after which arms hold and the base ramps to zero


class SimRobot:
    """One simulated robot and its scene. Time moves only in `advance`; the same seed and commands give the same bits.

    Not safe to use from two threads at once.

    Larger than a class should be because it has one method per thing that a driver does or says.
    """

    def __init__(
        self, robot: Robot, seed: int = 0, change: WorldChange | None = None, furnish: Furnish | None = None
    ) -> None:
        """Build the world of a robot and reset it. `furnish` puts other things in place of the blocks with lamps;
        `change` moves cameras and light.

        Raises SimError when its URDF lacks something.
        """
        self.robot = robot
        self.world = build_world(robot, furnish)
        self.model = self.world.model
        self._looks = Looks(self.model)
        self.encoder_offset = np.zeros(len(robot.channels))
        """By how much the joint of each channel is farther than it is measured [D], rad or m."""
        self.change_world(change or WorldChange())
        self.data = mujoco.MjData(self.model)
        self._renderer: Renderer | None = None
        self._grippers = {g.channels[0].name: g.gripper for g in robot.groups if g.gripper is not None}
        self._joint = dict(robot.joint_of_channel)
        self._base = MobileBase(self.world, [c for c in robot.channels if c.kind is Kind.VELOCITY], TICK)
        self.lamps = Lamps(self.world)
        self._due, self._commanded_at = 0.0, -np.inf
        self.scene = Scene(blocks={})
        self.reset(seed)

    def change_world(self, change: WorldChange) -> None:
        """Change cameras, light and calibration from what is usual; what an earlier call changed is undone. `load` comes next.

        Raises SimError for a camera or a joint that the robot lacks.
        """
        self.encoder_offset = encoder_offsets(self.robot, change)
        self._looks.apply(change)

    def reset(self, seed: int = 0) -> None:
        """Start anew in the random scene of a seed, no lamp lit; things without lamps stand where they were built."""
        scene = sample_scene(np.random.default_rng(seed))
        self.load(scene if self.world.block else replace(scene, blocks={}))

    def load(self, scene: Scene) -> None:
        """Start anew at time 0 in this scene, everything at rest and the servos holding where they are."""
        mujoco.mj_resetData(self.model, self.data)
        self.scene = scene
        self._due, self._commanded_at = 0.0, -np.inf
        self._base.reset(self.data, scene.base)
        for name, joint in self._joint.items():
            value = self._joint_value(name, scene.start.get(name, HOME.get(name, 0.0)))
            for moved in (joint, joint.replace("_finger_joint", "_finger2_joint")):
                self.data.qpos[self.world.qpos[moved]] = value
            self.data.ctrl[self.world.actuator[joint]] = value
        blocks = {colour: (x, y, TABLE_TOP, yaw) for colour, (x, y, yaw) in scene.blocks.items()}
        for name, (x, y, z, yaw) in {**blocks, **scene.objects}.items():
            at = self.world.object_qpos[name]
            self.data.qpos[at : at + 7] = (x, y, z, np.cos(yaw / 2), 0, 0, np.sin(yaw / 2))
        self.lamps.reset(scene.lit)
        mujoco.mj_forward(self.model, self.data)

    @property
    def time(self) -> float:
        """Simulated seconds since the reset."""
        return float(self.data.time)

    @property
    def touches(self) -> list[Touch]:
        """Contacts of grippers with blocks since the last reset, oldest first, once per block and side."""
        return self.lamps.touches

    @property
    def lit(self) -> set[str]:
        """The colours whose lamp is on."""
        return self.lamps.lit

    @property
    def block_positions(self) -> dict[str, np.ndarray]:
        """Colour to the block's top centre [3] in the world frame, m."""
        return {c: np.array(self.block_top(c)) for c in self.world.block}

    def block_top(self, colour: str) -> tuple[float, float, float]:
        """The top centre of one block in the world frame, m."""
        x, y, z = self.data.geom_xpos[self.world.block[colour]]
        return float(x), float(y), float(z) + BLOCK_HALF

    def set_command(self, names: Sequence[str], values: Sequence[float] | np.ndarray) -> None:
        """Take commands for some channels in robot units, clipped to the channel limits.

        Raises SimError for a channel the robot does not have, a wrong count or a value that is not finite; nothing
        of that command is taken then.
        """
        if len(names) != len(values):
            raise SimError(f"command has {len(names)} names and {len(values)} values")
        for name, value in zip(names, values, strict=True):
            if name not in self.robot.index:
                raise SimError(f"command for channel {name!r}, which robot {self.robot.name} does not have")
            if not np.isfinite(value):
                raise SimError(f"command for channel {name} is {value}; send finite numbers")
        for name, value in zip(names, values, strict=True):
            limits = self.robot.channels[self.robot.index[name]].limits
            bounded = min(max(float(value), limits.lower), limits.upper)  # np.clip takes ten times as long
            if name in self._base.channels:
                self._base.command(name, bounded)
            else:
                self.data.ctrl[self.world.actuator[self._joint[name]]] = self._joint_value(name, bounded)
        self._commanded_at = self.time

    def advance(self, seconds: float) -> None:
        """Let simulated time pass, in whole TICKs; what does not fill one is kept for the next call."""
        self._due += seconds
        for _ in range(int(self._due / TICK + 1e-6)):
            self._due -= TICK
            self._base.drive(self.data, self.time - self._commanded_at > WATCHDOG)
            mujoco.mj_step(self.model, self.data, round(TICK / TIMESTEP))
            self.lamps.feel(self.data)

    def joint_state(self) -> tuple[tuple[str, ...], np.ndarray, np.ndarray]:
        """Names, positions and velocities of all joints of the robot, in rad, m and per second."""
        names = self.world.measured
        off = {joint: self.encoder_offset[self.robot.index[channel]] for channel, joint in self._joint.items()}
        positions = self.data.qpos[[self.world.qpos[n] for n in names]] - [off.get(n, 0.0) for n in names]
        return names, positions, self.data.qvel[[self.world.dof[n] for n in names]]

    def odometry(self) -> tuple[float, float, float, float, float, float]:
        """(x, y, yaw, vx, vy, wz): pose in the odom frame, which is where the base stood at reset; twist in base_link."""
        return self._base.odometry(self.data)

    def measured(self) -> dict[str, float]:
        """Channel to measured value in robot units: rad, m, gripper 0 closed .. 1 open, base twist in base_link."""
        twist = self.odometry()[3:]
        values = dict(zip(self._base.channels, twist, strict=True))
        for name, joint in self._joint.items():
            value = float(self.data.qpos[self.world.qpos[joint]] - self.encoder_offset[self.robot.index[name]])
            grip = self._grippers.get(name)
            values[name] = value if grip is None else (value - grip.closed) / (grip.open - grip.closed)
        return {name: values[name] for name in self.robot.channel_names}

    def arm_contacts(self) -> set[frozenset[str]]:
        """Pairs of bodies in contact now of which at least one belongs to an arm, in MuJoCo's body names."""
        pairs = [[self.model.body(self.model.geom_bodyid[g]).name for g in pair] for pair in self.data.contact.geom]
        return {frozenset(pair) for pair in pairs if any(name.startswith(("left_", "right_")) for name in pair)}

    def render(self, camera: str, size: int = 224) -> np.ndarray:
        """What a camera sees now: uint8 [size, size, 3] RGB. Raises SimError for an unknown camera or without EGL."""
        if mujoco.mj_name2id(self.model, mujoco.mjtObj.mjOBJ_CAMERA, camera) < 0:
            raise SimError(f"robot {self.robot.name} has no camera {camera!r}")
        if self._renderer is None or self._renderer.size < size:
            self.close()
            self._renderer = Renderer(self.model, max(size, 224))
        return self._renderer.draw(self.data, camera, size)

    def close(self) -> None:
        """Free the drawing context; the next `render` makes a new one."""
        if self._renderer is not None:
            self._renderer.close()
            self._renderer = None

    def _joint_value(self, channel: str, value: float) -> float:
        """Where the joint of a channel really is that the robot measures or commands there."""
        grip = self._grippers.get(channel)
        if grip is not None:
            return grip.closed + value * (grip.open - grip.closed)
        return value + float(self.encoder_offset[self.robot.index[channel]])


def state_vector(robot: Robot, measured: Mapping[str, float]) -> np.ndarray:
    """Measured channel values in action-vector order: float64 [D]."""
    return np.array([measured[name] for name in robot.channel_names])
