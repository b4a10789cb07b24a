"""openpi's wire format: msgpack with NumPy arrays as maps, and no pickle.

Array: {b"__ndarray__": True, b"data": bytes, b"dtype": dtype.str, b"shape": [...]}; scalar: {b"__npgeneric__": True,
b"data": value, b"dtype": dtype.str}. Source: openpi_client/msgpack_numpy.py. Other bindings send these keys as text,
and servers with the library msgpack-numpy mark arrays as {b"nd": True, b"type": dtype.str, b"kind", b"shape", b"data"}.
"""

from __future__ import annotations

from typing import Any

import msgpack
import numpy as np

from pi0_ros.policy.errors import PolicyError

REFUSED_KINDS = "VOc"  # structured, object and complex types
MAX_BYTES = 4 * 2**20
"""Longest message that is read: a chunk of 1,000 rows of 500 float64 numbers."""
MAX_ITEMS = 65536
"""Longest list and largest map."""


def pack(value: Any) -> bytes:
    """Bytes of nested maps, lists, plain values and arrays. Raises PolicyError for a type the format refuses."""
    return msgpack.packb(value, default=_encode)


def unpack(data: bytes) -> Any:
    """The value behind `data`; arrays are fresh copies, keys are text. Raises PolicyError if it is malformed or long."""
    if len(data) > MAX_BYTES:
        raise PolicyError(f"a message of {len(data)} bytes is refused; {MAX_BYTES} are the most")
    try:
        return msgpack.unpackb(
            data, object_hook=_decode, strict_map_key=False, max_array_len=MAX_ITEMS, max_map_len=MAX_ITEMS
        )
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
    named = {_text(key): child for key, child in value.items()}
    if "__ndarray__" in named:
        return np.frombuffer(named["data"], _dtype(named["dtype"])).reshape(named["shape"]).copy()
    if named.keys() >= {"nd", "type", "data"}:
        return _numpy_packed(named)
    if "__npgeneric__" in named:
        return _dtype(named["dtype"]).type(named["data"])
    return named


def _text(key: Any) -> Any:
    return key.decode("utf-8", "replace") if isinstance(key, bytes) else key


def _numpy_packed(value: dict[Any, Any]) -> Any:
    """An array or a scalar as the library msgpack-numpy marks them; its structured and pickled ones are refused."""
    if _text(value.get("kind", "")) not in ("", None):
        raise PolicyError("the server sent an array of a structured or pickled type, which is refused")
    kind = _dtype(value["type"])
    if value["nd"]:
        return np.frombuffer(value["data"], kind).reshape(value["shape"]).copy()
    return np.frombuffer(value["data"], kind)[0]


def _dtype(said: Any) -> np.dtype:
    name = _text(said)
    if name == "bfloat16":
        raise PolicyError("the server sent an array of type bfloat16, which NumPy does not know; send float32")
    kind = np.dtype(name)
    if kind.kind in REFUSED_KINDS:
        raise PolicyError(f"the server sent an array of type {kind}, which is refused")
    return kind
