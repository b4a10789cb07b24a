"""A ROS parameter file, read before anything starts: rcl passes over in silence what it cannot place.

Format: node names (with wildcards) over `ros__parameters` (rcl_yaml_param_parser). A section whose name matches no node,
or a parameter that no node of a section declares, would have no effect at all.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from pi0_ros.robot.errors import RobotError, UserError
from pi0_ros.robot.yaml_nodes import plain, read_yaml

MARK = "ros__parameters"
BUILT_IN = ("use_sim_time", "start_type_description_service")
BUILT_IN_GROUPS = ("qos_overrides.",)


class ParameterFileError(UserError):
    """A parameter file with something that would have no effect; the text names file, section and parameter."""


def sections(file: Path) -> dict[str, dict[str, Any]]:
    """The parameters of each section, by node name pattern; nested names are joined with `/`, parameters with `.`.

    Raises ParameterFileError for what is no YAML or no parameter file.
    """
    try:
        content = plain(read_yaml(file))
    except RobotError as error:
        raise ParameterFileError(str(error)) from None
    if not isinstance(content, Mapping) or not content:
        raise ParameterFileError(f"{file}: must be a map of node names to {MARK}, as in /**: {{{MARK}: {{…}}}}")
    return dict(_sections(file, content, ""))


def _sections(file: Path, content: Mapping[Any, Any], above: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for key, value in content.items():
        name = f"{above}/{str(key).strip('/')}"
        if not isinstance(value, Mapping):
            raise ParameterFileError(f"{file}: section {name.lstrip('/')}: holds no map; is {MARK} missing?")
        if MARK in value:
            inside = value[MARK]
            if inside is not None and not isinstance(inside, Mapping):
                raise ParameterFileError(f"{file}: section {name.lstrip('/')}: {MARK} must be a map")
            yield name, dict(_flat(inside or {}, ""))
        nested = {k: v for k, v in value.items() if k != MARK}
        if MARK not in value and not any(isinstance(v, Mapping) for v in nested.values()):
            raise ParameterFileError(f"{file}: section {name.lstrip('/')}: key {MARK} is missing over its parameters")
        if nested:
            yield from _sections(file, nested, name)


def _flat(values: Mapping[Any, Any], above: str) -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", value


def matches(pattern: str, name: str) -> bool:
    """Whether a section's pattern (`/**`, `/*/policy`, `/ns/policy`) names the node `/ns/policy`."""
    words = {"**": r"(/[^/]+)*", "*": r"/[^/]+"}
    expression = "".join(words.get(word, "/" + re.escape(word)) for word in pattern.strip("/").split("/"))
    return re.fullmatch(expression, name) is not None


def check(file: Path, declared: Mapping[str, Collection[str]]) -> None:
    """Refuse what would have no effect.

    declared: parameters by full node name, such as /ns/policy; () if they are not known, and nothing is refused.
    Raises ParameterFileError.
    """
    for pattern, values in sections(file).items():
        found = [name for name in declared if matches(pattern, name)]
        shown = pattern.lstrip("/")
        if not found:
            raise ParameterFileError(f"{file}: section {shown}: no node has that name{_there(pattern, declared)}")
        known = {parameter for name in found for parameter in declared[name]}
        if not known:
            continue
        for name in values:
            if name not in known and name not in BUILT_IN and not name.startswith(BUILT_IN_GROUPS):
                raise ParameterFileError(f"{file}: section {shown}: {name} is no parameter{_hint(name, known)}")


def _there(pattern: str, declared: Collection[str]) -> str:
    last = pattern.rsplit("/", 1)[-1]
    same = [name for name in declared if name.rsplit("/", 1)[-1] == last]
    return f"; it is {same[0]} here" if same else f"; there are {', '.join(sorted(declared))}"


def _hint(name: str, known: Collection[str]) -> str:
    close = get_close_matches(name, sorted(known), n=1)
    return f"; did you mean {close[0]}?" if close else f"; there are {', '.join(sorted(known))}"
