"""Three ONNX graphs of a network: vision, prefix and one flow step. The loop over steps stays outside.

All are mask-free: absent cameras and padding are left out by whoever calls them. Weights lie beside the graphs where
they are too large for one file.
"""

from __future__ import annotations

import logging
import warnings
from pathlib import Path

import torch
from torch import Tensor, nn

from pi0_ros.model import Pi0, Prefix
from pi0_ros.policy.errors import PolicyError

GRAPHS = ("vision", "prefix", "step")
OPSET = 18


class Vision(nn.Module):
    """Pictures [N, 3, H, W] in [-1, 1] -> tokens [N, tokens, width]."""

    def __init__(self, model: Pi0) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        return self.model.projector(self.model.siglip(images))


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
        positions = seen.long().cumsum(dim=1) - 1
        cache = list(zip(keys.unbind(0), values.unbind(0), strict=True))
        hidden = keys.new_zeros(())  # the expert reads only the cache and what is seen
        return self.model.velocity(x, t, Prefix(cache, hidden, hidden, seen, seen, positions), state)


def export(model: Pi0, folder: str | Path) -> Path:
    """Write vision.onnx, prefix.onnx and step.onnx of a float32 network into `folder`.

    Raises: PolicyError for π0-FAST (its answer is text) or where the packages onnx and onnxscript are missing.
    """
    if model.config.expert is None:
        raise PolicyError("π0-FAST speaks tokens one by one; its graphs are not exported, use the torch backend")
    try:
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise PolicyError("exporting needs the packages onnx and onnxscript: pip install pi0_ros[onnx]") from error
    place = Path(folder)
    place.mkdir(parents=True, exist_ok=True)
    model = model.float().eval()
    vision, trunk, step = _examples(model)
    pictures, text, seen = (torch.export.Dim(n, min=2, max=65536) for n in ("cameras", "text", "seen"))
    length = torch.export.Dim("pictures", min=2, max=65536)
    _write(Vision(model), vision, ({0: pictures},), place / "vision.onnx", ["images"], ["tokens"])
    _write(
        Trunk(model), trunk, ({1: length}, {1: text}), place / "prefix.onnx", ["pictures", "ids"], ["keys", "values"]
    )
    names, shapes = ["x", "t", "keys", "values", "state"], ({}, {}, {3: seen}, {3: seen}, {})
    _write(Step(model), step, shapes[: len(step)], place / "step.onnx", names[: len(step)], ["velocity"])
    return place


def _examples(model: Pi0) -> tuple[tuple[Tensor, ...], ...]:
    """Inputs to trace with, of sizes that stand for any."""
    config = model.config
    size, trunk = config.vision.image_size, config.language
    cache = torch.zeros(trunk.depth, 1, trunk.kv_heads, 11, trunk.head_dim)
    step = [torch.zeros(1, config.horizon, config.action_dim), torch.ones(1), cache, cache.clone()]
    if not config.adarms:
        step.append(torch.zeros(1, config.state_dim))
    pictures = torch.zeros(1, 7, trunk.width), torch.zeros(1, 5, dtype=torch.long)
    return (torch.zeros(3, 3, size, size),), pictures, tuple(step)


def _write(
    module: nn.Module, example: tuple[Tensor, ...], shapes: tuple, file: Path, inputs: list[str], outputs: list[str]
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
