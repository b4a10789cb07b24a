"""Pure arithmetic on state and action vectors [..., D] between a robot and a model; nothing changes in place.

Sources: openpi transforms.py (delta masks, padding) and policies/aloha_policy.py (joint flips, gripper maths).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pi0_ros.policy.errors import PolicyError

Array = NDArray[np.floating]


def mask_of(*runs: int) -> tuple[bool, ...]:
    """Run lengths to a mask: positive runs are True, negative False. (6, -1) is six True and one False."""
    return tuple(value for run in runs for value in [run > 0] * abs(run))


def delta(actions: ArrayLike, state: ArrayLike, mask: Sequence[bool]) -> Array:
    """Absolute actions [..., H, D] to offsets from the state [..., S] at chunk start, if `mask` is True.

    The mask may be shorter than D; what it does not cover stays absolute, and needs no state. Raises PolicyError if the state
    lacks what it marks.
    """
    return _shifted(actions, state, mask, -1)


def absolute(actions: ArrayLike, state: ArrayLike, mask: Sequence[bool]) -> Array:
    """The inverse of `delta`, with the same state."""
    return _shifted(actions, state, mask, +1)


def step_delta(actions: ArrayLike, state: ArrayLike, follows: Sequence[float]) -> Array:
    """Absolute actions [..., H, D] to steps from where the robot will be at each row, if `follows` is above 0.

    `follows`: which share of the way to a row the robot has gone when the next row begins. The state [..., S] is that of
    the first row, and next = state + follows * (row - state). With a share of 1 the steps are those from the row before.
    As `delta` otherwise. LeRobot's table of action spaces calls these delta actions and those of `delta` relative ones.
    """
    values, share, covered = _shifted(actions, state, np.asarray(follows) > 0, -1), *_shares(follows)
    gone = np.zeros(values[..., 0, covered].shape)  # of the robot, from the state
    for k in range(values.shape[-2]):
        values[..., k, covered] -= gone.astype(values.dtype)
        gone += share * values[..., k, covered]
    return values


def step_absolute(actions: ArrayLike, state: ArrayLike, follows: Sequence[float]) -> Array:
    """The inverse of `step_delta`, with the same state and shares: the way gone before each row is added to its step."""
    values, share, covered = np.array(actions), *_shares(follows)
    steps = values[..., covered]
    values[..., covered] += (share * (np.cumsum(steps, axis=-2) - steps)).astype(values.dtype)
    return _shifted(values, state, np.asarray(follows) > 0, +1)


def _shares(follows: Sequence[float]) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """The shares above 0, and the dimensions they are of."""
    share = np.asarray(follows, np.float64)
    covered = np.flatnonzero(share > 0)
    return share[covered], covered


def binarise(values: ArrayLike, threshold: float, hysteresis: float, high: bool) -> NDArray[np.bool_]:
    """Which of the rows [H] are above a threshold that has to be passed by half the `hysteresis` to change sides.

    `high`: the side before the first row.
    """
    sides = []
    for value in np.asarray(values, np.float64):
        high = bool(value > threshold + (-0.5 if high else 0.5) * hysteresis)
        sides.append(high)
    return np.array(sides, bool)


def _shifted(actions: ArrayLike, state: ArrayLike, mask: Sequence[bool] | NDArray[np.bool_], sign: int) -> Array:
    values, origin, marked = np.array(actions), np.asarray(state), np.flatnonzero(mask)
    size = int(marked[-1]) + 1 if marked.size else 0
    if origin.shape[-1] < size or values.shape[-1] < size:
        raise PolicyError(
            f"the delta mask covers {size} dimensions, the state has {origin.shape[-1]}, the actions {values.shape[-1]}"
        )
    offset = np.where(np.asarray(mask, bool)[:size], origin[..., :size], 0)[..., None, :]
    values[..., :size] += (sign * offset).astype(values.dtype)
    return values


def pad(values: ArrayLike, size: int) -> Array:
    """Zeros appended up to `size`; longer vectors stay as they are."""
    array = np.asarray(values)
    extra = max(0, size - array.shape[-1])
    return np.pad(array, [(0, 0)] * (array.ndim - 1) + [(0, extra)])


def unit_from(x: ArrayLike, low: float, high: float) -> Array:
    """Map [low, high] to [0, 1]."""
    return (np.asarray(x) - low) / (high - low)


def unit_to(x: ArrayLike, low: float, high: float) -> Array:
    """Map [0, 1] to [low, high]."""
    return np.asarray(x) * (high - low) + low


def aloha_gripper_to_model(x: ArrayLike) -> Array:
    """Aloha's gripper opening (0 closed .. 1 open) to the motor angle scale π0 was trained on.

    Opening in m, through the crank (arm 0.022 m, rod 0.036 m) to an angle in rad, then to [0, 1].
    """
    metres = unit_to(x, 0.01844, 0.05800)
    arm, rod = 0.022, 0.036
    cosine = (arm**2 + metres**2 - rod**2) / (2 * arm * metres)
    return unit_from(np.arcsin(np.clip(cosine, -1.0, 1.0)), 0.5476, 1.6296)


def aloha_gripper_from_model(x: ArrayLike) -> Array:
    """π0's gripper action to the command scale of Aloha's leader gripper."""
    return unit_from(np.asarray(x) + 0.5476, -0.6213, 1.4910)


def aloha_gripper_action_to_model(x: ArrayLike) -> Array:
    """The inverse of `aloha_gripper_from_model`, used on recorded actions."""
    return unit_to(x, -0.6213, 1.4910) - 0.5476
