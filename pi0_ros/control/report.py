"""What is published of a control period."""

from __future__ import annotations

import numpy as np

from pi0_ros.control.journal import Now
from pi0_ros.control.modes import Mode
from pi0_ros.control.parts import Parts
from pi0_ros.control.step import Command, Step


def reason(parts: Parts, steady: float) -> str:
    """Why the robot is in its mode, or what it waits for."""
    return waits_for(parts, steady) or parts.modes.state.reason


def already(parts: Parts, steady: float) -> str:
    """The answer to who asks for the mode that the robot is in: what it waits for now, or why it went there then."""
    state = parts.modes.state
    if waiting := waits_for(parts, steady):
        return f"already in {state.mode.value}; {waiting}"
    if state.trigger is None:
        return f"already in {state.mode.value}, since the start"
    return f"already in {state.mode.value}; it was entered because: {state.reason}"


def waits_for(parts: Parts, steady: float) -> str:
    """What the mode waits for before the robot moves in it, "" for nothing."""
    if parts.start_up.waiting:
        return parts.start_up.waiting
    mode, teleop = parts.modes.mode, parts.inputs.teleop
    if mode is Mode.AUTONOMY:
        if parts.plans.following.running is None:
            return parts.inputs.policy.waiting(parts.gate.refusal)
        if parts.failsafe.starved:
            return parts.inputs.policy.underrun()
    if mode is Mode.TELEOP and not teleop.enabled(steady):
        return "waiting for the deadman button"
    if mode is Mode.TELEOP and not teleop.alive(steady):
        return "waiting for teleop input"
    return ""


def report(parts: Parts, now: Now, command: Command | None, owner: str) -> Step:
    """The result of a period in which `owner` moved the robot to `command`."""
    following, plan = parts.plans.following, parts.plans.following.running
    return Step(
        command=command,
        mode=parts.modes.mode,
        reason=reason(parts, now.steady),
        owner=owner,
        epoch=parts.modes.epoch,
        plan_sequence=plan.chunk.sequence if plan is not None else 0,
        plan_left=plan.left if plan is not None else 0.0,
        starved=parts.modes.mode is Mode.AUTONOMY and plan is not None and parts.failsafe.starved,
        splice_delay=following.splice_delay,
        delay_p95=parts.plans.strategies.delays.p95,
        strategy=plan.chunk.strategy if plan is not None else "",
        seam=following.seam,
        plan_rate=following.rate,
        tracking_error=parts.failsafe.tracking.error,
        measured=np.array(parts.inputs.measured.values),
        counters=parts.journal.counters,
        events=parts.journal.take(now),
    )
