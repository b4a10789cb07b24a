"""The pi0 family as networks: weights in, tensors out. No I/O besides checkpoints."""

from pi0_ros.model.checkpoints import CheckpointError, Loaded, load, save
from pi0_ros.model.config import (
    ConfigError,
    GemmaConfig,
    ModelConfig,
    Numerics,
    VisionConfig,
    numerics_for,
    preset,
)
from pi0_ros.model.inputs import FAST, PROMPT, TEXT, InputError, Inputs
from pi0_ros.model.network import Pi0, Prefix, initialise

__all__ = [
    "FAST",
    "PROMPT",
    "TEXT",
    "CheckpointError",
    "ConfigError",
    "GemmaConfig",
    "InputError",
    "Inputs",
    "Loaded",
    "ModelConfig",
    "Numerics",
    "Pi0",
    "Prefix",
    "VisionConfig",
    "initialise",
    "load",
    "numerics_for",
    "preset",
    "save",
]
