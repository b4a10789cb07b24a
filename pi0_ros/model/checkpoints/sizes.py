"""Sizes of a model from the shapes of its weights, helped by the JSON files beside them.

All but the number of attention heads, the horizon and the prompt length can be read off the shapes. Heads come, in this
order, from an explicit argument, the shapes (JAX keeps them), `sizes.json`, and the rule of the published models:
one key/value head for Gemma, and known head sizes for SigLIP.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from pi0_ros.model.checkpoints.names import EMBEDDING, EXPERT, LANGUAGE, LM_HEAD, VISION
from pi0_ros.model.config import CAMERAS, ConfigError, GemmaConfig, ModelConfig, Numerics, VisionConfig
from pi0_ros.model.errors import CheckpointError
from pi0_ros.model.kinds import Kind, traits

Shapes = Mapping[str, tuple[int, ...]]

VISION_HEADS = {1152: 16, 1024: 16, 768: 12, 384: 6}  # SigLIP So400m, L, B, S
HORIZON_KEYS = ("action_horizon", "chunk_size")  # openpi's and LeRobot's config.json


def _shape(shapes: Shapes, name: str, rank: int) -> tuple[int, ...]:
    if name not in shapes:
        raise CheckpointError(f"the weights lack {name!r}, which gives the model's size")
    shape = shapes[name]
    if len(shape) != rank or 0 in shape:
        raise CheckpointError(f"{name!r} has shape {list(shape)}; {rank} non-empty axes are expected")
    return shape


def _depth(shapes: Shapes, prefix: str) -> int:
    pattern = re.compile(re.escape(prefix) + r"layers\.(\d+)\.")
    found = {int(match[1]) for name in shapes if (match := pattern.match(name))}
    lost = next(i for i in range(len(found) + 1) if i not in found)
    if lost != len(found) or not found:
        raise CheckpointError(
            f"the weights lack layer {lost} under {prefix!r}, but have layer {max(found, default=-1)}"
        )
    return lost


def _whole(sizes: Mapping[str, Any], key: str, where: str) -> int | None:
    value = sizes.get(key)
    if value is not None and (type(value) is not int or value < 1):
        raise CheckpointError(f"{where}: {key!r} must be a positive whole number, got {value!r}")
    return value


def _table(sizes: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = sizes.get(key) or {}
    if not isinstance(value, Mapping):
        raise CheckpointError(f"sizes: {key!r} must be an object")
    return value


def vision_sizes(shapes: Shapes, sizes: Mapping[str, Any]) -> VisionConfig:
    """The SigLIP tower. Raises CheckpointError if the number of heads can only be guessed."""
    width, _, patch, _ = _shape(shapes, VISION + "embeddings.patch_embedding.weight", 4)
    tokens, _ = _shape(shapes, VISION + "embeddings.position_embedding.weight", 2)
    mlp, _ = _shape(shapes, VISION + "encoder.layers.0.mlp.fc1.weight", 2)
    side = math.isqrt(tokens)
    if side * side != tokens:
        raise CheckpointError(f"the position embedding has {tokens} rows, which is no square of patches")
    heads = _whole(_table(sizes, "vision"), "heads", "sizes.vision") or VISION_HEADS.get(width)
    if heads is None:
        raise CheckpointError(
            f"a vision tower of width {width} is none of the published ones and shapes do not tell its heads; "
            'put a sizes.json with {"vision": {"heads": N}} beside the weights or pass sizes='
        )
    return VisionConfig(width, _depth(shapes, VISION + "encoder."), heads, mlp, side * patch, patch)


def gemma_sizes(shapes: Shapes, prefix: str, sizes: Mapping[str, Any]) -> GemmaConfig:
    """One Gemma stack; one key/value head unless `sizes` says otherwise, as in every published variant."""
    inner, width = _shape(shapes, prefix + "layers.0.self_attn.q_proj.weight", 2)
    kv, _ = _shape(shapes, prefix + "layers.0.self_attn.k_proj.weight", 2)
    mlp, _ = _shape(shapes, prefix + "layers.0.mlp.gate_proj.weight", 2)
    head_dim, kv_heads = _whole(sizes, "head_dim", "sizes"), _whole(sizes, "kv_heads", "sizes")
    heads = _whole(sizes, "heads", "sizes")
    head_dim = head_dim or (inner // heads if heads else kv // (kv_heads or 1)) or 1
    found = (inner // head_dim, kv // head_dim)
    if inner % head_dim or kv % head_dim or (heads or found[0], kv_heads or found[1]) != found:
        raise CheckpointError(
            f"{prefix}: {inner} query and {kv} key rows do not divide into the given heads {heads}, "
            f"kv_heads {kv_heads}, head_dim {head_dim}; correct sizes.json or sizes="
        )
    return GemmaConfig(width, _depth(shapes, prefix), *found, head_dim, mlp)


def cameras_of(sizes: Mapping[str, Any], config: Mapping[str, Any]) -> tuple[str, ...]:
    """Camera names in the model's order: from sizes, else LeRobot's visual features, else openpi's three."""
    given = sizes.get("cameras")
    if isinstance(given, list | tuple) and given and all(isinstance(name, str) for name in given):
        return tuple(given)
    features = config.get("input_features")
    features = features if isinstance(features, Mapping) else {}
    visual = [k for k, v in features.items() if isinstance(v, Mapping) and v.get("type") == "VISUAL"]
    empty = config.get("empty_cameras", 0)
    for i in range(empty if isinstance(empty, int) and empty <= 64 else 0):
        name = f"observation.images.empty_camera_{i}"
        visual += [] if name in visual else [name]
    return tuple(name.removeprefix("observation.images.") for name in visual) or CAMERAS


def records_horizon(sizes: Mapping[str, Any], config: Mapping[str, Any]) -> bool:
    """Whether sizes or config.json say how many rows a chunk has; `infer` takes the usual number if not."""
    return bool(_whole(sizes, "horizon", "sizes") or _first(config, *HORIZON_KEYS))


def infer(
    kind: Kind, shapes: Shapes, sizes: Mapping[str, Any], config: Mapping[str, Any], numerics: Numerics
) -> ModelConfig:
    """The model configuration behind canonical `shapes`.

    `sizes` follows the golden folders' sizes.json (any part may be missing), `config` is openpi's or LeRobot's
    config.json. Raises CheckpointError if they contradict the shapes.
    """
    language = gemma_sizes(shapes, LANGUAGE, _table(sizes, "gemma"))
    fast = traits(kind).acts_in_tokens
    shared = {key: getattr(language, key) for key in ("heads", "kv_heads", "head_dim")}
    expert = None if fast else gemma_sizes(shapes, EXPERT, {**shared, **_table(sizes, "expert")})
    action_dim = _whole(config, "action_dim", "config.json") or _whole(config, "max_action_dim", "config.json") or 32
    if not fast:
        action_dim = _shape(shapes, "action_in_proj.weight", 2)[1]
    horizon = _whole(sizes, "horizon", "sizes") or _first(config, *HORIZON_KEYS) or traits(kind).horizon
    length = _whole(sizes, "prompt_length", "sizes") or _first(config, "tokenizer_max_length", "max_token_len")
    try:
        return ModelConfig(
            kind=kind,
            vision=vision_sizes(shapes, sizes),
            language=language,
            expert=expert,
            vocab=_shape(shapes, EMBEDDING, 2)[0],
            action_dim=action_dim,
            horizon=horizon,
            prompt_length=length or traits(kind).prompt_length,
            cameras=cameras_of(sizes, config),
            state_dim=shapes["state_proj.weight"][1] if "state_proj.weight" in shapes else 0,
            untied=EMBEDDING in shapes and LM_HEAD in shapes,
            numerics=numerics,
        )
    except ConfigError as error:
        raise CheckpointError(f"the weights do not make a model: {error}") from None


def _first(config: Mapping[str, Any], *keys: str) -> int | None:
    return next((value for key in keys if (value := _whole(config, key, "config.json"))), None)
