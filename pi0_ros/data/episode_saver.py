"""Puts recorded episodes into the dataset, one after the other, in a thread of its own; what cannot be saved stays a journal."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from pi0_ros.data.dataset_files import DatasetFiles, EpisodeContent, table_of
from pi0_ros.data.errors import DataError
from pi0_ros.data.journal import Journal, checked_journal, drop_journal
from pi0_ros.data.statistics import PictureStatistics, Stats, sampled
from pi0_ros.data.stored import Note
from pi0_ros.data.video import Part, VideoReader

RETRY = 2.0  # [s] until saving is tried again


@dataclass(frozen=True)
class EpisodeSaved:
    """An episode is in the dataset."""

    episode: int
    frames: int
    recovered: bool


@dataclass(frozen=True)
class Problem:
    """Why an episode is not in the dataset; "" once there is no problem any more."""

    text: str


def content_of(journal: Journal, pictures: Mapping[str, Stats]) -> EpisodeContent:
    """A journal as an episode of a dataset."""
    parts = {key: Part(journal.video(key), journal.frames) for key in pictures}
    table = table_of(journal.columns, journal.features)
    return EpisodeContent(table, journal.tasks, parts, pictures, {**journal.note, "journal": journal.folder.name})


def sampled_statistics(file: Path, frames: int, fps: int) -> Stats:
    """Statistics of a video that has `frames` pictures, of as many of them as `sampled` chooses."""
    found = PictureStatistics()
    reader = VideoReader(file)
    try:
        for number in sampled(frames):
            found.add(reader.at([number / fps], 0.5 / fps)[0])
    finally:
        reader.close()
    return found.result()


def _ignored(_: object) -> None:
    """A job's result."""


@dataclass(frozen=True)
class _Job:
    """Something to be done in the saver's thread. saves: how many of the episodes that are waited for it is."""

    do: Callable[[], None]
    saves: int = 0


class EpisodeSaver:
    """Saves in the order in which episodes ended. `tell` hears `EpisodeSaved` and `Problem`, in the saver's thread."""

    def __init__(self, files: DatasetFiles, tell: Callable[[object], None]) -> None:
        self._files, self._tell = files, tell
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._ending = threading.Event()
        self._counting = threading.Lock()
        self._next, self._waiting = files.episodes, 0
        self._thread = threading.Thread(target=self._run, name="saver", daemon=True)
        self._thread.start()

    def add(
        self,
        folder: Path,
        pictures: Mapping[str, Stats] | None = None,
        written: Callable[[], bool] = lambda: True,
    ) -> int:
        """Save the journal of this folder; the episode that it will be. Without `pictures` they are looked at again.

        `written` waits until the journal is on the disk, and says whether every frame is that `pictures` are of.
        """
        with self._counting:
            episode, self._next, self._waiting = self._next, self._next + 1, self._waiting + 1
        self._jobs.put(_Job(lambda: self._save(folder, pictures if written() else None), saves=1))
        return episode

    def wait_for(self, done: Callable[[], object]) -> None:
        """Do not end before this: it is what is waited for."""
        self._jobs.put(_Job(lambda: _ignored(done())))

    def label(self, episode: int, label: Note) -> None:
        """Add to the note of an episode, once it is saved."""
        self._jobs.put(_Job(lambda: self._files.log.label(episode, label)))

    @property
    def expected(self) -> int:
        """Episodes that there are once all are saved."""
        return self._next

    def finish(self, patience: float | None = None) -> bool:
        """Save what is waiting, and end. True if all is saved; a disk that stays full ends it after one more try."""
        self._jobs.put(None)
        self._ending.set()
        self._thread.join(patience)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            while not self._try(job):
                if self._ending.wait(RETRY):
                    self._try(job)
                    return

    def _try(self, job: _Job) -> bool:
        """Whether the job is done or cannot be done ever."""
        problem = ""
        try:
            job.do()
        except OSError as error:
            self._tell(
                Problem(f"an episode is not in the dataset yet: {error.strerror or error}; it is kept and tried again")
            )
            return False
        except Exception as error:  # noqa: BLE001 - one odd episode must not keep the next ones from being saved
            problem = f"an episode could not be saved, its files are kept: {error}"
        with self._counting:  # what was saved before, or cannot be saved, is not one more
            self._waiting -= job.saves
            self._next = self._files.episodes + self._waiting
        self._tell(Problem(problem))
        return True

    def _save(self, folder: Path, pictures: Mapping[str, Stats] | None) -> None:
        if any(note.get("journal") == folder.name for note in self._files.log.read().values()):
            drop_journal(folder)  # it was saved, and what saved it ended before it could remove this
            return
        if not folder.is_dir():
            raise DataError("not one frame of it could be written")
        journal = checked_journal(folder, self._files.features, int(self._files.fps))
        if not journal.frames:
            drop_journal(folder)
            raise DataError("it has not one whole frame")
        if pictures is None:
            keys = [key for key, f in journal.features.items() if f["dtype"] == "video"]
            pictures = {key: self._look(journal, key) for key in keys}
        episode = self._files.append(content_of(journal, pictures))
        drop_journal(folder)
        self._tell(EpisodeSaved(episode, journal.frames, bool(journal.note.get("recovered"))))

    def _look(self, journal: Journal, key: str) -> Stats:
        """Statistics of a recovered video, by way of a file that can be searched."""
        from pi0_ros.data.video import concatenate

        file = journal.folder / f"{key}.look.mp4"
        concatenate([Part(journal.video(key), journal.frames)], file, journal.fps)
        try:
            return sampled_statistics(file, journal.frames, journal.fps)
        finally:
            file.unlink(missing_ok=True)
