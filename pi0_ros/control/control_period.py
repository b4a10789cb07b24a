"""One control period, from what has come in to the command that goes out."""

from __future__ import annotations

from pi0_ros.control.failsafe import Conditions, PlanCondition, StateCondition
from pi0_ros.control.journal import Now
from pi0_ros.control.mode_keeper import ModeEvent
from pi0_ros.control.modes import Mode, Trigger
from pi0_ros.control.parts import Parts
from pi0_ros.control.report import report
from pi0_ros.control.step import Step
from pi0_ros.control.watchdogs import ClockFault

AGAIN = 60.0  # [s] between two log lines about the same gripper


def run_period(parts: Parts, now: Now) -> Step:
    """As `Executor.step`."""
    if parts.pace.too_soon(now):
        parts.journal.note(now, "warn", "period", "a step that came too soon was refused")
        return report(parts, now, None, "none")
    keep_time(parts, now)
    quiet = parts.inputs.measured.stale(now.steady)
    watch(parts, now, quiet)
    if not ready(parts, now, quiet):
        return report(parts, now, None, "none")
    owner = move(parts, now)
    commanded, measured = parts.drive.commanded[0], parts.inputs.measured
    parts.gate.plausibility.history.add(now.ros, commanded, measured.values)
    measured.command = commanded
    command = parts.drive.command(now.ros)
    parts.journal.record(now, "command", (command.stamp, command.values), command.values.nbytes)
    return report(parts, now, command, owner)


def keep_time(parts: Parts, now: Now) -> None:
    """Both clocks go on; what they did in between is noticed."""
    pace = parts.pace
    if missed := pace.missed(now.steady):
        parts.journal.count(overruns=missed)
        parts.journal.note(now, "warn", "overrun", f"{missed} control periods missed")
    match pace.fault(now):
        case ClockFault.JUMPED, _:
            forget_ros_time(parts, now)
        case ClockFault.STOPPED, text:
            parts.modes.fire(now, ModeEvent(Trigger.CLOCK_JUMP, text))
    if pace.set_back(now.ros):
        parts.inputs.measured.forget_stamps()  # what is measured from now on is not old
    pace.advance(now)


def forget_ros_time(parts: Parts, now: Now) -> None:
    """The ROS clock was set: everything placed on it is void."""
    parts.plans.forget()
    parts.inputs.measured.forget_stamps()
    parts.gate.plausibility.history.clear()
    parts.pace.restart()
    parts.drive.restart_stamps()
    parts.modes.fire(now, ModeEvent(Trigger.CLOCK_JUMP, "the ROS clock jumped", "warn"))
    parts.journal.note(now, "warn", "clock", "the ROS clock jumped: plans and stamps before it are void")


def watch(parts: Parts, now: Now, quiet: str) -> None:
    """Report what is wrong to the mode table. `quiet`: what has not been measured lately, "" for nothing."""
    failsafe, teleop = parts.failsafe, parts.inputs.teleop
    starved = failsafe.starved
    events = failsafe.update(now.steady, conditions(parts, now, quiet))
    if failsafe.starved and not starved:
        parts.journal.count(underruns=1)
        parts.journal.note(now, "warn", "underrun", "UNDERRUN: the plan ran out before the next chunk came")
    for event in events:
        parts.modes.fire(now, event)
        if event.trigger is Trigger.TRACKING:
            parts.journal.note(now, "error", "tracking", event.text)
            parts.drive.hold_measured()
    if parts.modes.mode is Mode.TELEOP and not teleop.enabled(now.steady):
        parts.engage.begin(now.steady)


def conditions(parts: Parts, now: Now, quiet: str) -> Conditions:
    """What the failsafe judges by in this period."""
    steady, inputs, plans, gate = now.steady, parts.inputs, parts.plans, parts.gate
    measured = inputs.measured
    clock = parts.pace.fault(now) if quiet else None
    state = StateCondition(
        quiet=quiet,
        outside=measured.outside,
        contradicted=bool(quiet) and bool(measured.contradicted(steady)),
        frozen=measured.frozen(steady),
        clock=clock[1] if clock is not None else "",
        measured=measured.values,
    )
    plan = PlanCondition(
        waiting=plans.following.waiting,
        dry=plans.following.dry,
        delay=plans.strategies.delays.p95,
        refusal=gate.refusal,
        other=gate.sources.other,
        policy=inputs.policy,
    )
    stop = inputs.estop.active(steady, parts.settings.estop_heartbeat)
    mode = parts.modes.state
    followed = mode.mode is Mode.TELEOP and inputs.teleop.alive(steady)
    return Conditions(mode, parts.start_up.done, stop, followed, parts.drive.commanded, state, plan)


def ready(parts: Parts, now: Now, quiet: str) -> bool:
    """Whether commands may go out in this period."""
    start_up, measured = parts.start_up, parts.inputs.measured
    if start_up.done:
        lost = bool(quiet) and parts.failsafe.lost(now.steady)
        lost = lost or bool(measured.contradicted(now.steady))  # nobody knows where the robot is
        start_up.done = not (lost and parts.drive.still)
        return start_up.done
    if why := start_up.objection(now.steady, quiet):
        start_up.wait(now, why)
        return False
    if outside := measured.outside:
        parts.modes.fire(now, ModeEvent(Trigger.FAULT, outside))
        return False
    start = start_up.place(now)
    start_up.begin()
    parts.drive.begin(start)
    parts.failsafe.begin(start)
    parts.gate.plausibility.history.clear()
    parts.plans.forget()
    measured.command = start
    return True


def move(parts: Parts, now: Now) -> str:
    """Move the command by one period; returns who did."""
    drive = parts.drive
    time, mode = parts.pace.plan_time, parts.modes.mode
    owner, changed = drive.move(now.steady, time, now.ros, mode, parts.failsafe.late)
    if changed is None:
        parts.modes.fire(now, ModeEvent(Trigger.FAULT, "a command that is not finite was refused"))
        owner, changed = "hold", drive.brake()
    if changed:
        parts.journal.count(limited=1)
    if owner == "policy" and (chatter := parts.plans.grips.sentence):
        parts.journal.note(now, "warn", "gripper", chatter, AGAIN)
    return owner
