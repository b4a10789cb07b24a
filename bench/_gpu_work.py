"""What the steps of `python -m bench gpu` share: the machine they run on, a random model of full size, and timing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median

import torch

from bench._sampler_work import best, matrix_peak, operations, parameters, report, workload
from pi0_ros.model import Inputs, ModelConfig, Pi0, preset
from pi0_ros.model.inference.modes import records

BENCH = "gpu"
VALID = 80  # text tokens that count


@dataclass(frozen=True)
class Machine:
    """Where a step runs.

    operations, bytes: a second, as measured here. tiny: the dry run, with a small model on the CPU.
    """

    device: torch.device
    dtype: torch.dtype
    operations: float
    bytes: float

    @property
    def tiny(self) -> bool:
        """Whether this is the dry run."""
        return self.device.type == "cpu"

    @property
    def name(self) -> str:
        """What the device calls itself."""
        return "CPU" if self.tiny else torch.cuda.get_device_name(self.device)

    def wait(self) -> None:
        """Until all that was asked for is done."""
        if not self.tiny:
            torch.cuda.synchronize()

    def report(self, metric: str, value: float, unit: str, **more: object) -> None:
        """One result as a JSON line, with the device's name."""
        report(BENCH, metric, value, unit, device=self.name, **more)

    def config(self, kind: str) -> ModelConfig:
        """The published size of a kind, or in the dry run one that a CPU runs in a moment."""
        if not self.tiny:
            return preset(kind)
        tiny = preset("tiny")
        return replace(tiny, kind=kind, expert=None if kind == "pi0_fast" else tiny.expert)


def machine() -> Machine:
    """The GPU with its measured limits, or the CPU as if it were one."""
    if not torch.cuda.is_available():
        return Machine(
            torch.device("cpu"), torch.float32, matrix_peak(torch.device("cpu"), torch.float32, int, size=512), 1e10
        )
    device, wait = torch.device("cuda"), torch.cuda.synchronize
    return Machine(device, torch.bfloat16, matrix_peak(device, torch.bfloat16, wait, size=8192), copy_rate(device))


def copy_rate(device: torch.device, size: int = 2**31) -> float:
    """Bytes a second, read and written, of a large copy."""
    source = torch.ones(size, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    return 2 * size / best({"copy": lambda: target.copy_(source)}, 10, torch.cuda.synchronize)["copy"]


def random_full_size(config: ModelConfig, machine: Machine, dtype: torch.dtype | None = None) -> Pi0:
    """Random weights made on the device, in its type; the same ones whatever `dtype` they are then rounded to."""
    with torch.device("meta"):
        model = Pi0(config).to(dtype or machine.dtype)
    model = model.to_empty(device=machine.device).eval().requires_grad_(False)
    generator = torch.Generator(machine.device).manual_seed(0)
    for name, parameter in model.named_parameters():
        fan = parameter[0].numel() if parameter.dim() > 1 else 400
        std = 0.2 / fan**0.5 if "norm" in name else fan**-0.5
        value = torch.empty_like(parameter, dtype=machine.dtype).normal_(std=std, generator=generator)
        parameter.copy_(value)
    return model


def task(config: ModelConfig, cameras: int = 3, batch: int = 1) -> tuple[Inputs, torch.Tensor]:
    """Pictures, `VALID` tokens and noise; rows of a batch with the same cameras and lengths."""
    inputs, noise = workload(config, min(VALID, config.prompt_length), cameras)
    repeated = inputs.map(lambda tensor: tensor.repeat(batch, *[1] * (tensor.dim() - 1)))
    return repeated, noise.repeat(batch, 1, 1)


def seconds(call: Callable[[], object], machine: Machine, repeats: int = 20) -> float:
    """Median time of a call on the device, by the device's own clock if it has one."""
    for _ in range(1 if machine.tiny else 3):
        call()
    if machine.tiny:
        return best({"call": call}, 2, machine.wait)["call"]
    times = []
    for _ in range(repeats):
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        begin.record()
        call()
        end.record()
        end.synchronize()
        times.append(begin.elapsed_time(end) / 1e3)
    return median(times)


def recorded(call: Callable[[], object], machine: Machine) -> Callable[[], object]:
    """The call as one CUDA graph; in the dry run the call."""
    if machine.tiny:
        return call
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            call()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        call()
    return lambda: (graph.replay(), call)  # what the graph reads has to stay alive as long as it does


def stage_times(stages: Mapping[str, Callable[[], object]], machine: Machine, steps: int) -> dict[str, float]:
    """Seconds of "vision", "prefix" (without vision) and "step", each as a graph of its own."""
    times = {name: seconds(recorded(stage, machine), machine) for name, stage in stages.items()}
    return {
        "vision": times["vision"],
        "prefix": times["prefix"] - times["vision"],
        "step": times["steps"] / steps,
    }


def roofline(config: ModelConfig, cameras: int, steps: int, machine: Machine) -> dict[str, float]:
    """Seconds no bf16 implementation can beat: products of vision and prefix at peak, weights of each step read once."""
    valid = min(VALID, config.prompt_length)
    work = operations(config, valid, cameras, steps)
    tokens = cameras * config.vision.tokens + valid
    cached = 2 * tokens * config.expert.kv_heads * config.expert.head_dim
    size = torch.finfo(machine.dtype).bits // 8
    read = size * config.expert.depth * (parameters(config.expert) + cached) / machine.bytes
    step = max(read, work["steps"] / steps / machine.operations)
    parts = {"vision": work["vision"] / machine.operations, "prefix": work["prefix"] / machine.operations}
    return parts | {"step": step, "call": sum(parts.values()) + steps * step}


def difference(a: torch.Tensor, b: torch.Tensor) -> dict[str, float]:
    """How far two answers are apart: the largest, and the root mean square over b's own."""
    a, b = a.detach().double().cpu(), b.detach().double().cpu()
    return {
        "largest": (a - b).abs().max().item(),
        "relative": ((a - b).square().mean().sqrt() / b.square().mean().sqrt()).item(),
    }


def modes_here(machine: Machine, wanted: Sequence[str]) -> list[str]:
    """The modes that this machine can run: on a CPU those without CUDA graphs."""
    return [mode for mode in wanted if not records(mode, machine.device) or not machine.tiny]
