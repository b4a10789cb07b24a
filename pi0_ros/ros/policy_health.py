"""What the policy node says about itself in /diagnostics."""

from __future__ import annotations

from pi0_ros.control.plan_cover import standing_time
from pi0_ros.robot.spec import Robot
from pi0_ros.ros.diagnostics import ERROR, OK, WARN, Health
from pi0_ros.ros.plan_loop import PlanLoop
from pi0_ros.ros.policy_lanes import PolicyLanes

SLOW_ANSWER = 0.8
"""Seconds after which a plan that has not come is worth a word."""


def policy_values(loop: PlanLoop, steady: float) -> dict[str, object]:
    """Prompt, rates and latencies at `steady` [s]."""
    words, status, session = loop.inputs.texts.words, loop.status, loop.session
    return {
        "prompt": words.text,
        "prompt_source": words.topic,
        "chunks": session.sequence,
        "chunks_hz": status.rate.hz(steady),
        "inference_ms_p50": status.inference.quantile(0.5) * 1e3,
        "inference_ms_p99": status.inference.quantile(0.99) * 1e3,
        "observation_to_chunk_ms_p50": session.latency.quantile(0.5) * 1e3,
        "observation_to_chunk_ms_p95": session.latency.quantile(0.95) * 1e3,
        "requests_at_once": loop.lanes.at_once,
        "failures": status.failures,
        "withheld": status.times_withheld,
    }


def policy_health(loop: PlanLoop, robot: Robot, steady: float) -> Health:
    """The worst thing that can be said at `steady` [s], and the numbers."""
    status, observations, cameras = loop.status, loop.inputs.observations, tuple(loop.lanes.contract.cameras)
    values = {**policy_values(loop, steady), **observations.values(cameras)}
    if status.failure is not None:
        return Health(status.failure.level, status.failure.sentence, values)
    stale = observations.stale(cameras)
    required = {c.name for c in robot.cameras if c.required}
    blind = [why for name, why in stale.items() if name in required]
    if blind:
        return Health(ERROR, "not planning: " + "; ".join(blind), values)
    if status.withheld is not None:
        return Health(WARN, f"not planning: {status.withheld.sentence}", values)
    if stale:
        return Health(WARN, "planning without " + "; ".join(stale.values()), values)
    slow = slowness(steady - loop.lanes.oldest(), loop.session.latency.quantile(0.5), loop.lanes)
    if slow:
        return Health(WARN, slow, values)
    if odd := observations.warnings(cameras):
        return Health(WARN, f"planning, but {'; '.join(odd)}", values)
    return Health(OK, f"planning: {loop.inputs.texts.words.text}", values)


def slowness(waited: float, latency: float, lanes: PolicyLanes) -> str:
    """What to say if a plan has not come for `waited` [s], or if plans take `latency` [s] and leave gaps; else ""."""
    at_once = lanes.at_once
    if waited > (SLOW_ANSWER if at_once == 1 else max(SLOW_ANSWER, 2.0 * latency)):
        return f"waiting for a plan of {lanes.contract.origin} for {waited:.1f} s"
    if standing_time(latency, lanes.lasts, latency / at_once) <= 0.0:
        return ""
    return (
        f"an answer takes {latency:.2f} s and a plan lasts {lanes.lasts:.2f} s: the robot will stop between plans; "
        "longer plans, a nearer server or a faster network help"
    )
