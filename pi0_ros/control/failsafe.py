"""All watchdogs: conditions in, mode events out, the worst first.

After PX4's `failsafe/framework`: time is an argument, nothing is read or sent here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from pi0_ros.control.mode_keeper import ModeEvent
from pi0_ros.control.modes import Mode, ModeState, Trigger, advance
from pi0_ros.control.policy_watch import PolicyWatch
from pi0_ros.control.settings import ExecutorSettings
from pi0_ros.control.tracking import Standstill, Tracking
from pi0_ros.control.watchdogs import Since
from pi0_ros.robot.quoting import quote
from pi0_ros.robot.spec import Robot

Array = npt.NDArray[np.float64]


class StateCondition(NamedTuple):
    """The measurements: `quiet` is what has not been measured lately, `outside` what is far outside its limits, `clock`
    what the ROS clock does ("" for nothing each). `contradicted`: two publishers disagree. `frozen`: nothing changes."""

    quiet: str
    outside: str
    contradicted: bool
    frozen: bool
    clock: str
    measured: Sequence[float]


class PlanCondition(NamedTuple):
    """The policy and its plans: none yet (`waiting`), run out (`dry`), the typical `delay` [s] of a chunk, why the
    newest chunk was refused, who else publishes, and what is known of the policy."""

    waiting: bool
    dry: bool
    delay: float
    refusal: str
    other: str
    policy: PolicyWatch


class Conditions(NamedTuple):
    """All that is judged in a period. `following`: commands go out, from measurements that were good once. `estop`: why the
    robot has to be stopped, "" if it need not be. `teleop`: a person drives, with a device that can be followed. `commanded` [3, D]."""

    mode: ModeState
    following: bool
    estop: str
    teleop: bool
    commanded: Array
    state: StateCondition
    plan: PlanCondition


class Failsafe:
    """All watchdogs of the control core."""

    def __init__(self, robot: Robot, settings: ExecutorSettings, period: float) -> None:
        """`period` [s] between two updates."""
        self._settings = settings
        self.tracking, self._standstill = Tracking(robot, settings), Standstill(robot, settings, period)
        self._stale, self._starved, self._planless = Since(), Since(), Since()
        self._teleop_seen = False
        self.late = False
        """Whether measurements are late, but not for long enough to leave the mode: the robot is only slowed."""
        self._mode, self._events = ModeState(), list[ModeEvent]()

    def begin(self, command: Array) -> None:
        """Commands go out from now on, the first from `command` [D]."""
        self._standstill.begin(command)

    @property
    def starved(self) -> bool:
        """Whether the plan ran out before the next chunk came."""
        return self._starved.start is not None

    def lost(self, steady: float) -> bool:
        """Whether measurements have been missing for too long to go on with."""
        return self._stale.lasts(steady, self._settings.state_lost)

    def update(self, steady: float, now: Conditions) -> list[ModeEvent]:
        """One period on: what has to be asked of the mode table, the worst first. `steady` [s]."""
        self._follow_mode(now.mode)
        self._events = []
        if now.estop:
            self._ask(Trigger.ESTOP, now.estop)
        if now.following and now.state.outside:
            self._ask(Trigger.FAULT, now.state.outside)
        if self._mode.mode in (Mode.TELEOP, Mode.AUTONOMY):
            self._watch_standstill(now)
        self._watch_state(steady, now)
        if self._mode.mode is Mode.TELEOP:
            self._watch_teleop(now.teleop)
        if self._mode.mode is Mode.AUTONOMY:
            self._watch_policy(steady, now.plan)
        if now.following and not now.state.quiet:
            lost = self.tracking.lost(steady, now.commanded, now.state.measured)
            if lost:
                self._ask_off_course(lost)
        return self._events

    def _follow_mode(self, mode: ModeState) -> None:
        """Forget what is known of an owner that has gone."""
        if mode.epoch != self._mode.epoch:
            self._teleop_seen, self._starved, self._planless = False, Since(), Since()
            self.tracking.restart()
        self._mode = mode

    def _ask(self, trigger: Trigger, text: str) -> None:
        self._events.append(ModeEvent(trigger, text))
        self._follow_mode(advance(self._mode, trigger, text))

    def _ask_off_course(self, text: str) -> None:
        self._ask(Trigger.TRACKING, text)
        self.tracking.forgive()

    def _watch_standstill(self, now: Conditions) -> None:
        command = now.commanded[0]
        if blocked := self._standstill.blocked(command, now.state.frozen, now.following):
            self._ask_off_course(blocked)
            self._standstill.begin(command)

    def _watch_state(self, steady: float, now: Conditions) -> None:
        state = now.state
        self._stale = self._stale.update(steady, bool(state.quiet))
        grace = not state.contradicted and not self._stale.lasts(steady, self._settings.state_grace)
        self.late = bool(state.quiet) and now.following and grace
        if not state.quiet or not now.following or self.late:
            return
        self._ask(Trigger.STATE_STALE, state.quiet)
        if self.lost(steady):
            why = f"{state.quiet}; {state.clock}" if state.clock else state.quiet
            self._ask(Trigger.FAULT, f"measurements lost: {why}")

    def _watch_teleop(self, alive: bool) -> None:
        if self._teleop_seen and not alive:
            self._ask(Trigger.TELEOP_LOST, "the teleop device went silent")
        self._teleop_seen = alive

    def _watch_policy(self, steady: float, plan: PlanCondition) -> None:
        # Counted from when there was no plan: late measurements end a plan, but not autonomy after ten good seconds.
        self._planless = self._planless.update(steady, plan.waiting)
        if (limit := self._settings.engage_timeout) and self._planless.lasts(steady, limit):
            self._ask(Trigger.POLICY_LOST, plan.policy.lost(limit, plan.refusal))
        self._starved = self._starved.update(steady, plan.dry)
        lost = self._settings.policy_lost
        lost += 2.0 * plan.delay if plan.delay > 0.5 * lost else 0.0  # a slow policy is not silent
        if self._starved.lasts(steady, lost):
            text = plan.policy.silent(lost)
            if plan.other:
                text += f"; {quote(plan.other)} publishes and is followed once autonomy is asked for again"
            self._ask(Trigger.POLICY_LOST, text)
