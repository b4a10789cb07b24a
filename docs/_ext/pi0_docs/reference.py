"""The reference pages, made of the declarations in the code."""

from __future__ import annotations

import argparse
import importlib
import io
import tokenize
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pi0_ros
from pi0_docs.markdown import anchor, code, page, sentence, table, words
from pi0_ros import bringup, cli
from pi0_ros.control import settings as executor_settings
from pi0_ros.data import columns
from pi0_ros.nodes.parameter_tables import tables
from pi0_ros.policy import adapter_keys
from pi0_ros.robot import yaml_keys
from pi0_ros.ros import interface

ROOT = Path(pi0_ros.__file__).resolve().parent.parent
MESSAGES = ROOT / "msg"


def pages() -> dict[str, str]:
    """File name -> Markdown of every generated page."""
    return {
        "parameters.md": parameters(),
        "launch.md": launch_arguments(),
        "robot_yaml.md": yaml_page("Robot YAML", "robot-yaml", ROBOT_INTRODUCTION, yaml_keys.SECTIONS),
        "adapter_yaml.md": yaml_page("Adapter YAML", "adapter-yaml", ADAPTER_INTRODUCTION, adapter_keys.SECTIONS),
        "topics.md": topics(),
        "messages.md": messages(),
        "diagnostics.md": diagnostics(),
        "commands.md": commands(),
        "dataset.md": dataset(),
    }


ROBOT_INTRODUCTION = """
A robot is one YAML file and its URDF; no Python. `pi0 check --robot FILE` reads both and prints what was understood. Unknown keys,
missing limits, two owners of a topic and duplicate names are errors with file, line and key. [Describe a robot](../robots.md) and
[arms, bases and grippers](../howto/groups.md) explain the choices.
"""
ADAPTER_INTRODUCTION = """
An adapter maps a robot's channels and cameras to a model's vectors and picture slots. It is a YAML under `config/policies/`, chosen by
the parameter `adapter`, else the checkpoint's own, else the one named after the robot. [Write an adapter](../howto/adapter.md) explains the choices.
"""


# Parameters


def parameters() -> str:
    """Every parameter of every node."""
    parts = [
        (
            "Set them in a parameter file (`params_file:=mine.yaml`, see [policies](../policies.md#start-inference-on-the-robot-ros2-launch)). A value that is "
            "refused is refused with the reason. *live*: may be changed while the node is active, with `ros2 param set`; the "
            "others are read when the node is configured. All nodes have `use_sim_time` too."
        )
    ]
    for node, declared in {**tables(), "demo_director": _demo_director()}.items():
        rows = [(code(p.name), code(_default(p.default)), _range(p), words(_described(p))) for p in declared]
        parts += [
            f"{anchor(f'parameters-{node}')}## {node}",
            table(("parameter", "default", "allowed", "meaning"), rows),
        ]
    parts += ["## Numbers of the executor that are no parameters", _fixed_settings()]
    return page("Parameters", *parts)


def _demo_director() -> tuple[Any, ...]:
    return importlib.import_module("pi0_ros.nodes.demo_director").DemoDirector.table


def _default(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _range(parameter: Any) -> str:
    if parameter.choices:
        return ", ".join(code(c) for c in parameter.choices)
    if isinstance(parameter.default, bool):
        return "true, false"
    if parameter.low is not None:
        return f"{_number(parameter.low)} .. {_number(parameter.high)}"
    return "text; required" if parameter.required else "text"


def _number(value: float) -> str:
    return str(int(value)) if float(value).is_integer() else f"{value:g}"


def _described(parameter: Any) -> str:
    return sentence(parameter.description) + (" (*live*)" if parameter.live else "").replace("*", "")


def _fixed_settings() -> str:
    known = {parameter.name for parameter in tables()["executor"]}
    said, rows = comments(executor_settings), []
    for field in fields(executor_settings.ExecutorSettings):
        if field.name not in known:
            rows.append((code(field.name), code(field.default), words(sentence(said.get(field.name, "")))))
    return table(("name", "value", "meaning"), rows)


def comments(module: Any) -> dict[str, str]:
    """The comment behind each assignment of a module, by the assigned name."""
    found, source = {}, Path(module.__file__).read_text(encoding="utf-8")
    lines = source.splitlines()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            name = lines[token.start[0] - 1].strip().partition(":")[0]
            if name.isidentifier():
                found[name] = token.string.lstrip("# ")
    return found


# Launch arguments


def launch_arguments() -> str:
    """Every argument of the launch file and of `pi0 up`."""
    rows = [
        (
            code(f"{a.name}:="),
            code(a.default),
            ", ".join(map(code, a.choices)) or "text",
            words(sentence(a.description)),
        )
        for a in bringup.ARGUMENTS
    ]
    return page(
        "Launch arguments",
        "For `ros2 launch pi0_ros bimanual.launch.py NAME:=VALUE …` and `pi0 up NAME:=VALUE …` alike, and for any robot, also with one arm. A mistyped argument is refused.",
        table(("argument", "default", "allowed", "meaning"), rows),
        "## What runs",
        _processes(),
    )


def _processes() -> str:
    given = {"robot": "mobile_bimanual", "checkpoint": "pi05_reach_tiny"}
    cases = {
        "a robot and a local policy": given,
        "… without subtasks": {**given, "high_level": "false"},
        "… with a task at the start": {**given, "task": "touch every block"},
        "… on a policy server": {**given, "checkpoint": "ws://host:8000"},
        "… planned by somebody else": {"robot": "mobile_bimanual", "policy": "none"},
        "the simulated robot": {"sim": "true"},
    }
    rows = []
    for title, arguments in cases.items():
        shown = " ".join(
            f"{name}:={value!r}" if " " in value else f"{name}:={value}" for name, value in arguments.items()
        )
        rows.append((title, code(shown), ", ".join(code(node.executable) for node in bringup.nodes(arguments))))
    return (
        table(("case", "arguments", "processes"), rows)
        + "\n`brain` is policy and high_level in one process with one copy of the weights."
    )


# YAML keys


def yaml_page(title: str, name: str, introduction: str, sections: tuple[tuple[str, str, yaml_keys.Keys], ...]) -> str:
    """Every key of every section of one kind of YAML."""
    parts = [introduction]
    for heading, place, keys in sections:
        target = anchor(f"{name}-{heading.lower().replace(' ', '-')}")
        rows = [(code(k.name), words(k.value), words(k.default), words(sentence(k.meaning))) for k in keys]
        where = f"Stands under `{place}`." if place else ""
        parts += [f"{target}## {heading}", where, table(("key", "value", "default", "meaning"), rows)]
    return page(title, *parts)


# Topics, messages, diagnostics


def topics() -> str:
    """Topics and services."""
    rows = [
        (code(t.name), code(t.type), t.quality, f"{words(t.publisher)} → {words(t.readers)}", words(t.meaning))
        for t in interface.TOPICS
    ]
    services = [(code(s.path), code(s.type), words(s.meaning)) for s in interface.SERVICES]
    return page(
        "Topics and services",
        "All names are relative: a namespace or a remap moves them. Cameras, measurements, commands and teleoperation inputs have the "
        "topics and types that the [robot YAML](robot_yaml.md) gives them: measurements and pictures are sensor data (best effort); "
        "commands are reliable, and each is sent again for 0.1 s to a reader that missed it, then no more.",
        "## Topics",
        table(("topic", "type", "quality of service", "from → to", "meaning"), rows),
        "## Services",
        "The answer's `success` says whether it was granted, its `message` why not. `pi0 call NAME` calls them where no `ros2` is "
        "installed. policy, executor, high_level and recorder have the services of a lifecycle node too.",
        table(("service", "type", "meaning"), services),
    )


def messages() -> str:
    """The messages of the package with all fields."""
    parts = []
    for file in sorted(MESSAGES.glob("*.msg")):
        comment, rows, constants = message_fields(file.read_text(encoding="utf-8"))
        parts += [f"{anchor(f'message-{file.stem}')}## {file.stem}", sentence(comment)]
        parts.append(table(("field", "type", "meaning"), rows))
        if constants:
            parts.append("Constants: " + ", ".join(code(c) for c in constants) + ".")
    return page("Messages", "`ros2 interface show pi0_ros/msg/ActionChunk` prints the same.", *parts)


def message_fields(text: str) -> tuple[str, list[tuple[str, str, str]], list[str]]:
    """Comment of the message, (field, type, meaning) of its fields, constants."""
    comment, rows, constants = "", [], []
    for line in text.splitlines():
        declared, _, said = line.partition("#")
        parts = declared.split()
        if not parts:
            comment = comment or said.strip()
        elif "=" in declared:
            constants.append(parts[1])
        else:
            rows.append((code(parts[1]), code(parts[0]), words(sentence(said.strip()))))
    return comment, rows, constants


def diagnostics() -> str:
    """Every value of every node in /diagnostics."""
    parts = [
        (
            "One status per node on `/diagnostics`, once per second, under the node's full name. OK: it works. WARN: it waits for something, "
            "its plans come late, it was asked to stop, it misses more than a tenth of its periods, or the ROS clock was set. ERROR: it is "
            "stopped, or holds because of a fault; the message says which. [Why does my robot not move?](../howto/why_not_moving.md) has the messages."
        )
    ]
    for node, values in interface.DIAGNOSTICS.items():
        rows = [(code(v.key), v.unit or "–", words(sentence(v.meaning))) for v in values]
        parts += [f"{anchor(f'diagnostics-{node}')}## {node}", table(("key", "unit", "meaning"), rows)]
    return page("Diagnostics", *parts)


# Commands


def commands() -> str:
    """Every option of every subcommand of `pi0`."""
    parts = [
        (
            "Exit code 0 only on success; errors are one line that names the file, key or topic and the way out; `--debug` adds a traceback. "
            "Every subcommand has `--help`."
        )
    ]
    for name in cli.command_names():
        module = importlib.import_module(f"pi0_ros.commands.{name}")
        for title, parser in _parsers(cli.command_parser(module), "pi0"):
            parts += [
                f"{anchor(f'command-{title.replace(chr(32), chr(45))}')}## {title}",
                _introduction(parser),
                _options(parser),
            ]
    return page("Commands", *parts)


def _parsers(parser: argparse.ArgumentParser, title: str) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """Every parser below this one that has no subcommands of its own, with what is written to reach it."""
    nested = [a for a in parser._actions if isinstance(a, argparse._SubParsersAction)]
    if not nested:
        yield title, parser
        return
    for action in nested:
        for name, below in action.choices.items():
            yield from _parsers(below, f"{title} {name}")


def _introduction(parser: argparse.ArgumentParser) -> str:
    return words((parser.description or "").strip())


def _options(parser: argparse.ArgumentParser) -> str:
    rows = []
    for action in parser._actions:
        if isinstance(action, argparse._HelpAction):
            continue
        called = action.option_strings or [str(action.metavar or action.dest)]
        rows.append(
            (", ".join(code(c) for c in called), _option_default(action), _option_choices(action), _help(action))
        )
    return table(("option", "default", "allowed", "meaning"), rows)


def _option_default(action: argparse.Action) -> str:
    if action.required:
        return "required"
    if action.default in (None, "", [], False) or action.default is argparse.SUPPRESS:
        return "–"
    return code(action.default if not isinstance(action.default, list) else " ".join(map(str, action.default)))


def _option_choices(action: argparse.Action) -> str:
    if action.choices:
        return ", ".join(code(c) for c in action.choices)
    if action.nargs == 0:
        return "flag"
    return "number" if action.type in (int, float) else "path" if action.type is Path else "text"


def _help(action: argparse.Action) -> str:
    return words(sentence((action.help or "").replace("%%", "%")))


# Datasets


def dataset() -> str:
    """Columns of a recorded dataset, and its files."""
    rows = [(code(c.name), code(c.dtype), words(sentence(c.meaning))) for c in columns.COLUMNS]
    files = [(code(f.path), words(sentence(f.meaning))) for f in columns.FILES]
    return page(
        "Datasets",
        "The recorder and `pi0 collect` write LeRobot datasets of version 3.0. Training reads versions 2.0, 2.1 and 3.0, with the columns "
        "that the adapter's `dataset` section names.",
        "## Columns",
        table(("column", "type", "meaning"), rows),
        "## Files",
        table(("file", "content"), files),
    )
