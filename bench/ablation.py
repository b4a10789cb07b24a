"""What the parts of the recipe do, in small: flow alone, FAST tokens beside it, and these with knowledge insulation.

`python -m bench ablation --out FOLDER [--start random|trunk] [--minutes 60] [--steps 20000] [--kept 8] [--episodes 100] [--quick]`

Three runs over the same simulated frames, one seed, equal minutes (or equal steps if these end first). They start from random weights, or
(`--start trunk`) from the shipped policy without its action expert, as the papers start from a trained trunk and draw the expert anew: then an hour is enough
for all. In all of them the text head also says places (the experiment that touching blocks needs); what differs is the chunk as FAST
tokens, and whether the flow loss reaches the trunk. `--kept` checkpoints of each run are evaluated on 20 scenes, the last on `--episodes`. Results: success with
its 95 % interval, and the first step whose success is half and nine tenths. From random weights it needs two free cores for three times the minutes, half an hour
for the frames and an hour for evaluation. Started again with the same folder, it continues after the last finished stage.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
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
GENTLY = ("--model", "pi05", "--word-batch", "1", "--peak-rate", "5e-4", "--warmup", "50", "--ema", "0.99")
"""For a trunk that is trained already."""
NEW = ("expert.", "action_in_proj.", "action_out_proj.", "time_mlp_in.", "time_mlp_out.")
"""What a π0-FAST does not have: the expert and its projections."""
SHIPPED = Path(__file__).resolve().parents[1] / "checkpoints" / "pi05_reach_tiny"


def main(argv: Sequence[str], run: Run = pi0) -> int:
    """0 if all stages were done."""
    parser = argparse.ArgumentParser(prog="python -m bench ablation", description=__doc__.partition("\n\n")[0])
    parser.add_argument("--out", type=Path, default=Path("runs/ablation"), help="folder of the stages")
    parser.add_argument("--minutes", type=float, default=60.0, help="of training, for each way")
    parser.add_argument("--start", choices=("random", "trunk"), default="random", help="what the three begin with")
    parser.add_argument("--steps", type=int, default=20000, help="of training, if the minutes do not end it before")
    parser.add_argument("--batch", type=int, default=12, help="action examples a step and process")
    parser.add_argument("--sim-episodes", type=int, default=1500, help="whose frames they are trained on")
    parser.add_argument("--kept", type=int, default=8, help="checkpoints of each run that are evaluated")
    parser.add_argument("--episodes", type=int, default=100, help="of the last checkpoints' evaluation")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="a few steps and scenes: does the bench itself work?")
    args = parser.parse_args(argv)
    stages, quick = Stages("ablation", args.out, run), args.quick
    frames = args.out / "frames_run"
    batch = ["--batch", str(args.batch), "--symmetry"]
    small = [] if args.start == "trunk" else ["--mlp", "32"]
    size = [*small, "--batch", "2", "--word-batch", "1", "--draws", "1"] if quick else batch
    usual = [*size, "--seed", str(args.seed), "--workers", "1" if quick else "2"]

    def make_frames() -> dict[str, Any]:
        count = "2" if quick else str(args.sim_episodes)
        run(["train", "--sim-episodes", count, "--out", str(frames), *usual, "--steps", "1"])
        return {"frames": str(frames / "frames" / "sim")}

    place = stages.stage("frames", make_frames)["frames"]
    start = ["--init", str(trunk_of(SHIPPED, args.out / "trunk")), *GENTLY] if args.start == "trunk" else []
    for way, options in WAYS.items():
        folder = args.out / re.sub(r"\W+", "_", way)

        def train(folder: Path = folder, options: tuple[str, ...] = options) -> dict[str, Any]:
            length = ["--steps", "4"] if quick else ["--steps", str(args.steps), "--minutes", f"{args.minutes:g}"]
            kept = "3" if quick else str(args.kept + 1)
            often = ["--save-every", "0" if quick else f"{args.minutes / args.kept:g}", "--keep", kept]
            run(["train", "--frames", place, "--out", str(folder), *usual, *start, *length, *often, *options])
            return last_line(folder)

        last = stages.stage(f"{folder.name}_train", train)
        stages.say(way, "steps", last["step"], "1", seconds=last["seconds"])
        rates = [_rate(stages, kept, folder.name, 1 if quick else 20) for kept in sorted(folder.glob("checkpoints/*"))]
        for level in LEVELS:
            first = next((step for step, rate in rates if rate >= level), None)
            stages.say(way, f"steps_to_{level:g}", first, "1")
        stages.evaluated(f"{folder.name}_end", folder / "checkpoint", 1 if quick else args.episodes)
    return 0


def trunk_of(checkpoint: Path, folder: Path) -> Path:
    """A π0.5 of this project without its expert, as a π0-FAST in `folder`: the trunk that a second stage begins with."""
    from pi0_ros.model.checkpoints.save import write_json
    from pi0_ros.model.checkpoints.tensorfile import read_all, write

    shutil.copytree(checkpoint, folder, dirs_exist_ok=True)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    config["model"] |= {"kind": "pi0_fast", "expert": None}
    write_json(folder / "config.json", config)
    weights = folder / "model.safetensors"
    write(weights, {name: tensor for name, tensor in read_all(weights).items() if not name.startswith(NEW)})
    return folder


def _rate(stages: Stages, checkpoint: Path, run: str, episodes: int) -> tuple[int, float]:
    """Step and success of a checkpoint that was kept."""
    step = int(checkpoint.name.removeprefix("step-"))
    return step, stages.evaluated(f"{run}_{step}", checkpoint, episodes)["success_rate"]
