"""New words for what a policy knows: "tomato" for red and "banana" for yellow, from 60 episodes.

`python -m bench new_words --out FOLDER [--minutes 30] [--quick]`

Episodes of the scripted operator are given the new words (`pi0 data retitle`), the shipped policy is fine-tuned on them beside frames with the old words, and
evaluated: 20 scenes that ask with new words, 100 with the old ones. Wanted: 16 of 20, and 95 %. Needs two free cores for about an hour. Started
again with the same folder, it continues after the last finished stage.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench._stages import Run, Stages, last_line, pi0

WORDS = {"red": "tomato", "yellow": "banana"}
START = "pi05_reach_tiny"
MIXTURE = """sources:
  - {{name: old words, sim_episodes: {old}, weight: 1}}
  - {{name: new words, dataset: {dataset}, weight: 2}}
"""


def main(argv: Sequence[str], run: Run = pi0) -> int:
    """0 if all stages were done."""
    parser = argparse.ArgumentParser(prog="python -m bench new_words", description=__doc__.partition("\n\n")[0])
    parser.add_argument("--out", type=Path, default=Path("runs/new_words"), help="folder of the stages")
    parser.add_argument("--minutes", type=float, default=30.0, help="of fine-tuning")
    parser.add_argument("--quick", action="store_true", help="a few steps and scenes: does the bench itself work?")
    args = parser.parse_args(argv)
    stages, quick = Stages("new_words", args.out, run), args.quick

    def collect() -> dict[str, Any]:
        """Episodes with the old words, and a copy with the new ones."""
        known, target = args.out / "old", args.out / "words"
        count = "1" if quick else "60"
        size = ["--size", "96"]
        run(["collect", "--task", "reach", "--episodes", count, "--seed", "3000000", "--out", str(known), *size])
        renamed = [
            f"--task=touch the {old} block with the {side} arm=touch the {new} block with the {side} arm"
            for old, new in WORDS.items()
            for side in ("left", "right")
        ]
        run(["data", "retitle", str(known), *renamed, "--out", str(target)])
        return {"dataset": str(target.resolve())}

    dataset = stages.stage("collected", collect)["dataset"]
    mixture = args.out / "mixture.yaml"
    mixture.write_text(MIXTURE.format(old=1 if quick else 100, dataset=dataset), encoding="utf-8")

    def train() -> dict[str, Any]:
        length = ["--steps", "2"] if quick else ["--steps", "2000", "--minutes", f"{args.minutes:g}", "--workers", "2"]
        rates = ["--peak-rate", "4e-4", "--final-rate", "2e-5", "--warmup", "20", "--ema", "0.98"]
        batch = ["--batch", "2" if quick else "12", "--word-batch", "1", "--symmetry"]
        folder = str(args.out / "run")
        run(["train", "--init", START, "--mixture", str(mixture), "--out", folder, *length, *rates, *batch])
        return last_line(args.out / "run")

    last = stages.stage("train", train)
    stages.say("train", "steps", last["step"], "1", seconds=last["seconds"])
    checkpoint = args.out / "run" / "checkpoint"
    said = ", ".join(f"{old}={new}" for old, new in WORDS.items())
    asked = 3 if quick else 60  # about half of the scenes ask for one of these colours
    for name, policy in (("before", START), ("after", str(checkpoint))):
        found = stages.evaluated(f"{name}_new_words_all", policy, asked, "--instruction", said)
        rows = [row for row in found["per_episode"] if any(word in row["instruction"] for word in WORDS.values())][:20]
        stages.say_success(f"{name}_new_words", sum(bool(row["success"]) for row in rows), len(rows))
        stages.evaluated(f"{name}_old_words", policy, 1 if quick else 100)
    return 0
