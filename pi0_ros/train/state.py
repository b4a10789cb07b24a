"""The state of a run on disk, to go on after an interruption: plain tensors and JSON, nothing pickled."""

from __future__ import annotations

import json
import os
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from pi0_ros.model.ema import Ema
from pi0_ros.train.errors import TrainError

FILE = "state.safetensors"


def save_state(folder: Path, model: nn.Module, optimizer: torch.optim.Optimizer, ema: Ema, step: int, seconds: float):
    """Weights, moments, averages, step and seconds trained, under a temporary name until complete."""
    names = [n for n, p in model.named_parameters() if p.requires_grad]
    moments = optimizer.state_dict()["state"]
    order = [id(p) for g in optimizer.param_groups for p in g["params"]]
    at = {id(p): n for n, p in model.named_parameters()}
    tensors: dict[str, Tensor] = {f"weight/{n}": t for n, t in model.state_dict().items()}
    for index, key in enumerate(order):
        for kind in ("exp_avg", "exp_avg_sq"):
            if index in moments:
                tensors[f"{kind}/{at[key]}"] = moments[index][kind]
    tensors |= {f"ema/{n}": t for n, t in ema.state_dict().items()}
    tensors = {n: t.detach().contiguous().clone() for n, t in tensors.items()}
    facts = {"step": step, "seconds": seconds, "trainable": len(names)}
    save_file(tensors, folder / (FILE + ".partial"), {"facts": json.dumps(facts)})
    os.replace(folder / (FILE + ".partial"), folder / FILE)


def load_state(folder: Path, model: nn.Module, optimizer: torch.optim.Optimizer, ema: Ema) -> tuple[int, float] | None:
    """Put a saved state back; (step, seconds trained), or None where there is none.

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
    return int(facts["step"]), float(facts["seconds"])


def _load_moments(optimizer: torch.optim.Optimizer, model: nn.Module, saved, keys: set[str], step: float) -> None:
    at = {id(p): n for n, p in model.named_parameters()}
    for group in optimizer.param_groups:
        for p in group["params"]:
            name = at[id(p)]
            if f"exp_avg/{name}" in keys:
                optimizer.state[p] = {
                    "step": torch.tensor(step),
                    "exp_avg": saved.get_tensor(f"exp_avg/{name}"),
                    "exp_avg_sq": saved.get_tensor(f"exp_avg_sq/{name}"),
                }
