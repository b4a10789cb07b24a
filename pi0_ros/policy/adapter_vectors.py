"""An adapter applied: measured channels to the model's vectors, and the model's rows to channels.

Offsets are taken after signs and conversions, as openpi does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pi0_ros.policy import transforms
from pi0_ros.policy.adapter import Adapter, Binary, Block
from pi0_ros.policy.errors import PolicyError
from pi0_ros.robot.measurement import TURN

Array = NDArray[np.floating]
Float64 = NDArray[np.float64]
Function = Callable[[ArrayLike], Array]


@dataclass(frozen=True)
class Conversion:
    """A gripper's arithmetic: measured state to model, recorded action to model, model action to command."""

    state: Function
    action: Function
    command: Function


CONVERSIONS: Mapping[str, Conversion] = {
    "aloha_gripper": Conversion(
        transforms.aloha_gripper_to_model,
        transforms.aloha_gripper_action_to_model,
        transforms.aloha_gripper_from_model,
    )
}


def state_to_model(adapter: Adapter, state: Mapping[str, float]) -> Float64:
    """Measured channels in robot units to the model's state vector [S], not yet normalised.

    Raises: PolicyError naming channels without a finite measurement.
    """
    lost = [c for c in adapter.state_channels if not np.isfinite(state.get(c, np.nan))]
    if lost:
        raise PolicyError(f"no measured value for {', '.join(lost)}; the policy {adapter.name} needs it")
    measured = np.array([state[c] for c in adapter.state_channels], np.float64)
    return blocks_forward(adapter.state, measured, state=True).astype(np.float64)


def blocks_forward(blocks: Sequence[Block], values: Array, state: bool) -> Array:
    """Channels [..., D] in the blocks' order and robot units to the model's vector [..., D]."""
    parts, start = [values[..., :0]], 0
    for block in blocks:
        stop = start + len(block.channels)
        parts.append(_forward(block, values[..., start:stop], state=state))
        start = stop
    return np.concatenate(parts, axis=-1)


def actions_to_model(adapter: Adapter, values: ArrayLike, names: Sequence[str]) -> Float64:
    """Absolute actions [..., D] in robot units, columns `names`, to the model's order [..., A]; not yet offsets."""
    array, index = np.asarray(values, np.float64), {n: i for i, n in enumerate(names)}
    lost = [c for c in adapter.action_channels if c not in index]
    if lost:
        raise PolicyError(f"actions lack {', '.join(lost)}; the policy {adapter.name} needs them")
    parts = [_forward(b, array[..., [index[c] for c in b.channels]], state=False) for b in adapter.actions]
    return np.concatenate(parts, axis=-1).astype(np.float64)


def actions_from_model(adapter: Adapter, actions: ArrayLike, before: Mapping[str, float] | None = None) -> Float64:
    """The model's absolute actions [..., >= A] to robot units [..., A], columns `adapter.action_channels`.

    `before`: values of channels before the first row, which say on which side a binary gripper is; open unless given.
    """
    array, parts, start = np.asarray(actions, np.float64), [], 0
    if array.shape[-1] < len(adapter.action_channels):
        raise PolicyError(
            f"the model gives {array.shape[-1]} numbers per row, {adapter.file} wants {len(adapter.action_channels)}"
        )
    for block in adapter.actions:
        stop = start + len(block.channels)
        parts.append(_backward(block, array[..., start:stop], before or {}))
        start = stop
    return np.concatenate(parts, axis=-1).astype(np.float64)


def _forward(block: Block, values: Array, state: bool) -> Array:
    values = values * np.asarray(block.signs) / block.scale
    if block.wrap is not None:
        turned: Array = block.wrap + np.mod(values - block.wrap, TURN)
        return turned
    if block.range is not None:
        return transforms.unit_to(values, *block.range)
    if block.convert:
        conversion = CONVERSIONS[block.convert]
        return (conversion.state if state else conversion.action)(values)
    return values


def _backward(block: Block, values: Array, before: Mapping[str, float]) -> Array:
    if block.clip is not None:
        values = np.clip(values, *block.clip)
    if block.binary is not None:
        values = _one_of_two(block, block.binary, values, before)
    if block.range is not None:
        values = transforms.unit_from(values, *block.range)
    elif block.convert:
        values = CONVERSIONS[block.convert].command(values)
    commands: Array = values * np.asarray(block.signs) * block.scale + 0.0  # a closed gripper is 0, not -0
    return commands


def _one_of_two(block: Block, binary: Binary, values: Array, before: Mapping[str, float]) -> Array:
    """A gripper's rows [..., H, 1] at the model's two ends."""
    low, high = sorted(block.range or (0.0, 1.0))
    rows = values.reshape(-1, *values.shape[-2:])
    (channel,) = block.channels
    last = float(_forward(block, np.array([before.get(channel, 1.0)]), state=False).item())
    side = last > binary.threshold
    ends = [np.where(transforms.binarise(r[:, 0], binary.threshold, binary.hysteresis, side), high, low) for r in rows]
    return np.stack(ends).reshape(values.shape)
