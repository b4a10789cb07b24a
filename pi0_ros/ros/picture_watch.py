"""Whether a camera still works: a frozen stream repeats its bytes, a covered lens shows one colour. Pure."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

MOVED = 0.02
"""Motion [rad, m, share of a gripper, or rad/s and m/s of a base] in which a real camera's picture cannot stay the same."""
DARK = 25
"""Pixels of a dark picture are at most this bright [of 255]: an exposed one has at least some highlights."""
UNIFORM = 8
"""Range [of 255] within which all pixels of a uniform picture lie, sensor noise included."""
COLOURFUL = 4.0
"""Standard deviation [of 255] of both colour differences from which on they are compared."""
TOGETHER = 0.9
"""Correlation of both colour differences from which on they are the brightness of neighbouring pixels."""
FOUR_TWO_TWO = {"yuv422": "yuyv", "uyvy": "yuyv", "yuv422_yuy2": "uyvy", "yuyv": "uyvy"}
"""Encodings with two bytes a pixel, and the one with the bytes exchanged."""
SAMPLE = 64
"""Rows and columns of a picture that are looked at, at the least, if it has as many."""


class PictureWatch:
    """The bytes of one camera's pictures over time, and what the robot did meanwhile."""

    def __init__(self) -> None:
        self._bytes: memoryview | bytes = b""
        self._since = 0.0
        self._state: Mapping[str, float] = {}
        self._latest = 0.0

    def update(self, steady: float, data: bytes | memoryview, state: Mapping[str, float]) -> None:
        """A picture's bytes came at `steady` [s]; `state`: newest value by channel."""
        self._latest = steady
        if not same_bytes(self._bytes, data):
            self._bytes, self._since, self._state = data, steady, dict(state)
        elif not self._state:
            self._state = dict(state)

    @property
    def unchanged(self) -> float:
        """For how long [s] the same picture has been coming."""
        return self._latest - self._since

    def moved(self, state: Mapping[str, float]) -> bool:
        """Whether the robot has moved since the picture last changed."""
        return any(abs(value - self._state.get(name, value)) > MOVED for name, value in state.items())

    def clear(self) -> None:
        """Forget everything."""
        self._bytes, self._state, self._since = b"", {}, self._latest


def same_bytes(one: bytes | memoryview, other: bytes | memoryview) -> bool:
    """Whether two pictures have the same bytes; quick if they differ."""
    if not len(one):
        return False
    a, b = np.frombuffer(one, np.uint8), np.frombuffer(other, np.uint8)
    step = max(1, len(a) // 64)
    return bool(np.array_equal(a[::step], b[::step]) and np.array_equal(a, b))


def sampled(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Every n-th row and column of a picture [H, W, 3], so many that SAMPLE of each are left."""
    stride = max(1, min(picture.shape[:2]) // SAMPLE)
    return picture[::stride, ::stride]


def colour_differences(picture: NDArray[np.uint8]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Blue and red less the brightness [H, W] of an RGB picture [H, W, 3], each within 127.5 of 0 (ITU-R BT.601)."""
    bright = picture @ (0.299, 0.587, 0.114)
    return 0.564 * (picture[..., 2] - bright), 0.713 * (picture[..., 0] - bright)


def alike(blue: NDArray[np.float64], red: NDArray[np.float64]) -> bool:
    """Whether two colour differences have much in them, and that the same."""
    much = min(blue.std(), red.std()) >= COLOURFUL
    return bool(much and np.corrcoef([blue.ravel(), red.ravel()])[0, 1] >= TOGETHER)


def blank_sentence(picture: NDArray[np.uint8]) -> str:
    """What is wrong with an RGB picture [H, W, 3] that shows nothing, "" if it shows something."""
    sample = sampled(picture)
    high = np.quantile(sample.reshape(-1, 3).max(axis=1), 0.995)
    if high <= DARK:
        return (
            f"the picture is black (brightest {high:.0f} of 255): lens cap, exposure, or a camera of few bits "
            "(then say bits: 12)"
        )
    if np.ptp(sample.reshape(-1, 3).astype(int), axis=0).max() <= UNIFORM:
        return "the whole picture has one colour: is the lens covered?"
    return ""


def exchanged_sentence(picture: NDArray[np.uint8], encoding: str) -> str:
    """What is wrong with an RGB picture [H, W, 3] of a 4:2:2 `encoding` if brightness and colour changed places, else "".

    Some drivers say yuv422 (UYVY) whatever the camera sends (usb_cam, issue 263). Then the two colour differences are the
    brightness of neighbouring pixels, and equal nearly everywhere; in a scene they are not.
    """
    if encoding not in FOUR_TWO_TWO:
        return ""
    if not alike(*colour_differences(sampled(picture))):
        return ""
    other = FOUR_TWO_TWO[encoding]
    return f"brightness and colour seem to have changed places: if the camera sends {other} as {encoding}, say encoding: {other}"
