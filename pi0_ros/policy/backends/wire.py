"""openpi's wire format: msgpack with NumPy arrays as maps, and no pickle.

Array: {b"__ndarray__": True, b"data": bytes, b"dtype": dtype.str, b"shape": [...]}; scalar: {b"__npgeneric__": True,
b"data": value, b"dtype": dtype.str}. Source: openpi_client/msgpack_numpy.py.
"""

from __future__ import annotations

from typing import Any

import msgpack
import numpy as np

from pi0_ros.policy.errors import PolicyError

REFUSED_KINDS = "VOc"  # structured, object and complex types


def pack(value: Any) -> bytes:
    """Bytes of nested maps, lists, plain values and arrays. Raises PolicyError for a type the format refuses."""
    return msgpack.packb(value, default=_encode)


def unpack(data: bytes) -> Any:
    """The value behind `data`; arrays are fresh copies, string keys are text. Raises PolicyError if it is malformed."""
    try:
        return msgpack.unpackb(data, object_hook=_decode, strict_map_key=False)
    except PolicyError:
        raise
    except Exception as error:  # msgpack raises a family of its own and ValueError
        raise PolicyError(f"a message of {len(data)} bytes is not openpi's msgpack: {error}") from error


def _encode(value: Any) -> Any:
    if isinstance(value, (np.ndarray, np.generic)) and value.dtype.kind in REFUSED_KINDS:
        raise PolicyError(f"arrays of type {value.dtype} cannot be sent")
    if isinstance(value, np.ndarray):
        return {b"__ndarray__": True, b"data": value.tobytes(), b"dtype": value.dtype.str, b"shape": value.shape}
    if isinstance(value, np.generic):
        return {b"__npgeneric__": True, b"data": value.item(), b"dtype": value.dtype.str}
    raise PolicyError(f"a {type(value).__name__} cannot be sent")


def _decode(value: dict[Any, Any]) -> Any:
    if b"__ndarray__" in value:
        kind = _dtype(value)
        return np.frombuffer(value[b"data"], kind).reshape(value[b"shape"]).copy()
    if b"__npgeneric__" in value:
        return _dtype(value).type(value[b"data"])
    return value


def _dtype(value: dict[Any, Any]) -> np.dtype:
    kind = np.dtype(value[b"dtype"])
    if kind.kind in REFUSED_KINDS:
        raise PolicyError(f"the server sent an array of type {kind}, which is refused")
    return kind
