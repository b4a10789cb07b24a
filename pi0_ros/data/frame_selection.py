"""Which frames a recorder keeps, by who drives. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

AUTONOMY, TELEOP = "autonomy", "teleop"


class RecordMode(StrEnum):
    """What is recorded between start and stop."""

    EVERYTHING = "everything"
    CORRECTIONS = "corrections"  # a person's driving after the policy's, and the seconds before
    POLICY = "policy"  # what the policy drives


class Keep(StrEnum):
    """What becomes of a frame."""

    WRITE = "write"
    LEAD = "lead"  # kept for a while: it is written if a correction begins
    SKIP = "skip"


@dataclass(frozen=True)
class Choice:
    """What becomes of a frame, whether the episode before it ends first, and whether a person intervenes in it."""

    keep: Keep
    ends: bool = False
    intervention: bool = False


class FrameSelection:
    """Decides frame after frame."""

    def __init__(self, mode: RecordMode) -> None:
        self._mode = mode
        self._policy_drove = self._open = False

    def restart(self) -> None:
        """Recording begins anew: nobody has driven yet."""
        self._policy_drove = self._open = False

    def choose(self, driver: str) -> Choice:
        """What becomes of a frame in which `driver` (hold, teleop, autonomy or stopped) drives."""
        intervention = driver == TELEOP and self._policy_drove
        if driver == AUTONOMY:
            self._policy_drove = True
        if self._mode is RecordMode.EVERYTHING:
            return Choice(Keep.WRITE, intervention=intervention)
        if self._mode is RecordMode.POLICY:
            wanted, otherwise = driver == AUTONOMY, Keep.SKIP
        else:
            wanted, otherwise = intervention, Keep.LEAD
        ends, self._open = self._open and not wanted, wanted
        if ends and self._mode is RecordMode.CORRECTIONS:
            self._policy_drove = driver == AUTONOMY  # the next correction needs a policy that drove again
        return Choice(Keep.WRITE if wanted else otherwise, ends, intervention)
