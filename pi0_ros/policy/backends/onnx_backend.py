"""The network through onnxruntime, from the graphs of `onnx_export`. Needs no torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from pi0_ros.model.config import ModelConfig
from pi0_ros.model.euler import time_grid
from pi0_ros.policy.backend import Array, NormalisedPrefix, Words
from pi0_ros.policy.backends.onnx_files import GRAPHS
from pi0_ros.policy.backends.onnx_flow import integrate
from pi0_ros.policy.backends.onnx_providers import ENGINES, Provider, place_of, providers
from pi0_ros.policy.errors import PolicyError
from pi0_ros.policy.pipeline import ModelInputs


class OrtValue(Protocol):
    """An array where onnxruntime has it, perhaps on a card."""

    def numpy(self) -> NDArray[np.float32]: ...


class Binding(Protocol):
    """What onnxruntime calls IOBinding."""

    def bind_cpu_input(self, name: str, array: NDArray[np.generic], /) -> None: ...
    def bind_ortvalue_input(self, name: str, value: OrtValue, /) -> None: ...
    def bind_output(self, name: str, device: str, number: int, /) -> None: ...
    def get_outputs(self) -> Sequence[OrtValue]: ...


class Output(Protocol):
    """An output of a graph, by name."""

    name: str


class Session(Protocol):
    """What of onnxruntime's InferenceSession is used here."""

    def get_outputs(self) -> Sequence[Output]: ...
    def io_binding(self) -> Binding: ...
    def run_with_iobinding(self, binding: Binding, /) -> None: ...


Input = NDArray[np.generic] | OrtValue
"""An array, or an answer of another graph where it lies."""


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
        fixed: dict[str, Input] = {"keys": keys, "values": values}
        if inputs.state is not None:
            fixed["state"] = np.asarray(inputs.state, np.float32)[None]

        def velocity(x: NDArray[np.float32], t: NDArray[np.float32]) -> NDArray[np.float32]:
            (found,) = self._graphs["step"](x=x, t=t, **fixed)
            return found.numpy()

        actions: Array = integrate(velocity, np.asarray(noise, np.float32)[None], self._grid, prefix)[0]
        return actions

    def text(self, inputs: ModelInputs, max_tokens: int, stop: Sequence[int]) -> Words:
        """Greedy tokens after the prompt, up to the first of `stop`. Raises PolicyError for an empty prompt."""
        prompt = [*inputs.prompt.ids, *self._numerics.decode_start]
        if not prompt:
            raise PolicyError("text needs a prompt to follow; this one is empty")
        keys, values = (held.numpy() for held in self._seen(inputs, prompt))
        length, answer, scores = keys.shape[3], list[int](), list[float]()
        logits, _, _ = self._word(prompt[-1], length - 1, keys[..., :-1, :], values[..., :-1, :])
        while len(answer) < max_tokens:
            (row,) = logits
            word = int(np.argmax(row))
            shifted = row.astype(np.float64) - float(row[word])
            scores.append(-float(np.log(np.exp(shifted).sum())))
            if word in stop:
                break
            answer.append(word)
            position = length + len(answer) - 1 + self._numerics.decode_offset
            logits, key, value = self._word(word, position, keys, values)
            keys, values = np.concatenate([keys, key], axis=3), np.concatenate([values, value], axis=3)
        return Words(answer, float(np.mean(scores)) if scores else 0.0)

    def _seen(self, inputs: ModelInputs, prompt: Sequence[int]) -> tuple[OrtValue, OrtValue]:
        """Keys and values of pictures and prompt, where the graphs run."""
        pictures = np.stack([p for p in inputs.images.values() if p is not None])
        (tokens,) = self._graphs["vision"](images=pictures)
        seen = tokens.numpy().reshape(1, -1, self._width)
        keys, values = self._graphs["prefix"](pictures=seen, ids=np.array([prompt], np.int64))
        return keys, values

    def _word(self, word: int, position: int, keys: Array, values: Array) -> Sequence[Array]:
        at = {"ids": np.array([[word]], np.int64), "position": np.array([[position]], np.int64)}
        given = {**at, "keys": np.ascontiguousarray(keys), "values": np.ascontiguousarray(values)}
        return [part.numpy() for part in self._graphs["word"](**given)]


class Graph:
    """A session whose answers stay where it runs; they may be inputs of another one there."""

    def __init__(self, session: Session, kind: str, number: int) -> None:
        """kind, number: of the device, as `place_of` has them."""
        self._session, self._number = session, number
        self._where = "cpu" if kind == "cpu" else "cuda"  # TensorRT's answers lie in CUDA's memory
        self._outputs = [output.name for output in session.get_outputs()]

    def __call__(self, **inputs: Input) -> list[OrtValue]:
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


class Runtime(Protocol):
    """What of the module onnxruntime is used here."""

    SessionOptions: type[Options]
    InferenceSession: Callable[..., Session]

    def get_available_providers(self) -> Sequence[str]: ...


class Options(Protocol):
    """onnxruntime's options of a session."""

    intra_op_num_threads: int
    log_severity_level: int


def _runtime() -> Runtime:
    try:
        import onnxruntime
    except ImportError as error:
        raise PolicyError("the onnx backend needs the package onnxruntime: pip install pi0_ros[onnx]") from error
    runtime: Runtime = onnxruntime
    return runtime


def check_device(device: str) -> None:
    """Refuse a device on which onnxruntime cannot run here. Raises PolicyError with what it needs."""
    place_of(device, _runtime().get_available_providers())


def _session(file: Path, threads: int, chosen: Sequence[Provider]) -> Session:
    onnxruntime = _runtime()
    if not file.is_file():
        raise PolicyError(f"{file}: missing; write the graphs with `pi0 export {file.parent.parent}`")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    if len(chosen) > 2:  # TensorRT keeps what it builds
        (file.parent / ENGINES).mkdir(exist_ok=True)
    try:
        return onnxruntime.InferenceSession(str(file), options, providers=list(chosen))
    except Exception as error:  # onnxruntime has exceptions of its own without a common base
        raise PolicyError(f"{file}: onnxruntime cannot read it: {error}") from error
