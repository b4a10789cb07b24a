"""The network in this process, with torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from pi0_ros.model import FastSampler, InputError, Inputs, ModelConfig, Pi0, Rtc, generate_scored, sample_actions
from pi0_ros.model.inference.modes import check_mode as check_mode_there
from pi0_ros.model.inference.modes import has_triton, suits_kernels
from pi0_ros.policy.backend import Array, NormalisedPrefix, Words
from pi0_ros.policy.errors import PolicyError
from pi0_ros.policy.pipeline import ModelInputs

BUCKET = 16  # text tokens that share a graph: a prompt with the state in it has another length at nearly every call

FP8_SINCE = (8, 9)
"""Compute capability of the first cards with FP8 products (Ada)."""


class TorchBackend:
    """A loaded network behind the mask-free sampler, or behind the plain forward if `fast` is False.

    steps: of the flow. mode: the sampler's ("eager", "compile", "graph", "compile_graph", "kernels"); None: `best_mode`.
    release: whether the sampler may take the model's weights apart, so that they are not held twice; nothing else can
    use the model then. scales: of `pi0 quantise`; the trunk runs in 8 bits by them if `narrows` says so.
    """

    def __init__(
        self,
        model: Pi0,
        device: str = "cpu",
        steps: int = 10,
        fast: bool = True,
        mode: str | None = None,
        release: bool = False,
        scales: Sequence[tuple[float, float]] | None = None,
    ) -> None:
        self._model, self._steps = model.to(device).eval(), steps
        self._device = torch.device(device)
        chosen = mode or best_mode(self._model, self._device)
        # torch.compile takes a minute for a length: one for all.
        bucket = {"eager": 1, "compile_graph": model.config.prompt_length}.get(chosen, BUCKET)
        self._sampler = FastSampler(self._model, mode=chosen, bucket=bucket, release=release) if fast else None
        if scales is not None and self._sampler is not None:
            self._sampler.narrow(scales)

    def prepare(self, cameras: Sequence[int], progress: Callable[[int, int], None]) -> None:
        """Record what calls with these cameras (indices of the picture slots) need, so that none is recorded later.

        progress: called with how many graphs of how many are done.
        """
        if self._sampler is not None:
            self._sampler.prepare(self._steps, cameras, (None, "identity", "prefix"), progress)

    def actions(self, inputs: ModelInputs, noise: Array, prefix: NormalisedPrefix | None) -> Array:
        """Normalised actions [H, D] float32 from noise [H, D]."""
        batch, start = tensors(inputs), torch.from_numpy(np.asarray(noise, np.float32))[None]
        rtc = _rtc(prefix)
        if self._sampler is not None:
            (found,) = self._sampler(batch, start, self._steps, rtc)
        else:
            device = self._device
            moved = rtc and Rtc(rtc.previous.to(device), rtc.delay, rtc.execution_horizon, rtc.method)
            (found,) = sample_actions(self._model, batch.to(device), start.to(device), self._steps, moved)
        plan: Array = found.cpu().numpy()
        return plan

    def text(self, inputs: ModelInputs, max_tokens: int, stop: Sequence[int]) -> Words:
        """Greedy tokens after the prompt, up to the first of `stop`."""
        batch = tensors(inputs)
        if self._sampler is not None:
            (ids,), (score,) = self._sampler.generate_scored(batch, max_tokens, stop=stop)
        else:
            (ids,), (score,) = generate_scored(self._model, batch.to(self._device), max_tokens, stop=stop)
        return Words(ids, score)


def tensors(inputs: ModelInputs) -> Inputs:
    """Model inputs as a batch of one; absent pictures are None, the prompt has its own length and no padding."""
    images = [None if p is None else torch.from_numpy(p)[None] for p in inputs.images.values()]
    tokens = torch.tensor([inputs.prompt.ids], dtype=torch.long)
    present: list[Tensor] = [torch.tensor([p is not None]) for p in images]
    state = None if inputs.state is None else torch.from_numpy(np.asarray(inputs.state, np.float32))[None]
    return Inputs(images, present, tokens, torch.ones_like(tokens, dtype=torch.bool), state)


def _rtc(prefix: NormalisedPrefix | None) -> Rtc | None:
    if prefix is None:
        return None
    previous = torch.from_numpy(np.asarray(prefix.values, np.float32))[None]
    return Rtc(previous, prefix.delay_rows, prefix.execution_rows, prefix.method)


def best_mode(model: Pi0, device: torch.device) -> str:
    """On CUDA our kernels if they fit the network and Triton is there, else graphs; elsewhere eager."""
    if device.type != "cuda":
        return "eager"
    fits = suits_kernels(model.config, model.gemma.dtype)
    return "kernels" if fits and has_triton() else "graph"


def narrows(config: ModelConfig, dtype: torch.dtype, mode: str | None, device: torch.device) -> bool:
    """Whether a network runs with 8-bit products here: by our kernels, on a card that has them (compute capability 8.9)."""
    if device.type != "cuda" or torch.cuda.get_device_capability(device) < FP8_SINCE:
        return False
    return mode == "kernels" or (mode is None and suits_kernels(config, dtype) and has_triton())


def check_mode(mode: str | None, device: str) -> None:
    """Refuse a way of running the network that cannot be had here. Raises PolicyError."""
    if mode == "kernels" and torch.device(device).type != "cuda":
        raise PolicyError(f"mode kernels runs on CUDA and the device is {device}; use eager or compile")
    if mode is not None:
        try:
            check_mode_there(mode, torch.device(device))
        except InputError as error:
            raise PolicyError(str(error)) from error


def check_device(device: str) -> None:
    """Refuse a device this machine lacks. Raises PolicyError."""
    try:
        kind = torch.device(device).type
    except RuntimeError as error:
        raise PolicyError(f"device {device!r} is unknown; use cpu or cuda") from error
    if kind == "cuda" and not torch.cuda.is_available():
        raise PolicyError(f"device {device}: no CUDA device here; use cpu")
