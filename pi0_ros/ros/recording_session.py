"""A recorder's episodes: begun and ended by requests, gaps and who drives; frames at fixed times."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

from pi0_ros.data.errors import DataError
from pi0_ros.data.features import Features
from pi0_ros.data.frame_clock import FrameClock
from pi0_ros.data.frame_selection import Choice, FrameSelection, Keep, RecordMode
from pi0_ros.data.recording_client import RecordingClient
from pi0_ros.ros.frame_source import DropCause, Missing, SourceFrame, between

WAIT = 0.5
"""Seconds that a frame waits for pictures and state of its moment."""
AHEAD = 1.0
"""Seconds that the next frame's moment may lie ahead; beyond, the clock was set back."""
MOST = 8
"""Frames that are taken in one go after a stall."""


class OnGap(StrEnum):
    """What becomes of an episode in which more than one frame in a row is missing."""

    SPLIT = "split"  # it ends, and the next frame begins another one
    END = "end"  # it ends, and so does the recording


@dataclass(frozen=True)
class SessionSettings:
    """How a session records. note: what is known of all episodes."""

    fps: int
    mode: RecordMode = RecordMode.EVERYTHING
    on_gap: OnGap = OnGap.SPLIT
    note: Mapping[str, Any] = field(default_factory=dict)


class Source(Protocol):
    """Where frames come from."""

    def newest(self) -> float | Missing: ...
    def reaches(self, moment: float) -> bool: ...
    def at(self, moment: float, features: Features) -> SourceFrame | Missing: ...


class RecordingSession:
    """Takes frames while `recording`. Not thread-safe: whoever calls holds a lock."""

    def __init__(self, settings: SessionSettings, source: Source, log: Callable[[str], None]) -> None:
        self._settings, self._source, self._log = settings, source, log
        self._clock, self._selection = FrameClock(settings.fps), FrameSelection(settings.mode)
        self.client: RecordingClient | None = None
        self.recording, self.frames, self.episode = False, 0, 0
        self.taken = 0
        """Frames of all episodes."""
        self.why = ""
        """Why no frame is taken now, "" where frames are taken."""
        self.dropped: Counter[str] = Counter()
        self._label: dict[str, Any] = {}
        self._last: SourceFrame | None = None
        self._resume_after = -math.inf
        self._kept = 0

    def attach(self, client: RecordingClient) -> None:
        """The process that writes is there."""
        self.client, self.episode = client, client.report.expected

    # --- requests ---

    def start(self) -> str:
        """Begin an episode; what is told about it. Raises DataError where that cannot be."""
        if self.recording:
            raise DataError(f"episode {self.episode} is being recorded already")
        if self.client is not None and self.client.report.disk_full:
            raise DataError(f"the disk of {self.client.settings.folder} is nearly full; make room first")
        self.recording, self.why = True, ""
        self.dropped.clear()
        self._kept = 0
        self._selection.restart()
        self._forget()
        return f"recording episode {self.episode}"

    def stop(self, label: Mapping[str, Any] | None = None) -> str:
        """End the episode and have it saved; what is told about it. Raises DataError where there is none."""
        self._must_record()
        self.recording = False
        frames, missing, episode = self.frames, sum(self.dropped.values()), self.episode
        self._close(label or {})
        self._forget()
        if not frames and not self._kept:
            starting = "the process that writes is still being started" if self.client is None else "too short"
            raise DataError(f"no frame was taken: {self.why or starting}")
        if self._kept > 1 or not frames:
            return f"{self._kept} episodes kept, {missing} frames could not be taken"
        return f"episode {episode}: {frames} frames kept, {missing} could not be taken"

    def discard(self) -> str:
        """Drop the episode; what is told about it. Raises DataError where there is none."""
        self._must_record()
        self.recording = False
        frames = self.frames
        if self.client is not None:
            self.client.discard()
        self._forget()
        return f"{frames} frames dropped"

    def label(self, label: Mapping[str, Any]) -> str:
        """Say something of the running episode or, where none runs, of the newest one. Raises DataError without any."""
        if self.recording and self.frames:
            self._label |= label
            return f"episode {self.episode}: {_told(label)}"
        if self.client is None or not self.episode:
            raise DataError("there is no episode yet")
        self.client.label(label)
        return f"episode {self.episode - 1}: {_told(label)}"

    def _must_record(self) -> None:
        if not self.recording:
            raise DataError("nothing is being recorded")

    # --- frames ---

    def tick(self, ros: float) -> None:
        """Take every frame whose moment has come, at ROS time `ros` [s]."""
        if self.recording and self.client is not None:
            if self.client.ended:
                self._ended(self.client.ended)
                return
            for _ in range(MOST):
                if not self.recording or not self._next(ros):
                    return

    def _ended(self, why: str) -> None:
        """The process has ended the episode by itself."""
        self.recording, self.why = False, f"recording has ended: {why}"
        self._log(self.why)
        self.episode += bool(self.frames)
        self._forget()

    def _next(self, ros: float) -> bool:
        """Take the next frame, if its moment has come; whether there may be another one."""
        if self._clock.begun and self._clock.moment > ros + AHEAD:
            self._gap(Missing(DropCause.CLOCK, "the ROS clock was set back"))
        if not self._clock.begun:
            newest = self._source.newest()
            if isinstance(newest, Missing):
                self.why = newest.sentence
                self.dropped[newest.cause] += 1
                return False
            if newest <= self._resume_after <= ros + AHEAD:  # beyond, the clock was set back since
                return False
            self._clock.begin(newest)
        moment = self._clock.moment
        if ros - moment < WAIT and not self._source.reaches(moment):
            return False
        return self._take(moment)

    def _take(self, moment: float) -> bool:
        assert self.client is not None
        frame = self._source.at(moment, self.client.settings.features)
        if isinstance(frame, Missing):
            self._miss(frame)
            return self._clock.begun
        choice = self._selection.choose(frame.driver)
        if choice.ends:
            self._close({})  # the times of the frames go on
        if choice.keep is Keep.SKIP:
            self._clock.take()
            self._last = None
        elif not self._send(frame, choice):
            self._miss(
                Missing(DropCause.ENCODER, "the encoder is behind: fewer or smaller pictures, or a faster computer")
            )
            return False
        self.why = ""
        return True

    def _send(self, frame: SourceFrame, choice: Choice) -> bool:
        """Send a frame, and the one between where one was missed; False where the encoder is behind."""
        assert self.client is not None
        write = choice.keep is Keep.WRITE
        if self._last is None:
            self.client.begin({**self._settings.note, "started": frame.row["stamp"].item()})
        mark = {"intervention": [choice.intervention]}
        if self.client.backlog >= self.client.settings.slots:
            return False
        missed = self._clock.take() * (self._last is not None)
        if missed:
            filled = between(self._last, frame, 1.0 / self._settings.fps)
            self.client.frame({**filled.row, **mark}, None, write)
        self.client.frame({**frame.row, **mark}, frame.pictures, write)
        self._last = frame
        self.frames += write * (1 + missed)
        self.taken += write * (1 + missed)
        return True

    def _miss(self, missing: Missing) -> None:
        self.why = missing.sentence
        self.dropped[missing.cause] += 1
        if not self._clock.frames:
            self._forget_time()
        elif self._clock.miss():
            self._gap(missing)

    def _gap(self, missing: Missing) -> None:
        """Too much is missing for the episode to go on."""
        self.why = missing.sentence
        if self._last is None:
            self._forget_time()
            return
        self._log(
            f"episode {self.episode} ends after {self.frames} frames, {self._settings.on_gap}: {missing.sentence}"
        )
        self._close({"why": missing.sentence})
        self._forget()
        if self._settings.on_gap is OnGap.END:
            self.recording = False

    def _close(self, note: Mapping[str, Any]) -> None:
        if self.client is not None and self._last is not None:
            self.client.close_episode({"dropped": dict(self.dropped), **self._label, **note})
            self.episode += bool(self.frames)
            self._kept += bool(self.frames)
        self.frames, self._label, self._last = 0, {}, None

    def _forget(self) -> None:
        """The next frame begins another episode."""
        self.frames, self._label, self._last = 0, {}, None
        self._forget_time()

    def _forget_time(self) -> None:
        self._resume_after = self._clock.moment if self._clock.begun else -math.inf
        self._clock = FrameClock(self._settings.fps)


def _told(label: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in label.items())
