"""LeRobot's processor files: policy_preprocessor.json, policy_postprocessor.json and the statistics they point to."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pi0_ros.policy.errors import PolicyError
from pi0_ros.policy.normalize import LEROBOT_EPSILON, LEROBOT_METHODS, Normalizer, Statistics, missing_statistics

STATE, ACTION = "observation.state", "action"
Step = Mapping[str, Any]


@dataclass(frozen=True)
class Processors:
    """What the two files say. `delta` is None where no relative-actions step stands in them."""

    state: Normalizer
    actions: Normalizer
    rename: Mapping[str, str]
    prompt_length: int = 0
    delta: RelativeActions | None = None


@dataclass(frozen=True)
class RelativeActions:
    """LeRobot's use_relative_actions: every action dimension is an offset, but for those whose name contains a word."""

    enabled: bool
    exclude: tuple[str, ...] = ()
    names: tuple[str, ...] | None = None

    def mask(self, size: int) -> tuple[bool, ...]:
        """One flag a dimension; dimensions without a name count as offsets."""
        if not self.enabled:
            return (False,) * size
        words = [w.lower() for w in self.exclude if w]
        names = [n.lower() for n in (self.names or ())[:size]]
        named = [not any(w in n for w in words) for n in names]
        return tuple(named + [True] * (size - len(named)))


def has_processors(folder: Path) -> bool:
    """Whether LeRobot's preprocessor file is there (LeRobot >= 0.4)."""
    return (folder / "policy_preprocessor.json").is_file()


def read_processors(folder: Path) -> Processors:
    """Read both files and their statistics.

    Raises: PolicyError naming the file for missing statistics, unknown modes, or files outside the folder.
    """
    before, after = _steps(folder / "policy_preprocessor.json"), _steps(folder / "policy_postprocessor.json")
    normalizer = _step(before, "normalizer_processor", folder / "policy_preprocessor.json")
    restorer = _step(after, "unnormalizer_processor", folder / "policy_postprocessor.json")
    length = _config(before, "tokenizer_processor").get("max_length", 0)
    rename = _config(before, "rename_observations_processor").get("rename_map") or {}
    relative = [s for s in before if s.get("registry_name") == "relative_actions_processor"]
    return Processors(
        state=_normalizer(folder, normalizer, STATE, "STATE"),
        actions=_normalizer(folder, restorer, ACTION, "ACTION"),
        rename={str(k): str(v) for k, v in rename.items()},
        prompt_length=length if isinstance(length, int) else 0,
        delta=_relative(relative[0].get("config") or {}) if relative else None,
    )


def _relative(config: Mapping[str, Any]) -> RelativeActions:
    names = config.get("action_names")
    return RelativeActions(
        bool(config.get("enabled", False)),
        tuple(str(w) for w in config.get("exclude_joints") or ()),
        None if names is None else tuple(str(n) for n in names),
    )


def _steps(file: Path) -> Sequence[Step]:
    if not file.is_file():
        raise PolicyError(f"{file}: missing; LeRobot >= 0.4 writes it beside the weights")
    try:
        steps = json.loads(file.read_text(encoding="utf-8"))["steps"]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise PolicyError(f"{file}: no list of processor steps in it: {error!r}") from error
    if not isinstance(steps, list) or not all(isinstance(s, dict) for s in steps):
        raise PolicyError(f"{file}: 'steps' is not a list of steps")
    return steps


def _step(steps: Sequence[Step], name: str, file: Path) -> Step:
    found = [s for s in steps if s.get("registry_name") == name]
    if not found:
        raise PolicyError(f"{file}: no {name} step, so nothing says how the policy is normalised")
    return found[0]


def _config(steps: Sequence[Step], name: str) -> Mapping[str, Any]:
    return next((s.get("config") or {} for s in steps if s.get("registry_name") == name), {})


def _normalizer(folder: Path, step: Step, feature: str, kind: str) -> Normalizer:
    config = step.get("config") or {}
    modes = config.get("norm_map") or {}
    if modes.get("VISUAL", "IDENTITY") != "IDENTITY":
        raise PolicyError(f"{folder}: pictures are normalised by {modes['VISUAL']}; π0's pictures go in as they are")
    keys = config.get("normalize_observation_keys")
    mode = modes.get(kind, "IDENTITY")
    if feature != ACTION and keys is not None and feature not in keys:
        mode = "IDENTITY"
    if mode not in LEROBOT_METHODS:
        raise PolicyError(f"{folder}: normalisation mode {mode} of {kind} is unknown")
    method = LEROBOT_METHODS[mode]
    if method == "identity":
        return Normalizer(method)
    values = _statistics(folder, step.get("state_file"), feature)
    return Normalizer(method, values, float(config.get("eps", LEROBOT_EPSILON)))


def _statistics(folder: Path, name: object, feature: str) -> Statistics:
    """Statistics of a feature from the step's safetensors file, or from a norm_stats.json laid beside it."""
    from pi0_ros.policy.normalize import read_norm_stats

    values: dict[str, np.ndarray] = {}
    if isinstance(name, str):
        if Path(name).name != name:
            raise PolicyError(f"{folder}: state_file {name!r} points out of the checkpoint's folder")
        values = _tensors(folder / name, feature)
    if values:
        return Statistics(values)
    if (folder / "norm_stats.json").is_file():
        beside = read_norm_stats(folder)
        key = "actions" if feature == ACTION else "state"
        if key in beside:
            return beside[key]
    raise PolicyError(missing_statistics(str(folder)))


def _tensors(file: Path, feature: str) -> dict[str, np.ndarray]:
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    if not file.is_file():
        return {}
    try:
        tensors = load_file(file)
    except (SafetensorError, OSError, ValueError, KeyError) as error:
        raise PolicyError(f"{file}: not a readable safetensors file: {error}") from error
    head = f"{feature}."
    return {k[len(head) :]: np.atleast_1d(v) for k, v in tensors.items() if k.startswith(head)}
