"""What the high_level node says about itself in /diagnostics."""

from __future__ import annotations

from pi0_ros.ros.diagnostics import ERROR, OK, WARN, Health
from pi0_ros.ros.prompt_source import OVERRIDE
from pi0_ros.ros.subtask_loop import SubtaskLoop


def subtask_values(loop: SubtaskLoop) -> dict[str, object]:
    """Task, subtask, and what has become of the questions."""
    status = loop.status
    return {
        "task": loop.desk.task,
        "subtask": loop.decision.subtask,
        "answers": status.answers,
        "log_probability": status.log_probability,
        "refused": status.refused,
        "last_refused": status.last_refused,
        "failures": status.failures,
        "seconds": status.seconds,
    }


def subtask_health(loop: SubtaskLoop, publishers: int) -> Health:
    """The worst thing that can be said, and the numbers. `publishers`: on the topic `subtask`."""
    status, values = loop.status, subtask_values(loop)
    if status.failure:
        return Health(ERROR, f"decoding failed: {status.failure}", values)
    if status.reason:
        return Health(WARN, f"not deciding: {status.reason}", values)
    if status.unfit:
        return Health(WARN, status.unfit, values)
    if publishers > 1:
        return Health(WARN, f"another node publishes on subtask and is overwritten: use {OVERRIDE}", values)
    if not loop.policy.contract.gives_subtasks:
        return Health(OK, f"the task as it is: {loop.desk.task}", values)
    return Health(OK, f"subtask: {loop.decision.subtask}", values)
