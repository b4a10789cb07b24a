"""Pictures between `sensor_msgs` and arrays: always RGB, uint8, HxWx3 on our side.

One pipeline for policy, recorder, black box and demo: check the size, decode, crop, rotate, flip. What differs from camera
to camera stands in its `PictureOptions`. Anything that cannot be read raises PictureError.
"""

from __future__ import annotations

from array import array

import cv2
import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import CompressedImage, Image

from pi0_ros.data.encoded_pictures import JPEG_END, PictureError, check_size, decode_pixels, read_header
from pi0_ros.robot.pictures import PictureOptions
from pi0_ros.robot.quoting import quote
from pi0_ros.ros.encodings import LAYOUTS, layout_of, rows_of_bytes, to_eight_bits, to_rgb

ENCODINGS = tuple(LAYOUTS)
"""The `sensor_msgs/Image` encodings that can be read."""

AS_SENT = PictureOptions()
DEPTH = ("16UC1", "32FC1")
_TURNS = {90: cv2.ROTATE_90_CLOCKWISE, 180: cv2.ROTATE_180, 270: cv2.ROTATE_90_COUNTERCLOCKWISE}
_FLIPS = {"horizontal": 1, "vertical": 0, "both": -1}


def decode_image(message: Image, options: PictureOptions = AS_SENT) -> NDArray[np.uint8]:
    """RGB uint8 [H, W, 3] of an Image in any encoding of `ENCODINGS`, not yet turned; raises PictureError."""
    encoding = options.encoding or message.encoding
    layout = layout_of(encoding)
    check_size(message.width, message.height)
    if options.bits != 16 and layout.value_bytes == 1:
        raise PictureError(f"bits: {options.bits} is for encodings of 16 bits, and {encoding} has 8")
    rows = rows_of_bytes(encoding, message.width, message.height, message.step, message.data)
    pixels: NDArray[np.uint8] = np.ascontiguousarray(rows)
    if layout.value_bytes == 2:
        wide = pixels.view(">u2" if message.is_bigendian else "<u2")
        pixels = to_eight_bits(wide, options.bits)
    pixels = pixels.reshape(len(rows), message.width, layout.values)
    return to_rgb(encoding, pixels, f"{message.width}x{message.height}")


def decode_compressed(message: CompressedImage, options: PictureOptions = AS_SENT) -> NDArray[np.uint8]:
    """RGB uint8 [H, W, 3] of a CompressedImage (JPEG, PNG, TIFF, WEBP, BMP), not yet turned; raises PictureError."""
    sent_as, _, transport = message.format.partition(";")
    sent_as = sent_as.strip()
    if "compressedDepth" in transport or sent_as in DEPTH:
        raise PictureError(f"format {quote(message.format)} is depth, not a colour picture")
    pixels = decode_pixels(bytes(message.data))
    if pixels.dtype == np.uint16:
        pixels = to_eight_bits(pixels, options.bits)  # type: ignore[arg-type]
    elif options.bits != 16:
        raise PictureError(f"bits: {options.bits} is for pictures of 16 bits, and this one has 8")
    if pixels.ndim == 2:
        return _grey_to_rgb(pixels, options.encoding or sent_as)  # type: ignore[arg-type]
    # image_transport says "compressed rgb8" if red was stored first although readers expect blue.
    swapped = "compressed rgb" in message.format if not options.encoding else options.encoding.startswith("bgr")
    return np.ascontiguousarray(pixels[:, :, ::-1]) if swapped else pixels  # type: ignore[return-value]


def _grey_to_rgb(pixels: NDArray[np.uint8], encoding: str) -> NDArray[np.uint8]:
    """One value a pixel: a Bayer mosaic if the publisher says so (image_transport compresses those as grey)."""
    mosaic = encoding.removesuffix("16").removesuffix("8") + "8"
    return to_rgb(mosaic if mosaic.startswith("bayer_") and mosaic in LAYOUTS else "mono8", pixels)


def decode_picture(message: Image | CompressedImage, options: PictureOptions = AS_SENT) -> NDArray[np.uint8]:
    """RGB uint8 [H, W, 3] of a raw or compressed picture message, cropped and turned; raises PictureError."""
    decode = decode_compressed if isinstance(message, CompressedImage) else decode_image
    return turn(decode(message, options), options)


def turn(picture: NDArray[np.uint8], options: PictureOptions) -> NDArray[np.uint8]:
    """A picture [H, W, 3] as its camera is mounted: cropped, then rotated, then flipped. Raises PictureError."""
    if options.crop is not None:
        picture = _crop(picture, options.crop)
    if options.rotate:
        picture = cv2.rotate(picture, _TURNS[options.rotate])  # type: ignore[assignment]
    if options.flip:
        picture = cv2.flip(picture, _FLIPS[options.flip])  # type: ignore[assignment]
    return picture


def _crop(picture: NDArray[np.uint8], crop: tuple[int, int, int, int]) -> NDArray[np.uint8]:
    x, y, width, height = crop
    if x + width > picture.shape[1] or y + height > picture.shape[0]:
        raise PictureError(
            f"crop {list(crop)} does not fit into a picture of {picture.shape[1]}x{picture.shape[0]} pixels"
        )
    return np.ascontiguousarray(picture[y : y + height, x : x + width])


def _bytes(data: bytes) -> array[int]:
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


def thumbnail(
    message: Image | CompressedImage,
    longest: int = 320,
    most: int = 40_000,
    quality: int = 80,
    options: PictureOptions = AS_SENT,
) -> bytes:
    """A picture message as a small JPEG: neither side longer than `longest` pixels. Raises PictureError.

    One that came as a JPEG of at most `most` bytes is left as it is where its camera's options change nothing.
    """
    if isinstance(message, CompressedImage) and len(message.data) <= most and options == AS_SENT:
        data = bytes(message.data)
        if read_header(data).format == "JPEG" and data.rstrip(b"\0").endswith(JPEG_END):
            return data
    picture = decode_picture(message, options)
    share = longest / max(picture.shape[:2])
    if share < 1.0:
        size = tuple(max(1, round(side * share)) for side in picture.shape[1::-1])
        picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)  # type: ignore[assignment]
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
