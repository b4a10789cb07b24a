"""LoRA adapters in a network that is to be trained."""

from __future__ import annotations

import torch

from pi0_ros.model import LoraConfig, Pi0, add_lora
from pi0_ros.train.precision import Precision, precision_of
from pi0_ros.train.settings import TrainSettings


def with_adapters(model: Pi0, settings: TrainSettings, generator: torch.Generator, per_head: bool = False) -> Pi0:
    """The network with the adapters that a run asks for, in place; as it is without.

    What is frozen below them is kept in bfloat16 if steps compute in it: half of the memory, the same products. Sharded weights
    stay in float32, as a group of them has one type.
    """
    trunk, expert = settings.lora_trunk, settings.lora_expert
    if not (trunk or expert):
        return model
    frozen = torch.bfloat16 if precision_of(settings) is not Precision.FLOAT32 and not settings.shard else None
    return add_lora(model, LoraConfig(trunk, float(trunk), expert, float(expert), per_head), generator, frozen)
