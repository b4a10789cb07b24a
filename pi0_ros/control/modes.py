"""Who drives: the table (mode, trigger) -> mode, as data."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Mode(str, Enum):  # noqa: UP042 (StrEnum is 3.11)
    """The four modes; `number` is the value in ExecutorState.msg."""

    HOLD = "hold"
    TELEOP = "teleop"
    AUTONOMY = "autonomy"
    STOPPED = "stopped"

    @property
    def number(self) -> int:
        """HOLD 0, TELEOP 1, AUTONOMY 2, STOPPED 3."""
        return list(Mode).index(self)


class Trigger(str, Enum):  # noqa: UP042
    """What can change the mode: the first five are a person's requests, the others are noticed."""

    ASK_HOLD = "hold"
    ASK_TELEOP = "teleop"
    ASK_AUTONOMY = "autonomy"
    ASK_STOP = "stop"
    ASK_RESET = "reset"
    LEADER_MOVED = "leader moved"
    ESTOP = "e-stop"
    FAULT = "fault"
    STATE_STALE = "state stale"
    TELEOP_LOST = "teleop lost"
    POLICY_LOST = "policy lost"
    TRACKING = "tracking"
    CLOCK_JUMP = "clock jump"
    SECOND_PUBLISHER = "second publisher"
    NAMESAKE = "two policies of one name"
    TWO_DEVICES = "two teleop devices"


REQUESTS = {t.value: t for t in list(Trigger)[:5]}

# A pair that is not here changes nothing; asked for by a person, it is refused.
TABLE: dict[tuple[Mode, Trigger], Mode] = {
    (Mode.HOLD, Trigger.ASK_HOLD): Mode.HOLD,
    (Mode.TELEOP, Trigger.ASK_HOLD): Mode.HOLD,
    (Mode.AUTONOMY, Trigger.ASK_HOLD): Mode.HOLD,
    (Mode.HOLD, Trigger.ASK_TELEOP): Mode.TELEOP,
    (Mode.TELEOP, Trigger.ASK_TELEOP): Mode.TELEOP,
    (Mode.AUTONOMY, Trigger.ASK_TELEOP): Mode.TELEOP,
    (Mode.HOLD, Trigger.ASK_AUTONOMY): Mode.AUTONOMY,
    (Mode.TELEOP, Trigger.ASK_AUTONOMY): Mode.AUTONOMY,
    (Mode.AUTONOMY, Trigger.ASK_AUTONOMY): Mode.AUTONOMY,
    **{(mode, Trigger.ASK_STOP): Mode.STOPPED for mode in Mode},
    (Mode.STOPPED, Trigger.ASK_RESET): Mode.HOLD,
    (Mode.HOLD, Trigger.LEADER_MOVED): Mode.TELEOP,
    (Mode.AUTONOMY, Trigger.LEADER_MOVED): Mode.TELEOP,
    **{(mode, Trigger.ESTOP): Mode.STOPPED for mode in Mode},
    **{(mode, Trigger.FAULT): Mode.STOPPED for mode in Mode},
    (Mode.TELEOP, Trigger.STATE_STALE): Mode.HOLD,
    (Mode.AUTONOMY, Trigger.STATE_STALE): Mode.HOLD,
    (Mode.TELEOP, Trigger.TELEOP_LOST): Mode.HOLD,
    (Mode.AUTONOMY, Trigger.POLICY_LOST): Mode.HOLD,
    (Mode.TELEOP, Trigger.TRACKING): Mode.HOLD,
    (Mode.AUTONOMY, Trigger.TRACKING): Mode.HOLD,
    (Mode.AUTONOMY, Trigger.CLOCK_JUMP): Mode.HOLD,
    (Mode.AUTONOMY, Trigger.NAMESAKE): Mode.HOLD,
    (Mode.TELEOP, Trigger.SECOND_PUBLISHER): Mode.HOLD,
    (Mode.AUTONOMY, Trigger.SECOND_PUBLISHER): Mode.HOLD,
    (Mode.TELEOP, Trigger.TWO_DEVICES): Mode.HOLD,
    (Mode.AUTONOMY, Trigger.TWO_DEVICES): Mode.HOLD,
}


@dataclass(frozen=True)
class ModeState:
    """The mode, why it is so, how many times it has changed, and what changed it last."""

    mode: Mode = Mode.HOLD
    reason: str = "started"
    epoch: int = 0
    trigger: Trigger | None = None


def allowed(mode: Mode, trigger: Trigger) -> bool:
    """Whether the table knows this pair."""
    return (mode, trigger) in TABLE


def advance(state: ModeState, trigger: Trigger, reason: str) -> ModeState:
    """The next state; a change of mode has `reason` and the next epoch, everything else leaves the state as it is."""
    after = TABLE.get((state.mode, trigger), state.mode)
    if after is state.mode:
        return state
    return ModeState(after, reason, state.epoch + 1, trigger)
