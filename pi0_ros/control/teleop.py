"""What a person's devices say: newest value per group, how old it is, and whether the leader was moved."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from pi0_ros.control.acceptance import Lead
from pi0_ros.control.settings import ExecutorSettings
from pi0_ros.control.watchdogs import silent
from pi0_ros.robot.measurement import nearest_turn
from pi0_ros.robot.spec import Group, Kind, Robot
from pi0_ros.robot.wire import ends_hint

Array = npt.NDArray[np.float64]

SLOPE, LONGEST_SLOPE = 0.03, 0.15  # [s] of positions that say how fast a leader moves
TRAIL = 0.02  # [s]


class Device:
    """The input of one group."""

    def __init__(self, group: Group, max_age: float, settings: ExecutorSettings) -> None:
        self.group, self.max_age = group, max_age
        self.lead, self.fresh_jump = Lead(group.channels, settings), False
        self.goal = np.zeros((3, len(group.channels)))
        self.received: float | None = None
        self._recent: deque[tuple[float, tuple[float, ...]]] = deque(maxlen=256)
        self._places = {c.name: i for i, c in enumerate(group.channels)}
        self._endless = [i for i, c in enumerate(group.channels) if c.continuous]

    def hear(self, steady: float, names: Sequence[str], values: Sequence[float], command: Array | None = None) -> str:
        """Take one message by channel name; returns why it was refused, "" if it was not. Unknown names are skipped.

        Angles of joints without ends are taken on the turn of the group's `command`, once there is one.
        """
        if len(names) != len(values):
            return f"teleop for {self.group.name}: {len(names)} names and {len(values)} values"
        found = {self._places[n]: float(v) for n, v in zip(names, values, strict=True) if n in self._places}
        if missing := [c.name for i, c in enumerate(self.group.channels) if i not in found]:
            return f"teleop for {self.group.name} lacks {missing[0]}"
        ordered = tuple(found[i] for i in range(len(found)))
        if not all(math.isfinite(v) for v in ordered):
            return f"teleop for {self.group.name} is not finite"
        if command is not None:
            turned = {i: nearest_turn(ordered[i], float(command[i])) for i in self._endless}
            ordered = tuple(turned.get(i, v) for i, v in enumerate(ordered))
        if objection := self.lead.objection(ordered):
            hint = ends_hint(self.group, self.group.teleop) if self.group.teleop is not None else ""
            return f"teleop for {self.group.name}: {objection}{hint}"
        if self.received is None or silent(self.received, steady, self.max_age):
            self.lead.restart(steady)
            self.fresh_jump = False
        else:
            self.fresh_jump = self.lead.jumped(tuple(self.goal[0]), ordered, steady - self.received)
        self.goal[0], self.received = ordered, steady
        self._recent.append((steady, ordered))
        return ""

    def fresh(self, steady: float) -> bool:
        """Whether the input is new enough to be followed."""
        return not silent(self.received, steady, self.max_age)

    def aim(self, steady: float) -> Array:
        """Value, velocity, acceleration [3, D] to go to at `steady` [s].

        A leader is met where its velocity, estimated from its newest positions, has led it meanwhile; the command stays
        `TRAIL` behind it, so that there is time to see it stop.
        """
        if self.group.kind is not Kind.POSITION or self.received is None:
            return self.goal
        now, newest = self._recent[-1]
        before = next((r for r in reversed(self._recent) if now - r[0] >= SLOPE), None)
        if before is None or now - before[0] > LONGEST_SLOPE:
            return self.goal
        goal = self.goal.copy()
        goal[1] = (np.array(newest) - np.array(before[1])) / (now - before[0])
        goal[0] += goal[1] * (min(steady - now, now - before[0]) - TRAIL)
        return goal

    def travel(self, steady: float) -> float:
        """How far a position input has moved within its max_age [rad or m]; 0 for any other kind."""
        if self.group.kind is not Kind.POSITION:
            return 0.0
        while self._recent and steady - self._recent[0][0] > self.max_age:
            self._recent.popleft()
        if len(self._recent) < 2:
            return 0.0
        first, last = self._recent[0][1], self._recent[-1][1]
        return max(abs(a - b) for a, b in zip(first, last, strict=True))


class Teleop:
    """All devices, and the deadman button if the robot has one."""

    def __init__(self, robot: Robot, settings: ExecutorSettings) -> None:
        self.devices = {
            g.name: Device(g, g.teleop.max_age if g.teleop else settings.teleop_stale, settings) for g in robot.groups
        }
        ends = np.cumsum([len(g.channels) for g in robot.groups]).tolist()
        self._parts = {g.name: slice(e - len(g.channels), e) for g, e in zip(robot.groups, ends, strict=True)}
        self._needs_button = bool(robot.takeover.deadman_topic)
        self._leader_motion = robot.takeover.leader_motion
        self._button_age, self._button_heard, self._button = settings.teleop_stale, -math.inf, False

    def hear(
        self, steady: float, group: str, names: Sequence[str], values: Sequence[float], command: Array | None = None
    ) -> str:
        """Take one message for `group`; returns why it was refused, "" if it was not.

        `command` [D] of all channels, None before the first one.
        """
        device = self.devices.get(group)
        if device is None:
            return f"teleop for {group!r}, which is no group of this robot"
        try:
            return device.hear(steady, names, values, None if command is None else command[self._parts[group]])
        except (TypeError, ValueError) as error:
            return f"teleop for {group}: {error}"

    def update_button(self, steady: float, pressed: bool) -> None:
        """Take the state of the deadman button."""
        self._button, self._button_heard = pressed, steady

    def enabled(self, steady: float) -> bool:
        """Whether the deadman button allows motion: held and heard lately, or not there at all."""
        return not self._needs_button or (self._button and steady - self._button_heard <= self._button_age)

    def jumped(self, group: str) -> str:
        """What is to be said if the newest input of `group` jumped, "" if it did not."""
        return f"the input for {group} jumped; it is approached slowly" if self.devices[group].fresh_jump else ""

    def restart(self, steady: float) -> None:
        """Somebody else drove: every input is followed slowly at first."""
        for device in self.devices.values():
            device.lead.restart(steady)

    def alive(self, steady: float) -> bool:
        """Whether any device can be followed."""
        return any(d.fresh(steady) for d in self.devices.values())

    def leader_moved(self, steady: float, group: str) -> bool:
        """Whether this group's leader has moved enough to mean it (an option; off by default)."""
        return self._leader_motion > 0.0 and self.devices[group].travel(steady) > self._leader_motion
