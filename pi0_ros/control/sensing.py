"""What is known of the robot: newest measured value of every channel, and how far it can be trusted."""

from __future__ import annotations

import math
from collections.abc import Mapping

from pi0_ros.control.settings import ExecutorSettings
from pi0_ros.robot.spec import Kind, Robot

NEVER = -math.inf


def odometry_axis(name: str) -> int | None:
    """0, 1 or 2 for a channel named like vx, vy or wz (base_vx, ...), None for any other."""
    return next((i for i, axis in enumerate(("vx", "vy", "wz")) if name.endswith(axis)), None)


class Measured:
    """Newest measurement per channel, in the order of the action vector."""

    def __init__(self, robot: Robot, settings: ExecutorSettings) -> None:
        count = len(robot.channels)
        self.values = [math.nan] * count
        """In robot units; NaN while never measured."""
        self._heard, self._stamps = [NEVER] * count, [-math.inf] * count
        self._names, self._far = robot.channel_names, settings.outside_fault
        self._joints: dict[str, tuple[int, float, float, float, float]] = {}
        for group in robot.groups:
            for channel in group.channels:
                joint = robot.joint_of_channel.get(channel.name)
                if joint is not None:
                    zero, one = (group.gripper.closed, group.gripper.open) if group.gripper else (0.0, 1.0)
                    far = self._far if channel.kind is Kind.POSITION else math.inf
                    ends = (channel.limits.lower - far, channel.limits.upper + far)
                    self._joints[joint] = (robot.index[channel.name], zero, 1.0 / (one - zero), *ends)
        self._axes = [(odometry_axis(c.name), robot.index[c.name]) for c in robot.channels if c.kind is Kind.VELOCITY]
        ages = {kind: [s.max_age for s in robot.state if s.type == kind] for kind in ("joint_state", "odometry")}
        self._limit = max(ages["joint_state"], default=settings.state_stale)
        self._odometry_limit = max(ages["odometry"], default=math.inf)
        self._tolerance, self._frozen_time = settings.state_stamp_tolerance, settings.state_frozen
        self._needed = [i for i, *_ in self._joints.values()]
        self._out: dict[int, float] = {}  # position channels far outside their limits, and how far
        self._turned = [i for a, i in self._axes if a is not None] if ages["odometry"] else []
        self._changed = NEVER

    def hear_joints(self, steady: float, ros: float, stamp: float, positions: Mapping[str, float]) -> str:
        """Take a joint state; returns what was wrong with it, "" where nothing was.

        A stamp of zero or of the future is replaced by the receive time; a repeated or older stamp, or one far in the
        past, is not new information and changes nothing.
        """
        stamp, problem = self._believable(stamp, ros)
        if problem == "old":
            return f"joint states are stamped {ros - stamp:.2f} s in the past"
        moved = False
        for joint, value in positions.items():
            where = self._joints.get(joint)
            if where is None:
                continue
            i, zero, scale, lowest, highest = where
            if not isinstance(value, int | float) or not math.isfinite(value):
                problem = f"{joint} is {value}"
                continue
            if stamp <= self._stamps[i]:
                problem = problem or "repeated or older stamp"
                continue
            reading = (value - zero) * scale
            moved = moved or reading != self.values[i]
            if not lowest <= reading <= highest:
                self._out[i] = max(lowest - reading, reading - highest) + self._far
            elif self._out:
                self._out.pop(i, None)
            self.values[i], self._heard[i], self._stamps[i] = reading, steady, stamp
        if moved:
            self._changed = steady
        return problem

    def hear_odometry(self, steady: float, ros: float, stamp: float, velocities: tuple[float, float, float]) -> str:
        """Take base velocities (vx, vy [m/s], wz [rad/s]) in the base frame; as `hear_joints`."""
        stamp, problem = self._believable(stamp, ros)
        if problem == "old":
            return f"odometry is stamped {ros - stamp:.2f} s in the past"
        if not all(math.isfinite(v) for v in velocities):
            return "odometry is not finite"
        for axis, i in self._axes:
            if axis is not None and stamp > self._stamps[i]:
                self.values[i], self._heard[i], self._stamps[i] = velocities[axis], steady, stamp
        return problem

    def _believable(self, stamp: float, ros: float) -> tuple[float, str]:
        if not math.isfinite(stamp) or stamp <= 0.0:
            return ros, "state without a stamp: the receive time is used"
        if stamp > ros + self._tolerance:
            return ros, f"state stamped {stamp - ros:.2f} s in the future: the receive time is used"
        return stamp, "old" if stamp < ros - self._tolerance else ""

    def forget_stamps(self) -> None:
        """The clock has jumped: stamps before it say nothing about stamps after it."""
        self._stamps = [-math.inf] * len(self._stamps)

    def stale(self, steady: float) -> str:
        """Which channels have not been measured lately, as a reason; "" where all have."""
        quiet = [i for i in self._needed if steady - self._heard[i] > self._limit]
        quiet += [i for i in self._turned if steady - self._heard[i] > self._odometry_limit]
        if not quiet:
            return ""
        return f"no fresh measurement of {self._names[quiet[0]]}" + (f" and {len(quiet) - 1} more" if quiet[1:] else "")

    @property
    def outside(self) -> str:
        """Which position was last measured far outside its limits, "" where none was."""
        if not self._out:
            return ""
        worst = max(self._out, key=self._out.__getitem__)
        return f"{self._names[worst]} is {self._out[worst]:.2f} outside its limits"

    def frozen(self, steady: float) -> bool:
        """Whether no measured joint has changed at all for the time set (the caller knows whether it should have)."""
        return steady - self._changed > self._frozen_time
