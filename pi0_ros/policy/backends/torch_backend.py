"""The network in this process, with torch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from pi0_ros.model import Inputs, Pi0, Rtc, generate_text, sample_actions
from pi0_ros.policy.backend import Array, NormalisedPrefix
from pi0_ros.policy.errors import PolicyError
from pi0_ros.policy.pipeline import ModelInputs


class TorchBackend:
    """A loaded network. `fast` samples through the mask-free path where it covers the request."""

    def __init__(self, model: Pi0, device: str = "cpu", steps: int = 10, fast: bool = True) -> None:
        self._model, self._device, self._steps = model.to(device).eval(), torch.device(device), steps
        self._sampler = _fast_sampler(self._model) if fast and model.config.kind != "pi0_fast" else None

    def actions(self, inputs: ModelInputs, noise: Array, prefix: NormalisedPrefix | None) -> Array:
        """Normalised actions [H, D] float32 from noise [H, D]."""
        start = torch.from_numpy(np.asarray(noise, np.float32))[None].to(self._device)
        batch, rtc = tensors(inputs, self._model.config, self._device), _rtc(prefix, self._device)
        sample = self._sampler or (lambda i, n, s, r: sample_actions(self._model, i, n, s, r))
        with torch.inference_mode(mode=rtc is None or rtc.method != "vjp"):
            return sample(batch, start, self._steps, rtc)[0].float().cpu().numpy()

    def text(self, inputs: ModelInputs, max_tokens: int, stop: Sequence[int]) -> list[int]:
        """Greedy token ids after the prompt, up to the first of `stop`."""
        with torch.inference_mode():
            return generate_text(self._model, tensors(inputs, self._model.config, self._device), max_tokens, stop=stop)[
                0
            ]


def tensors(inputs: ModelInputs, config: object, device: torch.device) -> Inputs:
    """Model inputs as a batch of one; absent pictures are None, the prompt has its own length and no padding."""
    images = [None if p is None else torch.from_numpy(p)[None].to(device) for p in inputs.images.values()]
    tokens = torch.tensor([inputs.prompt.ids], dtype=torch.long, device=device)
    present: list[Tensor] = [torch.tensor([p is not None], device=device) for p in images]
    state = None if inputs.state is None else torch.from_numpy(np.asarray(inputs.state, np.float32))[None].to(device)
    return Inputs(images, present, tokens, torch.ones_like(tokens, dtype=torch.bool), state)


def _rtc(prefix: NormalisedPrefix | None, device: torch.device) -> Rtc | None:
    if prefix is None:
        return None
    previous = torch.from_numpy(np.asarray(prefix.values, np.float32))[None].to(device)
    return Rtc(previous, prefix.delay_rows, prefix.execution_rows, prefix.method)


def _fast_sampler(model: Pi0) -> object | None:
    return None


def check_device(device: str) -> None:
    """Refuse a device this machine lacks. Raises PolicyError."""
    if torch.device(device).type == "cuda" and not torch.cuda.is_available():
        raise PolicyError(f"device {device}: no CUDA device here; use device cpu")
