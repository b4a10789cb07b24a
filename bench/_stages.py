"""Benches in stages of documented commands: each stage's result is a JSON file, and a bench that is started again continues after the last one."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from pi0_ros.robot.replacing import write_whole

Run = Callable[[Sequence[str]], None]


def pi0(words: Sequence[str]) -> None:
    """Run `pi0 …`; all it says goes to stderr. Raises SystemExit if it fails."""
    print(f"$ pi0 {' '.join(words)}", file=sys.stderr, flush=True)
    done = subprocess.run([sys.executable, "-m", "pi0_ros.cli", *words], stdout=sys.stderr, check=False)
    if done.returncode:
        raise SystemExit(f"pi0 {words[0]} ended with code {done.returncode}; the same command goes on from this stage")


class Stages:
    """Stages of a bench, in a folder."""

    def __init__(self, bench: str, folder: Path, run: Run = pi0) -> None:
        self.bench, self.folder, self.pi0 = bench, folder, run
        folder.mkdir(parents=True, exist_ok=True)

    def stage(self, name: str, work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """What a stage found: read if it is done already, else worked out and written."""
        file = self.folder / f"{name}.json"
        if not file.is_file():
            found = work()
            write_whole(file, json.dumps(found, indent=1) + "\n")
        return json.loads(file.read_text(encoding="utf-8"))

    def evaluated(self, name: str, checkpoint: str | Path, episodes: int, *more: str) -> dict[str, Any]:
        """`pi0 evaluate`'s result as a stage; said as one line of success with its interval."""
        file = self.folder / "evaluations" / f"{name}.json"

        def work() -> dict[str, Any]:
            self.pi0(
                ["evaluate", "--checkpoint", str(checkpoint), "--episodes", str(episodes), "--json", str(file), *more]
            )
            return json.loads(file.read_text(encoding="utf-8"))

        found = self.stage(name, work)
        self.say_success(name, int(found["successes"]), int(found["episodes"]))
        return found

    def say_success(self, name: str, good: int, count: int, **more: Any) -> None:
        """One line: the share of good episodes with Wilson's 95 % interval."""
        from pi0_ros.closed_loop.intervals import wilson

        low, high = wilson(good, count)
        numbers = {"successes": good, "episodes": count, "low": round(low, 4), "high": round(high, 4)}
        self.say(name, "success", good / max(count, 1), "1", **numbers, **more)

    def say(self, name: str, metric: str, value: float | None, unit: str, **more: Any) -> None:
        """One result."""
        line = {"bench": f"{self.bench}/{name}", "metric": metric, "value": value, "unit": unit, **more}
        print(json.dumps(line), flush=True)


def last_line(run: Path) -> dict[str, Any]:
    """The last line of a run's record."""
    return json.loads((run / "record.jsonl").read_text(encoding="utf-8").splitlines()[-1])
