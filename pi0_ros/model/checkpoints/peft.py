"""LoRA checkpoints of PEFT, as LeRobot saves them: low-rank pairs over a base checkpoint, merged while they are read.

Sources: PEFT src/peft/tuners/lora/layer.py (`get_delta_weight`, scaling), src/peft/utils/save_and_load.py (key names);
lerobot v0.6.1 policies/factory.py.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pi0_ros.model.checkpoints.names import canonical_name
from pi0_ros.model.checkpoints.nearby import has_weights, hub_hint
from pi0_ros.model.checkpoints.shards import Shards, open_weights, read_json
from pi0_ros.model.checkpoints.sources import ShardSource, Source, SourceOver
from pi0_ros.model.checkpoints.tensorfile import TensorFile
from pi0_ros.model.errors import CheckpointError
from pi0_ros.robot.files import is_file, is_folder
from pi0_ros.robot.quoting import quote_value

PLAIN = re.compile(r"(\w|[.|^$-]|\\\.){1,300}")  # of a pattern without its `.*`
MAX_STARS = 3
MAX_RANK, MAX_ALPHA = 65536, 1e6
CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
PREFIX = "base_model.model."
LORA = re.compile(r"^(?P<module>.+)\.lora_(?P<part>[AB])(\.default)?\.weight$")


@dataclass(frozen=True)
class PeftConfig:
    """What adapter_config.json says of the pairs: rank and alpha, by pattern of the module's name if given."""

    file: Path
    base: str
    rank: int
    alpha: float
    rank_pattern: Mapping[str, int]
    alpha_pattern: Mapping[str, float]
    rank_stabilised: bool

    def scale(self, module: str) -> float:
        """alpha / r, or alpha / sqrt(r) with use_rslora (Kalajdzievski 2023, arXiv 2312.03732)."""
        rank = _matching(self.rank_pattern, module, self.rank)
        alpha = _matching(self.alpha_pattern, module, self.alpha)
        return float(alpha) / (math.sqrt(rank) if self.rank_stabilised else rank)


def _matching(patterns: Mapping[str, Any], module: str, default: Any) -> Any:
    """The value of the first pattern that the module's name ends with, as PEFT matches them."""
    return next((v for k, v in patterns.items() if re.match(rf"(.*\.)?({k})$", module)), default)


def read_peft(folder: Path) -> PeftConfig:
    """adapter_config.json of a folder. Raises CheckpointError for anything that plain LoRA pairs do not express."""
    file = folder / CONFIG
    values = read_json(file)
    refused = {
        "peft_type": values.get("peft_type") != "LORA",
        "use_dora": bool(values.get("use_dora")),
        "bias": values.get("bias", "none") != "none",
        "fan_in_fan_out": bool(values.get("fan_in_fan_out")),
    }
    wrong = [f"{key} {quote_value(values.get(key))}" for key, is_wrong in refused.items() if is_wrong]
    if wrong:
        raise CheckpointError(f"{file}: {', '.join(wrong)} is not read; merge it with PEFT's merge_and_unload first")
    try:
        config = PeftConfig(
            file,
            str(values.get("base_model_name_or_path") or ""),
            int(values["r"]),
            float(values["lora_alpha"]),
            {_plain_pattern(k): int(v) for k, v in (values.get("rank_pattern") or {}).items()},
            {_plain_pattern(k): float(v) for k, v in (values.get("alpha_pattern") or {}).items()},
            bool(values.get("use_rslora")),
        )
        _check_numbers(config)
        return config
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise CheckpointError(f"{file}: no LoRA configuration in it: {error!r}") from None


def _plain_pattern(pattern: str) -> str:
    """A pattern of module names, with a few `.*` in it at most: any regular expression might run for ever."""
    if not PLAIN.fullmatch(pattern.replace(".*", ".", MAX_STARS)):
        raise ValueError(f"the pattern {quote_value(pattern)} is no name of a module")
    return pattern


def _check_numbers(config: PeftConfig) -> None:
    for rank in (config.rank, *config.rank_pattern.values()):
        if not 0 < rank <= MAX_RANK:
            raise ValueError(f"r is {rank}")
    for alpha in (config.alpha, *config.alpha_pattern.values()):
        if not 0.0 < alpha < MAX_ALPHA:
            raise ValueError(f"lora_alpha is {alpha}")


def open_source(path: Path, base: str | Path | None = None) -> Source:
    """The tensors of a checkpoint in PyTorch's layout; those of a LoRA folder over its base. Raises CheckpointError."""
    folder = path if path.is_dir() else path.parent
    if path.is_dir() and (folder / CONFIG).is_file() and (folder / WEIGHTS).is_file():
        config = read_peft(folder)
        found = _base_folder(config, base)
        return PeftSource(ShardSource(open_weights(found)), found, TensorFile(folder / WEIGHTS), config)
    shards = open_weights(path)
    if any(LORA.match(key) for key in shards.infos):
        raise CheckpointError(
            f"{path}: the weights hold LoRA pairs beside the weights they belong to (a PEFT model saved without "
            "merging); merge them first (merge_and_unload), or save with PEFT's save_pretrained"
        )
    return ShardSource(shards)


def _base_folder(config: PeftConfig, given: str | Path | None) -> Path:
    """The base checkpoint's folder: the one given, else the path in adapter_config.json."""
    named = Path(given) if given is not None else Path(config.base)
    for place in (named, config.file.parent / named):
        if (given is not None or config.base) and (is_file(place) or (is_folder(place) and has_weights(place))):
            return place
    raise CheckpointError(
        f"{config.file.parent}: a LoRA adapter on {config.base or 'a base that it does not name'}, and "
        f"{named if str(named) != '.' else 'that base'} is no checkpoint on this machine{hub_hint(named)}; then merge it: "
        f"pi0 convert {config.file.parent} MERGED --base FOLDER"
    )


class PeftSource(SourceOver):
    """A base checkpoint with LoRA pairs added: W + scale * B A, in float32. `pairs[canonical] = (A, B, scale)`."""

    def __init__(self, base: ShardSource, base_path: Path, adapter: TensorFile, config: PeftConfig) -> None:
        super().__init__(base)
        self.base_path, self.adapter, self.untied = base_path, adapter, base.untied
        self.pairs, self.replaced = _changes(base, adapter, config)

    @property
    def shards(self) -> Shards:
        """The base's files."""
        return self.base.shards

    def copy_into(self, name: str, out: Tensor, check: Callable[[Tensor], bool]) -> bool:
        if name in self.replaced:
            return self.adapter.copy_into(self.replaced[name], out, check)
        if name not in self.pairs:
            return self.base.copy_into(name, out, check)
        a, b, scale = self.pairs[name]
        value = torch.empty(out.shape, dtype=torch.float32)
        if not self.base.copy_into(name, value, check):
            return False
        value += scale * (self._read(b) @ self._read(a)).view(value.shape)
        out.copy_(value)
        return check(value)

    def _read(self, key: str) -> Tensor:
        """A factor as a float32 matrix; those of a convolution are flattened."""
        return self.adapter.read(key).float().flatten(1)


def _changes(
    base: ShardSource, adapter: TensorFile, config: PeftConfig
) -> tuple[dict[str, tuple[str, str, float]], dict[str, str]]:
    """LoRA pairs and whole replaced tensors (`modules_to_save`) by canonical name. Raises CheckpointError."""
    factors: dict[tuple[str, str], str] = {}
    replaced: dict[str, str] = {}
    for key in adapter.infos:
        match = LORA.match(key)
        if match:
            factors[match["module"], match["part"]] = key
        else:
            replaced[_target(base, key.removeprefix(PREFIX).replace(".modules_to_save.default", ""), config)] = key
    pairs = {}
    for module in dict.fromkeys(module for module, _ in factors):
        plain = module.removeprefix(PREFIX)
        a, b = factors.get((module, "A")), factors.get((module, "B"))
        if a is None or b is None:
            raise CheckpointError(
                f"{config.file.parent / WEIGHTS}: {module!r} has one half of a LoRA pair; copy it again"
            )
        name = _target(base, f"{plain}.weight", config)
        _check_pair(base.shapes[name], adapter, a, b)
        pairs[name] = (a, b, config.scale(plain))
    return pairs, replaced


def _target(base: ShardSource, key: str, config: PeftConfig) -> str:
    name = canonical_name(key, base.kind)
    if name is None or name not in base.shapes:
        raise CheckpointError(
            f"{config.file.parent / WEIGHTS}: {key!r} belongs to no weight of the base; it was trained on another model"
        )
    return name


def _check_pair(shape: tuple[int, ...], adapter: TensorFile, a: str, b: str) -> None:
    first, second = adapter.infos[a].shape, adapter.infos[b].shape
    fits = len(first) >= 2 and len(second) >= 2 and second[0] == shape[0] and first[0] == second[1]
    if not fits or math.prod(first[1:]) != math.prod(shape[1:]):
        raise CheckpointError(
            f"{a!r} {list(first)} and {b!r} {list(second)} do not multiply to the base's {list(shape)}"
        )
