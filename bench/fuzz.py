"""Damaged and hostile files for everything that reads what others wrote: only the project's own errors may come out.

`python -m bench fuzz [TARGET ...] [--inputs N] [--seconds S] [--seed K] [--engine mutations|hypothesis|atheris] [--keep FOLDER]`

Each target runs in a process of its own. A failure is an error that is not the project's own, one that does not name the file, is
longer than a person reads, or holds control characters; an input that takes more than 2 s or 1 GiB; a process that dies. `--keep`
writes the shortest input of each kind of failure there; once mended, it belongs to bench/fuzz_seeds/TARGET, which a test reads.
atheris (coverage-guided) is in no lock: `pip install atheris`.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from bench._fuzz_targets import TARGETS

ROOT = Path(__file__).resolve().parents[1]
ENVIRONMENT = {**os.environ, "ARROW_DEFAULT_MEMORY_POOL": "system"}  # its own reserves a gigabyte of addresses at once
LAST = 1800.0  # [s] for starting and for the last input, on a machine that may be busy, or pause it


def tell(target: str, metric: str, value: float, unit: str, **more: object) -> None:
    """One line."""
    line = {"bench": "fuzz", "metric": f"{target}_{metric}", "value": value, "unit": unit, **more}
    print(json.dumps(line), flush=True)


def command_of(*words: str) -> list[str]:
    """The process that tries one target."""
    return [sys.executable, "-m", "bench._fuzz_work", *words]


def run_target(name: str, engine: str, count: int, seconds: float, seed: int, keep: Path | None) -> dict:
    """One target in a process of its own; what it found."""
    with tempfile.TemporaryDirectory(prefix="fuzz-out-") as place:
        out = Path(place)
        command = command_of(name, engine, str(count), str(seconds), str(seed), place)
        log = out / "log"
        with log.open("wb") as stream:
            try:
                done = subprocess.run(
                    command,
                    cwd=ROOT,
                    stdout=stream,
                    stderr=stream,
                    env=ENVIRONMENT,
                    timeout=seconds + LAST,
                    check=False,
                )
                code = done.returncode
            except subprocess.TimeoutExpired:
                code = -9
        found = {"inputs": 0, "accepted": 0, "refused": 0, "slowest": 0.0, "grown": 0.0, "failures": []}
        if (out / "found.json").is_file():
            found = json.loads((out / "found.json").read_text(encoding="utf-8"))
        if code != 0:
            note = (out / "note").read_bytes() if (out / "note").is_file() else bytes(8)
            (out / "failure-died").write_bytes(note[8 : 8 + int.from_bytes(note[:8], "little")])
            said = log.read_text(encoding="utf-8", errors="replace")[-2000:]
            found["failures"].append({"kind": f"the process ended with {code}", "what": said, "input": "failure-died"})
        for k, failure in enumerate(found["failures"]):
            if keep is not None:
                keep.mkdir(parents=True, exist_ok=True)
                shutil.copy(out / failure["input"], keep / f"{name}-{engine}-{k}")
                failure["input"] = str(keep / f"{name}-{engine}-{k}")
    return found


def main(argv: list[str] | None = None) -> int:
    """Print one JSON object a line; 1 if anything was found."""
    parser = argparse.ArgumentParser(prog="python -m bench fuzz", description=__doc__)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"of {', '.join(TARGETS)}; all if none is given")
    parser.add_argument("--inputs", type=int, default=1_000_000, help="of each target (default: a million)")
    parser.add_argument("--seconds", type=float, default=300.0, help="at most this long for each target")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--engine", choices=("mutations", "hypothesis", "atheris"), default="mutations")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="where failures are written")
    args = parser.parse_args(argv)
    unknown = [name for name in args.targets if name not in TARGETS]
    if unknown:
        parser.error(f"there is no target {unknown[0]}; there are {', '.join(TARGETS)}")
    failed = 0
    for name in args.targets or TARGETS:
        found = run_target(name, args.engine, args.inputs, args.seconds, args.seed, args.keep)
        for metric, unit in (("inputs", "count"), ("accepted", "count"), ("slowest", "s"), ("grown", "MiB")):
            tell(name, metric, found[metric], unit, engine=args.engine)
        for failure in found["failures"]:
            tell(name, "failure", 1, "count", engine=args.engine, **failure)
        tell(name, "failures", len(found["failures"]), "count", engine=args.engine)
        failed += len(found["failures"])
    return int(failed > 0)
