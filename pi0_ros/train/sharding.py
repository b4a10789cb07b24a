"""Weights, gradients, moments and averages sharded over processes: PyTorch's FSDP2 (`fully_shard`).

Every transformer layer is a group of its own, gathered when it runs; what lies outside of the layers is the root's group.
What a process holds are DTensors, whose local parts hold a share of the rows.
"""

from __future__ import annotations

import copy
import warnings
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from pi0_ros.model import Pi0
from pi0_ros.model.ema import Ema
from pi0_ros.train.compiling import transformer_layers
from pi0_ros.train.errors import TrainError
from pi0_ros.train.examples import Examples
from pi0_ros.train.objective import Objective, StepLoss
from pi0_ros.train.processes import rank, summed, world


class _LossItems(nn.Module):
    """The objective with a plain mapping as its answer: FSDP2 finds the tensors of the outputs in it."""

    def __init__(self, objective: Objective) -> None:
        super().__init__()
        self.objective = objective

    def forward(self, *batch: Any) -> dict[str, Tensor]:
        loss: StepLoss = self.objective(*batch)
        return loss.items()


class ShardedObjective:
    """The loss of a step with all weights sharded, in place, over all processes.

    device: of this process; parameters are moved there as they are sharded, so that the whole network is never on it.
    """

    def __init__(self, objective: Objective, device: torch.device) -> None:
        # Keys and values are views, and nothing writes into them.
        warnings.filterwarnings("ignore", message="FSDP2-wrapped module .* returned a view tensor")
        mesh = init_device_mesh(device.type, (world(),))
        for layer in transformer_layers(objective.model):
            fully_shard(layer, mesh=mesh)
        root = fully_shard(_LossItems(objective), mesh=mesh)
        assert isinstance(root, FSDPModule)
        self._root = root

    def __call__(self, acting: Examples | None, words: Examples | None, flow: Any) -> StepLoss:
        count_unused(self._root, _differs(acting, words))
        found = self._root(acting, words, flow)  # type: ignore[operator]
        known = {name: found.pop(name) for name in ("total", "flow", "answer", "words")}
        return StepLoss(**known, more=found)


def count_unused(root: FSDPModule, wanted: bool) -> None:
    """A weight that has a gradient in some processes alone counts as 0 in the others (`wanted`); one that has none anywhere
    keeps none, so that it does not decay.

    Raises: TrainError, in all processes, where it is wanted and this PyTorch's FSDP2 cannot do it.
    """
    switch = getattr(root, "set_reduce_scatter_unused_params", None)
    if switch is not None:
        switch(wanted)
    elif wanted:
        raise TrainError(
            "--shard: in this step one process has words, answers or pictures and another has none; sharding that needs "
            f"PyTorch 2.13 or newer, and this is {torch.__version__}. Give a --batch and --word-batch that leave no process without, "
            "or leave --shard away"
        )


def _differs(acting: Examples | None, words: Examples | None) -> bool:
    """Whether this step uses other parts of the network in one process than in another: text of actions, words, pictures."""
    parts = [
        *(batch is not None and bool(batch.counts.any()) for batch in (acting, words)),
        any(batch is not None and any(i is not None for i in batch.inputs.images) for batch in (acting, words)),
    ]
    used = summed(torch.tensor(parts, dtype=torch.float32))
    return bool(((used > 0) & (used < world())).any())


def skeleton(model: Pi0) -> Pi0:
    """A copy of the network without its weights, which are on the meta device."""
    memo: dict[int, Any] = {id(p): nn.Parameter(p.detach().to("meta"), p.requires_grad) for p in model.parameters()}
    return copy.deepcopy(model, memo)


def gathered(model: Pi0, ema: Ema, empty: Pi0) -> Pi0:
    """The network with its averaged weights, whole and on the CPU, in process 0; without weights in the others. Of sharded
    weights all have to ask.

    empty: its `skeleton`, made before it was sharded. A GPU has no room for a second network: what is saved is put together
    on the host, weight by weight.
    """
    found = empty if rank() else copy.deepcopy(empty).to_empty(device="cpu")
    targets = dict(found.named_parameters())
    with torch.no_grad():
        for name, p in model.named_parameters():
            average = ema.average.get(name)
            value = whole(p.detach() if average is None else like(average, p))
            if rank() == 0:
                targets[name].copy_(value)
    return found


def whole(value: Tensor) -> Tensor:
    """All of a tensor; of a sharded one gathered from all processes."""
    return value.full_tensor() if isinstance(value, DTensor) else value


def like(local: Tensor, p: Tensor) -> Tensor:
    """This process's part of a tensor, as a sharded tensor of the shape and placement of `p`; as it is if `p` is whole."""
    if not isinstance(p, DTensor):
        return local
    return DTensor.from_local(
        local.to(p.device), p.device_mesh, p.placements, run_check=False, shape=p.shape, stride=p.stride()
    )


def spread(value: Tensor, p: Tensor) -> Tensor:
    """A whole tensor, known to every process, sharded as `p` is; as it is if `p` is whole."""
    if not isinstance(p, DTensor):
        return value.to(p.device)
    return distribute_tensor(value.to(p.device), p.device_mesh, p.placements)
