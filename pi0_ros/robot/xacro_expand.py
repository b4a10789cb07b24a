"""A xacro file as URDF text. A xacro is a program: it runs in a child process, and its time, memory and output are bounded."""

from __future__ import annotations

import json
import math
import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pi0_ros.robot.errors import RobotError
from pi0_ros.robot.files import short

CHILD = Path(__file__).with_name("xacro_child.py")
_DECLARED = re.compile(r"<\s*(?:\w+:)?arg\s[^>]*?name\s*=\s*[\"'](\w+)[\"'][^>]*?>")
_ENVIRONMENT = re.compile(r"\b(?:opt)?env(?:\s+|\(\s*[\"']?)([^\s)\"',]+)")
_FINDING = (
    "AMENT_PREFIX_PATH",
    "ROS_PACKAGE_PATH",
    "PYTHONPATH",
    "PATH",
)  # what $(find PACKAGE) and the child itself depend on
_READ = 200  # files
_USED = re.compile(r"\$\(\s*arg\s+(\w+)\s*\)|xacro\.arg\(\s*[\"'](\w+)[\"']")


@dataclass(frozen=True)
class Bounds:
    """What an expansion may use: seconds of processor time, seconds by the clock, bytes of memory, characters of text.

    A busy computer makes a sound file take long by the clock, and never more processor time. So the clock only ends what waits.
    """

    seconds: float = 10.0
    patience: float = 300.0
    memory: int = 1 << 30
    text: int = 16 << 20


_Stamp = tuple[tuple[str, int, int], ...]
_Surroundings = tuple[str, tuple[tuple[str, str | None], ...]]


@dataclass(frozen=True)
class _Expanded:
    """An expansion, the files that it came from, and what of the process went into it."""

    stamp: _Stamp
    variables: frozenset[str] | None
    surroundings: _Surroundings
    text: str

    def holds(self) -> bool:
        """Whether it would be the same now."""
        unchanged = self.stamp == _stamp(name for name, *_ in self.stamp)
        return unchanged and self.surroundings == _surroundings(self.variables)


_cache: dict[tuple[str, tuple[tuple[str, str], ...]], _Expanded] = {}


def expand_xacro(file: Path, arguments: Mapping[str, str], bounds: Bounds | None = None) -> str:
    """The URDF text of a xacro file with these arguments. Raises RobotError with the file and the way out.

    The result is remembered while neither the files it came from, nor what it reads of the environment, nor the working directory, nor the
    arguments change.
    """
    key = (str(file), tuple(sorted(arguments.items())))
    known = _cache.get(key)
    if known is not None and known.holds():
        return known.text
    answer = _run(file, arguments, bounds or Bounds())
    if "problem" in answer:
        raise RobotError(_sentence(file, arguments, answer))
    _refuse_unknown(file, arguments, answer["files"])
    variables = _variables(answer["files"], arguments)
    expanded = _Expanded(_stamp(answer["files"]), variables, _surroundings(variables), str(answer["text"]))
    _cache[key] = expanded
    return expanded.text


def _variables(files: list[str], arguments: Mapping[str, str]) -> frozenset[str] | None:
    """Names of the environment variables that a xacro reads; None for all if a name is computed, or not all can be seen."""
    text = "\n".join((_read(files), *arguments.values()))
    named = set(_ENVIRONMENT.findall(text))
    seen = len(files) <= _READ and "\0" not in text and all(name.isidentifier() for name in named)
    return frozenset({*named, *_FINDING}) if seen else None


def _surroundings(variables: frozenset[str] | None) -> _Surroundings:
    names = os.environ if variables is None else variables
    return os.getcwd(), tuple((name, os.environ.get(name)) for name in sorted(names))


def _stamp(files: Any) -> _Stamp:
    found = []
    for name in files:
        try:
            state = os.stat(name)
            found.append((name, state.st_mtime_ns, state.st_size))
        except OSError:
            found.append((name, 0, 0))
    return tuple(found)


def _run(file: Path, arguments: Mapping[str, str], bounds: Bounds) -> dict[str, Any]:
    words = [f"{name}={value}" for name, value in arguments.items()]
    limits = [str(math.ceil(bounds.seconds)), str(bounds.memory), str(bounds.text)]
    # -P: the folder of the child is no place to import from.
    command = [sys.executable, "-P", str(CHILD), str(file), *limits, *words]
    try:
        done = subprocess.run(
            command, check=False, capture_output=True, timeout=bounds.patience, stdin=subprocess.DEVNULL
        )
    except subprocess.TimeoutExpired as problem:
        raise RobotError(
            f"{file}: xacro was not done after {bounds.patience:g} s and was stopped; it waits for a file that never comes (a pipe, "
            "a folder of the network), or this computer is too busy"
        ) from problem
    except OSError as problem:
        raise RobotError(f"{file}: xacro could not be started: {problem}") from problem
    try:
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer
    except ValueError as problem:
        if done.returncode == -signal.SIGXCPU:
            raise RobotError(
                f"{file}: xacro was stopped after {bounds.seconds:g} s of processor time; a macro or expression never ends, or is far too large"
            ) from problem
        if done.returncode == -signal.SIGKILL:
            raise RobotError(
                f"{file}: xacro was killed; this computer ran out of memory, or a macro or expression never ends"
            ) from problem
        last = short(done.stderr[-2000:].decode(errors="replace").strip().rpartition("\n")[2], 200)
        raise RobotError(f"{file}: xacro ended with code {done.returncode}: {last}") from problem


def _sentence(file: Path, arguments: Mapping[str, str], answer: Mapping[str, Any]) -> str:
    """What was wrong, and the way out."""
    kind, detail, files = answer["problem"], answer["detail"], answer["files"]
    inside = "" if answer["file"] == str(file) else f" (in {answer['file']})"
    if kind == "argument":
        names = [*dict.fromkeys((detail, *_missing(files, arguments)))]
        given = ", ".join(f"{name}: ..." for name in [*arguments, *(n for n in names if n not in arguments)])
        command = " ".join(f"{name}:=VALUE" for name in names)
        return (
            f"{file}: xacro argument {', '.join(names)} has no value{inside}; write urdf_args: {{{given}}} into the "
            f"robot YAML, or expand it first: xacro {file.name} {command} > my_robot.urdf"
        )
    if kind == "package":
        name = detail.split("'")[1] if detail.count("'") >= 2 else detail
        return f"{file}: package {name} is not in AMENT_PREFIX_PATH{inside}; source the workspace that has it"
    if kind == "no_ros":
        return f"{file}: $(find PACKAGE) needs a ROS{inside}, whose ament_index_python is missing; source one, or expand it there"
    if kind == "recursion":
        return f"{file}: xacro does not end: {answer['file']} includes itself, or a macro in it calls itself"
    if kind == "import":
        return f"{file}: reading xacro needs the Python package xacro; pip install xacro"
    if kind == "memory":
        return f"{file}: xacro needs more memory than it is given{inside}; an expression or macro is far too large"
    if kind == "size":
        return f"{file}: xacro made {detail} characters of it, more than any URDF has; a macro repeats too often"
    return f"{file}: xacro cannot expand it{inside}: {short(detail, 300)}"


def _read(files: list[str]) -> str:
    texts = []
    for name in files[:_READ]:
        try:
            texts.append(Path(name).read_text(encoding="utf-8", errors="replace"))
        except OSError:
            continue
    return "\n".join(texts)


def _missing(files: list[str], arguments: Mapping[str, str]) -> list[str]:
    """Arguments that are asked for, but neither declared with a default nor given."""
    text = _read(files)
    known = {m.group(1) for m in _DECLARED.finditer(text)} | set(arguments)
    return [name for name in dict.fromkeys(a or b for a, b in _USED.findall(text)) if name not in known]


def _refuse_unknown(file: Path, arguments: Mapping[str, str], files: list[str]) -> None:
    """xacro takes any argument without a word; one that nothing asks for is a typing mistake."""
    if not arguments:
        return
    text = _read(files)
    known = {m.group(1) for m in _DECLARED.finditer(text)} | {a or b for a, b in _USED.findall(text)}
    for name in arguments:
        if name not in known:
            listed = ", ".join(sorted(known)) or "none"
            raise RobotError(f"{file}: xacro argument {name} is not used in it; its arguments are {listed}")
