"""An operator at work that is disturbed now and then, and frames of what it does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pi0_ros.sim.robot import SimRobot
from pi0_ros.touch.operator import Operator

Frame = dict[str, Any]


@dataclass(frozen=True)
class Disturbance:
    """What happens until a time [s]: a push of an arm (fingertip velocity [3] m/s and joint velocity [6] rad/s), a hand that opens, or
    a push of the base (`twist` [3]: vx, vy [m/s], wz [rad/s])."""

    until: float = -1.0
    side: str = "left"
    tip: np.ndarray = field(default_factory=lambda: np.zeros(3))
    joints: np.ndarray = field(default_factory=lambda: np.zeros(6))
    opens: bool = False
    twist: np.ndarray | None = None


def push(rng: np.random.Generator, now: float, side: str) -> Disturbance:
    """A random push of an arm that begins now [s]."""
    tip = rng.uniform((-0.3, -0.3, -0.03), (0.3, 0.3, 0.2))
    return Disturbance(now + float(rng.uniform(0.2, 0.5)), side, tip, rng.uniform(-0.3, 0.3, 6))


class DisturbedOperator:
    """Lets an operator act, period by period, and takes down every `1 / fps` seconds what there is to see."""

    def __init__(
        self, operator: Operator, sim: SimRobot, rng: np.random.Generator, fps: int, rate: float,
        disturb: Callable[[str], Disturbance], look: Callable[[str], Frame],
    ) -> None:  # fmt: skip
        """rate: disturbances a second. disturb: begins a new one. look: what there is to see now. Both are given the text that the
        operator follows."""
        self.operator, self.sim, self._rng, self._disturb, self._look = operator, sim, rng, disturb, look
        self._chance = rate * operator.period
        self._every = round(1.0 / (fps * operator.period))
        self._now, self._disturbed, self._tick = Disturbance(), False, 0

    def step(self, text: str) -> Frame | None:
        """One period of the operator; a frame if one is due.

        A frame is what `look` returned, `action`: float32 [D], what the operator means to send now, also while it is disturbed, and
        `perturbed`: it was disturbed between the frame before and this one, so no plan of an earlier frame holds from here on.
        """
        if self._now.until < self.sim.time and self._rng.random() < self._chance:
            self._now, self._disturbed = self._disturb(text), True
        during = self._now.until >= self.sim.time
        self._disturbed = self._disturbed or during
        frame = self._look(text) if self._tick % self._every == 0 else None
        command = self.operator.act(text)
        if frame is not None:
            frame = {**frame, "action": command.astype(np.float32), "perturbed": self._disturbed}
            self._disturbed = during
        self.sim.set_command(self.sim.robot.channel_names, self._after(command) if during else command)
        self.sim.advance(self.operator.period)
        self._tick += 1
        return frame

    def _after(self, command: np.ndarray) -> np.ndarray:
        """The command [D] after one period of the disturbance; the operator goes on from there."""
        now = self._now
        if now.twist is not None:
            moved = command.copy()
            moved[[self.sim.robot.index[name] for name in ("base_vx", "base_vy", "base_wz")]] = now.twist
        elif now.opens:
            moved = command.copy()
            moved[self.sim.robot.index[f"{now.side}_gripper"]] = 1.0
        else:
            moved = self.operator.displaced(now.side, now.tip, now.joints)
        self.operator.set_command(moved)
        return moved
