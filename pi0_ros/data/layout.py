"""Where things lie in a LeRobot dataset folder, version 3.0 (many episodes a file) or 2.1 (one), told alike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pi0_ros.data.errors import DataError
from pi0_ros.data.tables import read_json, read_json_lines, read_table

PICTURES = "observation.images."
VERSION = "v3.0"
READABLE = ("v2.0", "v2.1", VERSION)
DATA_PATH = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
VIDEO_PATH = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
DATA_PATH_2 = "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet"  # of versions 2
EPISODES_PATH = "meta/episodes/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
INFO, STATS, TASKS = "meta/info.json", "meta/stats.json", "meta/tasks.parquet"

# Every dataset has these; a writer's features may not be called so.
STANDARD: dict[str, dict[str, Any]] = {
    "timestamp": {"dtype": "float32", "shape": [1], "names": None},
    "frame_index": {"dtype": "int64", "shape": [1], "names": None},
    "episode_index": {"dtype": "int64", "shape": [1], "names": None},
    "index": {"dtype": "int64", "shape": [1], "names": None},
    "task_index": {"dtype": "int64", "shape": [1], "names": None},
}


@dataclass(frozen=True)
class Episode:
    """Rows start .. stop - 1 of the dataset; for each camera its file and where in it [s] the episode begins."""

    index: int
    start: int
    stop: int
    tasks: tuple[str, ...]
    data: Path
    videos: Mapping[str, tuple[Path, float]]

    @property
    def length(self) -> int:
        """Frames."""
        return self.stop - self.start


@dataclass(frozen=True)
class Layout:
    """A dataset without its frames. `features` as in info.json; `stats` per feature and statistic."""

    folder: Path
    version: str
    fps: int
    robot_type: str
    features: Mapping[str, Mapping[str, Any]]
    tasks: Mapping[str, int]
    episodes: tuple[Episode, ...]
    stats: Mapping[str, Mapping[str, NDArray]]

    @property
    def frames(self) -> int:
        """Number of frames of all episodes."""
        return sum(episode.length for episode in self.episodes)

    @property
    def cameras(self) -> dict[str, str]:
        """Camera names to the features that hold their pictures, in videos or in the tables."""
        return _cameras({"features": self.features}, ("video", "image"))

    @property
    def stills(self) -> tuple[str, ...]:
        """Features whose pictures lie in the tables."""
        return tuple(_cameras({"features": self.features}, ("image",)).values())


def read_layout(folder: str | Path) -> Layout:
    """Read the meta folder. Raises DataError naming the file that is missing, damaged or of another version."""
    folder = Path(folder)
    if not (folder / INFO).is_file():
        raise DataError(f"{folder / INFO}: not there; give the folder of a LeRobot dataset")
    info = read_json(folder / INFO)
    version = str(info.get("codebase_version", ""))
    if version not in READABLE:
        raise DataError(f"{folder / INFO}: version {version!r} is not read; convert the dataset to {VERSION}")
    if info.get("total_episodes") == 0:
        raise DataError(f"{folder}: has no episode yet; record one first")
    try:
        tasks, episodes, stats = (_read_v3 if version == VERSION else _read_v2)(folder, info)
        fps, features, robot = int(info["fps"]), info["features"], str(info.get("robot_type") or "unknown")
    except (KeyError, TypeError, IndexError) as problem:
        raise DataError(f"{folder / 'meta'}: lacks {problem}; it is no complete {version} dataset") from problem
    return Layout(folder, version, fps, robot, features, tasks, episodes, stats)


def as_statistics(stats: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, NDArray]]:
    """Lists of a JSON file as arrays."""
    return {key: {name: np.asarray(v) for name, v in named.items()} for key, named in stats.items()}


def _cameras(info: Mapping[str, Any], kinds: tuple[str, ...] = ("video",)) -> dict[str, str]:
    return {key.removeprefix(PICTURES): key for key, f in info["features"].items() if f["dtype"] in kinds}


def _read_v3(folder: Path, info: Mapping[str, Any]) -> tuple[dict[str, int], tuple[Episode, ...], Any]:
    table = read_table(folder / TASKS)
    words = table.column("task" if "task" in table.column_names else "__index_level_0__").to_pylist()
    tasks = dict(zip(words, map(int, table.column("task_index").to_pylist()), strict=True))
    rows = _episode_rows(folder, info)
    episodes = tuple(_episode_v3(folder, info, row) for row in rows[: int(info["total_episodes"])])
    if len(episodes) < int(info["total_episodes"]):
        raise DataError(
            f"{folder / 'meta/episodes'}: tells of {len(episodes)} episodes, {INFO} of {info['total_episodes']}; "
            "copy or download the whole dataset folder again"
        )
    stats = read_json(folder / STATS) if (folder / STATS).is_file() else {}
    return tasks, episodes, as_statistics(stats)


def _episode_rows(folder: Path, info: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Rows of meta/episodes without their statistics, by episode."""
    wanted = ["episode_index", "tasks", "length", "data/chunk_index", "data/file_index", "dataset_from_index"]
    wanted += [
        f"videos/{k}/{n}" for k in _cameras(info).values() for n in ("chunk_index", "file_index", "from_timestamp")
    ]
    files = sorted((folder / "meta" / "episodes").glob("chunk-*/file-*.parquet"))
    rows = [row for file in files for row in read_table(file, wanted).to_pylist()]
    return sorted(rows, key=lambda row: row["episode_index"])


def _episode_v3(folder: Path, info: Mapping[str, Any], row: Mapping[str, Any]) -> Episode:
    data = info["data_path"].format(chunk_index=row["data/chunk_index"], file_index=row["data/file_index"])
    videos = {}
    for camera, key in _cameras(info).items():
        place = {n: row[f"videos/{key}/{n}"] for n in ("chunk_index", "file_index")}
        file = info["video_path"].format(video_key=key, **place)
        videos[camera] = (folder / file, float(row[f"videos/{key}/from_timestamp"]))
    start = int(row["dataset_from_index"])
    stop = start + int(row["length"])
    return Episode(int(row["episode_index"]), start, stop, tuple(row["tasks"]), folder / data, videos)


def _read_v2(folder: Path, info: Mapping[str, Any]) -> tuple[dict[str, int], tuple[Episode, ...], Any]:
    from pi0_ros.data.statistics import aggregate

    tasks = {t["task"]: int(t["task_index"]) for t in read_json_lines(folder / "meta/tasks.jsonl")}
    episodes, start = [], 0
    for row in sorted(read_json_lines(folder / "meta/episodes.jsonl"), key=lambda r: r["episode_index"]):
        index, length = int(row["episode_index"]), int(row["length"])
        place = {"episode_chunk": index // int(info.get("chunks_size", 1000)), "episode_index": index}
        data = folder / info.get("data_path", DATA_PATH_2).format(**place)
        videos = {c: (folder / info["video_path"].format(video_key=k, **place), 0.0) for c, k in _cameras(info).items()}
        episodes.append(Episode(index, start, start + length, tuple(row["tasks"]), data, videos))
        start += length
    each = folder / "meta/episodes_stats.jsonl"
    if each.is_file():
        stats = aggregate([as_statistics(line["stats"]) for line in read_json_lines(each)])
    else:
        stats = as_statistics(read_json(folder / STATS)) if (folder / STATS).is_file() else {}
    return tasks, tuple(episodes), stats
