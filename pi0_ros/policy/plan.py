"""What goes into a policy and what comes out of it: one observation, one plan, and the part of the plan before that it is given."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from pi0_ros.policy.adapter import Adapter
from pi0_ros.policy.contract import Contract
from pi0_ros.policy.errors import PolicyError
from pi0_ros.robot.quoting import shorten
from pi0_ros.robot.spec import Kind, Robot

Array = NDArray[np.float64]
Images = Mapping[str, NDArray[np.uint8]]


class NotFiniteError(PolicyError):
    """The network gave NaN or infinity; the plan is dropped."""


class MisfitError(PolicyError):
    """Robot and checkpoint do not fit. The message is a sentence, and the comparison below it, a line for each entry."""

    def __init__(self, message: str, lines: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.args = ("\n".join([str(self), *(shorten(line) for line in lines)]),)


@dataclass(frozen=True)
class Observation:
    """One moment: ROS time in s, pictures by robot camera (uint8 RGB [H, W, 3]; absent ones left out), measured
    channels in robot units, what to do in words, and the command by channel that the robot follows, where it is known."""

    stamp: float
    images: Images
    state: Mapping[str, float]
    prompt: str
    command: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class PlanPrefix:
    """The rest of the running plan on the new chunk's own time grid: row k is for stamp + k * period.

    values: [P, D] absolute, robot units, columns `names`. delay_rows: rows that will have run when the new chunk
    arrives. execution_rows: rows the old plan has a say in. method: "identity", "vjp" or "prefix".
    """

    values: Array
    names: tuple[str, ...]
    delay_rows: int
    execution_rows: int
    method: str = "identity"


@dataclass(frozen=True)
class Plan:
    """A chunk: values [H, D] absolute in robot units, columns `names`, rows `period` s apart."""

    values: Array
    names: tuple[str, ...]
    period: float
    frozen_rows: int = 0
    inference_seconds: float = 0.0


@dataclass(frozen=True)
class Answer:
    """What the text head said, and the mean log-probability of its tokens: 0 is certain, -0.7 is one in two."""

    text: str
    log_probability: float


class AnyPolicy(Protocol):
    """A policy, whoever runs its network: in this process or on a server."""

    contract: Contract

    def infer(
        self,
        obs: Observation,
        noise: NDArray[np.floating] | None = None,
        prefix: PlanPrefix | None = None,
        seed: int | np.random.Generator | None = None,
    ) -> Plan:
        """A plan from one observation."""

    def rehearse(self, obs: Observation, progress: Callable[[str], None]) -> None:
        """Plan once before anything moves; says what it waits for."""

    def new_episode(self) -> None:
        """Forget the plans before."""

    def lanes(self, most: int) -> Sequence[AnyPolicy]:
        """This policy, and others of the same kind that may be asked meanwhile: `most` in all, or fewer."""

    def close(self) -> None:
        """End what it has with others; asked again, it begins anew."""


class SubtaskPolicy(AnyPolicy, Protocol):
    """A policy whose network may be asked in words."""

    def answer(self, obs: Observation, task: str, max_tokens: int = 32) -> Answer:
        """What to do next; only if `contract.gives_subtasks`."""


def values_before(obs: Observation, prefix: PlanPrefix | None) -> Mapping[str, float]:
    """Channel values before a new plan's first row: of the running plan, else as commanded, else as measured."""
    running = {} if prefix is None or not len(prefix.values) else dict(zip(prefix.names, prefix.values[0], strict=True))
    return {**obs.state, **obs.command, **running}


def in_plan_order(
    robot: Robot, adapter: Adapter, channels: tuple[str, ...], values: Array, state: Mapping[str, float]
) -> Array:
    """Model columns [H, A] and held channels in the order of `channels`; `state`: what is commanded, else measured, so that a
    channel that sags below its command is not lowered by that with every plan.

    Raises: PolicyError for a held position that is not measured.
    """
    columns = dict(zip(adapter.action_channels, values.T, strict=True))
    for name in adapter.hold:
        kind = robot.channels[robot.index[name]].kind
        measured = 0.0 if kind is Kind.VELOCITY else state.get(name, np.nan)
        if not np.isfinite(measured):
            raise PolicyError(f"no measured value for {name}, which the policy holds where it is")
        columns[name] = np.full(len(values), measured)
    return np.stack([columns[name] for name in channels], axis=1)
