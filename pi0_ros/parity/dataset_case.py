"""A recorded LeRobot dataset: what is read from it, frame by frame, against what LeRobot read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np

from pi0_ros.data.dataset import Dataset
from pi0_ros.model.checkpoints.shards import read_json
from pi0_ros.model.checkpoints.tensorfile import read_all
from pi0_ros.parity.report import ParityError, Row, close, equal

Arrays = Mapping[str, np.ndarray]
LEVELS = 2  # of 255: decoders of the lossy video may differ by a level or so


def dataset_rows(folder: Path) -> Iterator[Row]:
    """One row for every recorded column, statistic, chunk table and camera."""
    dataset = Dataset(dataset_folder(folder.resolve()))
    io = {name: tensor.numpy() for name, tensor in read_all(folder / "expected.safetensors").items()}
    recorded = read_json(folder / "expected.json") if (folder / "expected.json").is_file() else {}
    yield from description_rows(dataset, recorded)
    yield from column_rows(dataset, io)
    yield from chunk_rows(dataset, io)
    for name in sorted(name for name in io if name.startswith("decoded.observation.images.")):
        yield picture_row(dataset, name, io[name])


def dataset_folder(folder: Path) -> Path:
    """The folder that holds meta/info.json: the case's own or one in it."""
    places = [folder, *sorted(path for path in folder.iterdir() if path.is_dir())]
    found = next((place for place in places if (place / "meta" / "info.json").is_file()), None)
    if found is None:
        raise ParityError(f"{folder}: no dataset in it (no meta/info.json)")
    return found


def description_rows(dataset: Dataset, recorded: Mapping[str, object]) -> Iterator[Row]:
    """Rate, episode lengths, and tasks in words."""
    found: dict[str, Callable[[], object]] = {
        "fps": lambda: dataset.fps,
        "total_frames": lambda: len(dataset),
        "episode_lengths": lambda: [episode.length for episode in dataset.episodes],
    }
    for name, compute in found.items():
        if name in recorded:
            yield equal(name, compute(), recorded[name])
    if "tasks" in recorded:
        yield Row("tasks", float(dataset.tasks != recorded["tasks"]), exact=True)
    if "task_per_frame" in recorded:
        words = [dataset.task_of(frame) for frame in range(len(dataset))]
        wrong = sum(a != b for a, b in zip(words, recorded["task_per_frame"], strict=True))  # type: ignore[call-overload]
        yield Row("task_per_frame", float(wrong), exact=True)


def column_rows(dataset: Dataset, io: Arrays) -> Iterator[Row]:
    """Numbers of every frame, and the dataset's statistics."""
    for name in sorted(io):
        if name.startswith("stats."):
            feature, _, statistic = name.removeprefix("stats.").rpartition(".")
            yield close(name, dataset.stats[feature][statistic], io[name])
        elif not name.startswith(("chunk.", "decoded.", "raw.")):
            column = np.asarray(dataset.column(name)).reshape(io[name].shape)
            exact = np.issubdtype(io[name].dtype, np.integer)
            yield (equal if exact else close)(name, column, io[name])


def chunk_rows(dataset: Dataset, io: Arrays) -> Iterator[Row]:
    """Action chunks at the recorded frames, and which of their rows are padding."""
    if "chunk.index" not in io:
        return
    frames, horizon = io["chunk.index"].reshape(-1), io["chunk.action"].shape[1]
    chunks = [dataset.chunk(int(frame), horizon) for frame in frames]
    yield close("chunk.action", np.stack([values for values, _ in chunks]), io["chunk.action"])
    yield equal("chunk.action_is_pad", np.stack([pad for _, pad in chunks]), io["chunk.action_is_pad"])


def picture_row(dataset: Dataset, name: str, recorded: np.ndarray) -> Row:
    """Decoded pictures [N, 3, H, W] of one camera: values further off than `LEVELS` count."""
    camera = name.removeprefix("decoded.observation.images.")
    pictures = [picture for episode in dataset.episodes for picture in dataset.pictures(camera, episode.index)]
    levels = np.abs(np.stack(pictures).transpose(0, 3, 1, 2).astype(int) - recorded.astype(int))
    return equal(
        name, levels > LEVELS, np.zeros_like(levels, bool), f"largest {levels.max()} levels of {LEVELS} allowed"
    )
