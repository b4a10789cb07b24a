"""Copies of chosen episodes, or parts of them, as a new dataset. Pictures are copied as they are encoded if that can be."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa

from pi0_ros.data.beside import written_beside
from pi0_ros.data.curation.exact import settle_statistics
from pi0_ros.data.dataset import Dataset
from pi0_ros.data.dataset_files import UNKNOWN, DatasetFiles, EpisodeContent, FileLimits
from pi0_ros.data.episode_log import EpisodeLog
from pi0_ros.data.errors import DataError
from pi0_ros.data.features import difference
from pi0_ros.data.layout import STANDARD, Episode
from pi0_ros.data.statistics import PictureStatistics, Stats, sampled
from pi0_ros.data.stills import encoded_picture
from pi0_ros.data.stored import Note
from pi0_ros.data.tables import STILL
from pi0_ros.data.video import Part, VideoWriter, may_be_cut_out
from pi0_ros.robot.wording import counted

LIMITS = FileLimits(data=100, video=0)
"""Every episode has video files of its own: those of several datasets may be encoded differently."""


@dataclass(frozen=True)
class Piece:
    """Frames `start` .. `stop - 1` of the episode at `position`; stop None is its end.

    task: in place of its own words. renamed: pairs of an instruction and what its frames are to say instead.
    """

    position: int
    start: int = 0
    stop: int | None = None
    task: str | None = None
    renamed: tuple[tuple[str, str], ...] = ()
    note: Note = field(default_factory=dict)


def selected(dataset: Dataset, text: str) -> list[int]:
    """The positions of the episodes that a text like "0,2-5,9-" names by their numbers. Raises DataError."""
    numbers = {episode.index: position for position, episode in enumerate(dataset.episodes)}
    last = max(numbers)
    found: list[int] = []
    for part in text.split(","):
        first, dash, end = part.strip().partition("-")
        try:
            low = int(first)
            high = (int(end) if end else last) if dash else low
        except ValueError:
            raise DataError(f"episodes {text!r}: {part.strip()!r} is no number or range such as 2-5") from None
        wanted = [n for n in range(low, high + 1) if n in numbers]
        if not wanted:
            raise DataError(f"{dataset.folder}: has no episode {part.strip()}; there are {min(numbers)} to {last}")
        found += [numbers[n] for n in wanted]
    return list(dict.fromkeys(found))


def write_pieces(
    sources: Sequence[tuple[Dataset, Sequence[Piece]]], out: Path, say: Callable[[str], None] = lambda _: None
) -> int:
    """Write the pieces of all sources behind one another into the new folder `out`; how many episodes that are.

    Raises DataError if `out` is not empty, or datasets differ in features or rate. Interrupted, it leaves nothing.
    """
    with written_beside(out) as beside:
        first = sources[0][0]
        for dataset, _ in sources[1:]:
            differs = difference(dataset.features, first.features)
            if differs or dataset.fps != first.fps:
                what = differs or f"fps is {dataset.fps}, and {first.fps} in {first.folder}"
                raise DataError(f"{dataset.folder} and {first.folder} cannot be put together: {what}")
        robots = {d.layout.robot_type for d, _ in sources} - {UNKNOWN}
        if len(robots) > 1:
            say(f"warning: of different robots ({', '.join(sorted(robots))}); the copy says {first.layout.robot_type}")
        if not any(pieces for _, pieces in sources):
            raise DataError(f"{first.folder}: no episode is left")
        count = _write(sources, beside, say)
        settle_statistics(beside)
        return count


def _write(sources: Sequence[tuple[Dataset, Sequence[Piece]]], out: Path, say: Callable[[str], None]) -> int:
    first = sources[0][0]
    features = {key: dict(f) for key, f in first.features.items() if key not in STANDARD}
    files = DatasetFiles(
        out, first.fps, features | {k: dict(f) for k, f in STANDARD.items()}, first.layout.robot_type, LIMITS
    )
    for dataset, pieces in sources:
        notes = EpisodeLog(dataset.folder).read()
        for piece in pieces:
            episode = dataset.episodes[piece.position]
            with tempfile.TemporaryDirectory(dir=out) as folder:
                content = _content(
                    dataset, episode, piece, {**notes.get(episode.index, {}), **piece.note}, Path(folder)
                )
                files.append(content)
            say(
                f"{dataset.folder}: episode {episode.index} → {files.episodes - 1} ({counted(content.length, 'frame')})"
            )
    return files.episodes


def _content(dataset: Dataset, episode: Episode, piece: Piece, note: Note, folder: Path) -> EpisodeContent:
    stop = episode.length if piece.stop is None else min(piece.stop, episode.length)
    if not 0 <= piece.start < stop:
        raise DataError(
            f"{dataset.folder}: episode {episode.index} has frames 0 to {episode.length - 1}, not {piece.start} to {stop - 1}"
        )
    frames = np.arange(episode.start + piece.start, episode.start + stop)
    tasks = [piece.task if piece.task is not None else dataset.task_of(int(i)) for i in frames]
    tasks = [dict(piece.renamed).get(task, task) for task in tasks]
    videos = {
        dataset.layout.cameras[camera]: _part(dataset, camera, piece.start, frames, place, folder)
        for camera, place in episode.videos.items()
    }
    shown = {dataset.layout.cameras[c]: _statistics(dataset, c, frames) for c in dataset.cameras}
    return EpisodeContent(_table(dataset, frames), tasks, videos, shown, note)


def _table(dataset: Dataset, frames: np.ndarray) -> pa.Table:
    """The rows without what every dataset has, in the types of info.json."""
    table = dataset.rows_of(frames)
    for key in dataset.layout.stills:
        held = [_still(dataset, key, row) for row in table.column(key).to_pylist()]
        table = table.set_column(table.column_names.index(key), key, pa.array(held, STILL))
    return table.select([name for name in table.column_names if name not in STANDARD and name in dataset.features])


def _still(dataset: Dataset, key: str, held: object) -> dict[str, object]:
    """A picture that lies in a table, or in a file that it names, as its bytes."""
    try:
        return {"bytes": encoded_picture(dataset.folder, held), "path": None}
    except (OSError, KeyError, TypeError, ValueError) as problem:
        raise DataError(f"{dataset.folder}: a picture of {key} cannot be read ({problem})") from problem


def _part(
    dataset: Dataset, camera: str, start: int, frames: np.ndarray, place: tuple[Path, float], folder: Path
) -> Part:
    """The pictures of the frames as they are encoded; encoded again if they cannot be decoded without others."""
    file, begin = place
    at = round(begin * dataset.fps) + start
    if may_be_cut_out(file, at, len(frames)):
        return Part(file, len(frames), at)
    writer: VideoWriter | None = None
    for i in frames:
        picture = dataset.picture(camera, int(i))
        writer = writer or VideoWriter(folder / f"{camera}.mp4", round(dataset.fps), picture.shape)
        writer.add(picture)
    assert writer is not None
    writer.close()
    return Part(writer.file, len(frames))


def _statistics(dataset: Dataset, camera: str, frames: np.ndarray) -> Stats:
    """Statistics of the pictures of these frames, of as many as `sampled` chooses."""
    found = PictureStatistics()
    for number in sampled(len(frames)):
        found.add(dataset.picture(camera, int(frames[number])))
    return found.result()
