"""A journal that a thread of its own writes: a disk that stands still for seconds holds up neither encoder nor recorder."""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path

from pi0_ros.data.journal import EncodedFrame, JournalWriter, drop_journal, end_journal
from pi0_ros.data.stored import Features, Note

ROOM = 32 * 10**6
"""Bytes of encoded pictures that may wait for the disk: about 15 s of three cameras of 640x480 at 30 Hz."""


class JournalQueue:
    """The journal of one running episode. Frames are written in the order in which they are added."""

    def __init__(
        self,
        folder: Path,
        features: Features,
        fps: int,
        note: Note,
        begin: Callable[[Path, Features, int, Note], JournalWriter] = JournalWriter,
    ) -> None:
        """As `JournalWriter`, which `begin` makes in the thread."""
        self.folder, self.frames = folder, 0
        self._begin: Callable[[], JournalWriter] = lambda: begin(folder, features, fps, note)
        self._journal: JournalWriter | None = None
        self._changed, self._waiting, self._room = threading.Condition(), deque[EncodedFrame](), ROOM
        self._failure: Exception | None = None
        self._end: Callable[[], None] | None = None
        self._thread = threading.Thread(target=self._run, name="journal", daemon=True)
        self._thread.start()

    def add(self, frame: EncodedFrame) -> None:
        """Have a frame appended; waits if ROOM is taken up. Raises what ended the writing: OSError for a full disk."""
        with self._changed:
            self._changed.wait_for(lambda: self._room > 0 or self._failure is not None)
            if self._failure is not None:
                raise self._failure
            self._waiting.append(frame)
            self._room -= frame.size
            self._changed.notify_all()
        self.frames += 1

    def end(self, note: Note) -> None:
        """No more frames; `note` is how the episode ended. Does not wait."""
        self._finish(lambda: end_journal(self.folder, note))

    def drop(self) -> None:
        """Nothing of it is wanted. Does not wait."""
        self._finish(lambda: drop_journal(self.folder))

    def wait(self) -> bool:
        """Until all of an ended journal is written; whether every frame is."""
        self._thread.join()
        return self._failure is None

    def sync(self) -> None:
        """Have everything that was written on the disk itself."""
        if self._journal is not None:
            self._journal.sync()

    def _finish(self, end: Callable[[], None]) -> None:
        with self._changed:
            self._end = end
            self._changed.notify_all()

    def _run(self) -> None:
        try:
            self._journal = self._begin()
            while (frame := self._next()) is not None:
                self._journal.add(frame)
        except Exception as failure:  # noqa: BLE001 - `add` raises it
            with self._changed:
                self._failure = failure
                self._waiting.clear()
                self._changed.notify_all()
        with self._changed:
            end = self._changed.wait_for(lambda: self._end)
        assert end is not None
        if self._journal is not None:
            self._journal.close()
        if self._journal is None or not self._journal.frames:
            drop_journal(self.folder)
            return
        with contextlib.suppress(OSError):  # a full disk: what was recorded is there, how it ended is not
            end()

    def _next(self) -> EncodedFrame | None:
        """The frame that is to be written now; None behind the last one."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._end is not None)
            if not self._waiting:
                return None
            frame = self._waiting.popleft()
            self._room += frame.size
            self._changed.notify_all()
            return frame
