"""Blocks of an adapter read from YAML. Everything raises RobotError with file, line and key."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from pi0_ros.policy.adapter import Binary, Block, Delta
from pi0_ros.policy.adapter_keys import ACTIONS, STATE
from pi0_ros.policy.adapter_vectors import CONVERSIONS
from pi0_ros.robot.measurement import TURN
from pi0_ros.robot.yaml_keys import key_names
from pi0_ros.robot.yaml_nodes import Section, YamlNode

# What people write for it.
DELTAS: Mapping[str, Delta] = {
    "absolute": Delta.ABSOLUTE,
    "start": Delta.START,
    "relative": Delta.START,
    "step": Delta.STEP,
    "previous": Delta.STEP,
    "cumulative": Delta.STEP,
    "current": Delta.CURRENT,
}


def read_blocks(node: YamlNode, actions: bool) -> tuple[Block, ...]:
    """The blocks of a state or, with `actions`, of an action vector."""
    return tuple(_block(entry, actions) for entry in node.entries())


def _block(node: YamlNode, actions: bool) -> Block:
    section = node.section(*key_names(ACTIONS if actions else STATE))
    channels = section.need("channels").texts()
    signs = section.optional("signs", lambda n: tuple(n.numbers(len(channels))), (1.0,) * len(channels))
    if any(s not in (-1.0, 1.0) for s in signs):
        raise section.need("signs").error("must be 1 or -1")
    if "range" in section and "convert" in section:
        raise node.error("has both range and convert; keep one")
    limits = section.optional("range", _range, None)
    if limits is not None and limits[0] == limits[1]:
        raise section.need("range").error("needs two different numbers, the model's value at 0 and at 1")
    convert = section.optional("convert", lambda n: n.choice(*CONVERSIONS), "")
    if "scale" in section and "delta" in section:
        raise section.need("scale").error("does not go together with delta: an offset is in the unit of the state")
    if "wrap" in section and (limits is not None or convert):
        raise section.need("wrap").error("is for angles; range and convert are for grippers")
    delta = section.optional("delta", _delta, Delta.ABSOLUTE)
    if "follows" in section and delta is not Delta.CURRENT:
        raise section.need("follows").error("belongs to delta: current")
    return Block(
        channels,
        signs,
        limits,
        convert,
        delta=delta,
        scale=section.optional("scale", _scale, 1.0),
        clip=section.optional("clip", _clip, None),
        binary=_binary(section, channels, limits, convert),
        follows=section.optional("follows", lambda n: n.number(above=0.0, below=2.0), 1.0),
        wrap=section.optional("wrap", _wrap, None),
    )


def _range(node: YamlNode) -> tuple[float, float]:
    at_zero, at_one = node.numbers(2)
    return at_zero, at_one


def _delta(node: YamlNode) -> Delta:
    """`delta`: true and false mean the state at chunk start, and nothing."""
    value = node.value()
    if isinstance(value, bool):
        return Delta.START if value else Delta.ABSOLUTE
    if value not in DELTAS:
        raise node.error(f"must be true, false or one of {', '.join(DELTAS)}, not {value!r}")
    return DELTAS[str(value)]


def _wrap(node: YamlNode) -> float | None:
    """Lower end of the turn: true is -pi .. pi."""
    if not node.is_list and isinstance(node.value(), bool):
        return -math.pi if node.truth() else None
    low, high = node.numbers(2)
    if abs(high - low - TURN) > 0.01:
        raise node.error(f"{low:g} .. {high:g} is no whole turn; write true for -pi .. pi, or [0, 6.2832]")
    return low


def _scale(node: YamlNode) -> float:
    value = node.number()
    if value == 0.0:
        raise node.error("a scale of 0 moves nothing")
    return value


def _clip(node: YamlNode) -> tuple[float, float]:
    low, high = node.numbers(2)
    if not low < high:
        raise node.error("needs a smaller and a larger number")
    return low, high


def _binary(section: Section, channels: Sequence[str], limits: object, convert: str) -> Binary | None:
    node, wide = section.get("threshold"), section.get("hysteresis")
    if node is None:
        if wide is not None:
            raise wide.error("belongs to a threshold, which is missing")
        return None
    if len(channels) != 1:
        raise node.error("only a gripper has a threshold; give each its own block")
    if convert:
        raise node.error(f"does not go together with convert: {convert}")
    low, high = sorted(limits) if isinstance(limits, tuple) else (0.0, 1.0)
    threshold, hysteresis = node.number(), wide.number(above=-1e-12) if wide is not None else 0.0
    if not (low < threshold - 0.5 * hysteresis and threshold + 0.5 * hysteresis < high):
        raise node.error(f"threshold {threshold:g} with hysteresis {hysteresis:g} is not inside {low:g} .. {high:g}")
    return Binary(threshold, hysteresis)
