"""The fast path against the plain one and, if its Python is given, against LeRobot's pi0.5, on this CPU.

`python -m bench sampler [--quick] [--threads N] [--peer-python PATH] [--repeats N] [--cpu-time]`. Middle size: vision 12 x 768,
language 12 x 1024, expert 12 x 512, three cameras of 224, 64 of 200 text tokens, 50 actions, ten steps, batch 1.
Times are the shortest of several, ours and the peer's taken in turns. The peer needs LeRobot 0.6 (Python 3.12) in an
environment of its own.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from bench._sampler_work import MIDDLE, best, matrix_peak, operations, random_weights, report, seconds_of, workload
from pi0_ros.model import FastSampler, Inputs, Pi0, preset, sample_actions
from pi0_ros.model.inference.modes import has_compiler
from pi0_ros.model.kernels import has_onednn

VALID = 64
# ours, the peer's: what is compared. The goal in bfloat16 may be read against the peer in either type: both are reported.
RATIOS = (
    ("fast", "lerobot"),
    ("fast_one_camera_absent", "lerobot_one_camera_absent"),
    ("fast_steps", "lerobot_steps"),
    ("fast_compiled", "lerobot"),
    ("fast_compiled_steps", "lerobot_steps"),
    ("fast_bfloat16", "lerobot"),
    ("fast_bfloat16", "lerobot_bfloat16"),
)
Ask = Callable[[], dict[str, float]]
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
    if has_compiler():
        compiled = FastSampler(model, mode="compile")
        calls["fast_compiled"] = lambda: compiled(*cases[3])
        calls["fast_compiled_steps"] = compiled.stages(*cases[3])["steps"]
    else:
        print("no C++ compiler: mode compile is left out", file=sys.stderr)
    if has_onednn(torch.bfloat16):
        half = FastSampler(model, dtype=torch.bfloat16)
        calls["fast_bfloat16"] = lambda: half(*cases[3])
        calls |= {f"fast_bfloat16_{name}": call for name, call in half.stages(*cases[3]).items()}
    else:
        print("this CPU has no bfloat16 products; they are left out", file=sys.stderr)
    with ExitStack() as stack:
        asks: dict[str, Ask | None] = {}
        if args.peer_python:
            shared = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            write_weights(shared, model)
            asks["lerobot"] = stack.enter_context(peer(args, shared, *cases[3], expected=fast(*cases[3])))
            asks["lerobot_one_camera_absent"] = stack.enter_context(peer(args, shared, *cases[2]))
            if "fast_bfloat16" in calls:
                asks["lerobot_bfloat16"] = stack.enter_context(peer(args, shared, *cases[3], dtype="bfloat16"))
        else:
            print("LeRobot is left out: give its Python as --peer-python", file=sys.stderr)
        times = in_turns(calls, {name: ask for name, ask in asks.items() if ask}, args.repeats, args.clock)
    tell(times, args.clock)


def in_turns(
    calls: Mapping[str, Callable[[], object]], asks: Mapping[str, Ask], repeats: int, clock: Callable[[], float]
) -> dict[str, float]:
    """Shortest seconds of our calls and of the peers', one after the other in every round, after a round to warm up."""
    times: dict[str, float] = {}
    for index in range(repeats + 1):
        found = {name: seconds_of(call, nothing, clock) for name, call in calls.items()}
        for name, ask in asks.items():
            answer = ask()
            found |= {name: answer["full"], f"{name}_steps": answer["steps"]}
        times = {name: min(times.get(name, found[name]), found[name]) for name in found} if index else {}
    return times


def tell(times: dict[str, float], clock: Callable[[], float]) -> None:
    """Times, ratios, and each stage against the measured matrix peak."""
    for name, seconds in times.items():
        report("sampler", name, seconds * 1e3, "ms", threads=torch.get_num_threads())
    report("sampler", "fast_over_plain", times["plain"] / times["fast"], "x")
    for ours, other in RATIOS:
        if ours in times and other in times:
            kind = "_bfloat16" if other == "lerobot_bfloat16" else ""
            report("sampler", f"{ours}_over_lerobot{kind}", times[other] / times[ours], "x")
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
    args: argparse.Namespace,
    weights: Path,
    inputs: Inputs,
    noise: Tensor,
    expected: Tensor | None = None,
    dtype: str = "float32",
) -> Iterator[Ask | None]:
    """A running LeRobot with the folder's weights and these inputs: a function that makes it do one call; None if it
    does not run."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_inputs(folder, weights, inputs, noise)
        script, clock = Path(__file__).with_name("_peer_lerobot.py"), args.clock.__name__
        command = [args.peer_python, str(script), name, str(args.threads), clock, dtype]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            if not answer(process):
                process.kill()
                print(f"LeRobot in {dtype} is left out: {args.peer_python} could not run it", file=sys.stderr)
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
    """The next line meant for us; empty if the peer has ended."""
    for line in process.stdout:
        if line.startswith("PEER "):
            return line.removeprefix("PEER ")
    return ""


def write_weights(folder: Path, model: Pi0) -> None:
    """Sizes, and weights under LeRobot's names."""
    (folder / "sizes.json").write_text(json.dumps(model.config.to_dict()))
    tensors = {lerobot_name(key): value.contiguous() for key, value in model.state_dict().items()}
    save_file(tensors, folder / "model.safetensors")


def write_inputs(folder: Path, weights: Path, inputs: Inputs, noise: Tensor) -> None:
    """Links to the weights, and inputs."""
    for file in ("sizes.json", "model.safetensors"):
        (folder / file).symlink_to(weights / file)
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


if __name__ == "__main__":
    sys.exit(main())
