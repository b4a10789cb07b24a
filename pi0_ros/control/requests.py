"""Whether what a person asks for can be granted now."""

from __future__ import annotations

from pi0_ros.control.journal import Now
from pi0_ros.control.modes import Mode, Trigger, allowed
from pi0_ros.control.parts import Parts


def objection(parts: Parts, steady: float, trigger: Trigger) -> str:
    """Why a request cannot be granted now, "" if it can."""
    state, inputs = parts.modes.state, parts.inputs
    if not allowed(state.mode, trigger):
        way_out = f" ({state.reason}); reset first" if state.mode is Mode.STOPPED else ""
        return f"{trigger.value} is not possible in {state.mode.value}{way_out}"
    if trigger is Trigger.ASK_RESET:
        return inputs.estop.active(steady, parts.settings.estop_heartbeat) or inputs.measured.outside
    if trigger in (Trigger.ASK_AUTONOMY, Trigger.ASK_TELEOP) and (why := nobody_may_drive(parts)):
        return why
    if trigger is Trigger.ASK_AUTONOMY:
        clock = parts.pace.fault(Now(steady, parts.pace.ros))
        return clock[1] if clock is not None else inputs.measured.stale(steady) or policy_objection(parts)
    return ""


def nobody_may_drive(parts: Parts) -> str:
    """Why neither a person nor a policy may move the robot, "" if one may: somebody else does, or its e-stop is missing."""
    inputs = parts.inputs
    if parts.settings.estop_required and not inputs.estop.buttons:
        return "no e-stop has been heard on estop, and estop_required is set: start the e-stop's node, then ask again"
    return next(iter(inputs.competitors.values()), "")


def policy_objection(parts: Parts) -> str:
    """Why autonomy makes no sense with the policies that are there, "" if it may."""
    policy = parts.inputs.policy
    return policy.objection() or ("" if parts.settings.second_publisher == "warn" else policy.competition())
