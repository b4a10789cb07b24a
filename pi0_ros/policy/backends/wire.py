"""openpi's wire format: msgpack with NumPy arrays as maps, and no pickle.

Array: {b"__ndarray__": True, b"data": bytes, b"dtype": dtype.str, b"shape": [...]}; scalar: {b"__npgeneric__": True,
b"data": value, b"dtype": dtype.str}. Source: openpi_client/msgpack_numpy.py. Other bindings send these keys as text,
and servers with the library msgpack-numpy mark arrays as {b"nd": True, b"type": dtype.str, b"kind", b"shape", b"data"}.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgpack
import numpy as np
from numpy.typing import NDArray

from pi0_ros.policy.errors import PolicyError

REFUSED_KINDS = "VOc"  # structured, object and complex types
MAX_BYTES = 4 * 2**20
"""Longest message that is read: a chunk of 1,000 rows of 500 float64 numbers."""
MAX_ITEMS = 65536
"""Longest list and largest map."""


def pack(value: object) -> bytes:
    """Bytes of nested maps, lists, plain values and arrays. Raises PolicyError for a type the format refuses."""
    packed: bytes = msgpack.packb(value, default=_encode)
    return packed


def unpack(data: bytes) -> object:
    """The value behind `data`; arrays are fresh copies, keys are text. Raises PolicyError if it is malformed or long."""
    if len(data) > MAX_BYTES:
        raise PolicyError(f"a message of {len(data)} bytes is refused; {MAX_BYTES} are the most")
    try:
        value: object = msgpack.unpackb(
            data, object_hook=_decode, strict_map_key=False, max_array_len=MAX_ITEMS, max_map_len=MAX_ITEMS
        )
        return value
    except PolicyError:
        raise
    except Exception as error:  # msgpack raises a family of its own and ValueError
        raise PolicyError(f"a message of {len(data)} bytes is not openpi's msgpack: {error}") from error


def _encode(value: object) -> dict[bytes, object]:
    if isinstance(value, np.ndarray | np.generic) and value.dtype.kind in REFUSED_KINDS:
        raise PolicyError(f"arrays of type {value.dtype} cannot be sent")
    if isinstance(value, np.ndarray):
        return {b"__ndarray__": True, b"data": value.tobytes(), b"dtype": value.dtype.str, b"shape": value.shape}
    if isinstance(value, np.generic):
        return {b"__npgeneric__": True, b"data": value.item(), b"dtype": value.dtype.str}
    raise PolicyError(f"a {type(value).__name__} cannot be sent")


def _decode(value: Mapping[object, object]) -> object:
    named = {_text(key): child for key, child in value.items()}
    if "__ndarray__" in named:
        return _numbers(named["data"], _dtype(named["dtype"])).reshape(_shape(named["shape"])).copy()
    if named.keys() >= {"nd", "type", "data"}:
        return _numpy_packed(named)
    if "__npgeneric__" in named:
        return np.asarray(named["data"], _dtype(named["dtype"]))[()]
    return named


def _text(key: object) -> object:
    return key.decode("utf-8", "replace") if isinstance(key, bytes) else key


def _numpy_packed(value: Mapping[object, object]) -> object:
    """An array or a scalar as the library msgpack-numpy marks them; its structured and pickled ones are refused."""
    if _text(value.get("kind", "")) not in ("", None):
        raise PolicyError("the server sent an array of a structured or pickled type, which is refused")
    found = _numbers(value["data"], _dtype(value["type"]))
    return found.reshape(_shape(value["shape"])).copy() if value["nd"] else found[0]


def _numbers(data: object, kind: np.dtype[np.generic]) -> NDArray[np.generic]:
    """The numbers of an array, one after the other. Raises TypeError, ValueError for what are no bytes of them."""
    if not isinstance(data, bytes):
        raise TypeError(f"the data of an array are {type(data).__name__}, not bytes")
    return np.frombuffer(data, kind)


def _shape(value: object) -> tuple[int, ...]:
    if not isinstance(value, list | tuple) or not all(isinstance(size, int) for size in value):
        raise TypeError(f"the shape of an array is {type(value).__name__}, not a list of numbers")
    return tuple(value)


def _dtype(said: object) -> np.dtype[np.generic]:
    name = _text(said)
    if not isinstance(name, str):
        raise TypeError(f"the type of an array is {type(name).__name__}, not text")
    if name == "bfloat16":
        raise PolicyError("the server sent an array of type bfloat16, which NumPy does not know; send float32")
    kind: np.dtype[np.generic] = np.dtype(name)
    if kind.kind in REFUSED_KINDS:
        raise PolicyError(f"the server sent an array of type {kind}, which is refused")
    return kind
