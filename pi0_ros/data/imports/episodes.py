"""What every importer gives: episodes of frames, whose first one says which features the dataset has."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from pi0_ros.data.beside import written_beside
from pi0_ros.data.curation.exact import settle_statistics
from pi0_ros.data.errors import DataError
from pi0_ros.data.writer import DatasetWriter
from pi0_ros.robot.wording import counted

Frame = Mapping[str, Any]
"""State and action [n], pictures uint8 [H, W, 3] by feature, "task"."""


@dataclass(frozen=True)
class ImportedEpisode:
    """One recording. frames: in order, 1 / fps apart. names: of the vectors by feature. note: where it is from.

    left_out: why it is none to learn from, "" if it is one.
    """

    frames: Iterable[Frame]
    names: Mapping[str, list[str]] = field(default_factory=dict)
    note: Mapping[str, Any] = field(default_factory=dict)
    left_out: str = ""


def write_episodes(
    episodes: Iterable[ImportedEpisode], out: Path, fps: int, robot: str, say: Callable[[str], None] = lambda _: None
) -> int:
    """Write them into the new folder `out`; how many they are. Raises DataError if none has a frame.

    Interrupted, it leaves nothing.
    """
    reasons: list[str] = []

    def used() -> Iterator[ImportedEpisode]:
        for episode in episodes:
            if episode.left_out:
                reasons.append(episode.left_out)
                say(f"{episode.note.get('source', 'a recording')}: is left out: {episode.left_out}")
            else:
                yield episode

    with written_beside(out) as beside:
        count = _write(used(), beside, fps, robot, say)
        if not count:
            raise DataError(f"{out}: nothing was imported: {reasons[-1] if reasons else 'no recording has a frame'}")
        settle_statistics(beside)
        if reasons:
            say(f"left out: {counted(len(reasons), 'recording')}, the last because {reasons[-1]}")
        return count


def _write(episodes: Iterable[ImportedEpisode], out: Path, fps: int, robot: str, say: Callable[[str], None]) -> int:
    writer: DatasetWriter | None = None
    count = 0
    for episode in episodes:
        frames = 0
        for frame in _even(episode.frames):
            writer = writer or DatasetWriter(out, fps, features_of(frame, episode.names), robot)
            writer.add_frame(frame)
            frames += 1
        if writer is None or not frames:
            say(f"{episode.note.get('source', 'a recording')}: has no frame, and is left out")
            continue
        writer.save_episode(episode.note)
        say(f"{episode.note.get('source', 'recording')} → episode {count} ({counted(frames, 'frame')})")
        count += 1
    if writer is not None:
        writer.close()
    return count


def _even(frames: Iterable[Frame]) -> Iterator[Frame]:
    """Frames whose pictures have even sides, as a video needs: an odd last row or column is left out."""
    for frame in frames:
        yield {
            key: value[: value.shape[0] // 2 * 2, : value.shape[1] // 2 * 2] if _is_picture(value) else value
            for key, value in frame.items()
        }


def _is_picture(value: Any) -> bool:
    return isinstance(value, np.ndarray) and value.dtype == np.uint8 and value.ndim == 3


def features_of(frame: Frame, names: Mapping[str, list[str]]) -> dict[str, dict[str, Any]]:
    """The features that a frame shows. Vectors without names are numbered."""
    found: dict[str, dict[str, Any]] = {}
    for key, value in frame.items():
        if key == "task":
            continue
        if isinstance(value, str):
            found[key] = {"dtype": "string", "shape": (1,), "names": None}
        elif _is_picture(value):
            found[key] = {"dtype": "video", "shape": value.shape, "names": ["height", "width", "channels"]}
        else:
            vector = np.atleast_1d(value)
            dtype = vector.dtype.name if vector.dtype.kind in "biu" else "float64" if key == "stamp" else "float32"
            own = names.get(key)
            if own is not None and len(own) != len(vector):
                raise DataError(f"{key} has {len(vector)} numbers, and {len(own)} names: {', '.join(own)}")
            listed = own or ([f"{key.rpartition('.')[2]}_{i}" for i in range(len(vector))] if len(vector) > 1 else None)
            found[key] = {"dtype": dtype, "shape": vector.shape, "names": listed}
    return found
