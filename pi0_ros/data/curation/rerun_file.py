"""Episodes as a recording of Rerun (.rrd): pictures, numbers and words on time lines, a tab of the viewer each.

Its viewer is no part of this package: `rerun FILE` of `rerun-sdk`, or the viewer on its web site.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import simplejpeg

from pi0_ros.data.dataset import Dataset
from pi0_ros.data.episode_log import EpisodeLog
from pi0_ros.data.errors import DataError
from pi0_ros.data.layout import STANDARD, Episode
from pi0_ros.robot.disk import DiskFull
from pi0_ros.robot.replacing import replacing

QUALITY = 90
"""Of the JPEG pictures: what a video's pictures are, Rerun's viewer cannot show everywhere."""
BATCH = 60
"""Pictures that are sent at once."""
STAMP = "stamp"


def write_rerun(dataset: Dataset, positions: Sequence[int], file: Path) -> None:
    """Write these episodes; `file` is there as a whole or not at all.

    Everything of episode n is below `episode_n`: `cameras/NAME`, vectors under the names of their features, `words/NAME`.
    Time lines: `frame` and `time` in the episode, and `stamp`, the time of day, if it was recorded. Raises DataError if
    Rerun's SDK is missing, or a picture cannot be read.
    """
    try:
        import rerun
        from rerun import blueprint
    except ImportError:
        raise DataError(
            f"{file}: writing a recording of Rerun needs its SDK: pip install 'pi0_ros[rerun]'; --out sheet.png needs none"
        ) from None
    stream = rerun.RecordingStream("pi0_ros", recording_id=dataset.folder.absolute().name)
    tabs = [_tab(blueprint, dataset, dataset.episodes[p]) for p in positions]
    try:
        with replacing(file) as new:
            try:
                rerun.save(new, blueprint.Blueprint(blueprint.Tabs(*tabs)), recording=stream)
                for position in positions:
                    _Sender(rerun, stream, dataset, position).send()
            finally:
                rerun.disconnect(recording=stream)
    except DiskFull:
        raise
    except OSError as problem:
        raise DataError(f"{file}: cannot be written ({problem.strerror or problem})") from problem


class _Sender:
    """Sends one episode."""

    def __init__(self, rerun: Any, stream: Any, dataset: Dataset, position: int) -> None:
        self._rerun, self._stream, self._dataset, self._position = rerun, stream, dataset, position
        self._episode = dataset.episodes[position]
        self._rows = slice(self._episode.start, self._episode.stop)

    def send(self) -> None:
        """Everything of it."""
        for camera in self._dataset.cameras:
            self._send_pictures(camera)
        for key in numbers_in(self._dataset):
            self._send_numbers(key)
        for name, words in self._words():
            self._send_words(name, words)
        self._send_note()

    def _path(self, *parts: str) -> Any:
        return self._rerun.new_entity_path([_root(self._episode), *parts])

    def _times(self, frames: np.ndarray) -> list[Any]:
        """The time lines of frames, counted in the episode."""
        column, dataset = self._rerun.TimeColumn, self._dataset
        lines = [column("frame", sequence=frames), column("time", duration=frames / float(dataset.fps))]
        if STAMP in dataset.features:
            lines.append(column(STAMP, timestamp=dataset.column(STAMP)[self._rows].reshape(-1)[frames]))
        return lines

    def _send(self, path: Any, frames: np.ndarray, columns: Any) -> None:
        self._rerun.send_columns(path, self._times(frames), columns, recording=self._stream)

    def _send_pictures(self, camera: str) -> None:
        shown, begin = self._dataset.pictures(camera, self._position), 0
        while batch := list(itertools.islice(shown, BATCH)):
            data = [simplejpeg.encode_jpeg(np.ascontiguousarray(p), QUALITY) for p in batch]
            frames = np.arange(begin, begin + len(batch))
            columns = self._rerun.EncodedImage.columns(blob=data, media_type=["image/jpeg"] * len(data))
            self._send(self._path("cameras", camera), frames, columns)
            begin += len(batch)

    def _send_numbers(self, key: str) -> None:
        values = np.asarray(self._dataset.column(key)[self._rows], np.float64).reshape(self._episode.length, -1)
        path = self._path(key)
        if (names := names_of(self._dataset, key)) is not None and len(names) == values.shape[1]:
            self._rerun.log(path, self._rerun.SeriesLines(names=names), static=True, recording=self._stream)
        columns = self._rerun.Scalars.columns(scalars=values.reshape(-1))
        if values.shape[1] > 1:
            columns = columns.partition([values.shape[1]] * len(values))
        self._send(path, np.arange(len(values)), columns)

    def _words(self) -> Iterator[tuple[str, list[str]]]:
        """What is said of each frame: its instruction, and every feature that is a text."""
        dataset, episode = self._dataset, self._episode
        yield "task", [dataset.task_of(frame) for frame in range(episode.start, episode.stop)]
        for key, feature in dataset.features.items():
            if feature["dtype"] == "string":
                yield key, [str(text) for text in dataset.column(key)[self._rows].reshape(-1)]

    def _send_words(self, name: str, words: list[str]) -> None:
        """A text when it changes; it holds until the next one."""
        frames = np.array([k for k, text in enumerate(words) if not k or text != words[k - 1]])
        texts = [words[k] or "(none)" for k in frames]
        self._send(self._path("words", name), frames, self._rerun.TextLog.columns(text=texts))

    def _send_note(self) -> None:
        """What is known of the episode as a whole."""
        note = EpisodeLog(self._dataset.folder).read().get(self._episode.index, {})
        lines = [f"# Episode {self._episode.index}", *(f"* {word}" for word in self._episode.tasks)]
        lines += [f"* {key}: {value}" for key, value in note.items() if value not in (None, "", {})]
        document = self._rerun.TextDocument("\n".join(lines), media_type="text/markdown")
        self._rerun.log(self._path("note"), document, static=True, recording=self._stream)


def numbers_in(dataset: Dataset) -> list[str]:
    """The features that are numbers of a frame: neither pictures nor text, nor what every dataset has."""
    pictures = set(dataset.layout.cameras.values())
    return [
        key
        for key, feature in dataset.features.items()
        if key not in STANDARD
        and key not in pictures
        and key != STAMP
        and feature["dtype"] not in ("string", "video", "image")
    ]


def names_of(dataset: Dataset, key: str) -> list[str] | None:
    """The names of a vector's numbers, None if it has none."""
    names = dataset.features[key].get("names")
    return [str(n) for n in names] if isinstance(names, list | tuple) else None


def _root(episode: Episode) -> str:
    return f"episode_{episode.index}"


def _tab(blueprint: Any, dataset: Dataset, episode: Episode) -> Any:
    """How the viewer lays an episode out: cameras beside one another, state and action as curves, words, the note."""
    root = f"/{_root(episode)}"
    cameras = [blueprint.Spatial2DView(origin=f"{root}/cameras/{c}", name=c) for c in dataset.cameras]
    vectors = [key for key in numbers_in(dataset) if "state" in key or "action" in key]
    curves = [blueprint.TimeSeriesView(origin=f"{root}/{key}", name=key) for key in vectors]
    words = blueprint.TextLogView(origin=f"{root}/words", name="words")
    note = blueprint.TextDocumentView(origin=f"{root}/note", name="note")
    rows = [*([blueprint.Horizontal(*cameras)] if cameras else []), *curves, blueprint.Horizontal(words, note)]
    return blueprint.Vertical(*rows, name=f"episode {episode.index}")
