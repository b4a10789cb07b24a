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
        "retries": loop.watch.progress.retries,
    }


def subtask_health(loop: SubtaskLoop, publishers: int) -> Health:
    """The worst thing that can be said, and the numbers. `publishers`: on the topic `subtask`."""
    status, values, repeated = loop.status, subtask_values(loop), loop.watch.reason()
    if status.failure:
        return Health(ERROR, f"decoding failed: {status.failure}", values)
    if loop.watch.given_up:
        return Health(ERROR, f"not deciding: {repeated}", values)
    if status.reason:
        return Health(WARN, f"not deciding: {status.reason}", values)
    if status.unfit or repeated:
        return Health(WARN, status.unfit or repeated, values)
    if publishers > 1:
        return Health(WARN, f"another node publishes on subtask and is overwritten: use {OVERRIDE}", values)
    if not loop.policy.contract.gives_subtasks:
        return Health(OK, f"the task as it is: {loop.desk.task}", values)
    subtask = loop.decision.subtask
    ending = ", which says that nothing is left to do" if subtask in loop.policy.contract.finished else ""
    return Health(OK, f"subtask: {subtask}{ending}", values)
