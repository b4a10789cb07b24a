"""An adapter (policy YAML) read from a file, or from the section `policy` of a checkpoint's config.json."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from pi0_ros.model.kinds import KINDS
from pi0_ros.policy.adapter import SURE_ENOUGH, Adapter, Constant, RecordedKeys
from pi0_ros.policy.adapter_blocks import read_blocks
from pi0_ros.policy.adapter_keys import ADAPTER, DATASET, PROMPT
from pi0_ros.policy.adapter_remote import read_remote
from pi0_ros.policy.errors import PolicyError
from pi0_ros.policy.prompts import DIALECTS
from pi0_ros.policy.resize import RESAMPLERS
from pi0_ros.robot.errors import RobotError
from pi0_ros.robot.files import is_file
from pi0_ros.robot.resources import config_names, share
from pi0_ros.robot.yaml_keys import key_names
from pi0_ros.robot.yaml_nodes import Section, YamlNode, read_yaml

T = TypeVar("T")


def load_adapter(name: str | Path) -> Adapter:
    """Read an adapter YAML: a file, or a name under config/policies.

    Raises: PolicyError with file, line and key for anything unknown, missing, doubled or contradictory.
    """
    file = Path(name)
    if file.suffix not in (".yaml", ".yml", ".json"):
        file = share("config", "policies") / f"{name}.yaml"
    if not is_file(file):
        raise PolicyError(f"{file}: no such policy YAML; there are {', '.join(adapter_names())}")
    return _located(lambda: adapter_from(read_yaml(file)))


def adapter_names() -> tuple[str, ...]:
    """Names of the adapters under config/policies."""
    return config_names("policies")


def adapter_of_checkpoint(config_file: Path) -> Adapter | None:
    """The adapter under `policy` in a checkpoint's config.json, or None if there is none."""

    def read() -> Adapter | None:
        policy = dict(read_yaml(config_file).items()).get("policy")
        return None if policy is None else adapter_from(policy)

    return _located(read)


ANY_SUBTASK = ".+"
"""The form of a text head that is only known to have cameras of its own: it was trained to answer."""


def _pattern(at: YamlNode) -> str:
    """A regular expression. Raises RobotError with file, line and key where it is none."""
    text = at.text()
    try:
        re.compile(text)
    except re.error as problem:
        raise at.error(f"{text!r} is no regular expression: {problem}") from None
    return text


def _located(read: Callable[[], T]) -> T:
    try:
        return read()
    except RobotError as error:  # the strict YAML reader is shared with the robot's
        raise PolicyError(str(error)) from error


def adapter_from(root: YamlNode) -> Adapter:
    """An adapter from its YAML or JSON node. Raises RobotError with file, line and key."""
    section = root.section(*key_names(ADAPTER))
    state, actions = read_blocks(section.need("state"), False), read_blocks(section.need("actions"), True)
    high = section.optional("high_level_cameras", _cameras, None)
    missing = section.optional("missing_cameras", lambda n: n.choice("masked", "black"), "")
    horizon = section.optional("horizon", _horizon, _Horizon())
    adapter = Adapter(
        name=section.need("policy").text(),
        file=root.file,
        cameras=_cameras(section.need("cameras")),
        high_level_cameras=high,
        missing=missing or "masked",
        state=state,
        actions=actions,
        hold=section.optional("hold", YamlNode.texts, ()),
        period=section.need("period").number(above=0),
        horizon=horizon.rows,
        horizons=horizon.by_kind,
        asset=section.optional("asset", YamlNode.text, ""),
        normalisation=section.optional("normalisation", lambda n: n.choice("zscore", "quantile"), ""),
        resampler=section.optional("resampler", lambda n: n.choice(*RESAMPLERS), ""),
        prompt=section.optional("prompt", _prompt, None),
        remote=section.optional("remote", lambda n: read_remote(n, missing), None),
        noise=section.optional("noise", _noise, 1.0),
        finished=section.optional("finished", YamlNode.texts, ()),
        subtasks=section.optional("subtasks", _pattern, None if high is None else ANY_SUBTASK),
        subtask_log_probability=section.optional(
            "subtask_log_probability", lambda n: n.number(below=1e-9), SURE_ENOUGH
        ),
        dataset=section.optional("dataset", _recorded_keys, None),
    )
    _check_channels(root, section, adapter)
    return adapter


@dataclass(frozen=True)
class _Horizon:
    """One number of rows, or one for each kind of network."""

    rows: int = 0
    by_kind: dict[str, int] = field(default_factory=dict)


def _horizon(node: YamlNode) -> _Horizon:
    if node.is_mapping:
        return _Horizon(by_kind={k: child.whole(above=0) for k, child in node.section(*KINDS).entries.items()})
    return _Horizon(node.whole(above=0))


def _cameras(node: YamlNode) -> dict[str, str | None]:
    found = {key: (None if child.value() is None else child.text()) for key, child in node.items()}
    if not any(found.values()):
        raise node.error("needs at least one camera of the robot")
    return found


def _prompt(node: YamlNode) -> dict[str, Constant]:
    section, found = node.section(*key_names(PROMPT)), dict[str, Constant]()
    for key, child in section.entries.items():
        if key in ("kind", "dialect"):
            found[key] = child.choice(*(KINDS if key == "kind" else DIALECTS))
        elif key in ("state", "lowercase"):
            found[key] = child.truth()
        else:
            found[key] = child.text() if key == "control_mode" else child.whole(above=-1)
    return found


def _recorded_keys(node: YamlNode) -> RecordedKeys:
    section = node.section(*key_names(DATASET))
    return RecordedKeys(
        state=section.optional("state", YamlNode.texts, ()),
        action=section.optional("action", YamlNode.texts, ()),
        state_names=section.optional("state_names", YamlNode.texts, ()),
        action_names=section.optional("action_names", YamlNode.texts, ()),
        cameras=section.optional("cameras", lambda n: {k: child.text() for k, child in n.items()}, dict[str, str]()),
    )


def _noise(node: YamlNode) -> float:
    value = node.number()
    if not 0.0 <= value <= 1.0:
        raise node.error(f"has to be between 0 (always the same plan) and 1 (as trained), got {value:g}")
    return value


def _check_channels(root: YamlNode, section: Section, adapter: Adapter) -> None:
    for key, names in (("state", adapter.state_channels), ("actions", (*adapter.action_channels, *adapter.hold))):
        twice = sorted({n for n in names if names.count(n) > 1})
        if twice:
            raise section.need(key).error(f"{', '.join(twice)} is there more than once")
    there = len(adapter.state_channels)
    if adapter.remote is not None and (taken := sum(adapter.remote.state.values())) != there:
        raise section.need("remote").error(f"its state takes {taken} numbers, the adapter has {there}")
    if not adapter.actions:
        raise section.need("actions").error("needs at least one block")
    state = adapter.state_channels
    wrapped = {c for b in adapter.state if b.wrap is not None for c in b.channels}
    for block in adapter.actions:
        both = sorted(wrapped & set(block.channels))
        if both and (block.scale != 1.0 or block.range is not None or block.convert):
            raise section.need("actions").error(
                f"{', '.join(both)}: scale, range and convert do not go together with wrap, which is in rad"
            )
    for i, (name, is_delta) in enumerate(zip(adapter.action_channels, adapter.offset_mask, strict=True)):
        if is_delta and (i >= len(state) or state[i] != name):
            raise section.need("actions").error(
                f"{name} is an offset, so the state needs it in the same place {i}, where it has "
                f"{state[i] if i < len(state) else 'nothing'}"
            )
