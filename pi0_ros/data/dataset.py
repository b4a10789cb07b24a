"""Reading a LeRobot dataset: frames by index, action chunks, pictures by timestamp."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pi0_ros.data.errors import DataError
from pi0_ros.data.layout import Episode, Layout, behind, read_layout
from pi0_ros.data.picture_files import PictureFiles
from pi0_ros.data.rows import Rows, nan_where_empty, read_rows
from pi0_ros.data.stored import Values
from pi0_ros.data.tables import AGAIN, read_table
from pi0_ros.data.video import TOLERANCE, Picture
from pi0_ros.data.writer import DatasetWriter, FileLimits

if TYPE_CHECKING:
    from typing import Self

__all__ = ["Dataset", "DatasetWriter", "Episode", "FileLimits"]


class Dataset:
    """All episodes of a folder, frame after frame.

    `dataset[i]` is a dict of every feature (arrays of the feature's shape, numbers where it is [1], text as str, pictures
    uint8 [H, W, 3] RGB) and "task". Keys of `deltas` (seconds relative to the frame, whole multiples of 1 / fps) are
    [T, ...] instead, with a bool [T] "<key>_is_pad" that marks what lies beyond the episode: its first or last frame is
    repeated there, as lerobot's delta_timestamps do. Numbers are read when first asked for, pictures each time.
    Frames and episodes are counted by position, whatever gaps the numbers in the files have.

    Larger than a class should be because it is a sequence, a context manager and a table of columns at once, and has what its
    layout says at hand.
    """

    def __init__(
        self, folder: str | Path, deltas: Mapping[str, Sequence[float]] | None = None, skip_bad: bool = False
    ) -> None:
        """skip_bad: leave out episodes whose tables are not what meta/ says, and list them in `left_out`.

        Raises DataError for a folder that is none or incomplete, a key it lacks, or a delta between frames.
        """
        self.folder, self.layout = Path(folder), read_layout(folder)
        self.left_out: tuple[str, ...] = ()
        if skip_bad:
            self.layout, self.left_out = without_bad(self.layout)
        self.version, self.fps, self.features = self.layout.version, self.layout.fps, self.layout.features
        self.episodes, self.tasks, self.stats = self.layout.episodes, self.layout.tasks, self.layout.stats
        self.cameras = tuple(self.layout.cameras)
        self._steps = {key: steps_of(self.layout, key, seconds) for key, seconds in (deltas or {}).items()}
        self._words = self.layout.words
        self._starts = np.array([e.start for e in self.episodes])
        self._files = PictureFiles(self.layout, lambda: self._rows)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of open files."""
        self._files.close()

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
        """What was done in a frame, in words; "" if the dataset has none for it."""
        return self._words.get(int(self.column("task_index")[frame]), "")

    def column(self, name: str) -> Values:
        """A feature of all frames: [N, ...], or [N] if it is a single number or text. Raises DataError if unknown."""
        columns = self._rows.columns
        if name not in columns:
            raise DataError(f"{self.folder}: no feature {name!r} in its tables; there are {', '.join(columns)}")
        return columns[name]

    def chunk(self, frame: int, horizon: int, name: str = "action") -> tuple[Values, NDArray[np.bool_]]:
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
        """The pictures of the episode at this position in order.

        Raises DataError for an unknown camera or an unreadable file.
        """
        found = self.episodes[episode]
        for frame in range(found.start, found.stop):
            yield self._pictures(camera, [frame])[0]

    def _pictures(self, camera: str, frames: Sequence[int] | NDArray[np.int64]) -> list[Picture]:
        """Pictures of frames of one episode."""
        numbers = [int(i) for i in frames]
        return self._files.read(camera, self.episode_of(numbers[0]), numbers)

    def rows_of(self, frames: Sequence[int] | Values) -> pa.Table:
        """The rows of these frames as they stand in the files, pictures that lie in tables among them; NaN for what is
        empty."""
        wanted = np.asarray(frames, np.int64)
        numbers, parts = self._rows.file[wanted], []
        for start, stop in _runs(numbers):
            table = read_table(self._rows.files[int(numbers[start])])
            part = table.take(pa.array(self._rows.place[wanted[start:stop]]))
            parts.append(pa.table({n: nan_where_empty(part.column(n).combine_chunks()) for n in part.column_names}))
        return pa.concat_tables(parts, promote_options="permissive")

    @property
    def broken(self) -> NDArray[np.bool_]:
        """[N] True if the next frame of the episode does not follow one period later: a hole in time."""
        return self._rows.broken

    @cached_property
    def _rows(self) -> Rows:
        """Every row that is no picture. Raises DataError if an episode's rows are not what meta/ says."""
        rows = read_rows(self.layout)
        if rows.problems:
            first = next(iter(rows.problems.values()))
            if len(rows.problems) == len(self.episodes):
                raise DataError(_none_sound(self.folder, first))
            raise DataError(
                f"{self.folder}: {first}; {len(rows.problems)} episode"
                f"{'s are' if len(rows.problems) > 1 else ' is'} so. `pi0 data keep {self.folder} --episodes 0- --out NEW` copies the "
                "others, and `pi0 train --skip-bad` trains on them"
            )
        return rows


def steps_of(layout: Layout, key: str, seconds: Sequence[float]) -> NDArray[np.int64]:
    """Times relative to a frame as numbers of frames. Raises DataError for an unknown feature, or times between frames."""
    if key not in layout.features:
        raise DataError(f"{layout.folder}: has no feature {key!r}; it has {', '.join(layout.features)}")
    frames = np.asarray(seconds, np.float64) * layout.fps
    steps = np.round(frames).astype(np.int64)
    if np.abs(frames - steps).max(initial=0.0) > TOLERANCE * layout.fps:
        raise DataError(f"{layout.folder}: deltas of {key!r} fall between frames; give multiples of 1/{layout.fps} s")
    return steps


def _runs(numbers: NDArray[np.int64]) -> list[tuple[int, int]]:
    """First and behind-last position of each stretch of equal numbers."""
    cuts = [0, *(np.flatnonzero(np.diff(numbers)) + 1).tolist(), len(numbers)]
    return list(itertools.pairwise(cuts))


def without_bad(layout: Layout) -> tuple[Layout, tuple[str, ...]]:
    """The layout without the episodes whose rows are not what meta/ says, and a sentence for each of those."""
    problems = read_rows(layout).problems
    if not problems:
        return layout, ()
    good = [e for position, e in enumerate(layout.episodes) if position not in problems]
    if not good:
        raise DataError(_none_sound(layout.folder, next(iter(problems.values()))))
    return replace(layout, episodes=behind(good)), tuple(problems.values())


def _none_sound(folder: Path, problem: str) -> str:
    """The sentence about a dataset of which no episode can be read. problem: of its first one."""
    return f"{folder}: no episode is sound: {problem}; {AGAIN}"
