"""The section of an adapter on a policy server, read from YAML and written for a config.json."""

from __future__ import annotations

from dataclasses import MISSING, fields

from pi0_ros.policy.adapter import Constant, Remote
from pi0_ros.policy.adapter_keys import REMOTE
from pi0_ros.robot.yaml_keys import key_names
from pi0_ros.robot.yaml_nodes import YamlNode


def read_remote(node: YamlNode, missing: str) -> Remote:
    """How a server calls what the robot has. `missing`: what the adapter says of absent cameras, "" for nothing.

    Raises: RobotError with file, line and key.
    """
    section = node.section(*key_names(REMOTE))
    nested = section.optional("nested", YamlNode.truth, False)
    # openpi's servers for flat keys (DROID, LIBERO) read every picture; those for ALOHA mask what is not there.
    absent = missing or ("masked" if nested else "black")
    remote = Remote(
        images={key: child.text() for key, child in section.need("images").items()},
        state={key: child.whole(above=0) for key, child in section.need("state").items()},
        nested=nested,
        layout=section.optional("layout", lambda n: n.choice("hwc", "chw"), "hwc"),
        size=section.optional("size", _size, (224, 224)),
        missing=section.optional("missing_cameras", lambda n: n.choice("masked", "black"), absent),
        width=section.optional("width", lambda n: n.whole(above=0), 0),
        actions=section.optional("actions", YamlNode.texts, ("actions",)),
        prompt=section.optional("prompt", YamlNode.text, "prompt"),
        constants=section.optional("constants", _constants, {}),
        session=section.optional("session", YamlNode.text, ""),
        reset=section.optional("reset", _constants, {}),
    )
    _check_keys(node, remote)
    return remote


def _check_keys(node: YamlNode, remote: Remote) -> None:
    given = [*remote.images, *remote.state, *remote.constants, remote.prompt, *filter(None, [remote.session])]
    twice = sorted({key for key in given if given.count(key) > 1})
    if twice:
        raise node.error(f"{', '.join(twice)} would be sent twice, with two meanings")


def _size(node: YamlNode) -> tuple[int, int]:
    height, width = node.numbers(2, above=0)
    return int(height), int(width)


def _constants(node: YamlNode) -> dict[str, Constant]:
    found: dict[str, Constant] = {}
    for key, child in node.items():
        value = child.value()
        if not isinstance(value, str | int | float):
            raise node.error(f"{key} must be text, a number, true or false, not {value!r}")
        found[key] = value
    return found


def remote_to_dict(remote: Remote) -> dict[str, object]:
    """The section as a mapping, without what it says by default; `missing` always, since its default depends."""
    values: dict[str, object] = {"missing_cameras": remote.missing}
    for entry in fields(remote):
        default = entry.default_factory() if entry.default_factory is not MISSING else entry.default
        value = getattr(remote, entry.name)
        if entry.name != "missing" and value != default:
            values[entry.name] = list(value) if isinstance(value, tuple) else value
    return values
