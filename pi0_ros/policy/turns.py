"""Angles of joints that turn for ever, between a model that knows one turn and a robot that counts turns.

A policy YAML says `wrap` for such a joint: the model saw its angle within one turn. States are wrapped on the way in, in
training and on the robot; rows of actions are never wrapped: they continue across the seam, from the state's turn.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from pi0_ros.policy.adapter import Adapter
from pi0_ros.robot.measurement import unwrap_rows

Array = NDArray[np.float64]


def rows_beside_state(adapter: Adapter, rows: Array, state: Array) -> Array:
    """Actions [..., H, A] on the turn nearest to the model's state [..., S], without jumps by whole turns.

    Both in the model's order and units. Only channels whose state says `wrap` change.
    """
    return _beside(adapter, rows, {name: state[..., i] for i, name in enumerate(adapter.state_channels)})


def rows_beside_robot(adapter: Adapter, rows: Array, measured: Mapping[str, float]) -> Array:
    """The model's actions [H, A] in robot units, on the turn on which the robot measures itself."""
    return _beside(adapter, rows, {name: np.float64(measured.get(name, np.nan)) for name in adapter.action_channels})


def _beside(adapter: Adapter, rows: Array, places: Mapping[str, NDArray[np.float64] | np.float64]) -> Array:
    wrapped = wrapped_actions(adapter)
    if not wrapped.any():
        return rows
    start = rows[..., 0, :].copy()
    for i in np.flatnonzero(wrapped):
        start[..., i] = places[adapter.action_channels[i]]
    return unwrap_rows(rows, start, wrapped)


def wrapped_actions(adapter: Adapter) -> NDArray[np.bool_]:
    """Which action dimensions [A] are angles of a joint whose state is wrapped."""
    wrapped = {c for block in adapter.state if block.wrap is not None for c in block.channels}
    return np.array([c in wrapped for c in adapter.action_channels], bool)
