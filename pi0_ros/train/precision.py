"""In which precision a step computes: float32, autocast, or on a CPU with rounded weights and attention in float32."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import Enum
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.func import functional_call
from torch.overrides import TorchFunctionMode

from pi0_ros.model.processor import has_bfloat16
from pi0_ros.train.settings import TrainSettings


class Float32Attention(TorchFunctionMode):
    """While active, scaled dot product attention computes in float32 and answers in its inputs' type: on a CPU without matrix
    tiles the bfloat16 kernel is the slower one."""

    def __torch_function__(
        self, function: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if function is not F.scaled_dot_product_attention:
            return function(*args, **kwargs)
        dtype = args[0].dtype
        mask = kwargs.get("attn_mask")
        if mask is not None and mask.is_floating_point():
            kwargs = kwargs | {"attn_mask": mask.float()}
        return function(*(x.to(torch.float32) for x in args[:3]), *args[3:], **kwargs).to(dtype)


class Precision(Enum):
    """How a step computes. ROUNDED: all weights are rounded to bfloat16 once, and gradients flow back to the float32 ones."""

    FLOAT32 = "float32"
    AUTOCAST = "autocast"
    ROUNDED = "rounded"


def precision_of(settings: TrainSettings) -> Precision:
    """Rounded weights are for a plain module on a CPU: layers that are run again in the backward pass, compiled or sharded do
    not see weights that were swapped. Unless it is said, a CPU computes in bfloat16 only if it has instructions for that."""
    if settings.precision == "float32" or (
        settings.precision == "auto" and settings.device == "cpu" and not has_bfloat16()
    ):
        return Precision.FLOAT32
    plain = not (settings.gradient_checkpointing or settings.compile or settings.shard)
    return Precision.ROUNDED if settings.device == "cpu" and plain else Precision.AUTOCAST


def in_precision(precision: Precision, module: Callable[..., Any], batch: tuple[Any, ...], device: str) -> Any:
    """What `module` answers to a batch. device: its type. ROUNDED needs an nn.Module."""
    if precision is Precision.FLOAT32:
        return module(*batch)
    if precision is Precision.ROUNDED:
        assert isinstance(module, nn.Module)
        with Float32Attention():
            return functional_call(module, rounded(module.named_parameters()), batch)
    with torch.autocast(device, dtype=torch.bfloat16):
        return module(*batch)


def rounded(parameters: Iterable[tuple[str, nn.Parameter]]) -> dict[str, torch.Tensor]:
    """The weights in bfloat16, with gradients flowing back to the float32 ones."""
    return {name: p.to(torch.bfloat16) for name, p in parameters}
