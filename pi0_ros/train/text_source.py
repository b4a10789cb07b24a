"""Pictures with questions and answers, captions and boxes, from a JSONL file: which keep what a policy knows from the web.

One object a line: `image` (a file, relative to the JSONL) or `images` (picture slot to file), `question` (or `prompt`; ""
for a caption), and `answer`, or `boxes` ([[x0, y0, x1, y1, "label"], ...] as fractions of the picture), or both: boxes come
first, as for π0.5's high level (arXiv 2504.16054, section IV), said as in `policy.boxes`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pi0_ros.data.encoded_pictures import PictureError, decode_rgb
from pi0_ros.policy.boxes import Box, boxes_first, boxes_text, in_padded_picture
from pi0_ros.robot.files import is_file, parse_json, read_bytes, read_text
from pi0_ros.train.errors import TrainError

MAX_BYTES, MAX_PICTURE = 1 << 30, 64 << 20  # of the JSONL file, of a picture's file
KEYS = ("image", "images", "question", "prompt", "answer", "boxes")


@dataclass(frozen=True)
class TextItem:
    """One example. images: picture slot ("" for the network's first) to file. question, answer: texts.

    boxes: on the picture of the first of those slots in the network's order, as fractions of the file's picture.
    """

    images: tuple[tuple[str, Path], ...]
    question: str
    answer: str
    boxes: tuple[Box, ...] = ()

    def said(self, shape: tuple[int, int], size: tuple[int, int]) -> str:
        """Boxes on a picture [H, W], which the network gets in another size between black bars, and then the answer."""
        return boxes_first(boxes_text([in_padded_picture(box, shape, size) for box in self.boxes]), self.answer)


def read_texts(file: str | Path) -> tuple[TextItem, ...]:
    """All lines of a JSONL file. Raises TrainError naming file, line and key."""
    path = Path(file)
    lines = read_text(path, MAX_BYTES, TrainError).splitlines()
    items = [_item(line, f"{path}, line {n}", path.parent) for n, line in enumerate(lines, 1) if line.strip()]
    if not items:
        raise TrainError(f"{path}: holds no example")
    return tuple(items)


def _item(line: str, where: str, folder: Path) -> TextItem:
    given = parse_json(Path(where), line, TrainError)
    if not isinstance(given, dict):
        raise TrainError(f"{where}: has to be an object with {', '.join(KEYS)}")
    unknown = [key for key in given if key not in KEYS]
    if unknown:
        raise TrainError(f"{where}: unknown key {unknown[0]!r}; there are {', '.join(KEYS)}")
    question = given.get("question", given.get("prompt", ""))
    answer, boxes = given.get("answer", ""), boxes_of(given.get("boxes", []), where)
    if not isinstance(question, str) or not isinstance(answer, str):
        raise TrainError(f"{where}: question and answer have to be text")
    if not answer.strip() and not boxes:
        raise TrainError(f"{where}: has neither answer nor boxes")
    return TextItem(_images(given, where, folder), question.strip(), answer.strip(), boxes)


def _images(given: dict[str, Any], where: str, folder: Path) -> tuple[tuple[str, Path], ...]:
    named: object = given.get("images", {"": given["image"]} if "image" in given else {})
    if not isinstance(named, dict) or not named or not all(isinstance(f, str) for f in named.values()):
        raise TrainError(f"{where}: give `image`, a file, or `images`, a mapping of picture slot to file")
    files = tuple((str(slot), folder / name) for slot, name in named.items())
    lost = [file for _, file in files if not is_file(file)]
    if lost:
        raise TrainError(f"{where}: there is no picture {lost[0]}")
    return files


def boxes_of(listed: object, where: str) -> tuple[Box, ...]:
    """Boxes from a list of [x0, y0, x1, y1, label]. Raises TrainError, beginning with `where`, for one that is none."""
    found = []
    for box in listed if isinstance(listed, list) else [listed]:
        numbers, label = (box[:4], box[4]) if isinstance(box, list) and len(box) == 5 else ([], None)
        good = len(numbers) == 4 and all(
            isinstance(v, int | float) and not isinstance(v, bool) and 0.0 <= v <= 1.0 for v in numbers
        )
        if not good or not isinstance(label, str) or numbers[0] >= numbers[2] or numbers[1] >= numbers[3]:
            raise TrainError(
                f"{where}: box {box!r} has to be [x0, y0, x1, y1, label], fractions of the picture with x0 < x1, y0 < y1"
            )
        if not label.strip() or any(sign in label for sign in ";<>\n"):
            raise TrainError(f"{where}: the label {label!r} has to be words without ; < > and line breaks")
        x0, y0, x1, y1 = (float(v) for v in numbers)
        found.append(Box(x0, y0, x1, y1, label.strip()))
    return tuple(found)


def picture(file: Path) -> NDArray[np.uint8]:
    """A picture's pixels [H, W, 3] RGB. Raises TrainError for one that cannot be read, or is too large."""
    try:
        return decode_rgb(read_bytes(file, MAX_PICTURE, TrainError))
    except PictureError as problem:
        raise TrainError(f"{file}: is no picture that can be read: {problem}") from problem


def slots_of(item: TextItem, cameras: Sequence[str], where: str) -> dict[str, Path]:
    """The network's picture slots of an item. Raises TrainError for one that the network does not have."""
    named = {slot or cameras[0]: file for slot, file in item.images}
    unknown = [slot for slot in named if slot not in cameras]
    if unknown:
        raise TrainError(f"{where}: the network has no picture slot {unknown[0]!r}; it has {', '.join(cameras)}")
    return named
