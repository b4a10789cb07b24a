"""The three picture resizers of the π0 projects: keep the aspect ratio, pad with black, centred.

`pil`   uint8, Pillow's bilinear, antialiased       openpi's policy transforms (openpi_client.image_tools)
`torch` float32, bilinear without antialias         lerobot, openpi's torch fallback
`jax`   jax.image.resize linear, antialiased        openpi's JAX model path
Pictures are [H, W, 3].
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from pi0_ros.policy.errors import PolicyError

RESAMPLERS = ("pil", "torch", "jax")
UInt8 = NDArray[np.uint8]
Float32 = NDArray[np.float32]
Number = TypeVar("Number", bound=np.generic)


def model_image(image: UInt8, size: tuple[int, int], resampler: str) -> Float32:
    """A camera picture (uint8 RGB [H, W, 3]) as the network gets it: float32 [3, size[0], size[1]] in [-1, 1].

    Raises: PolicyError for another shape or type, or an unknown resampler.
    """
    _check(image)
    if resampler == "torch":
        resized = torch_bilinear(image.astype(np.float32) / np.float32(255), size) * np.float32(2) - np.float32(1)
    elif resampler == "pil":
        resized = pil_bilinear(image, size).astype(np.float32) / np.float32(255) * np.float32(2) - np.float32(1)
    elif resampler == "jax":
        resized = jax_linear(image, size).astype(np.float32) / np.float32(255) * np.float32(2) - np.float32(1)
    else:
        raise PolicyError(f"resampler {resampler!r} is unknown; there are {', '.join(RESAMPLERS)}")
    return np.ascontiguousarray(resized.transpose(2, 0, 1))


def _check(image: UInt8) -> None:
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        raise PolicyError(f"a picture must be uint8 [H, W, 3] RGB, not {image.dtype} {list(image.shape)}")


def fitted(shape: tuple[int, int], size: tuple[int, int]) -> tuple[int, int]:
    """Height and width, at least 1, of a [H, W] picture scaled to fit into `size`."""
    ratio = max(shape[1] / size[1], shape[0] / size[0])
    return max(1, int(shape[0] / ratio)), max(1, int(shape[1] / ratio))


def _centred(image: NDArray[Number], size: tuple[int, int], fill: float) -> NDArray[Number]:
    """Pad to `size`; an odd row or column goes after the picture."""
    extra = [(t - s) for t, s in zip(size, image.shape[:2], strict=True)]
    return np.pad(image, [*((e // 2, e - e // 2) for e in extra), (0, 0)], constant_values=fill)


def pil_bilinear(image: UInt8, size: tuple[int, int]) -> UInt8:
    """openpi_client.image_tools.resize_with_pad: uint8 [H, W, 3] to uint8 [*size, 3]."""
    from PIL import Image

    if image.shape[:2] == tuple(size):
        return image
    height, width = fitted(image.shape[:2], size)
    resized = Image.fromarray(image).resize((width, height), resample=Image.Resampling.BILINEAR)
    return _centred(np.asarray(resized), size, 0)


def torch_bilinear(image: Float32, size: tuple[int, int], black: float = 0.0) -> Float32:
    """resize_with_pad_torch, computed without torch: float32 [H, W, 3] in [black, 1] to [*size, 3], bilinear without
    antialias, clamped.

    lerobot has black 0 and scales to [-1, 1] afterwards; openpi's fallback has black -1.
    """
    if image.shape[:2] == tuple(size):
        return image
    height, width = fitted(image.shape[:2], size)
    above, below, down = _neighbours(image.shape[0], height)
    left, right, across = _neighbours(image.shape[1], width)
    across = across[None, :, None]
    first, second = (
        rows[:, left] * (np.float32(1) - across) + rows[:, right] * across for rows in (image[above], image[below])
    )
    down = down[:, None, None]
    resized = first * (np.float32(1) - down) + second * down
    return _centred(np.clip(resized, np.float32(black), np.float32(1)), size, black)


def _neighbours(before: int, after: int) -> tuple[NDArray[np.intp], NDArray[np.intp], Float32]:
    """For each of `after` places the two of `before` beside it and the share of the second [after], corners not aligned."""
    # The scale is rounded to float32, and the place once more, after multiplying and subtracting, as torch does it.
    place = ((np.arange(after) + 0.5) * float(np.float32(before / after)) - 0.5).astype(np.float32)
    place = np.maximum(place, np.float32(0))
    first = place.astype(np.intp)  # below `before`: the last place is half a pixel before its end
    return first, np.minimum(first + 1, before - 1), (place - first).astype(np.float32)


def jax_linear(image: UInt8, size: tuple[int, int]) -> UInt8:
    """openpi.shared.image_tools.resize_with_pad on uint8: jax.image.resize linear with antialias, rounded."""
    if image.shape[:2] == tuple(size):
        return image
    height, width = fitted(image.shape[:2], size)
    rows, columns = _triangle(image.shape[0], height), _triangle(image.shape[1], width)
    resized = np.einsum("ih,jw,hwc->ijc", rows, columns, image.astype(np.float32), optimize=True)
    return _centred(np.clip(np.rint(resized), 0, 255).astype(np.uint8), size, 0)


def _triangle(before: int, after: int) -> Float32:
    """Weights [after, before] of a triangle filter widened by the scale when shrinking (jax.image.scale)."""
    scale = before / after
    centre = (np.arange(after, dtype=np.float32) + 0.5) * scale - 0.5
    distance = np.abs(centre[:, None] - np.arange(before, dtype=np.float32)[None, :]) / max(scale, 1.0)
    weights = np.maximum(0.0, 1.0 - distance)
    shares: Float32 = (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
    return shares


def camera_bytes(image: NDArray[np.generic]) -> UInt8:
    """A picture of a recorded observation as uint8 [H, W, 3]: floats in [0, 1] are scaled by 255 and cut, not rounded,
    and channels-first is turned around (openpi's `_parse_image`)."""
    array = np.asarray(image)
    if np.issubdtype(array.dtype, np.floating):
        array = (255 * array).astype(np.uint8)
    return array.transpose(1, 2, 0) if array.ndim == 3 and array.shape[0] == 3 else array
