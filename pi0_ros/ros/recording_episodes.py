"""The episodes of a recording on their way to the process that writes: their frames, what is noted, what is left out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from pi0_ros.data.errors import DataError
from pi0_ros.data.frame_selection import Choice, Keep
from pi0_ros.data.recording_client import RecordingClient
from pi0_ros.ros.frame_source import DropCause, SourceFrame, between


class RecordingEpisodes:
    """Sends frames, and begins and ends episodes. Not thread-safe: whoever calls holds a lock."""

    def __init__(self, fps: int, note: Mapping[str, Any], least: int) -> None:
        """note: what is known of all episodes. least: frames of a piece that a gap has cut off, for it to be kept."""
        self._fps, self._note, self._least = fps, note, least
        self.client: RecordingClient | None = None
        self.number, self.frames = 0, 0
        """Of the running episode."""
        self.taken = 0
        """Frames of all episodes."""
        self.kept = 0
        """Episodes since the last request to start."""
        self.dropped: Counter[str] = Counter()
        """Frames that could not be taken since then, by cause."""
        self._label: dict[str, Any] = {}
        self._last: SourceFrame | None = None

    def attach(self, client: RecordingClient) -> None:
        """The process that writes is there."""
        self.client, self.number = client, client.report.expected

    @property
    def running(self) -> bool:
        """Whether a frame was sent that another one may follow."""
        return self._last is not None

    def restart(self) -> None:
        """Counting begins anew."""
        self.dropped.clear()
        self.kept = 0
        self.forget()

    @property
    def behind(self) -> bool:
        """Whether no more frames may be sent now."""
        return self.client is None or self.client.backlog >= self.client.settings.slots

    def send(self, frame: SourceFrame, choice: Choice, missed: int) -> None:
        """Send a frame, and the `missed` one before it, filled in. Raises DataError if it does not fit the dataset."""
        client = self.client
        assert client is not None
        write, mark = choice.keep is Keep.WRITE, {"intervention": [choice.intervention]}
        if self._last is None:
            client.begin({**self._note, "started": frame.row["stamp"].item()})
            missed = 0
        elif missed:
            filled = between(self._last, frame, 1.0 / self._fps)
            client.frame({**filled.row, **mark}, None, write)
        client.frame({**frame.row, **mark}, frame.pictures, write)
        self._last = frame
        self.frames += write * (1 + missed)
        self.taken += write * (1 + missed)

    def skip(self) -> None:
        """A frame is left out on purpose: what follows is no continuation."""
        self._last = None

    def close(self, note: Mapping[str, Any]) -> None:
        """The running episode ends, and is kept."""
        if self.client is not None and self._last is not None:
            self.client.close_episode({"dropped": dict(self.dropped), **self._label, **note})
            self.number += bool(self.frames)
            self.kept += bool(self.frames)
        self.forget()

    def cut(self, note: Mapping[str, Any]) -> bool:
        """A gap has cut off what runs; whether it is kept: not if that is too short to learn from."""
        if not 0 < self.frames < self._least:
            self.close(note)
            return True
        self.dropped[DropCause.SHORT] += self.frames
        self.discard()
        return False

    def discard(self) -> None:
        """The running episode is dropped."""
        if self.client is not None:
            self.client.discard()
        self.forget()

    def abandon(self) -> None:
        """The process has ended the episode by itself, and keeps it."""
        self.number += bool(self.frames)
        self.forget()

    def forget(self) -> None:
        """The next frame begins another episode."""
        self.frames, self._label, self._last = 0, {}, None

    def label(self, label: Mapping[str, Any], running: bool) -> int:
        """Say something of the running episode or, if none runs, of the newest one: which. Raises DataError without any."""
        if running and self.frames:
            self._label |= label
            return self.number
        if self.client is None or not self.number:
            raise DataError("there is no episode yet")
        self.client.label(label)
        return self.number - 1
