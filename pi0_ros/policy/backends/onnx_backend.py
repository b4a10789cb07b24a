"""The network through onnxruntime, from the graphs of `onnx_export`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from pi0_ros.model import Rtc
from pi0_ros.model.sampling import integrate, time_grid
from pi0_ros.policy.backend import Array, NormalisedPrefix, Words
from pi0_ros.policy.backends.onnx_export import GRAPHS
from pi0_ros.policy.backends.onnx_providers import ENGINES, place_of, providers
from pi0_ros.policy.errors import PolicyError
from pi0_ros.policy.pipeline import ModelInputs

if TYPE_CHECKING:
    from pi0_ros.model import ModelConfig


class OnnxBackend:
    """A session a graph, and the loops over flow steps and words. Plans are continued by `identity` alone.

    device: "cpu", or "cuda" and "tensorrt" (the package onnxruntime-gpu). Keys and values stay on it from one graph to
    the next (I/O binding).
    """

    def __init__(
        self, folder: str | Path, config: ModelConfig, steps: int = 10, threads: int = 0, device: str = "cpu"
    ) -> None:
        """Raises PolicyError naming a graph that is missing or cannot be read, or a device that is not there."""
        kind, number = place_of(device, _runtime().get_available_providers())
        place = Path(folder)
        self._graphs = {
            name: Graph(
                _session(place / f"{name}.onnx", threads, providers(kind, number, name, config, place)), kind, number
            )
            for name in GRAPHS[config.kind]
        }
        self._numerics, self._width = config.numerics, config.language.width
        self._grid = time_grid(steps, config.numerics.time_grid)

    def actions(self, inputs: ModelInputs, noise: Array, prefix: NormalisedPrefix | None) -> Array:
        """Normalised actions [H, D] float32 from noise [H, D]."""
        if prefix is not None and prefix.method != "identity":
            raise PolicyError(f"the onnx backend cannot continue a plan by {prefix.method}; use identity, or torch")
        keys, values = self._seen(inputs, inputs.prompt.ids)
        fixed: dict[str, Any] = {"keys": keys, "values": values}
        if inputs.state is not None:
            fixed["state"] = np.asarray(inputs.state, np.float32)[None]

        def velocity(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
            return torch.from_numpy(self._graphs["step"](x=x.numpy(), t=t.float().numpy(), **fixed)[0].numpy())

        start = torch.from_numpy(np.asarray(noise, np.float32))[None]
        return integrate(velocity, start, self._grid, _rtc(prefix))[0].numpy()

    def text(self, inputs: ModelInputs, max_tokens: int, stop: Sequence[int]) -> Words:
        """Greedy tokens after the prompt, up to the first of `stop`. Raises PolicyError for an empty prompt."""
        prompt = [*inputs.prompt.ids, *self._numerics.decode_start]
        if not prompt:
            raise PolicyError("text needs a prompt to follow; this one is empty")
        keys, values = (held.numpy() for held in self._seen(inputs, prompt))
        length, answer, scores = keys.shape[3], list[int](), list[float]()
        logits, _, _ = self._word(prompt[-1], length - 1, keys[..., :-1, :], values[..., :-1, :])
        while len(answer) < max_tokens:
            word = int(np.argmax(logits[0]))
            shifted = logits[0].astype(np.float64) - float(logits[0][word])
            scores.append(-float(np.log(np.exp(shifted).sum())))
            if word in stop:
                break
            answer.append(word)
            position = length + len(answer) - 1 + self._numerics.decode_offset
            logits, key, value = self._word(word, position, keys, values)
            keys, values = np.concatenate([keys, key], axis=3), np.concatenate([values, value], axis=3)
        return Words(answer, float(np.mean(scores)) if scores else 0.0)

    def _seen(self, inputs: ModelInputs, prompt: Sequence[int]) -> tuple[Any, Any]:
        """Keys and values of pictures and prompt, where the graphs run."""
        pictures = np.stack([p for p in inputs.images.values() if p is not None])
        tokens = self._graphs["vision"](images=pictures)[0].numpy().reshape(1, -1, self._width)
        keys, values = self._graphs["prefix"](pictures=tokens, ids=np.array([prompt], np.int64))
        return keys, values

    def _word(self, word: int, position: int, keys: Array, values: Array) -> Sequence[Array]:
        at = {"ids": np.array([[word]], np.int64), "position": np.array([[position]], np.int64)}
        given = {**at, "keys": np.ascontiguousarray(keys), "values": np.ascontiguousarray(values)}
        return [part.numpy() for part in self._graphs["word"](**given)]


class Graph:
    """A session whose answers stay where it runs; they may be inputs of another one there."""

    def __init__(self, session: Any, kind: str, number: int) -> None:
        """kind, number: of the device, as `place_of` has them."""
        self._session, self._number = session, number
        self._where = "cpu" if kind == "cpu" else "cuda"  # TensorRT's answers lie in CUDA's memory
        self._outputs = [output.name for output in session.get_outputs()]

    def __call__(self, **inputs: Any) -> list[Any]:
        """The outputs as OrtValues, from arrays and OrtValues."""
        binding = self._session.io_binding()
        for name, value in inputs.items():
            if isinstance(value, np.ndarray):
                binding.bind_cpu_input(name, np.ascontiguousarray(value))
            else:
                binding.bind_ortvalue_input(name, value)
        for name in self._outputs:
            binding.bind_output(name, self._where, self._number)
        self._session.run_with_iobinding(binding)
        return list(binding.get_outputs())


def _rtc(prefix: NormalisedPrefix | None) -> Rtc | None:
    if prefix is None:
        return None
    previous = torch.from_numpy(np.asarray(prefix.values, np.float32))[None]
    return Rtc(previous, prefix.delay_rows, prefix.execution_rows, prefix.method)


def _runtime() -> ModuleType:
    try:
        import onnxruntime
    except ImportError as error:
        raise PolicyError("the onnx backend needs the package onnxruntime: pip install pi0_ros[onnx]") from error
    return onnxruntime


def check_device(device: str) -> None:
    """Refuse a device on which onnxruntime cannot run here. Raises PolicyError with what it needs."""
    place_of(device, _runtime().get_available_providers())


def check_graphs(folder: Path, kind: str) -> None:
    """Refuse a folder without the graphs of a `kind` of network. Raises PolicyError naming the first one."""
    for name in GRAPHS[kind]:
        if not (folder / f"{name}.onnx").is_file():
            raise PolicyError(f"{folder / name}.onnx is missing; write the graphs with `pi0 export {folder.parent}`")


def _session(file: Path, threads: int, chosen: list[Any]) -> Any:
    onnxruntime = _runtime()
    if not file.is_file():
        raise PolicyError(f"{file}: missing; write the graphs with `pi0 export {file.parent.parent}`")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    if len(chosen) > 2:  # TensorRT keeps what it builds
        (file.parent / ENGINES).mkdir(exist_ok=True)
    try:
        return onnxruntime.InferenceSession(str(file), options, providers=chosen)
    except Exception as error:  # onnxruntime has exceptions of its own without a common base
        raise PolicyError(f"{file}: onnxruntime cannot read it: {error}") from error
