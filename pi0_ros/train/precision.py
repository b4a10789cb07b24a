"""Attention in float32 within a bfloat16 step: on a CPU without matrix tiles the bfloat16 kernel is the slower one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch.overrides import TorchFunctionMode


class Float32Attention(TorchFunctionMode):
    """While active, scaled dot product attention computes in float32 and answers in its inputs' type."""

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
