"""The three diagrams: picture to command, URDF to network, modes. Drawn from bring-up, a real configuration and the mode table."""

from __future__ import annotations

from itertools import pairwise

from pi0_docs.svg import LINE, Arrow, Box, drawing
from pi0_ros import bringup
from pi0_ros.control.modes import REQUESTS, TABLE, Mode
from pi0_ros.policy.adapter import Block
from pi0_ros.policy.adapter_reading import load_adapter
from pi0_ros.robot import Robot, load_robot
from pi0_ros.ros import interface

ROBOT = "mobile_bimanual"
PLAIN, PERSON, OUTSIDE = "#eef4fb", "#fff6e0", "#f3f3f3"


def pictures() -> dict[str, str]:
    """File name -> SVG."""
    return {
        "picture_to_command.svg": picture_to_command(),
        "urdf_to_network.svg": urdf_to_network(),
        "modes.svg": modes(),
    }


# Picture to command

PLACES = {"high_level": (380.0, 90.0), "policy": (380.0, 250.0), "executor": (730.0, 250.0)}
"""Where the nodes of a bring-up stand."""


def picture_to_command() -> str:
    """The nodes of a bring-up and the topics between them; the robot's own topics are those of a real robot YAML."""
    robot = load_robot(ROBOT)
    nodes = {name: Box(*PLACES[name], (name, *_does(name))) for name in running()}
    person = Box(380.0, 420.0, ("person",), PERSON)
    sensors = Box(90.0, 250.0, ("robot: sensors", *(f"{len(robot.cameras)} cameras",), *_topics(robot)), OUTSIDE)
    motors = Box(1130.0, 250.0, ("robot: controllers", *(g.command.topic for g in robot.groups)), OUTSIDE)
    arrows = [
        Arrow(sensors, nodes["policy"], ("pictures, state",)),
        Arrow(sensors, nodes["high_level"]),
        Arrow(sensors, nodes["executor"], ("state",), bend=-170.0, at=0.4),
        Arrow(nodes["executor"], motors, (f"commands, {robot.control_rate:g} Hz",)),
        Arrow(person, nodes["executor"], ("hold, teleop, autonomy,", "stop, reset; teleop inputs"), bend=-50.0, at=0.5),
        Arrow(Box(90.0, 90.0, ("person",), PERSON), nodes["high_level"], ("task",)),
    ]
    bends = {"action_chunk": -24.0, "executor_state": -24.0, "policy_state": 110.0}
    for topic in between(nodes):
        begin, end = nodes[topic.publisher], nodes[next(r for r in _names(topic.readers) if r in nodes)]
        if topic.name != "high_level_state":
            arrows.append(Arrow(begin, end, (topic.name,), bends.get(topic.name, 0.0)))
    boxes = [*nodes.values(), person, Box(90.0, 90.0, ("person",), PERSON), sensors, motors]
    return drawing(1280.0, 460.0, boxes, arrows, "From a picture to a command: nodes and topics")


def running() -> list[str]:
    """The nodes of a bring-up with a local policy, in their own names: brain is policy and high_level."""
    listed = bringup.nodes({"robot": ROBOT, "checkpoint": "pi05_reach_tiny"})
    parts = {"brain": ("high_level", "policy")}
    return [name for node in listed for name in parts.get(node.executable, (node.executable,))]


def between(nodes: dict[str, Box]) -> list[interface.Topic]:
    """The topics by which these nodes speak to one another."""
    return [t for t in interface.TOPICS if t.publisher in nodes and any(r in nodes for r in _names(t.readers))]


def _names(text: str) -> list[str]:
    return [word.strip().partition(" ")[0] for word in text.replace(";", ",").split(",")]


def _does(name: str) -> tuple[str, ...]:
    return {
        "high_level": ("what to do next, in words",),
        "policy": ("observation to chunk",),
        "executor": ("chunk to limited commands",),
    }[name]


def _topics(robot: Robot) -> tuple[str, ...]:
    return tuple(source.topic for source in robot.state)


# URDF to network


def urdf_to_network() -> str:
    """How joints become channels, channels blocks of a vector, and blocks the inputs and outputs of the network."""
    robot, adapter = load_robot(ROBOT), load_adapter(ROBOT)
    boxes: list[Box] = []
    arrows: list[Arrow] = []
    groups: dict[str, tuple[Box, Box]] = {}
    y = 90.0
    for group in robot.groups:
        joints = [robot.joint_of_channel.get(c.name, "") for c in group.channels]
        said = tuple(_run(joints)) if any(joints) else ("no joint: a base",)
        left = Box(130.0, y, said, OUTSIDE, 210.0)
        middle = Box(400.0, y, (group.name, f"{group.kind.value}, {_unit(group.channels[0].unit)}"), PLAIN, 190.0)
        boxes += [left, middle]
        arrows.append(Arrow(left, middle))
        groups[group.name] = (left, middle)
        y += max(left.height, middle.height) + 18.0
    bottom = y
    group_of = {c.name: g.name for g in robot.groups for c in g.channels}
    network = Box(960.0, (90.0 + bottom) / 2, ("network", "π0 or π0.5"), PLAIN, 120.0)
    boxes.append(network)
    y = 90.0
    for title, blocks, begins in (("state", adapter.state, False), ("actions", adapter.actions, True)):
        start = 0
        for block in blocks:
            stop = start + len(block.channels)
            box = Box(690.0, y, (f"{title}[{start}:{stop}]", _block(block)), PERSON, 200.0)
            boxes.append(box)
            for name in dict.fromkeys(group_of[c] for c in block.channels):
                middle = groups[name][1]
                arrows.append(Arrow(box, middle, dashed=True) if begins else Arrow(middle, box))
            arrows.append(Arrow(network, box, dashed=True) if begins else Arrow(box, network))
            y += box.height + 10.0
            start = stop
        y += 12.0
    for slot, camera in adapter.cameras.items():
        box = Box(690.0, y, (slot, f"camera {camera}" if camera else "never there"), PERSON, 200.0)
        source = Box(400.0, y, (f"camera {camera}",), PLAIN, 190.0)
        boxes += [box, source]
        arrows += [Arrow(source, box), Arrow(box, network)]
        y += box.height + 10.0
    heads = [(130.0, "URDF"), (400.0, "robot YAML"), (690.0, "adapter"), (960.0, "checkpoint")]
    boxes += [Box(x, 30.0, (text,), "white", 150.0) for x, text in heads]
    arrows += [Arrow(a, b) for a, b in pairwise(boxes[-4:])]
    return drawing(1050.0, max(bottom, y) + 10.0, boxes, arrows, f"From URDF to network: the robot {robot.name}")


def _run(joints: list[str]) -> list[str]:
    return [joints[0], f"… {joints[-1]}"] if len(joints) > 1 else [joints[0]]


def _unit(unit: str) -> str:
    return unit or "0 closed .. 1 open"


def _block(block: Block) -> str:
    parts = [block.delta.value] if block.delta.value != "absolute" else []
    parts += [f"range {block.range[0]:g} .. {block.range[1]:g}"] if block.range else []
    return ", ".join(parts) or "as it is"


# Modes

CENTRES = {
    Mode.HOLD: (400.0, 280.0),
    Mode.TELEOP: (840.0, 90.0),
    Mode.AUTONOMY: (840.0, 470.0),
    Mode.STOPPED: (110.0, 280.0),
}


def modes() -> str:
    """The mode table: a person's requests and what is noticed."""
    boxes = {mode: Box(*CENTRES[mode], (mode.value.upper(),)) for mode in Mode}
    arrows = []
    for begin in Mode:
        for end in Mode:
            labels = transitions(begin, end)
            if labels and end is not Mode.STOPPED:
                arrows.append(Arrow(boxes[begin], boxes[end], tuple(labels), bend=60.0))
    stops = transitions(Mode.HOLD, Mode.STOPPED)
    arrows.append(Arrow(boxes[Mode.HOLD], boxes[Mode.STOPPED], tuple(stops), bend=60.0))
    note = ("from every mode:", *stops)
    boxes_drawn = [
        *boxes.values(),
        Box(110.0, 90.0, note, "white", 150.0),
        Box(430.0, 20.0 + LINE / 2, LEGEND, "white"),
    ]
    return drawing(1010.0, 590.0, boxes_drawn, arrows, "Modes and what changes them")


LEGEND = ("a person asks for what ends in ( ); the rest is noticed",)


def transitions(begin: Mode, end: Mode) -> list[str]:
    """What leads from one mode to another, a person's requests first."""
    asked = list(REQUESTS.values())
    found = [t for (mode, t), to in TABLE.items() if mode is begin and to is end and begin is not end]
    return [f"{t.value}()" if t in asked else t.value for t in sorted(found, key=lambda t: t not in asked)]
