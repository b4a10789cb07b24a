"""The pi0 family as networks: weights in, tensors out. No I/O besides checkpoints.

What stands in `__all__` is imported when it is first used: `pi0_ros.model.config` alone needs no torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pi0_ros.model.checkpointing import gradient_checkpointing
    from pi0_ros.model.checkpoints.load import LoadedCheckpoint, load
    from pi0_ros.model.checkpoints.save import save
    from pi0_ros.model.config import (
        ConfigError,
        GemmaConfig,
        ModelConfig,
        Numerics,
        VisionConfig,
        numerics_for,
        preset,
    )
    from pi0_ros.model.ema import Ema
    from pi0_ros.model.errors import CheckpointError, InputError
    from pi0_ros.model.inference.sampler import FastSampler
    from pi0_ros.model.inputs import FAST, PROMPT, TEXT, Inputs
    from pi0_ros.model.lora import LoraConfig, add_lora, merge_lora
    from pi0_ros.model.losses import FlowTargets, delayed_times, flow_mean, flow_times
    from pi0_ros.model.network import Pi0, Prefix, initialise
    from pi0_ros.model.rtc import Rtc, RtcError
    from pi0_ros.model.sampling import sample_actions
    from pi0_ros.model.text import generate_scored, generate_text

_MODULES = {
    "checkpointing": "gradient_checkpointing",
    "checkpoints.load": "LoadedCheckpoint load",
    "checkpoints.save": "save",
    "config": "ConfigError GemmaConfig ModelConfig Numerics VisionConfig numerics_for preset",
    "ema": "Ema",
    "errors": "CheckpointError InputError",
    "inference.sampler": "FastSampler",
    "inputs": "FAST PROMPT TEXT Inputs",
    "lora": "LoraConfig add_lora merge_lora",
    "losses": "FlowTargets delayed_times flow_mean flow_times",
    "network": "Pi0 Prefix initialise",
    "rtc": "Rtc RtcError",
    "sampling": "sample_actions",
    "text": "generate_scored generate_text",
}
"""Modules of this package, and the names that they give."""
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names.split()}

__all__ = [
    "FAST",
    "PROMPT",
    "TEXT",
    "CheckpointError",
    "ConfigError",
    "Ema",
    "FastSampler",
    "FlowTargets",
    "GemmaConfig",
    "InputError",
    "Inputs",
    "LoadedCheckpoint",
    "LoraConfig",
    "ModelConfig",
    "Numerics",
    "Pi0",
    "Prefix",
    "Rtc",
    "RtcError",
    "VisionConfig",
    "add_lora",
    "delayed_times",
    "flow_mean",
    "flow_times",
    "generate_scored",
    "generate_text",
    "gradient_checkpointing",
    "initialise",
    "load",
    "merge_lora",
    "numerics_for",
    "preset",
    "sample_actions",
    "save",
]


def __getattr__(name: str) -> object:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]
