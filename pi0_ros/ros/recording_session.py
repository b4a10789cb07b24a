"""A recorder's episodes: begun and ended by requests, gaps and who drives; frames at fixed times."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

from pi0_ros.data.errors import DataError
from pi0_ros.data.frame_clock import FrameClock
from pi0_ros.data.frame_selection import FrameSelection, Keep, RecordMode
from pi0_ros.data.stored import Features
from pi0_ros.robot.wording import counted
from pi0_ros.ros.frame_source import DropCause, Missing, SourceFrame
from pi0_ros.ros.recording_episodes import RecordingEpisodes

WAIT = 0.5
"""Seconds that a frame waits for pictures and state of its moment."""
AHEAD = 1.0
"""Seconds that the next frame's moment may lie ahead; beyond, the clock was set back."""
MOST = 8
"""Frames that are taken in one go after a stall."""
SELDOM = 5.0
"""Seconds between two sentences about pieces that are not kept: a computer that cannot keep up makes several a second."""


class OnGap(StrEnum):
    """What becomes of an episode in which more than one frame in a row is missing."""

    SPLIT = "split"  # it ends, and the next frame begins another one
    END = "end"  # it ends, and so does the recording


@dataclass(frozen=True)
class SessionSettings:
    """How a session records. note: what is known of all episodes. min_episode [s]: shorter pieces between gaps go."""

    fps: int
    mode: RecordMode = RecordMode.EVERYTHING
    on_gap: OnGap = OnGap.SPLIT
    note: Mapping[str, Any] = field(default_factory=dict)
    min_episode: float = 0.0


class Source(Protocol):
    """Where frames come from. restarts: how often the ROS clock was set."""

    @property
    def restarts(self) -> int: ...

    def newest(self) -> float | Missing: ...
    def reaches(self, moment: float) -> bool: ...
    def at(self, moment: float, features: Features) -> SourceFrame | Missing: ...


class RecordingSession:
    """Takes frames while `recording`. Not thread-safe: whoever calls holds a lock."""

    def __init__(self, settings: SessionSettings, source: Source, log: Callable[[str], None]) -> None:
        self._settings, self._source, self._log = settings, source, log
        self._clock, self._selection = FrameClock(settings.fps), FrameSelection(settings.mode)
        self.episodes = RecordingEpisodes(settings.fps, settings.note, math.ceil(settings.min_episode * settings.fps))
        self.recording = False
        self.why = ""
        """Why no frame is taken now, "" if frames are taken."""
        self._resume_after, self._restarts = -math.inf, source.restarts
        self._said, self._unsaid = -math.inf, 0

    # --- requests ---

    def start(self) -> str:
        """Begin an episode; the sentence that says so. Raises DataError if that cannot be."""
        episodes = self.episodes
        if self.recording:
            raise DataError(f"episode {episodes.number} is being recorded already")
        if episodes.client is not None and episodes.client.report.disk_full:
            raise DataError(f"the disk of {episodes.client.settings.folder} is nearly full; make room first")
        self.recording, self.why = True, ""
        episodes.restart()
        self._selection.restart()
        return f"recording episode {episodes.number}"

    def stop(self, label: Mapping[str, Any] | None = None) -> str:
        """End the episode and have it saved; the sentence that says so. Raises DataError if there is none."""
        self._must_record()
        self.recording = False
        episodes = self.episodes
        frames, number = episodes.frames, episodes.number
        if not (episodes.kept and self._settings.mode is RecordMode.EVERYTHING):
            episodes.close(label or {})
        elif not episodes.cut(label or {}):  # the rest behind a gap
            frames = 0
        self._forget()
        missing = sum(episodes.dropped.values())
        if not episodes.kept:
            starting = "the process that writes is still being started" if episodes.client is None else "too short"
            raise DataError(f"no frame was taken: {self.why or starting}")
        if label and not frames:
            episodes.label(label, running=False)
        if episodes.kept > 1 or not frames:
            return f"{counted(episodes.kept, 'episode')} kept, {counted(missing, 'frame')} could not be taken"
        return f"episode {number}: {counted(frames, 'frame')} kept, {missing} could not be taken"

    def discard(self) -> str:
        """Drop the episode; the sentence that says so. Raises DataError if there is none."""
        self._must_record()
        self.recording = False
        frames = self.episodes.frames
        self.episodes.discard()
        self._forget()
        return f"{counted(frames, 'frame')} dropped"

    def label(self, label: Mapping[str, Any]) -> str:
        """Say something of the running episode or, if none runs, of the newest one. Raises DataError without any."""
        return f"episode {self.episodes.label(label, self.recording)}: {_told(label)}"

    def _must_record(self) -> None:
        if not self.recording:
            raise DataError("nothing is being recorded")

    # --- frames ---

    def tick(self, ros: float) -> None:
        """Take every frame whose moment has come, at ROS time `ros` [s]."""
        client = self.episodes.client
        if self.recording and client is not None:
            if client.ended:
                self._ended(client.ended)
                return
            for _ in range(MOST):
                if not self._next(ros, client.settings.features):
                    return

    def _ended(self, why: str) -> None:
        """The process has ended the episode by itself."""
        self.recording, self.why = False, f"recording has ended: {why}"
        self._log(self.why)
        self.episodes.abandon()
        self._forget()

    def _next(self, ros: float, features: Features) -> bool:
        """Take the next frame, if its moment has come; whether there may be another one."""
        restarts, self._restarts = self._restarts, self._source.restarts
        if self._clock.begun and (restarts != self._restarts or self._clock.moment > ros + AHEAD):
            self._gap(Missing(DropCause.CLOCK, "the ROS clock was set"))
            self._resume_after = -math.inf  # that was of another time
            if not self.recording:
                return False
        if not self._clock.begun:
            newest = self._source.newest()
            if isinstance(newest, Missing):
                self.why = newest.sentence
                self.episodes.dropped[newest.cause] += 1
                return False
            if newest <= self._resume_after <= ros + AHEAD:  # beyond, the clock was set back since
                return False
            self._clock.begin(newest)
        moment = self._clock.moment
        if ros - moment < WAIT and not self._source.reaches(moment):
            return False
        return self._take(self._source.at(moment, features))

    def _take(self, frame: SourceFrame | Missing) -> bool:
        if isinstance(frame, Missing):
            self._miss(frame)
            return self._clock.begun
        choice = self._selection.choose(frame.driver)
        if choice.ends:
            self.episodes.close({})  # the times of the frames go on
        if choice.keep is Keep.SKIP:
            self.episodes.skip()
            self._clock.take()
        elif self.episodes.behind:
            self._miss(
                Missing(DropCause.ENCODER, "the encoder is behind: fewer or smaller pictures, or a faster computer")
            )
            return False
        else:
            self.episodes.send(frame, choice, self._clock.take())
        self.why = ""
        return True

    def _miss(self, missing: Missing) -> None:
        self.why = missing.sentence
        self.episodes.dropped[missing.cause] += 1
        if not self._clock.frames:
            self._forget()
        elif self._clock.miss():
            self._gap(missing)

    def _gap(self, missing: Missing) -> None:
        """Too much is missing for the episode to go on."""
        self.why = missing.sentence
        episodes, ends = self.episodes, self._settings.on_gap is OnGap.END
        if episodes.running:
            number, frames = episodes.number, episodes.frames
            if episodes.cut({"why": missing.sentence}):
                self._log(
                    f"episode {number} ends after {counted(frames, 'frame')}, {self._settings.on_gap}: {missing.sentence}"
                )
            else:
                self._say_seldom(
                    f"{frames} frames are not kept, they are too short an episode (min_episode): {missing.sentence}"
                )
            self.recording = not ends
        self._forget()

    def _say_seldom(self, text: str) -> None:
        """Log it, but not if such a sentence has just been said; then it is counted."""
        if 0.0 <= self._clock.moment - self._said < SELDOM:
            self._unsaid += 1
            return
        self._log(text + (f" ({self._unsaid} more such pieces since this was said last)" if self._unsaid else ""))
        self._said, self._unsaid = self._clock.moment, 0

    def _forget(self) -> None:
        """The next frame begins another episode."""
        self.episodes.forget()
        self._resume_after = self._clock.moment if self._clock.begun else -math.inf
        self._clock = FrameClock(self._settings.fps)


def _told(label: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in label.items())
