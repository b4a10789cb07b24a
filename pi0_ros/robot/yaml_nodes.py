"""YAML that remembers its lines, so that every complaint can name one."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from pi0_ros.robot.errors import RobotError


@dataclass(frozen=True)
class YamlNode:
    """One YAML node with its file and its path of keys; reads are strict and errors carry file, line and key."""

    file: Path
    key: str
    node: yaml.Node

    @property
    def line(self) -> int:
        """Line of the node, counted from 1."""
        return int(self.node.start_mark.line) + 1

    def error(self, message: str) -> RobotError:
        """An error that points here."""
        where = f"{self.file}:{self.line}: "
        return RobotError(f"{where}{self.key}: {message}" if self.key else f"{where}{message}")

    def section(self, *known: str) -> Section:
        """This node as a mapping of known keys alone. Raises RobotError for others, duplicates and non-mappings."""
        entries = {name: value for name, value in self.items()}
        for name, value in entries.items():
            if name not in known:
                raise value.error(f"unknown key; known here are {', '.join(known)}")
        return Section(self, entries)

    def items(self) -> Iterator[tuple[str, YamlNode]]:
        """The entries of a mapping, in order. Raises RobotError when it is none or a key comes twice."""
        if not isinstance(self.node, yaml.MappingNode):
            raise self.error("must be a mapping of keys to values")
        seen: dict[str, int] = {}
        for key_node, value_node in self.node.value:
            name = str(key_node.value)
            child = YamlNode(self.file, f"{self.key}.{name}" if self.key else name, value_node)
            if name in seen:
                raise YamlNode(self.file, child.key, key_node).error(f"given twice, first in line {seen[name]}")
            seen[name] = key_node.start_mark.line + 1
            yield name, child

    def entries(self) -> list[YamlNode]:
        """The elements of a list. Raises RobotError when it is none."""
        if not isinstance(self.node, yaml.SequenceNode):
            raise self.error("must be a list")
        return [YamlNode(self.file, f"{self.key}[{i}]", n) for i, n in enumerate(self.node.value)]

    def value(self) -> Any:
        """The plain value of a scalar."""
        if not isinstance(self.node, yaml.ScalarNode):
            raise self.error("must be a single value")
        return yaml.safe_load(yaml.serialize(self.node))

    def text(self) -> str:
        """A string that is not empty."""
        value = self.value()
        if not isinstance(value, str) or not value:
            raise self.error(f"must be text, not {value!r}")
        return value

    def truth(self) -> bool:
        """true or false."""
        value = self.value()
        if not isinstance(value, bool):
            raise self.error(f"must be true or false, not {value!r}")
        return value

    def choice(self, *allowed: str) -> str:
        """One of the given words."""
        value = self.text()
        if value not in allowed:
            raise self.error(f"must be one of {', '.join(allowed)}, not {value!r}")
        return value

    def number(self, above: float = -math.inf, below: float = math.inf) -> float:
        """A finite number with above < number <= below."""
        value = self.value()
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            raise self.error(f"must be a number, not {value!r}")
        if not above < value <= below:
            raise self.error(f"must be above {above:g} and at most {below:g}, not {value!r}")
        return float(value)

    def numbers(self, count: int, above: float = -math.inf) -> list[float]:
        """`count` numbers: a list of that length, or one number for all."""
        if isinstance(self.node, yaml.ScalarNode):
            return [self.number(above)] * count
        entries = self.entries()
        if len(entries) != count:
            raise self.error(f"needs {count} numbers, one a channel (or a single one for all), and has {len(entries)}")
        return [entry.number(above) for entry in entries]

    def texts(self) -> tuple[str, ...]:
        """A list of different names, at least one."""
        names = tuple(entry.text() for entry in self.entries())
        if not names:
            raise self.error("needs at least one name")
        for entry, name in zip(self.entries(), names, strict=True):
            if names.count(name) > 1:
                raise entry.error(f"{name} is named twice")
        return names


@dataclass(frozen=True)
class Section:
    """A mapping whose keys have been checked."""

    at: YamlNode
    entries: dict[str, YamlNode]

    def __contains__(self, name: str) -> bool:
        return name in self.entries

    def need(self, name: str) -> YamlNode:
        """The value of a key. Raises RobotError when it is missing."""
        if name not in self.entries:
            raise self.at.error(f"key {name} is missing")
        return self.entries[name]

    def get(self, name: str) -> YamlNode | None:
        """The value of a key, None when it is absent."""
        return self.entries.get(name)


def read_yaml(file: Path) -> YamlNode:
    """The root of a YAML file. Raises RobotError when it cannot be read or parsed."""
    try:
        node = yaml.compose(file.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    except (OSError, UnicodeDecodeError) as problem:
        raise RobotError(f"{file}: cannot be read: {problem}") from problem
    except yaml.YAMLError as problem:
        mark = getattr(problem, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        raise RobotError(f"{file}{line}: is not YAML: {getattr(problem, 'problem', problem)}") from problem
    if node is None:
        raise RobotError(f"{file}: is empty")
    return YamlNode(file, "", node)
