"""What decides the shapes of a call, and what is kept for the shapes used last."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from pi0_ros.model.errors import InputError
from pi0_ros.model.inputs import Inputs

Value = TypeVar("Value")


@dataclass(frozen=True)
class Layout:
    """What decides the shapes of a call: rows, which cameras are there, room for how many text tokens."""

    batch: int
    cameras: tuple[int, ...]
    text: int


class Rooms:
    """Which layout a call runs in: its own, or one that has room for it and is used by several."""

    def __init__(self, bucket: int) -> None:
        """`bucket`: text lengths are rounded up to its multiples."""
        self.bucket = bucket
        self.prepared: list[Layout] = []

    def of(self, layout: Layout) -> Layout:
        """The smallest room prepared that the layout fits into, or one with a whole number of buckets of text."""
        for room in self.prepared:
            if room.batch == layout.batch and room.text >= layout.text and set(layout.cameras) <= set(room.cameras):
                return room
        return replace(layout, text=-(-layout.text // self.bucket) * self.bucket)


class Recent(Generic[Value]):
    """The values used last, at most `size`, made on demand."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.values: OrderedDict[Hashable, Value] = OrderedDict()

    def get(self, key: Hashable, make: Callable[[], Value]) -> Value:
        """The value of `key`, made now if there is none; the one unused for longest goes."""
        if key not in self.values:
            while len(self.values) >= self.size:
                self.values.popitem(last=False)
            self.values[key] = make()
        self.values.move_to_end(key)
        return self.values[key]


def group_rows(inputs: Inputs) -> Iterator[tuple[list[int], Layout]]:
    """Rows that share cameras and prompt length, and their layout."""
    if inputs.roles is not None:
        raise InputError("the fast path takes prompts only; text with roles belongs to the plain forward")
    present = [
        mask.bool().tolist() if image is not None else [False] * inputs.batch
        for image, mask in zip(inputs.images, inputs.image_masks, strict=True)
    ]
    lengths = inputs.token_mask.bool().sum(dim=1).tolist()
    groups: dict[tuple[tuple[int, ...], int], list[int]] = {}
    for row in range(inputs.batch):
        cameras = tuple(camera for camera, here in enumerate(present) if here[row])
        groups.setdefault((cameras, lengths[row]), []).append(row)
    for (cameras, text), rows in groups.items():
        yield rows, Layout(len(rows), cameras, text)
