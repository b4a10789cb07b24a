"""Encodings of `sensor_msgs/Image` as arrays: the layout of every encoding that is read, and its way to RGB.

OpenCV does the conversion alone. cv_bridge is not used: its builds differ by platform, so that the same message would
give different pictures on different robots.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from pi0_ros.data.encoded_pictures import PictureError
from pi0_ros.robot.quoting import quote


@dataclass(frozen=True)
class Layout:
    """Bytes of one value, values of one pixel, OpenCV's conversion to RGB (None: it is RGB already).

    `even_rows`, `even_columns`: pixels share colours in pairs, so that height or width must be even.
    `planes`: rows of the message for each row of the picture, as a fraction (3, 2) if colour planes follow.
    """

    value_bytes: int
    values: int
    to_rgb: int | None
    even_rows: bool = False
    even_columns: bool = False
    planes: tuple[int, int] = (1, 1)

    @property
    def pixel_bytes(self) -> int:
        """Bytes of a pixel in a row."""
        return self.value_bytes * self.values


LAYOUTS: Mapping[str, Layout] = {
    "rgb8": Layout(1, 3, None),
    "bgr8": Layout(1, 3, cv2.COLOR_BGR2RGB),
    "rgba8": Layout(1, 4, cv2.COLOR_RGBA2RGB),
    "bgra8": Layout(1, 4, cv2.COLOR_BGRA2RGB),
    "mono8": Layout(1, 1, cv2.COLOR_GRAY2RGB),
    "rgb16": Layout(2, 3, None),
    "bgr16": Layout(2, 3, cv2.COLOR_BGR2RGB),
    "rgba16": Layout(2, 4, cv2.COLOR_RGBA2RGB),
    "bgra16": Layout(2, 4, cv2.COLOR_BGRA2RGB),
    "mono16": Layout(2, 1, cv2.COLOR_GRAY2RGB),
    # OpenCV names a mosaic by its second row, ROS by its first: rggb is OpenCV's BG.
    "bayer_rggb8": Layout(1, 1, cv2.COLOR_BayerBG2RGB),
    "bayer_bggr8": Layout(1, 1, cv2.COLOR_BayerRG2RGB),
    "bayer_gbrg8": Layout(1, 1, cv2.COLOR_BayerGR2RGB),
    "bayer_grbg8": Layout(1, 1, cv2.COLOR_BayerGB2RGB),
    "bayer_rggb16": Layout(2, 1, cv2.COLOR_BayerBG2RGB),
    "bayer_bggr16": Layout(2, 1, cv2.COLOR_BayerRG2RGB),
    "bayer_gbrg16": Layout(2, 1, cv2.COLOR_BayerGR2RGB),
    "bayer_grbg16": Layout(2, 1, cv2.COLOR_BayerGB2RGB),
    "yuv422": Layout(1, 2, cv2.COLOR_YUV2RGB_UYVY, even_columns=True),
    "uyvy": Layout(1, 2, cv2.COLOR_YUV2RGB_UYVY, even_columns=True),
    "yuv422_yuy2": Layout(1, 2, cv2.COLOR_YUV2RGB_YUY2, even_columns=True),
    "yuyv": Layout(1, 2, cv2.COLOR_YUV2RGB_YUY2, even_columns=True),
    "nv12": Layout(1, 1, cv2.COLOR_YUV2RGB_NV12, even_rows=True, even_columns=True, planes=(3, 2)),
    "nv21": Layout(1, 1, cv2.COLOR_YUV2RGB_NV21, even_rows=True, even_columns=True, planes=(3, 2)),
    "8UC1": Layout(1, 1, cv2.COLOR_GRAY2RGB),
}
"""Encoding to layout."""

UNNAMED = {
    "8UC3": ("rgb8", "bgr8"),
    "8UC4": ("rgba8", "bgra8"),
    "16UC3": ("rgb16", "bgr16"),
    "16UC4": ("rgba16", "bgra16"),
}
"""OpenCV types that do not say in which order the colours are, and the encodings that would."""


def layout_of(encoding: str) -> Layout:
    """The layout of an encoding. Raises PictureError for one that is not read, with the way out."""
    if encoding in UNNAMED:
        raise PictureError(
            f"encoding {encoding} does not say in which order the colours are; publish {' or '.join(UNNAMED[encoding])}, "
            f"or say encoding: {UNNAMED[encoding][0]} for this camera in the robot YAML"
        )
    if encoding not in LAYOUTS:
        known = ", ".join(LAYOUTS)
        raise PictureError(f"encoding {quote(encoding)} is not a colour picture this project reads ({known})")
    return LAYOUTS[encoding]


def rows_of_bytes(encoding: str, width: int, height: int, step: int, data: object) -> NDArray[np.uint8]:
    """The picture's rows without padding, uint8 [rows, bytes in a row]; raises PictureError if they do not fit.

    `step`: bytes from one row to the next; 0 means rows without padding. The last row needs no padding.
    """
    layout = layout_of(encoding)
    _check_even(encoding, layout, width, height)
    row, (over, under) = width * layout.pixel_bytes, layout.planes
    rows, step = height * over // under, step or row
    if step < row:
        raise PictureError(f"step is {step}, but a row of {width} {encoding} pixels has {row} bytes")
    have, need = len(data), step * (rows - 1) + row  # type: ignore[arg-type]
    if have < need:
        raise PictureError(
            f"{width}x{height} {encoding} with step {step} needs {need} bytes, but the picture has {have}"
        )
    flat: NDArray[np.uint8] = np.frombuffer(data, np.uint8, min(have, step * rows))  # type: ignore[call-overload]
    if step == row:
        return flat.reshape(rows, row)
    padded: NDArray[np.uint8] = np.lib.stride_tricks.as_strided(flat, (rows, row), (step, 1), writeable=False)
    return padded


def _check_even(encoding: str, layout: Layout, width: int, height: int) -> None:
    if layout.even_columns and width % 2:
        raise PictureError(f"{encoding} needs an even width, this picture is {width} wide")
    if layout.even_rows and height % 2:
        raise PictureError(f"{encoding} needs an even height, this picture is {height} high")


def to_eight_bits(values: NDArray[np.uint16], bits: int) -> NDArray[np.uint8]:
    """16-bit values of which `bits` bits are used as 8 bits: the largest of them becomes 255."""
    full = 2**bits - 1
    if bits == 16:
        return (values // 257).astype(np.uint8)
    scaled: NDArray[np.uint32] = np.minimum(values.astype(np.uint32) * 255 // full, 255)
    return scaled.astype(np.uint8)


def to_rgb(encoding: str, pixels: NDArray[np.uint8], size: str = "") -> NDArray[np.uint8]:
    """8-bit values of an encoding, [rows, width, values], or [rows, width] if a pixel has one, as RGB [H, W, 3]; raises PictureError."""
    conversion = layout_of(encoding).to_rgb
    try:
        return pixels if conversion is None else cv2.cvtColor(pixels, conversion)  # type: ignore[return-value]
    except cv2.error as error:
        raise PictureError(f"{size} {encoding} cannot be converted: {error.err}".strip()) from None
