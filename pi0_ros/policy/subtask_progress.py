"""Whether subtasks make progress: one is followed for too long, or a sequence of them comes back again and again. Pure: times are arguments."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass, replace
from enum import Enum

STEPS_KEPT = 1000
"""Steps in which a sequence is looked for."""


class Verdict(Enum):
    """What to do: go on, start the decision anew, or leave it to a person."""

    GOING_ON = "going on"
    RETRY = "retry"
    GIVEN_UP = "given up"


@dataclass(frozen=True)
class ProgressLimits:
    """timeout [s]: of one subtask. repeats: how often a sequence has to come back to count. 0 switches either off.

    retries: before giving up. finished: subtasks that may last, since they say that nothing is left to do.
    """

    timeout: float
    repeats: int
    retries: int
    finished: Container[str] = ()


@dataclass(frozen=True)
class Step:
    """A subtask, and since when it has been followed [steady s]."""

    subtask: str
    since: float


@dataclass(frozen=True)
class Repetition:
    """What made no progress: one subtask for so many seconds, or a sequence so many times, in so many seconds altogether."""

    subtasks: tuple[str, ...]
    times: int
    seconds: float


@dataclass(frozen=True)
class Progress:
    """What has been followed. steps: since the last retry. tried: subtasks before any. retries: since the newest progress.

    repetition: that the newest retry, or giving up, is about; None if there was progress since.
    """

    steps: tuple[Step, ...] = ()
    tried: frozenset[str] = frozenset()
    retries: int = 0
    repetition: Repetition | None = None
    verdict: Verdict = Verdict.GOING_ON


def follow(before: Progress, subtask: str, steady: float, limits: ProgressLimits) -> Progress:
    """What is known at `steady` [s], at which `subtask` is followed. What is given up stays given up.

    A subtask that was not followed before a retry is progress, and forgets the retries.
    """
    if before.verdict is Verdict.GIVEN_UP:
        return before
    steps = before.steps
    if not steps or steps[-1].subtask != subtask:
        steps = (*steps, Step(subtask, steady))[-STEPS_KEPT:]
    base = replace(before, steps=steps, verdict=Verdict.GOING_ON)
    if subtask not in before.tried:
        base = replace(base, retries=0, repetition=None)
    found = _lasting(steps[-1], steady, limits) or _cycle(steps, steady, limits.repeats)
    if found is None:
        return base
    if base.retries >= limits.retries:
        return replace(base, repetition=found, verdict=Verdict.GIVEN_UP)
    tried = base.tried | {step.subtask for step in steps}
    return Progress((), tried, base.retries + 1, found, Verdict.RETRY)


def _lasting(step: Step, steady: float, limits: ProgressLimits) -> Repetition | None:
    seconds = steady - step.since
    if step.subtask in limits.finished or not 0.0 < limits.timeout < seconds:
        return None
    return Repetition((step.subtask,), 1, seconds)


def _cycle(steps: tuple[Step, ...], steady: float, repeats: int) -> Repetition | None:
    """The shortest sequence that the last steps are, once and `repeats` times again."""
    if repeats == 0:
        return None
    names = [step.subtask for step in reversed(steps)]
    for length in range(2, len(names) // (repeats + 1) + 1):
        if all(names[k] == names[k + length] for k in range(length * repeats)):
            first = length * (repeats + 1)
            return Repetition(tuple(reversed(names[:length])), repeats + 1, steady - steps[-first].since)
    return None
