"""Ctrl-C at any moment of every command, and every command in surroundings that are not as usual.

`python -m bench interrupts [--only WORD ...] [--moments N] [--seed S] [--quick]`

Each command is run once to its end; then it is started again and interrupted, as a terminal does it (the whole process group), at moments
drawn from the time that it took. Expected: the exit code of Ctrl-C (130, or -2 if Python had not come to our first line), no
traceback, at most a few lines, and what was to be written is not there, is whole, or is refused by whoever reads it. Then: no
HOME, a HOME that cannot be written, ROS_LOG_DIR likewise, a full disk, no /dev/shm, blanks and letters of other alphabets in
the path, LC_ALL=C, 64 open files. What needs mounts is made with `unshare`, and left out if that is not allowed.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pi0_ros.commands._own_graph import own_graph

ROOT = Path(__file__).resolve().parents[1]
TINY, ROBOT = str(ROOT / "checkpoints" / "pi05_reach_tiny"), "mobile_bimanual"
LONGEST = 600.0  # [s] for a command
LINES = 6  # lines after Ctrl-C; more are too many
OK, INTERRUPTED, BEFORE_OURS = 0, 130, -signal.SIGINT
Reads = Callable[[Path], object]


def read_checkpoint(path: Path) -> object:
    """Load a policy as a node does."""
    from pi0_ros.policy import load_policy
    from pi0_ros.robot import load_robot

    return load_policy(path, load_robot(ROBOT))


def read_dataset(path: Path) -> object:
    """Read the first and the last frame of a dataset."""
    from pi0_ros.data.dataset import Dataset

    data = Dataset(path)
    return data[0], data[len(data) - 1]


def read_json(path: Path) -> object:
    """Read a report."""
    return json.loads(path.read_text(encoding="utf-8"))


def read_video(path: Path) -> object:
    """Decode a film to its end."""
    import av

    with av.open(str(path)) as film:
        return sum(1 for _ in film.decode(video=0))


@dataclass(frozen=True)
class Command:
    """Words of `pi0`, in which {} is a folder of its own; what it writes there, and what reads that.

    `same`: what is there afterwards has to be what an undisturbed run writes, byte by byte. `endless`: it runs until Ctrl-C, which
    ends it well.
    """

    words: str
    writes: tuple[tuple[str, Reads], ...] = ()
    same: bool = False
    endless: bool = False


COMMANDS = {
    "check": Command(f"check --robot {ROBOT} --checkpoint {TINY}"),
    "up": Command(f"up robot:={ROBOT} sim:=true policy:=none", endless=True),
    "demo": Command(
        "demo --headless --duration 8 --report {}/report.json --video {}/film.mp4",
        (("report.json", read_json), ("film.mp4", read_video)),
    ),
    "convert": Command(f"convert {TINY} {{}}/converted", (("converted", read_checkpoint),), same=True),
    "convert_over": Command(f"convert {TINY} {{}}/old --overwrite", (("old", read_checkpoint),)),
    "collect": Command("collect --out {}/recorded --task reach --episodes 2", (("recorded", read_dataset),)),
    "keep": Command("data keep {}/dataset --episodes 0 --out {}/kept", (("kept", read_dataset),), same=True),
    "merge": Command("data merge {}/dataset {}/dataset --out {}/merged", (("merged", read_dataset),), same=True),
    "stats": Command("data stats {}/dataset"),
    "train": Command(
        f"train --init {TINY} --dataset {{}}/dataset --steps 6 --batch 2 --out {{}}/trained",
        (("trained/checkpoint", read_checkpoint),),
    ),
    "evaluate": Command(
        f"evaluate --checkpoint {TINY} --episodes 2 --json {{}}/result.json", (("result.json", read_json),), same=True
    ),
    "export": Command(f"export {TINY} --to {{}}/onnx"),
}
SURROUNDINGS: dict[str, tuple[str, dict[str, str | None]]] = {
    "no_home": ("", {"HOME": None, "ROS_LOG_DIR": None, "ROS_HOME": None}),
    "home_read_only": ("mount -t tmpfs -o ro none {}/ro", {"HOME": "{}/ro", "ROS_LOG_DIR": None, "ROS_HOME": None}),
    "logs_read_only": ("mount -t tmpfs -o ro none {}/ro", {"ROS_LOG_DIR": "{}/ro"}),
    "full_disk": ("mount -t tmpfs -o size=64k none {}/out", {}),
    "no_shm": ("mount -t tmpfs -o ro none /dev/shm", {}),
    "ascii": ("", {"LC_ALL": "C", "PYTHONUTF8": "0"}),
    "few_files": ("ulimit -n 64", {}),
    "path": ("", {}),
}
"""What a shell does before, and the variables that are changed (None: taken away)."""


def environment() -> dict[str, str]:
    """Of every command: a ROS graph of its own."""
    return {**os.environ, **own_graph()}


def start(command: Command, folder: Path, before: str = "", env: dict[str, str] | None = None) -> subprocess.Popen:
    """Start a command in a process group of its own; what it says goes to `said`."""
    words = [str(Path(sys.executable).with_name("pi0")), *(w.replace("{}", str(folder)) for w in command.words.split())]
    if before:
        script = before.replace("{}", f"'{folder}'") + ' && exec "$@"'
        words = [*(["unshare", "-m"] if "mount" in before else []), "bash", "-c", script, "-", *words]
    with (folder / "said").open("wb") as said:
        return subprocess.Popen(
            words, stdout=said, stderr=said, stdin=subprocess.DEVNULL, start_new_session=True, env=env or environment()
        )


def wait(process: subprocess.Popen, folder: Path) -> tuple[int, str]:
    """(exit code, what it said); a group that does not end is killed, with code -9."""
    try:
        code = process.wait(LONGEST)
    except subprocess.TimeoutExpired:
        code = -9
    try:
        os.killpg(process.pid, signal.SIGKILL)
        left = "; processes of it were left"
        if code == 0:
            code = -9
    except ProcessLookupError:
        left = ""
    return code, (folder / "said").read_text(encoding="utf-8", errors="replace") + left


def digest(path: Path) -> dict[str, str]:
    """What is in a file or folder."""
    files = [path] if path.is_file() else sorted(f for f in path.rglob("*") if f.is_file())
    return {str(f.relative_to(path)): hashlib.sha256(f.read_bytes()).hexdigest() for f in files}


def state_of(path: Path, reads: Reads, reference: dict[str, str] | None) -> str:
    """absent, whole, refused, or what is wrong with what is there."""
    from pi0_ros.robot.errors import UserError

    if not path.exists():
        return "absent"
    if reference is not None and digest(path) == reference:
        return "whole"
    try:
        reads(path)
    except UserError:
        return "refused"
    except Exception as error:  # noqa: BLE001 - that is what is looked for
        return f"WRONG: {type(error).__name__}: {error}"[:200]
    return "WRONG: half, and loads" if reference is not None else "loads"


def verdict(code: int, said: str, states: dict[str, str]) -> list[str]:
    """What is wrong with an ending."""
    wrong = [] if code in (OK, INTERRUPTED, BEFORE_OURS) else [f"exit code {code}"]
    if "Traceback" in said or "KeyboardInterrupt" in said or "Exception ignored" in said:
        wrong.append("traceback")
    if "processes of it were left" in said:
        wrong.append("processes left")
    return wrong + [f"{name}: {state}" for name, state in states.items() if state.startswith("WRONG")]


class Bench:
    """Runs commands in folders of their own, and tells what came of it."""

    def __init__(self, folder: Path, keep: Path | None) -> None:
        self._folder, self._keep, self._count, self.wrong = folder, keep, 0, 0
        self._dataset = folder / "dataset"

    def prepare(self) -> None:
        """A dataset that the others read."""
        place = self.place("made")
        process = start(COMMANDS["collect"], place)
        code, said = wait(process, place)
        if code:
            raise RuntimeError(f"no dataset could be made: {said[-500:]}")
        shutil.move(place / "recorded", self._dataset)

    def place(self, name: str) -> Path:
        """A new folder with what commands read."""
        self._count += 1
        place = self._folder / f"{name}{self._count}"
        for sub in ("", "ro", "out"):
            (place / sub).mkdir(exist_ok=True, parents=True)
        if self._dataset.exists():
            shutil.copytree(self._dataset, place / "dataset")
        shutil.copytree(TINY, place / "old")
        return place

    def tell(self, metric: str, value: float, unit: str, **more: object) -> None:
        """One line."""
        print(json.dumps({"bench": "interrupts", "metric": metric, "value": value, "unit": unit, **more}), flush=True)

    def interrupt(self, name: str, moments: int, chance: random.Random) -> None:
        """A command to its end, and then Ctrl-C at some moments of it."""
        command, place = COMMANDS[name], self.place(name)
        began = time.monotonic()
        process = start(command, place)
        if command.endless:
            time.sleep(10.0)
            os.killpg(process.pid, signal.SIGINT)
        code, said = wait(process, place)
        took = time.monotonic() - began
        self.tell(f"{name}_undisturbed", took, "s", code=code, said=said.strip()[-300:] if code else "")
        reference = {path: digest(place / path) if command.same else None for path, _ in command.writes}
        for k in range(moments):
            place, at = self.place(name), chance.uniform(0.0 if k else 0.02, 1.0) * took
            process = start(command, place)
            time.sleep(at)
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGINT)
            code, said = wait(process, place)
            states = {path: state_of(place / path, reads, reference[path]) for path, reads in command.writes}
            wrong = verdict(code, said, states)
            self._report(f"{name}_interrupted", at, "s", wrong, said, code=code, left=states)
            shutil.rmtree(place, ignore_errors=True)

    def surround(self, around: str, name: str) -> None:
        """Run a command in unusual surroundings: it has to work, or say in one line what it needs."""
        before, changes = SURROUNDINGS[around]
        place, command = self.place("blank ünïcödé π " if around == "path" else around), COMMANDS[name]
        if around == "full_disk":
            command = Command(
                command.words.replace("{}/dataset", "{}/DATA").replace("{}/", "{}/out/").replace("out/DATA", "dataset")
            )
            if "{}/out" not in command.words:
                return
        env = environment()
        for key, value in changes.items():
            env.pop(key, None)
            if value is not None:
                env[key] = value.replace("{}", str(place))
        process = start(command, place, before, env)
        if command.endless:
            time.sleep(15.0)
            os.killpg(process.pid, signal.SIGINT)
        code, said = wait(process, place)
        wrong = [] if code in (0, 1, 2) else [f"exit code {code}"]
        wrong += ["traceback"] if "Traceback" in said else []
        wrong += ["says nothing"] if code and not said.strip() else []
        if around == "full_disk" and code == 0:
            wrong.append("a full disk went unnoticed")
        self._report(f"{around}_{name}", code, "exit code", wrong, said)
        shutil.rmtree(place, ignore_errors=True)

    def _report(self, metric: str, value: float, unit: str, wrong: list[str], said: str, **more: object) -> None:
        self.wrong += bool(wrong)
        if self._keep is not None and wrong:
            self._keep.mkdir(parents=True, exist_ok=True)
            (self._keep / f"{metric}-{value:.2f}").write_text(said, encoding="utf-8")
        last = said.strip().splitlines()[-1:] or [""]
        self.tell(metric, round(value, 2), unit, wrong=wrong, said=last[0][-200:], **more)


def main(argv: Sequence[str]) -> int:
    """0 if nothing went wrong."""
    parser = argparse.ArgumentParser(prog="bench interrupts", description=__doc__)
    every = [*COMMANDS, *SURROUNDINGS]
    parser.add_argument("--only", nargs="+", choices=every, default=every, help="these commands and surroundings")
    beside = ["check", "up", "demo", "convert", "keep"]
    parser.add_argument("--beside", nargs="+", choices=COMMANDS, default=beside, help="commands in surroundings")
    parser.add_argument("--moments", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="one moment, two commands")
    parser.add_argument("--keep", type=Path, help="folder for what was said where something was wrong")
    args = parser.parse_args(argv)
    if args.quick:
        args.only, args.moments = ["check", "convert"], 1
    chance = random.Random(args.seed)
    signal.signal(
        signal.SIGINT, signal.default_int_handler
    )  # a shell's background job ignores it, and so would its children
    with tempfile.TemporaryDirectory(prefix="interrupts-", ignore_cleanup_errors=True) as folder:
        bench = Bench(Path(folder), args.keep)
        if any("{}/dataset" in COMMANDS[name].words for name in [*args.only, *args.beside] if name in COMMANDS):
            bench.prepare()
        for name in args.only:
            if name in COMMANDS:
                bench.interrupt(name, args.moments, chance)
            else:
                for command in args.beside:
                    bench.surround(name, command)
    bench.tell("wrong", bench.wrong, "count")
    return int(bench.wrong > 0)
