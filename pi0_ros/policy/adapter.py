"""How a robot's channels and cameras become a model's vectors and picture slots: data from YAML, applied by functions.

A block is a run of dimensions: the channels behind them, a sign each, a range or conversion for grippers, and (for
actions) a scale, a clip, a threshold, and what the model's values are counted from: nothing, the state at chunk start, or
the row before. Offsets are taken after signs and conversions, as openpi does. The same schema stands under `policy` in the config.json of our own checkpoints.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, field, fields
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import ArrayLike, NDArray

from pi0_ros.model.kinds import KINDS
from pi0_ros.policy import transforms
from pi0_ros.policy.adapter_keys import ACTIONS, ADAPTER, DATASET, PROMPT, REMOTE, STATE
from pi0_ros.policy.errors import PolicyError
from pi0_ros.policy.prompts import DIALECTS
from pi0_ros.policy.resize import RESAMPLERS
from pi0_ros.robot.errors import RobotError
from pi0_ros.robot.measurement import TURN
from pi0_ros.robot.resources import share
from pi0_ros.robot.yaml_keys import key_names
from pi0_ros.robot.yaml_nodes import Section, YamlNode, read_yaml

Array = NDArray[np.floating]
Function = Callable[[ArrayLike], Array]


@dataclass(frozen=True)
class Conversion:
    """A gripper's arithmetic: measured state to model, recorded action to model, model action to command."""

    state: Function
    action: Function
    command: Function


CONVERSIONS: Mapping[str, Conversion] = {
    "aloha_gripper": Conversion(
        transforms.aloha_gripper_to_model,
        transforms.aloha_gripper_action_to_model,
        transforms.aloha_gripper_from_model,
    )
}


SURE_ENOUGH = -1.0
"""Least mean log-probability of a text head's tokens, unless a policy YAML says another: each is more likely than 1 in e."""


class Delta(StrEnum):
    """What an action is counted from."""

    ABSOLUTE = "absolute"
    START = "start"  # the state at chunk start
    STEP = "step"  # the row before, the first row from the state at chunk start
    CURRENT = "current"  # the state at the row's own time, of which only the first is known: see `Block.follows`


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


@dataclass(frozen=True)
class Binary:
    """A gripper that is open or closed: the model's value changes sides at `threshold`, and only where it passes it by
    half of `hysteresis`."""

    threshold: float
    hysteresis: float = 0.0


@dataclass(frozen=True)
class Block:
    """Consecutive dimensions of a model vector. `range` is the model's value at 0 and at 1 of the channel.

    Of actions: `clip` bounds the model's value; `scale` is how much of the channel one of the model's units is. `binary`
    makes a gripper's value one of the two ends. `delta` says what the model's values are counted from. `follows`, with
    delta: current: the share of the way to a row that the robot has gone when the next row begins.
    Of states: `wrap` is the lower end of the turn within which the model knows the angle of an endless joint.
    """

    channels: tuple[str, ...]
    signs: tuple[float, ...]
    range: tuple[float, float] | None = None
    convert: str = ""
    delta: Delta = Delta.ABSOLUTE
    scale: float = 1.0
    clip: tuple[float, float] | None = None
    binary: Binary | None = None
    follows: float = 1.0
    wrap: float | None = None


@dataclass(frozen=True)
class Remote:
    """How an openpi server calls what the robot has.

    images: key -> robot camera. state: key -> how many of the state's dimensions it takes, in order. nested: keys are
    paths of nested maps (ALOHA) or flat names (DROID, LIBERO). layout: "chw" or "hwc". size: height and width of the
    pictures. missing: a camera without a picture is "black" or left out ("masked"). width: numbers a row of its
    answers, where it pads them; 0: as many as the adapter has. actions: where they stand in its answers, joined in this
    order. prompt: key of the text. constants: entries of every request. session: key of an id that changes with every
    episode. reset: entries (over the constants) of a message sent before an episode's first observation.
    """

    images: Mapping[str, str]
    state: Mapping[str, int]
    nested: bool = False
    layout: str = "hwc"
    size: tuple[int, int] = (224, 224)
    missing: str = "masked"
    width: int = 0
    actions: tuple[str, ...] = ("actions",)
    prompt: str = "prompt"
    constants: Mapping[str, str | int | float | bool] = field(default_factory=dict)
    session: str = ""
    reset: Mapping[str, str | int | float | bool] = field(default_factory=dict)


@dataclass(frozen=True)
class RecordedKeys:
    """How a recorded dataset calls what the adapter needs, where it is not LeRobot's way.

    state, action: features that are joined in order. state_names, action_names: channels of the joined vectors, where
    info.json has other names or none. cameras: robot camera -> picture feature (without `observation.images.`).
    """

    state: tuple[str, ...] = ()
    action: tuple[str, ...] = ()
    state_names: tuple[str, ...] = ()
    action_names: tuple[str, ...] = ()
    cameras: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Adapter:
    """One robot as one kind of checkpoint sees it.

    `cameras` maps the model's picture slots, in their order, to robot cameras (None: this robot never has it).
    `missing` says what an absent picture is: "masked" (ignored) or "black" (openpi's π0-FAST on DROID and LIBERO).
    `hold` are channels the model does not know: positions stay where they are, velocities are 0.
    0, "" and None leave a choice to the checkpoint's own files. `period` is in seconds, `horizon` in rows;
    `horizons` says it by the network's kind, where released checkpoints of one robot differ.
    `noise` is the size of the noise that plans start from: 1 as trained; less makes plans agree with one another.
    `subtasks` is the pattern that an answer of the text head has to match whole; None: it was not trained to give any.
    `subtask_log_probability` is the mean log-probability of its tokens below which an answer is not believed.
    `finished` are subtasks by which the network says that nothing is left to do.
    `dataset` says how recorded data call these vectors and cameras, for training.
    """

    name: str
    file: Path
    cameras: Mapping[str, str | None]
    state: tuple[Block, ...]
    actions: tuple[Block, ...]
    hold: tuple[str, ...] = ()
    missing: str = "masked"
    period: float = 0.02
    horizon: int = 0
    horizons: Mapping[str, int] = field(default_factory=dict)
    asset: str = ""
    normalisation: str = ""
    resampler: str = ""
    prompt: Mapping[str, Any] | None = None
    high_level_cameras: Mapping[str, str | None] | None = None
    remote: Remote | None = None
    noise: float = 1.0
    finished: tuple[str, ...] = ()
    subtasks: str | None = None
    subtask_log_probability: float = SURE_ENOUGH
    dataset: RecordedKeys | None = None

    def rows(self, kind: str) -> int:
        """Rows of a plan of this kind of network; 0 where only the checkpoint knows."""
        return self.horizons.get(kind, self.horizon)

    @property
    def state_channels(self) -> tuple[str, ...]:
        """Channel behind each dimension of the model's state."""
        return tuple(c for b in self.state for c in b.channels)

    @property
    def action_channels(self) -> tuple[str, ...]:
        """Channel behind each dimension of the model's action."""
        return tuple(c for b in self.actions for c in b.channels)

    @property
    def delta_mask(self) -> tuple[bool, ...]:
        """Which action dimensions are offsets from the state at chunk start."""
        return tuple(b.delta is Delta.START for b in self.actions for _ in b.channels)

    @property
    def step_shares(self) -> tuple[float, ...]:
        """Which action dimensions are steps from where the robot will be, as `transforms.step_delta` takes them; 0: not."""
        steps = (Delta.STEP, Delta.CURRENT)
        return tuple(b.follows if b.delta in steps else 0.0 for b in self.actions for _ in b.channels)

    @property
    def offset_mask(self) -> tuple[bool, ...]:
        """Which action dimensions are one of them."""
        return tuple(b.delta is not Delta.ABSOLUTE for b in self.actions for _ in b.channels)


def state_to_model(adapter: Adapter, state: Mapping[str, float]) -> Array:
    """Measured channels in robot units to the model's state vector [S], not yet normalised.

    Raises: PolicyError naming channels without a finite measurement.
    """
    lost = [c for c in adapter.state_channels if not np.isfinite(state.get(c, np.nan))]
    if lost:
        raise PolicyError(f"no measured value for {', '.join(lost)}; the policy {adapter.name} needs it")
    return blocks_forward(adapter.state, np.array([state[c] for c in adapter.state_channels], np.float64), state=True)


def blocks_forward(blocks: Sequence[Block], values: Array, state: bool) -> Array:
    """Channels [..., D] in the blocks' order and robot units to the model's vector [..., D]."""
    parts, start = [], 0
    for block in blocks:
        stop = start + len(block.channels)
        parts.append(_forward(block, values[..., start:stop], state=state))
        start = stop
    return np.concatenate(parts, axis=-1) if parts else np.zeros((*values.shape[:-1], 0))


def actions_to_model(adapter: Adapter, values: ArrayLike, names: Sequence[str]) -> Array:
    """Absolute actions [..., D] in robot units, columns `names`, to the model's order [..., A]; not yet offsets."""
    array, index = np.asarray(values, np.float64), {n: i for i, n in enumerate(names)}
    lost = [c for c in adapter.action_channels if c not in index]
    if lost:
        raise PolicyError(f"actions lack {', '.join(lost)}; the policy {adapter.name} needs them")
    parts = [_forward(b, array[..., [index[c] for c in b.channels]], state=False) for b in adapter.actions]
    return np.concatenate(parts, axis=-1)


def actions_from_model(adapter: Adapter, actions: ArrayLike, before: Mapping[str, float] | None = None) -> Array:
    """The model's absolute actions [..., >= A] to robot units [..., A], columns `adapter.action_channels`.

    `before`: values of channels before the first row, which say on which side a binary gripper is; open unless given.
    """
    array, parts, start = np.asarray(actions, np.float64), [], 0
    if array.shape[-1] < len(adapter.action_channels):
        raise PolicyError(
            f"the model gives {array.shape[-1]} numbers a row, {adapter.file} wants {len(adapter.action_channels)}"
        )
    for block in adapter.actions:
        stop = start + len(block.channels)
        parts.append(_backward(block, array[..., start:stop], before or {}))
        start = stop
    return np.concatenate(parts, axis=-1)


def _forward(block: Block, values: Array, state: bool) -> Array:
    values = values * np.asarray(block.signs) / block.scale
    if block.wrap is not None:
        return block.wrap + np.mod(values - block.wrap, TURN)
    if block.range is not None:
        return transforms.unit_to(values, *block.range)
    if block.convert:
        conversion = CONVERSIONS[block.convert]
        return (conversion.state if state else conversion.action)(values)
    return values


def _backward(block: Block, values: Array, before: Mapping[str, float]) -> Array:
    if block.clip is not None:
        values = np.clip(values, *block.clip)
    if block.binary is not None:
        values = _one_of_two(block, block.binary, values, before)
    if block.range is not None:
        values = transforms.unit_from(values, *block.range)
    elif block.convert:
        values = CONVERSIONS[block.convert].command(values)
    return values * np.asarray(block.signs) * block.scale + 0.0  # a closed gripper is 0, not -0


def _one_of_two(block: Block, binary: Binary, values: Array, before: Mapping[str, float]) -> Array:
    """A gripper's rows [..., H, 1] at the model's two ends."""
    low, high = sorted(block.range or (0.0, 1.0))
    rows = values.reshape(-1, *values.shape[-2:])
    last = float(_forward(block, np.array([before.get(block.channels[0], 1.0)]), state=False)[0])
    side = last > binary.threshold
    ends = [np.where(transforms.binarise(r[:, 0], binary.threshold, binary.hysteresis, side), high, low) for r in rows]
    return np.stack(ends).reshape(values.shape)


def load_adapter(name: str | Path) -> Adapter:
    """Read an adapter YAML: a file, or a name under config/policies.

    Raises: PolicyError with file, line and key for anything unknown, missing, doubled or contradictory.
    """
    file = Path(name)
    if file.suffix not in (".yaml", ".yml", ".json"):
        file = share("config", "policies") / f"{name}.yaml"
    if not file.is_file():
        raise PolicyError(f"{file}: no such policy YAML; there are {', '.join(adapter_names())}")
    return _located(lambda: adapter_from(read_yaml(file)))


def adapter_names() -> tuple[str, ...]:
    """Names of the adapters under config/policies."""
    return tuple(sorted(f.stem for f in share("config", "policies").glob("*.yaml")))


def adapter_of_checkpoint(config_file: Path) -> Adapter | None:
    """The adapter under `policy` in a checkpoint's config.json, or None where there is none."""

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


def _located(read: Callable[[], Any]) -> Any:
    try:
        return read()
    except RobotError as error:  # the strict YAML reader is shared with the robot's
        raise PolicyError(str(error)) from error


def adapter_from(root: YamlNode) -> Adapter:
    """An adapter from its YAML or JSON node. Raises RobotError with file, line and key."""
    section = root.section(*key_names(ADAPTER))
    state, actions = _blocks(section.need("state"), False), _blocks(section.need("actions"), True)
    high = _optional(section, "high_level_cameras", _cameras, None)
    missing = _optional(section, "missing_cameras", lambda n: n.choice("masked", "black"), "")
    adapter = Adapter(
        name=section.need("policy").text(),
        file=root.file,
        cameras=_cameras(section.need("cameras")),
        high_level_cameras=high,
        missing=missing or "masked",
        state=state,
        actions=actions,
        hold=_optional(section, "hold", YamlNode.texts, ()),
        period=section.need("period").number(above=0),
        **_optional(section, "horizon", _horizon, {}),
        asset=_optional(section, "asset", YamlNode.text, ""),
        normalisation=_optional(section, "normalisation", lambda n: n.choice("zscore", "quantile"), ""),
        resampler=_optional(section, "resampler", lambda n: n.choice(*RESAMPLERS), ""),
        prompt=_optional(section, "prompt", _prompt, None),
        remote=_optional(section, "remote", lambda n: _remote(n, missing), None),
        noise=_optional(section, "noise", _noise, 1.0),
        finished=_optional(section, "finished", YamlNode.texts, ()),
        subtasks=_optional(section, "subtasks", _pattern, None if high is None else ANY_SUBTASK),
        subtask_log_probability=_optional(
            section, "subtask_log_probability", lambda n: n.number(below=1e-9), SURE_ENOUGH
        ),
        dataset=_optional(section, "dataset", _recorded_keys, None),
    )
    _check_channels(root, section, adapter)
    return adapter


def _optional(section: Section, key: str, read: Callable[[YamlNode], Any], default: Any) -> Any:
    node = section.get(key)
    return default if node is None else read(node)


def _horizon(node: YamlNode) -> dict[str, Any]:
    """One number of rows, or one for each kind of network."""
    if isinstance(node.node, yaml.MappingNode):
        return {"horizons": {kind: child.whole(above=0) for kind, child in node.section(*KINDS).entries.items()}}
    return {"horizon": node.whole(above=0)}


def _cameras(node: YamlNode) -> dict[str, str | None]:
    found = {key: (None if child.value() is None else child.text()) for key, child in node.items()}
    if not any(found.values()):
        raise node.error("needs at least one camera of the robot")
    return found


def _prompt(node: YamlNode) -> dict[str, Any]:
    section, found = node.section(*key_names(PROMPT)), {}
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
    lists = {
        key: _optional(section, key, YamlNode.texts, ()) for key in ("state", "action", "state_names", "action_names")
    }
    cameras = _optional(section, "cameras", lambda n: {k: child.text() for k, child in n.items()}, {})
    return RecordedKeys(**lists, cameras=cameras)


def _remote(node: YamlNode, missing: str) -> Remote:
    """`missing`: what the adapter says of absent cameras, "" for nothing."""
    section = node.section(*key_names(REMOTE))
    nested = _optional(section, "nested", YamlNode.truth, False)
    # openpi's servers for flat keys (DROID, LIBERO) read every picture; those for ALOHA mask what is not there.
    absent = missing or ("masked" if nested else "black")
    remote = Remote(
        images={key: child.text() for key, child in section.need("images").items()},
        state={key: child.whole(above=0) for key, child in section.need("state").items()},
        nested=nested,
        layout=_optional(section, "layout", lambda n: n.choice("hwc", "chw"), "hwc"),
        size=_optional(section, "size", _size, (224, 224)),
        missing=_optional(section, "missing_cameras", lambda n: n.choice("masked", "black"), absent),
        width=_optional(section, "width", lambda n: n.whole(above=0), 0),
        actions=_optional(section, "actions", YamlNode.texts, ("actions",)),
        prompt=_optional(section, "prompt", YamlNode.text, "prompt"),
        constants=_optional(section, "constants", _constants, {}),
        session=_optional(section, "session", YamlNode.text, ""),
        reset=_optional(section, "reset", _constants, {}),
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


def _constants(node: YamlNode) -> dict[str, Any]:
    found = {key: child.value() for key, child in node.items()}
    for key, value in found.items():
        if not isinstance(value, str | int | float):
            raise node.error(f"{key} must be text, a number, true or false, not {value!r}")
    return found


def _remote_dict(remote: Remote) -> dict[str, Any]:
    """The section as a mapping, without what it says by default; `missing` always, since its default depends."""
    values = {"missing_cameras": remote.missing}
    for entry in fields(remote):
        default = entry.default_factory() if entry.default_factory is not MISSING else entry.default
        value = getattr(remote, entry.name)
        if entry.name != "missing" and value != default:
            values[entry.name] = list(value) if isinstance(value, tuple) else value
    return values


def _blocks(node: YamlNode, actions: bool) -> tuple[Block, ...]:
    return tuple(_block(entry, actions) for entry in node.entries())


def _block(node: YamlNode, actions: bool) -> Block:
    section = node.section(*key_names(ACTIONS if actions else STATE))
    channels = section.need("channels").texts()
    signs = _optional(section, "signs", lambda n: tuple(n.numbers(len(channels))), (1.0,) * len(channels))
    if any(s not in (-1.0, 1.0) for s in signs):
        raise section.need("signs").error("must be 1 or -1")
    if "range" in section and "convert" in section:
        raise node.error("has both range and convert; keep one")
    limits = _optional(section, "range", lambda n: tuple(n.numbers(2)), None)
    if limits is not None and limits[0] == limits[1]:
        raise section.need("range").error("needs two different numbers, the model's value at 0 and at 1")
    convert = _optional(section, "convert", lambda n: n.choice(*CONVERSIONS), "")
    if "scale" in section and "delta" in section:
        raise section.need("scale").error("does not go together with delta: an offset is in the unit of the state")
    if "wrap" in section and (limits is not None or convert):
        raise section.need("wrap").error("is for angles; range and convert are for grippers")
    delta = _optional(section, "delta", _delta, Delta.ABSOLUTE)
    if "follows" in section and delta is not Delta.CURRENT:
        raise section.need("follows").error("belongs to delta: current")
    return Block(
        channels,
        signs,
        limits,
        convert,
        delta=delta,
        scale=_optional(section, "scale", _scale, 1.0),
        clip=_optional(section, "clip", _clip, None),
        binary=_binary(section, channels, limits, convert),
        follows=_optional(section, "follows", lambda n: n.number(above=0.0, below=2.0), 1.0),
        wrap=_optional(section, "wrap", _wrap, None),
    )


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


def _noise(node: YamlNode) -> float:
    value = node.number()
    if not 0.0 <= value <= 1.0:
        raise node.error(f"has to be between 0 (always the same plan) and 1 (as trained), got {value:g}")
    return value


def _check_channels(root: YamlNode, section: Section, adapter: Adapter) -> None:
    for key, names in (("state", adapter.state_channels), ("actions", (*adapter.action_channels, *adapter.hold))):
        twice = sorted({n for n in names if names.count(n) > 1})
        if twice:
            raise section.need(key).error(f"{', '.join(twice)} stands there more than once")
    taken, there = sum(adapter.remote.state.values()) if adapter.remote else 0, len(adapter.state_channels)
    if adapter.remote is not None and taken != there:
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


def adapter_to_dict(adapter: Adapter) -> dict[str, Any]:
    """Plain values in the YAML's schema, for a checkpoint's config.json; `adapter_from` reads them back."""
    values: dict[str, Any] = {
        "policy": adapter.name,
        "cameras": dict(adapter.cameras),
        "missing_cameras": adapter.missing,
        "state": [_block_dict(b) for b in adapter.state],
        "actions": [_block_dict(b) for b in adapter.actions],
        "period": adapter.period,
    }
    optional = {
        "high_level_cameras": adapter.high_level_cameras and dict(adapter.high_level_cameras),
        "hold": list(adapter.hold),
        "horizon": adapter.horizon or dict(adapter.horizons),
        "asset": adapter.asset,
        "normalisation": adapter.normalisation,
        "resampler": adapter.resampler,
        "prompt": adapter.prompt and dict(adapter.prompt),
        "remote": adapter.remote and _remote_dict(adapter.remote),
        "finished": list(adapter.finished),
        "subtasks": adapter.subtasks,
        "dataset": adapter.dataset and {k: v for k, v in _plain(asdict(adapter.dataset)).items() if v},
    }
    calm = {} if adapter.noise == 1.0 else {"noise": adapter.noise}
    if adapter.subtask_log_probability != SURE_ENOUGH:
        calm["subtask_log_probability"] = adapter.subtask_log_probability
    return values | {k: v for k, v in optional.items() if v} | calm


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    return {k: list(v) if isinstance(v, tuple) else v for k, v in values.items()}


def _block_dict(block: Block) -> dict[str, Any]:
    values: dict[str, Any] = {"channels": list(block.channels)}
    if any(s != 1.0 for s in block.signs):
        values["signs"] = list(block.signs)
    if block.range is not None:
        values["range"] = list(block.range)
    if block.convert:
        values["convert"] = block.convert
    if block.delta is not Delta.ABSOLUTE:
        values["delta"] = True if block.delta is Delta.START else block.delta.value
    if block.follows != 1.0:
        values["follows"] = block.follows
    if block.wrap is not None:
        values["wrap"] = [block.wrap, block.wrap + TURN]
    if block.scale != 1.0:
        values["scale"] = block.scale
    if block.clip is not None:
        values["clip"] = list(block.clip)
    if block.binary is not None:
        values |= {"threshold": block.binary.threshold, "hysteresis": block.binary.hysteresis}
    return values
