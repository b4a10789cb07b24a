"""`python -m bench [NAME] [arguments]`: one benchmark with its own arguments, or all that take less than half an hour.

A benchmark is a module here with `main(argv) -> int` that prints one JSON object a line. Each runs in a process of
its own; what is no JSON goes to stderr, so that stdout can be read by a program.
"""

import importlib
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
LONG = ("ablation", "corrections", "fuzz", "mutation", "new_words", "soak")  # half an hour to several: by name alone


def names() -> list[str]:
    """All benchmarks there are."""
    return sorted(file.stem for file in FOLDER.glob("*.py") if not file.stem.startswith("_"))


def is_result(line: str) -> bool:
    """Whether a line is a result: a JSON object that names its bench and metric, with value and unit."""
    try:
        found = json.loads(line)
    except ValueError:
        return False
    return isinstance(found, dict) and {"bench", "metric", "value", "unit"} <= found.keys()


def run(name: str, arguments: Sequence[str]) -> int:
    """Run one benchmark in its own process and pass its results on; returns its exit code."""
    code = f"import sys; from bench import __main__ as runner; sys.exit(runner.call({name!r}, sys.argv[1:]))"
    command = [sys.executable, "-u", "-c", code, *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=FOLDER.parent) as process:
        for line in process.stdout or ():
            print(line, end="", flush=True, file=sys.stdout if is_result(line) else sys.stderr)
    return process.returncode


def call(name: str, arguments: Sequence[str]) -> int:
    """Import one benchmark and call its `main`."""
    return int(importlib.import_module(f"bench.{name}").main(list(arguments)) or 0)


def main(argv: Sequence[str]) -> int:
    """0 if every benchmark that ran ended well, 2 for a name that does not exist."""
    if argv and argv[0] in ("-h", "--help"):
        print(f"{__doc__}\nbenchmarks: {', '.join(names())}", file=sys.stderr)
        return 0
    if not argv or argv[0].startswith("-"):
        short = [name for name in names() if name not in LONG]
        print(f"bench: {', '.join(short)}; by name alone: {', '.join(LONG)}", file=sys.stderr)
        return max([run(name, argv) for name in short], default=0)
    if argv[0] not in names():
        print(f"bench: there is no benchmark {argv[0]}; there are {', '.join(names())}", file=sys.stderr)
        return 2
    return run(argv[0], argv[1:])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
