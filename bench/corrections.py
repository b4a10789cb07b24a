"""The tutorial of corrections from beginning to end: a changed world, 30 corrections recorded through ROS, fine-tuning, both worlds.

`python -m bench corrections --out FOLDER [--corrections 30] [--episodes 50] [--world moved_camera] [--quick]`

The commands are those of docs/tutorials/corrections.md. Wanted: the shipped policy below 70 % in the changed world, and after it 90 % there and 95 % in the
usual one. Needs two free cores for about two hours; while it records, nothing else may run. Started again with the same folder, it continues
after the last finished stage.
"""

from __future__ import annotations

import argparse
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from bench._stages import Run, Stages, last_line, pi0

START = "pi05_reach_tiny"
MIXTURE = """sources:
  - {{name: usual, sim_episodes: {old}, weight: 1}}
  - {{name: corrections, dataset: {dataset}, drivers: [teleop], shortest: 1, weight: 1}}
"""
END = 60.0  # [s] for the graph to end


def record(folder: Path, world: str, corrections: int, scenes: int, run: Run) -> None:
    """Have the scripted person correct the policy in the running graph; what was recorded lies in `folder`."""
    shutil.rmtree(folder, ignore_errors=True)  # of a stage that was not finished
    words = ["up", "sim:=true", "scene:=reach", f"world:={world}", "high_level:=false"]
    words += [f"record:={folder}", "record_mode:=corrections"]
    with subprocess.Popen([sys.executable, "-m", "pi0_ros.cli", *words], stdout=sys.stderr) as graph:
        try:
            run(["operate", "--corrections", str(corrections), "--scenes", str(scenes)])
        finally:
            graph.send_signal(signal.SIGINT)
            graph.wait(END)


def main(argv: Sequence[str], run: Run = pi0, recording: Callable[..., None] = record) -> int:
    """0 if all stages were done."""
    parser = argparse.ArgumentParser(prog="python -m bench corrections", description=__doc__.partition("\n\n")[0])
    parser.add_argument("--out", type=Path, default=Path("runs/corrections"), help="folder of the stages")
    parser.add_argument("--world", default="moved_camera")
    parser.add_argument("--corrections", type=int, default=30)
    parser.add_argument("--scenes", type=int, default=100, help="end recording after so many, corrected or not")
    parser.add_argument("--episodes", type=int, default=50, help="of each evaluation")
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--quick", action="store_true", help="one scene and two steps: does the bench itself work?")
    args = parser.parse_args(argv)
    if args.quick:
        args.corrections, args.scenes, args.episodes, args.steps = 1, 3, 1, 2
    stages, out = Stages("corrections", args.out, run), args.out
    worlds = {"usual": (), "changed": ("--world", args.world)}
    for name, options in worlds.items():
        stages.evaluated(f"before_{name}", START, args.episodes, *options)
    dataset = (out / "recorded").resolve()

    def recorded() -> dict[str, Any]:
        from pi0_ros.data.dataset import Dataset

        recording(dataset, args.world, args.corrections, args.scenes, run)
        with Dataset(dataset, skip_bad=True) as found:
            return {"episodes": len(found.episodes), "frames": len(found), "seconds": len(found) / found.fps}

    for metric, value in stages.stage("recorded", recorded).items():
        stages.say("recorded", metric, value, "s" if metric == "seconds" else "1")
    mixture = out / "mixture.yaml"
    mixture.write_text(MIXTURE.format(old=1 if args.quick else 100, dataset=dataset), encoding="utf-8")

    def train() -> dict[str, Any]:
        rates = ["--peak-rate", "4e-4", "--final-rate", "2e-5", "--warmup", "20", "--ema", "0.98"]
        sizes = ["--steps", str(args.steps), "--batch", "2" if args.quick else "12", "--word-batch", "1", "--symmetry"]
        folder = str(out / "run")
        run(["train", "--init", START, "--mixture", str(mixture), "--out", folder, *sizes, *rates])
        return last_line(out / "run")

    last = stages.stage("train", train)
    stages.say("train", "steps", last["step"], "1", seconds=last["seconds"])
    for name, options in worlds.items():
        stages.evaluated(f"after_{name}", out / "run" / "checkpoint", args.episodes, *options)
    return 0
