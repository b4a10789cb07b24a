"""Where things lie in a LeRobot dataset folder, version 3.0 (many episodes per file) or 2.1 (one), with one interface."""

from __future__ import annotations

import itertools
import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from pi0_ros.data.errors import DataError
from pi0_ros.data.paths import filled, refuse_outside
from pi0_ros.data.stored import Features, Row, Values
from pi0_ros.data.tables import AGAIN, read_json, read_json_lines, read_table
from pi0_ros.robot.quoting import MAX_QUOTED, escape, quote_value

Info = Mapping[str, Any]
"""info.json."""
Statistics = Mapping[str, Mapping[str, Values]]
"""By feature and name of the statistic."""
_log = logging.getLogger(__name__)
PICTURES = "observation.images."
VERSION = "v3.0"
MAX_EPISODES, MAX_FRAMES, MAX_FEATURES = 10**7, 10**7, 1000
"""Of a dataset, of an episode, of a frame; more are a damaged file."""
READABLE = ("v2.0", "v2.1", VERSION)
DATA_PATH = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
VIDEO_PATH = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
DATA_PATH_2 = "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet"  # of versions 2
EPISODES_PATH = "meta/episodes/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
INFO, STATS, TASKS = "meta/info.json", "meta/stats.json", "meta/tasks.parquet"

# Every dataset has these; a writer's features may not be called so.
STANDARD: Features = {
    "timestamp": {"dtype": "float32", "shape": [1], "names": None},
    "frame_index": {"dtype": "int64", "shape": [1], "names": None},
    "episode_index": {"dtype": "int64", "shape": [1], "names": None},
    "index": {"dtype": "int64", "shape": [1], "names": None},
    "task_index": {"dtype": "int64", "shape": [1], "names": None},
}


@dataclass(frozen=True)
class Episode:
    """Rows start .. stop - 1 of the dataset; for each camera its file and where in it [s] the episode begins.

    index: the number that the dataset's files give it; numbers may have gaps, so it is no position in a list.
    """

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
    """A dataset without its frames.

    features: as in info.json. tasks: words to the number that frames have; words: the other way. stats: per feature and
    statistic. fps: a whole number where it is one.
    """

    folder: Path
    version: str
    fps: int | float
    robot_type: str
    features: Features
    tasks: Mapping[str, int]
    words: Mapping[int, str]
    episodes: tuple[Episode, ...]
    stats: Statistics

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


def datasets_below(folder: Path) -> list[Path]:
    """The datasets directly below a folder, by name; the folder itself if it is one, or holds none."""
    if (folder / INFO).is_file() or not folder.is_dir():
        return [folder]
    return sorted(below for below in folder.iterdir() if (below / INFO).is_file() and below.suffix != ".partial") or [
        folder
    ]


def read_layout(folder: str | Path) -> Layout:
    """Read the meta folder. Raises DataError naming the file that is missing, damaged or of another version."""
    folder = Path(folder)
    if not (folder / INFO).is_file():
        raise DataError(f"{folder / INFO}: not there; give the folder of a LeRobot dataset")
    info = checked_info(folder / INFO)
    version = str(info.get("codebase_version", ""))
    if version not in READABLE:
        raise DataError(f"{folder / INFO}: version {version!r} is not read; convert the dataset to {VERSION}")
    total = info.get("total_episodes")
    if total == 0:
        raise DataError(f"{folder}: has no episode yet; record one first")
    if total is not None and (type(total) is not int or not 0 < total <= MAX_EPISODES):
        raise DataError(f"{folder / INFO}: total_episodes is {quote_value(total)}; it has to be a whole number")
    try:
        words, episodes, stats = (_read_v3 if version == VERSION else _read_v2)(folder, info)
        robot = str(info.get("robot_type") or "unknown")
    except DataError:
        raise
    except (KeyError, TypeError, IndexError, AttributeError, ValueError, OverflowError) as problem:
        raise DataError(
            f"{folder / 'meta'}: lacks or garbles {problem}; it is no complete {version} dataset"
        ) from problem
    tasks = {text: index for index, text in words.items()}
    fps = float(info["fps"])
    whole = int(fps) if fps.is_integer() else fps
    _check_lengths(folder, episodes)
    layout = Layout(folder, version, whole, robot, info["features"], tasks, words, behind(episodes), stats)
    check_videos(layout)
    return layout


def checked_info(file: Path) -> dict[str, Any]:
    """info.json with the types that everything else relies on. Raises DataError with file and key."""
    info = read_json(file)
    if not isinstance(info, dict):
        raise DataError(f"{file}: holds no object; {AGAIN}")
    fps, features = info.get("fps"), info.get("features")
    if isinstance(fps, bool) or not isinstance(fps, int | float) or not 0 < fps <= 1000:
        raise DataError(f"{file}: fps is {quote_value(fps)}; it has to be a number of frames a second above 0")
    if not isinstance(features, dict):
        raise DataError(f"{file}: features is no object; {AGAIN}")
    if len(features) > MAX_FEATURES:
        raise DataError(f"{file}: has {len(features)} features; at most {MAX_FEATURES} are read")
    for key, feature in features.items():
        shape = feature.get("shape") if isinstance(feature, dict) else None
        sizes = shape if isinstance(shape, list | tuple) else ()
        if (
            not isinstance(feature, dict)
            or not isinstance(feature.get("dtype"), str)
            or len(sizes) > 4
            or (shape is not None and not isinstance(shape, list | tuple))
        ):
            raise DataError(f"{file}: features.{escape(key, MAX_QUOTED)} has no dtype and shape; {AGAIN}")
        if shape is not None and not all(isinstance(n, int) and 0 <= n <= 10**6 for n in sizes):
            raise DataError(
                f"{file}: features.{escape(key, MAX_QUOTED)}.shape is {quote_value(shape)}; it has to be whole numbers"
            )
    return info


def _check_lengths(folder: Path, episodes: Sequence[Episode]) -> None:
    if not episodes:
        raise DataError(f"{folder}: has no episode yet; record one first")
    for episode in episodes:
        if not 0 < episode.length <= MAX_FRAMES or not 0 <= episode.index < 2**62:
            raise DataError(
                f"{folder / 'meta'}: episode {episode.index} has {episode.length} frames according to its table; no episode has"
            )


def behind(episodes: Sequence[Episode]) -> tuple[Episode, ...]:
    """The episodes with their rows behind one another; where meta/ says they begin is stale after some merges."""
    placed, start = [], 0
    for episode in episodes:
        placed.append(replace(episode, start=start, stop=start + episode.length))
        start += episode.length
    return tuple(placed)


def check_videos(layout: Layout) -> None:
    """Episodes in one video file may not overlap. Raises DataError with the episodes and the key."""
    places: dict[tuple[str, Path], list[tuple[float, float, int]]] = {}
    for episode in layout.episodes:
        for camera, (file, begin) in episode.videos.items():
            if not math.isfinite(begin) or begin < 0:
                raise DataError(
                    f"{layout.folder / 'meta/episodes'}: episode {episode.index} begins at {begin} s in {file.name}"
                )
            places.setdefault((camera, file), []).append((begin, begin + episode.length / layout.fps, episode.index))
    for (camera, file), spans in places.items():
        spans.sort()
        for (_, end, one), (begin, _, two) in itertools.pairwise(spans):
            if begin < end - 0.5 / layout.fps:
                raise DataError(
                    f"{layout.folder / 'meta/episodes'}: episodes {one} and {two} overlap in the video {file.name} of "
                    f"{camera} ({two} begins at {begin:.2f} s, {one} ends at {end:.2f} s): from_timestamp is wrong, a known "
                    "fault of merge tools; merge again with a LeRobot that has huggingface/lerobot#2550"
                )


def as_statistics(stats: Mapping[str, Mapping[str, object]]) -> dict[str, dict[str, Values]]:
    """Lists of a JSON file as arrays."""
    return {key: {name: np.asarray(v) for name, v in named.items()} for key, named in stats.items()}


def _cameras(info: Info, kinds: tuple[str, ...] = ("video",)) -> dict[str, str]:
    return {key.removeprefix(PICTURES): key for key, f in info["features"].items() if f["dtype"] in kinds}


def _read_v3(folder: Path, info: Info) -> tuple[dict[int, str], tuple[Episode, ...], Statistics]:
    table = read_table(folder / TASKS)
    texts = table.column("task" if "task" in table.column_names else "__index_level_0__").to_pylist()
    words = {int(i): str(text or "") for text, i in zip(texts, table.column("task_index").to_pylist(), strict=True)}
    rows = _episode_rows(folder, info)
    episodes = tuple(_episode_v3(folder, info, row) for row in rows[: int(info["total_episodes"])])
    if len(episodes) < int(info["total_episodes"]):
        raise DataError(
            f"{folder / 'meta/episodes'}: lists {len(episodes)} episodes, {INFO} {info['total_episodes']}; "
            "copy or download the whole dataset folder again"
        )
    stats = read_json(folder / STATS) if (folder / STATS).is_file() else {}
    return words, episodes, as_statistics(stats)


def _episode_rows(folder: Path, info: Info) -> list[dict[str, Any]]:
    """Rows of meta/episodes without their statistics, by episode."""
    wanted = ["episode_index", "tasks", "length", "data/chunk_index", "data/file_index"]
    wanted += [
        f"videos/{k}/{n}" for k in _cameras(info).values() for n in ("chunk_index", "file_index", "from_timestamp")
    ]
    files = sorted((folder / "meta" / "episodes").glob("chunk-*/file-*.parquet"))
    rows = [row for file in files for row in read_table(refuse_outside(folder, file), wanted).to_pylist()]
    return sorted(rows, key=lambda row: row["episode_index"])


def _episode_v3(folder: Path, info: Info, row: Row) -> Episode:
    place = {"chunk_index": row["data/chunk_index"], "file_index": row["data/file_index"]}
    data = filled(folder / INFO, "data_path", info["data_path"], place)
    videos = {}
    for camera, key in _cameras(info).items():
        place = {n: row[f"videos/{key}/{n}"] for n in ("chunk_index", "file_index")}
        file = filled(folder / INFO, "video_path", info["video_path"], {"video_key": key, **place})
        videos[camera] = (file, float(row[f"videos/{key}/from_timestamp"]))
    return Episode(int(row["episode_index"]), 0, int(row["length"]), _texts(row["tasks"]), data, videos)


def _texts(tasks: str | Sequence[str | None] | None) -> tuple[str, ...]:
    """The instructions of an episode; one that is empty or null is left out."""
    return tuple(str(text) for text in ([tasks] if isinstance(tasks, str) else tasks or ()) if text)


def _read_v2(folder: Path, info: Info) -> tuple[dict[int, str], tuple[Episode, ...], Statistics]:
    words = {int(t["task_index"]): str(t["task"] or "") for t in read_json_lines(folder / "meta/tasks.jsonl")}
    episodes = []
    for row in sorted(read_json_lines(folder / "meta/episodes.jsonl"), key=lambda r: r["episode_index"]):
        index, length = int(row["episode_index"]), int(row["length"])
        place = {"episode_chunk": index // int(info.get("chunks_size", 1000)), "episode_index": index}
        data = filled(folder / INFO, "data_path", info.get("data_path", DATA_PATH_2), place)
        videos = {
            camera: (filled(folder / INFO, "video_path", info["video_path"], {"video_key": key, **place}), 0.0)
            for camera, key in _cameras(info).items()
        }
        episodes.append(Episode(index, 0, length, _texts(row["tasks"]), data, videos))
    return words, tuple(episodes), _stats_v2(folder)


def _stats_v2(folder: Path) -> Statistics:
    """Statistics of the episodes put together, {} if they do not fit together (training computes its own)."""
    from pi0_ros.data.statistics import aggregate

    each = folder / "meta/episodes_stats.jsonl"
    if not each.is_file():
        return as_statistics(read_json(folder / STATS)) if (folder / STATS).is_file() else {}
    try:
        return aggregate([as_statistics(line["stats"]) for line in read_json_lines(each)])
    except (ValueError, KeyError, TypeError) as problem:
        _log.warning("%s: the statistics are left out (%s); they are of other shapes than one another", each, problem)
        return {}
