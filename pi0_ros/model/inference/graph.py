"""A whole call as one CUDA graph: recorded once, replayed without a launch per kernel."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor


class CapturedGraph:
    """`run(*tensors) -> Tensor` recorded for the shapes of `example`.

    Tensors of later calls are copied into fixed buffers (from pinned host memory without waiting); the answer is a
    copy, so the next call does not change it. `run` must not wait for the device and must keep what it reads alive.
    pool: memory that several graphs may use for what lies between input and answer, as they never run at the same time.
    """

    def __init__(
        self,
        run: Callable[..., Tensor],
        example: Sequence[Tensor],
        device: torch.device,
        pool: Any = None,
        warmups: int = 3,
    ):
        self.run, self.inputs = run, [tensor.to(device).clone() for tensor in example]
        with torch.cuda.device(device):
            stream = torch.cuda.Stream()
            stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(stream):
                for _ in range(warmups):
                    run(*self.inputs)
            torch.cuda.current_stream().wait_stream(stream)
            self.graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self.graph, pool=pool):
                self.output = run(*self.inputs)

    def __call__(self, *tensors: Tensor) -> Tensor:
        for own, given in zip(self.inputs, tensors, strict=True):
            own.copy_(given, non_blocking=True)
        self.graph.replay()
        return self.output.clone()
