"""YAML text as nodes that know their lines: YAML 1.2 values, merge keys, no recursion, bounded depth."""

from __future__ import annotations

import copy
from typing import Any

import yaml

PLAIN = "plain"
"""Tag of an unquoted scalar without a tag of its own: what it means is decided where it is read."""
STRING = "tag:yaml.org,2002:str"
MERGE = "<<"
MAX_DEPTH = 40
MAX_NODES = 100_000
"""Values and keys of a file, those behind aliases counted wherever they are used: a few aliases of aliases are billions."""


class ComposeError(Exception):
    """What is wrong with a YAML text, and in which line (from 1)."""

    def __init__(self, line: int, problem: str) -> None:
        super().__init__(problem)
        self.line, self.problem = line, problem


class _Loader(yaml.SafeLoader):
    """Composes only; nothing is constructed. Every alias is a node of its own that knows its line (`alias_line`)."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = 0
        self._open: set[str] = set()
        self._sizes: dict[int, int] = {}

    def resolve(self, kind: Any, value: Any, implicit: Any) -> Any:
        if kind is not yaml.ScalarNode:
            return super().resolve(kind, value, implicit)  # type: ignore[no-untyped-call]
        return PLAIN if implicit[0] else STRING

    def compose_node(self, parent: Any, index: Any) -> Any:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        line = event.start_mark.line + 1
        if isinstance(event, yaml.AliasEvent):
            if event.anchor in self._open:
                raise ComposeError(line, f"*{event.anchor} stands inside of what it refers to")
            original = super().compose_node(parent, index)
            node: Any = copy.copy(original)
            node.alias_line = line
            self._sizes[id(node)] = self._sizes[id(original)]
            return node
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise ComposeError(line, f"is nested more than {MAX_DEPTH} deep")
        anchor = event.anchor
        if anchor is not None:
            self._open.add(anchor)
        node = super().compose_node(parent, index)
        self._open.discard(anchor)
        self._depth -= 1
        self._measure(node, line)
        return node

    def _measure(self, node: Any, line: int) -> None:
        """Count what a node stands for. Raises ComposeError if that is too much."""
        inside = 0
        if isinstance(node, yaml.SequenceNode):
            inside = sum(self._sizes[id(child)] for child in node.value)
        elif isinstance(node, yaml.MappingNode):
            inside = sum(self._sizes[id(key)] + self._sizes[id(value)] for key, value in node.value)
        self._sizes[id(node)] = size = 1 + inside
        if size > MAX_NODES:
            raise ComposeError(line, f"stands for more than {MAX_NODES} values, counted with its aliases")

    def compose_mapping_node(self, anchor: Any) -> Any:
        node = super().compose_mapping_node(anchor)
        node.value = _merged(node.value, self._sizes)
        return node


def _merged(entries: list[tuple[Any, Any]], sizes: dict[int, int]) -> list[tuple[Any, Any]]:
    """The entries of a mapping with those of its merge keys after them; own keys win, then earlier ones. `sizes`: what each
    node stands for, by its id; what is inherited stands for as much as where it comes from."""
    own = [(key, value) for key, value in entries if not _is_merge(key)]
    seen = {str(key.value) for key, _ in own}
    for key, value in entries:
        if not _is_merge(key):
            continue
        line = key.start_mark.line + 1
        for source in value.value if isinstance(value, yaml.SequenceNode) else [value]:
            if not isinstance(source, yaml.MappingNode):
                raise ComposeError(line, f"{MERGE} needs a mapping, such as {MERGE}: *name")
            for name, inherited in source.value:
                if str(name.value) not in seen:
                    seen.add(str(name.value))
                    again = copy.copy(inherited)
                    again.alias_line, sizes[id(again)] = line, sizes[id(inherited)]
                    own.append((name, again))
    return own


def _is_merge(key: Any) -> bool:
    return isinstance(key, yaml.ScalarNode) and key.value == MERGE and key.tag == PLAIN


def compose(text: str) -> yaml.Node | None:
    """The root node of a YAML text, None for an empty one. Raises ComposeError."""
    try:
        loader = _Loader(text)
        try:
            node: yaml.Node | None = loader.get_single_node()
            return node
        finally:
            loader.dispose()
    except yaml.reader.ReaderError as problem:
        line = text.count("\n", 0, problem.position) + 1
        raise ComposeError(line, f"has a character that YAML does not allow: {_character(problem)}") from problem
    except yaml.YAMLError as problem:
        mark = getattr(problem, "problem_mark", None) or getattr(problem, "context_mark", None)
        line = mark.line + 1 if mark else 1
        raise ComposeError(line, f"is not YAML: {getattr(problem, 'problem', None) or problem}") from problem
    except (RecursionError, ValueError, OverflowError) as problem:  # such as an escape beyond Unicode
        raise ComposeError(1, f"is not YAML: {problem}") from problem


def _character(problem: Any) -> str:
    return f"U+{problem.character:04X}"
