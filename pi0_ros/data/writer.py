"""Writing LeRobot v3.0 datasets: parquet and MP4 files that hold many episodes each, and the tables that find them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pi0_ros.data.errors import DataError
from pi0_ros.data.statistics import Stats, aggregate, picture_stats, vector_stats
from pi0_ros.data.video import VideoWriter, video_info

VERSION = "v3.0"
DATA_PATH = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
VIDEO_PATH = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
EPISODES_PATH = "meta/episodes/chunk-000/file-000.parquet"
CHUNK = 1000  # files a folder
DATA_MB, VIDEO_MB = 100, 200  # files are ended once they are this large
_COUNTED = {
    "timestamp": {"dtype": "float32", "shape": [1], "names": None},
    "frame_index": {"dtype": "int64", "shape": [1], "names": None},
    "episode_index": {"dtype": "int64", "shape": [1], "names": None},
    "index": {"dtype": "int64", "shape": [1], "names": None},
    "task_index": {"dtype": "int64", "shape": [1], "names": None},
}
_ARROW = {
    "float32": pa.float32(), "float64": pa.float64(), "int64": pa.int64(), "int32": pa.int32(), "bool": pa.bool_(),
    "string": pa.string(),
}  # fmt: skip


class DatasetWriter:
    """Writes one dataset, episode by episode; use it in a `with` block, whose end completes the files.

    features: name -> {"dtype": "video" | "float32" | "int64" | "string" ..., "shape", "names"}, as in info.json without
    the features that every dataset has. Frames of an episode that was not saved are dropped.
    """

    def __init__(
        self,
        folder: str | Path,
        fps: int,
        features: Mapping[str, Mapping[str, Any]],
        robot_type: str = "",
        codec: str = "libx264",
    ) -> None:
        """Raises DataError where the folder holds something already or a feature has an unknown type."""
        self.folder, self.fps, self.codec, self.robot_type = Path(folder), fps, codec, robot_type
        if self.folder.exists() and any(self.folder.iterdir()):
            raise DataError(f"{folder}: is not empty; give a new folder, or delete the old dataset first")
        self.features = {name: {**f, "shape": list(f["shape"])} for name, f in features.items()}
        for name, f in self.features.items():
            if f["dtype"] != "video" and f["dtype"] not in _ARROW:
                raise DataError(f"feature '{name}': type '{f['dtype']}' is not known; choose {', '.join(_ARROW)}, video")
        (self.folder / "meta").mkdir(parents=True, exist_ok=True)
        self._videos: dict[str, _VideoFile] = {n: _VideoFile() for n, f in self.features.items() if f["dtype"] == "video"}
        self._tasks: dict[str, int] = {}
        self._frames: list[dict[str, Any]] = []
        self._rows: list[dict[str, Any]] = []
        self._rows_size, self._data_file = 0, 0
        self._episodes: list[dict[str, Any]] = []
        self._stats: list[dict[str, Stats]] = []
        self.total = 0

    def __enter__(self) -> DatasetWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def add_frame(self, frame: Mapping[str, Any]) -> None:
        """One frame: a value for every feature, and `task` in words. Raises DataError naming what is missing or unfit."""
        lost = [n for n in (*self.features, "task") if n not in frame]
        unknown = [n for n in frame if n != "task" and n not in self.features]
        if lost or unknown:
            raise DataError(f"{self.folder}: frame lacks {lost or 'nothing'} and has unknown {unknown or 'nothing'}")
        for name, f in self.features.items():
            if f["dtype"] != "string" and tuple(np.shape(frame[name])) != tuple(f["shape"]):
                raise DataError(f"feature '{name}': expected shape {f['shape']}, got {list(np.shape(frame[name]))}")
        self._frames.append(dict(frame))

    def save_episode(self) -> None:
        """End the episode whose frames were added. Raises DataError where there are none."""
        frames, number = self._frames, len(self._episodes)
        if not frames:
            raise DataError(f"{self.folder}: episode {number} has no frames")
        self._frames = []
        rows = [self._row(frame, k, number) for k, frame in enumerate(frames)]
        entry = {
            "episode_index": number,
            "tasks": list(dict.fromkeys(f["task"] for f in frames)),
            "length": len(frames),
            "data/chunk_index": self._data_file // CHUNK,
            "data/file_index": self._data_file % CHUNK,
            "dataset_from_index": self.total,
            "dataset_to_index": self.total + len(frames),
        }
        for name in self._videos:
            entry |= self._write_video(name, [f[name] for f in frames])
        self._stats.append(self._episode_stats(rows, frames))
        self._episodes.append(entry)
        self._rows += rows
        self.total += len(frames)
        self._rows_size += len(rows) * sum(8 * int(np.prod(f["shape"])) for n, f in self._tabular().items())
        if self._rows_size > DATA_MB * 2**20:
            self._write_data()

    def close(self) -> None:
        """Complete the files of the episodes saved so far."""
        self._write_data()
        for video in self._videos.values():
            video.close()
        if self._episodes:
            self._write_meta()

    def _tabular(self) -> dict[str, dict[str, Any]]:
        return {n: f for n, f in self.features.items() if f["dtype"] != "video"} | _COUNTED

    def _row(self, frame: Mapping[str, Any], k: int, episode: int) -> dict[str, Any]:
        task = self._tasks.setdefault(str(frame["task"]), len(self._tasks))
        counted = {"timestamp": k / self.fps, "frame_index": k, "episode_index": episode, "index": self.total + k}
        own = {n: frame[n] for n, f in self.features.items() if f["dtype"] != "video"}
        return {**own, **counted, "task_index": task}

    def _write_video(self, name: str, pictures: list[Any]) -> dict[str, Any]:
        video, shape = self._videos[name], self.features[name]["shape"]
        if video.writer is None:
            path = VIDEO_PATH.format(video_key=name, chunk_index=video.file // CHUNK, file_index=video.file % CHUNK)
            video.writer = VideoWriter(self.folder / path, self.fps, shape[0], shape[1], self.codec)
        first = video.writer.frames
        for picture in pictures:
            video.writer.add(np.asarray(picture))
        entry = {
            f"videos/{name}/chunk_index": video.file // CHUNK,
            f"videos/{name}/file_index": video.file % CHUNK,
            f"videos/{name}/from_timestamp": first / self.fps,
            f"videos/{name}/to_timestamp": video.writer.frames / self.fps,
        }
        if video.writer.path.stat().st_size > VIDEO_MB * 2**20:
            video.close()
        return entry

    def _episode_stats(self, rows: list[dict[str, Any]], frames: list[dict[str, Any]]) -> dict[str, Stats]:
        stats = {name: picture_stats([f[name] for f in frames]) for name in self._videos}
        for name, f in self._tabular().items():
            if f["dtype"] != "string":
                stats[name] = vector_stats(np.array([row[name] for row in rows], np.float64))
        return stats

    def _write_data(self) -> None:
        if not self._rows:
            return
        columns = {n: _column(n, f, [row[n] for row in self._rows]) for n, f in self._tabular().items()}
        path = DATA_PATH.format(chunk_index=self._data_file // CHUNK, file_index=self._data_file % CHUNK)
        _write_table(self.folder / path, pa.table(columns))
        self._rows, self._rows_size, self._data_file = [], 0, self._data_file + 1

    def _write_meta(self) -> None:
        meta = self.folder / "meta"
        (meta / "info.json").write_text(json.dumps(self._info(), indent=4), encoding="utf-8")
        stats = {n: {k: v.tolist() for k, v in s.items()} for n, s in aggregate(self._stats).items()}
        (meta / "stats.json").write_text(json.dumps(stats, indent=4), encoding="utf-8")
        _write_table(meta / "tasks.parquet", _task_table(self._tasks))
        place = {"meta/episodes/chunk_index": 0, "meta/episodes/file_index": 0}
        rows = [e | _flat(s) | place for e, s in zip(self._episodes, self._stats, strict=True)]
        _write_table(self.folder / EPISODES_PATH, pa.Table.from_pylist(rows))

    def _info(self) -> dict[str, Any]:
        shown = {
            n: f | {"info": video_info(tuple(f["shape"]), self.fps, self.codec)} if f["dtype"] == "video" else f
            for n, f in self.features.items()
        }
        return {
            "codebase_version": VERSION,
            "robot_type": self.robot_type,
            "fps": self.fps,
            "features": shown | _COUNTED,
            "total_episodes": len(self._episodes),
            "total_frames": self.total,
            "total_tasks": len(self._tasks),
            "chunks_size": CHUNK,
            "data_files_size_in_mb": DATA_MB,
            "video_files_size_in_mb": VIDEO_MB,
            "data_path": DATA_PATH,
            "video_path": VIDEO_PATH if self._videos else None,
            "splits": {"train": f"0:{len(self._episodes)}"},
        }


class _VideoFile:
    """The MP4 that a camera's pictures go to at the moment, and its number."""

    def __init__(self) -> None:
        self.file, self.writer = 0, None

    writer: VideoWriter | None

    def close(self) -> None:
        if self.writer is not None:
            self.writer.close()
            self.writer, self.file = None, self.file + 1


def _column(name: str, feature: Mapping[str, Any], values: list[Any]) -> pa.Array:
    kind, size = _ARROW[feature["dtype"]], int(np.prod(feature["shape"]))
    if feature["dtype"] == "string":
        return pa.array([str(v) for v in values], kind)
    flat = np.array([np.asarray(v).reshape(-1) for v in values], feature["dtype"]).reshape(-1)
    array = pa.array(flat, kind)
    if name in _COUNTED or size == 1:
        return array
    return pa.FixedSizeListArray.from_arrays(array, size)


def _task_table(tasks: Mapping[str, int]) -> pa.Table:
    """The task table as pandas writes it with the words as its index, which is how LeRobot looks them up."""
    table = pa.table({"task_index": pa.array(list(tasks.values()), pa.int64()), "task": pa.array(list(tasks))})
    text = {"pandas_type": "unicode", "numpy_type": "object", "metadata": None}
    number = {"pandas_type": "int64", "numpy_type": "int64", "metadata": None}
    columns = [
        {"name": "task_index", "field_name": "task_index", **number}, {"name": "task", "field_name": "task", **text}
    ]  # fmt: skip
    index = {"name": None, "field_name": None, **text, "metadata": {"encoding": "UTF-8"}}
    pandas = {"index_columns": ["task"], "column_indexes": [index], "columns": columns, "attributes": {},
              "creator": {"library": "pyarrow", "version": pa.__version__}, "pandas_version": "2.0.0"}  # fmt: skip
    return table.replace_schema_metadata({"pandas": json.dumps(pandas)})


def _flat(stats: Mapping[str, Stats]) -> dict[str, Any]:
    return {f"stats/{name}/{kind}": value.tolist() for name, s in stats.items() for kind, value in s.items()}


def _write_table(path: Path, table: pa.Table) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path)
