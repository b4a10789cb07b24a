"""Writing a LeRobot v3.0 dataset, episode by episode."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from pi0_ros.data.errors import DataError
from pi0_ros.data.layout import DATA_PATH, EPISODES_PATH, INFO, STANDARD, STATS, TASKS, VERSION, VIDEO_PATH
from pi0_ros.data.statistics import PictureStatistics, Stats, aggregate, vector_stats
from pi0_ros.data.tables import append_rows, arrow_schema, replacing, write_json, write_tasks
from pi0_ros.data.video import VideoWriter, concatenate, describe

if TYPE_CHECKING:
    from typing import Self

DTYPES = ("float32", "float64", "int32", "int64", "bool", "string", "video")
CHUNK_FILES = 1000  # files a folder
PARTIAL = ".episode"  # holds the videos of the episode that is being recorded


@dataclass(frozen=True)
class FileLimits:
    """When a new file is begun [MB]; lerobot's own."""

    data: float = 100
    video: float = 200


@dataclass
class _Place:
    """The file that is written to now, its number of frames so far."""

    number: int = 0
    frames: int = 0

    @property
    def path(self) -> dict[str, int]:
        return {"chunk_index": self.number // CHUNK_FILES, "file_index": self.number % CHUNK_FILES}

    def turn(self, file: Path, more: int, limit: float) -> bool:
        """Go to the next file where `more` bytes would carry this one over `limit` MB."""
        full = file.is_file() and file.stat().st_size + more > limit * 1e6
        if full:
            self.number, self.frames = self.number + 1, 0
        return full


class DatasetWriter:
    """Writes frames to a new dataset folder that is complete and readable after every `save_episode`.

    A frame is a dict of all features and "task", its instruction. As a context manager it drops an episode that was
    not saved. Statistics, tables and info.json are replaced, never changed in place; info.json comes last and counts
    the episodes that are there.
    """

    def __init__(
        self,
        folder: str | Path,
        fps: int,
        features: Mapping[str, Mapping[str, Any]],
        robot_type: str = "unknown",
        limits: FileLimits | None = None,
    ) -> None:
        """features: name to {dtype, shape, names} as in info.json; dtype one of DTYPES, shape [n] or [H, W, 3].
        Raises DataError for a folder that is not empty and for features that cannot be written.
        """
        self.folder, self.fps, self.limits = Path(folder), int(fps), limits or FileLimits()
        if self.folder.exists() and (not self.folder.is_dir() or any(self.folder.iterdir())):
            raise DataError(f"{self.folder}: is there already; give a new folder for the dataset")
        if self.fps < 1 or self.fps != fps:
            raise DataError(f"{self.folder}: {fps} frames a second; give a whole number of at least 1")
        self.features = _checked(features) | {k: dict(f) for k, f in STANDARD.items()}
        self._video_keys = [k for k, f in self.features.items() if f["dtype"] == "video"]
        self._robot_type, self._tasks, self._stats = robot_type, {}, {}
        self._frames = self._episodes = 0
        self._torn = False  # the last save broke off: files hold rows that info.json does not count
        self._data, self._meta = _Place(), _Place()
        self._videos = {key: _Place() for key in self._video_keys}
        self._clear()
        self._write_info()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Drop what was not saved as an episode; the rest is on disk already."""
        self._clear()

    def _clear(self) -> None:
        """Begin an episode anew."""
        for writer in getattr(self, "_encoders", {}).values():
            writer.close()
        self._rows: list[dict[str, Any]] = []
        self._encoders: dict[str, VideoWriter] = {}
        self._pictures = {key: PictureStatistics() for key in self._video_keys}
        shutil.rmtree(self.folder / PARTIAL, ignore_errors=True)

    def add_frame(self, frame: Mapping[str, Any]) -> None:
        """The next frame of the running episode, 1 / fps after the one before.

        Raises DataError, and takes nothing, where a value is missing, unknown, of the wrong shape or not finite.
        """
        row = self._checked_row(frame)
        for key in self._video_keys:
            picture = row.pop(key)
            self._encoder(key).add(picture)
            self._pictures[key].add(picture)
        self._rows.append(row)

    def _encoder(self, key: str) -> VideoWriter:
        if key not in self._encoders:
            (self.folder / PARTIAL).mkdir(parents=True, exist_ok=True)
            file = self.folder / PARTIAL / f"{key}.mp4"
            self._encoders[key] = VideoWriter(file, self.fps, self.features[key]["shape"])
        return self._encoders[key]

    def _checked_row(self, frame: Mapping[str, Any]) -> dict[str, Any]:
        wanted = [*(k for k in self.features if k not in STANDARD), "task"]
        missing = [k for k in wanted if k not in frame]
        unknown = [k for k in frame if k not in wanted]
        if missing or unknown:
            what = f"lacks {missing[0]!r}" if missing else f"has an unknown {unknown[0]!r}"
            raise DataError(f"{self.folder}: a frame {what}; it needs {', '.join(wanted)}")
        if not isinstance(frame["task"], str) or not frame["task"].strip():
            raise DataError(f"{self.folder}: a frame's task is {frame['task']!r}; give its instruction in words")
        values = {k: _value(f"{self.folder}: {k!r}", frame[k], self.features[k]) for k in wanted[:-1]}
        return {**values, "task": frame["task"]}

    def drop_episode(self) -> None:
        """Forget the frames since the last `save_episode`."""
        self._clear()

    def save_episode(self) -> int:
        """Put the running episode on disk; its index. Raises DataError where it has no frame."""
        if not self._rows:
            raise DataError(f"{self.folder}: an episode without a frame cannot be saved; add frames first")
        if self._torn:
            raise DataError(f"{self.folder}: an episode could not be written whole before; record on in a new folder")
        self._torn = True
        episode, length = self._episodes, len(self._rows)
        for row in self._rows:
            self._tasks.setdefault(row["task"], len(self._tasks))
        columns = self._columns()
        stats = {k: vector_stats(v) for k, v in columns.items() if self.features[k]["dtype"] != "string"}
        for encoder in self._encoders.values():
            encoder.close()
        videos = {k: v for key in self._video_keys for k, v in self._save_video(key, length).items()}
        row = {
            "episode_index": episode,
            "tasks": list(dict.fromkeys(r["task"] for r in self._rows)),
            "length": length,
            **self._save_data(columns, length),
            "dataset_from_index": self._frames,
            "dataset_to_index": self._frames + length,
            **videos,
        }
        stats = {key: p.result() for key, p in self._pictures.items()} | stats
        self._save_meta(row, stats)
        self._episodes, self._frames = episode + 1, self._frames + length
        self._stats = aggregate([s for s in (self._stats, stats) if s])
        write_json(self.folder / STATS, _plain(self._stats))
        self._write_info()
        self._torn = False
        self._clear()
        return episode

    def _columns(self) -> dict[str, np.ndarray]:
        """The episode's rows as arrays [N, ...], with the features that every dataset has."""
        count = len(self._rows)
        numbers = np.arange(count)
        kept = [k for k in self.features if k not in STANDARD and k not in self._video_keys]
        return {
            **{k: np.array([r[k] for r in self._rows], _numpy_type(self.features[k])) for k in kept},
            "timestamp": (numbers / self.fps)[:, None],
            "frame_index": numbers[:, None],
            "episode_index": np.full((count, 1), self._episodes),
            "index": (numbers + self._frames)[:, None],
            "task_index": np.array([[self._tasks[r["task"]]] for r in self._rows]),
        }

    def _save_data(self, columns: Mapping[str, np.ndarray], length: int) -> dict[str, int]:
        schema = arrow_schema(self.features)
        table = pa.table([_arrow_column(columns[f.name], f.type) for f in schema], schema=schema)
        self._data.turn(self.folder / DATA_PATH.format(**self._data.path), table.nbytes, self.limits.data)
        append_rows(self.folder / DATA_PATH.format(**self._data.path), table)
        self._data.frames += length
        return {f"data/{name}": number for name, number in self._data.path.items()}

    def _save_video(self, key: str, length: int) -> dict[str, Any]:
        place, part = self._videos[key], self._encoders[key].file

        def target() -> Path:
            return self.folder / VIDEO_PATH.format(video_key=key, **place.path)

        place.turn(target(), part.stat().st_size, self.limits.video)
        parts = [target(), part] if target().is_file() else [part]
        with replacing(target()) as new:
            concatenate(parts, new, self.fps)
        begin, place.frames = place.frames, place.frames + length
        times = {"from_timestamp": begin / self.fps, "to_timestamp": place.frames / self.fps}
        return {f"videos/{key}/{name}": value for name, value in {**place.path, **times}.items()}

    def _save_meta(self, row: Mapping[str, Any], stats: Mapping[str, Stats]) -> None:
        write_tasks(self.folder / TASKS, list(self._tasks))
        flat = {f"stats/{key}/{name}": v.tolist() for key, named in stats.items() for name, v in named.items()}
        file = self.folder / EPISODES_PATH.format(**self._meta.path)
        if self._meta.turn(file, 0, self.limits.data):
            file = self.folder / EPISODES_PATH.format(**self._meta.path)
        place = {f"meta/episodes/{name}": number for name, number in self._meta.path.items()}
        append_rows(file, pa.Table.from_pylist([{**row, **flat, **place}]))

    def _write_info(self) -> None:
        info = {
            "codebase_version": VERSION,
            "fps": self.fps,
            "features": {k: self._described(f) for k, f in self.features.items()},
            "total_episodes": self._episodes,
            "total_frames": self._frames,
            "total_tasks": len(self._tasks),
            "chunks_size": CHUNK_FILES,
            "data_files_size_in_mb": self.limits.data,
            "video_files_size_in_mb": self.limits.video,
            "data_path": DATA_PATH,
            "video_path": VIDEO_PATH,
            "robot_type": self._robot_type,
            "splits": {"train": f"0:{self._episodes}"},
        }
        write_json(self.folder / INFO, info)

    def _described(self, feature: Mapping[str, Any]) -> dict[str, Any]:
        if feature["dtype"] != "video":
            return dict(feature)
        return {**feature, "info": describe(feature["shape"], self.fps)}


def _checked(features: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Features with plain lists for shapes and names. Raises DataError for one that cannot be written."""
    known = {}
    for key, feature in features.items():
        dtype, shape = feature.get("dtype"), list(feature.get("shape", ()))
        if key in STANDARD or key == "task" or "/" in key:
            raise DataError(f"feature {key!r}: this name is taken or has a '/'; choose another")
        if dtype not in DTYPES:
            raise DataError(f"feature {key!r}: dtype {dtype!r} is not one of {', '.join(DTYPES)}")
        if len(shape) != (3 if dtype == "video" else 1) or (dtype == "string" and shape != [1]):
            raise DataError(
                f"feature {key!r}: shape {shape} does not fit {dtype}; give [H, W, 3], [n], or [1] for text"
            )
        names = feature.get("names")
        known[key] = {"dtype": dtype, "shape": [int(n) for n in shape], "names": None if names is None else list(names)}
    return known


def _value(where: str, value: Any, feature: Mapping[str, Any]) -> Any:
    """A frame's value as it is stored. Raises DataError where shape or kind differ."""
    shape = tuple(feature["shape"])
    if feature["dtype"] == "string":
        if not isinstance(value, str):
            raise DataError(f"{where} is {type(value).__name__}; give text")
        return [value]
    array = np.asarray(value)
    if feature["dtype"] == "video":
        if array.dtype != np.uint8 or array.shape != shape:
            raise DataError(f"{where} is {array.dtype} {list(array.shape)}; give a uint8 picture of {list(shape)}")
        return array
    if array.shape == () and shape == (1,):
        array = array.reshape(1)
    if array.shape != shape:
        raise DataError(f"{where} has shape {list(array.shape)}; give {list(shape)}")
    if array.dtype.kind not in "fiub" or not np.isfinite(array).all():
        raise DataError(f"{where} has a value that is no finite number; leave the frame out or mend its source")
    return array.astype(feature["dtype"])


def _numpy_type(feature: Mapping[str, Any]) -> Any:
    return object if feature["dtype"] == "string" else feature["dtype"]


def _arrow_column(values: np.ndarray, kind: pa.DataType) -> pa.Array:
    """[N, n] as a column of lists or, for n = 1, of values."""
    if not pa.types.is_fixed_size_list(kind):
        return pa.array(values[:, 0].tolist() if values.dtype == object else values[:, 0]).cast(kind)
    flat = pa.array(np.ascontiguousarray(values).reshape(-1)).cast(kind.value_type)
    return pa.FixedSizeListArray.from_arrays(flat, kind.list_size)


def _plain(stats: Mapping[str, Stats]) -> dict[str, dict[str, Sequence[Any]]]:
    return {key: {name: v.tolist() for name, v in named.items()} for key, named in stats.items()}
