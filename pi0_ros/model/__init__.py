"""The pi0 family as networks: weights in, tensors out. No I/O besides checkpoints."""

from pi0_ros.model.checkpointing import gradient_checkpointing
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
from pi0_ros.model.ema import Ema
from pi0_ros.model.inference.sampler import FastSampler
from pi0_ros.model.inputs import FAST, PROMPT, TEXT, InputError, Inputs
from pi0_ros.model.lora import LoraConfig, add_lora, merge_lora
from pi0_ros.model.losses import FlowTargets, delayed_times, flow_mean, flow_times
from pi0_ros.model.network import Pi0, Prefix, initialise
from pi0_ros.model.rtc import Rtc, RtcError
from pi0_ros.model.sampling import sample_actions
from pi0_ros.model.text import generate_scored, generate_text

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
    "Loaded",
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
