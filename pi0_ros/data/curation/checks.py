"""What may be wrong with a dataset, episode by episode: what training should not learn."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pi0_ros.data.dataset import Dataset
from pi0_ros.data.errors import DataError
from pi0_ros.data.layout import STANDARD, Episode
from pi0_ros.data.presence import present_rows
from pi0_ros.data.video import picture_count
from pi0_ros.robot.wording import counted

SAMPLED = 120
"""Pictures of an episode and camera that are looked at."""
DARK, UNIFORM = 25, 8
"""As for live cameras: the brightest pixel of a black picture, the range of levels of one without content."""
SAME = 3
"""Levels by which 99.9 % of the pixels of two pictures differ at most, if they are the same: a video's own noise."""
FROZEN = 1.0
"""Seconds without a change, while the robot moves, that are no picture of it."""
MOVES, STEP = 0.1, 0.005
"""Motion, as a share of a channel's range over the dataset, that a picture cannot miss; and that is motion at all."""
REACTS = 0.25
"""Share of the robot's steps that change the pictures of a camera that sees it."""
NOISE = 0.005
"""Range of a channel (rad, m, m/s, strokes) that is none: a measurement's noise."""
IDLE = 1.0
"""Seconds at an end of an episode in which nothing moves that are worth a word."""
JUMP, SMALL = 8.0, 0.05
"""Times the 90th percentile of a channel's steps that a jump is, and what is none in any unit (rad, m, m/s)."""


class Level(StrEnum):
    """How bad it is."""

    ERROR = "error"  # a training would learn something false
    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True)
class Finding:
    """One thing that is odd. episode: its number, None for the whole dataset."""

    level: Level
    kind: str
    episode: int | None
    sentence: str

    def line(self) -> str:
        """For people."""
        where = "" if self.episode is None else f"episode {self.episode}: "
        return f"{self.level}: {where}{self.sentence}"


def check(dataset: Dataset) -> list[Finding]:
    """Everything that is odd about a dataset whose files can be read."""
    found = [Finding(Level.ERROR, "rows", None, problem) for problem in dataset.left_out]
    found += _numbering(dataset)
    found += _names(dataset)
    found += _numbers(dataset)
    found += _times(dataset)
    found += _words(dataset)
    found += _motion(dataset)
    found += _statistics(dataset)
    found += _films(dataset)
    found += _pictures(dataset)
    order = tuple(Level)
    return sorted(found, key=lambda f: (order.index(f.level), -1 if f.episode is None else f.episode))


def _numeric(dataset: Dataset) -> dict[str, NDArray[np.float64]]:
    """The recorded numbers [N, n] by feature."""
    found = {}
    for key, feature in dataset.features.items():
        if key in STANDARD or feature["dtype"] in ("string", "video", "image"):
            continue
        values = np.asarray(dataset.column(key))
        if values.dtype.kind in "fiub":
            found[key] = values.reshape(len(dataset), -1).astype(np.float64)
    return found


def _labels(dataset: Dataset, key: str, width: int) -> list[str]:
    names = dataset.features[key].get("names")
    if isinstance(names, dict):
        names = next(iter(names.values()), None)
    return [f"{key} {n}" for n in names] if names and len(names) == width else [f"{key}[{i}]" for i in range(width)]


def _numbering(dataset: Dataset) -> Iterator[Finding]:
    numbers = [e.index for e in dataset.episodes]
    odd = next((k for k, number in enumerate(numbers) if number != k), None)
    if odd is not None and not dataset.left_out:
        sentence = (
            f"episodes are not numbered one after the other: number {numbers[odd]} stands where {odd} should. LeRobot finds "
            "an episode's video by its place; `pi0 data keep DATASET --episodes 0- --out NEW` numbers them anew"
        )
        yield Finding(Level.ERROR, "numbering", None, sentence)


def _names(dataset: Dataset) -> Iterator[Finding]:
    for key, feature in dataset.features.items():
        names = feature.get("names") or ()
        width = feature["shape"][0] if len(feature.get("shape") or ()) == 1 else None
        if isinstance(names, list) and names and width is not None and len(names) != width:
            sentence = f"{key} has {width} numbers and {len(names)} names"
            yield Finding(Level.WARNING, "names", None, sentence)
        for name in sorted({n for n in names if list(names).count(n) > 1}) if isinstance(names, list) else ():
            places = [i for i, n in enumerate(names) if n == name]
            yield Finding(Level.ERROR, "names", None, f"names of {key}: {name} is at {' and '.join(map(str, places))}")


def _numbers(dataset: Dataset) -> Iterator[Finding]:
    for key, values in _numeric(dataset).items():
        labels = _labels(dataset, key, values.shape[1])
        for column in np.flatnonzero(~np.isfinite(values).all(axis=0)):
            bad = np.flatnonzero(~np.isfinite(values[:, column]))
            episode = dataset.episode_of(int(bad[0]))
            yield Finding(
                Level.ERROR, "nan", episode.index,
                f"{labels[column]} is no number in frame {bad[0] - episode.start} ({counted(len(bad), 'frame')} in all)",
            )  # fmt: skip


def _times(dataset: Dataset) -> Iterator[Finding]:
    stamps = np.asarray(dataset.column("stamp")).reshape(-1) if "stamp" in dataset.features else None
    for episode in dataset.episodes:
        holes = np.flatnonzero(dataset.broken[episode.start : episode.stop])
        if len(holes):
            yield Finding(
                Level.ERROR, "gap", episode.index,
                f"{counted(len(holes), 'hole')} in time, the first behind frame {holes[0]}; split it there (pi0 data split)",
            )  # fmt: skip
        if stamps is not None and episode.length > 1:
            own = stamps[episode.start : episode.stop]
            off = float(np.abs(own - own[0] - np.arange(len(own)) / dataset.fps).max())
            if off > 0.5 / dataset.fps:
                yield Finding(
                    Level.ERROR,
                    "time",
                    episode.index,
                    f"frames are up to {off:.2f} s beside the times they are said to be of",
                )


def _films(dataset: Dataset) -> Iterator[Finding]:
    """Videos that have not as many pictures as their episodes have rows: which belong together, nothing says."""
    held: dict[tuple[str, Path], list[Episode]] = {}
    for episode in dataset.episodes:
        for camera, (file, _) in episode.videos.items():
            held.setdefault((camera, file), []).append(episode)
    for (camera, file), episodes in held.items():
        try:
            pictures = picture_count(file)
        except DataError:
            continue  # it is named where pictures are looked at
        rows = sum(e.length for e in episodes)
        if pictures != rows and not dataset.left_out:
            first = episodes[0].index if len(episodes) == 1 else None
            text = f"{counted(pictures, 'picture')}, and its {counted(len(episodes), 'episode')} {counted(rows, 'row')}"
            yield Finding(
                Level.ERROR if pictures < rows else Level.WARNING, "video", first,
                f"{camera}: {file.relative_to(dataset.folder)} has {text}: pictures may be of other rows",
            )  # fmt: skip


def _words(dataset: Dataset) -> Iterator[Finding]:
    for episode in dataset.episodes:
        without = sum(not dataset.task_of(i).strip() for i in range(episode.start, episode.stop))
        if without:
            yield Finding(
                Level.WARNING,
                "words",
                episode.index,
                f"{without} of {episode.length} frames have no instruction (pi0 data retitle)",
            )


def _motion(dataset: Dataset) -> Iterator[Finding]:
    numbers = {k: v for k, v in _numeric(dataset).items() if ("state" in k or "action" in k) and np.isfinite(v).all()}
    for key, values in numbers.items():
        labels = _labels(dataset, key, values.shape[1])
        spread = np.ptp(values, axis=0)
        for column in np.flatnonzero(spread < 1e-6):
            if "grip" in labels[column].lower():
                yield Finding(
                    Level.WARNING, "gripper", None, f"{labels[column]} never moves: is it connected, and recorded?"
                )
        yield from _jumps(dataset, key, values, labels)
    yield from _idle(dataset, numbers)


def _jumps(dataset: Dataset, key: str, values: NDArray[np.float64], labels: list[str]) -> Iterator[Finding]:
    inside = np.ones(len(values) - 1, bool) if len(values) > 1 else np.zeros(0, bool)
    inside[[e.stop - 1 for e in dataset.episodes if e.stop < len(values)]] = False
    steps = np.abs(np.diff(values, axis=0))
    for column in range(values.shape[1]):
        own, spread = steps[:, column], float(np.ptp(values[:, column]))
        if "grip" in labels[column].lower() or spread <= 0.0 or not inside.any():
            continue
        turns = np.flatnonzero(inside & (np.abs(own - 2 * np.pi) < 0.5))
        usual = float(np.quantile(own[inside], 0.9))
        far = np.flatnonzero(inside & (own > max(JUMP * usual, 0.25 * spread, SMALL)))
        if len(turns):
            at, more = turns, f"{labels[column]} jumps by a whole turn: an endless joint that was not unwrapped"
        elif len(far):
            at, more = far, f"{labels[column]} jumps by {own[far[0]]:.3g} (90 % of its steps are below {usual:.3g})"
        else:
            continue
        episode = dataset.episode_of(int(at[0]))
        yield Finding(
            Level.WARNING, "jump", episode.index, f"{more}, in frame {at[0] - episode.start} ({len(at)} times in all)"
        )


def idle_ends(
    numbers: list[NDArray[np.float64]], spreads: list[NDArray[np.float64]], episode: Episode
) -> tuple[int, int]:
    """Frames at the beginning and at the end of an episode in which nothing moves."""
    moving = np.zeros(episode.length, bool)
    for values, spread in zip(numbers, spreads, strict=True):
        own = values[episode.start : episode.stop]
        used = spread > NOISE
        far = np.abs(own[:, used] - own[:1, used]) > 0.005 * spread[used]
        near = np.abs(own[:, used] - own[-1:, used]) > 0.005 * spread[used]
        moving |= far.any(axis=1) & near.any(axis=1)
    inside = np.flatnonzero(moving)
    return (int(inside[0]), episode.length - 1 - int(inside[-1])) if len(inside) else (episode.length, 0)


def vectors(dataset: Dataset) -> tuple[list[NDArray[np.float64]], list[NDArray[np.float64]]]:
    """States and actions [N, n], and the range of each of their channels over the dataset [n]."""
    numbers = [v for k, v in _numeric(dataset).items() if k.startswith(("observation.state", "action", "state"))]
    return numbers, [np.ptp(np.nan_to_num(v), axis=0) for v in numbers]


def _idle(dataset: Dataset, numbers: dict[str, NDArray[np.float64]]) -> Iterator[Finding]:
    if not numbers:
        return
    each, spreads = vectors(dataset)
    for episode in dataset.episodes:
        before, behind = idle_ends(each, spreads, episode)
        if before >= episode.length:
            yield Finding(Level.WARNING, "idle", episode.index, "nothing moves from its beginning to its end")
        elif max(before, behind) > IDLE * dataset.fps:
            yield Finding(
                Level.NOTE, "idle", episode.index,
                f"nothing moves in its first {before / dataset.fps:.1f} s and last {behind / dataset.fps:.1f} s (pi0 data trim)",
            )  # fmt: skip


def _statistics(dataset: Dataset) -> Iterator[Finding]:
    """What meta/ says wrongly of the numbers."""
    for key, values in _numeric(dataset).items():
        stats = dataset.stats.get(key, {})
        if not np.isfinite(values).all() or not {"min", "max"} <= stats.keys():
            continue
        low, high = values.min(axis=0), values.max(axis=0)
        if stats["min"].size != low.size:
            yield Finding(
                Level.WARNING,
                "statistics",
                None,
                f"statistics of {key} are of {stats['min'].size} numbers, and it has {low.size} (pi0 data stats)",
            )
            continue
        slack = 1e-3 * np.maximum(high - low, 1e-3)
        off = (np.abs(stats["min"].reshape(-1) - low) > slack) | (np.abs(stats["max"].reshape(-1) - high) > slack)
        if off.any():
            label = _labels(dataset, key, values.shape[1])[int(np.flatnonzero(off)[0])]
            yield Finding(
                Level.WARNING,
                "statistics",
                None,
                f"statistics of {label} are of other frames than these (pi0 data stats --write)",
            )


@dataclass(frozen=True)
class _PictureFindings:
    """What an episode's pictures of a camera showed: how many were looked at, how many are blank, the frames of the longest
    stretch of one picture while the robot moved, and of the steps of the robot outside it, how many changed the picture."""

    looked: int
    blank: int
    still: tuple[int, int]
    moved: int
    changed: int


def _pictures(dataset: Dataset) -> Iterator[Finding]:
    each, spreads = vectors(dataset)
    for camera in dataset.cameras:
        found: dict[int, _PictureFindings] = {}
        for number, episode in enumerate(dataset.episodes):
            try:
                found |= {number: seen} if (seen := _look(dataset, camera, number, each, spreads)) else {}
            except DataError as problem:
                yield Finding(Level.ERROR, "pictures", episode.index, str(problem))
        moved = sum(seen.moved for seen in found.values())
        sees = sum(seen.changed for seen in found.values()) > REACTS * moved
        for number, seen in found.items():
            yield from _of_camera(dataset, camera, dataset.episodes[number], seen, sees)


def _of_camera(
    dataset: Dataset, camera: str, episode: Episode, seen: _PictureFindings, sees: bool
) -> Iterator[Finding]:
    """sees: whether this camera's pictures usually change while the robot moves."""
    if seen.blank:
        yield Finding(
            Level.ERROR if seen.blank == seen.looked else Level.WARNING, "blank", episode.index,
            f"{camera}: {seen.blank} of {seen.looked} pictures that were looked at are black or of one colour",
        )  # fmt: skip
    frames = seen.still[1] - seen.still[0]
    seconds = frames / dataset.fps
    if seconds >= FROZEN or frames == episode.length - 1 > 3:
        more = (
            "" if sees else "; it hardly ever changes: was it frozen all the time, or does it see nothing that moves?"
        )
        yield Finding(
            Level.ERROR if sees else Level.WARNING, "frozen", episode.index,
            f"{camera}: the same picture for {seconds:.1f} s from frame {seen.still[0] - episode.start} on, while the robot moves{more}",
        )  # fmt: skip


def _look(
    dataset: Dataset,
    camera: str,
    number: int,
    each: list[NDArray[np.float64]],
    spreads: list[NDArray[np.float64]],
) -> _PictureFindings | None:
    """Look at some pictures of the episode at this position; None if there are none."""
    episode = dataset.episodes[number]
    frames = np.unique(np.linspace(episode.start, episode.stop - 1, min(SAMPLED, episode.length)).astype(int))
    frames = frames[present_rows(dataset, camera)[frames]]
    if not len(frames):
        return None
    blank, since, longest, before = 0, int(frames[0]), (0, 0), None
    steps: list[tuple[int, bool]] = []  # of the robot: the frame behind it, and whether the picture changed
    last = int(frames[0])
    for i in frames.tolist():
        picture = dataset.picture(camera, i)[::4, ::4].astype(np.int16)
        blank += bool(picture.max() <= DARK or np.ptp(picture.reshape(-1, picture.shape[-1]), axis=0).max() <= UNIFORM)
        changed = before is None or bool(np.quantile(np.abs(picture - before), 0.999) > SAME)
        if i > last and _moved(each, spreads, last, i, STEP):
            steps.append((i, changed))
        if changed:
            since, before = i, picture
        if i - since > longest[1] - longest[0] and _moved(each, spreads, since, i, MOVES):
            longest = (since, i)
        last = i
    outside = [changed for i, changed in steps if not longest[0] < i <= longest[1]]
    return _PictureFindings(len(frames), blank, longest, len(outside), sum(outside))


def _moved(
    each: list[NDArray[np.float64]], spreads: list[NDArray[np.float64]], start: int, stop: int, share: float
) -> bool:
    """Whether any channel moved between two frames, by more than this share of its range."""
    return any(
        bool((np.abs(values[stop] - values[start]) > share * spread)[spread > NOISE].any())
        for values, spread in zip(each, spreads, strict=True)
    )
