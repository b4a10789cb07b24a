"""The one list of what runs: arguments, and the processes they ask for.

`launch/bimanual.launch.py` renders it with launch_ros, `pi0 up` and the demo with `pi0_ros.supervisor`.
Values only: nothing here imports ROS or starts anything.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path

PACKAGE = "pi0_ros"
BOOLEANS = ("true", "false")


class BringupError(ValueError):
    """An argument that cannot be used; the text names it and what is possible."""


@dataclass(frozen=True)
class Argument:
    """One `name:=value` of the launch file and of `pi0 up`. All values are text, as in ROS launch files."""

    name: str
    default: str
    description: str
    choices: tuple[str, ...] = ()

    def check(self, value: str) -> str:
        """The value as it is to be used. Raises BringupError when it is none of the choices."""
        if self.choices == BOOLEANS:
            value = value.lower()
        if self.choices and value not in self.choices:
            raise BringupError(f"{self.name}:={value} is not possible; choose from {', '.join(self.choices)}")
        return value


ARGUMENTS = (
    Argument("robot", "mobile_bimanual", "robot YAML: a file, or a name under config/robots"),
    Argument("checkpoint", "pi05_reach_tiny", "policy: a checkpoint folder, or a name under checkpoints"),
    Argument("device", "", "where the network runs: cpu, cuda, cuda:1; empty: as params_file says, else cpu"),
    Argument("params_file", "", "ROS parameter file (YAML) for any node, by its name or for all under /**"),
    Argument("sim", "false", "simulate the robot; otherwise its drivers must be running", BOOLEANS),
    Argument("task", "", "what to do, in words; empty: wait for one on the topic task"),
    Argument("policy", "local", "local: plan on this computer; none: somebody else publishes action_chunk", ("local", "none")),
    Argument("high_level", "true", "let the network choose subtasks; otherwise the task itself is the prompt", BOOLEANS),
    Argument("namespace", "", "put all nodes and topics under this name"),
    Argument("use_sim_time", "false", "take the time from /clock; the simulated robot publishes it then", BOOLEANS),
    Argument("autostart", "true", "configure and activate all nodes; otherwise a lifecycle manager does", BOOLEANS),
    Argument("seed", "0", "seed of the simulated scene and of the policy's noise"),
    Argument("log_level", "info", "the least severe log lines to show", ("debug", "info", "warn", "error", "fatal")),
)  # fmt: skip


@dataclass(frozen=True)
class Node:
    """One process: an executable of this package (a module of `pi0_ros.nodes`) with its parameters.

    `parameters` go over what `params_file` says for all nodes (/**), and under what it says for this one by name. When a `required` one ends, all end.
    """

    executable: str
    parameters: Mapping[str, bool | int | float | str] = field(default_factory=dict)
    remappings: tuple[tuple[str, str], ...] = ()
    namespace: str = ""
    log_level: str = "info"
    params_file: str = ""
    required: bool = False


REQUIRED = ("sim_robot", "executor")


def complete(given: Mapping[str, str]) -> dict[str, str]:
    """All arguments, checked: the given ones, and the defaults of the others. Raises BringupError."""
    known = {argument.name: argument for argument in ARGUMENTS}
    for name in given:
        if name not in known:
            raise BringupError(f"there is no argument {name}{_hint(name, known)}")
    return {name: argument.check(given.get(name, argument.default)) for name, argument in known.items()}


def parse(words: Iterable[str]) -> dict[str, str]:
    """`name:=value` words as a mapping. Raises BringupError for a word that is none, or a name given twice."""
    given: dict[str, str] = {}
    for word in words:
        name, sign, value = word.partition(":=")
        if not sign or not name:
            raise BringupError(f"{word!r} is not of the form name:=value{_hint(name, [a.name for a in ARGUMENTS])}")
        if name in given:
            raise BringupError(f"argument {name} is given twice: {given[name]!r} and {value!r}")
        given[name] = value
    return given


def nodes(given: Mapping[str, str]) -> tuple[Node, ...]:
    """The processes that these arguments ask for; missing ones have their defaults. Raises BringupError."""
    values = complete(given)
    seed = _whole_number("seed", values["seed"])
    switches = {"use_sim_time": values["use_sim_time"] == "true"}
    managed = {**switches, "autostart": values["autostart"] == "true"}
    robot = {"robot": values["robot"]}
    planning = {**robot, "checkpoint": values["checkpoint"], "seed": seed}
    if values["device"]:
        planning["device"] = values["device"]
    simulated, local = values["sim"] == "true", values["policy"] == "local"
    thinking = values["high_level"] == "true"
    listed: list[tuple[bool, str, dict[str, bool | int | float | str]]] = [
        (simulated, "sim_robot", {**robot, "seed": seed, **switches}),
        (True, "executor", {**robot, **managed}),
        # One process for the two that share the weights.
        (local and thinking, "brain", {**planning, "prompt": "subtask", **managed}),
        (local and not thinking, "policy", {**planning, "prompt": "task", **managed}),
        (bool(values["task"]), "task_source", {"task": values["task"], **switches}),
    ]
    place = {
        "namespace": values["namespace"].strip("/"),
        "log_level": values["log_level"],
        "params_file": _file("params_file", values["params_file"]),
    }
    return tuple(
        Node(executable, parameters, required=executable in REQUIRED, **place)
        for wanted, executable, parameters in listed
        if wanted
    )


def command(node: Node) -> list[str]:
    """The command line that runs a node with this very Python, as rcl reads it."""
    words = [sys.executable, "-u", "-m", f"{PACKAGE}.nodes.{node.executable}", "--ros-args"]
    words += ["--log-level", node.log_level]
    if node.namespace:
        words += ["-r", f"__ns:=/{node.namespace}"]
    if node.params_file:
        words += ["--params-file", node.params_file]
    for name, other in node.remappings:
        words += ["-r", f"{name}:={other}"]
    # rcl reads values as YAML, where a JSON literal keeps its type: a text stays a text even if it looks like a number.
    for name, value in node.parameters.items():
        words += ["-p", f"{name}:={json.dumps(value, ensure_ascii=False)}"]
    return words


def _whole_number(name: str, text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise BringupError(f"{name}:={text} is not a whole number") from None


def _file(name: str, text: str) -> str:
    if text and not Path(text).is_file():
        raise BringupError(f"{name}:={text}: there is no such file")
    return str(Path(text).resolve()) if text else ""


def _hint(name: str, known: Iterable[str]) -> str:
    close = get_close_matches(name, list(known), n=1)
    return f"; did you mean {close[0]}?" if close else f"; there are {', '.join(known)}"
