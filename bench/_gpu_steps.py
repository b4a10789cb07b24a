"""The steps of `python -m bench gpu`; `python -m bench._gpu_steps NAME` runs one of them in this process."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch

from bench import _gpu_work as work
from bench._gpu_work import Machine, difference, random_full_size, recorded, roofline, seconds, stage_times, task
from pi0_ros.model import FastSampler, LoraConfig, Pi0, add_lora, gradient_checkpointing, sample_actions
from pi0_ros.model.losses import flow_times

GRAPH, KERNELS = "graph", "kernels"
BUCKET = 16  # text tokens that share a graph, as the policy has it


def _candidates() -> list[tuple[str, str, list[object]]]:
    """Stage, field of the tuning, and what it may be."""
    from pi0_ros.model.fused.launch import Tiles as T

    few = [T(64, 64, 0, 4, 2), T(32, 64, 0, 4, 2), T(64, 32, 0, 4, 3)]
    many = [T(128, 64, 0, 8, 2), T(64, 64, 0, 8, 2)]
    qkv = [T(64, 32, 256, 4, 3), T(64, 32, 128, 8, 4), T(64, 16, 128, 4, 4), T(64, 32, 128, 4, 2)]
    gate = [T(64, 32, 256, 4, 3), T(64, 32, 128, 8, 4), T(64, 16, 128, 4, 4), T(64, 32, 64, 4, 3)]
    out = [T(64, 64, 64, 4, 4, 8), T(64, 64, 128, 4, 2, 8), T(64, 32, 128, 4, 4, 2), T(64, 32, 128, 4, 2, 4)]
    down = [T(64, 64, 128, 4, 4, 8), T(64, 64, 128, 4, 2, 16), T(64, 32, 128, 4, 4, 8), T(64, 32, 128, 4, 2, 4)]
    return [
        ("steps", "chained", [False]),
        ("steps", "down", down),
        ("steps", "gate_up", gate),
        ("steps", "qkv", qkv),
        ("steps", "out", out),
        ("steps", "few", few),
        ("steps", "blocks", [64, 256]),
        ("prefix", "many", many),
    ]


def card(machine: Machine) -> None:
    """What the card gives: copy, products in bf16 and fp8, the shortest kernel in a graph."""
    machine.report("copy", machine.bytes / 1e12, "TB/s")
    machine.report("bf16_product", machine.operations / 1e12, "TFLOP/s")
    x = torch.zeros(1024, device=machine.device)

    def chain() -> None:
        for _ in range(100):
            x.add_(1.0)

    machine.report("kernel_in_a_graph", seconds(recorded(chain, machine), machine) / 100 * 1e6, "us")
    if machine.tiny:
        return
    size = 8192
    a = torch.randn(size, size, device=machine.device).to(torch.float8_e4m3fn)
    b = torch.randn(size, size, device=machine.device).to(torch.float8_e4m3fn)
    one = torch.ones((), device=machine.device)

    def product() -> torch.Tensor:
        return torch._scaled_mm(a, b.T, scale_a=one, scale_b=one, out_dtype=torch.bfloat16, use_fast_accum=True)

    machine.report("fp8_product", 2 * size**3 / seconds(product, machine) / 1e12, "TFLOP/s")


def check(machine: Machine) -> None:
    """At full size: the plain network in float32 against everything else, actions and text."""
    for kind in ("pi05", "pi0"):
        config = machine.config(kind)
        inputs, noise = task(config)
        there, start = inputs.to(machine.device), noise.to(machine.device)
        exact = sample_actions(random_full_size(config, machine, torch.float32), there, start)
        model = random_full_size(config, machine)
        answers = {"plain": sample_actions(model, there, start)}
        for mode in work.modes_here(machine, ("eager", GRAPH, KERNELS)):
            answers[mode] = sampler_of(model, mode, release=False)(inputs, noise)
        for name, answer in answers.items():
            for which, value in difference(answer, exact).items():
                machine.report(f"{kind}_{name}_to_float32_{which}", value, "1", scale=exact.std().item())
        for name in list(answers)[1:]:
            machine.report(
                f"{kind}_{name}_to_plain_largest", difference(answers[name], answers["plain"])["largest"], "1"
            )
    config = machine.config("pi0_fast")
    inputs, _ = task(config)
    model = random_full_size(config, machine)
    words = FastSampler(model).generate_text(inputs, 8, stop=())
    machine.report("pi0_fast_words", len(words[0]), "words")


def sampler_of(model: Pi0, mode: str = KERNELS, release: bool = True) -> FastSampler:
    """A sampler in a mode; kernels with the tiles that the step `kernels` found in this run, if it ran."""
    sampler = FastSampler(model, mode=mode, release=release, bucket=BUCKET)
    if mode == KERNELS and model.config.expert is not None and (file := os.environ.get("PI0_BENCH_TUNING")):
        from pi0_ros.model.fused.launch import Launch

        if Path(file).stat().st_size:
            sampler.path.kernels.do = Launch(pickle.loads(Path(file).read_bytes()))
    return sampler


def kernels(machine: Machine) -> None:
    """Our kernels with other tiles, one kernel after another, the quickest kept; then where a call's time goes."""
    if machine.tiny:
        return
    from pi0_ros.model.fused.launch import Launch, tuning_for

    config = machine.config("pi05")
    sampler = FastSampler(random_full_size(config, machine), mode=KERNELS, release=True)
    stages = sampler.stages(*task(config), 1)
    tuning = tuning_for(torch.cuda.get_device_capability())
    for stage, field, candidates in _candidates():
        found = {}
        for candidate in (getattr(tuning, field), *candidates):
            try:
                sampler.path.kernels.do = Launch(replace(tuning, **{field: candidate}))
                found[candidate] = seconds(recorded(stages[stage], machine), machine)
            except Exception as error:  # noqa: BLE001  a tile that the card has no room for; Triton has no common base
                print(f"{field} {candidate}: {str(error)[:200]}", file=sys.stderr)
                continue
            machine.report(f"tile_{field}", found[candidate] * 1e3, "ms", stage=stage, tile=str(candidate))
        tuning = replace(tuning, **{field: min(found, key=found.get)})
    machine.report("tuned", len(_candidates()), "fields", tuning=str(tuning))
    sampler.path.kernels.do = Launch(tuning)
    if file := os.environ.get("PI0_BENCH_TUNING"):
        Path(file).write_bytes(pickle.dumps(tuning))
    for name, call in sampler.stages(*task(config), 10).items():
        machine.report(f"tuned_{name}", seconds(recorded(call, machine), machine) * 1e3, "ms")
        if name != "vision":
            _profile(name, call, machine)


def _profile(name: str, call: Callable[[], object], machine: Machine) -> None:
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
        call()
        machine.wait()
    spent = sorted(profile.key_averages(), key=lambda event: -event.self_device_time_total)
    for event in spent[:14]:
        total = event.self_device_time_total
        machine.report(
            f"{name}_kernel", total, "us", kernel=event.key[:60], calls=event.count, each=total / event.count
        )


def modes(machine: Machine) -> None:
    """Kernels, graph and eager: 3, 2 and 1 cameras, 10, 5 and 1 steps, stage by stage against the roofline."""
    many = ((3, 10), (3, 5), (3, 1), (2, 10), (1, 10))
    for mode, cases in ((KERNELS, many), (GRAPH, many), ("eager", many[:1])):
        if work.modes_here(machine, (mode,)):
            _mode(machine, mode, cases)
    if work.modes_here(machine, (KERNELS,)):
        _mode(machine, KERNELS, many[:1], "pi0")


def compiled(machine: Machine) -> None:
    """The same through torch.compile."""
    if not machine.tiny:
        _mode(machine, "compile_graph", ((3, 10),))


def _mode(machine: Machine, mode: str, cases: Sequence[tuple[int, int]], kind: str = "pi05") -> None:
    config = machine.config(kind)
    sampler = sampler_of(random_full_size(config, machine), mode)
    for cameras, steps in cases:
        name, bound = f"{kind}_{mode}_{cameras}cam_{steps}", roofline(config, cameras, steps, machine)
        inputs, noise = task(config, cameras)
        took = seconds(partial(sampler, inputs, noise, steps), machine)
        machine.report(f"{name}_call", took * 1e3, "ms", roofline=bound["call"] * 1e3)
        if steps == 10 and cameras == 3:
            for stage, value in stage_times(sampler.stages(inputs, noise, steps), machine, steps).items():
                machine.report(f"{name}_{stage}", value * 1e3, "ms", roofline=bound[stage] * 1e3)


def fp8(machine: Machine) -> None:
    """The trunk's MLPs in 8 bits: how far from float32 beside bf16, and the time."""
    config = machine.config("pi05")
    inputs, noise = task(config)
    exact = sample_actions(
        random_full_size(config, machine, torch.float32), inputs.to(machine.device), noise.to(machine.device)
    )
    wide = torch.bfloat16 if machine.tiny else machine.dtype  # what the 8-bit product answers in
    model = random_full_size(config, machine, wide)
    for narrow in (False, True):
        sampler = sampler_of(model, release=False)
        if narrow:
            sampler.narrow(sampler.measure([inputs]))
        name = "fp8" if narrow else "bf16"
        for which, value in difference(sampler(inputs, noise), exact).items():
            machine.report(f"{name}_to_float32_{which}", value, "1", scale=exact.std().item())
        machine.report(f"{name}_call", seconds(partial(sampler, inputs, noise), machine) * 1e3, "ms")
        for stage, value in stage_times(sampler.stages(inputs, noise), machine, 10).items():
            machine.report(f"{name}_{stage}", value * 1e3, "ms")


def start(machine: Machine) -> None:
    """From the beginning of a process to ready for any prompt, with nothing in Triton's cache and then with all of it."""
    if machine.tiny:
        return
    with tempfile.TemporaryDirectory() as cache:
        for name in ("cold", "warm"):
            began = time.perf_counter()
            command = [sys.executable, "-m", "bench._gpu_steps", "ready"]
            shown = subprocess.run(
                command, env=os.environ | {"TRITON_CACHE_DIR": cache}, capture_output=True, text=True, check=True
            )
            inside = {line["metric"]: line["value"] for line in map(json.loads, shown.stdout.splitlines())}
            machine.report(f"{name}_start", time.perf_counter() - began, "s", **inside)


def ready(machine: Machine) -> None:
    """One start: weights made up in place of read, graphs for all prompts recorded, one answer."""
    config, marks = machine.config("pi05"), [time.perf_counter()]
    sampler = sampler_of(random_full_size(config, machine))
    machine.wait()
    marks.append(time.perf_counter())
    sampler.prepare()
    marks.append(time.perf_counter())
    sampler(*task(config))
    machine.wait()
    marks.append(time.perf_counter())
    for name, begin, end in zip(("weights", "prepare", "first"), marks, marks[1:], strict=False):
        machine.report(name, end - begin, "s")


def text(machine: Machine) -> None:
    """Words a second: subtasks of π0.5, action tokens of π0-FAST."""
    for kind in ("pi05", "pi0_fast"):
        config = machine.config(kind)
        inputs, _ = task(config)
        speak = partial(FastSampler(random_full_size(config, machine), release=True).generate_text, inputs, stop=())
        first, all_words = (seconds(partial(speak, count), machine, 3) for count in (1, 33))
        machine.report(f"{kind}_first_word", first * 1e3, "ms")
        machine.report(f"{kind}_words", 32 / (all_words - first), "words/s")


def batch(machine: Machine) -> None:
    """1, 2, 4 and 8 robots at once."""
    config = machine.config("pi05")
    mode = work.modes_here(machine, (KERNELS, "eager"))[0]
    sampler = sampler_of(random_full_size(config, machine), mode)
    for size in (1, 2, 4, 8):
        inputs, noise = task(config, batch=size)
        took = seconds(partial(sampler, inputs, noise), machine, 5)
        machine.report(f"pi05_batch_{size}", took * 1e3, "ms", each=took * 1e3 / size)


def train(machine: Machine) -> None:
    """A training step of π0.5: adapters (LoRA) and all weights, with recomputation."""
    for name in ("lora", "full"):
        if not machine.tiny:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
        config = machine.config("pi05")
        model = random_full_size(config, machine, None if name == "lora" else torch.float32).requires_grad_(True)
        if name == "lora":
            add_lora(model, LoraConfig(), torch.Generator().manual_seed(0))
        size = 2 if machine.tiny else 8
        took = _training(gradient_checkpointing(model.train()), machine, size)
        machine.report(f"train_{name}_step", took * 1e3, "ms", batch=size)
        machine.report(f"train_{name}_rate", size / took, "samples/s")
        if not machine.tiny:
            machine.report(f"train_{name}_memory", torch.cuda.max_memory_allocated() / 1e9, "GB")
        del model


def _training(model: Pi0, machine: Machine, size: int) -> float:
    """Seconds a step of flow matching: forward and backward in bf16, AdamW as the trainer has it."""
    inputs, noise = task(model.config, batch=size)
    inputs, noise = inputs.to(machine.device), noise.to(machine.device)
    actions, t = torch.randn_like(noise), flow_times(torch.linspace(0.1, 0.9, size)).to(machine.device)
    learning = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(learning, lr=1e-5, betas=(0.9, 0.95), fused=True)

    def step() -> None:
        with torch.autocast(machine.device.type, dtype=torch.bfloat16):
            loss = model.flow_loss(actions, noise, t, model.prefix(inputs)).mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(learning, 1.0)
        optimizer.step()
        optimizer.zero_grad()

    return seconds(step, machine, 5)


STEPS = {step.__name__: step for step in (card, kernels, check, modes, fp8, start, text, batch, train, compiled)}


def main(argv: list[str]) -> int:
    """Run the step of that name."""
    (STEPS | {"ready": ready})[argv[0]](work.machine())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
