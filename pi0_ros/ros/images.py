"""Pictures between `sensor_msgs` and arrays: always RGB, uint8, HxWx3 on our side.

cv_bridge does the conversion where it can. Its build differs by platform (the pure-Python wheel knows few encodings,
reads `16UC1` as 8 bit, ignores row padding and calls functions that NumPy 2 removed), so whatever it refuses is
converted here with OpenCV directly. Anything that cannot be read raises PictureError.
"""

from __future__ import annotations

from array import array
from functools import lru_cache

import cv2
import numpy as np
from cv_bridge import CvBridge
from numpy.typing import NDArray
from sensor_msgs.msg import CompressedImage, Image


class PictureError(ValueError):
    """A picture message that cannot be turned into RGB; the text says why."""


# encoding: bytes of one channel, channels, how OpenCV names the way to RGB (None: it is RGB already)
_LAYOUT: dict[str, tuple[int, int, int | None]] = {
    "rgb8": (1, 3, None),
    "bgr8": (1, 3, cv2.COLOR_BGR2RGB),
    "rgba8": (1, 4, cv2.COLOR_RGBA2RGB),
    "bgra8": (1, 4, cv2.COLOR_BGRA2RGB),
    "mono8": (1, 1, cv2.COLOR_GRAY2RGB),
    "rgb16": (2, 3, None),
    "bgr16": (2, 3, cv2.COLOR_BGR2RGB),
    "rgba16": (2, 4, cv2.COLOR_RGBA2RGB),
    "bgra16": (2, 4, cv2.COLOR_BGRA2RGB),
    "mono16": (2, 1, cv2.COLOR_GRAY2RGB),
    # OpenCV names a mosaic by its second row, ROS by its first: rggb is OpenCV's BG.
    "bayer_rggb8": (1, 1, cv2.COLOR_BayerBG2RGB),
    "bayer_bggr8": (1, 1, cv2.COLOR_BayerRG2RGB),
    "bayer_gbrg8": (1, 1, cv2.COLOR_BayerGR2RGB),
    "bayer_grbg8": (1, 1, cv2.COLOR_BayerGB2RGB),
    "bayer_rggb16": (2, 1, cv2.COLOR_BayerBG2RGB),
    "bayer_bggr16": (2, 1, cv2.COLOR_BayerRG2RGB),
    "bayer_gbrg16": (2, 1, cv2.COLOR_BayerGR2RGB),
    "bayer_grbg16": (2, 1, cv2.COLOR_BayerGB2RGB),
    "yuv422": (1, 2, cv2.COLOR_YUV2RGB_UYVY),
    "uyvy": (1, 2, cv2.COLOR_YUV2RGB_UYVY),
    "yuv422_yuy2": (1, 2, cv2.COLOR_YUV2RGB_YUY2),
    "yuyv": (1, 2, cv2.COLOR_YUV2RGB_YUY2),
    "nv21": (1, 1, cv2.COLOR_YUV2RGB_NV21),
    "8UC1": (1, 1, cv2.COLOR_GRAY2RGB),
    "8UC3": (1, 3, cv2.COLOR_BGR2RGB),
    "8UC4": (1, 4, cv2.COLOR_BGRA2RGB),
}

JPEG_START = b"\xff\xd8"

ENCODINGS = tuple(_LAYOUT)
"""The `sensor_msgs/Image` encodings that can be read."""


@lru_cache(maxsize=1)
def _bridge() -> CvBridge:
    return CvBridge()


def _layout(message: Image) -> tuple[int, int, int | None]:
    if message.encoding not in _LAYOUT:
        known = ", ".join(ENCODINGS)
        raise PictureError(f"encoding {message.encoding!r} is not a colour picture this project reads ({known})")
    if message.height == 0 or message.width == 0:
        raise PictureError(f"empty picture of {message.width}x{message.height} pixels")
    return _LAYOUT[message.encoding]


def _pixels(message: Image) -> NDArray[np.generic]:
    """The pixels without row padding, in this machine's byte order: [rows, width] or [rows, width, channels]."""
    width_bytes, channels, _ = _layout(message)
    # nv21 appends half as many rows of colour to the rows of brightness.
    rows = message.height * 3 // 2 if message.encoding == "nv21" else message.height
    row = message.width * channels * width_bytes
    step = message.step or row
    if step < row or len(message.data) < step * rows:
        need = f"{message.width}x{message.height} {message.encoding} needs {row * rows}"
        raise PictureError(f"picture has {len(message.data)} bytes in rows of {step}, {need}")
    flat = np.frombuffer(message.data, np.uint8, step * rows).reshape(rows, step)[:, :row]
    typed = np.ascontiguousarray(flat).view(np.dtype(f"{'>' if message.is_bigendian else '<'}u{width_bytes}"))
    shape = (rows, message.width, channels) if channels > 1 else (rows, message.width)
    return typed.astype(typed.dtype.newbyteorder("="), copy=False).reshape(shape)


def _convert(message: Image) -> NDArray[np.uint8]:
    """The picture as RGB with OpenCV alone. Sixteen-bit values are scaled to eight, as cv_bridge does."""
    width_bytes, _, way = _layout(message)
    pixels = _pixels(message)
    if width_bytes == 2:
        pixels = (pixels // 257).astype(np.uint8)
    return pixels if way is None else cv2.cvtColor(pixels, way)


def decode_image(message: Image) -> NDArray[np.uint8]:
    """RGB uint8 [H, W, 3] of an Image in any encoding of `ENCODINGS`; raises PictureError."""
    width_bytes, channels, _ = _layout(message)
    tight = message.step in (0, message.width * channels * width_bytes) and not message.is_bigendian
    if tight and len(message.data) == message.height * message.width * channels * width_bytes:
        try:
            picture = _bridge().imgmsg_to_cv2(message, "rgb8")
            if picture.dtype == np.uint8 and picture.shape == (message.height, message.width, 3):
                return picture
        except Exception:  # noqa: BLE001, S110 - builds of cv_bridge raise whatever they like; ours reads it below
            pass
    try:
        return _convert(message)
    except cv2.error as error:
        raise PictureError(
            f"{message.width}x{message.height} {message.encoding} cannot be converted: {error}"
        ) from None


def decode_compressed(message: CompressedImage) -> NDArray[np.uint8]:
    """RGB uint8 [H, W, 3] of a CompressedImage (JPEG, PNG, anything OpenCV reads); raises PictureError."""
    if len(message.data) == 0:
        raise PictureError("empty compressed picture")
    try:
        bgr = cv2.imdecode(np.frombuffer(message.data, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error as error:
        raise PictureError(f"compressed picture cannot be read: {error}") from None
    if bgr is None:
        raise PictureError(f"{len(message.data)} bytes of format {message.format!r} are not a picture")
    # image_transport says "compressed rgb8" where red was stored first although JPEG readers expect blue.
    return bgr if "compressed rgb" in message.format else cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)


def decode_picture(message: Image | CompressedImage) -> NDArray[np.uint8]:
    """RGB uint8 [H, W, 3] of a raw or compressed picture message; raises PictureError."""
    if isinstance(message, CompressedImage):
        return decode_compressed(message)
    return decode_image(message)


def _bytes(data: bytes) -> array:
    # The message setter takes an array as it is and checks anything else byte by byte.
    return array("B", data)


def image_message(picture: NDArray[np.uint8], stamp: object, frame: str = "") -> Image:
    """An rgb8 Image of an RGB uint8 picture [H, W, 3]; `stamp` is a builtin_interfaces/Time."""
    height, width, _ = picture.shape
    message = Image(height=height, width=width, encoding="rgb8", step=3 * width)
    message.header.stamp = stamp
    message.header.frame_id = frame
    message.data = _bytes(np.ascontiguousarray(picture).tobytes())
    return message


def _jpeg(picture: NDArray[np.uint8], quality: int) -> bytes:
    done, data = cv2.imencode(".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not done:
        raise PictureError(f"a picture of shape {picture.shape} cannot be compressed")
    return data.tobytes()


def thumbnail(message: Image | CompressedImage, longest: int = 320, most: int = 40_000, quality: int = 80) -> bytes:
    """A picture message as a small JPEG: neither side longer than `longest` pixels. Raises PictureError.

    One that came as a JPEG of at most `most` bytes is left as it is.
    """
    if isinstance(message, CompressedImage) and len(message.data) <= most and bytes(message.data[:2]) == JPEG_START:
        return bytes(message.data)
    picture = decode_picture(message)
    share = longest / max(picture.shape[:2])
    if share < 1.0:
        size = tuple(max(1, round(side * share)) for side in picture.shape[1::-1])
        picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    return _jpeg(picture, quality)


def compressed_message(
    picture: NDArray[np.uint8], stamp: object, frame: str = "", quality: int = 90
) -> CompressedImage:
    """A JPEG CompressedImage of an RGB uint8 picture [H, W, 3]; `stamp` is a builtin_interfaces/Time."""
    data = _jpeg(picture, quality)
    message = CompressedImage(format="rgb8; jpeg compressed bgr8")
    message.header.stamp = stamp
    message.header.frame_id = frame
    message.data = _bytes(data)
    return message
