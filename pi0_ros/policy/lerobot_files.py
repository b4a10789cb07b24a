"""LeRobot's processor files: policy_preprocessor.json, policy_postprocessor.json and the statistics they point to."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pi0_ros.model.errors import CheckpointError
from pi0_ros.model.norm_methods import LEROBOT_METHODS
from pi0_ros.model.safetensors_header import read_arrays
from pi0_ros.policy.errors import PolicyError
from pi0_ros.policy.normalize import LEROBOT_EPSILON, Normalizer, Statistics, read_norm_stats
from pi0_ros.robot.files import is_file, read_json
from pi0_ros.robot.quoting import escape, quote_value

MAX_PROMPT = 4096  # tokens
STATE, ACTION = "observation.state", "action"
Config = Mapping[str, object]


@dataclass(frozen=True)
class Step:
    """One step of a processor file: its registered name, its configuration, and the file of its numbers."""

    name: object
    config: Config
    state_file: object = None


@dataclass(frozen=True)
class Processors:
    """What the two files say. `delta` is None if no relative-actions step stands in them."""

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
    relative = [s for s in before if s.name == "relative_actions_processor"]
    if not isinstance(rename, dict):
        raise PolicyError(
            f"{folder / 'policy_preprocessor.json'}: rename_map is {quote_value(rename)}, no map of names"
        )
    return Processors(
        state=_normalizer(folder, normalizer, STATE, "STATE"),
        actions=_normalizer(folder, restorer, ACTION, "ACTION"),
        rename={str(k): str(v) for k, v in rename.items()},
        prompt_length=length if type(length) is int and 0 < length <= MAX_PROMPT else 0,
        delta=_relative(folder, relative[0].config) if relative else None,
    )


def _relative(folder: Path, config: Config) -> RelativeActions:
    names, exclude = (_listed(folder, key, config.get(key)) for key in ("action_names", "exclude_joints"))
    return RelativeActions(bool(config.get("enabled", False)), exclude or (), names)


def _listed(folder: Path, key: str, value: object) -> tuple[str, ...] | None:
    """A list of names; None if there is none. Raises PolicyError for anything else."""
    if value is None:
        return None
    if not isinstance(value, list):
        raise PolicyError(f"{folder / 'policy_preprocessor.json'}: {key} is {quote_value(value)}, no list of names")
    return tuple(str(name) for name in value)


def _steps(file: Path) -> Sequence[Step]:
    if not is_file(file):
        raise PolicyError(f"{file}: missing; LeRobot >= 0.4 writes it beside the weights")
    content = read_json(file, PolicyError)
    steps = content.get("steps") if isinstance(content, dict) else None
    if not isinstance(steps, list) or not all(isinstance(s, dict) for s in steps):
        raise PolicyError(f"{file}: no list of processor steps ('steps') in it")
    for step in steps:
        if not isinstance(step.get("config") or {}, dict):
            raise PolicyError(f"{file}: the config of the step {quote_value(step.get('registry_name'))} is no object")
    return [Step(s.get("registry_name"), s.get("config") or {}, s.get("state_file")) for s in steps]


def _step(steps: Sequence[Step], name: str, file: Path) -> Step:
    found = [s for s in steps if s.name == name]
    if not found:
        raise PolicyError(f"{file}: no {name} step, so nothing says how the policy is normalised")
    return found[0]


def _config(steps: Sequence[Step], name: str) -> Config:
    return next((s.config for s in steps if s.name == name), {})


def _normalizer(folder: Path, step: Step, feature: str, kind: str) -> Normalizer:
    config = step.config
    modes = config.get("norm_map") or {}
    if not isinstance(modes, dict):
        raise PolicyError(f"{folder}: norm_map is {quote_value(modes)}, no map of modes")
    if modes.get("VISUAL", "IDENTITY") != "IDENTITY":
        raise PolicyError(
            f"{folder}: pictures are normalised by {quote_value(modes['VISUAL'])}; π0's pictures go in as they are"
        )
    keys = config.get("normalize_observation_keys")
    mode = modes.get(kind, "IDENTITY")
    if keys is not None and not isinstance(keys, list):
        raise PolicyError(f"{folder}: normalize_observation_keys is {quote_value(keys)}, no list of names")
    if feature != ACTION and keys is not None and feature not in keys:
        mode = "IDENTITY"
    if not isinstance(mode, str) or mode not in LEROBOT_METHODS:
        raise PolicyError(f"{folder}: normalisation mode {quote_value(mode)} of {kind} is unknown")
    method = LEROBOT_METHODS[mode]
    if method == "identity":
        return Normalizer(method)
    values = _statistics(folder, step.state_file, feature)
    epsilon = config.get("eps", LEROBOT_EPSILON)
    if not isinstance(epsilon, int | float) or isinstance(epsilon, bool) or not 0 <= epsilon < 1:
        raise PolicyError(f"{folder}: eps of the normalisation is {quote_value(epsilon)}, no small number")
    return Normalizer(method, values, float(epsilon))


def _statistics(folder: Path, name: object, feature: str) -> Statistics:
    """Statistics of a feature from the step's safetensors file, or from a norm_stats.json laid beside it."""
    lost = "no step of it names a file with statistics"
    if isinstance(name, str):
        if Path(name).name != name or "\0" in name or len(name) > 255:
            raise PolicyError(f"{folder}: state_file {quote_value(name)} points out of the checkpoint's folder")
        tensors = _tensors(folder / name)
        values = {k[len(feature) + 1 :]: v for k, v in tensors.items() if k.startswith(f"{feature}.")}
        if values:
            return Statistics(values, f"{folder / name}: {feature}")
        lost = _lost(folder / name, feature, tensors)
    if (folder / "norm_stats.json").is_file():
        beside = read_norm_stats(folder)
        key = "actions" if feature == ACTION else "state"
        if key in beside:
            return beside[key]
    raise PolicyError(f"{folder}: no statistics of {feature}: {lost}; or put a norm_stats.json beside the weights")


def _lost(file: Path, feature: str, tensors: Mapping[str, NDArray[np.floating]]) -> str:
    """Why a file gives no statistics of a feature, and the way out."""
    if not is_file(file):
        return f"the processor files point to {file.name}, which is not there; copy it too"
    pattern = re.compile(rf"^(.+)\.buffer\.{re.escape(feature).replace(chr(92) + '.', '[._]')}\.")
    heads = sorted({match[1] for key in tensors if (match := pattern.match(key))})
    if heads:
        return (
            f"{file.name} keeps them for the datasets {', '.join(heads)} apart (a multi-dataset checkpoint of old LeRobot); "
            f"save those of one dataset as {feature}.mean, {feature}.std, ..."
        )
    return f"{file.name} has {escape(', '.join(sorted(tensors)[:8])) or 'nothing in it'}"


def _tensors(file: Path) -> dict[str, NDArray[np.floating]]:
    """Every tensor of a statistics file in float32 or wider, counts too, {} if the file is not there."""
    if not is_file(file):
        return {}
    try:
        found = read_arrays(file)
    except CheckpointError as error:
        raise PolicyError(str(error)) from error
    return {name: np.atleast_1d(_real(values)) for name, values in found.items()}


def _real(values: NDArray[np.generic]) -> NDArray[np.floating]:
    return values.astype(values.dtype if values.dtype.kind == "f" else np.float64)
