"""The times of the frames of an episode: one every 1 / fps seconds, and what a missing one means. Pure."""

from __future__ import annotations

import math

LONGEST_STEP = 2
"""Periods from one frame to the next up to which an episode goes on; the frame between is filled in."""


class FrameClock:
    """Frame n of an episode is at `begin + n / fps` seconds of the ROS clock."""

    def __init__(self, fps: float) -> None:
        self._period = 1.0 / fps
        self._begin, self._number, self._missed, self.frames = math.nan, 0, 0, 0

    @property
    def begun(self) -> bool:
        """Whether the time of the first frame is fixed, and with it those of the next ones."""
        return math.isfinite(self._begin)

    @property
    def moment(self) -> float:
        """When the next frame is [ROS s], NaN before `begin`."""
        return self._begin + self._number * self._period

    def begin(self, at: float) -> None:
        """The next frame is the first of an episode, at ROS time `at` [s]."""
        self._begin, self._number, self._missed, self.frames = at, 0, 0, 0

    def take(self) -> int:
        """The frame of this moment was taken; how many before it have to be filled in (0 or 1)."""
        missed, self._missed = self._missed, 0
        self._number += 1
        self.frames += 1 + missed
        return missed

    def miss(self) -> bool:
        """There is no frame for this moment. True if the episode cannot go on any more: time would be falsified."""
        self._number += 1
        self._missed += 1
        return self._missed >= LONGEST_STEP
