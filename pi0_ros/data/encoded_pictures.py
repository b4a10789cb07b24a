"""Pictures as JPEG, PNG and the like: their size is checked before they are decoded; a damaged one is refused."""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from typing import cast

import cv2
import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image as PillowImage
from PIL import UnidentifiedImageError

from pi0_ros.robot.errors import UserError

MAX_PIXELS = 2**25
"""Largest picture [pixels] that is decoded: 33 megapixels, 100 MB as RGB."""

FORMATS = ("JPEG", "PNG", "TIFF", "WEBP", "BMP")
JPEG_START, JPEG_END = b"\xff\xd8", b"\xff\xd9"
# Many USB cameras put a few bytes between the picture and its end marker. libjpeg warns about it, but all of the picture
# is there; many bytes mean that the decoder lost its place.
EXTRA_BYTES = re.compile(r"(\d+) extraneous bytes before marker 0xd9")
MAX_EXTRA_BYTES = 16

Pixels = NDArray[np.uint8] | NDArray[np.uint16]


class PictureError(UserError):
    """A picture that cannot be read; the text says why."""


@dataclass(frozen=True)
class PictureHeader:
    """What the first bytes of an encoded picture say: a format of `FORMATS`, width and height in pixels."""

    format: str
    width: int
    height: int


def read_header(data: bytes) -> PictureHeader:
    """Format and size of an encoded picture, without decoding it.

    Raises PictureError if it is none of `FORMATS`, or larger than `MAX_PIXELS`.
    """
    if not data:
        raise PictureError("empty compressed picture")
    try:
        with PillowImage.open(io.BytesIO(data), formats=FORMATS) as opened:
            header = PictureHeader(str(opened.format), *opened.size)
    except PillowImage.DecompressionBombError:
        raise PictureError(f"the picture has more than the {MAX_PIXELS} pixels that are decoded") from None
    except UnidentifiedImageError:
        raise PictureError(f"{len(data)} bytes are no picture ({', '.join(FORMATS)} are read)") from None
    except Exception as error:  # noqa: BLE001 - Pillow's readers raise whatever their format's damage leads to
        raise PictureError(f"damaged picture: {error}") from None
    check_size(header.width, header.height)
    return header


def check_size(width: int, height: int) -> None:
    """Raises PictureError if a picture of this size [pixels] is empty or too large to be decoded."""
    if width < 1 or height < 1:
        raise PictureError(f"empty picture of {width}x{height} pixels")
    if width * height > MAX_PIXELS:
        raise PictureError(f"picture of {width}x{height} pixels; at most {MAX_PIXELS} pixels are decoded")


def decode_pixels(data: bytes) -> Pixels:
    """Pixels of an encoded picture: [H, W] grey, or [H, W, 3] RGB; uint8, or uint16 of a picture with 16 bits.

    Transparency is dropped. Raises PictureError if the picture is damaged, cut off or too large.
    """
    header = read_header(data)
    return _decode_jpeg(data) if header.format == "JPEG" else _decode_other(data, header)


def decode_rgb(data: bytes) -> NDArray[np.uint8]:
    """An encoded picture as RGB uint8 [H, W, 3]; 16 bits are scaled to 8. Raises PictureError as `decode_pixels`."""
    pixels = decode_pixels(data)
    eight = (pixels // 257).astype(np.uint8) if pixels.dtype == np.uint16 else pixels.astype(np.uint8, copy=False)
    return cv2.cvtColor(eight, cv2.COLOR_GRAY2RGB).astype(np.uint8, copy=False) if eight.ndim == 2 else eight


def _decode_jpeg(data: bytes) -> NDArray[np.uint8]:
    try:
        _, _, space, _ = simplejpeg.decode_jpeg_header(data)
        colours = "GRAY" if space.lower() == "gray" else "RGB"
        try:
            pixels = simplejpeg.decode_jpeg(data, colours, strict=True)
        except ValueError as error:
            extra = EXTRA_BYTES.search(str(error))
            if extra is None or int(extra[1]) > MAX_EXTRA_BYTES:
                raise
            pixels = simplejpeg.decode_jpeg(data, colours, strict=False)
    except ValueError as error:
        raise PictureError(f"damaged JPEG: {error}") from None
    whole: NDArray[np.uint8] = pixels[:, :, 0] if colours == "GRAY" else pixels
    return whole


def _decode_other(data: bytes, header: PictureHeader) -> Pixels:
    if header.format == "PNG":
        _check_png(data)
    try:
        decoded = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        raise PictureError(f"damaged {header.format}: {error.err}") from None
    if decoded is None or decoded.shape[:2] != (header.height, header.width):
        raise PictureError(f"damaged {header.format}: it cannot be decoded")
    if decoded.dtype not in (np.uint8, np.uint16):
        raise PictureError(f"{header.format} with values of type {decoded.dtype} is not a colour picture")
    pixels = cast(Pixels, decoded)
    if pixels.ndim == 2:
        return pixels
    if pixels.shape[2] == 1:
        return pixels[:, :, 0]
    return cast(Pixels, np.ascontiguousarray(pixels[:, :, 2::-1]))


def _check_png(data: bytes) -> None:
    """Checksums of all parts, and the end: a PNG that was cut off may decode to half a picture."""
    try:
        with PillowImage.open(io.BytesIO(data), formats=("PNG",)) as opened:
            opened.verify()
    except Exception as error:  # noqa: BLE001 - as above
        raise PictureError(f"damaged PNG: {error}") from None
