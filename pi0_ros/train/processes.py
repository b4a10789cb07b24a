"""What a run of several processes has in common, whoever started them: `--workers` of ours, or torchrun."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from pi0_ros.train.errors import TrainError


def launched() -> bool:
    """Whether torchrun (or another launcher that sets its variables) started this process beside others."""
    return all(name in os.environ for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"))


def world() -> int:
    """Processes of the run."""
    return dist.get_world_size() if dist.is_initialized() else 1


def rank() -> int:
    """Number of this process; 0 writes."""
    return dist.get_rank() if dist.is_initialized() else 0


def own_device(device: str) -> str:
    """The device of this process: with several GPUs on a machine each process has its own."""
    return f"cuda:{os.environ['LOCAL_RANK']}" if launched() and device == "cuda" else device


@contextmanager
def process_group(device: str) -> Iterator[None]:
    """Join the processes that torchrun started; nothing to do for a process that is alone.

    Raises: TrainError if a device is named that every process would share.
    """
    if not launched():
        yield
        return
    if device.startswith("cuda:") and int(os.environ["WORLD_SIZE"]) > 1:
        raise TrainError(f"--device {device}: each process needs a GPU of its own; give --device cuda")
    if device.startswith("cuda"):
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    dist.init_process_group("nccl" if device.startswith("cuda") else "gloo")
    try:
        yield
    finally:
        dist.destroy_process_group()


@contextmanager
def first_one_first() -> Iterator[None]:
    """Process 0 does it first, so that the others find what it wrote. If it fails, the launcher ends them all."""
    if rank():
        dist.barrier()
        yield
        return
    yield
    if world() > 1:
        dist.barrier()


def shared(value: Tensor) -> Tensor:
    """A tensor where the processes' backend can exchange it."""
    on_gpu = dist.is_initialized() and dist.get_backend() == "nccl"
    return value.to(torch.device("cuda", torch.cuda.current_device())) if on_gpu else value


def decided_by_first(value: bool) -> bool:
    """What process 0 says, in all of them."""
    if world() == 1:
        return value
    decided = shared(torch.tensor([float(value)]))
    dist.broadcast(decided, 0)
    return bool(decided.item())


def summed(value: Tensor) -> Tensor:
    """The sum over all processes."""
    if world() == 1:
        return value
    total = shared(value.clone())
    dist.all_reduce(total)
    return total.to(value.device)


def in_parallel(module: nn.Module) -> nn.Module:
    """The module with gradients averaged over all processes, or as it is for one.

    A weight that had a gradient in some processes alone (a batch without words) counts as 0 in the others; one that had
    none anywhere keeps none. Which weights a step uses depends on the rows it draws (words, answers, pictures, labels), so
    that the unused ones are looked for in every step.
    """
    return DistributedDataParallel(_WithUnused(module), find_unused_parameters=True) if world() > 1 else module


class _WithUnused(nn.Module):
    """A module beside a weight that no step uses.

    torch prints in each process, past Python's warnings, that it need not look for unused weights where the first step happens to use all.
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module, self.unused = module, nn.Parameter(torch.zeros(1, device=next(module.parameters()).device))

    def forward(self, *batch: Any) -> Any:
        return self.module(*batch)
