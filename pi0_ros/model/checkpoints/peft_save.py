"""Writing LoRA adapters as PEFT reads them: low-rank pairs, and whole tensors that learned beside them, over a base.

Sources: PEFT src/peft/utils/save_and_load.py (key names), src/peft/tuners/lora/layer.py (weight + scale * B A).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pi0_ros.model.checkpoints.names import from_network
from pi0_ros.model.checkpoints.peft import CONFIG, PREFIX, WEIGHTS
from pi0_ros.model.checkpoints.save import write_json
from pi0_ros.model.checkpoints.shards import open_weights, read_json
from pi0_ros.model.checkpoints.sources import ShardSource
from pi0_ros.model.checkpoints.tensorfile import write
from pi0_ros.model.errors import CheckpointError
from pi0_ros.model.lora import LoraLinear
from pi0_ros.model.network import Pi0


def base_keys(base: str | Path) -> dict[str, str]:
    """Network parameter to key in a base checkpoint of LeRobot or openpi's PyTorch.

    Raises: CheckpointError for a base whose modules PEFT does not know (ours, JAX).
    """
    folder = Path(base)
    config = folder / "config.json"
    if (folder / "params").is_dir() or (config.is_file() and read_json(config).get("format") == "pi0_ros"):
        raise CheckpointError(
            f"{folder}: PEFT names the modules of a PyTorch policy of LeRobot or openpi, and this base is none; "
            "export the adapters merged"
        )
    return dict(ShardSource(open_weights(folder)).names.sources)


def pair_of(layer: LoraLinear) -> tuple[Tensor, Tensor]:
    """A [r, in] and B [out, r] with scale * B A the layer's change, whatever its heads are.

    Heads that come out each have a pair of their own: side by side they are one of heads times the rank.
    """
    a, b = layer.lora_a.detach().float(), layer.lora_b.detach().float()
    if layer.out:
        return a.permute(0, 2, 1).flatten(0, 1), torch.block_diag(*b.transpose(1, 2))
    if layer.into:
        return a.flatten(0, 1).T, b.sum(0).T
    return a.T, b.T


@dataclass(frozen=True)
class PeftAdapter:
    """What PEFT's two files hold: tensors by PEFT's keys, and the configuration."""

    tensors: Mapping[str, Tensor]
    config: Mapping[str, Any]

    def save(self, folder: str | Path) -> Path:
        """Write adapter_config.json and adapter_model.safetensors; the folder. Raises OSError."""
        target = Path(folder)
        target.mkdir(parents=True, exist_ok=True)
        write(target / WEIGHTS, {n: t.contiguous() for n, t in self.tensors.items()}, {"format": "pt"})
        write_json(target / CONFIG, self.config)
        return target


def peft_adapter(model: Pi0, base: str | Path) -> PeftAdapter:
    """The adapters of a model and what learned beside them, over a base; the tensors share the model's memory if they can,
    and stay what they are when the adapters are folded in (`merge_lora`).

    Raises: CheckpointError if the model has no adapters, or the base's modules have no names for PEFT.
    """
    keys = base_keys(base)
    tensors: dict[str, Tensor] = {}
    ranks: dict[str, int] = {}
    alphas: dict[str, float] = {}
    for name, module in model.named_modules():
        if isinstance(module, LoraLinear):
            plain = _key(keys, f"{name}.weight", base).removesuffix(".weight")
            a, b = pair_of(module)
            tensors[f"{PREFIX}{plain}.lora_A.weight"], tensors[f"{PREFIX}{plain}.lora_B.weight"] = a, b
            ranks[plain], alphas[plain] = len(a), module.scale * len(a)
    if not ranks:
        raise CheckpointError(f"the network has no LoRA adapters to write over {base}")
    whole = set()
    for name, parameter in model.named_parameters():
        if parameter.requires_grad and not name.endswith((".lora_a", ".lora_b")):
            key = _key(keys, name, base)
            tensors[PREFIX + key] = parameter.detach().float()
            whole.add(key.rpartition(".")[0])
    usual = max(set(ranks.values()), key=list(ranks.values()).count)
    config = {
        "peft_type": "LORA",
        "base_model_name_or_path": str(Path(base).resolve()),
        "r": usual,
        "lora_alpha": usual,
        "lora_dropout": 0.0,
        "bias": "none",
        "inference_mode": True,
        "target_modules": sorted(ranks),
        "modules_to_save": sorted(whole) or None,
        "rank_pattern": {n: r for n, r in ranks.items() if r != usual},
        "alpha_pattern": {n: v for n, v in alphas.items() if v != usual},
    }
    return PeftAdapter(tensors, config)


def _key(keys: dict[str, str], name: str, base: str | Path) -> str:
    found = keys.get(from_network(name))
    if found is None:
        raise CheckpointError(f"{base}: has no weight for {name}, which was trained; export the adapters merged")
    return found
