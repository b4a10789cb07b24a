"""Writing LeRobot's checkpoint layout (0.5 and 0.6): weights, config.json, and the two processor files with statistics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pi0_ros.model.checkpoints.names import EMBEDDING, LM_HEAD, from_network
from pi0_ros.model.checkpoints.save import cast, sizes_json, write_json, write_weights
from pi0_ros.model.checkpoints.tensorfile import write
from pi0_ros.model.config import ModelConfig
from pi0_ros.model.conventions import Conventions
from pi0_ros.model.errors import CheckpointError
from pi0_ros.model.kinds import traits
from pi0_ros.model.network import Pi0
from pi0_ros.model.norm_methods import LEROBOT_METHODS

Statistics = Mapping[str, Mapping[str, np.ndarray]]
STATE, ACTION = "observation.state", "action"
# What turns actions into tokens when LeRobot trains a pi0-FAST; it does nothing at inference.
FAST_STEPS = (
    (
        "action_tokenizer_processor",
        {
            "trust_remote_code": True,
            "max_action_tokens": 256,
            "action_tokenizer_name": "lerobot/fast-action-tokenizer",
        },
    ),
)
MODES = {method: mode for mode, method in LEROBOT_METHODS.items()} | {
    "openpi_zscore": "MEAN_STD",
    "openpi_quantile": "QUANTILES",
}


@dataclass(frozen=True)
class Vectors:
    """State and action of the robot: statistics {"state", "actions"}, which actions are offsets, and their names."""

    statistics: Statistics = field(default_factory=dict)
    delta: Sequence[bool] = ()
    names: Sequence[str] = ()

    def size(self, key: str, default: int) -> int:
        """Dimensions of "state" or "actions"; `default` if there are no statistics."""
        return next((len(values) for name, values in self.statistics.get(key, {}).items() if name != "count"), default)


def save_lerobot(
    model: Pi0,
    folder: str | Path,
    conventions: Conventions,
    vectors: Vectors | None = None,
    dtype: torch.dtype | None = None,
    shard_bytes: int = 0,
) -> Path:
    """Writes a folder that LeRobot's from_pretrained reads, config.json last.

    Sizes that LeRobot has no field for stand in a sizes.json beside it. Raises CheckpointError for offsets that
    LeRobot cannot express (it chooses them by joint name).
    """
    folder, vectors = Path(folder), vectors or Vectors()
    relative = relative_fields(conventions, vectors)
    folder.mkdir(parents=True, exist_ok=True)
    write_weights(folder, lerobot_weights(model, dtype), shard_bytes)
    write_json(folder / "sizes.json", sizes_json(model.config))
    write_processors(folder, model.config, conventions, vectors, relative)
    stored = dtype or next(model.parameters()).dtype
    write_json(folder / "config.json", lerobot_config(model.config, conventions, vectors, relative, stored))
    return folder


def lerobot_weights(model: Pi0, dtype: torch.dtype | None = None) -> dict[str, Tensor]:
    """The state dict LeRobot expects in full.

    Both embedding names are there (LeRobot does not tie them), and the unused `gemma_expert.lm_head` as zeros, because
    LeRobot drops the whole file where one key is missing.
    """
    tensors = {}
    for name, tensor in cast(model, dtype).items():
        canonical = from_network(name)
        tensors[_key(canonical)] = tensor
        if canonical == EMBEDDING:
            tensors[_key(LM_HEAD)] = tensor
    if model.config.expert is not None:
        shape = (model.config.vocab, model.config.expert.width)
        tensors[_key("gemma_expert.lm_head.weight")] = tensors[_key(EMBEDDING)].new_zeros(1).expand(shape)
    return tensors


def _key(canonical: str) -> str:
    inner = "paligemma_with_expert." if canonical.startswith(("paligemma.", "gemma_expert.")) else ""
    return "model." + inner + canonical


def relative_fields(conventions: Conventions, vectors: Vectors) -> dict[str, Any]:
    """`use_relative_actions` and its companions. LeRobot leaves out joints by parts of their names."""
    if not any(vectors.delta):
        return {
            "use_relative_actions": conventions.relative_actions,
            "relative_exclude_joints": list(conventions.absolute_joints) or ["gripper"],
            "action_feature_names": list(vectors.names) or None,
        }
    absolute = [name for name, delta in zip(vectors.names, vectors.delta, strict=False) if not delta]
    offsets = [name.lower() for name, delta in zip(vectors.names, vectors.delta, strict=False) if delta]
    clash = [word for word in absolute if any(word.lower() in name for name in offsets)]
    if len(vectors.names) < len(vectors.delta) or clash:
        raise CheckpointError(
            "LeRobot chooses offsets by joint name, and these names do not tell absolute joints from offsets: "
            f"{', '.join(clash or ['names are missing'])}; rename the channels"
        )
    return {
        "use_relative_actions": True,
        "relative_exclude_joints": absolute,
        "action_feature_names": list(vectors.names),
    }


def _features(config: ModelConfig, vectors: Vectors) -> tuple[dict[str, Any], dict[str, Any]]:
    side = config.vision.image_size
    inputs: dict[str, Any] = {
        f"observation.images.{camera}": {"type": "VISUAL", "shape": [3, side, side]} for camera in config.cameras
    }
    inputs[STATE] = {"type": "STATE", "shape": [vectors.size("state", config.state_dim)]}
    return inputs, {ACTION: {"type": "ACTION", "shape": [vectors.size("actions", config.action_dim)]}}


def _norm_map(conventions: Conventions) -> dict[str, str]:
    return {"VISUAL": "IDENTITY", "STATE": MODES[conventions.state_norm], "ACTION": MODES[conventions.action_norm]}


def lerobot_config(
    config: ModelConfig,
    conventions: Conventions,
    vectors: Vectors,
    relative: Mapping[str, Any],
    dtype: torch.dtype,
) -> dict[str, Any]:
    """config.json. Fields left out have LeRobot's defaults."""
    inputs, outputs = _features(config, vectors)
    fast = traits(config.kind).acts_in_tokens
    values: dict[str, Any] = {
        "type": config.kind,
        "n_obs_steps": 1,
        "input_features": inputs,
        "output_features": outputs,
        "device": "cpu",
        "use_amp": False,
        "push_to_hub": False,
        "paligemma_variant": "gemma_2b",
        "action_expert_variant": "gemma_300m",
        "dtype": "bfloat16" if dtype == torch.bfloat16 else "float32",
        "chunk_size": config.horizon,
        "n_action_steps": config.horizon,
        "max_state_dim": config.state_dim,
        "max_action_dim": config.action_dim,
        "min_period": config.numerics.min_period,
        "max_period": config.numerics.max_period,
        **relative,
        "image_resolution": [config.vision.image_size] * 2,
        "empty_cameras": 0,
        "tokenizer_max_length": config.prompt_length,
        "normalization_mapping": _norm_map(conventions),
    }
    flow_only = ("min_period", "max_period") if fast else ()
    return {key: value for key, value in values.items() if key not in flow_only}


def write_processors(
    folder: Path, config: ModelConfig, conventions: Conventions, vectors: Vectors, relative: Mapping[str, Any]
) -> None:
    """policy_preprocessor.json, policy_postprocessor.json and their statistics."""
    before, after = (
        preprocessor_steps(config, conventions, vectors, relative),
        postprocessor_steps(config, conventions, vectors, relative),
    )
    for name, steps in (("policy_preprocessor", before), ("policy_postprocessor", after)):
        for index, step in enumerate(steps):
            if step["registry_name"] in ("normalizer_processor", "unnormalizer_processor") and vectors.statistics:
                step["state_file"] = f"{name}_step_{index}_{step['registry_name']}.safetensors"
                write(folder / step["state_file"], _flat(vectors.statistics))
        write_json(folder / f"{name}.json", {"name": name, "steps": steps})


def _flat(statistics: Statistics) -> dict[str, Tensor]:
    """`<feature>.<stat>` in float32, as LeRobot writes them."""
    features = {"state": STATE, "actions": ACTION}
    return {
        f"{features[key]}.{name}": torch.tensor(np.asarray(values, np.float32))
        for key, table in statistics.items()
        if key in features
        for name, values in table.items()
    }


def preprocessor_steps(
    config: ModelConfig, conventions: Conventions, vectors: Vectors, relative: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """The steps in LeRobot 0.6's order, which differs by kind."""
    inputs, outputs = _features(config, vectors)
    norm = {"eps": 1e-8, "features": {**inputs, **outputs}, "norm_map": _norm_map(conventions)}
    offsets = {
        "enabled": relative["use_relative_actions"],
        "exclude_joints": relative["relative_exclude_joints"],
        "action_names": relative["action_feature_names"],
    }
    tokenizer = {
        "max_length": config.prompt_length,
        "task_key": "task",
        "padding_side": "right",
        "padding": "max_length",
        "truncation": True,
        "tokenizer_name": "google/paligemma-3b-pt-224",
    }
    start: list[tuple[str, dict[str, Any]]] = [
        ("rename_observations_processor", {"rename_map": {}}),
        ("to_batch_processor", {}),
    ]
    vectors_steps = [("relative_actions_processor", offsets), ("normalizer_processor", norm)]
    device = [("device_processor", {"device": "cpu", "float_dtype": None})]
    if traits(config.kind).state_token:
        order = [*start, ("pi0_new_line_processor", {}), ("tokenizer_processor", tokenizer), *device, *vectors_steps]
    else:
        prompt = [(f"{config.kind}_prepare_state_tokenizer_processor_step", {}), ("tokenizer_processor", tokenizer)]
        order = [*start, *vectors_steps, *prompt, *(FAST_STEPS if traits(config.kind).acts_in_tokens else ()), *device]
    return [{"registry_name": name, "config": values} for name, values in order]


def postprocessor_steps(
    config: ModelConfig, conventions: Conventions, vectors: Vectors, relative: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Statistics undone, then offsets."""
    norm = {"eps": 1e-8, "features": _features(config, vectors)[1], "norm_map": _norm_map(conventions)}
    return [
        {"registry_name": "unnormalizer_processor", "config": norm},
        {"registry_name": "absolute_actions_processor", "config": {"enabled": relative["use_relative_actions"]}},
        {"registry_name": "device_processor", "config": {"device": "cpu", "float_dtype": None}},
    ]
