"""Frames for training from a LeRobot dataset: pictures made small once, chunks of the model's period, words, places."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pi0_ros.data.dataset import Dataset
from pi0_ros.policy.adapter import Adapter, actions_to_model, state_to_model
from pi0_ros.policy.resize import pil_bilinear
from pi0_ros.train.errors import TrainError
from pi0_ros.train.frames import Frames, place_number, save_frames

SHARD = 4000  # frames a folder
STATE, ACTION = "observation.state", "action"


def frames_of(dataset: Dataset, adapter: Adapter, size: int, horizon: int, episodes: Sequence[int]) -> Frames:
    """Frames of some episodes, states and chunks in the model's order and units.

    Frames whose chunk would run over a disturbance (`perturbed`) are left out. Raises TrainError where the dataset
    lacks a camera or channel of the adapter, or its rate does not divide by the adapter's period.
    """
    stride = _stride(dataset, adapter)
    cameras = _cameras(dataset, adapter)
    state, action = _vectors(dataset, adapter)
    words = {index: text for text, index in dataset.tasks.items()}
    texts: dict[str, int] = {}
    rows: list[int] = []
    pictures: list[NDArray[np.uint8]] = []
    for number in episodes:
        kept = _kept(dataset, dataset.episodes[number], horizon * stride)
        rows += kept
        pictures += _pictures(dataset, cameras, number, size, kept)
    if not rows:
        raise TrainError(f"{dataset.folder}: no frame of episodes {list(episodes)[:5]}... can be used")
    index = np.array(rows)
    high = [_high(dataset, r) for r in rows]
    note: Callable[[str], int] = lambda text: texts.setdefault(text, len(texts)) if text else -1
    task = np.array([note(words[int(t)]) for t in dataset.column("task_index")[index]], np.int32)
    asked = np.array([[note(a), note(b)] for a, b in high], np.int32)
    return Frames(
        cameras=tuple(slot for slot, _ in cameras),
        channels=adapter.action_channels,
        period=adapter.period,
        texts=tuple(texts),
        images=np.stack(pictures),
        state=state[index].astype(np.float32),
        chunk=_chunks(dataset, action, index, horizon, stride).astype(np.float32),
        task=task,
        high_task=asked[:, 0],
        high_target=asked[:, 1],
        grounding=np.stack([_grounding(dataset, r, words) for r in rows]),
        episode=dataset.column("episode_index")[index].astype(np.int32),
    )


def write_dataset_frames(folder: Path, out: Path, adapter: Adapter, size: int, horizon: int) -> int:
    """Write a dataset's frames in shards below `out`; shards that are there already are kept. Frames in all."""
    dataset = Dataset(folder)
    total = 0
    for number, episodes in enumerate(_shards(dataset)):
        shard = out / f"shard-{number:05d}"
        if not shard.is_dir():
            save_frames(frames_of(dataset, adapter, size, horizon, episodes), shard)
        total += sum(dataset.episodes[e].length for e in episodes)
    return total


def _shards(dataset: Dataset) -> Iterator[list[int]]:
    shard: list[int] = []
    size = 0
    for episode in dataset.episodes:
        shard.append(episode.index)
        size += episode.length
        if size >= SHARD:
            yield shard
            shard, size = [], 0
    if shard:
        yield shard


def _stride(dataset: Dataset, adapter: Adapter) -> int:
    stride = adapter.period * dataset.fps
    if abs(stride - round(stride)) > 1e-6 or stride < 0.5:
        raise TrainError(f"{dataset.folder}: {dataset.fps} fps gives no rows every {adapter.period:g} s")
    return round(stride)


def _cameras(dataset: Dataset, adapter: Adapter) -> list[tuple[str, str]]:
    pairs = [(slot, camera) for slot, camera in adapter.cameras.items() if camera is not None]
    lost = [camera for _, camera in pairs if camera not in dataset.cameras]
    if lost:
        raise TrainError(f"{dataset.folder}: no camera {', '.join(lost)}; it has {', '.join(dataset.cameras)}")
    return pairs


def _vectors(dataset: Dataset, adapter: Adapter) -> tuple[NDArray, NDArray]:
    """State and action of all frames in the model's order and units."""
    state, action = dataset.column(STATE), dataset.column(ACTION)
    state_names, action_names = (dataset.features[n].get("names") or [] for n in (STATE, ACTION))
    lost = [c for c in adapter.state_channels if c not in state_names]
    lost += [c for c in adapter.action_channels if c not in action_names]
    if lost:
        raise TrainError(f"{dataset.folder}: no channel {', '.join(dict.fromkeys(lost))}; the adapter needs it")
    named = [dict(zip(state_names, map(float, row), strict=True)) for row in state]
    return np.stack([state_to_model(adapter, row) for row in named]), actions_to_model(adapter, action, action_names)


def _kept(dataset: Dataset, episode, reach: int) -> list[int]:
    rows = range(episode.start, episode.stop)
    if "perturbed" not in dataset.features:
        return list(rows)
    pushed = np.flatnonzero(dataset.column("perturbed")[episode.start : episode.stop]) + episode.start
    return [r for r in rows if not np.any((pushed > r) & (pushed < r + reach))]


def _pictures(
    dataset: Dataset, cameras: Sequence[tuple[str, str]], episode: int, size: int, kept: Sequence[int]
) -> list[NDArray[np.uint8]]:
    start, wanted = dataset.episodes[episode].start, set(kept)
    streams = [dataset.pictures(camera, episode) for _, camera in cameras]
    return [
        np.stack([pil_bilinear(picture, (size, size)) for picture in pictures])
        for k, pictures in enumerate(zip(*streams, strict=True))
        if start + k in wanted
    ]


def _chunks(dataset: Dataset, action: NDArray, index: NDArray, horizon: int, stride: int) -> NDArray:
    """Rows k * stride frames ahead [N, H, D]; beyond an episode's end the last one is repeated."""
    stops = np.array([e.stop for e in dataset.episodes])[dataset.column("episode_index")[index].astype(int)]
    rows = np.minimum(index[:, None] + stride * np.arange(horizon), stops[:, None] - 1)
    return action[rows]


def _high(dataset: Dataset, row: int) -> tuple[str, str]:
    if "high_level_task" not in dataset.features:
        return "", ""
    return str(dataset.column("high_level_task")[row]), str(dataset.column("high_level_target")[row])


def _grounding(dataset: Dataset, row: int, words: dict[int, str]) -> NDArray[np.int16]:
    """`Frames.grounding` from `localisation`; the way to the target and lamps are not known here."""
    if "localisation" not in dataset.features:
        return np.full(0, -1, np.int16)
    names = [n.split(".") for n in dataset.features["localisation"]["names"]]
    values = dataset.column("localisation")[row]
    seen = {(camera, thing, kind): float(v) for (camera, thing, kind), v in zip(names, values, strict=True)}
    things = list(dict.fromkeys(thing for _, thing, _ in names))
    text = words[int(dataset.column("task_index")[row])].split()
    target = next((t for t in things if t in text), None)
    wrist = next((c for c, _, _ in names if c.endswith("_wrist") and c.split("_")[0] in text), None)
    numbers = [*_spot(seen, "base", target), *_spot(seen, wrist, target), -1, -1, -1]
    for thing in things:
        numbers += _spot(seen, "base", thing)
    numbers += [-1] * len(things)
    for camera in list(dict.fromkeys(camera for camera, _, _ in names))[1:]:
        for thing in things:
            numbers += _spot(seen, camera, thing)
    return np.array(numbers, np.int16)


def _spot(seen: dict[tuple[str, str, str], float], camera: str | None, thing: str | None) -> list[int]:
    """Row and column of a thing in a picture in 1024ths, -1 where it is not seen."""
    if camera is None or thing is None or seen.get((camera, thing, "visible"), 0.0) < 0.5:
        return [-1, -1]
    return [place_number(seen[(camera, thing, kind)]) for kind in ("y", "x")]
