"""Writing a LeRobot v3.0 dataset, frame by frame and episode by episode, in one process."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pi0_ros.data.dataset_files import DatasetFiles, EpisodeContent, FileLimits, table_of
from pi0_ros.data.errors import DataError
from pi0_ros.data.features import checked_features, checked_frame, columns_of, video_keys, with_standard
from pi0_ros.data.statistics import PictureStatistics
from pi0_ros.data.stored import Features, Note, Row
from pi0_ros.data.video import Part, VideoWriter

if TYPE_CHECKING:
    from typing import Self

__all__ = ["DatasetWriter", "FileLimits"]

PARTIAL = ".episode"  # holds the videos of the episode that is being written


class DatasetWriter:
    """Writes frames to a new dataset folder that is complete and readable after every `save_episode`.

    A frame is a dict of all features and "task", its instruction. As a context manager it drops an episode that was
    not saved.
    """

    def __init__(
        self,
        folder: str | Path,
        fps: int,
        features: Features,
        robot_type: str = "unknown",
        limits: FileLimits | None = None,
    ) -> None:
        """features: name to {dtype, shape, names} as in info.json; dtype one of DTYPES, shape [n] or [H, W, 3].
        Raises DataError for a folder that is not empty and for features that cannot be written.
        """
        self.folder, self.fps = Path(folder), int(fps)
        if self.folder.exists() and (not self.folder.is_dir() or any(self.folder.iterdir())):
            raise DataError(f"{self.folder}: is there already; give a new folder for the dataset")
        if self.fps < 1 or self.fps != fps:
            raise DataError(f"{self.folder}: {fps} frames a second; give a whole number of at least 1")
        self.features = with_standard(checked_features(features))
        self.files = DatasetFiles(self.folder, self.fps, self.features, robot_type, limits)
        self._rows: list[dict[str, Any]] = []
        self._encoders: dict[str, VideoWriter] = {}
        self._pictures: dict[str, PictureStatistics] = {}
        self._clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Drop what was not saved as an episode; the rest is on disk already."""
        self._clear()

    def _clear(self) -> None:
        """Begin an episode anew."""
        for writer in self._encoders.values():
            with contextlib.suppress(OSError):  # a full disk: the video is dropped in any case
                writer.close()
        self._rows, self._encoders = [], {}
        self._pictures = {key: PictureStatistics() for key in video_keys(self.features)}
        shutil.rmtree(self.folder / PARTIAL, ignore_errors=True)

    def add_frame(self, frame: Row) -> None:
        """The next frame of the running episode, 1 / fps after the one before.

        Raises DataError, and takes nothing, if a value is missing, unknown, of the wrong shape or not finite.
        """
        row = checked_frame(str(self.folder), self.features, frame)
        for key, statistics in self._pictures.items():
            picture = row.pop(key)
            self._encoder(key).add(picture)
            statistics.add(picture)
        self._rows.append(row)

    def _encoder(self, key: str) -> VideoWriter:
        if key not in self._encoders:
            (self.folder / PARTIAL).mkdir(parents=True, exist_ok=True)
            file = self.folder / PARTIAL / f"{key}.mp4"
            self._encoders[key] = VideoWriter(file, self.fps, self.features[key]["shape"])
        return self._encoders[key]

    def drop_episode(self) -> None:
        """Forget the frames since the last `save_episode`."""
        self._clear()

    def save_episode(self, note: Note | None = None) -> int:
        """Put the running episode on disk; its index. `note`: what meta/pi0_episodes.json is to say of it.

        Raises DataError if it has no frame, OSError if it cannot be written: then its frames are still there.
        """
        if not self._rows:
            raise DataError(f"{self.folder}: an episode without a frame cannot be saved; add frames first")
        for encoder in self._encoders.values():
            encoder.close()
        columns = columns_of(self._rows, self.features)
        content = EpisodeContent(
            table_of(columns, self.features),
            [row["task"] for row in self._rows],
            {key: Part(encoder.file, len(self._rows)) for key, encoder in self._encoders.items()},
            {key: statistics.result() for key, statistics in self._pictures.items() if statistics.frames},
            note or {},
        )
        episode = self.files.append(content)
        self._clear()
        return episode
