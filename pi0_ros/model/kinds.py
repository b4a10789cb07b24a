"""The kinds of networks of the family, and their differences, so that no other module compares names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from pi0_ros.robot.errors import UserError
from pi0_ros.robot.quoting import quote_value

Kind = Literal["pi0", "pi05", "pi0_fast"]
KINDS: tuple[Kind, ...] = get_args(Kind)


@dataclass(frozen=True)
class Traits:
    """label: for people. prompt_length [tokens], horizon [rows]: of the released networks.

    state_token: the state is a token of the expert (π0) and not part of the prompt. adarms: time enters through the
    expert's norms (π0.5). acts_in_tokens: actions are text and there is no expert (π0-FAST).
    """

    label: str
    prompt_length: int
    horizon: int
    state_token: bool = False
    adarms: bool = False
    acts_in_tokens: bool = False

    @property
    def has_text_head(self) -> bool:
        """Whether it was trained to say words: π0 was not."""
        return not self.state_token

    @property
    def quantiles(self) -> bool:
        """Whether its makers normalise by quantiles; π0 by mean and deviation."""
        return not self.state_token


_TRAITS: Mapping[str, Traits] = {
    "pi0": Traits("π0", 48, 50, state_token=True),
    "pi05": Traits("π0.5", 200, 50, adarms=True),
    "pi0_fast": Traits("π0-FAST", 250, 32, acts_in_tokens=True),
}


class UnknownKindError(UserError):
    """A kind that is none of KINDS."""


def traits(kind: str) -> Traits:
    """What a kind is like. Raises UnknownKindError."""
    if kind not in _TRAITS:
        raise UnknownKindError(f"model kind {quote_value(kind)} is not known; choose one of {', '.join(KINDS)}")
    return _TRAITS[kind]
