"""Moves the command by one period: along a plan, towards a person's input, to where the robot is held, or to rest."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from pi0_ros.control.engage import Engage
from pi0_ros.control.inputs import Inputs
from pi0_ros.control.joint_guard import JointGuard
from pi0_ros.control.limiter import Limiter
from pi0_ros.control.modes import Mode
from pi0_ros.control.plans import Plans
from pi0_ros.control.settings import ExecutorSettings
from pi0_ros.control.step import Command
from pi0_ros.control.tracking import lags_of
from pi0_ros.robot.spec import Kind, Robot

Array = npt.NDArray[np.float64]


class Drive:
    """Owns the command."""

    def __init__(
        self, robot: Robot, settings: ExecutorSettings, period: float, inputs: Inputs, plans: Plans, engage: Engage
    ) -> None:
        """`period` [s] between commands."""
        self._robot, self._settings = robot, settings
        self._inputs, self._plans, self._engage = inputs, plans, engage
        self._limiter = Limiter(robot, period, settings.recovery_velocity)
        self._guard = JointGuard(robot, period, max(lags_of(robot, settings)))
        # A velocity comes to rest on the way to zero, a position wherever it can.
        self._rest = np.zeros((3, len(robot.channels)))
        self._stops = [g.kind is Kind.VELOCITY for g in robot.groups]
        self._driven = [p for p, driven in zip(self._limiter.slices, self._stops, strict=True) if driven]
        self._hold_at: Array | None = None
        self._last_stamp = -math.inf

    @property
    def commanded(self) -> Array:
        """The newest command with its derivatives [3, D]; never written into."""
        return self._limiter.state

    @property
    def still(self) -> bool:
        """Whether every channel is at rest."""
        return self._limiter.still

    def begin(self, start: Array) -> None:
        """Commands go out from now on, from `start` [D] at rest."""
        self._limiter.reset(start)
        self._hold_at = None

    def change_owner(self, _: float) -> None:
        """Somebody else drives: what was held is not held any more."""
        self._hold_at = None

    def restart_stamps(self) -> None:
        """The ROS clock was set: stamps rise from where it is now."""
        self._last_stamp = -math.inf

    def hold_measured(self) -> None:
        """Go to where the robot is measured, inside its limits, and stay there."""
        limits = [c.limits for c in self._robot.channels]
        lower, upper = np.array([m.lower for m in limits]), np.array([m.upper for m in limits])
        self._hold_at = np.clip(self._inputs.measured.or_commanded(self.commanded[0]), lower, upper)

    def move(self, steady: float, plan_time: float, ros: float, mode: Mode, late: bool) -> tuple[str, int | None]:
        """Move the command by one period; returns who did, and how many groups a limit changed, None for a refused command.

        `plan_time`: ROS time [s] on the plan clock. `late`: measurements are late, so the robot is braked.
        """
        if late:  # the next plan that starts near the robot goes on
            self._plans.forget()
            return "hold", self.brake()
        if mode is Mode.AUTONOMY and (moved := self._follow_plan(steady, plan_time, ros)) is not None:
            return moved
        if mode is Mode.TELEOP:
            goal, moves = self._teleop_goal(steady)
            return "teleop", self._limiter.step(self._guarded(goal), moves, self._teleop_scales(steady))
        if self._hold_at is not None:
            return "hold", self._go_to(self._hold_at)
        return "hold", self.brake()

    def command(self, ros: float) -> Command:
        """What is sent at ROS time `ros` [s]; its stamp is later than the last one's."""
        stamp = max(ros, self._last_stamp + 1e-6)
        self._last_stamp = stamp
        values, rates = self.commanded[0], self.commanded[1].copy()
        for part in self._driven:
            rates[part] = values[part]
        return Command(stamp, self._robot.channel_names, values, rates)

    def _follow_plan(self, steady: float, time: float, ros: float) -> tuple[str, int] | None:
        """As `move`, None if there is no plan to follow."""
        following, engage = self._plans.following, self._engage
        scales = engage.scale_ahead(steady, time, following.running is not None)
        states, first = following.advance(ros, time, self.commanded, scales)
        if first:
            engage.begin(steady)
        if states is None:
            return None
        self._limiter.follow(self._guarded(self._plans.grips.steady(states)), [engage.scale(steady)] * len(self._stops))
        driving = following.driving
        return "policy" if driving is not None else "hold", int(driving is not None and driving.limited)

    def _guarded(self, goal: Array) -> Array:
        """The goal with joints that velocities move braked before their ends; to be asked once for every command."""
        return self._guard.bounded(goal, self.commanded[0], self._inputs.measured)

    def brake(self) -> int | None:
        """Come to rest, one period further."""
        return self._limiter.step(self._guarded(self._rest), self._stops, [1.0] * len(self._stops))

    def _go_to(self, target: Array) -> int | None:
        """Slowly to the positions in `target` [D]; grippers keep their grip and velocities come to rest."""
        positions = [c.kind is Kind.POSITION for c in self._robot.channels]
        goal = np.stack([np.where(positions, target, 0.0), *self._rest[1:]])
        moves = [g.kind is not Kind.GRIPPER for g in self._robot.groups]
        return self._limiter.step(self._guarded(goal), moves, [self._settings.engage_scale] * len(self._stops))

    def _teleop_goal(self, steady: float) -> tuple[Array, list[bool]]:
        goal, moves, teleop = self._rest.copy(), list(self._stops), self._inputs.teleop
        if teleop.enabled(steady):
            for i, (device, part) in enumerate(zip(teleop.devices.values(), self._limiter.slices, strict=True)):
                if device.fresh(steady):
                    goal[:, part], moves[i] = device.aim(steady), True
                    device.lead.reached(device.goal[0].tolist(), self.commanded[0, part].tolist())
        return goal, moves

    def _teleop_scales(self, steady: float) -> list[float]:
        scale = self._engage.scale(steady)
        return [min(scale, d.lead.scale(steady)) for d in self._inputs.teleop.devices.values()]
