"""Reading a LeRobot dataset: frames by index, action chunks, pictures by timestamp."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pi0_ros.data.errors import DataError
from pi0_ros.data.layout import STANDARD, Episode, read_layout
from pi0_ros.data.stills import Stills
from pi0_ros.data.tables import AGAIN, read_table
from pi0_ros.data.video import TOLERANCE, Picture, VideoReader
from pi0_ros.data.writer import DatasetWriter, FileLimits

if TYPE_CHECKING:
    from typing import Self

__all__ = ["Dataset", "DatasetWriter", "Episode", "FileLimits"]

OPEN_VIDEOS = 16


class Dataset:
    """All episodes of a folder, frame after frame.

    `dataset[i]` is a dict of every feature (arrays of the feature's shape, numbers where it is [1], text as str, pictures
    uint8 [H, W, 3] RGB) and "task". Keys of `deltas` (seconds relative to the frame, whole multiples of 1 / fps) are
    [T, ...] instead, with a bool [T] "<key>_is_pad" that marks what lies beyond the episode: its first or last frame is
    repeated there, as lerobot's delta_timestamps do. Numbers are read when first asked for, pictures each time.
    """

    def __init__(self, folder: str | Path, deltas: Mapping[str, Sequence[float]] | None = None) -> None:
        """Raises DataError for a folder that is none or incomplete, a key it lacks, or a delta between frames."""
        self.folder, self.layout = Path(folder), read_layout(folder)
        self.version, self.fps, self.features = self.layout.version, self.layout.fps, self.layout.features
        self.episodes, self.tasks, self.stats = self.layout.episodes, self.layout.tasks, self.layout.stats
        self.cameras = tuple(self.layout.cameras)
        self._known(deltas or {})
        self._steps = {key: self._in_frames(key, seconds) for key, seconds in (deltas or {}).items()}
        self._words = {index: text for text, index in self.tasks.items()}
        self._starts = np.array([e.start for e in self.episodes])
        self._videos: dict[Path, VideoReader] = {}
        self._stills: dict[str, tuple[Path, Stills, int]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of open files."""
        for video in self._videos.values():
            video.close()
        self._videos.clear()
        self._stills.clear()

    def __len__(self) -> int:
        return self.layout.frames

    def __getitem__(self, i: int) -> dict[str, Any]:
        i = range(len(self))[i]  # IndexError, and negative indices, as for any sequence
        names = {key: camera for camera, key in self.layout.cameras.items()}
        row: dict[str, Any] = {}
        for key in self.features:
            rows, pad = self._held(i, self._steps.get(key, np.zeros(1, np.int64)))
            values = np.stack(self._pictures(names[key], rows)) if key in names else self.column(key)[rows]
            row[key] = values if key in self._steps else values[0]
            if key in self._steps:
                row[f"{key}_is_pad"] = pad
        return {**row, "task": self.task_of(i)}

    def episode_of(self, frame: int) -> Episode:
        """The episode that a frame belongs to."""
        return self.episodes[int(np.searchsorted(self._starts, frame, side="right")) - 1]

    def task_of(self, frame: int) -> str:
        """What was done in a frame, in words."""
        return self._words[int(self.column("task_index")[frame])]

    def column(self, name: str) -> NDArray:
        """A feature of all frames: [N, ...], or [N] where it is a single number or text. Raises DataError if unknown."""
        if name not in self._columns:
            raise DataError(f"{self.folder}: no feature {name!r} in its tables; there are {', '.join(self._columns)}")
        return self._columns[name]

    def chunk(self, frame: int, horizon: int, name: str = "action") -> tuple[NDArray, NDArray[np.bool_]]:
        """The feature in this frame and the next ones of its episode [horizon, ...], and which rows are padding [horizon].

        Beyond the episode's end its last row is repeated (LeRobot's delta_timestamps t / fps).
        """
        rows, pad = self._held(frame, np.arange(horizon))
        return self.column(name)[rows], pad

    def _held(self, frame: int, steps: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Frames `frame` + steps held inside its episode, and where they had to be."""
        episode, rows = self.episode_of(frame), frame + steps
        inside = np.clip(rows, episode.start, episode.stop - 1)
        return inside, inside != rows

    def picture(self, camera: str, frame: int) -> Picture:
        """The picture of a frame, uint8 [H, W, 3] RGB. Raises DataError as `pictures` does."""
        return self._pictures(camera, [frame])[0]

    def pictures(self, camera: str, episode: int) -> Iterator[Picture]:
        """An episode's pictures in order. Raises DataError for an unknown camera or an unreadable file."""
        found = self.episodes[episode]
        for frame in range(found.start, found.stop):
            yield self._pictures(camera, [frame])[0]

    def _pictures(self, camera: str, frames: Sequence[int] | NDArray) -> list[Picture]:
        """Pictures of frames of one episode."""
        episode = self.episode_of(int(frames[0]))
        if camera not in self.cameras:
            raise DataError(f"{self.folder}: no camera {camera!r}; there are {', '.join(self.cameras) or 'none'}")
        if camera not in episode.videos:
            stills, first = self._stills_of(self.layout.cameras[camera], episode.data)
            return [stills.at(int(i) - first) for i in frames]
        file, begin = episode.videos[camera]
        return self._video(file).at([begin + (int(i) - episode.start) / self.fps for i in frames])

    def _video(self, file: Path) -> VideoReader:
        if file not in self._videos:
            if len(self._videos) >= OPEN_VIDEOS:
                oldest = next(iter(self._videos))
                self._videos.pop(oldest).close()
            self._videos[file] = VideoReader(file)
        return self._videos[file]

    def _stills_of(self, key: str, file: Path) -> tuple[Stills, int]:
        """The pictures of a feature in a data file, and the file's first frame; one file of each feature is kept."""
        if key not in self._stills or self._stills[key][0] != file:
            first = min(e.start for e in self.episodes if e.data == file)
            self._stills[key] = file, Stills(self.folder, file, key), first
        return self._stills[key][1:]

    def _known(self, keys: Iterable[str]) -> None:
        for key in keys:
            if key not in self.features:
                raise DataError(f"{self.folder}: has no feature {key!r}; it has {', '.join(self.features)}")

    def _in_frames(self, key: str, seconds: Sequence[float]) -> NDArray[np.int64]:
        frames = np.asarray(seconds, np.float64) * self.fps
        steps = np.round(frames).astype(np.int64)
        if np.abs(frames - steps).max(initial=0.0) > TOLERANCE * self.fps:
            raise DataError(f"{self.folder}: deltas of {key!r} fall between frames; give multiples of 1/{self.fps} s")
        return steps

    @cached_property
    def _columns(self) -> dict[str, NDArray]:
        """Every feature that is no picture, rows of all data files behind one another."""
        files = dict.fromkeys(e.data for e in self.episodes)
        wanted = {k for k, f in self.features.items() if f["dtype"] not in ("video", "image")}
        tables = [read_table(file, without=self.layout.stills) for file in files]
        names = [n for n in tables[0].column_names if n in wanted | set(STANDARD)]
        for file, table in zip(files, tables, strict=True):
            lost = sorted({*names, *wanted} - set(table.column_names))
            if lost:
                raise DataError(f"{file}: lacks the column {lost[0]!r} of info.json's features; {AGAIN}")
        shapes = {n: self.features.get(n, {}).get("shape") for n in names}
        columns = {n: np.concatenate([_array(t.column(n), shapes[n]) for t in tables])[: len(self)] for n in names}
        return self._complete(columns)

    def _complete(self, columns: dict[str, NDArray]) -> dict[str, NDArray]:
        """The columns, if they hold the frames that the episodes' table tells of."""
        count = len(next(iter(columns.values())))
        index = columns.get("index", np.arange(count))
        if count < len(self) or not np.array_equal(index, np.arange(count)):
            raise DataError(f"{self.folder / 'data'}: not the {len(self)} frames that meta/ tells of; {AGAIN}")
        return columns


def _array(column: pa.ChunkedArray, shape: Sequence[int] | None) -> NDArray:
    """[N] of plain values, [N, *shape] of lists; text as str."""
    values, count = column.combine_chunks(), len(column)
    if pa.types.is_string(values.type) or pa.types.is_large_string(values.type):
        return np.array(values.to_pylist(), str)
    if not pa.types.is_nested(values.type):
        return values.to_numpy(zero_copy_only=False)
    while pa.types.is_nested(values.type):
        values = values.flatten()
    flat = values.to_numpy(zero_copy_only=False).reshape(count, -1)
    if shape is None:
        return flat
    return flat.reshape(count) if tuple(shape) == (1,) else flat.reshape(count, *shape)
