"""The state of a run on disk, from which it continues after an interruption.

Where every process holds everything it is one file of plain tensors and JSON, nothing pickled. Where weights are sharded it is a
folder that all processes write together (torch.distributed.checkpoint). Either is read by any number of processes,
sharded or not.
"""

from __future__ import annotations

import errno
import json
import shutil
import warnings
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Protocol

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.distributed.checkpoint import FileSystemReader

from pi0_ros.model.ema import Ema
from pi0_ros.robot.replacing import partial_of, put_in_place, replacing
from pi0_ros.train.errors import TrainError
from pi0_ros.train.processes import rank
from pi0_ros.train.sharding import like, spread
from pi0_ros.train.so_far import SoFar, so_far_of

FILE, FOLDER, FACTS = "state.safetensors", "state", "facts.json"


def state_tensors(model: nn.Module, optimizer: torch.optim.Optimizer, ema: Ema) -> dict[str, Tensor]:
    """Weights, moments and averages as KIND/PARAMETER."""
    named = dict(model.named_parameters())
    at = {id(p): n for n, p in named.items()}
    tensors: dict[str, Tensor] = {f"weight/{n}": t.detach() for n, t in model.state_dict().items()}
    for parameter in (p for group in optimizer.param_groups for p in group["params"]):
        for kind, value in optimizer.state.get(parameter, {}).items():
            if kind != "step":  # moments, and where they are of 8 bits their scales
                tensors[f"{kind}/{at[id(parameter)]}"] = value.detach()
    return tensors | {f"ema/{n}": like(t, _averaged(named, n)) for n, t in ema.state_dict().items()}


def _averaged(named: Mapping[str, nn.Parameter], name: str) -> nn.Parameter:
    """The parameter of an average: averages are named within the network, which the objective calls `model`."""
    return named[f"model.{name}"] if f"model.{name}" in named else named[name]


def save_state(folder: Path, model: nn.Module, optimizer: torch.optim.Optimizer, ema: Ema, so_far: SoFar) -> None:
    """Replace the state by one file with everything. Raises OSError, DiskFull with the file's name."""
    tensors = _apart(state_tensors(model, optimizer, ema))
    try:
        with replacing(folder / FILE) as new:
            save_file(tensors, new, {"facts": json.dumps(asdict(so_far))})
    except SafetensorError as problem:  # all that it says of the system's errors
        raise OSError(errno.EIO, str(problem)) from problem
    shutil.rmtree(folder / FOLDER, ignore_errors=True)


def _apart(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same tensors, each with a memory of its own, as the file needs it. Only what shares one (a map of 8-bit moments) is
    copied: a GPU has no room for everything twice."""
    taken: set[int] = set()
    found = {}
    for name, tensor in tensors.items():
        whole = tensor.contiguous()
        place = whole.untyped_storage().data_ptr()
        found[name] = whole.clone() if place in taken else whole
        taken.add(place)
    return found


def save_sharded_state(
    folder: Path, model: nn.Module, optimizer: torch.optim.Optimizer, ema: Ema, so_far: SoFar
) -> None:
    """Write what every process holds into one folder, under a temporary name until complete. All processes have to call it.

    Raises OSError, in all of them.
    """
    partial = partial_of(folder / FOLDER)
    if rank() == 0:
        shutil.rmtree(partial, ignore_errors=True)
    dist.barrier()
    try:
        dcp.save(state_tensors(model, optimizer, ema), checkpoint_id=partial)
    except dcp.api.CheckpointException as problem:
        raise OSError(errno.EIO, "; ".join(str(error) for error, _ in problem.failures.values())) from problem
    if rank() == 0:
        (partial / FACTS).write_text(json.dumps(asdict(so_far)) + "\n", encoding="utf-8")
        put_in_place(partial, folder / FOLDER)
        (folder / FILE).unlink(missing_ok=True)
    dist.barrier()


class SavedState(Protocol):
    """A state on disk."""

    so_far: SoFar
    shapes: Mapping[str, tuple[int, ...]]

    def load(self, wanted: Mapping[str, Tensor | None]) -> dict[str, Tensor]:
        """Tensors by name, each sharded and placed as the one given for it; None: whole, on the CPU."""


class WholeState:
    """One file."""

    def __init__(self, file: Path) -> None:
        self._file = file
        with safe_open(file, "pt") as saved:
            self.so_far = so_far_of(json.loads(saved.metadata()["facts"]))
            names = list(saved.keys())
            self.shapes: Mapping[str, tuple[int, ...]] = {k: tuple(saved.get_slice(k).get_shape()) for k in names}

    def load(self, wanted: Mapping[str, Tensor | None]) -> dict[str, Tensor]:
        """See `SavedState`."""
        with safe_open(self._file, "pt") as saved:
            return {
                name: saved.get_tensor(name) if p is None else spread(saved.get_tensor(name), p)
                for name, p in wanted.items()
            }


class ShardedState:
    """A folder of torch.distributed.checkpoint, written by any number of processes."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.so_far = so_far_of(json.loads((folder / FACTS).read_text(encoding="utf-8")))
        found = FileSystemReader(folder).read_metadata().state_dict_metadata
        self.shapes: Mapping[str, tuple[int, ...]] = {
            name: tuple(getattr(entry, "size", ())) for name, entry in found.items()
        }

    def load(self, wanted: Mapping[str, Tensor | None]) -> dict[str, Tensor]:
        """See `SavedState`."""
        tensors = {
            name: torch.empty(self.shapes[name]) if p is None else torch.empty_like(p.detach())
            for name, p in wanted.items()
        }
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="torch.distributed is disabled")  # as meant, in one process
            dcp.load(tensors, checkpoint_id=self._folder, no_dist=not dist.is_initialized())
        return tensors


def saved_state(folder: Path) -> SavedState | None:
    """The state of a run, None without one. Where a run ended between writing one kind and removing the other, the newer."""
    found: list[SavedState] = []
    if (folder / FILE).is_file():
        found.append(WholeState(folder / FILE))
    if (folder / FOLDER / FACTS).is_file():
        found.append(ShardedState(folder / FOLDER))
    return max(found, key=lambda state: state.so_far.step, default=None)


def has_state(folder: Path) -> bool:
    """Whether a run was begun here."""
    return (folder / FILE).is_file() or (folder / FOLDER / FACTS).is_file()


def load_state(folder: Path, model: nn.Module, optimizer: torch.optim.Optimizer, ema: Ema) -> SoFar | None:
    """Put a saved state back; what the run had done, or None if there is none.

    Raises TrainError if it belongs to another network, or to an optimiser of another kind.
    """
    saved = saved_state(folder)
    if saved is None:
        return None
    own, named = model.state_dict(), dict(model.named_parameters())
    expected = {f"weight/{n}": tuple(t.shape) for n, t in own.items()}
    if {n: s for n, s in saved.shapes.items() if n.startswith("weight/")} != expected:
        raise TrainError(f"{folder}: holds another network than the settings ask for; choose a new output folder")
    with torch.no_grad():
        for name, value in saved.load({f"weight/{n}": t for n, t in own.items()}).items():
            own[name.removeprefix("weight/")].copy_(value)
    averages = saved.load({f"ema/{n}": _averaged(named, n) for n in ema.average if f"ema/{n}" in saved.shapes})
    weights = {n: _averaged(named, n).detach() for n in ema.average}  # of a run that had no average: it begins there
    ema.load_state_dict(weights | {name.removeprefix("ema/"): value for name, value in averages.items()})
    _load_moments(optimizer, named, saved)
    return saved.so_far


def _load_moments(optimizer: torch.optim.Optimizer, named: Mapping[str, nn.Parameter], saved: SavedState) -> None:
    """Raises TrainError if the moments are of another kind than the optimiser's."""
    at = {id(p): n for n, p in named.items()}
    full, step = isinstance(optimizer, torch.optim.AdamW), saved.so_far.step
    kinds: dict[str, list[str]] = {}
    for key in sorted(saved.shapes):
        kind, _, name = key.partition("/")
        if kind not in ("weight", "ema"):
            kinds.setdefault(name, []).append(kind)
    trained = [p for group in optimizer.param_groups for p in group["params"] if at[id(p)] in kinds]
    if any(full != ("exp_avg" in kinds[at[id(p)]]) for p in trained):
        raise TrainError(
            "the run was begun with other --moments; go on with those it was begun with, or choose a new output folder"
        )
    loaded = saved.load({f"{kind}/{at[id(p)]}": p if full else None for p in trained for kind in kinds[at[id(p)]]})
    for p in trained:
        name = at[id(p)]
        moments = {kind: loaded.pop(f"{kind}/{name}").to(p.device) for kind in kinds[name]}
        optimizer.state[p] = {"step": torch.tensor(float(step), device=p.device) if full else step, **moments}
