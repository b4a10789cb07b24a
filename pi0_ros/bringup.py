"""The one list of what runs: arguments, and the processes that they start.

`launch/bimanual.launch.py` renders it with launch_ros, `pi0 up` and the demo with `pi0_ros.supervisor`.
Values only: nothing here imports ROS or starts anything.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path

PACKAGE = "pi0_ros"
BOOLEANS = ("true", "false")
_TOKEN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


RESPAWN_DELAY = 2.0
"""Seconds until a node with `respawn` is started again."""


class BringupError(ValueError):
    """An argument that cannot be used; the text names it and what is possible."""


@dataclass(frozen=True)
class Argument:
    """One `name:=value` of the launch file and of `pi0 up`. All values are text, as in ROS launch files."""

    name: str
    default: str
    description: str
    choices: tuple[str, ...] = ()

    @property
    def spellings(self) -> tuple[str, ...]:
        """All that may be written: `ros2 launch` compares with these before `check` sees the value."""
        return (*BOOLEANS, *(word.capitalize() for word in BOOLEANS)) if self.choices == BOOLEANS else self.choices

    def check(self, value: str) -> str:
        """The value as it is to be used. Raises BringupError when it is none of the choices."""
        if self.choices == BOOLEANS:
            value = value.lower()
        if self.choices and value not in self.choices:
            raise BringupError(f"{self.name}:={value} is not possible; choose from {', '.join(self.choices)}")
        return value


ARGUMENTS = (
    Argument("robot", "", "robot YAML: a file, or a name under config/robots; required, but for sim:=true"),
    Argument("checkpoint", "", "policy: a checkpoint folder, a name under checkpoints, or ws://host:port of a policy server; required, but for sim:=true or policy:=none"),
    Argument("device", "", "where the network runs: cpu, cuda, cuda:1; empty: as params_file says, else cpu"),
    Argument("params_file", "", "ROS parameter file (YAML) for any node, by its name or for all under /**"),
    Argument("sim", "false", "simulate the robot; otherwise its drivers must be running", BOOLEANS),
    Argument("scene", "touch_all", "what stands before the simulated robot: reach, touch_all, pick_place, drive_to, tidy, a task of an installed package, or module:Class"),
    Argument("world", "", "how the simulated world differs from the usual one: a YAML file, or a name under config/worlds"),
    Argument("task", "", "what to do, in words; empty: wait for one on the topic task"),
    Argument("policy", "local", "local: plan on this computer; none: somebody else publishes action_chunk", ("local", "none")),
    Argument("high_level", "true", "let the network choose subtasks; otherwise the task itself is the prompt", BOOLEANS),
    Argument("record", "", "folder of a dataset to record into: a new one, or one that goes on; empty: nothing is recorded"),
    Argument("record_mode", "everything", "what is recorded: everything between recorder/start and stop, what a person corrects, or what the policy drives", ("everything", "corrections", "policy")),
    Argument("mcap", "false", "with record:= : write all that is said on the robot's topics into FOLDER_mcap too, for Foxglove and pi0 replay", BOOLEANS),
    Argument("namespace", "", "put all nodes and topics under this name"),
    Argument("use_sim_time", "false", "take the time from /clock; the simulated robot publishes it then", BOOLEANS),
    Argument("respawn", "false", "start policy and high level again when they end; the executor never", BOOLEANS),
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
    respawn: bool = False


REQUIRED = ("sim_robot", "executor")
RESPAWNED = ("policy", "brain", "recorder")
"""What may be started again by itself: it moves nothing, and autonomy has to be asked for anew."""
SIMULATED = {"robot": "mobile_bimanual", "checkpoint": "pi05_reach_tiny"}
"""Robot and checkpoint of a simulation that names none. A robot of metal has no default."""


def complete(given: Mapping[str, str]) -> dict[str, str]:
    """All arguments, checked: the given ones, and the defaults of the others. Raises BringupError."""
    known = {argument.name: argument for argument in ARGUMENTS}
    for name in given:
        if name not in known:
            raise BringupError(f"there is no argument {name}{_hint(name, known)}")
    values = {name: argument.check(given.get(name, argument.default)) for name, argument in known.items()}
    if values["mcap"] == "true" and not values["record"]:
        raise BringupError(
            "mcap:=true needs record:=FOLDER: it is written into FOLDER_mcap, while something is recorded"
        )
    return values


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


def refuse_unknown(names: Iterable[str], given: Iterable[str], included: bool) -> None:
    """Refuse names that `ros2 launch` would pass over: it runs the defaults if an argument is mistyped.

    given: arguments of ours that were set. included: another launch file includes ours, whose own arguments are in
    `names` too; then only those that look like one of ours are refused. Raises BringupError.
    """
    known = [argument.name for argument in ARGUMENTS]
    for name in names:
        if name in known:
            continue
        close = get_close_matches(name, known, n=1, cutoff=0.75)
        if not included or (close and close[0] not in given):
            raise BringupError(f"there is no argument {name}{_hint(name, known)}")


def _chosen(values: Mapping[str, str], in_file: Iterable[str]) -> dict[str, str]:
    """Robot and checkpoint, for which a default may stand. Raises BringupError if none may."""
    needed = ("robot", *(("checkpoint",) if values["policy"] == "local" else ()))
    found = {}
    for name in needed:
        value = values[name] or (SIMULATED[name] if values["sim"] == "true" and name not in in_file else "")
        if not value and name not in in_file:
            raise BringupError(
                f"{name}:=… is missing; it has a default only with sim:=true ({name}:={SIMULATED[name]})"
            )
        if value:
            found[name] = value
    return found


def nodes(given: Mapping[str, str]) -> tuple[Node, ...]:
    """The processes that these arguments ask for; missing ones have their defaults. Raises BringupError."""
    values = complete(given)
    seed = _whole_number("seed", values["seed"])
    namespace = _namespace(values["namespace"])
    params_file = _file("params_file", values["params_file"])
    chosen = _chosen(values, _for_all(params_file, namespace))
    switches = {"use_sim_time": values["use_sim_time"] == "true"}
    managed = {**switches, "autostart": values["autostart"] == "true"}
    robot = {name: value for name, value in chosen.items() if name == "robot"}
    planning: dict[str, bool | int | float | str] = {**chosen, "seed": seed}
    if values["device"]:
        planning["device"] = values["device"]
    simulated, local = values["sim"] == "true", values["policy"] == "local"
    if simulated:
        planning["picture_frozen"] = 0.0  # rendered pictures have no noise: nothing moves in them, nothing changes
    thinking = has_high_level(values, chosen.get("checkpoint", ""))
    listed: list[tuple[bool, str, dict[str, bool | int | float | str]]] = [
        (simulated, "sim_robot", {**robot, **simulation(values), "seed": seed, **switches}),
        (True, "executor", {**robot, **managed}),
        # One process for the two that share the weights.
        (local and thinking, "brain", {**planning, "prompt": "subtask", **managed}),
        (local and not thinking, "policy", {**planning, "prompt": "task", **managed}),
        (bool(values["record"]), "recorder", {**recording(values, chosen, simulated), **managed}),
        (bool(values["task"]), "task_source", {"task": values["task"], **switches}),
    ]
    return tuple(
        Node(
            executable,
            parameters,
            namespace=namespace,
            log_level=values["log_level"],
            params_file=params_file,
            required=executable in REQUIRED,
            respawn=executable in RESPAWNED and values["respawn"] == "true",
        )
        for wanted, executable, parameters in listed
        if wanted
    )


def simulation(values: Mapping[str, str]) -> dict[str, str]:
    """Parameters of the simulated robot; those that nobody gave are its own."""
    wanted = {name: values[name] for name in ("scene", "world")}
    return {name: value for name, value in wanted.items() if value not in ("", "touch_all")}


def recording(
    values: Mapping[str, str], chosen: Mapping[str, str], simulated: bool
) -> dict[str, bool | int | float | str]:
    """Parameters of the recorder."""
    found: dict[str, bool | int | float | str] = {
        **chosen,
        "folder": str(Path(values["record"]).expanduser().absolute()),
        "mode": values["record_mode"],
        "mcap": values["mcap"] == "true",
    }
    return {**found, "picture_frozen": 0.0} if simulated else found


def has_high_level(values: Mapping[str, str], checkpoint: str) -> bool:
    """Whether a network chooses subtasks: a policy server gives none, so its task goes to it as it is."""
    return values["high_level"] == "true" and not checkpoint.lower().startswith(("ws://", "wss://"))


def check_robot(given: Mapping[str, str]) -> None:
    """Read the robot's YAML and URDF, as every node will, before any node starts. Raises BringupError, RobotError."""
    from pi0_ros.robot import load_robot

    for robot in {str(node.parameters["robot"]) for node in nodes(given) if "robot" in node.parameters}:
        load_robot(robot)


def summary(given: Mapping[str, str]) -> str:
    """Whose robot, checkpoint and settings run, in one line: the first that a launch says. Raises BringupError."""
    values = complete(given)
    listed = {node.executable: node for node in nodes(given)}
    own = {name: value for node in listed.values() for name, value in node.parameters.items()}
    file = values["params_file"]
    parts = [f"robot {own.get('robot', f'of {file}')}" + (" (simulated)" if values["sim"] == "true" else "")]
    if values["policy"] == "local":
        parts.append(f"checkpoint {own.get('checkpoint', f'of {file}')}")
        parts.append(f"device {own.get('device', f'cpu, or as {file} says' if file else 'cpu')}")
        parts.append(
            "subtasks by the network if it gives any" if "brain" in listed else "the task itself is the prompt"
        )
    else:
        parts.append("no policy of its own")
    parts.append(f"task {values['task']!r}" if values["task"] else "task from the topic")
    if values["record"]:
        beside = ", all topics beside it" if values["mcap"] == "true" else ""
        parts.append(f"recording {values['record_mode']} into {values['record']}{beside}")
    parts.append(f"parameters of {file}" if file else "no parameter file")
    return ", ".join(parts)


def _for_all(params_file: str, namespace: str) -> dict[str, object]:
    """What a parameter file says to all nodes, the file having been checked. Raises BringupError."""
    if not params_file:
        return {}
    # Here, since this needs the nodes' modules and with them rclpy; a list without a file needs neither.
    from pi0_ros.nodes.parameter_tables import declared
    from pi0_ros.ros.parameter_file import ParameterFileError, check, sections

    try:
        check(Path(params_file), declared(namespace))
        return dict(sections(Path(params_file)).get("/**", {}))
    except ParameterFileError as error:
        raise BringupError(str(error)) from None


def _namespace(text: str) -> str:
    """A namespace without slashes at its ends. Raises BringupError for what is no ROS name."""
    name = text.strip("/")
    if name and (len(name) > 200 or not all(_TOKEN.fullmatch(word) for word in name.split("/"))):
        raise BringupError(
            f"namespace:={text[:60]} is no ROS name: letters, digits and _ between slashes, no digit first, at most 200"
        )
    return name


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
