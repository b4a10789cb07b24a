"""Every number of a training run, in one value that is written beside its checkpoints."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from typing import Any

from pi0_ros.train.errors import TrainError


class Augment(StrEnum):
    """How pictures are disturbed. light: brightness, contrast and noise of the settings."""

    NONE = "none"
    LIGHT = "light"
    OPENPI = "openpi"


RANGES: tuple[tuple[tuple[str, ...], float, float], ...] = (
    (("steps", "batch", "draws", "workers", "validate_every"), 1, 10**9),
    (("keep", "patience"), 0, 10**6),
    (("loaders",), 0, 256),
    (("word_batch", "warmup", "language_steps", "prefix_rows", "lora_trunk", "lora_expert", "seed"), 0, 2**31),
    (("minutes", "weight_decay", "clip", "alpha", "save_every"), 0.0, 1e9),
    (("answer_weight", "word_weight", "state_noise", "picture_noise"), 0.0, 1e9),
    (("brightness", "contrast"), 0.0, 1.0),
    (("peak_rate", "final_rate"), 0.0, 1e9),
    (("prefix_chance", "still_weight"), 0.0, 1.0),
    (("ema", "validation_share"), 0.0, 0.9999999),
)


@dataclass(frozen=True)
class TrainSettings:
    """One run.

    steps: optimiser steps. minutes: wall-clock end; 0: none. The schedule follows whichever is further along.
    batch: action examples a step and process. word_batch: high-level examples a step and process.
    draws: noise draws on one prefix. workers: processes that share the batch (data parallel). loaders: processes
    that make examples ahead for each of them, 0: none.
    alpha: weight of the flow loss (pi0.5: 10). language_steps: first steps with alpha = 0 (pi0.5's first stage).
    prefix_chance, prefix_rows: training-time real-time chunking, chance a step and most rows given clean.
    recipe: "pi0_ros", "openpi" or "lerobot", "" for that of the project the start comes from (`train.recipe`).
    answer_weight: of what is said beside the actions, and of pi0-FAST's actions.
    insulate: knowledge insulation. device: where the network is; ema_device: where the average is kept, "" for there
    too. moments: "float32", or "8bit" (bitsandbytes). precision: "bfloat16" computes in bfloat16 on float32 weights, or "float32";
    "auto": bfloat16, and float32 on a processor without instructions for it.
    lora: ranks for trunk and expert, 0 for full training. lora_export: "merged", or "peft" to write the adapters too.
    augment: how pictures are disturbed: "none", "light" (brightness, contrast and noise as set here), "openpi" (crop, turn,
    colour), "" for the recipe's.
    clip: largest norm of the gradient, 0: it is not clipped.
    still_weight: chance of a frame whose chunk stands still, against one that moves.
    validate_every, save_every: in steps and minutes. keep: checkpoints that stay beside the best one, 0: the newest alone, and
    no best. patience: validations without a lower loss that end the run, 0: none do. shard: share weights, gradients, moments
    and averages out over the processes (FSDP2). compile: transformer layers through
    torch.compile. tensorboard, wandb: also write there (`wandb` is the project's name, "" for none). ema: decay of the exported average, 0 for none.
    """

    steps: int = 6000
    minutes: float = 0.0
    batch: int = 12
    word_batch: int = 4
    draws: int = 4
    workers: int = 1
    loaders: int = 0
    seed: int = 0
    peak_rate: float = 1e-3
    final_rate: float = 3e-5
    warmup: int = 150
    weight_decay: float = 0.01
    clip: float = 1.0
    ema: float = 0.998
    alpha: float = 10.0
    language_steps: int = 0
    prefix_chance: float = 0.25
    prefix_rows: int = 6
    insulate: bool = False
    recipe: str = ""
    device: str = "cpu"
    ema_device: str = ""
    moments: str = "float32"
    precision: str = "auto"
    gradient_checkpointing: bool = False
    lora_trunk: int = 0
    lora_expert: int = 0
    lora_export: str = "merged"
    augment: str = ""
    state_noise: float = 0.01
    brightness: float = 0.08
    contrast: float = 0.08
    picture_noise: float = 0.02
    answer_weight: float = 1.0
    word_weight: float = 4.0
    still_weight: float = 0.25
    validate_every: int = 250
    validation_share: float = 0.02
    save_every: float = 3.0
    keep: int = 1
    patience: int = 0
    shard: bool = False
    compile: bool = False
    tensorboard: bool = False
    wandb: str = ""

    def __post_init__(self) -> None:
        if self.precision not in ("auto", "bfloat16", "float32"):
            raise TrainError(f"precision '{self.precision}' is not known; choose auto, bfloat16 or float32")
        if self.moments not in ("float32", "8bit"):
            raise TrainError(f"--moments '{self.moments}' is not known; choose float32 or 8bit")
        if self.lora_export not in ("merged", "peft"):
            raise TrainError(f"--lora-export '{self.lora_export}' is not known; choose merged or peft")
        if self.lora_export == "peft" and not (self.lora_trunk or self.lora_expert):
            raise TrainError("--lora-export peft writes adapters; give --lora-trunk or --lora-expert too")
        if self.patience and not self.validation_share:
            raise TrainError(
                "--patience ends a run by its loss on held-out episodes, and --validation-share 0 holds out none; give both"
            )
        if self.shard and self.compile:
            raise TrainError("--shard and --compile are not supported together; leave one of them away")
        if self.shard and self.moments == "8bit":
            raise TrainError(
                "--shard and --moments 8bit do not go together: bitsandbytes knows no sharded weights; leave one of them away"
            )
        if self.augment not in ("", *Augment):
            raise TrainError(f"--augment '{self.augment}' is not known; choose {', '.join(Augment)}")
        for option, value in (("--device", self.device), ("--ema-device", self.ema_device or self.device)):
            if not re.fullmatch(r"cpu|cuda(:\d+)?|mps", value):
                raise TrainError(f"{option} '{value}' is not known; choose cpu, cuda, cuda:1 or mps")
        for names, least, most in RANGES:
            for name in names:
                value = getattr(self, name)
                if not least <= value <= most:  # NaN fails too
                    limit = f"at least {least:g}" if most == math.inf else f"between {least:g} and {most:g}"
                    raise TrainError(f"--{name.replace('_', '-')} has to be {limit}, got {value:g}")

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> TrainSettings:
        """The settings written by `to_dict`. Raises TrainError naming an unknown one."""
        unknown = sorted(set(values) - {f.name for f in fields(cls)})
        if unknown:
            raise TrainError(f"training setting '{unknown[0]}' is not known")
        return cls(**values)
