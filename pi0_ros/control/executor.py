"""From action chunks and a person's input to one limited, continuous command a period.

A thin orchestrator: every decision is made by a piece of its own (chunk, splice, timeline, limiter, modes, watchdogs),
time is an argument, nothing here reads a clock, sleeps or raises for bad input.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from pi0_ros.control.acceptance import History, accept_rows, beyond_limits, reach_of
from pi0_ros.control.blackbox import BlackBox
from pi0_ros.control.chunk import Ages, Cause, Chunk, Verdict, check_chunk, in_robot_order, on_nearest_turn
from pi0_ros.control.command_latency import sent_ahead
from pi0_ros.control.delay import ask_in
from pi0_ros.control.events import EventLog
from pi0_ros.control.joint_guard import JointGuard
from pi0_ros.control.limiter import Limiter
from pi0_ros.control.modes import REQUESTS, Mode, ModeState, Trigger, advance, allowed
from pi0_ros.control.plan_sources import Sources
from pi0_ros.control.plans import Plans, Submit, at_once
from pi0_ros.control.policy_watch import PolicyWatch
from pi0_ros.control.sensing import Measured
from pi0_ros.control.settings import ExecutorSettings
from pi0_ros.control.step import Answer, Command, Counters, Step
from pi0_ros.control.teleop import Teleop
from pi0_ros.control.watchdogs import ClockFault, ClockWatch, Estop, PlanClock, Since
from pi0_ros.robot.quoting import quote
from pi0_ros.robot.spec import Kind, Robot

Array = npt.NDArray[np.float64]
WAITING = 10.0  # [s] between two log lines of a robot that is not there yet
UNMEASURED = {Kind.VELOCITY: 0.0, Kind.GRIPPER: 1.0}  # where channels start that nobody measures: at rest, open
SHARP = 0.1  # [s]
MISSED_MOST = 1_000_000  # a pause longer than this many periods is counted as this many


class Executor:
    """The one owner of a robot's command topics.

    All times are seconds as floats: `steady` is the steady clock (it paces and watches), `ros` the ROS clock (it stamps
    data and places plans). Call `step` once a control period; it never raises for what came in.
    """

    _sources: Sources
    _hold_at: Array | None
    _policy: PolicyWatch
    _live: bool
    _waits: str

    def __init__(
        self, robot: Robot, settings: ExecutorSettings | None = None, epoch: int = 0, submit: Submit = at_once
    ) -> None:
        """`epoch`: the first one. A late chunk of an executor that ran before must not meet its number again.
        `submit` makes plans; a node does that in another thread."""
        self.robot, self.settings = robot, settings or ExecutorSettings()
        self.period = 1.0 / robot.control_rate
        self.blackbox = BlackBox()
        self._limiter = Limiter(robot, self.period, self.settings.recovery_velocity)
        self._measured, self._teleop = Measured(robot, self.settings), Teleop(robot, self.settings)
        self._mode, self._estop, self._counts = ModeState(epoch=epoch), Estop(), Counters()
        self._log, self._plans = EventLog(), Plans(robot, self.settings, self.period, submit)
        self._reach, self._history = reach_of(robot, self.settings), History(self.settings.chunk_max_age)
        self._clock, self._plan_clock = ClockWatch(), PlanClock()
        self._off_track, self._stale, self._starved = Since(), Since(), Since()
        self._ages = Ages(self.settings.chunk_max_age, self.settings.wait_max_age, self.settings.chunk_max_ahead)
        self._anchored = False
        self._second_publisher, self._policy = "", PolicyWatch()
        self._last_steady, self._last_stamp = -math.inf, -math.inf
        self._silence(0.0)
        self._tables(robot)

    def _tables(self, robot: Robot) -> None:
        limits = [c.limits for c in robot.channels]
        kinds = [c.kind for c in robot.channels]
        self._lower, self._upper = np.array([m.lower for m in limits]), np.array([m.upper for m in limits])
        self._position = np.array([k is Kind.POSITION for k in kinds])
        # A list, not an array: of so few numbers a loop costs less than a handful of array operations with cold caches.
        self._tracked = [i for i, k in enumerate(kinds) if k is Kind.POSITION]
        settings = self.settings
        units = [robot.channels[i].unit for i in self._tracked]
        self._allowed = [settings.tracking_error_m if unit == "m" else settings.tracking_error for unit in units]
        self._driven = np.array([k is Kind.VELOCITY for k in kinds])
        self._unmeasured = np.array([UNMEASURED.get(k, math.nan) for k in kinds])
        parts = self._limiter.slices
        self._driven_parts = [p for g, p in zip(robot.groups, parts, strict=True) if g.kind is Kind.VELOCITY]
        # A velocity comes to rest on the way to zero, a position wherever it can.
        self._rest = np.zeros((3, len(kinds)))
        self._stops = [g.kind is Kind.VELOCITY for g in robot.groups]
        self._full, self._all = [1.0] * len(robot.groups), [True] * len(robot.groups)
        self._commanded = self._limiter.state
        self._frozen_at = self._commanded[0]
        self._lags = [self.settings.tracking_lag + g.command_latency for g in robot.groups for _ in g.channels]
        self._guard = JointGuard(robot, self.period, max(self._lags))

    @property
    def epoch(self) -> int:
        """The epoch that a chunk has to answer now."""
        return self._mode.epoch

    # What comes in -------------------------------------------------------------------------------------------------

    def on_state(
        self,
        steady: float,
        ros: float,
        stamp: float,
        positions: Mapping[str, float],
        velocities: Mapping[str, float] | None = None,
        topic: str = "",
    ) -> None:
        """Take joint positions [rad, m] and velocities by the robot's joint names, from the source that reads `topic`;
        joints the robot does not name are skipped."""
        problem = self._measured.hear_joints(steady, ros, stamp, positions, velocities, topic)
        if problem:
            self._log.add(steady, ros, "warn", "joint_state", problem)
        self.blackbox.add(steady, ros, "state", (stamp, dict(positions), topic), 64 * len(positions))

    def on_publishers(self, publishers: Mapping[str, tuple[str, ...]]) -> None:
        """Take the names of the nodes that publish on each topic of state."""
        self._measured.publishers = publishers

    def on_odometry(
        self, steady: float, ros: float, stamp: float, vx: float, vy: float, wz: float, topic: str = ""
    ) -> None:
        """Take the base velocity in the base frame [m/s, rad/s] from the source that reads `topic`."""
        problem = self._measured.hear_odometry(steady, ros, stamp, (vx, vy, wz), topic)
        if problem:
            self._log.add(steady, ros, "warn", "odometry", problem)
        self.blackbox.add(steady, ros, "odometry", (stamp, (vx, vy, wz)), 64)

    def on_chunk(self, steady: float, ros: float, chunk: Chunk) -> Verdict:
        """Judge a chunk and, where it is good and autonomy is on, take it up at the next step."""
        self.blackbox.add(steady, ros, "chunk", chunk, int(chunk.values.nbytes))
        known, executed = self._sources.sequences, self._plans.progress.since(chunk.start)
        verdict = check_chunk(chunk, self.robot, ros, self._ages, executed, self._mode.epoch, known)
        if chunk.epoch == self._mode.epoch and self._sources.namesakes(chunk.source, chunk.sequence):
            text = f"two processes publish plans as {quote(chunk.source)}, or it was restarted"
            self._fire(steady, ros, Trigger.NAMESAKE, text, "error")
            return Verdict(False, text, Cause.NOT_DRIVING)
        driven = self._mode.mode is Mode.AUTONOMY and chunk.epoch == self._mode.epoch
        if driven and self.settings.strategy == "auto" and self._ages.oldest < ros - chunk.start < self._ages.waiting:
            self._plans.say_wait(ros - chunk.start, chunk.end - chunk.start)
        if driven and 0.0 <= ros - chunk.start < 60.0:
            self._plans.delays.add(steady, ros - chunk.start)
        if verdict.accepted and (other := self._not_driving(chunk.source)):
            self._count(ignored=1)
            if self._mode.mode is Mode.AUTONOMY:
                self._sources.ignore(chunk.source)
                text = f"two policies publish plans: {other}, {quote(chunk.source)} is ignored"
                self._log.add(steady, ros, "warn", "second policy", text, WAITING)
            return Verdict(False, f"ignored: {other}", Cause.NOT_DRIVING)
        if verdict.accepted:
            chunk = on_nearest_turn(chunk, self.robot, self._commanded[0])
            verdict = self._plausible(chunk)
        if verdict.accepted:
            chunk = sent_ahead(chunk, self.robot)
            measured, scales = self._measured.or_commanded(self._commanded[0]), self._scale_ahead(steady, ros)
            verdict = self._plans.offer(ros, self._plan_clock.time, chunk, self._commanded, measured, scales)
        self._tell_plans(steady, ros)
        if verdict.accepted:
            self._count(chunks_accepted=1)
            self._sources.accept(chunk.source, chunk.sequence)
        else:
            self._refusal = verdict.reason
            self._count(chunks_rejected=1)
            # What was under way when the owner changed comes too late by nature; where nobody drives, nothing is lost.
            driving = "error" if self._mode.mode is Mode.AUTONOMY else "warn"
            level = "info" if chunk.epoch < self._mode.epoch else driving
            self._log.add(steady, ros, level, f"chunk {level}", f"chunk {chunk.sequence} refused: {verdict.reason}")
        return verdict

    def _plausible(self, chunk: Chunk) -> Verdict:
        """Whether the chunk's rows are near the limits and within reach of where the robot, or its plan, was then."""
        moment, running = self._history.at(chunk.start), self._plans.running
        references = [] if moment is None else [(moment.time, moment.commanded), (moment.time, moment.measured)]
        if running is not None and running.plan.path.start <= chunk.start <= running.plan.path.end:
            references.append((chunk.start, running.plan.path.at(np.array([chunk.start]))[0]))
        times = chunk.start + chunk.period * np.arange(chunk.rows, dtype=np.float64)
        return accept_rows(in_robot_order(chunk, self.robot), times, self._reach, references)

    def _not_driving(self, source: str) -> str:
        """Why this source of chunks does not own the robot, "" where it does; the first in an epoch does."""
        if self._mode.mode is not Mode.AUTONOMY:
            return f"the mode is {self._mode.mode.value}"
        owner = self._sources.owner
        return f"{quote(owner)} is driving" if owner not in (None, source) else ""

    def on_teleop(self, steady: float, group: str, names: Sequence[str], values: Sequence[float]) -> None:
        """Take a person's command for one group, by channel name, in robot units."""
        problem = self._teleop.hear(steady, group, names, values, self._measured.command)
        if problem:
            self._count(refused=1)
            self._log.add(steady, self._clock.ros, "warn", f"teleop {group}", problem)
            return
        if self._mode.mode is Mode.TELEOP:
            if jump := self._teleop.jumped(group):
                self._log.add(steady, self._clock.ros, "warn", f"teleop {group} jump", jump)
            return
        self._count(ignored=1)
        moved = self._teleop.leader_moved(steady, group) and self._teleop.enabled(steady)
        if moved and not self._second_publisher:
            self._fire(steady, self._clock.ros, Trigger.LEADER_MOVED, f"the leader of {group} was moved", "info")

    def on_deadman(self, steady: float, pressed: bool) -> None:
        """Take the state of the deadman button (used only where the robot YAML names one)."""
        self._teleop.hear_button(steady, pressed)

    def on_estop(self, steady: float, pressed: bool) -> None:
        """Take the emergency stop's heartbeat."""
        self._estop = self._estop.hear(steady, pressed)
        if pressed:
            self._fire(steady, self._clock.ros, Trigger.ESTOP, "e-stop pressed", "error")

    def on_policy(self, change: Callable[[PolicyWatch], PolicyWatch]) -> None:
        """Take what is newly known of the policy."""
        self._policy = change(self._policy)

    def on_clock_jump(self, steady: float, ros: float) -> None:
        """The ROS clock was set: everything placed on it is void. Autonomy has to be asked for again."""
        self._plans.forget()
        self._measured.forget_stamps()
        self._history.clear()
        self._plan_clock, self._clock, self._last_stamp = PlanClock(), ClockWatch(), -math.inf
        self._fire(steady, ros, Trigger.CLOCK_JUMP, "the ROS clock jumped", "warn")
        self._log.add(steady, ros, "warn", "clock", "the ROS clock jumped: plans and stamps before it are void")

    def on_second_publisher(self, steady: float, ros: float, text: str) -> None:
        """Take who else publishes on the command topics, "" for nobody: nothing moves while somebody does."""
        again, self._second_publisher = text == self._second_publisher, text
        if text:
            self._log.add(steady, ros, "error", "second publisher", text, WAITING if again else 0.0)
            self._fire(steady, ros, Trigger.SECOND_PUBLISHER, text, "error")

    def request(self, steady: float, ros: float, name: str) -> Answer:
        """A person asks for "hold", "teleop", "autonomy", "stop" or "reset"."""
        trigger = REQUESTS.get(name)
        if trigger is None:
            return Answer(False, f"{name!r} is none of {', '.join(REQUESTS)}")
        reason = self._objection(steady, trigger)
        if reason:
            self._log.add(steady, ros, "warn", f"request {name}", f"{name} refused: {reason}", throttle=0.0)
            return Answer(False, f"refused: {reason}")
        self._fire(steady, ros, trigger, f"{name} requested", "info")
        return Answer(True, self._reason(steady))

    def _objection(self, steady: float, trigger: Trigger) -> str:
        """Why a request cannot be granted now, "" where it can."""
        mode = self._mode.mode
        if not allowed(mode, trigger):
            return f"{trigger.value} is not possible in {mode.value}" + (
                f" ({self._mode.reason}); reset first" if mode is Mode.STOPPED else ""
            )
        if trigger is Trigger.ASK_RESET:
            return self._estop.active(steady, self.settings.estop_heartbeat) or self._measured.outside
        if trigger in (Trigger.ASK_AUTONOMY, Trigger.ASK_TELEOP) and self._second_publisher:
            return self._second_publisher
        if trigger is Trigger.ASK_AUTONOMY:
            fault = self._clock.fault(steady, self._clock.ros, self.settings.clock_jump)
            return fault[1] if fault is not None else self._measured.stale(steady) or self._policy.objection()
        return ""

    # The period ----------------------------------------------------------------------------------------------------

    def step(self, steady: float, ros: float) -> Step:
        """One control period. `command` in the result is None before the robot is known, after a fault at rest, and
        when called again too soon (less than half a period after the last time)."""
        if not (math.isfinite(steady) and math.isfinite(ros)) or steady - self._last_steady < 0.5 * self.period:
            self._log.add(steady, ros, "warn", "period", "a step that came too soon was refused")
            return self._report(steady, ros, None, "none")
        self._pace(steady, ros)
        quiet = self._measured.stale(steady)
        self._watch(steady, ros, quiet)
        if not self._ready(steady, ros, quiet):
            return self._report(steady, ros, None, "none")
        owner, changed = self._move(steady, ros)
        if changed is None:
            self._fire(steady, ros, Trigger.FAULT, "a command that is not finite was refused", "error")
            changed, owner = self._limiter.step(self._rest, self._stops, self._full) or 0, "hold"
        if changed:
            self._count(limited=1)
        self._commanded = self._limiter.state
        self._history.add(ros, self._commanded[0], self._measured.values)
        self._measured.command = self._commanded[0]
        return self._report(steady, ros, self._command(steady, ros), owner)

    def _pace(self, steady: float, ros: float) -> None:
        missed = round(min((steady - self._last_steady) / self.period, MISSED_MOST)) - 1
        if missed > 0 and math.isfinite(self._last_steady):
            self._count(overruns=missed)
            self._log.add(steady, ros, "warn", "overrun", f"{missed} control periods missed")
        self._last_steady = steady
        match self._clock.fault(steady, ros, self.settings.clock_jump):
            case ClockFault.JUMPED, _:
                self.on_clock_jump(steady, ros)
            case ClockFault.STOPPED, text:
                self._fire(steady, ros, Trigger.CLOCK_JUMP, text, "error")
        if self._clock.set_back(ros):
            self._measured.forget_stamps()  # what is measured from now on is not old
        self._clock = self._clock.update(steady, ros)
        self._plan_clock = self._plan_clock.advance(ros, self.period)

    def _watch(self, steady: float, ros: float, quiet: str) -> None:
        """All watchdogs, the worst first; each fires a trigger and the table decides what it means.

        `quiet`: what has not been measured lately, "" for nothing.
        """
        settings = self.settings
        if stop := self._estop.active(steady, settings.estop_heartbeat):
            self._fire(steady, ros, Trigger.ESTOP, stop, "error")
        if self._anchored and (outside := self._measured.outside):
            self._fire(steady, ros, Trigger.FAULT, outside, "error")
        stale = quiet
        if self._mode.mode in (Mode.TELEOP, Mode.AUTONOMY) and (blocked := self._frozen(steady)):
            self._off_course(steady, ros, blocked)
            self._frozen_at = self._commanded[0]
        self._stale = self._stale.update(steady, bool(stale))
        self._late = bool(stale) and self._anchored and self._in_grace(steady, quiet)
        if stale and self._anchored and not self._late:
            self._fire(steady, ros, Trigger.STATE_STALE, stale, "error")
            if self._stale.lasts(steady, settings.state_lost):
                clock = self._clock.fault(steady, ros, self.settings.clock_jump)
                why = f"{stale}; {clock[1]}" if clock is not None else stale
                self._fire(steady, ros, Trigger.FAULT, f"measurements lost: {why}", "error")
        if self._mode.mode is Mode.TELEOP:
            self._watch_teleop(steady, ros)
        if self._mode.mode is Mode.AUTONOMY:
            self._watch_policy(steady, ros)
        if self._anchored and not stale:
            self._watch_tracking(steady, ros)

    def _in_grace(self, steady: float, quiet: str) -> bool:
        """Whether measurements are late by so little yet that it costs speed and not the mode."""
        late = bool(quiet) and not self._measured.contradicted(steady)
        return late and not self._stale.lasts(steady, self.settings.state_grace)

    def _frozen(self, steady: float) -> str:
        """What stands still although it is told to move: a blocked robot or a stuck driver, whose stamps are fresh."""
        standing = self._measured.frozen(steady)
        travelled = self._guard.travelled(self._commanded[0], standing)
        if not standing:
            self._frozen_at = self._commanded[0]
            return ""
        ways = np.abs(self._commanded[0] - self._frozen_at) * self._position
        moved = max(travelled, float(np.max(ways)))
        if not self._anchored or moved <= self.settings.frozen_motion:
            return ""
        name = self.robot.channel_names[int(np.argmax(ways))] if moved > travelled else "a joint"
        return (
            f"TRACKING: {name} was told to move {moved:.2f} and no joint state has changed for "
            f"{self.settings.state_frozen:g} s (measurements are frozen); is the robot enabled, or its driver stuck?"
        )

    def _watch_teleop(self, steady: float, ros: float) -> None:
        alive = self._teleop.alive(steady)
        if self._live and not alive:
            self._fire(steady, ros, Trigger.TELEOP_LOST, "the teleop device went silent", "error")
        self._live = alive
        if not self._teleop.enabled(steady):
            self._engaged = steady

    def _watch_policy(self, steady: float, ros: float) -> None:
        if self._plans.waiting:
            limit = self.settings.engage_timeout
            if limit and steady - self._entered > limit:
                self._fire(steady, ros, Trigger.POLICY_LOST, self._policy.lost(limit, self._refusal), "error")
        dry = self._plans.dry
        if dry and self._starved.start is None:
            self._count(underruns=1)
            self._log.add(steady, ros, "warn", "underrun", "UNDERRUN: the plan ran out before the next chunk came")
        self._starved = self._starved.update(steady, dry)
        lost, typical = self.settings.policy_lost, self._plans.delays.p95
        lost += 2.0 * typical if typical > 0.5 * lost else 0.0  # a slow policy is not silent
        if self._starved.lasts(steady, lost):
            text = f"policy silent for {lost:g} s after the plan ran out"
            if self._sources.other:
                text += f"; {quote(self._sources.other)} publishes and is followed once autonomy is asked for again"
            self._fire(steady, ros, Trigger.POLICY_LOST, text, "error")

    def _watch_tracking(self, steady: float, ros: float) -> None:
        x, v = self._commanded[:2].tolist()
        measured, lags = self._measured.values, self._lags
        errors = [abs(x[i] - measured[i]) - lags[i] * abs(v[i]) for i in self._tracked]
        self._error = max(errors, default=0.0)
        excess = [e / m for e, m in zip(errors, self._allowed, strict=True)]
        worst = max(excess, default=0.0)
        self._off_track = self._off_track.update(steady, worst > 1.0)
        if not self._off_track.lasts(steady, self.settings.tracking_time):
            return
        k = excess.index(worst)
        channel, allowed = self.robot.channels[self._tracked[k]], self._allowed[k]
        key = "tracking_error_m" if channel.unit == "m" else "tracking_error"
        self._off_course(
            steady,
            ros,
            f"TRACKING: {channel.name} is {errors[k]:.2f} {channel.unit} from its command, more than {key} "
            f"{allowed:g} {channel.unit} beyond a lag of tracking_lag {self.settings.tracking_lag:g} s; holding where the robot is",
        )

    def _off_course(self, steady: float, ros: float, text: str) -> None:
        """The robot does not follow: say so and hold where it is."""
        self._fire(steady, ros, Trigger.TRACKING, text, "error")
        self._log.add(steady, ros, "error", "tracking", text)
        self._hold_at = np.clip(self._measured.or_commanded(self._commanded[0]), self._lower, self._upper)
        self._off_track = Since()

    def _ready(self, steady: float, ros: float, quiet: str) -> bool:
        """Whether commands may go out: from the first measurement on, and not after it was lost and all is at rest."""
        if self._anchored:
            lost = bool(quiet) and self._stale.lasts(steady, self.settings.state_lost)
            lost = lost or bool(self._measured.contradicted(steady))  # nobody knows where the robot is
            self._anchored = not (lost and self._limiter.still)
            return self._anchored
        quiet = self._second_publisher or quiet or self._measured.unsettled(steady)
        if quiet:
            self._waiting = f"waiting: {quiet}"
            self._log.add(steady, ros, "warn", "waiting", self._waiting, WAITING)
            return False
        if outside := self._measured.outside:
            self._fire(steady, ros, Trigger.FAULT, outside, "error")
            return False
        start = np.where(self._driven, 0.0, self._measured.or_commanded(self._unmeasured))
        self._limiter.reset(start)
        self._measured.command = start
        self._commanded, self._anchored, self._frozen_at = self._limiter.state, True, start
        self._hold_at, self._waiting = None, ""
        if beyond := beyond_limits(self.robot, start, self._lower, self._upper):
            self._log.add(steady, ros, "warn", "beyond limit", beyond)
        self._history.clear()
        self._plans.forget()
        return True

    # Who drives ----------------------------------------------------------------------------------------------------

    def _move(self, steady: float, ros: float) -> tuple[str, int | None]:
        """Move the command by one period; who did, and how many groups a limit changed, None for a refused command."""
        if self._late:  # the robot is braked; the next plan that starts near it goes on
            self._plans.forget()
            return "hold", self._limiter.step(self._guarded(self._rest), self._stops, self._full)
        mode, time = self._mode.mode, self._plan_clock.time
        if mode is Mode.AUTONOMY:
            states, first = self._plans.advance(ros, time, self._commanded, self._scale_ahead(steady, time))
            if first:
                self._engaged = steady
            if states is not None:
                self._limiter.follow(self._guarded(states), self._scales(steady))
                driving = self._plans.driving
                return "policy" if driving is not None else "hold", int(driving is not None and driving.limited)
        if mode is Mode.TELEOP:
            goal, moves = self._teleop_goal(steady)
            return "teleop", self._limiter.step(self._guarded(goal), moves, self._teleop_scales(steady))
        if self._hold_at is not None:
            goal, moves = self._measured_goal(self._hold_at)
            return "hold", self._limiter.step(goal, moves, [self.settings.engage_scale] * len(self._stops))
        return "hold", self._limiter.step(self._guarded(self._rest), self._stops, self._full)

    def _guarded(self, goal: Array) -> Array:
        """The goal with joints that velocities move braked before their ends."""
        return self._guard.bounded(goal, self._commanded[0], self._measured)

    def _teleop_goal(self, steady: float) -> tuple[Array, list[bool]]:
        goal, moves = self._rest.copy(), list(self._stops)
        if self._teleop.enabled(steady):
            for i, (device, part) in enumerate(zip(self._teleop.devices.values(), self._limiter.slices, strict=True)):
                if device.fresh(steady):
                    goal[:, part], moves[i] = device.aim(steady), True
                    device.lead.reached(device.goal[0].tolist(), self._commanded[0, part].tolist())
        return goal, moves

    def _teleop_scales(self, steady: float) -> list[float]:
        slow, scale = self.settings.engage_scale, self._scale(steady)
        return [min(scale, slow) if d.lead.approaching else scale for d in self._teleop.devices.values()]

    def _measured_goal(self, target: Array) -> tuple[Array, list[bool]]:
        goal = self._rest.copy()
        goal[0] = np.where(self._position, target, 0.0)
        return goal, [g.kind is not Kind.GRIPPER for g in self.robot.groups]

    def _scales(self, steady: float) -> list[float]:
        return [self._scale(steady)] * len(self._stops)

    def _scale(self, steady: float) -> float:
        """Share of the velocity limits now."""
        return engage_scale(self.settings, steady - self._engaged)

    def _scale_ahead(self, steady: float, ros: float) -> Callable[[Array], Array]:
        """Shares of the velocity limits at ROS times; before the first plan is followed, as if it were followed from now."""
        since = steady - self._engaged if self._plans.running is not None else -self.period
        since -= SHARP  # the last slow moments are kept although motion is smoothed over them
        return lambda times: np.array([engage_scale(self.settings, since + float(t) - ros) for t in times])

    def _tell_plans(self, steady: float, ros: float) -> None:
        """Say what is to be known about the newest plan."""
        plans = self._plans
        for name, text in (("clamped", plans.clamped), ("slowed", plans.slowed)):
            if text:
                self._log.add(steady, ros, "warn", name, text)
        if plans.unfound:
            self._refusal, plans.unfound = plans.unfound, ""
            self._log.add(steady, ros, "error", "no plan", self._refusal)
        if plans.waits and not self._waits:
            self._log.add(steady, ros, "warn", "wait", plans.waits, throttle=0.0)
        self._waits = plans.waits

    def _fire(self, steady: float, ros: float, trigger: Trigger, reason: str, level: str) -> None:
        """Let the table decide; on a change everything the old owner had is dropped."""
        before, self._mode = self._mode, advance(self._mode, trigger, reason)
        if self._mode.epoch == before.epoch:
            return
        text = f"{before.mode.value} -> {self._mode.mode.value}: {reason}"
        self._log.add(steady, ros, level, "mode", text, throttle=0.0)
        self._silence(steady)

    def _silence(self, steady: float) -> None:
        """Forget every plan and memory of the mode that ended."""
        self._plans.forget()
        self._sources, self._refusal, self._waiting = Sources(), "", ""
        self._hold_at = None
        self._entered = self._engaged = steady
        self._live, self._error = False, 0.0
        self._teleop.restart()
        self._starved, self._off_track = Since(), Since()
        self._waits = ""

    def running_plan(self, ros: float) -> Chunk | None:
        """What is left of the plan from ROS time `ros` on, on the plan's own period; None where nothing is left."""
        return self._plans.rest(ros)

    # What goes out -------------------------------------------------------------------------------------------------

    def _command(self, steady: float, ros: float) -> Command:
        stamp = max(ros, self._last_stamp + 1e-6)
        self._last_stamp = stamp
        values, rates = self._commanded[0], self._commanded[1].copy()
        for part in self._driven_parts:
            rates[part] = values[part]
        self.blackbox.add(steady, ros, "command", (stamp, values), values.nbytes)
        return Command(stamp, self.robot.channel_names, values, rates)

    def _reason(self, steady: float) -> str:
        mode = self._mode
        if self._waiting:
            return self._waiting
        if mode.mode is Mode.AUTONOMY:
            if self._plans.running is None:
                return self._policy.waiting(self._refusal)
            if self._starved.start is not None:
                return self._policy.underrun()
        if mode.mode is Mode.TELEOP and not self._teleop.enabled(steady):
            return "waiting for the deadman button"
        if mode.mode is Mode.TELEOP and not self._teleop.alive(steady):
            return "waiting for teleop input"
        return mode.reason

    def _report(self, steady: float, ros: float, command: Command | None, owner: str) -> Step:
        plans, plan = self._plans, self._plans.running
        left = plan.left if plan is not None else 0.0
        events = self._log.take()
        for event in events:
            self.blackbox.add(steady, ros, "event", event, 128)
        return Step(
            command=command,
            mode=self._mode.mode,
            reason=self._reason(steady),
            owner=owner,
            epoch=self._mode.epoch,
            plan_sequence=plan.chunk.sequence if plan is not None else 0,
            plan_left=left,
            splice_delay=plans.splice_delay,
            delay_p95=plans.delays.p95,
            ask_in=ask_in(left, plans.delays.p95, self.settings.ask_margin),
            strategy=plan.chunk.strategy if plan is not None else "",
            seam=plans.seam,
            plan_rate=plans.rate,
            tracking_error=self._error,
            measured=np.array(self._measured.values),
            counters=self._counts,
            events=events,
        )

    def _count(self, **more: int) -> None:
        self._counts = replace(self._counts, **{n: getattr(self._counts, n) + k for n, k in more.items()})


def engage_scale(settings: ExecutorSettings, since: float) -> float:
    """Share of the velocity limits `since` seconds after a change of owner: small at first, then back to all of it."""
    later = since - settings.engage_time
    if later < 0.0:
        return settings.engage_scale
    return min(1.0, settings.engage_scale + (1.0 - settings.engage_scale) * later / max(settings.engage_ramp, 1e-3))
