"""Memory that two processes share for pictures on their way to the encoder: a fixed number of frames, and no more."""

from __future__ import annotations

import contextlib
import mmap
import os
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from pi0_ros.data.features import video_keys
from pi0_ros.data.stored import Features


def frame_bytes(features: Features) -> int:
    """Bytes of the pictures of one frame."""
    return sum(int(np.prod(features[key]["shape"])) for key in video_keys(features))


class FrameSlots:
    """`count` frames of pictures in shared memory behind the file descriptor `fd`."""

    def __init__(self, features: Features, count: int, fd: int | None = None) -> None:
        """fd: of the memory that another process made; None makes some. Raises OSError if there is none left."""
        self._shapes = {key: tuple(features[key]["shape"]) for key in video_keys(features)}
        self.count, self._size = count, frame_bytes(features)
        total = max(1, count * self._size)
        self.fd = fd if fd is not None else os.memfd_create("pi0_frames")
        if fd is None:
            os.ftruncate(self.fd, total)
        self._memory = mmap.mmap(self.fd, total)
        self._free = list(range(count))

    def put(self, pictures: Mapping[str, NDArray[np.uint8]]) -> int | None:
        """Put the pictures of a frame into a free slot; its number, None if none is free."""
        if not self._free:
            return None
        slot = self._free.pop()
        for key, view in self.views(slot).items():
            view[:] = pictures[key]
        return slot

    def free(self, slot: int) -> None:
        """The other process has read a slot."""
        self._free.append(slot)

    @property
    def used(self) -> int:
        """Slots that are not free."""
        return self.count - len(self._free)

    def views(self, slot: int) -> dict[str, NDArray[np.uint8]]:
        """The pictures of a slot by feature, [H, W, 3], where they lie."""
        found, at = {}, slot * self._size
        for key, shape in self._shapes.items():
            size = int(np.prod(shape))
            found[key] = np.frombuffer(self._memory, np.uint8, size, at).reshape(shape)
            at += size
        return found

    def close(self) -> None:
        """Let go of both descriptors, ours and that of the mapping; the memory goes with the last user."""
        os.close(self.fd)
        with contextlib.suppress(BufferError):  # somebody still looks at a picture: it goes with that view
            self._memory.close()
