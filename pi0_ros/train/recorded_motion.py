"""What recorded angles and steps mean: jumps by a whole turn are refused, actions against the state of their row are kept.

Both would be learnt as motion that nobody showed.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pi0_ros.data.dataset import Dataset
from pi0_ros.policy import transforms
from pi0_ros.policy.adapter import Adapter, Delta
from pi0_ros.policy.turns import rows_beside_state, wrapped_actions
from pi0_ros.robot.measurement import TURN
from pi0_ros.train.errors import TrainError

Array = NDArray[np.float64]
SEAM = 0.6  # [rad] by which a jump may differ from a whole turn: what a joint moves between two frames
SURE = 0.1  # how far `follows` may be from what the data say
ENOUGH = 50  # frames that move, to tell it from


def check_motion(dataset: Dataset, adapter: Adapter, state: Array, action: Array, stride: int) -> None:
    """Refuse state [N, S] and action [N, A] that mean something else than the adapter says.

    In the model's order and units, of all frames; a chunk has every `stride`-th. Raises TrainError with the way out.
    """
    inner = np.array([e.stop - 1 for e in dataset.episodes])
    goes_on = np.ones(len(state), bool)
    goes_on[inner] = False
    _check_turns(dataset, adapter, state, action, goes_on)
    _check_follows(dataset, adapter, state, action, stride)


def _check_turns(dataset: Dataset, adapter: Adapter, state: Array, action: Array, goes_on: NDArray[np.bool_]) -> None:
    """Angles that were recorded within one turn, without the adapter saying so."""
    angles = {c for b in adapter.state if b.range is None and not b.convert and b.wrap is None for c in b.channels}
    named = dict(zip(adapter.action_channels, action.T, strict=True))
    for name, values in zip(adapter.state_channels, state.T, strict=True):
        if name not in angles:
            continue
        jumps = np.where(goes_on[:-1], np.diff(values), 0.0)
        gaps = named[name] - values if name in named else np.zeros(0)
        frames = np.flatnonzero(_by_a_turn(jumps)), np.flatnonzero(_by_a_turn(gaps))
        if frames[0].size + frames[1].size and not (_by_more(jumps) or _by_more(gaps)):
            row = int(min(f[0] for f in frames if f.size))
            episode = dataset.episode_of(row)
            raise TrainError(
                f"{dataset.folder}: {name} jumps by a whole turn in {max(f.size for f in frames)} frames, first in episode "
                f"{episode.index}, frame {row - episode.start}: its angle was recorded within one turn, and as motion "
                f"that would be a whole turn back; say `wrap: true` in the state block of {name} in {adapter.file}, so that "
                "chunks go on over the seam"
            )


def _by_a_turn(steps: Array) -> NDArray[np.bool_]:
    return np.abs(np.abs(steps) - TURN) < SEAM


def _by_more(steps: Array) -> bool:
    """Whether something jumps that is no angle of a joint: by more than half a turn, and not by a whole one."""
    return bool(np.any((np.abs(steps) > TURN / 2) & ~_by_a_turn(steps)))


def _check_follows(dataset: Dataset, adapter: Adapter, state: Array, action: Array, stride: int) -> None:
    """The share of the way to its action that the robot goes in a period, against what the adapter says."""
    start = 0
    for block in adapter.actions:
        columns, start = slice(start, start + len(block.channels)), start + len(block.channels)
        if block.delta is not Delta.CURRENT:
            continue
        gone, commanded = _pairs(dataset, state[:, columns], action[:, columns], stride)
        moving = np.abs(commanded) > 1e-3
        if moving.sum() < ENOUGH:
            continue
        share = float(np.sum(gone[moving] * commanded[moving]) / np.sum(commanded[moving] ** 2))
        if not abs(share - block.follows) < SURE:
            raise TrainError(
                f"{dataset.folder}: {', '.join(block.channels)} go {share:.2f} of the way from state to action in a period, "
                f"and {adapter.file} says {block.follows:g}: summed up, plans would go {block.follows / share:.2g} times as "
                f"far as shown; write `follows: {share:.2f}` beside `delta: current`"
                if share > 0.02
                else f"{dataset.folder}: {', '.join(block.channels)} do not follow their actions ({share:.2f} of the way in a "
                f"period), so `delta: current` in {adapter.file} cannot be summed up to a plan; use `delta: start`"
            )


def _pairs(dataset: Dataset, state: Array, action: Array, stride: int) -> tuple[Array, Array]:
    """What the robot went within a row, and how far its action was from it, one behind the other."""
    rows = np.concatenate([np.arange(e.start, max(e.start, e.stop - stride)) for e in dataset.episodes])
    gone, commanded = state[rows + stride] - state[rows], action[rows] - state[rows]
    gone, commanded = (v - TURN * np.round(v / TURN) * (np.abs(np.abs(v) - TURN) < SEAM) for v in (gone, commanded))
    good = np.isfinite(gone) & np.isfinite(commanded)
    return gone[good], commanded[good]


def planned_rows(adapter: Adapter, rows: Array, states: Array) -> Array:
    """Recorded actions [N, H, A] as the chunks that the model is to plan: absolute, in the model's order and units.

    `states` [N, H, S] are those at the rows' own times. Angles go on over the seam of a turn. What counts from the state at
    its row (`delta: current`) becomes the chunk whose steps are those offsets, given how the robot follows.
    """
    if wrapped_actions(adapter).any():
        rows = rows_beside_state(adapter, rows, states[:, 0])
    blocks = [b for b in adapter.actions for _ in b.channels]
    shares = np.array([b.follows if b.delta is Delta.CURRENT else 0.0 for b in blocks])
    counted = np.flatnonzero(shares)
    if not counted.size:
        return rows
    offsets = rows.copy()
    offsets[..., counted] -= _on_turn_of(adapter, states, rows)[..., counted]
    return np.asarray(transforms.step_absolute(offsets, states[:, 0], shares.tolist()), np.float64)


def _on_turn_of(adapter: Adapter, states: Array, rows: Array) -> Array:
    """States [N, H, S] of the action channels [N, H, A]; wrapped angles on the turn of the rows."""
    same = states[..., : rows.shape[-1]] if states.shape[-1] >= rows.shape[-1] else np.pad(
        states, [(0, 0), (0, 0), (0, rows.shape[-1] - states.shape[-1])]
    )  # fmt: skip
    return same + TURN * np.round((rows - same) / TURN) * wrapped_actions(adapter)
