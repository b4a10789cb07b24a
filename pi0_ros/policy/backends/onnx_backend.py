"""The network through onnxruntime, from the graphs of `onnx_export`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from pi0_ros.model import Rtc
from pi0_ros.model.sampling import integrate, time_grid
from pi0_ros.policy.backend import Array, NormalisedPrefix
from pi0_ros.policy.backends.onnx_export import GRAPHS
from pi0_ros.policy.errors import PolicyError
from pi0_ros.policy.pipeline import ModelInputs

if TYPE_CHECKING:
    from pi0_ros.model import ModelConfig


class OnnxBackend:
    """Three sessions and the loop over flow steps. No text head, and plans are continued by `identity` alone."""

    def __init__(self, folder: str | Path, config: ModelConfig, steps: int = 10, threads: int = 0) -> None:
        """Raises PolicyError naming a graph that is missing or cannot be read."""
        sessions = [_session(Path(folder) / f"{name}.onnx", threads) for name in GRAPHS]
        self._vision, self._prefix, self._step = sessions
        self._grid = time_grid(steps, config.numerics.time_grid)

    def actions(self, inputs: ModelInputs, noise: Array, prefix: NormalisedPrefix | None) -> Array:
        """Normalised actions [H, D] float32 from noise [H, D]."""
        if prefix is not None and prefix.method != "identity":
            raise PolicyError(f"the onnx backend cannot continue a plan by {prefix.method}; use identity, or torch")
        pictures = np.stack([p for p in inputs.images.values() if p is not None])
        tokens = self._vision.run(None, {"images": pictures})[0]
        ids = np.array([inputs.prompt.ids], np.int64)
        keys, values = self._prefix.run(None, {"pictures": tokens.reshape(1, -1, tokens.shape[-1]), "ids": ids})
        fixed = {"keys": keys, "values": values}
        if inputs.state is not None:
            fixed["state"] = np.asarray(inputs.state, np.float32)[None]

        def velocity(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
            return torch.from_numpy(self._step.run(None, {"x": x.numpy(), "t": t.float().numpy(), **fixed})[0])

        start = torch.from_numpy(np.asarray(noise, np.float32))[None]
        return integrate(velocity, start, self._grid, _rtc(prefix))[0].numpy()

    def text(self, inputs: ModelInputs, max_tokens: int, stop: Sequence[int]) -> list[int]:
        """Not among the graphs. Raises PolicyError."""
        raise PolicyError("the onnx backend has no text head; ask for subtasks with the torch backend")


def _rtc(prefix: NormalisedPrefix | None) -> Rtc | None:
    if prefix is None:
        return None
    previous = torch.from_numpy(np.asarray(prefix.values, np.float32))[None]
    return Rtc(previous, prefix.delay_rows, prefix.execution_rows, prefix.method)


def _session(file: Path, threads: int) -> object:
    try:
        import onnxruntime
    except ImportError as error:
        raise PolicyError("the onnx backend needs the package onnxruntime: pip install pi0_ros[onnx]") from error
    if not file.is_file():
        raise PolicyError(f"{file}: missing; write the graphs with `pi0 export {file.parent.parent}`")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime has exceptions of its own without a common base
        raise PolicyError(f"{file}: onnxruntime cannot read it: {error}") from error
