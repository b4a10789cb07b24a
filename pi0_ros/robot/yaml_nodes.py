"""YAML that remembers its lines, so that every error can name one."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import yaml

from pi0_ros.robot.errors import RobotError, UserError
from pi0_ros.robot.files import decode, encoding_of, read_bytes, short
from pi0_ros.robot.yaml_compose import PLAIN, STRING, ComposeError, compose
from pi0_ros.robot.yaml_scalars import Scalar, ambiguous_number, number_hint, plain_truth, plain_value

MAX_BYTES = 1 << 20
T = TypeVar("T")
Default = TypeVar("Default")
_TYPES: dict[str, tuple[type, ...]] = {"int": (int,), "float": (int, float), "bool": (bool,), "null": (type(None),)}
_CORE = "tag:yaml.org,2002:"


@dataclass(frozen=True)
class YamlNode:
    """One YAML node with its file and its path of keys; reads are strict and errors carry file, line and key.

    `used_line` is the line of the alias or merge key by which the node got here, 0 without one.

    Larger than a class should be because it has one reader per kind of value.
    """

    file: Path
    key: str
    node: yaml.Node
    used_line: int = 0

    @property
    def line(self) -> int:
        """Line of the node, counted from 1."""
        return int(self.node.start_mark.line) + 1

    def error(self, message: str) -> RobotError:
        """An error that points here."""
        return RobotError(f"{self.where}: {message}{self._used}")

    @property
    def where(self) -> str:
        """File, line and key, as every message starts."""
        return f"{self.file}:{self.line}: {self.key}" if self.key else f"{self.file}:{self.line}"

    @property
    def _used(self) -> str:
        return f" (used in line {self.used_line})" if self.used_line else ""

    def _child(self, key: str, node: yaml.Node) -> YamlNode:
        return YamlNode(self.file, key, node, getattr(node, "alias_line", self.used_line))

    def section(self, *known: str) -> Section:
        """This node as a mapping of known keys alone. Raises RobotError for others, duplicates and non-mappings."""
        entries = {name: value for name, value in self.items()}
        for name, value in entries.items():
            if name not in known:
                raise value.error(f"unknown key; known here are {', '.join(known)}")
        return Section(self, entries)

    def items(self) -> Iterator[tuple[str, YamlNode]]:
        """The entries of a mapping, in order. Raises RobotError when it is none or a key comes twice."""
        self._refuse_tag()
        if not isinstance(self.node, yaml.MappingNode):
            raise self.error("has no value" if self._empty else "must be a mapping of keys to values")
        seen: dict[str, int] = {}
        for key_node, value_node in self.node.value:
            if not isinstance(key_node, yaml.ScalarNode) or not key_node.value.isprintable() or not key_node.value:
                raise self._child(self.key, key_node).error("a key must be plain text")
            name = str(key_node.value)
            child = self._child(f"{self.key}.{name}" if self.key else name, value_node)
            if name in seen:
                raise self._child(child.key, key_node).error(f"given twice, first in line {seen[name]}")
            seen[name] = key_node.start_mark.line + 1
            yield name, child

    @property
    def _empty(self) -> bool:
        """Whether it is an unquoted scalar that means null; nothing but a scalar is PLAIN."""
        return self.node.tag == PLAIN and plain_value(self.node.value) is None

    @property
    def is_mapping(self) -> bool:
        """Whether the node is a mapping of keys to values."""
        return isinstance(self.node, yaml.MappingNode)

    @property
    def is_list(self) -> bool:
        """Whether the node is a list."""
        return isinstance(self.node, yaml.SequenceNode)

    @property
    def is_null(self) -> bool:
        """Whether the node is empty, `null` or `~`."""
        return self._empty

    def entries(self) -> list[YamlNode]:
        """The elements of a list. Raises RobotError when it is none."""
        self._refuse_tag()
        if not isinstance(self.node, yaml.SequenceNode):
            raise self.error("has no value" if self._empty else "must be a list")
        return [self._child(f"{self.key}[{i}]", n) for i, n in enumerate(self.node.value)]

    def _refuse_tag(self) -> None:
        tag = str(self.node.tag)
        if isinstance(self.node, yaml.ScalarNode):
            good = tag in (PLAIN, STRING) or tag.removeprefix(_CORE) in _TYPES
        else:
            good = tag in (f"{_CORE}map", f"{_CORE}seq")
        if not good:
            raise self.error(f"tag {short(tag.replace(_CORE, '!!'))} is not known here; write a plain value")

    def value(self) -> Scalar:
        """The plain value of a scalar. Raises RobotError for lists, mappings and unknown tags."""
        self._refuse_tag()
        if not isinstance(self.node, yaml.ScalarNode):
            raise self.error("must be a single value")
        text, tag = str(self.node.value), str(self.node.tag)
        if tag == STRING:
            return text
        value = plain_value(text)
        allowed = _TYPES.get(tag.removeprefix(_CORE))
        if allowed is not None and (
            not isinstance(value, allowed) or (isinstance(value, bool) and bool not in allowed)
        ):
            raise self.error(f"{short(repr(text))} is not a plain value of type {tag.replace(_CORE, '!!')}")
        return value

    def text(self) -> str:
        """A string that is not empty, in one line, without blanks around it."""
        value = self.value()
        if value is None:
            raise self.error("has no value")
        if not isinstance(value, str):
            raise self.error(f"must be text, not {short(value)}; put it in quotes if it is a name")
        if not value or not value.isprintable() or value != value.strip():
            raise self.error(f"must be text in one line, not {short(repr(value))}")
        return value

    def truth(self) -> bool:
        """true or false."""
        value = self.value()
        if isinstance(value, str) and self.node.tag == PLAIN:
            value = plain_truth(value)
        if not isinstance(value, bool):
            raise self.error(f"must be true or false, not {short(repr(self.node.value))}")
        return value

    def choice(self, *allowed: str) -> str:
        """One of the given words."""
        value = self.text()
        if value not in allowed:
            raise self.error(f"must be one of {', '.join(allowed)}, not {short(repr(value))}")
        return value

    def number(self, above: float = -math.inf, below: float = math.inf) -> float:
        """A finite number with above < number <= below."""
        value = self.value()
        if value is None:
            raise self.error("has no value")
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            text = str(self.node.value)
            hint = ambiguous_number(text) or number_hint(text)
            raise self.error(f"must be a number, not {short(repr(text))}{f'; {hint}' if hint else ''}")
        doubt = ambiguous_number(str(self.node.value))
        if doubt:
            raise self.error(doubt)
        if not above < value <= below:
            raise self.error(f"must be above {above:g} and at most {below:g}, not {short(value)}")
        return float(value)

    def whole(self, above: float = -math.inf, below: float = math.inf) -> int:
        """A whole number with above < number <= below."""
        value = self.number(above, below)
        if value != int(value):
            raise self.error(f"must be a whole number, not {value:g}")
        return int(value)

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

    def optional(self, name: str, read: Callable[[YamlNode], T], default: Default) -> T | Default:
        """The value of a key as `read` takes it, or `default` when it is absent."""
        node = self.entries.get(name)
        return default if node is None else read(node)


def read_yaml(file: Path) -> YamlNode:
    """The root of a YAML (or JSON) file of at most 1 MiB. Raises RobotError when it cannot be read or parsed."""
    data = read_bytes(file, MAX_BYTES)
    try:
        node = compose(decode(file, data, encoding_of(data)))
    except ComposeError as problem:
        raise RobotError(f"{file}:{problem.line}: {problem.problem}") from problem
    if node is None:
        raise RobotError(f"{file}: is empty")
    return YamlNode(file, "", node)


def plain(node: YamlNode) -> Any:
    """A node as maps, lists and plain values. Raises RobotError for a key that is given twice."""
    if node.is_mapping:
        return {name: plain(child) for name, child in node.items()}
    return [plain(child) for child in node.entries()] if node.is_list else node.value()


def read_plain(file: Path, error: type[UserError]) -> Any:
    """A YAML file as maps, lists and plain values. Raises `error` with file and line when it cannot be read or parsed."""
    try:
        return plain(read_yaml(file))
    except RobotError as problem:
        raise error(str(problem)) from None
