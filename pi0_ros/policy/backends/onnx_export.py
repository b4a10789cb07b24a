"""ONNX graphs of a network: vision, prefix, one flow step, one word of text. The loops stay outside.

All are mask-free: absent cameras and padding are left out by whoever calls them. Weights lie beside the graphs where
they are too large for one file.
"""

from __future__ import annotations

import logging
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from pi0_ros.model import LoadedCheckpoint, ModelConfig, Pi0, Prefix
from pi0_ros.model.description import NAME, write_description
from pi0_ros.policy.backends.onnx_files import GRAPHS
from pi0_ros.policy.errors import PolicyError

OPSET = 18


class Vision(nn.Module):
    """Pictures [N, 3, H, W] in [-1, 1] -> tokens [N, tokens, width]."""

    def __init__(self, model: Pi0) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        tokens: Tensor = self.model.projector(self.model.siglip(images))
        return tokens


class Trunk(nn.Module):
    """Picture tokens [1, P, width], ids [1, L] -> keys and values, each [layers, 1, kv_heads, P + L, head_dim]."""

    def __init__(self, model: Pi0) -> None:
        super().__init__()
        self.model = model

    def forward(self, pictures: Tensor, ids: Tensor) -> tuple[Tensor, Tensor]:
        embeddings = torch.cat([pictures, self.model.embed_text(ids)], dim=1)
        seen = torch.ones_like(embeddings[:, :, 0], dtype=torch.bool)
        positions = seen.long().cumsum(dim=1) - 1
        _, cache = self.model.gemma(embeddings, positions, seen[:, None, :] & seen[:, :, None])
        return torch.stack([k for k, _ in cache]), torch.stack([v for _, v in cache])


class Step(nn.Module):
    """Noisy actions [1, H, D], time [1], keys, values (and the state [1, S] of π0) -> velocity [1, H, D]."""

    def __init__(self, model: Pi0) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor, t: Tensor, keys: Tensor, values: Tensor, state: Tensor | None = None) -> Tensor:
        seen = torch.ones_like(keys[0, :, 0, :, 0], dtype=torch.bool)
        cache = list(zip(keys.unbind(0), values.unbind(0), strict=True))
        unread = keys.new_zeros(())  # the expert reads only the cache and what is seen
        return self.model.velocity(x, t, Prefix(cache, unread, unread, seen, seen, unread), state)


class Word(nn.Module):
    """One token [1, 1] at its position [1, 1], keys and values of all before it -> logits [1, vocab], its own key and
    value [layers, 1, kv_heads, 1, head_dim].

    The first word of an answer needs no graph of its own: the prompt's last token, asked again behind what stands
    before it, sees what it saw in the prefix.
    """

    def __init__(self, model: Pi0) -> None:
        super().__init__()
        self.model = model

    def forward(self, ids: Tensor, position: Tensor, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        seen = torch.ones_like(keys[0, :, 0, :, 0], dtype=torch.bool)
        visible = torch.cat([seen, torch.ones_like(ids, dtype=torch.bool)], dim=1)
        cache = list(zip(keys.unbind(0), values.unbind(0), strict=True))
        hidden, own = self.model.gemma(self.model.embed_text(ids), position, visible[:, None], past=cache)
        return self.model.logits(hidden[:, -1]), torch.stack([k for k, _ in own]), torch.stack([v for _, v in own])


def export(loaded: LoadedCheckpoint, folder: str | Path) -> Path:
    """Write the `GRAPHS` of a checkpoint's network into `folder`, in float32, and what the checkpoint is beside them, so
    that they run without torch. Interrupted, it leaves what was there, or too few graphs to load.

    Raises: PolicyError if the packages onnx and onnxscript are missing.
    """
    try:
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise PolicyError("exporting needs the packages onnx and onnxscript: pip install pi0_ros[onnx]") from error
    place = Path(folder)
    place.mkdir(parents=True, exist_ok=True)
    model = loaded.model.float().eval()
    with tempfile.TemporaryDirectory(dir=place, prefix="partial-") as folder_beside:
        beside = Path(folder_beside)
        for name in GRAPHS[model.config.kind]:
            module, inputs, outputs = _MODULES[name]
            example, shapes = _EXAMPLES[name](model.config)
            _write(module(model), example, shapes, beside / f"{name}.onnx", inputs[: len(example)], outputs)
        write_description(loaded, beside)
        # Old graphs beside new ones would load, and be two networks: all of them go first.
        for name in _MODULES:
            for old in place.glob(f"{name}.onnx*"):
                old.unlink()
        (place / NAME).unlink(missing_ok=True)
        for file in sorted(beside.iterdir(), reverse=True):
            file.rename(place / file.name)
    return place


_MODULES: dict[str, tuple[Callable[[Pi0], nn.Module], list[str], list[str]]] = {
    "vision": (Vision, ["images"], ["tokens"]),
    "prefix": (Trunk, ["pictures", "ids"], ["keys", "values"]),
    "step": (Step, ["x", "t", "keys", "values", "state"], ["velocity"]),
    "word": (Word, ["ids", "position", "keys", "values"], ["logits", "key", "value"]),
}

# Inputs to trace with, and which of their sizes stand for any.
Example = tuple[tuple[Tensor, ...], tuple[dict[int, object], ...]]


def _any(name: str) -> object:
    return torch.export.Dim(name, min=2, max=65536)


def _vision_example(config: ModelConfig) -> Example:
    size = config.vision.image_size
    return (torch.zeros(3, 3, size, size),), ({0: _any("cameras")},)


def _prefix_example(config: ModelConfig) -> Example:
    return (torch.zeros(1, 7, config.language.width), torch.zeros(1, 5, dtype=torch.long)), (
        {1: _any("pictures")},
        {1: _any("text")},
    )


def _cache_example(config: ModelConfig) -> Example:
    trunk, seen = config.language, _any("seen")
    cache = torch.zeros(trunk.depth, 1, trunk.kv_heads, 11, trunk.head_dim)
    return (cache, cache.clone()), ({3: seen}, {3: seen})


def _step_example(config: ModelConfig) -> Example:
    (keys, values), shapes = _cache_example(config)
    inputs = (torch.zeros(1, config.horizon, config.action_dim), torch.ones(1), keys, values)
    if config.adarms:
        return inputs, ({}, {}, *shapes)
    return (*inputs, torch.zeros(1, config.state_dim)), ({}, {}, *shapes, {})


def _word_example(config: ModelConfig) -> Example:
    cache, shapes = _cache_example(config)
    return (torch.zeros(1, 1, dtype=torch.long), torch.full((1, 1), 11), *cache), ({}, {}, *shapes)


_EXAMPLES: dict[str, Callable[[ModelConfig], Example]] = {
    "vision": _vision_example,
    "prefix": _prefix_example,
    "step": _step_example,
    "word": _word_example,
}


def _write(
    module: nn.Module,
    example: tuple[Tensor, ...],
    shapes: tuple[dict[int, object], ...],
    file: Path,
    inputs: list[str],
    outputs: list[str],
) -> None:
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's own deprecations
        torch.onnx.export(
            module.eval(),
            example,
            file,
            input_names=inputs,
            output_names=outputs,
            dynamic_shapes=shapes,
            opset_version=OPSET,
            dynamo=True,
            external_data=True,
            verbose=False,
        )
