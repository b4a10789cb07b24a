"""Expands one xacro file in a process of its own, with bounded memory, time and output.

Run by `pi0_ros.robot.xacro_expand`: FILE, seconds of computing time, bytes of memory, bytes of output, NAME=VALUE ...
Writes one JSON object to stdout: {"text", "files"}, or {"problem", "detail", "file", "files"}.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import xml.dom.minidom
from collections.abc import Callable
from typing import Any


def _chain(error: BaseException | None) -> list[BaseException]:
    """An error and what caused it; xacro keeps causes in an attribute of its own."""
    found: list[BaseException] = []
    while error is not None and error not in found:
        found.append(error)
        error = getattr(error, "exc", None) or error.__cause__ or error.__context__
    return found


def _problem(error: BaseException) -> tuple[str, str]:
    """Kind and detail of what went wrong."""
    causes = _chain(error)
    for cause in causes:
        name = type(cause).__name__
        if isinstance(cause, RecursionError):
            return "recursion", ""
        if isinstance(cause, MemoryError):
            return "memory", ""
        if isinstance(cause, ModuleNotFoundError) and cause.name == "ament_index_python":
            return "no_ros", ""
        if name == "PackageNotFoundError":
            return "package", str(cause.args[0] if cause.args else cause)
        if name == "ArgException" or "Undefined substitution argument" in str(cause):
            return "argument", str(cause).split()[-1]
        if isinstance(cause, OSError) and cause.filename:
            return "file", f"{cause.filename}: {cause.strerror}"
    return "other", f"{causes[-1]}" or type(error).__name__


def _any_encoding(parse: Callable[..., Any]) -> Callable[..., Any]:
    """xacro reads UTF-8 alone; for other text the declaration of the XML file decides."""

    def parse_declared(source: Any, filename: str | None = None) -> Any:
        try:
            return parse(source, filename)
        except UnicodeDecodeError:
            if filename is None:
                raise
            return xml.dom.minidom.parse(filename)

    return parse_declared


def expand(file: str, arguments: dict[str, str], most: int) -> dict[str, Any]:
    """The expanded text and the files it came from, or what was wrong."""
    try:
        import xacro
    except ImportError as problem:
        return {"problem": "import", "detail": str(problem), "file": file, "files": [file]}
    xacro.parse = _any_encoding(xacro.parse)
    try:
        text = xacro.process_file(file, mappings=arguments).toxml()
        answer: dict[str, Any] = {"text": text}
        if len(text) > most:
            answer = {"problem": "size", "detail": str(len(text)), "file": file}
    except Exception as error:  # noqa: BLE001 - xacro raises several unrelated types for a bad file
        kind, detail = _problem(error)
        answer = {"problem": kind, "detail": detail[:500], "file": str((xacro.filestack or [file])[-1] or file)}
    return {**answer, "files": [file, *dict.fromkeys(os.path.abspath(name) for name in xacro.all_includes[:1000])]}


def main(words: list[str]) -> int:
    """Expand and answer; 0 even if the file is bad: the answer says so."""
    file, seconds, memory, most, *arguments = words
    resource.setrlimit(resource.RLIMIT_AS, (int(memory), int(memory)))
    resource.setrlimit(resource.RLIMIT_CPU, (int(seconds), int(seconds) + 1))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    stdout, sys.stdout = sys.stdout, sys.stderr
    answer = expand(file, dict(word.partition("=")[::2] for word in arguments), int(most))
    stdout.write(json.dumps(answer))
    stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
