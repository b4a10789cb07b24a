"""onnxruntime's execution providers for a device, with their options. Pure: nothing is loaded here."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

from pi0_ros.model.config import ModelConfig
from pi0_ros.policy.errors import PolicyError

CPU, CUDA, TENSORRT = "CPUExecutionProvider", "CUDAExecutionProvider", "TensorrtExecutionProvider"
NEEDS = {"cpu": CPU, "cuda": CUDA, "tensorrt": TENSORRT}
ENGINES = "engines"
"""Folder beside the graphs that TensorRT's engines are kept in: the first start builds them, for minutes."""

Sizes = Mapping[str, tuple[int, ...]]
Provider = str | tuple[str, Mapping[str, str | int | bool]]
"""A provider by name, or with its options."""


def place_of(device: str, available: Collection[str]) -> tuple[str, int]:
    """A device ("cpu", "cuda:1", "tensorrt") as its kind and number. Raises PolicyError if it is not there."""
    kind, _, number = device.partition(":")
    if kind not in NEEDS or not (number or "0").isdigit() or (kind == "cpu" and number) or NEEDS[kind] not in available:
        raise PolicyError(
            f"device {device}: this onnxruntime has no such device; use cpu, or install onnxruntime-gpu in its place for "
            "cuda and tensorrt (pip uninstall onnxruntime, pip install onnxruntime-gpu; it needs the CUDA and cuDNN that "
            "its release names, tensorrt also the package tensorrt)"
        )
    return kind, int(number or 0)


def providers(kind: str, number: int, graph: str, config: ModelConfig, folder: Path) -> list[Provider]:
    """Providers for a graph in the order in which they are asked, with their options.

    TensorRT computes in 16 bits, keeps its engines below `folder`, and is told the smallest, usual and largest sizes, so
    that no prompt makes it build another engine in mid-run. What it does not run CUDA does, and the CPU what is left.
    """
    if kind == "cpu":
        return [CPU]
    cuda: Provider = (CUDA, {"device_id": number, "use_tf32": 1, "cudnn_conv_algo_search": "HEURISTIC"})
    if kind == "cuda":
        return [cuda, CPU]
    cache = str(folder / ENGINES)
    options: dict[str, str | int | bool] = {
        "device_id": number,
        "trt_fp16_enable": True,
        "trt_engine_cache_enable": True,
        "trt_engine_cache_path": cache,
        "trt_timing_cache_enable": True,
        "trt_timing_cache_path": cache,
        "trt_engine_cache_prefix": graph,
    }
    for name, sizes in zip(("min", "opt", "max"), input_sizes(graph, config), strict=True):
        options[f"trt_profile_{name}_shapes"] = ",".join(f"{key}:{'x'.join(map(str, s))}" for key, s in sizes.items())
    return [(TENSORRT, options), cuda, CPU]


def input_sizes(graph: str, config: ModelConfig) -> tuple[Sizes, Sizes, Sizes]:
    """The smallest, the usual and the largest sizes of a graph's inputs: one camera to all, a word to the longest prompt."""
    cameras, text, trunk = len(config.cameras), config.prompt_length, config.language
    side, tokens = config.vision.image_size, config.vision.tokens

    def sizes(seen: int, words: int) -> Sizes:
        cache = (trunk.depth, 1, trunk.kv_heads, seen * tokens + words, trunk.head_dim)
        if graph == "vision":
            return {"images": (seen, 3, side, side)}
        if graph == "prefix":
            return {"pictures": (1, seen * tokens, trunk.width), "ids": (1, words)}
        if graph == "word":
            return {"ids": (1, 1), "position": (1, 1), "keys": cache, "values": cache}
        step = {"x": (1, config.horizon, config.action_dim), "t": (1,), "keys": cache, "values": cache}
        return step if config.adarms else {**step, "state": (1, config.state_dim)}

    spoken = text + (ANSWER if graph == "word" else 0)
    return sizes(1, 2), sizes(cameras, max(2, text // 2)), sizes(cameras, spoken)


ANSWER = 256
"""Words of an answer behind the longest prompt (a π0-FAST chunk)."""
