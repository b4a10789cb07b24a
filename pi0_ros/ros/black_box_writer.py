"""Writing black boxes beside the work: one after the other, in a thread of its own.

Writing takes a second or two; a second fault that follows from the first is taken in meanwhile.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from pi0_ros.control import Record
from pi0_ros.data.blackbox_file import KEEP, Keep, write_black_box
from pi0_ros.ros.guarded_thread import GuardedThread
from pi0_ros.ros.loop import restore_own_priority
from pi0_ros.ros.missing import missing_module


class BlackBoxWriter:
    """Files in `folder`. Of the boxes that wait while one is being written only the newest is kept: it has it all."""

    def __init__(
        self,
        folder: Path,
        channels: Sequence[str],
        written: Callable[[Path], None],
        failed: Callable[[str], None],
        keep: Keep = KEEP,
    ) -> None:
        """`written(file)` and `failed(sentence)` are called from the thread."""
        self.files, self.failures, self.last_failure = 0, 0, ""
        """What was written, what was not, and why the newest box was not written, "" if it was."""
        self._keep = keep
        self._folder, self._channels, self._written, self._failed = folder, channels, written, failed
        self._changed = threading.Condition()
        self._waiting: tuple[Sequence[Record], str] | None = None
        self._ending = False
        self.thread = GuardedThread("black box", self._run, failed).start()

    def save(self, records: Sequence[Record], reason: str) -> None:
        """Write these soon; returns at once."""
        with self._changed:
            self._waiting = (records, reason)
            self._changed.notify_all()

    def close(self, patience: float) -> bool:
        """End when all is written; False if that takes longer than `patience` [s]."""
        with self._changed:
            self._ending = True
            self._changed.notify_all()
        return self.thread.stop(patience)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting is not None or self._ending)
                if self._waiting is None:
                    return
                (records, reason), self._waiting = self._waiting, None
            restore_own_priority()  # it is busy for long: a real-time thread that is takes the machine with it
            self._write(records, reason)

    def _write(self, records: Sequence[Record], reason: str) -> None:
        try:
            file = write_black_box(self._folder, records, reason, self._channels, self._keep)
        except BaseException as error:  # noqa: BLE001 - whatever is in one box, the next one must be written
            self.failures += 1
            self.last_failure = why_not(error)
            self._failed(self.last_failure)
            return
        self.files, self.last_failure = self.files + 1, ""
        self._written(file)


def why_not(error: BaseException) -> str:
    """Why a black box was not written, with the way out, as a sentence."""
    if isinstance(error, ImportError):
        return f"the black box could not be written: {missing_module(error) or error}"
    if isinstance(error, OSError):
        return f"the black box could not be written: {error}"
    return f"the black box could not be written: {type(error).__name__}: {error}"
