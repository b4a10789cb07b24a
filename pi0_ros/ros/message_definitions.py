"""The definition of a ROS message type as text, for files that say themselves what they hold (MCAP's `ros2msg`)."""

from __future__ import annotations

import importlib
import re
from typing import Any

from pi0_ros.ros.topic_check import ros_type_name

SEPARATOR = "=" * 80
PLAIN = {"boolean": "bool", "octet": "byte", "float": "float32", "double": "float64"}
_SEQUENCE = re.compile(r"sequence<(.+?)(?:, (\d+))?>")
_ARRAY = re.compile(r"(.+)\[(\d+)\]")


def definition_of(kind: type) -> str:
    """The fields of a message class, then those of every message in it, as rosbag2 writes them (without constants)."""
    sections, waiting = {}, [ros_type_name(kind)]
    while waiting:
        name = waiting.pop(0)
        if name in sections:
            continue
        fields = message_class(name).get_fields_and_field_types()
        sections[name] = "".join(f"{_type(declared)} {field}\n" for field, declared in fields.items())
        waiting += [f"{package}/msg/{word}" for package, word in map(_nested, fields.values()) if package]
    first, *others = sections
    return sections[first] + "".join(f"{SEPARATOR}\nMSG: {_short(name)}\n{sections[name]}" for name in others)


def message_class(name: str) -> Any:
    """The class of a message type, as "sensor_msgs/msg/Image". Raises ImportError if its package is not there."""
    package, _, word = name.split("/")
    found = getattr(importlib.import_module(f"{package}.msg"), word, None)
    if found is None:
        raise ImportError(f"{package} has no message {word}")
    return found


def _short(name: str) -> str:
    package, _, word = name.split("/")
    return f"{package}/{word}"


def _element(declared: str) -> tuple[str, str]:
    """The element's type as rclpy says it, and the brackets behind it."""
    if match := _SEQUENCE.fullmatch(declared):
        return match[1], f"[<={match[2]}]" if match[2] else "[]"
    if match := _ARRAY.fullmatch(declared):
        return match[1], f"[{match[2]}]"
    return declared, ""


def _type(declared: str) -> str:
    element, brackets = _element(declared)
    bounded = re.fullmatch(r"(w?string)<(\d+)>", element)
    return (f"{bounded[1]}<={bounded[2]}" if bounded else PLAIN.get(element, element)) + brackets


def _nested(declared: str) -> tuple[str, str]:
    """Package and name of the message that a field holds, ("", "") for anything else."""
    package, slash, word = _element(declared)[0].partition("/")
    return (package, word) if slash else ("", "")
