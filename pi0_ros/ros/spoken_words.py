"""The task, the network's subtask and the operator's words, by time, and which of them a frame is about. Pure."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from pi0_ros.data.frame_selection import AUTONOMY
from pi0_ros.ros.prompt_source import one_line

KEPT = 64


class Origin(StrEnum):
    """Who chose the subtask of a frame."""

    NETWORK = "network"
    OPERATOR = "operator"
    NONE = ""  # there is none: the task itself is followed, or a person drives without a word


@dataclass(frozen=True)
class Words:
    """What a frame is about. instruction: what is being done, in words; "" if nobody has said any."""

    task: str = ""
    subtask: str = ""
    origin: Origin = Origin.NONE

    @property
    def instruction(self) -> str:
        """The subtask, or the task if there is none."""
        return self.subtask or self.task


class WordHistory:
    """The texts of one topic by the ROS time at which they came [s]."""

    def __init__(self) -> None:
        self._times: list[float] = []
        self._texts: list[str] = []

    def add(self, ros: float, text: str) -> None:
        """The topic says `text`."""
        self._times.append(ros)
        self._texts.append(one_line(text))
        del self._times[:-KEPT], self._texts[:-KEPT]

    def at(self, moment: float) -> str:
        """The text in force at `moment`; before the first text, the first."""
        if not self._texts:
            return ""
        return self._texts[max(0, bisect_right(self._times, moment) - 1)]


def words_of(driver: str, task: str, subtask: str, override: str) -> Words:
    """The words of a frame. While a person drives, the network's subtask is outdated: it is not what is being done."""
    if override:
        return Words(task, override, Origin.OPERATOR)
    if driver == AUTONOMY and subtask and subtask != task:
        return Words(task, subtask, Origin.NETWORK)
    return Words(task)


def newest(histories: Sequence[WordHistory], moment: float) -> list[str]:
    """What each topic said at `moment`."""
    return [history.at(moment) for history in histories]
