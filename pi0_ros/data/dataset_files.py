"""The files of a LeRobot v3.0 dataset that grows: an episode is there as a whole or not at all.

Videos, tables and statistics are replaced, never changed in place; info.json comes last and counts the episodes that are
there. What a broken save left behind it is taken away when the dataset is opened, and before the next episode.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pi0_ros.data.episode_log import EpisodeLog
from pi0_ros.data.errors import DataError
from pi0_ros.data.features import difference, own_features, video_keys
from pi0_ros.data.layout import (
    DATA_PATH,
    EPISODES_PATH,
    INFO,
    STANDARD,
    STATS,
    TASKS,
    VERSION,
    VIDEO_PATH,
    as_statistics,
    checked_info,
)
from pi0_ros.data.statistics import Stats, aggregate, vector_stats
from pi0_ros.data.stored import Feature, Features, Note, Values
from pi0_ros.data.tables import append_rows, arrow_schema, read_json, read_table, write_json, write_tasks
from pi0_ros.data.video import Part, concatenate, describe
from pi0_ros.robot.replacing import replacing
from pi0_ros.robot.wording import counted

CHUNK_FILES = 1000  # files a folder
UNKNOWN = "unknown"  # a robot that nobody named


@dataclass(frozen=True)
class FileLimits:
    """When a new file is begun: [MB], lerobot's own; 0: every episode has files of its own. And before a file holds more
    pictures, rows or episodes than these: what is put behind them is written with all that stands before it in its file, so
    that an episode of a dataset with small pictures would take longer to save the more there are.
    """

    data: float = 100
    video: float = 200
    pictures: int = 3000
    rows: int = 20_000
    episodes: int = 200


@dataclass(frozen=True)
class EpisodeContent:
    """One episode to be put on disk.

    table: the features of the frames that are no videos and that not every dataset has, N rows. tasks: the instruction of
    each frame [N]. videos: by feature the part of a video file with its N pictures. pictures: their statistics. note: what
    meta/pi0_episodes.json says of it.
    """

    table: pa.Table
    tasks: Sequence[str]
    videos: Mapping[str, Part] = field(default_factory=dict)
    pictures: Mapping[str, Stats] = field(default_factory=dict)
    note: Note = field(default_factory=dict)

    @property
    def length(self) -> int:
        """Frames."""
        return len(self.tasks)


@dataclass
class Place:
    """The file that is written to now, its number of frames (of episodes, in meta/episodes) so far."""

    number: int = 0
    frames: int = 0

    @property
    def path(self) -> dict[str, int]:
        """Numbers of folder and file."""
        return {"chunk_index": self.number // CHUNK_FILES, "file_index": self.number % CHUNK_FILES}

    def turn(self, file: Path, more: int, limit: float, frames: int, most: int) -> None:
        """Go to the next file if `more` bytes would carry this one over `limit` MB, or `frames` more over `most`."""
        full = file.stat().st_size + more > limit * 1e6 or self.frames + frames > most if file.is_file() else False
        if full:
            self.number, self.frames = self.number + 1, 0

    @classmethod
    def behind(cls, folder: Path, pattern: str) -> Place:
        """The file behind all that match."""
        numbers = [
            int(file.parent.name.removeprefix("chunk-")) * CHUNK_FILES + int(file.stem.removeprefix("file-"))
            for file in folder.glob(pattern)
        ]
        return cls(max(numbers, default=-1) + 1)


class DatasetFiles:
    """One dataset folder that episodes are put into, one after the other."""

    def __init__(
        self,
        folder: Path,
        fps: float,
        features: Features,
        robot_type: str = UNKNOWN,
        limits: FileLimits | None = None,
    ) -> None:
        """`features`: as `with_standard` gives them, or as an info.json has them. A new folder is begun; a dataset of the
        same robot, features and rate goes on.

        Raises DataError if the folder holds something else.
        """
        self.folder, self.fps, self.features = folder, fps, features
        self._limits, self._robot_type = limits or FileLimits(), robot_type
        self._torn = False
        self.episodes = self.frames = 0
        self._tasks: dict[str, int] = {}
        self._stats: dict[str, Stats] = {}
        self._places = {key: Place() for key in ("data", "meta", *video_keys(features))}
        self.log = EpisodeLog(folder)
        if (folder / INFO).is_file():
            self._open()
        else:
            self._write_info()

    # --- going on ---

    def _open(self) -> None:
        """Take up a dataset where its info.json says that it ends. Raises DataError for another kind of dataset."""
        info = checked_info(self.folder / INFO)
        if info.get("codebase_version") != VERSION:
            raise DataError(
                f"{self.folder / INFO}: version {info.get('codebase_version')!r} cannot go on; give a new folder"
            )
        differs = difference(self.features, info["features"])
        if float(info["fps"]) != float(self.fps):
            differs = differs or f"fps is {self.fps}, and {info['fps']} in the dataset"
        robots = {self._robot_type, str(info.get("robot_type") or UNKNOWN)} - {UNKNOWN}
        if len(robots) > 1:  # another robot's numbers may mean something else, though they are called the same
            differs = differs or f"the robot is {self._robot_type}, and {info['robot_type']} in the dataset"
        if differs:
            raise DataError(f"{self.folder}: holds a dataset of another kind ({differs}); give a new folder")
        self._robot_type = next(iter(robots), UNKNOWN)
        self.episodes, self.frames = int(info.get("total_episodes") or 0), int(info.get("total_frames") or 0)
        self._tasks = self._known_tasks()
        self._stats = as_statistics(read_json(self.folder / STATS)) if (self.folder / STATS).is_file() else {}
        self._check_numbers()
        self._mend()
        patterns = {"data": "data/chunk-*/file-*.parquet", "meta": "meta/episodes/chunk-*/file-*.parquet"}
        patterns |= {key: f"videos/{key}/chunk-*/file-*.mp4" for key in video_keys(self.features)}
        self._places = {key: Place.behind(self.folder, pattern) for key, pattern in patterns.items()}

    def _known_tasks(self) -> dict[str, int]:
        if not (self.folder / TASKS).is_file():
            return {}
        table = read_table(self.folder / TASKS)
        texts = table.column("task" if "task" in table.column_names else "__index_level_0__").to_pylist()
        return {str(t): int(i) for t, i in zip(texts, table.column("task_index").to_pylist(), strict=True)}

    def _check_numbers(self) -> None:
        """Raises DataError if episodes that info.json counts are not there: what they are cannot be known here."""
        files = sorted(self.folder.glob("meta/episodes/chunk-*/file-*.parquet"))
        numbers = [int(n) for f in files for n in read_table(f, ["episode_index"]).column("episode_index").to_pylist()]
        lost = sorted(set(range(self.episodes)) - set(numbers))
        if lost:
            raise DataError(
                f"{self.folder}: info.json counts {counted(self.episodes, 'episode')}, and number {lost[0]} is not among them; nothing "
                f"is added to it. `pi0 data keep {self.folder} --episodes 0- --out NEW` numbers anew what can be read"
            )

    def _mend(self) -> None:
        """Take away what a save that broke off has left: rows, and files of no episode."""
        for pattern in ("data/chunk-*/file-*.parquet", "meta/episodes/chunk-*/file-*.parquet"):
            for file in self.folder.glob(pattern):
                self._cut_rows(file)
        notes = self.log.read()
        if any(number >= self.episodes for number in notes):
            self.log.write({n: note for n, note in notes.items() if n < self.episodes})
        used = self._files_in_use()
        for file in (
            f for key in video_keys(self.features) for f in self.folder.glob(f"videos/{key}/chunk-*/file-*.mp4")
        ):
            if file.relative_to(self.folder).as_posix() not in used:
                file.unlink()
        for leftover in self.folder.glob("**/.*.new.*"):
            leftover.unlink()

    def _cut_rows(self, file: Path) -> None:
        numbers = read_table(file, ["episode_index"]).column("episode_index").to_numpy()
        if not (numbers >= self.episodes).any():
            return
        whole = read_table(file)
        remaining = whole.filter(pa.array(numbers < self.episodes))
        if not len(remaining):
            file.unlink()
            return
        with replacing(file) as new:
            pq.write_table(remaining, new, compression="snappy")

    def _files_in_use(self) -> set[str]:
        used = set()
        columns = [
            f"videos/{key}/{name}" for key in video_keys(self.features) for name in ("chunk_index", "file_index")
        ]
        for file in self.folder.glob("meta/episodes/chunk-*/file-*.parquet"):
            table = read_table(file, columns)
            for key in video_keys(self.features):
                pairs = (table.column(f"videos/{key}/{name}").to_pylist() for name in ("chunk_index", "file_index"))
                used |= {
                    VIDEO_PATH.format(video_key=key, chunk_index=c, file_index=f) for c, f in zip(*pairs, strict=True)
                }
        return used

    # --- one more episode ---

    def append(self, content: EpisodeContent) -> int:
        """Put an episode behind the others; its index.

        Raises DataError if it has no frame, OSError if it cannot be written; then nothing of it counts.
        """
        if not content.length:
            raise DataError(f"{self.folder}: an episode without a frame cannot be saved; add frames first")
        if self._torn:
            self._open()
            self._torn = False
        self._torn = True
        for task in content.tasks:
            self._tasks.setdefault(task, max(self._tasks.values(), default=-1) + 1)
        table = self._whole_table(content)
        numbers = _number_columns(table, self.features)
        stats = {**content.pictures, **{key: vector_stats(values) for key, values in numbers.items()}}
        row = {
            "episode_index": self.episodes,
            "tasks": list(dict.fromkeys(content.tasks)),
            "length": content.length,
        }
        videos = {
            k: v for key in video_keys(self.features) for k, v in self._save_video(key, content.videos[key]).items()
        }
        row |= self._save_data(table)
        row |= {"dataset_from_index": self.frames, "dataset_to_index": self.frames + content.length, **videos}
        self._save_meta(row, stats)
        self._stats = aggregate([s for s in (self._stats, stats) if s])
        write_json(self.folder / STATS, _plain(self._stats))
        self.log.set(self.episodes, dict(content.note))
        self.episodes, self.frames = self.episodes + 1, self.frames + content.length
        self._write_info()
        self._torn = False
        return self.episodes - 1

    def _whole_table(self, content: EpisodeContent) -> pa.Table:
        """The episode's rows with the columns that every dataset has, in the order of the features."""
        count = content.length
        numbers = np.arange(count)
        own = {
            "timestamp": numbers / self.fps,
            "frame_index": numbers,
            "episode_index": np.full(count, self.episodes),
            "index": numbers + self.frames,
            "task_index": np.array([self._tasks[t] for t in content.tasks]),
        }
        schema = arrow_schema(self.features)
        columns = [
            pa.array(own[f.name]).cast(f.type) if f.name in own else content.table.column(f.name).cast(f.type)
            for f in schema
        ]
        return pa.table(columns, schema=schema)

    def _save_data(self, table: pa.Table) -> dict[str, int]:
        place, limits = self._places["data"], self._limits
        file = self.folder / DATA_PATH.format(**place.path)
        place.turn(file, table.nbytes, limits.data, len(table), limits.rows)
        append_rows(self.folder / DATA_PATH.format(**place.path), table)
        place.frames += len(table)
        return {f"data/{name}": number for name, number in place.path.items()}

    def _save_video(self, key: str, part: Part) -> dict[str, float]:
        place = self._places[key]

        def target() -> Path:
            return self.folder / VIDEO_PATH.format(video_key=key, **place.path)

        place.turn(target(), part.size, self._limits.video, part.frames, self._limits.pictures)
        parts = [Part(target(), place.frames), part] if target().is_file() else [part]
        with replacing(target()) as new:
            concatenate(parts, new, self.fps)
        begin, place.frames = place.frames, place.frames + part.frames
        times = {"from_timestamp": begin / self.fps, "to_timestamp": place.frames / self.fps}
        return {f"videos/{key}/{name}": value for name, value in {**place.path, **times}.items()}

    def _save_meta(self, row: Mapping[str, object], stats: Mapping[str, Stats]) -> None:
        write_tasks(self.folder / TASKS, sorted(self._tasks, key=self._tasks.__getitem__))
        flat = {f"stats/{key}/{name}": v.tolist() for key, named in stats.items() for name, v in named.items()}
        place, limits = self._places["meta"], self._limits
        place.turn(self.folder / EPISODES_PATH.format(**place.path), 0, limits.data, 1, limits.episodes)
        numbers = {f"meta/episodes/{name}": number for name, number in place.path.items()}
        append_rows(
            self.folder / EPISODES_PATH.format(**place.path), pa.Table.from_pylist([{**row, **flat, **numbers}])
        )
        place.frames += 1

    def _write_info(self) -> None:
        info = {
            "codebase_version": VERSION,
            "fps": self.fps,
            "features": {k: self._described(f) for k, f in self.features.items()},
            "total_episodes": self.episodes,
            "total_frames": self.frames,
            "total_tasks": len(self._tasks),
            "chunks_size": CHUNK_FILES,
            # LeRobot reads no dataset in which one of them is 0.
            "data_files_size_in_mb": self._limits.data or FileLimits.data,
            "video_files_size_in_mb": self._limits.video or FileLimits.video,
            "data_path": DATA_PATH,
            "video_path": VIDEO_PATH,
            "robot_type": self._robot_type,
            "splits": {"train": f"0:{self.episodes}"},
        }
        write_json(self.folder / INFO, info)

    def _described(self, feature: Feature) -> Feature:
        if feature["dtype"] != "video" or "info" in feature:
            return dict(feature)
        return {**feature, "info": describe(feature["shape"], self.fps)}


def table_of(columns: Mapping[str, Values], features: Features) -> pa.Table:
    """Arrays [N, ...] by feature as the columns of a data file."""
    schema = arrow_schema({k: f for k, f in own_features(features).items() if k in columns})
    return pa.table([_arrow_column(columns[f.name], f.type) for f in schema], schema=schema)


def _arrow_column(values: Values, kind: pa.DataType) -> pa.Array:
    """[N, n] as a column of lists or, for n = 1, of values."""
    if not pa.types.is_fixed_size_list(kind):
        return pa.array(values[:, 0].tolist() if values.dtype == object else values[:, 0]).cast(kind)
    flat = pa.array(np.ascontiguousarray(values).reshape(-1)).cast(kind.value_type)
    return pa.FixedSizeListArray.from_arrays(flat, kind.list_size)


def _number_columns(table: pa.Table, features: Features) -> dict[str, Values]:
    """The numbers of a data file [N, n] by feature."""
    found = {}
    for key, feature in features.items():
        if feature["dtype"] in ("string", "video", "image") or key not in table.column_names:
            continue
        values = table.column(key).combine_chunks()
        while pa.types.is_nested(values.type):
            values = values.flatten()
        numbers = values.to_numpy(zero_copy_only=False).reshape(len(table), -1)
        if key in STANDARD and feature["dtype"].startswith("int"):
            numbers = numbers.astype(np.int64)
        found[key] = numbers
    return found


def _plain(stats: Mapping[str, Stats]) -> dict[str, dict[str, object]]:
    return {key: {name: v.tolist() for name, v in named.items()} for key, named in stats.items()}
