"""The executor's line in /diagnostics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pi0_ros.control import Event, Seam
from pi0_ros.ros.control_thread import ControlThread, Period
from pi0_ros.ros.diagnostics import ERROR, OK, WARN, Health
from pi0_ros.ros.executor_parts import ExecutorParts
from pi0_ros.ros.executor_reporter import ExecutorReporter
from pi0_ros.ros.timing import Timing

MISSED_SHARE = 0.1  # of the control periods may be missed before it is a warning


def executor_values(period: Period, timing: Timing, rate: float, seam: Seam) -> dict[str, object]:
    """Mode, timing and counters; `rate` [Hz] of the control loop, `seam`: the worst one."""
    step = period.step
    assert step is not None, "there are values once there was a step"
    return {
        "mode": period.mode,
        "rate_hz": rate,
        "period_late_ms_p50": timing.late_p50 * 1e3,
        "period_late_ms_p99": timing.late_p99 * 1e3,
        "period_late_ms_max": timing.late_max * 1e3,
        "work_ms_p50": timing.work_p50 * 1e3,
        "work_ms_p99": timing.work_p99 * 1e3,
        "work_ms_max": timing.work_max * 1e3,
        "work_ms_p99_run": timing.work_p99_run * 1e3,
        "prepare_ms_p99": timing.prepare_p99 * 1e3,
        "prepare_ms_max": timing.prepare_max * 1e3,
        "ticks": timing.ticks,
        **vars(step.counters),
        "overruns": timing.overruns,
        "owner": step.owner,
        "strategy": step.strategy,
        "splice_delay_ms": step.splice_delay * 1e3,
        "delay_p95_ms": step.delay_p95 * 1e3,
        "seam_position_max": seam.position,
        "seam_velocity_max": seam.velocity,
        "seam_velocity_share_max": seam.velocity_share,
        "tracking_error": step.tracking_error,
    }


def executor_health(
    period: Period,
    trouble: Event | None,
    unheard: Sequence[str],
    silent: Sequence[str],
    missed_share: float,
    values: Mapping[str, object],
    black_box: str = "",
    clocks: Sequence[str] = (),
    late: Sequence[str] = (),
) -> Health:
    """Level and sentence.

    `trouble`: what ended a motion; `unheard`: sentences about who cannot be connected; `silent`: state topics never heard;
    `missed_share` of periods; `black_box`: why the newest one was not written; `clocks`: sentences about stamps of state that are off;
    `late`: about groups that follow their commands later than the robot YAML says.
    """
    if period.fault:
        return Health(ERROR, f"fault in the executor, braking: {period.fault}", values)
    if period.mode == "stopped":
        return Health(ERROR, f"stopped: {period.reason}", values)
    if trouble is not None:
        why = "; ".join((period.reason, *clocks))
        return Health(ERROR if trouble.level == "error" else WARN, f"{period.mode}: {why}", values)
    if unheard:
        return Health(ERROR, f"{period.mode}: {'; '.join(unheard)}", values)
    if silent:
        return Health(WARN, f"waiting for the first message on {', '.join(silent)}", values)
    if clocks:
        return Health(WARN, f"{period.mode}: {'; '.join(clocks)}", values)
    if missed_share > MISSED_SHARE:
        return Health(WARN, f"{missed_share:.0%} of the control periods are missed", values)
    if black_box:
        return Health(WARN, f"{period.mode}: {black_box}", values)
    if late:
        return Health(WARN, f"{period.mode}: {'; '.join(late)}", values)
    return Health(OK, f"{period.mode}: {period.reason}", values)


def health_of(
    parts: ExecutorParts, control: ControlThread, reporter: ExecutorReporter, steady: float, stops: bool
) -> Health:
    """Mode, rates and timing of an executor at `steady` [s]; `stops`: a second publisher stops the robot."""
    period, timing, inputs = reporter.latest, control.timing(), parts.inputs
    if period.step is None:
        return Health(WARN, "starting")
    values = {
        **executor_values(period, timing, 1.0 / parts.period, control.worst_seam),
        "messages_refused": inputs.refusals.count,
        "last_rejection": inputs.refusals.last,
        **inputs.sources.values(steady),
        **parts.black_box.values(),
        **reporter.motion.values(),
    }
    health = executor_health(
        period,
        reporter.trouble,
        parts.matching.sentences,
        inputs.sources.silent,
        timing.overruns / max(timing.ticks, 1),
        values,
        parts.black_box.failure,
        inputs.sources.sentences(steady),
        reporter.motion.sentences,
    )
    for others in (*inputs.competing, parts.second.sentence):
        health = with_second_publisher(health, others, stops)
    return health


def with_second_publisher(health: Health, sentence: str, stops: bool) -> Health:
    """The same, with who else publishes on the command topics, if anybody does; an error if it `stops` the robot."""
    if not sentence:
        return health
    level = ERROR if stops or health.level == ERROR else WARN
    message = health.message if sentence in health.message else f"{sentence}; {health.message}"
    return Health(level, message, health.values)
