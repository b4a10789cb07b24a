"""What the high_level node knows about its subtasks' progress, and how it says so."""

from __future__ import annotations

from collections.abc import Callable

from pi0_ros.policy.subtask_progress import Progress, ProgressLimits, Repetition, Verdict, follow

NAMES_SAID = 3
"""Subtasks of a long sequence that are named."""


class SubtaskWatch:
    """Follows subtasks while the policy drives; changed under the lock of the task desk."""

    def __init__(self, limits: Callable[[], ProgressLimits]) -> None:
        self._limits, self._driving = limits, False
        self.progress = Progress()

    @property
    def given_up(self) -> bool:
        """Whether no subtask is given until a person does something."""
        return self.progress.verdict is Verdict.GIVEN_UP

    def restart(self) -> None:
        """Everything counts anew."""
        self.progress = Progress()

    def update_mode(self, mode: str) -> bool:
        """The executor says its mode, on every change. Whether everything has to count anew.

        What is given up stays so when the executor holds for want of a subtask, until a person drives or asks for
        autonomy again.
        """
        self._driving = mode == "autonomy"
        return not self.given_up or mode in ("autonomy", "teleop")

    def look(self, subtask: str, steady: float) -> Verdict:
        """What to do at `steady` [s], at which `subtask` is followed, "" for none."""
        if self._driving and subtask:
            self.progress = follow(self.progress, subtask, steady, self._limits())
            return self.progress.verdict
        return Verdict.GOING_ON

    def reason(self) -> str:
        """What made no progress, and what is done about it; "" if nothing is wrong."""
        progress = self.progress
        if progress.repetition is None:
            return ""
        what = f"no progress: {_repetition_text(progress.repetition)}"
        if progress.verdict is not Verdict.GIVEN_UP:
            return f"{what}; tried again, {progress.retries} of {self._limits().retries}"
        return (
            f"{what}; given up after {progress.retries} retries: say the task again with pi0 task "
            '"WORDS", give a subtask with pi0 task --subtask "WORDS", or take over'
        )


def _repetition_text(repetition: Repetition) -> str:
    named = ", ".join(f'"{subtask}"' for subtask in repetition.subtasks[:NAMES_SAID])
    count = len(repetition.subtasks)
    if count == 1:
        return f"{named} for {repetition.seconds:.0f} s"
    rest = f" and {count - NAMES_SAID} more" if count > NAMES_SAID else ""
    return f"{named}{rest}, {repetition.times} times in a row in {repetition.seconds:.0f} s"
