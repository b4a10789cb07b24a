"""A network to begin training with: a checkpoint of the family or a PaliGemma, grown to the kind that is wanted.

What the checkpoint lacks is drawn anew: the action expert and its projections, as π0 does on PaliGemma (arXiv 2410.24164,
section IV) and π0.5 between its two stages (arXiv 2504.16054, section IV.D).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from pi0_ros.model.checkpoints.load import OpenedCheckpoint, Origin, Progress, empty, fill, naming, open_checkpoint
from pi0_ros.model.checkpoints.names import to_network
from pi0_ros.model.config import (
    ConfigError,
    GemmaConfig,
    ModelConfig,
    VisionConfig,
    numerics_for,
)
from pi0_ros.model.errors import CheckpointError
from pi0_ros.model.kinds import KINDS, traits
from pi0_ros.model.network import Pi0, initialise

TRUNK = ("siglip", "projector", "gemma", "lm_head")


@dataclass(frozen=True)
class Start:
    """A network in memory, ready to be trained. `drawn`: its parts that the checkpoint does not have, drawn anew;
    `left`: parts of the checkpoint that this kind has no place for."""

    model: Pi0
    origin: Origin
    folder: Path
    drawn: tuple[str, ...] = ()
    left: tuple[str, ...] = ()


def start_config(opened: OpenedCheckpoint, kind: str = "", changes: Mapping[str, Any] | None = None) -> ModelConfig:
    """The configuration of a network of `kind` ("" keeps the checkpoint's) that begins with an opened checkpoint.

    changes: fields of ModelConfig to set: horizon and prompt_length, in which no weight has a part; where the expert is
    new also action_dim and cameras. Raises: CheckpointError for an unknown kind, or for what the checkpoint fixes.
    """
    own, changes = opened.config, dict(changes or {})
    wanted = kind or own.kind
    if wanted not in KINDS:
        raise CheckpointError(f"model {wanted!r} is not known; choose one of {', '.join(KINDS)}")
    grown = opened.origin == "paligemma" or wanted != own.kind
    free = {"prompt_length", "horizon"} | ({"cameras", "action_dim"} if grown else set())
    free |= {"action_dim"} if traits(wanted).acts_in_tokens else set()
    fixed = sorted(set(changes) - free)
    if fixed:
        raise CheckpointError(f"{fixed[0].replace('_', ' ')} is the checkpoint's own ({getattr(own, fixed[0])})")
    if grown:
        origin = "pi0_ros" if opened.origin == "paligemma" else opened.origin
        changes = {
            "kind": wanted,
            "expert": None if traits(wanted).acts_in_tokens else own.expert or expert_for(own.language),
            "numerics": numerics_for(origin, wanted),
            "prompt_length": traits(wanted).prompt_length,
            "untied": own.untied and traits(wanted).acts_in_tokens,
            **changes,
        }
    try:
        return replace(own, **changes)
    except ConfigError as error:
        raise CheckpointError(str(error)) from None


def expert_for(trunk: GemmaConfig) -> GemmaConfig:
    """The published expert for PaliGemma's trunk; for another one half its width and a quarter of its MLP, as there."""
    return replace(trunk, width=max(2, trunk.width // 4 * 2), mlp=max(1, trunk.mlp // 4))


def start_from(
    path: str | Path,
    config: ModelConfig | None = None,
    *,
    generator: torch.Generator,
    dtype: torch.dtype | None = torch.float32,
    device: str | torch.device = "cpu",
    base: str | Path | None = None,
    progress: Progress | None = None,
) -> Start:
    """A network filled from a checkpoint; the expert and its projections are drawn anew if they do not fit.

    config: of the network (`start_config`), None for the checkpoint's own. generator: for what is drawn.
    Raises: CheckpointError if the trunk does not fit, before anything is filled.
    """
    opened = open_checkpoint(path, base=base, as_start=True)
    config = config or opened.config
    with naming(path):
        model = empty(config)
        plan, lost, left = _divided(opened, model)
        if lost:
            _draw(model, config, lost, generator, dtype or torch.float32, torch.device(device))
        fill(model, opened.source, plan, dtype, torch.device(device), progress)
    return Start(model.train(), opened.origin, opened.folder, lost, left)


def _divided(opened: OpenedCheckpoint, model: nn.Module) -> tuple[dict[str, str], tuple[str, ...], tuple[str, ...]]:
    """What is filled (source name -> parameter), which parts are drawn anew, and which of the checkpoint's are left out.

    The expert with its projections is taken as a whole or not at all. Raises CheckpointError if the trunk differs.
    """
    own = opened.origin == "pi0_ros"
    shapes = {(n if own else to_network(n)): (n, tuple(s)) for n, s in opened.source.shapes.items()}
    expected = {name: tuple(tensor.shape) for name, tensor in model.state_dict(keep_vars=True).items()}
    fits = {name: name in shapes and shapes[name][1] == shape for name, shape in expected.items()}
    trunk = [name for name in expected if _part(name) in TRUNK]
    wrong = [name for name in trunk if not fits[name]]
    if wrong:
        there = list(shapes[wrong[0]][1]) if wrong[0] in shapes else "missing"
        raise CheckpointError(
            f"its trunk is not the one that is wanted: {wrong[0]} is {there}, {list(expected[wrong[0]])} is asked for "
            f"({len(wrong)} weights differ)"
        )
    rest = [name for name in expected if _part(name) not in TRUNK]
    fitting = trunk + (rest if all(fits[name] for name in rest) else [])
    drawn = tuple(dict.fromkeys(_part(name) for name in expected if name not in set(fitting)))
    left = tuple(dict.fromkeys(_part(name) for name in shapes if name not in set(fitting)))
    return {shapes[name][0]: name for name in fitting}, drawn, left


def _part(name: str) -> str:
    return name.partition(".")[0]


def _draw(
    model: Pi0,
    config: ModelConfig,
    parts: tuple[str, ...],
    generator: torch.Generator,
    dtype: torch.dtype,
    device: torch.device,
) -> None:
    """Puts freshly drawn parts into the model, in place. They know nothing of the trunk's width, so that they are drawn
    beside a trunk of the least size."""
    least = replace(
        config,
        vision=VisionConfig(width=2, depth=1, heads=1, mlp=1, image_size=1, patch=1),
        language=replace(config.language, width=2, mlp=1),
        vocab=1,
    )
    fresh = initialise(Pi0(least), generator)
    for part in parts:
        setattr(model, part, getattr(fresh, part).to(device=device, dtype=dtype))
