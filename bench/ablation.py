"""What the parts of the recipe do, in small: flow alone, FAST tokens beside it, and these with knowledge insulation.

`python -m bench ablation --out FOLDER [--minutes 60] [--episodes 100] [--seed 0] [--quick]`

Three runs from random weights over the same simulated frames, one seed, equal minutes. In all of them the text head also says
places (the experiment that touching blocks needs); what differs is the chunk as FAST tokens, and whether the flow loss reaches the trunk. Eight
checkpoints of each run are evaluated on 20 scenes, the last on `--episodes`. Results: success with its 95 % interval, and the first step whose success
is half and nine tenths. Needs two free cores for three times the minutes, half an hour for the frames and an hour for evaluation. Begun again with the same folder it goes
on behind the last stage that is done.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench._stages import Run, Stages, last_line, pi0

WAYS: dict[str, tuple[str, ...]] = {
    "flow": (),
    "flow and FAST": ("--fast-tokenizer", "fit"),
    "flow, FAST, insulated": ("--fast-tokenizer", "fit", "--insulate"),
}
LEVELS = (0.5, 0.9)


def main(argv: Sequence[str], run: Run = pi0) -> int:
    """0 where all stages were done."""
    parser = argparse.ArgumentParser(prog="python -m bench ablation", description=__doc__.partition("\n\n")[0])
    parser.add_argument("--out", type=Path, default=Path("runs/ablation"), help="folder of the stages")
    parser.add_argument("--minutes", type=float, default=60.0, help="of training, for each way")
    parser.add_argument("--episodes", type=int, default=100, help="of the last checkpoints' evaluation")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="a few steps and scenes: does the bench itself work?")
    args = parser.parse_args(argv)
    stages, quick = Stages("ablation", args.out, run), args.quick
    frames = args.out / "frames_run"
    size = ["--mlp", "32", "--batch", "2", "--word-batch", "1", "--draws", "1"] if quick else ["--symmetry"]
    usual = [*size, "--seed", str(args.seed), "--workers", "1" if quick else "2"]

    def make_frames() -> dict[str, Any]:
        run(["train", "--sim-episodes", "2" if quick else "1500", "--out", str(frames), *usual, "--steps", "1"])
        return {"frames": str(frames / "frames" / "sim")}

    place = stages.stage("frames", make_frames)["frames"]
    for way, options in WAYS.items():
        folder = args.out / re.sub(r"\W+", "_", way)

        def train(folder: Path = folder, options: tuple[str, ...] = options) -> dict[str, Any]:
            length = ["--steps", "4"] if quick else ["--steps", "20000", "--minutes", f"{args.minutes:g}"]
            often = ["--save-every", "0" if quick else f"{args.minutes / 8:g}", "--keep", "3" if quick else "9"]
            run(["train", "--frames", place, "--out", str(folder), *usual, *length, *often, *options])
            return last_line(folder)

        last = stages.stage(f"{folder.name}_train", train)
        stages.say(way, "steps", last["step"], "1", seconds=last["seconds"])
        rates = [_rate(stages, kept, folder.name, 1 if quick else 20) for kept in sorted(folder.glob("checkpoints/*"))]
        for level in LEVELS:
            first = next((step for step, rate in rates if rate >= level), None)
            stages.say(way, f"steps_to_{level:g}", first, "1")
        stages.evaluated(f"{folder.name}_end", folder / "checkpoint", 1 if quick else args.episodes)
    return 0


def _rate(stages: Stages, checkpoint: Path, run: str, episodes: int) -> tuple[int, float]:
    """Step and success of a checkpoint that was kept."""
    step = int(checkpoint.name.removeprefix("step-"))
    return step, stages.evaluated(f"{run}_{step}", checkpoint, episodes)["success_rate"]
