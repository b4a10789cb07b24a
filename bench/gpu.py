"""Every variant of the network, checked and timed at full size on an NVIDIA GPU in a few minutes.

`python -m bench gpu [--out FILE] [--only STEP,...] [--within SECONDS]`. Steps come in order of worth, each in a process
of its own with its own limit; results are written as they come, so that a run which is cut still counts. Random
weights, batch 1, three cameras and 80 text tokens unless a name says otherwise. Needs torch alone (and triton, which
comes with torch's CUDA builds). `--dry-run` prints the plan and runs every step at a tiny size on the CPU.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Step:
    """A step of `_gpu_steps`, how many seconds it is expected to take on an H200, and after how many it is ended."""

    name: str
    expected: int
    limit: int


PLAN = (
    Step("card", 12, 30),
    Step("kernels", 60, 110),
    Step("check", 35, 60),
    Step("modes", 40, 70),
    Step("fp8", 20, 45),
    Step("start", 60, 90),
    Step("text", 20, 40),
    Step("batch", 20, 40),
    Step("train", 30, 60),
    Step("compiled", 75, 110),
)


def main(argv: list[str] | None = None) -> int:
    """Run the plan; 0 if every step that ran ended well."""
    parser = argparse.ArgumentParser(prog="python -m bench gpu", description=__doc__)
    parser.add_argument("--only", default="", help="steps, separated by commas")
    parser.add_argument("--within", type=float, default=1e9, help="seconds after which no step goes on")
    parser.add_argument("--out", type=Path, help="file that results are added to; default: gpu.jsonl in $OUT, if set")
    parser.add_argument("--dry-run", action="store_true", help="print the plan, run it at a tiny size on the CPU")
    args = parser.parse_args(argv)
    plan = chosen(args.only)
    if args.dry_run:
        print("\n".join(lines(plan)), file=sys.stderr)
    elif not has_gpu():
        print("gpu is left out: no CUDA device here (--dry-run tries it on the CPU)", file=sys.stderr)
        return 0
    out = args.out or (Path(os.environ["OUT"]) / "gpu.jsonl" if os.environ.get("OUT") else None)
    with tempfile.NamedTemporaryFile() as tuning:  # what the step `kernels` finds, for those behind it
        os.environ["PI0_BENCH_TUNING"] = tuning.name
        return run(plan, args.within, out, args.dry_run)


def chosen(only: str) -> tuple[Step, ...]:
    """The steps named, in the plan's order; all if none is."""
    names = [name for name in only.split(",") if name]
    known = {step.name for step in PLAN}
    if unknown := [name for name in names if name not in known]:
        sys.exit(f"gpu: there is no step {unknown[0]}; there are {', '.join(step.name for step in PLAN)}")
    return tuple(step for step in PLAN if not names or step.name in names)


def lines(plan: Sequence[Step]) -> list[str]:
    """The plan in words: when each step is expected to begin, and its limit."""
    begins = [sum(step.expected for step in plan[:index]) for index in range(len(plan))]
    shown = [f"{begin:4d} s  {step.name} (limit {step.limit} s)" for begin, step in zip(begins, plan, strict=True)]
    return [*shown, f"{sum(step.expected for step in plan):4d} s  end"]


def has_gpu() -> bool:
    """Whether torch sees a CUDA device."""
    import torch

    return torch.cuda.is_available()


def run(plan: Sequence[Step], within: float, out: Path | None, dry: bool) -> int:
    """All steps, one after another; what they print goes on at once, to stdout and to the file."""
    end, failed = time.monotonic() + within, []
    for step in plan:
        left = end - time.monotonic()
        if left < 5:
            print(f"gpu: no time left for {step.name}", file=sys.stderr, flush=True)
            failed.append(step.name)
            continue
        began = time.monotonic()
        if code := run_step(step, min(left, 10 * step.limit if dry else step.limit), out, dry):
            print(f"gpu: {step.name} ended with {code}", file=sys.stderr, flush=True)
            failed.append(step.name)
        print(f"gpu: {step.name} took {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    return 1 if failed else 0


def run_step(step: Step, limit: float, out: Path | None, dry: bool) -> int:
    """One step in a process of its own, ended after `limit` seconds; its exit code."""
    command = ["timeout", "-k", "3", f"{limit:.0f}", sys.executable, "-u", "-m", "bench._gpu_steps", step.name]
    environment = os.environ | ({"CUDA_VISIBLE_DEVICES": ""} if dry else {})
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=environment) as process:
        for line in process.stdout or ():
            print(line, end="", flush=True)
            if out is not None:
                with out.open("a", encoding="utf-8") as file:
                    file.write(line)
    return process.returncode


if __name__ == "__main__":
    sys.exit(main())
