"""The process that encodes and writes what a recorder records: `python -m pi0_ros.data.recording_program`.

It gets frames through shared memory and requests through a socket, and tells what became of them. Where the recorder ends,
however it ends, the running episode is saved and the process goes. Signals do not end it: it has something to finish.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import signal
import socket
import threading
import time
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import IO

from pi0_ros.data.dataset_files import DatasetFiles, FileLimits
from pi0_ros.data.episode_saver import EpisodeSaver
from pi0_ros.data.episode_stream import EpisodeStream
from pi0_ros.data.errors import DataError
from pi0_ros.data.frame_slots import FrameSlots
from pi0_ros.data.stored import Features, Note, Row

RUNNING = ".recording"
"""Folder in the dataset with the journals of episodes that are not saved yet."""
LIMITS = FileLimits(data=10, video=20)
"""Files are begun anew so soon that saving an episode rewrites little."""
TELL = 0.5  # [s] between two reports
LOCK = 20.0  # [s] that another process may need to let go of the dataset
SYNC = 1.0  # [s] after which what was written is on the disk itself
NICENESS = 5
LOW = 4.0  # times the reserve at which a disk is said to become full


@dataclass(frozen=True)
class RecordingSettings:
    """What a recording process gets at its start. min_free: bytes of the disk that are left alone."""

    folder: Path
    fps: int
    features: Features
    robot: str
    slots: int
    min_free: int
    lead: int = 0


@dataclass(frozen=True)
class Frame:
    """One frame: its row (with "task"), the slot of its pictures (None holds those before), and whether it is written."""

    row: Row
    slot: int | None
    write: bool = True


@dataclass(frozen=True)
class Close:
    """The running episode ends; `note` is added to what is known of it."""

    note: Note = field(default_factory=dict)


@dataclass(frozen=True)
class Discard:
    """The running episode is dropped."""


@dataclass(frozen=True)
class Label:
    """`label` is added to the note of an episode; `episode` None is the newest."""

    label: Note
    episode: int | None = None


@dataclass(frozen=True)
class Begin:
    """The next frame begins an episode, of which `note` is known."""

    note: Note = field(default_factory=dict)


@dataclass(frozen=True)
class SlotsFreed:
    """Slots that may be filled again."""

    slots: tuple[int, ...]


@dataclass(frozen=True)
class EpisodeEnded:
    """The process ended an episode by itself, and why."""

    why: str


@dataclass(frozen=True)
class Report:
    """How it stands. cpu: processor seconds of the process, encoding: those of them for pictures. memory: bytes."""

    frames: int = 0
    expected: int = 0
    disk_free: int = 0
    disk_low: bool = False
    disk_full: bool = False
    cpu: float = 0.0
    encoding: float = 0.0
    memory: int = 0


class RecordingProcess:
    """Reads requests until the recorder has closed its end."""

    def __init__(self, settings: RecordingSettings, memory: int, connection: Connection) -> None:
        self._settings, self._connection = settings, connection
        self._slots = FrameSlots(settings.features, settings.slots, memory)
        self._sending = threading.Lock()
        files = DatasetFiles(settings.folder, settings.fps, settings.features, settings.robot, LIMITS)
        self._running = settings.folder / RUNNING
        self._saver = EpisodeSaver(files, self._tell)
        self._stream: EpisodeStream | None = None
        self._note: Note = {}
        self._report = Report(disk_free=shutil.disk_usage(settings.folder).free)
        self._encoding, self._due = 0.0, 0.0
        for folder in left_behind(self._running):
            self._saver.add(folder)

    @property
    def expected(self) -> int:
        """Episodes that there are once all are saved."""
        return self._saver.expected

    def run(self) -> None:
        """Work until the recorder is gone, then save what is left."""
        threading.Thread(target=self._sync, name="sync", daemon=True).start()
        while True:
            try:
                request = self._connection.recv() if self._connection.poll(TELL) else None
            except (EOFError, OSError):
                break
            try:
                self._do(request)
                if time.monotonic() > self._due:
                    self._watch()
            except OSError as error:
                self._end(f"{error.strerror or error}")
        self._close({"why": "the recorder ended"})
        self._saver.finish()

    def _do(self, request: object) -> None:
        if isinstance(request, Frame):
            self._take(request)
        elif isinstance(request, Begin):
            self._note = request.note
        elif isinstance(request, Close):
            self._close(request.note)
        elif isinstance(request, Discard):
            self._discard()
        elif isinstance(request, Label):
            episode = self._saver.expected - 1 if request.episode is None else request.episode
            self._saver.label(episode, request.label)

    def _take(self, frame: Frame) -> None:
        s = self._settings
        try:
            if self._stream is None:
                folder = self._running / f"{time.time_ns():020d}"
                self._stream = EpisodeStream(folder, s.features, s.fps, self._note, s.lead)
            pictures = self._slots.views(frame.slot) if frame.slot is not None else None
            if not self._report.disk_full:
                self._stream.add(frame.row, pictures, frame.write)
        finally:
            if frame.slot is not None:
                self._tell(SlotsFreed((frame.slot,)))

    def _close(self, note: Note) -> None:
        stream, self._stream = self._stream, None
        if stream is None:
            return
        self._encoding += stream.seconds
        journal = stream.journal
        if journal is None:
            return
        journal.end(note)
        if not journal.frames:  # a disk that was full before its first frame: there is nothing to save
            self._saver.wait_for(journal.wait)
        else:
            pictures = {key: found.result() for key, found in stream.statistics.items()}
            self._saver.add(journal.folder, pictures, journal.wait)

    def _discard(self) -> None:
        stream, self._stream = self._stream, None
        if stream is not None:
            self._encoding += stream.seconds
            if stream.journal is not None:
                stream.journal.drop()
                self._saver.wait_for(stream.journal.wait)

    def _end(self, why: str) -> None:
        """End the episode by oneself."""
        self._close({"why": why})
        self._tell(EpisodeEnded(why))

    def _watch(self) -> None:
        """Look at the disk, and report."""
        self._due = time.monotonic() + TELL
        s = self._settings
        free = shutil.disk_usage(s.folder).free
        # An episode is written once more when it is saved.
        waiting = bytes_in(self._running)
        full = free < s.min_free + waiting
        stream = self._stream
        self._report = Report(
            frames=stream.frames if stream is not None else 0,
            expected=self._saver.expected,
            disk_free=free,
            disk_low=free < LOW * s.min_free + waiting,
            disk_full=full,
            cpu=time.process_time(),
            encoding=self._encoding + (stream.seconds if stream is not None else 0.0),
            memory=_memory(),
        )
        if full and stream is not None and stream.journal is not None:
            self._end(f"the disk of {s.folder} is nearly full")
        self._tell(self._report)

    def _sync(self) -> None:
        while True:
            time.sleep(SYNC)
            stream = self._stream
            journal = stream.journal if stream is not None else None
            if journal is not None:
                with contextlib.suppress(OSError, ValueError):  # it was closed meanwhile
                    journal.sync()

    def _tell(self, what: object) -> None:
        with self._sending, contextlib.suppress(OSError):  # nobody listens any more: what is to be saved is saved
            self._connection.send(what)


def left_behind(running: Path) -> list[Path]:
    """Journals that an earlier process could not save, those first that were begun first."""
    return sorted(f for f in running.glob("*") if f.is_dir())


def bytes_in(folder: Path) -> int:
    """Bytes of all files under a folder, in which others are at work: what is removed meanwhile counts nothing."""
    total = 0
    for place, _, names in os.walk(folder):  # which passes over folders that have gone
        for name in names:
            with contextlib.suppress(OSError):
                total += os.stat(os.path.join(place, name)).st_size
    return total


def _memory() -> int:
    """Resident bytes of this process, 0 if that cannot be known."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError):
        return 0


def lock_dataset(folder: Path, patience: float = LOCK) -> IO[bytes]:
    """A lock that only one process has, until it ends: two that write one dataset would destroy it.

    Raises DataError if another one has it for `patience` seconds longer: a recorder, or what one left to be saved.
    """
    (folder / RUNNING).mkdir(parents=True, exist_ok=True)
    opened = (folder / RUNNING / "lock").open("ab")
    deadline = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return opened
        except BlockingIOError:
            if time.monotonic() > deadline:
                opened.close()
                raise DataError(
                    f"{folder}: another recorder writes into it, or one that ended is still saving"
                ) from None
            time.sleep(0.05)


def main(arguments: list[str]) -> int:
    """`recording_program SOCKET MEMORY`: descriptors that were inherited; the settings come through the socket."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    connection = Connection(socket.socket(fileno=int(arguments[0])).detach())
    settings = connection.recv()
    try:
        lock = lock_dataset(settings.folder)
        process = RecordingProcess(settings, int(arguments[1]), connection)
    except (DataError, OSError) as error:
        with contextlib.suppress(OSError):
            connection.send(error if isinstance(error, DataError) else DataError(f"{settings.folder}: {error}"))
        return 1
    with contextlib.suppress(OSError):
        os.nice(NICENESS)  # not before: on a busy computer somebody waits for it to be there
    connection.send(Report(expected=process.expected))
    process.run()
    lock.close()
    return 0
