"""Frames for training from a LeRobot dataset: pictures made small once, chunks of the model's period, words, places."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from pi0_ros.data.dataset import Dataset
from pi0_ros.data.layout import Episode
from pi0_ros.data.presence import present_rows
from pi0_ros.data.stored import Numbers
from pi0_ros.policy.adapter import Adapter
from pi0_ros.policy.boxes import parted
from pi0_ros.policy.resize import pil_bilinear
from pi0_ros.robot.wording import counted
from pi0_ros.train.box_labels import BoxLabels, read_box_labels, with_boxes
from pi0_ros.train.chosen import chosen_frames, frame_weights
from pi0_ros.train.errors import TrainError
from pi0_ros.train.frames import Frames, load_frames, save_frames
from pi0_ros.train.mixture import Choice
from pi0_ros.train.recorded_motion import check_motion, planned_rows
from pi0_ros.train.recorded_vectors import model_vectors, unusable

SHARD = 4000  # frames a folder
SPEED = "decoding.json"
ALL = Choice()
NO_BOXES: BoxLabels = MappingProxyType({})


FactsOf = Callable[[Dataset, int], NDArray[np.int16]]


def no_facts(dataset: Dataset, row: int) -> NDArray[np.int16]:
    """Nothing but what every dataset has."""
    return np.zeros(0, np.int16)


def frames_of(
    dataset: Dataset,
    adapter: Adapter,
    size: int,
    horizon: int,
    episodes: Sequence[int],
    skip_bad: bool = False,
    facts: FactsOf = no_facts,
    choice: Choice = ALL,
    boxes: BoxLabels = NO_BOXES,
    see: bool = True,
) -> Frames:
    """Frames of the episodes at these positions, states and chunks in the model's order and units.

    facts: what an experiment reads of a row. choice: which frames are taken, and how often. boxes: on the first camera's
    pictures, which a high-level answer says before the subtask if that camera gave one. see: with pictures; without
    them frames have no camera, and no video is read.

    Left out are frames without an instruction, and those whose chunk would run over a disturbance (`perturbed`) or a
    hole in time; with `skip_bad` also those with a value that is no number. Raises TrainError if the dataset lacks a
    camera or channel of the adapter, its rate does not divide by the adapter's period, or no frame is left.
    """
    stride = _stride(dataset, adapter)
    cameras = dataset_cameras(dataset, adapter) if see else []
    state, action = model_vectors(dataset, adapter)
    bad = _bad(dataset, state, action, adapter, skip_bad)
    check_motion(dataset, adapter, state, action, stride)
    bad = bad | ~chosen_frames(dataset, choice)
    texts: dict[str, int] = {}
    rows: list[int] = []
    positions: list[int] = []
    pictures: list[NDArray[np.uint8]] = []
    shapes: list[tuple[int, int]] = []
    for number in episodes:
        chosen = _kept(dataset, dataset.episodes[number], horizon * stride, bad)[number % choice.every :: choice.every]
        rows += chosen
        positions += [number] * len(chosen)
        for small, shape in _pictures(dataset, cameras, number, size, chosen) if chosen else ():
            pictures.append(small)
            shapes.append(shape)
    if not rows:
        return empty_frames(cameras, adapter, size, horizon, state.shape[1])
    index = np.array(rows)
    present = _present(dataset, [camera for _, camera in cameras], index)
    seen = np.ones(len(rows), bool) if present is None else present[:, 0]
    high = [
        (task, with_boxes(boxes.get(r, ()) if there else (), target, shape, size))
        for r, there, shape in zip(rows, seen, shapes, strict=True)
        for task, target in [_high(dataset, r)]
    ]
    note: Callable[[str], int] = lambda text: texts.setdefault(text, len(texts)) if text else -1
    task = np.array([note(dataset.task_of(r)) for r in rows], np.int32)
    prompts = np.array([[note(a), note(b)] for a, b in high], np.int32)
    ahead, valid = _ahead(dataset, index, np.array(positions), horizon, stride)
    chunk = planned_rows(adapter, action[ahead], state[ahead])
    return Frames(
        cameras=tuple(slot for slot, _ in cameras),
        channels=adapter.action_channels,
        period=adapter.period,
        texts=tuple(texts),
        images=np.stack(pictures),
        state=state[index].astype(np.float32),
        chunk=chunk.astype(np.float32),
        task=task,
        high_task=prompts[:, 0],
        high_target=prompts[:, 1],
        facts=np.stack([facts(dataset, r) for r in rows]),
        episode=np.array(positions, np.int32),
        valid=valid,
        weight=None if choice.interventions == 1.0 else frame_weights(dataset, choice)[index],
        present=present,
    )


def _present(dataset: Dataset, cameras: Sequence[str], index: NDArray[np.int64]) -> NDArray[np.bool_] | None:
    """Which of the cameras gave a picture at these rows [N, C]; None if all did."""
    if not cameras:
        return None
    there = np.stack([present_rows(dataset, camera)[index] for camera in cameras], axis=1)
    return None if there.all() else there


def empty_frames(cameras: Sequence[tuple[str, str]], adapter: Adapter, size: int, horizon: int, width: int) -> Frames:
    """No frame at all, of the right shapes: a shard of which nothing can be used."""
    none = np.zeros(0, np.int32)
    return Frames(
        cameras=tuple(slot for slot, _ in cameras),
        channels=adapter.action_channels,
        period=adapter.period,
        texts=(),
        images=np.zeros((0, len(cameras), size, size, 3), np.uint8),
        state=np.zeros((0, width), np.float32),
        chunk=np.zeros((0, horizon, len(adapter.action_channels)), np.float32),
        task=none,
        high_task=none,
        high_target=none,
        facts=np.zeros((0, 0), np.int16),
        episode=none,
        valid=none,
    )


def _bad(dataset: Dataset, state: Numbers, action: Numbers, adapter: Adapter, skip: bool) -> NDArray[np.bool_]:
    """Frames [N] with a value that is no number. Raises TrainError for them, unless they are to be left out."""
    bad, what = unusable(state, action, adapter)
    if bad.any() and not skip:
        row = int(np.flatnonzero(bad)[0])
        episode = dataset.episode_of(row)
        raise TrainError(
            f"{dataset.folder}: {what} is no number in episode {episode.index}, frame {row - episode.start} "
            f"({counted(int(bad.sum()), 'frame')} in all); mend them, or leave them out with --skip-bad"
        )
    return bad


def write_dataset_frames(
    folder: Path,
    out: Path,
    adapter: Adapter,
    size: int,
    horizon: int,
    skip_bad: bool = False,
    say: Callable[[str], None] = lambda text: None,
    facts: FactsOf = no_facts,
    choice: Choice = ALL,
    boxes: str = "",
) -> int:
    """Write a dataset's frames in shards below `out`; shards that are there already are kept. Frames that can be used.

    `out` holds nothing else, and what of the same dataset (`frame_cache.refreshed`). `say` is told what is left out.
    boxes: a file for `box_labels.read_box_labels`, "" without one.
    Raises TrainError if no frame can be used, DataError for a damaged dataset.
    """
    dataset = Dataset(folder, skip_bad=skip_bad)
    for problem in dataset.left_out:
        say(f"{folder}: left out: {problem}")
    labels = read_box_labels(boxes, dataset) if boxes else NO_BOXES
    total, decoded, began = 0, 0, time.monotonic()
    for number, episodes in enumerate(_shards(dataset)):
        shard = out / f"shard-{number:05d}"
        if not shard.is_dir():
            save_frames(frames_of(dataset, adapter, size, horizon, episodes, skip_bad, facts, choice, labels), shard)
            decoded += sum(dataset.episodes[e].length for e in episodes) * len(dataset_cameras(dataset, adapter))
        total += len(load_frames(shard))
        say(f"{folder}: {total} frames of {sum(e.length for e in dataset.episodes[: episodes[-1] + 1])} read")
    if decoded:
        say(f"{folder}: {_speed(decoded, time.monotonic() - began, out / SPEED)}")
    if not total:
        raise TrainError(
            f"{folder}: no frame can be used: none has an instruction and a whole chunk"
            + ("" if choice == ALL else ", and is of the drivers, outcomes and lengths that the mixture asks for")
        )
    if boxes:
        say(_boxes_used(boxes, dataset, adapter, labels, sum(_with_boxes(f) for f in out.glob("shard-*"))))
    if total < len(dataset):
        why = "; ".join(_left_out(dataset, adapter, choice))
        say(f"{folder}: {len(dataset) - total} of {len(dataset)} frames are left out ({why})")
    return total


def _with_boxes(shard: Path) -> int:
    """How many frames of a folder have an answer that says boxes."""
    frames = load_frames(shard)
    boxed = [number for number, text in enumerate(frames.texts) if parted(text)[0]]
    return int(np.isin(frames.high_target, boxed).sum())


def _boxes_used(file: str, dataset: Dataset, adapter: Adapter, labels: BoxLabels, used: int) -> str:
    """On how many frames boxes are trained on, in words. Raises TrainError if they are on none."""
    slot, camera = dataset_cameras(dataset, adapter)[0]
    if adapter.question_cameras.get(slot) != adapter.cameras[slot]:
        raise TrainError(
            f"{file}: boxes are in the pictures of {camera}, which high_level_cameras in {adapter.file} does not show in {slot}"
        )
    there = present_rows(dataset, camera)
    boxed = [row for row in labels if labels[row]]
    silent = sum(not _high(dataset, row)[1] for row in boxed)
    blind = sum(bool(_high(dataset, row)[1]) and not there[row] for row in boxed)
    causes = {
        "have no subtask to say behind them": silent,
        f"have no picture of {camera}": blind,
        "are not trained on": len(boxed) - silent - blind - used,
    }
    why = "".join(f"; {count} {what}" for what, count in causes.items() if count)
    if boxed and not used:
        raise TrainError(
            f"{file}: boxes of {counted(len(boxed), 'frame')}, and none can be learned{why}; draw boxes on others"
        )
    return f"{file}: boxes in the pictures of {camera}: {used} of {counted(len(boxed), 'frame')} with boxes can be drawn{why}"


def _left_out(dataset: Dataset, adapter: Adapter, choice: Choice) -> Iterator[str]:
    """Why frames of a dataset are not trained on, as parts of a sentence."""
    yield f"{sum(not dataset.task_of(i) for i in range(len(dataset)))} without an instruction"
    yield f"{counted(int(dataset.broken.sum()), 'hole')} in time, over which no chunk runs"
    bad = int(unusable(*model_vectors(dataset, adapter), adapter)[0].sum())
    if bad:
        yield f"{bad} with a value that is no number, over which none runs either"
    pushed = int(dataset.column("perturbed").astype(bool).sum()) if "perturbed" in dataset.features else 0
    if pushed:
        yield f"{counted(pushed, 'disturbance')}, into which none runs"
    if choice.every > 1:
        yield f"all but one of {choice.every} of the others"
    others = int((~chosen_frames(dataset, choice)).sum())
    if others:
        yield f"{others} that the mixture does not ask for"


def _speed(pictures: int, seconds: float, file: Path) -> str:
    """How fast pictures were read, in words; the numbers go to a file beside the frames."""
    rate = pictures / max(seconds, 1e-9)
    numbers = {"pictures": pictures, "seconds": round(seconds, 3), "pictures_per_s": round(rate, 1)}
    file.write_text(json.dumps(numbers) + "\n", encoding="utf-8")
    return f"{pictures} pictures decoded and made small in {seconds:.1f} s, {rate:.0f} a second"


def _shards(dataset: Dataset) -> Iterator[list[int]]:
    """Positions of episodes, about `SHARD` frames together."""
    shard: list[int] = []
    size = 0
    for position, episode in enumerate(dataset.episodes):
        shard.append(position)
        size += episode.length
        if size >= SHARD:
            yield shard
            shard, size = [], 0
    if shard:
        yield shard


def _stride(dataset: Dataset, adapter: Adapter) -> int:
    """Frames from one row of a chunk to the next. Raises TrainError if that is no whole number."""
    stride = adapter.period * dataset.fps
    if abs(stride - round(stride)) > 1e-3 or stride < 0.5:
        fits = ", ".join(f"{k / dataset.fps:.6g}" for k in range(1, 5))
        raise TrainError(
            f"{dataset.folder / 'meta/info.json'}: {dataset.fps:g} fps gives no rows every {adapter.period:g} s; set "
            f"`period:` in {adapter.file} to a multiple of 1/{dataset.fps:g} s ({fits}), or resample the dataset"
        )
    return round(stride)


def dataset_cameras(dataset: Dataset, adapter: Adapter) -> list[tuple[str, str]]:
    """The adapter's picture slots and the dataset's camera for each. Raises TrainError if it lacks one."""
    called = adapter.dataset.cameras if adapter.dataset else {}
    pairs = [(slot, called.get(camera, camera)) for slot, camera in adapter.cameras.items() if camera is not None]
    lost = [camera for _, camera in pairs if camera not in dataset.cameras]
    if lost:
        raise TrainError(
            f"{dataset.folder}: no camera {', '.join(lost)}; it has {', '.join(dataset.cameras)}; if it has "
            f"other names for them, give these under `dataset: {{cameras: ...}}` in {adapter.file}"
        )
    return pairs


def _kept(dataset: Dataset, episode: Episode, reach: int, bad: NDArray[np.bool_]) -> list[int]:
    """Frames of an episode with an instruction, and with nothing in their chunk that it may not run over.

    A chunk that begins before a disturbance or a hole may not reach it; one that begins there may.
    """
    rows = np.arange(episode.start, episode.stop)
    ends = np.flatnonzero(dataset.broken[episode.start : episode.stop]) + episode.start + 1  # first frames after a hole
    if "perturbed" in dataset.features:
        ends = np.r_[ends, np.flatnonzero(dataset.column("perturbed")[episode.start : episode.stop]) + episode.start]
    worded = np.array([bool(dataset.task_of(int(r))) for r in rows])
    crossed = ((ends[None] > rows[:, None]) & (ends[None] < rows[:, None] + reach)).any(1)
    broken = np.flatnonzero(bad[episode.start : episode.stop]) + episode.start
    spoilt = ((broken[None] >= rows[:, None]) & (broken[None] < rows[:, None] + reach)).any(1)
    return [int(r) for r in rows[worded & ~crossed & ~spoilt]]


def _pictures(
    dataset: Dataset, cameras: Sequence[tuple[str, str]], episode: int, size: int, chosen: Sequence[int]
) -> Iterator[tuple[NDArray[np.uint8], tuple[int, int]]]:
    """Of each chosen frame all cameras' pictures made small, and height and width of the first one's as it was recorded."""
    if not cameras:
        yield from ((np.zeros((0, size, size, 3), np.uint8), (size, size)) for _ in chosen)
        return
    start, wanted = dataset.episodes[episode].start, set(chosen)
    streams = [dataset.pictures(camera, episode) for _, camera in cameras]
    for k, pictures in enumerate(zip(*streams, strict=True)):
        if start + k in wanted:
            height, width = pictures[0].shape[:2]
            yield np.stack([pil_bilinear(picture, (size, size)) for picture in pictures]), (height, width)


def _ahead(
    dataset: Dataset, index: NDArray[np.int64], episode: NDArray[np.int64], horizon: int, stride: int
) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Frames k * stride ahead [N, H], and how many of them lie in the episode [N].

    Rows beyond the episode's end repeat the last one; they carry no loss (LeRobot's `action_is_pad`).
    """
    stops = np.array([e.stop for e in dataset.episodes])[episode]
    rows = index[:, None] + stride * np.arange(horizon)
    valid = (rows < stops[:, None]).sum(1).astype(np.int32)
    return np.minimum(rows, stops[:, None] - 1), valid


def _high(dataset: Dataset, row: int) -> tuple[str, str]:
    """The task of a high-level example at a row and its answer, "" if the dataset says none."""
    if "high_level_task" not in dataset.features:
        return "", ""
    return str(dataset.column("high_level_task")[row]), str(dataset.column("high_level_target")[row])
