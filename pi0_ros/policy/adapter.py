"""How a robot's channels and cameras become a model's vectors and picture slots: as values.

A block is a run of dimensions: the channels behind them, a sign each, a range or conversion for grippers, and (for
actions) a scale, a clip, a threshold, and what the model's values are counted from: nothing, the state at chunk start, or
the row before. `adapter_vectors` applies it, `adapter_reading` reads it from YAML, `adapter_writing` puts it into a
checkpoint's config.json.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

Constant = str | int | float | bool
"""An entry of a message to a policy server, or of a prompt section."""

SURE_ENOUGH = -1.0
"""Least mean log-probability of a text head's tokens, unless a policy YAML says another: each is more likely than 1 in e."""


class Delta(StrEnum):
    """What an action is counted from."""

    ABSOLUTE = "absolute"
    START = "start"  # the state at chunk start
    STEP = "step"  # the row before, the first row from the state at chunk start
    CURRENT = "current"  # the state at the row's own time, of which only the first is known: see `Block.follows`


@dataclass(frozen=True)
class Binary:
    """A gripper that is open or closed: the model's value changes sides at `threshold`, and only where it passes it by
    half of `hysteresis`."""

    threshold: float
    hysteresis: float


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
    constants: Mapping[str, Constant] = field(default_factory=dict)
    session: str = ""
    reset: Mapping[str, Constant] = field(default_factory=dict)


@dataclass(frozen=True)
class RecordedKeys:
    """How a recorded dataset calls what the adapter needs, if it is not LeRobot's way.

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
    `horizons` says it by the network's kind, if released checkpoints of one robot differ.
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
    prompt: Mapping[str, Constant] | None = None
    high_level_cameras: Mapping[str, str | None] | None = None
    remote: Remote | None = None
    noise: float = 1.0
    finished: tuple[str, ...] = ()
    subtasks: str | None = None
    subtask_log_probability: float = SURE_ENOUGH
    dataset: RecordedKeys | None = None

    def rows(self, kind: str) -> int:
        """Rows of a plan of this kind of network; 0 if only the checkpoint knows."""
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
    def question_cameras(self) -> Mapping[str, str | None]:
        """Picture slots of the questions for a subtask, and their cameras."""
        return self.cameras if self.high_level_cameras is None else self.high_level_cameras

    @property
    def step_shares(self) -> tuple[float, ...]:
        """Which action dimensions are steps from where the robot will be, as `transforms.step_delta` takes them; 0: not."""
        steps = (Delta.STEP, Delta.CURRENT)
        return tuple(b.follows if b.delta in steps else 0.0 for b in self.actions for _ in b.channels)

    @property
    def offset_mask(self) -> tuple[bool, ...]:
        """Which action dimensions are one of them."""
        return tuple(b.delta is not Delta.ABSOLUTE for b in self.actions for _ in b.channels)
