"""A server's answer as actions [H, D], or an error that says what came instead."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from pi0_ros.policy.backends.server_errors import ServerError, quote

MAX_ROWS = 1000


class WrongShapeError(ServerError):
    """Actions that this robot cannot have asked for: another number of values a row, or of rows."""


class NotFiniteAnswerError(ServerError):
    """Actions with NaN or infinity."""


def actions_of(answer: object, keys: tuple[str, ...], width: int, source: str) -> NDArray[np.float64]:
    """The actions [H, width] of an answer.

    Args: keys: where they stand; several are joined in that order (arrays [H, n] with the same H). A bare array is
    taken for the actions. width: numbers a row. source: the adapter's file, for the sentence.
    Raises: ServerError (WrongShapeError, NotFiniteAnswerError) with shape and type of what came.
    """
    parts = [answer] if isinstance(answer, np.ndarray) else [_entry(answer, key, source) for key in keys]
    arrays = [_rows(part, key) for part, key in zip(parts, keys, strict=False)]
    if len({len(array) for array in arrays}) != 1:
        listed = ", ".join(f"{key} {list(array.shape)}" for key, array in zip(keys, arrays, strict=False))
        raise WrongShapeError(f"the parts of the actions have different numbers of rows: {listed}")
    actions = np.concatenate(arrays, axis=1)
    if actions.shape[1] != width:
        raise WrongShapeError(
            f"the server answers {actions.shape[1]} numbers per row and {source} wants {width}: another robot or another "
            f"action space (if only the first {width} count and the rest is padding: remote: {{width: "
            f"{actions.shape[1]}}})"
        )
    return actions


def _entry(answer: object, key: str, source: str) -> object:
    if not isinstance(answer, Mapping):
        raise ServerError(f"the answer is {described(answer)}, not a map with {key}")
    if key in answer:
        return answer[key]
    for field in ("error", "message", "detail"):
        if isinstance(answer.get(field), str):
            raise ServerError(f"the server says: {quote(answer[field])}")
    arrays = [str(name) for name, value in answer.items() if isinstance(value, np.ndarray) and value.ndim]
    way = (
        f"; if these are the actions, write remote: {{actions: [{', '.join(arrays)}]}} into {source}" if arrays else ""
    )
    raise ServerError(f"the answer has no {key}, but {quote(described(answer))}{way}")


def _rows(value: object, key: str) -> NDArray[np.float64]:
    if isinstance(value, Mapping):
        names = ", ".join(f"{key}/{name}" for name in value)
        raise ServerError(f"{key} is a map; name its parts: remote: {{actions: [{names}]}}")
    try:
        array = np.asarray(value)
    except ValueError:
        raise WrongShapeError(f"{key} is a list of rows of different lengths") from None
    if array.dtype.kind not in "fiu":
        raise ServerError(f"{key} is {described(array)}, not numbers")
    while array.ndim > 2 and array.shape[0] == 1:  # a batch of one
        (array,) = array
    if array.ndim != 2 or not array.size:
        reason = {1: "a single row", 3: "the server keeps a batch dimension"}.get(array.ndim, "no rows")
        raise WrongShapeError(f"{key} is {described(array)}, wanted [H, D]: {reason}")
    if not 2 <= len(array) <= MAX_ROWS:
        raise WrongShapeError(f"{key} has {len(array)} rows; a plan has from 2 to {MAX_ROWS}")
    with np.errstate(over="ignore"):  # a chunk carries float32
        finite = np.isfinite(array.astype(np.float32))
    if not np.all(finite):
        row = int(np.argwhere(~finite)[0][0])
        raise NotFiniteAnswerError(f"{key} has NaN, infinity or a number beyond float32 in row {row}; no plan made")
    return array.astype(np.float64)


def described(value: object) -> str:
    """What something is, for a person: float32 [1, 25, 14], or a map with its entries."""
    if isinstance(value, np.ndarray):
        return f"{value.dtype} {list(value.shape)}"
    if isinstance(value, Mapping):
        return ", ".join(f"{name} ({described(child)})" for name, child in value.items()) or "an empty map"
    return type(value).__name__
