"""The fast path against the plain one and, where its Python is given, against LeRobot's pi0.5, on this CPU.

`python -m bench sampler [--quick] [--threads N] [--peer-python PATH] [--repeats N] [--cpu-time]`. Middle size: vision 12 x 768,
language 12 x 1024, expert 12 x 512, three cameras of 224, 64 of 200 text tokens, 50 actions, ten steps, batch 1.
Times are the shortest of several taken in turns. The peer needs LeRobot 0.6 (Python 3.12) in an environment of its own.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from bench._sampler_work import MIDDLE, best, matrix_peak, operations, random_weights, report, workload
from pi0_ros.model import FastSampler, Inputs, Pi0, preset, sample_actions
from pi0_ros.model.kernels import has_onednn

VALID = 64
LEROBOT_NAMES = {
    "siglip.": "paligemma_with_expert.paligemma.model.vision_tower.vision_model.",
    "projector.": "paligemma_with_expert.paligemma.model.multi_modal_projector.linear.",
    "gemma.": "paligemma_with_expert.paligemma.model.language_model.",
    "expert.": "paligemma_with_expert.gemma_expert.model.",
}


def nothing() -> None:
    """A CPU call has ended when it returns."""


def main(argv: list[str] | None = None) -> int:
    """Print one JSON object a line."""
    parser = argparse.ArgumentParser(prog="python -m bench sampler", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="the tiny model alone, in seconds")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--peer-python", help="a Python that can import lerobot 0.6")
    parser.add_argument("--cpu-time", action="store_true", help="processor seconds of one thread: for a busy machine")
    args = parser.parse_args(argv)
    args.threads = 1 if args.cpu_time else args.threads
    args.clock = time.process_time if args.cpu_time else time.perf_counter
    torch.set_num_threads(args.threads)
    tiny(args.repeats * 4, args.clock)
    if not args.quick:
        middle(args)
    return 0


def tiny(repeats: int, clock: Callable[[], float]) -> None:
    """The size of the shipped checkpoint, whose call has to fit into a control loop."""
    config = preset("tiny")
    model = random_weights(config)
    inputs, noise = workload(config, 50, 3)
    fast = FastSampler(model)
    calls = {"fast": lambda: fast(inputs, noise), "plain": lambda: sample_actions(model, inputs, noise)}
    for name, seconds in best(calls, repeats, nothing, clock).items():
        report("sampler", f"tiny_{name}", seconds * 1e3, "ms", threads=torch.get_num_threads())


def middle(args: argparse.Namespace) -> None:
    """All of it at the middle size."""
    model = random_weights(MIDDLE)
    print(f"{sum(p.numel() for p in model.parameters()) / 1e6:.0f} million parameters", file=sys.stderr)
    cases = {cameras: workload(MIDDLE, VALID, cameras) for cameras in (3, 2)}
    fast = FastSampler(model)
    calls: dict[str, Callable[[], object]] = {
        "plain": lambda: sample_actions(model, *cases[3]),
        "fast": lambda: fast(*cases[3]),
        "fast_one_camera_absent": lambda: fast(*cases[2]),
        **{f"fast_{name}": call for name, call in fast.stages(*cases[3]).items()},
    }
    if has_onednn(torch.bfloat16):
        half = FastSampler(model, dtype=torch.bfloat16)
        calls["fast_bfloat16"] = lambda: half(*cases[3])
        calls |= {f"fast_bfloat16_{name}": call for name, call in half.stages(*cases[3]).items()}
    else:
        print("this CPU has no bfloat16 products; they are left out", file=sys.stderr)
    with peer(args, model, *cases[3], fast(*cases[3])) as full, peer(args, model, *cases[2], None) as absent:
        times = best(calls, args.repeats, nothing, args.clock)
        theirs = [ask() for ask in (full, absent) for _ in range(args.repeats) if ask]
    times |= peer_times(theirs, args.repeats)
    tell(times, args.clock)


def tell(times: dict[str, float], clock: Callable[[], float]) -> None:
    """Times, ratios, and each stage against the measured matrix peak."""
    for name, seconds in times.items():
        report("sampler", name, seconds * 1e3, "ms", threads=torch.get_num_threads())
    report("sampler", "fast_over_plain", times["plain"] / times["fast"], "x")
    if "lerobot" in times:
        for ours, other in (
            ("fast", "lerobot"),
            ("fast_one_camera_absent", "lerobot_one_camera_absent"),
            ("fast_steps", "lerobot_steps"),
            ("fast_bfloat16", "lerobot"),
        ):
            if ours in times:
                report("sampler", f"{ours}_over_lerobot", times[other] / times[ours], "x")
    for dtype, prefix in ((torch.float32, "fast"), (torch.bfloat16, "fast_bfloat16")):
        if prefix in times:
            tell_stages(times, dtype, prefix, clock)


def tell_stages(times: dict[str, float], dtype: torch.dtype, prefix: str, clock: Callable[[], float]) -> None:
    """Operations per second of vision, prefix and steps as a share of the quickest product here."""
    kind = str(dtype).removeprefix("torch.")
    peak = matrix_peak(torch.device("cpu"), dtype, nothing, clock)
    report("sampler", f"matrix_peak_{kind}", peak / 1e9, "GFLOP/s")
    work = operations(MIDDLE, VALID, 3)
    seconds = {name: times[f"{prefix}_{name}"] for name in work}
    seconds["prefix"] -= seconds["vision"]
    for name, count in work.items():
        report("sampler", f"{prefix}_{name}_share_of_peak", count / seconds[name] / peak, "1", gflop=count / 1e9)


@contextmanager
def peer(
    args: argparse.Namespace, model: Pi0, inputs: Inputs, noise: Tensor, expected: Tensor | None
) -> Iterator[Callable[[], dict[str, float]] | None]:
    """A running LeRobot with our weights and inputs: a function that makes it do one call; None without it."""
    if not args.peer_python:
        if expected is not None:
            print("LeRobot is left out: give its Python as --peer-python", file=sys.stderr)
        yield None
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_peer(folder, model, inputs, noise)
        script, clock = Path(__file__).with_name("_peer_lerobot.py"), args.clock.__name__
        command = [args.peer_python, str(script), name, str(args.threads), clock]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            if not answer(process):
                process.kill()
                print(f"LeRobot is left out: {args.peer_python} could not run it", file=sys.stderr)
                yield None
                return
            if expected is not None:
                gap = (load_file(folder / "actions.safetensors")["actions"] - expected).abs().max().item()
                report("sampler", "largest_difference_to_lerobot", gap, "normalised action")

            def ask() -> dict[str, float]:
                process.stdin.write("go\n")
                process.stdin.flush()
                return json.loads(answer(process))

            yield ask
            process.stdin.close()


def answer(process: subprocess.Popen[str]) -> str:
    """The next line meant for us; empty where the peer has ended."""
    for line in process.stdout:
        if line.startswith("PEER "):
            return line.removeprefix("PEER ")
    return ""


def write_peer(folder: Path, model: Pi0, inputs: Inputs, noise: Tensor) -> None:
    """Sizes, weights under LeRobot's names, and inputs."""
    (folder / "sizes.json").write_text(json.dumps(model.config.to_dict()))
    save_file(
        {lerobot_name(key): value.contiguous() for key, value in model.state_dict().items()},
        folder / "model.safetensors",
    )
    io = {"tokens": inputs.tokens, "token_mask": inputs.token_mask, "noise": noise}
    for index, (image, mask) in enumerate(zip(inputs.images, inputs.image_masks, strict=True)):
        io |= {f"image.{index}": image, f"mask.{index}": mask}
    save_file(io, folder / "io.safetensors")


def lerobot_name(key: str) -> str:
    """Our state dict key as LeRobot writes it."""
    for ours, theirs in LEROBOT_NAMES.items():
        if key.startswith(ours):
            return theirs + key.removeprefix(ours)
    return key


def peer_times(answers: list[dict[str, float]], repeats: int) -> dict[str, float]:
    """Shortest calls of the peer: all cameras first, then with one absent."""
    if not answers:
        return {}
    full, absent = answers[:repeats], answers[repeats:]
    return {
        "lerobot": min(a["full"] for a in full),
        "lerobot_steps": min(a["steps"] for a in full),
        "lerobot_one_camera_absent": min(a["full"] for a in absent),
    }


if __name__ == "__main__":
    sys.exit(main())
