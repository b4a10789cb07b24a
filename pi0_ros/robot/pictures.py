"""How the pictures of one camera are read and turned: those keys of a camera in the robot YAML."""

from __future__ import annotations

from dataclasses import dataclass

from pi0_ros.robot.yaml_keys import PICTURE, key_names
from pi0_ros.robot.yaml_nodes import Section, YamlNode

ENCODINGS = (
    "rgb8", "bgr8", "rgba8", "bgra8", "mono8", "rgb16", "bgr16", "rgba16", "bgra16", "mono16",
    "bayer_rggb8", "bayer_bggr8", "bayer_gbrg8", "bayer_grbg8",
    "bayer_rggb16", "bayer_bggr16", "bayer_gbrg16", "bayer_grbg16",
    "yuv422", "uyvy", "yuv422_yuy2", "yuyv", "nv12", "nv21",
)  # fmt: skip
"""Encodings of sensor_msgs/Image that name colours."""

ROTATIONS = (0, 90, 180, 270)
FLIPS = ("horizontal", "vertical", "both")
PICTURE_KEYS = key_names(PICTURE)


@dataclass(frozen=True)
class PictureOptions:
    """How to read and turn a picture. The order is: decode, crop, rotate, flip.

    `encoding`: what the pixels are, whatever the message says; "": as the message says.
    `bits`: how many bits of a 16-bit value are used (10 or 12 of an industrial camera).
    `rotate`: degrees clockwise, 0, 90, 180 or 270. `flip`: "horizontal" (left and right change places), "vertical",
    "both" or "". `crop`: x, y, width, height in pixels of the picture as it is sent; None keeps all of it.
    """

    encoding: str = ""
    bits: int = 16
    rotate: int = 0
    flip: str = ""
    crop: tuple[int, int, int, int] | None = None

    @property
    def moves_pixels(self) -> bool:
        """Whether the picture that is used differs in shape or orientation from the one that is sent."""
        return bool(self.rotate or self.flip or self.crop)


def read_picture_options(keys: Section) -> PictureOptions:
    """The picture keys of one camera. Raises RobotError with file, line and key."""
    encoding, bits, rotate = keys.get("encoding"), keys.get("bits"), keys.get("rotate")
    flip, crop = keys.get("flip"), keys.get("crop")
    return PictureOptions(
        encoding=encoding.choice(*ENCODINGS) if encoding else "",
        bits=_whole(bits, range(9, 17)) if bits else 16,
        rotate=_whole(rotate, ROTATIONS) if rotate else 0,
        flip=flip.choice(*FLIPS) if flip else "",
        crop=_crop(crop) if crop else None,
    )


def _whole(at: YamlNode, allowed: range | tuple[int, ...]) -> int:
    value = at.number()
    if value not in allowed:
        raise at.error(f"must be one of {', '.join(map(str, allowed))}, not {value:g}")
    return int(value)


def _crop(at: YamlNode) -> tuple[int, int, int, int]:
    entries = at.entries()
    if len(entries) != 4:
        raise at.error(f"needs [x, y, width, height] in pixels, and has {len(entries)} numbers")
    x, y, width, height = (entry.number() for entry in entries)
    for entry, value, least in zip(entries, (x, y, width, height), (0, 0, 1, 1), strict=True):
        if value != int(value) or value < least:
            raise entry.error(f"must be a whole number from {least} on, not {value:g}")
    return int(x), int(y), int(width), int(height)
