"""Boxes that somebody, or a detector, drew on frames of a recorded dataset: its high-level examples say them before the subtask.

A JSONL file, one frame a line: {"episode": 3, "frame": 41, "boxes": [[x0, y0, x1, y1, "cup"], ...]}, fractions of the recorded picture
of the policy YAML's first camera. A line with an empty list says that nothing is to be said. π0.5, arXiv 2504.16054, section IV.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from pi0_ros.data.dataset import Dataset
from pi0_ros.data.layout import Episode
from pi0_ros.policy.boxes import Box, boxes_first, boxes_text, in_padded_picture
from pi0_ros.robot.files import parse_json, read_text
from pi0_ros.robot.wording import counted
from pi0_ros.train.errors import TrainError
from pi0_ros.train.text_source import MAX_BYTES, boxes_of

KEYS = ("episode", "frame", "boxes")
BoxLabels = Mapping[int, tuple[Box, ...]]  # row of a dataset to the boxes on its picture


def read_box_labels(file: str | Path, dataset: Dataset) -> dict[int, tuple[Box, ...]]:
    """Row of the dataset to its boxes, as fractions of the recorded picture.

    Raises TrainError naming file, line and key for a frame that the dataset lacks, one named twice, a box that is none, and
    where the dataset says no subtasks.
    """
    path = Path(file)
    if "high_level_task" not in dataset.features:
        raise TrainError(
            f"{path}: boxes come before the next subtask, and {dataset.folder} has none (no column 'high_level_task'); "
            "record with a high level, or leave `boxes` out of the mixture"
        )
    episodes = {episode.index: episode for episode in dataset.episodes}
    rows: dict[int, tuple[Box, ...]] = {}
    for number, line in enumerate(read_text(path, MAX_BYTES, TrainError).splitlines(), 1):
        if line.strip():
            where = f"{path}, line {number}"
            row, boxes = _label(parse_json(Path(where), line, TrainError), where, dataset.folder, episodes)
            if row in rows:
                raise TrainError(f"{where}: this frame has boxes already; give each frame one line")
            rows[row] = boxes
    if not rows:
        raise TrainError(f"{path}: holds no frame")
    return rows


def with_boxes(boxes: Sequence[Box], target: str, shape: tuple[int, int], size: int) -> str:
    """The answer of a high-level example: boxes on a picture [H, W], which the network gets as a square of `size`, then what to do next."""
    placed = [in_padded_picture(box, shape, (size, size)) for box in boxes]
    return boxes_first(boxes_text(placed), target) if target else ""


def _label(given: object, where: str, folder: Path, episodes: Mapping[int, Episode]) -> tuple[int, tuple[Box, ...]]:
    if not isinstance(given, dict) or set(given) != set(KEYS):
        raise TrainError(f"{where}: has to be an object with {', '.join(KEYS)}")
    for key in ("episode", "frame"):
        if isinstance(given[key], bool) or not isinstance(given[key], int):
            raise TrainError(f"{where}: {key} {given[key]!r} has to be a whole number")
    episode = episodes.get(given["episode"])
    if episode is None:
        raise TrainError(
            f"{where}: {folder} has no episode {given['episode']}; it has {counted(len(episodes), 'episode')}, from "
            f"{min(episodes)} to {max(episodes)}"
        )
    if not 0 <= given["frame"] < episode.length:
        raise TrainError(
            f"{where}: episode {episode.index} has no frame {given['frame']}; its last one is {episode.length - 1}"
        )
    return episode.start + given["frame"], boxes_of(given["boxes"], where)
