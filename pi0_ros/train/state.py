"""The state of a run on disk, to go on after an interruption: plain tensors and JSON, nothing pickled."""

from __future__ import annotations

import errno
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from pi0_ros.model.ema import Ema
from pi0_ros.train.errors import TrainError

FILE = "state.safetensors"


@dataclass(frozen=True)
class SoFar:
    """What a run has done: optimiser steps, seconds, examples drawn by all processes."""

    step: int = 0
    seconds: float = 0.0
    examples: int = 0


def save_state(folder: Path, model: nn.Module, optimizer: torch.optim.Optimizer, ema: Ema, so_far: SoFar) -> None:
    """Weights, moments, averages and what was done, under a temporary name until complete. Raises OSError."""
    names = [n for n, p in model.named_parameters() if p.requires_grad]
    at = {id(p): n for n, p in model.named_parameters()}
    tensors: dict[str, Tensor] = {f"weight/{n}": t for n, t in model.state_dict().items()}
    for parameter in (p for group in optimizer.param_groups for p in group["params"]):
        for kind, value in optimizer.state.get(parameter, {}).items():
            if kind != "step" and isinstance(value, Tensor):  # moments, and where they are of 8 bits their scales
                tensors[f"{kind}/{at[id(parameter)]}"] = value
    tensors |= {f"ema/{n}": t for n, t in ema.state_dict().items()}
    tensors = {n: t.detach().contiguous().clone() for n, t in tensors.items()}
    facts = {**asdict(so_far), "trainable": len(names)}
    partial = folder / (FILE + ".partial")
    try:
        save_file(tensors, partial, {"facts": json.dumps(facts)})
        os.replace(partial, folder / FILE)
    except SafetensorError as problem:  # what it says of a full disk
        raise OSError(errno.ENOSPC, str(problem)) from problem
    finally:
        partial.unlink(missing_ok=True)


def load_state(folder: Path, model: nn.Module, optimizer: torch.optim.Optimizer, ema: Ema) -> SoFar | None:
    """Put a saved state back; what the run had done, or None where there is none.

    Raises TrainError where it belongs to another network.
    """
    file = folder / FILE
    if not file.is_file():
        return None
    with safe_open(file, "pt") as saved:
        facts = json.loads(saved.metadata()["facts"])
        keys = set(saved.keys())
        weights = {k.removeprefix("weight/"): saved.get_tensor(k) for k in keys if k.startswith("weight/")}
        expected = {n: tuple(t.shape) for n, t in model.state_dict().items()}
        if {n: tuple(t.shape) for n, t in weights.items()} != expected:
            raise TrainError(f"{file}: holds another network than the settings ask for; choose a new output folder")
        model.load_state_dict(weights)
        ema.load_state_dict({k.removeprefix("ema/"): saved.get_tensor(k) for k in keys if k.startswith("ema/")})
        _load_moments(optimizer, model, saved, keys, float(facts["step"]))
    return SoFar(int(facts["step"]), float(facts["seconds"]), int(facts.get("examples", 0)))


def _load_moments(optimizer: torch.optim.Optimizer, model: nn.Module, saved, keys: set[str], step: float) -> None:
    """Raises TrainError where the moments are of another kind than the optimiser's."""
    at = {id(p): n for n, p in model.named_parameters()}
    whole = isinstance(optimizer, torch.optim.AdamW)
    kinds: dict[str, list[str]] = {}
    for key in keys:
        kind, _, name = key.partition("/")
        if kind not in ("weight", "ema"):
            kinds.setdefault(name, []).append(kind)
    for group in optimizer.param_groups:
        for p in group["params"]:
            name = at[id(p)]
            if name not in kinds:
                continue
            if whole != ("exp_avg" in kinds[name]):
                raise TrainError(
                    "the run was begun with other --moments; go on with those it was begun with, or choose a new output folder"
                )
            moments = {kind: saved.get_tensor(f"{kind}/{name}").to(p.device) for kind in sorted(kinds[name])}
            optimizer.state[p] = {"step": torch.tensor(step) if whole else int(step), **moments}
