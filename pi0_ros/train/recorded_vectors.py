"""State and action of a recorded dataset by name: which columns they are, and what their dimensions are called."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pi0_ros.data.dataset import Dataset
from pi0_ros.data.stored import Numbers
from pi0_ros.policy.adapter import Adapter, RecordedKeys
from pi0_ros.policy.adapter_vectors import actions_to_model, blocks_forward
from pi0_ros.train.errors import TrainError

STATE, ACTION = "observation.state", "action"


def model_vectors(dataset: Dataset, adapter: Adapter) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """State [N, S] and absolute action [N, A] of all frames, in the model's order and units.

    Values that are not finite stay so, for `unusable` to find. Raises TrainError if a channel of the adapter is not
    in the dataset, or a name stands for two dimensions.
    """
    keys = adapter.dataset or RecordedKeys()
    state, state_names = _joined(dataset, keys.state or (STATE,), keys.state_names, adapter.state_channels, adapter)
    action, action_names = _joined(
        dataset, keys.action or (ACTION,), keys.action_names, adapter.action_channels, adapter
    )
    lost = [c for c in adapter.state_channels if c not in state_names]
    lost += [c for c in adapter.action_channels if c not in action_names]
    if lost:
        raise TrainError(
            f"{dataset.folder}: no channel {', '.join(dict.fromkeys(lost))}; its states are called "
            f"{', '.join(state_names)}, its actions {', '.join(action_names)}; if these are the same in another "
            f"spelling, name them under `dataset: {{state_names, action_names}}` in {adapter.file}"
        )
    columns = [state_names.index(c) for c in adapter.state_channels]
    return states_to_model(adapter, state[:, columns]), actions_to_model(adapter, action, action_names)


def _joined(
    dataset: Dataset, keys: Sequence[str], given: Sequence[str], channels: Sequence[str], adapter: Adapter
) -> tuple[NDArray[np.float64], list[str]]:
    """Columns of the dataset side by side [N, D], and the names of their dimensions.

    Parts whose names begin with the key (`observation.state.arm` for `observation.state`) stand for a key that is not there.
    """
    columns = [column for key in keys for column in _columns(dataset, key, adapter)]
    values = np.concatenate([dataset.column(c).reshape(len(dataset), -1) for c in columns], axis=1)
    where = f"{dataset.folder / 'meta/info.json'}: names of {', '.join(columns)}"
    names = list(given) or [n for c in columns for n in names_of(dataset, c)]
    if not names and values.shape[1] == len(channels) and len(columns) == len(keys):
        raise TrainError(
            f"{where}: there are none, so the joint of each number is unknown; if they are in the order of "
            f"{adapter.file}, say so there: `dataset: {{state_names: [...], action_names: [...]}}`"
        )
    if len(names) != values.shape[1]:
        raise TrainError(f"{where}: {len(names)} names for {values.shape[1]} numbers")
    twice = sorted({n for n in names if names.count(n) > 1 and n in channels})
    if twice:
        places = ", ".join(str(i) for i, n in enumerate(names) if n == twice[0])
        raise TrainError(f"{where}: {twice[0]} is at {places}; give each dimension a name of its own")
    return values.astype(np.float64), names


def _columns(dataset: Dataset, key: str, adapter: Adapter) -> list[str]:
    """The column of a key, or its parts. Raises TrainError if there is neither."""
    if key in dataset.features:
        return [key]
    parts = [k for k, f in dataset.features.items() if k.startswith(f"{key}.") and f["dtype"] not in ("video", "image")]
    if parts:
        return parts
    there = [k for k, f in dataset.features.items() if f["dtype"].startswith("float")]
    raise TrainError(
        f"{dataset.folder}: no feature {key!r}; it has {', '.join(there)}. Name state and action under "
        f"`dataset: {{state: [...], action: [...]}}` in {adapter.file}"
    )


def names_of(dataset: Dataset, key: str) -> list[str]:
    """Names of a feature's dimensions as info.json has them, [] if it has none for each of them."""
    names = dataset.features[key].get("names")
    if isinstance(names, dict):  # LeRobot < 0.4: {"motors": [...]}
        names = next(iter(names.values()), None)
    size = int(np.prod(dataset.features[key].get("shape") or (0,)))
    listed = [str(n) for n in names] if isinstance(names, list) else []
    return listed if len(listed) == size or len(listed) > 1 else []


def states_to_model(adapter: Adapter, values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Measured channels [N, S] in the adapter's order to the model's state vectors [N, S]."""
    return np.asarray(blocks_forward(adapter.state, values, state=True), np.float64)


def unusable(state: Numbers, action: Numbers, adapter: Adapter) -> tuple[NDArray[np.bool_], str]:
    """Frames [N] with a value that is no number, and the name of the first such channel ("" if there is none)."""
    bad_state, bad_action = ~np.isfinite(state), ~np.isfinite(action)
    bad: NDArray[np.bool_] = np.logical_or(bad_state.any(1), bad_action.any(1))
    if not bad.any():
        return bad, ""
    row = int(np.flatnonzero(bad)[0])
    if bad_state[row].any():
        return bad, f"{STATE} of {adapter.state_channels[int(np.flatnonzero(bad_state[row])[0])]}"
    return bad, f"{ACTION} of {adapter.action_channels[int(np.flatnonzero(bad_action[row])[0])]}"
