"""Reading LeRobot datasets, v3.0 and v2.1, whoever wrote them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pi0_ros.data.errors import DataError
from pi0_ros.data.video import UInt8, read_frames
from pi0_ros.data.writer import DatasetWriter

PICTURES = "observation.images."


@dataclass(frozen=True)
class Episode:
    """One episode: rows start .. stop of the dataset, and for each camera the file and time where its video begins."""

    index: int
    start: int
    stop: int
    tasks: tuple[str, ...]
    videos: dict[str, tuple[Path, float]]

    @property
    def length(self) -> int:
        """Frames."""
        return self.stop - self.start


class Dataset:
    """A dataset on disk; numbers are read once when first asked for, pictures each time."""

    def __init__(self, folder: str | Path) -> None:
        """Raises DataError where the folder is no dataset of a version that is read here."""
        self.folder = Path(folder)
        self.info = self._json("meta/info.json")
        self.version = str(self.info.get("codebase_version", ""))
        if self.version not in ("v3.0", "v2.1"):
            raise DataError(f"{folder}: LeRobot version '{self.version}' is not read here; v3.0 and v2.1 are")
        self.fps = int(self.info["fps"])
        self.features: dict[str, dict[str, Any]] = self.info["features"]
        self.cameras = tuple(
            n.removeprefix(PICTURES) for n, f in self.features.items() if f["dtype"] in ("video", "image")
        )

    def __len__(self) -> int:
        return int(self.info["total_frames"])

    @cached_property
    def episodes(self) -> tuple[Episode, ...]:
        """All episodes in order."""
        return tuple(self._episodes_v3() if self.version == "v3.0" else self._episodes_v21())

    @cached_property
    def tasks(self) -> dict[str, int]:
        """Words to task index."""
        if self.version == "v2.1":
            return {row["task"]: int(row["task_index"]) for row in self._json_lines("meta/tasks.jsonl")}
        rows = self._table("meta/tasks.parquet").to_pylist()
        return {row.get("task", row.get("__index_level_0__")): int(row["task_index"]) for row in rows}

    @cached_property
    def stats(self) -> dict[str, dict[str, NDArray]]:
        """Statistics of the whole dataset by feature (v3.0)."""
        return {n: {k: np.array(v) for k, v in s.items()} for n, s in self._json("meta/stats.json").items()}

    @cached_property
    def _rows(self) -> pa.Table:
        files = sorted((self.folder / "data").rglob("*.parquet"))
        if not files:
            raise DataError(f"{self.folder / 'data'}: holds no parquet file; copy the whole dataset")
        table = pa.concat_tables([self._table(f) for f in files], promote_options="default")
        if len(table) != len(self):
            raise DataError(f"{self.folder}: its files hold {len(table)} frames, info.json says {len(self)}")
        return table

    @cached_property
    def _columns(self) -> dict[str, NDArray]:
        return {}

    def column(self, name: str) -> NDArray:
        """A feature of all frames: [N, D], or [N] where it is a single number or text. Raises DataError if unknown."""
        if name not in self._columns:
            if name not in self._rows.column_names:
                raise DataError(f"{self.folder}: no feature '{name}'; there are {', '.join(self._rows.column_names)}")
            self._columns[name] = _array(self._rows[name])
        return self._columns[name]

    def task_of(self, frame: int) -> str:
        """What was done in a frame, in words."""
        words = {index: text for text, index in self.tasks.items()}
        return words[int(self.column("task_index")[frame])]

    def chunk(self, frame: int, horizon: int, name: str = "action") -> tuple[NDArray, NDArray[np.bool_]]:
        """The feature in this frame and the next ones of its episode [horizon, D], and which rows are padding [horizon].

        Beyond the episode's end its last row is repeated (LeRobot's delta_timestamps t / fps).
        """
        stop = self.episodes[int(self.column("episode_index")[frame])].stop
        rows = frame + np.arange(horizon)
        return self.column(name)[np.minimum(rows, stop - 1)], rows >= stop

    def pictures(self, camera: str, episode: int) -> Iterator[UInt8]:
        """An episode's pictures [H, W, 3] in order. Raises DataError for an unknown camera or an unreadable file."""
        found = self.episodes[episode]
        if camera not in found.videos:
            raise DataError(f"{self.folder}: no camera '{camera}'; there are {', '.join(found.videos) or 'none'}")
        path, start = found.videos[camera]
        return read_frames(path, start, found.length)

    def _episodes_v3(self) -> Iterator[Episode]:
        for file in sorted((self.folder / "meta/episodes").rglob("*.parquet")):
            table = pq.ParquetFile(file)
            names = [n for n in table.schema_arrow.names if not n.startswith("stats/")]
            for row in table.read(columns=names).to_pylist():
                yield Episode(
                    int(row["episode_index"]),
                    int(row["dataset_from_index"]),
                    int(row["dataset_to_index"]),
                    tuple(row["tasks"]),
                    {c: self._video_v3(row, PICTURES + c) for c in self.cameras},
                )

    def _video_v3(self, row: dict[str, Any], key: str) -> tuple[Path, float]:
        place = {"chunk_index": row[f"videos/{key}/chunk_index"], "file_index": row[f"videos/{key}/file_index"]}
        path = self.info["video_path"].format(video_key=key, **place)
        return self.folder / path, float(row[f"videos/{key}/from_timestamp"])

    def _episodes_v21(self) -> Iterator[Episode]:
        start = 0
        for row in self._json_lines("meta/episodes.jsonl"):
            index, length = int(row["episode_index"]), int(row["length"])
            place = {"episode_chunk": index // int(self.info["chunks_size"]), "episode_index": index}
            videos = {
                c: (self.folder / self.info["video_path"].format(video_key=PICTURES + c, **place), 0.0)
                for c in self.cameras
            }
            yield Episode(index, start, start + length, tuple(row["tasks"]), videos)
            start += length

    def _table(self, path: str | Path) -> pa.Table:
        file = self.folder / path
        try:
            return pq.read_table(file, partitioning=None)
        except (OSError, pa.ArrowInvalid) as error:
            raise DataError(f"{file}: not a readable parquet file ({error})") from error

    def _json(self, path: str) -> Any:
        file = self.folder / path
        try:
            return json.loads(file.read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise DataError(f"{file}: not there; give the folder of a LeRobot dataset") from error
        except json.JSONDecodeError as error:
            raise DataError(f"{file}: not JSON ({error})") from error

    def _json_lines(self, path: str) -> list[Any]:
        file = self.folder / path
        if not file.is_file():
            raise DataError(f"{file}: not there; a v2.1 dataset needs it")
        return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]


def _array(column: pa.ChunkedArray) -> NDArray:
    whole = column.combine_chunks()
    if pa.types.is_string(whole.type):
        return np.array(whole.to_pylist(), dtype=str)
    if pa.types.is_fixed_size_list(whole.type):
        return whole.flatten().to_numpy(zero_copy_only=False).reshape(len(whole), whole.type.list_size)
    if pa.types.is_list(whole.type):
        return np.array(whole.to_pylist())
    return whole.to_numpy(zero_copy_only=False)


__all__ = ["Dataset", "DatasetWriter", "Episode"]
