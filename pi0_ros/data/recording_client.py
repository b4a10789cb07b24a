"""The recorder's connection to the process that encodes and writes, for which it never waits."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection

import numpy as np
from numpy.typing import NDArray

from pi0_ros.data.episode_saver import EpisodeSaved, Problem
from pi0_ros.data.errors import DataError
from pi0_ros.data.features import checked_frame, video_keys
from pi0_ros.data.frame_slots import FrameSlots
from pi0_ros.data.recording_process import (
    Begin,
    Close,
    Discard,
    EpisodeEnded,
    Frame,
    Label,
    RecordingSettings,
    Report,
    SlotsFreed,
)
from pi0_ros.data.stored import Note, Row

START = 30.0  # [s] until the process has opened its dataset
MODULE = "pi0_ros.data.recording_program"


class RecordingClient:
    """Starts the process and sends it frames; what it tells is kept in `report`, `saved`, `problem`."""

    def __init__(self, settings: RecordingSettings, changed: Callable[[], None] = lambda: None) -> None:
        """`changed` is called, in a thread of this client, whenever the process reported something.

        Raises DataError if the folder cannot be used.
        """
        self.settings, self._changed = settings, changed
        self._numbers = {k: f for k, f in settings.features.items() if k not in video_keys(settings.features)}
        self._slots = FrameSlots(settings.features, settings.slots)
        ours, theirs = socket.socketpair()
        words = [sys.executable, "-m", MODULE, str(theirs.fileno()), str(self._slots.fd)]
        with theirs:
            # In a session of its own: Ctrl-C in a terminal goes to the recorder, which then closes its end.
            self._process = subprocess.Popen(words, pass_fds=(theirs.fileno(), self._slots.fd), start_new_session=True)
        self._connection = Connection(ours.detach())
        self._lock = threading.Lock()
        self.report, self.problem, self.ended = Report(), "", ""
        self.saved: list[EpisodeSaved] = []
        self._open()
        self._thread = threading.Thread(target=self._listen, name="recording", daemon=True)
        self._thread.start()

    def _open(self) -> None:
        self._connection.send(self.settings)
        answer: object = None
        with contextlib.suppress(EOFError, OSError):
            answer = self._connection.recv() if self._connection.poll(START) else None
        if not isinstance(answer, Report):
            self._process.kill()
            self._process.wait()
            raise (
                answer
                if isinstance(answer, DataError)
                else DataError(f"{self.settings.folder}: the process that writes did not start")
            )
        self.report = answer

    @property
    def pid(self) -> int:
        """The number of the process."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self._process.poll() is None

    @property
    def backlog(self) -> int:
        """Frames on their way to the encoder."""
        return self._slots.used

    def begin(self, note: Note) -> None:
        """The next frame begins an episode, of which `note` is known."""
        self.ended = ""
        self._send(Begin(dict(note)))

    def frame(self, row: Row, pictures: Mapping[str, NDArray[np.uint8]] | None, write: bool = True) -> bool:
        """Send a frame (`row` with "task"); None holds the pictures of the one before. False if the encoder is behind.

        Raises DataError if a value does not fit the dataset.
        """
        checked = checked_frame(str(self.settings.folder), self._numbers, row)
        slot = None
        if pictures is not None:
            with self._lock:
                slot = self._slots.put(pictures)
            if slot is None:
                return False
        self._send(Frame(checked, slot, write))
        return True

    def close_episode(self, note: Note) -> None:
        """The running episode ends and is saved."""
        self._send(Close(dict(note)))

    def discard(self) -> None:
        """The running episode is dropped."""
        self._send(Discard())

    def label(self, label: Note, episode: int | None = None) -> None:
        """Add to the note of an episode; None is the newest that has ended."""
        self._send(Label(dict(label), episode))

    def _send(self, what: object) -> None:
        try:
            self._connection.send(what)
        except OSError:
            self.problem = "the process that writes has ended; what it had is recovered at the next start"

    def _listen(self) -> None:
        while True:
            try:
                message = self._connection.recv()
            except (EOFError, OSError):
                self._changed()
                return
            if isinstance(message, SlotsFreed):
                with self._lock:
                    for slot in message.slots:
                        self._slots.free(slot)
            elif isinstance(message, Report):
                self.report = message
            elif isinstance(message, EpisodeSaved):
                self.saved.append(message)
            elif isinstance(message, EpisodeEnded):
                self.ended = message.why
            elif isinstance(message, Problem):
                self.problem = message.text
            self._changed()

    def close(self, patience: float) -> bool:
        """Let the process save and end; False if it is still at it after `patience` seconds. It goes on by itself."""
        with contextlib.suppress(OSError):
            self._socket_end()
        try:
            self._process.wait(patience)
        except subprocess.TimeoutExpired:
            threading.Thread(target=self._let_go, name="recording's end", daemon=True).start()
            return False
        self._let_go()
        return True

    def _let_go(self) -> None:
        """Close what was shared with the process, once that has ended."""
        self._process.wait()
        self._thread.join(1.0)
        self._connection.close()
        self._slots.close()

    def _socket_end(self) -> None:
        """Say that nothing more comes; reports are still read."""
        with socket.socket(fileno=self._connection.fileno()) as end:
            try:
                end.shutdown(socket.SHUT_WR)
            finally:
                end.detach()
