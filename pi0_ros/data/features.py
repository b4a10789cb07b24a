"""Features of a dataset that is written: what they may be, and whether a frame fits them. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from pi0_ros.data.errors import DataError
from pi0_ros.data.layout import STANDARD
from pi0_ros.data.stored import Feature, Features, Row, Values

DTYPES = ("float32", "float64", "int32", "int64", "bool", "string", "video")


def checked_features(features: Features) -> Features:
    """Features with plain lists for shapes and names. Raises DataError for one that cannot be written."""
    known = {}
    for key, feature in features.items():
        dtype, shape = feature.get("dtype"), list(feature.get("shape", ()))
        if key in STANDARD or key == "task" or "/" in key:
            raise DataError(f"feature {key!r}: this name is taken or has a '/'; choose another")
        if dtype not in DTYPES:
            raise DataError(f"feature {key!r}: dtype {dtype!r} is not one of {', '.join(DTYPES)}")
        if len(shape) != (3 if dtype == "video" else 1) or (dtype == "string" and shape != [1]):
            raise DataError(
                f"feature {key!r}: shape {shape} does not fit {dtype}; give [H, W, 3], [n], or [1] for text"
            )
        names = feature.get("names")
        known[key] = {"dtype": dtype, "shape": [int(n) for n in shape], "names": None if names is None else list(names)}
    return known


def with_standard(features: Features) -> Features:
    """The features with those that every dataset has behind them."""
    return {**features, **{k: dict(f) for k, f in STANDARD.items()}}


def own_features(features: Features) -> Features:
    """What tells one dataset's features from another's: dtype, shape and names, without those that all have."""
    return {
        key: {
            "dtype": f["dtype"],
            "shape": [int(n) for n in f.get("shape") or ()],
            "names": list(f["names"]) if isinstance(f.get("names"), list | tuple) else f.get("names"),
        }
        for key, f in features.items()
        if key not in STANDARD
    }


def video_keys(features: Features) -> tuple[str, ...]:
    """The features whose pictures lie in videos."""
    return tuple(k for k, f in features.items() if f["dtype"] == "video")


def difference(ours: Features, theirs: Features) -> str:
    """The first way in which two sets of features differ, "" if they are the same."""
    mine, other = own_features(ours), own_features(theirs)
    for key in (*mine, *(k for k in other if k not in mine)):
        if key not in mine or key not in other:
            return f"{key} is only in {'the new frames' if key in mine else 'the dataset'}"
        for part in ("dtype", "shape", "names"):
            if mine[key][part] != other[key][part]:
                return f"{part} of {key} is {mine[key][part]}, and {other[key][part]} in the dataset"
    return ""


def checked_frame(where: str, features: Features, frame: Row) -> dict[str, Any]:
    """A frame's values as they are stored, with "task". `where`: the dataset, for the message.

    Raises DataError if a value is missing, unknown, of the wrong shape or not finite.
    """
    wanted = [*(k for k in features if k not in STANDARD), "task"]
    missing = [k for k in wanted if k not in frame]
    unknown = [k for k in frame if k not in wanted]
    if missing or unknown:
        what = f"lacks {missing[0]!r}" if missing else f"has an unknown {unknown[0]!r}"
        raise DataError(f"{where}: a frame {what}; it needs {', '.join(wanted)}")
    if not isinstance(frame["task"], str) or not frame["task"].strip():
        raise DataError(f"{where}: a frame's task is {frame['task']!r}; give its instruction in words")
    values = {k: _value(f"{where}: {k!r}", frame[k], features[k]) for k in wanted[:-1]}
    return {**values, "task": frame["task"]}


def _value(where: str, value: object, feature: Feature) -> Values | list[str]:
    """A frame's value as it is stored. Raises DataError if shape or kind differ."""
    shape = tuple(feature["shape"])
    if feature["dtype"] == "string":
        if not isinstance(value, str):
            raise DataError(f"{where} is {type(value).__name__}; give text")
        return [value]
    array = np.asarray(value)
    if feature["dtype"] == "video":
        if array.dtype != np.uint8 or array.shape != shape:
            raise DataError(f"{where} is {array.dtype} {list(array.shape)}; give a uint8 picture of {list(shape)}")
        return array
    if array.shape == () and shape == (1,):
        array = array.reshape(1)
    if array.shape != shape:
        raise DataError(f"{where} has shape {list(array.shape)}; give {list(shape)}")
    if array.dtype.kind not in "fiub" or not np.isfinite(array).all():
        raise DataError(f"{where} has a value that is no finite number; leave the frame out or mend its source")
    return array.astype(feature["dtype"])


def columns_of(rows: Sequence[Row], features: Features) -> dict[str, Values]:
    """Checked frames as arrays [N, ...] by feature, without pictures and without what every dataset has."""
    columns = [k for k, f in features.items() if k not in STANDARD and f["dtype"] != "video"]
    return {k: np.array([r[k] for r in rows], _numpy_type(features[k])) for k in columns}


def _numpy_type(feature: Feature) -> np.dtype[Any]:
    return np.dtype(object if feature["dtype"] == "string" else feature["dtype"])
