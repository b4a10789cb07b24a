"""The fast path at full size on an NVIDIA GPU: eager, compiled, as one graph, and against the roofline.

`python -m bench gpu_sampler [--model pi05] [--cameras 3] [--valid 80] [--steps 10] [--modes eager,graph,...]
[--bucket 1] [--repeats 20] [--dry-run]`. Random bf16 weights, batch 1. Without a CUDA device it says so and ends; `--dry-run` runs
everything but capture with a small float32 model on the CPU, to see that the benchmark itself works.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from bench._sampler_work import best, matrix_peak, operations, parameters, report, workload
from pi0_ros.model import FastSampler, Inputs, ModelConfig, Pi0, preset
from pi0_ros.model.fast import MODES

BENCH = "gpu_sampler"
KNOWN = {"H200": (790e12, 4.3e12), "H100": (790e12, 3.35e12)}  # bf16 operations and bytes per second


@dataclass(frozen=True)
class Machine:
    """Where it runs: device, type of the weights, operations and bytes per second, how to wait for it."""

    device: torch.device
    dtype: torch.dtype
    operations: float
    bytes: float
    wait: Callable[[], None]


def main(argv: list[str] | None = None) -> int:
    """Print one JSON object a line."""
    parser = argparse.ArgumentParser(prog="python -m bench gpu_sampler", description=__doc__)
    parser.add_argument("--model", default="pi05", choices=["pi0", "pi05"])
    parser.add_argument("--cameras", type=int, default=3)
    parser.add_argument("--valid", type=int, default=80, help="text tokens that count")
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--modes", default=",".join(MODES))
    parser.add_argument("--bucket", type=int, default=1, help="text lengths that share a graph; the policy takes 16")
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--quick", action="store_true", help="eager and graph, few repeats")
    parser.add_argument("--dry-run", action="store_true", help="a small model on the CPU")
    args = parser.parse_args(argv)
    if not (torch.cuda.is_available() or args.dry_run):
        print("gpu_sampler is left out: no CUDA device here (--dry-run tries it on the CPU)", file=sys.stderr)
        return 0
    modes = ["eager", "graph"] if args.quick else args.modes.split(",")
    run(args, dry_machine() if args.dry_run else gpu(), ["eager"] if args.dry_run else modes)
    return 0


def run(args: argparse.Namespace, machine: Machine, modes: list[str]) -> None:
    """Every mode with its stages, the difference to eager, and the roofline."""
    config = small(args.model) if args.dry_run else preset(args.model)
    valid = min(args.valid, config.prompt_length)
    model = random_full_size(config, machine)
    inputs, noise = workload(config, valid, args.cameras)
    bound = roofline(config, valid, args.cameras, args.steps, machine)
    for name, seconds in bound.items():
        report(BENCH, f"roofline_{name}", seconds * 1e3, "ms")
    reference: Tensor | None = None
    for mode in modes:
        sampler = FastSampler(model, machine.dtype, machine.device, mode, cache_size=2, bucket=args.bucket)
        actions = sampler(inputs, noise, args.steps)
        reference = actions if reference is None else reference
        report(BENCH, f"{mode}_difference_to_{modes[0]}", (actions - reference).abs().max().item(), "normalised action")
        measure(args, machine, mode, sampler, inputs, noise, bound)
        del sampler
        torch.compiler.reset()


def measure(
    args: argparse.Namespace,
    machine: Machine,
    mode: str,
    sampler: FastSampler,
    inputs: Inputs,
    noise: Tensor,
    bound: dict[str, float],
) -> None:
    """Whole call, stages, bandwidth of the steps, ratio to the roofline."""
    stages = {} if "graph" in mode else sampler.stages(inputs, noise, args.steps)
    if "graph" in mode:
        stages = captured_stages(sampler, inputs, noise, args.steps, machine)
    calls = {"call": lambda: sampler(inputs, noise, args.steps), **stages}
    times = best(calls, args.repeats, machine.wait)
    times["step"] = times["steps"] / args.steps
    times["prefix_alone"] = times["prefix"] - times["vision"]
    for name, seconds in times.items():
        report(BENCH, f"{mode}_{name}", seconds * 1e3, "ms", device=str(name_of(machine.device)))
    moved = step_bytes(sampler.config, inputs, machine)
    report(BENCH, f"{mode}_step_bandwidth", moved / times["step"] / 1e9, "GB/s")
    report(BENCH, f"{mode}_over_roofline", times["call"] / bound["call"], "x")


def captured_stages(
    sampler: FastSampler, inputs: Inputs, noise: Tensor, steps: int, machine: Machine
) -> dict[str, Callable[[], object]]:
    """Each stage as a graph of its own."""
    graphs: dict[str, Callable[[], object]] = {}
    for name, stage in sampler.stages(inputs, noise, steps).items():
        for _ in range(3):
            stage()
        machine.wait()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            stage()
        # A default argument keeps the stage's buffers alive as long as its graph.
        graphs[name] = lambda graph=graph, stage=stage: graph.replay()
    return graphs


def roofline(config: ModelConfig, valid: int, cameras: int, steps: int, machine: Machine) -> dict[str, float]:
    """Seconds no implementation can beat: products of vision and prefix at peak, weights of each step read once."""
    work = operations(config, valid, cameras, steps)
    inputs, _ = workload(config, valid, cameras)
    read = steps * step_bytes(config, inputs, machine) / machine.bytes
    parts = {name: work[name] / machine.operations for name in ("vision", "prefix")}
    parts["steps"] = max(read, work["steps"] / machine.operations)
    return parts | {"call": sum(parts.values())}


def step_bytes(config: ModelConfig, inputs: Inputs, machine: Machine) -> float:
    """Bytes one step has to read: the expert's weights and the cached keys and values."""
    expert, size = config.expert, torch.finfo(machine.dtype).bits // 8
    cameras = sum(bool(mask[0]) for mask in inputs.image_masks)
    tokens = cameras * config.vision.tokens + int(inputs.token_mask.sum())
    cached = 2 * tokens * expert.kv_heads * expert.head_dim
    return float(size * expert.depth * (parameters(expert) + cached))


def random_full_size(config: ModelConfig, machine: Machine) -> Pi0:
    """Random weights made on the device, in its type."""
    with torch.device("meta"):
        model = Pi0(config).to(machine.dtype)
    model = model.to_empty(device=machine.device).eval().requires_grad_(False)
    generator = torch.Generator(machine.device).manual_seed(0)
    for name, parameter in model.named_parameters():
        fan = parameter[0].numel() if parameter.dim() > 1 else 400
        parameter.normal_(std=0.2 / fan**0.5 if "norm" in name else fan**-0.5, generator=generator)
    return model


def gpu() -> Machine:
    """The CUDA device, by its data sheet where the name is known, else by measuring."""
    device = torch.device("cuda")
    found = [rates for name, rates in KNOWN.items() if name in name_of(device)]
    rates = (
        found[0]
        if found
        else (
            matrix_peak(device, torch.bfloat16, torch.cuda.synchronize, size=8192),
            copy_rate(device),
        )
    )
    for name, value, unit in (("operations", rates[0] / 1e12, "TFLOP/s"), ("bandwidth", rates[1] / 1e12, "TB/s")):
        report(
            BENCH, f"device_{name}", value, unit, device=name_of(device), source="data sheet" if found else "measured"
        )
    return Machine(device, torch.bfloat16, *rates, torch.cuda.synchronize)


def dry_machine() -> Machine:
    """The CPU as if it were one."""
    device = torch.device("cpu")
    peak = matrix_peak(device, torch.float32, lambda: None, size=512)
    return Machine(device, torch.float32, peak, 10e9, lambda: None)


def copy_rate(device: torch.device) -> float:
    """Bytes per second read and written by a large copy."""
    source = torch.empty(2**28, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    return 2 * source.numel() / best({"copy": lambda: target.copy_(source)}, 10, torch.cuda.synchronize)["copy"]


def small(kind: str) -> ModelConfig:
    """A model that a CPU runs in a moment."""
    return replace(preset("tiny"), kind=kind)


def name_of(device: torch.device) -> str:
    """What the device calls itself."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"


if __name__ == "__main__":
    sys.exit(main())
