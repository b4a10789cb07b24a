"""The steps of `python -m bench gpu`; `python -m bench._gpu_steps NAME` runs one of them in this process."""

from __future__ import annotations

import sys
import time
from functools import partial

import torch

from bench import _gpu_work as work
from bench._gpu_work import Machine, difference, random_full_size, recorded, roofline, seconds, stage_times, task
from pi0_ros.model import FastSampler, LoraConfig, Pi0, add_lora, gradient_checkpointing, sample_actions
from pi0_ros.model.losses import flow_times

GRAPH = "graph"


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
        for mode in work.modes_here(machine, ("eager", GRAPH)):
            answers[mode] = FastSampler(model, mode=mode)(inputs, noise)
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


def modes(machine: Machine) -> None:
    """Eager and graph: 3, 2 and 1 cameras, 10, 5 and 1 steps, stage by stage against the roofline."""
    for mode in work.modes_here(machine, (GRAPH, "eager")):
        _mode(machine, mode, ((3, 10), (3, 5), (3, 1), (2, 10), (1, 10)) if mode == GRAPH else ((3, 10),))


def compiled(machine: Machine) -> None:
    """The same through torch.compile."""
    if not machine.tiny:
        _mode(machine, "compile_graph", ((3, 10),))


def _mode(machine: Machine, mode: str, cases: tuple[tuple[int, int], ...], kind: str = "pi05") -> None:
    config = machine.config(kind)
    began = time.perf_counter()
    sampler = FastSampler(random_full_size(config, machine), mode=mode, release=True)
    for cameras, steps in cases:
        name, bound = f"{kind}_{mode}_{cameras}cam_{steps}", roofline(config, cameras, steps, machine)
        inputs, noise = task(config, cameras)
        sampler(inputs, noise, steps)
        machine.wait()
        if (cameras, steps) == cases[0]:
            machine.report(f"{name}_ready", time.perf_counter() - began, "s")
        took = seconds(partial(sampler, inputs, noise, steps), machine)
        machine.report(f"{name}_call", took * 1e3, "ms", roofline=bound["call"] * 1e3)
        if steps == 10:
            for stage, value in stage_times(sampler.stages(inputs, noise, steps), machine, steps).items():
                machine.report(f"{name}_{stage}", value * 1e3, "ms", roofline=bound[stage] * 1e3)


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
    mode = work.modes_here(machine, (GRAPH, "eager"))[0]
    sampler = FastSampler(random_full_size(config, machine), mode=mode, release=True)
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


STEPS = {step.__name__: step for step in (card, check, modes, compiled, text, batch, train)}


def main(argv: list[str]) -> int:
    """Run the step of that name."""
    STEPS[argv[0]](work.machine())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
