"""Which value of a policy is used if several files have it, and from which file it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

from pi0_ros.policy.errors import PolicyError

T_co = TypeVar("T_co", covariant=True)
T = TypeVar("T")


@dataclass(frozen=True)
class Setting(Generic[T_co]):
    """One value of a policy as it runs, and the file, parameter or habit that it comes from."""

    key: str
    value: T_co
    source: str

    def line(self) -> str:
        """For people: `key: value (source)`."""
        return f"{self.key}: {shown(self.value)} ({self.source})"


@dataclass(frozen=True)
class Claim(Generic[T_co]):
    """What one file says of a value; None if it says nothing."""

    value: T_co | None
    source: str


def first(key: str, *claims: Claim[T]) -> Setting[T]:
    """The first claim that says something. Raises ValueError if none does."""
    for claim in claims:
        if claim.value is not None:
            return Setting(key, claim.value, claim.source)
    raise ValueError(f"nothing says {key}")


def agreed(key: str, *claims: Claim[T], way_out: str) -> Setting[T]:
    """The first claim that says something; the others have to say the same or nothing.

    Raises: PolicyError with both values and their sources, and `way_out`.
    """
    chosen = first(key, *claims)
    for claim in claims:
        if claim.value is not None and claim.value != chosen.value:
            raise PolicyError(
                f"{key}: {chosen.source} says {shown(chosen.value)}, {claim.source} says {shown(claim.value)}; {way_out}"
            )
    return chosen


def shown(value: object) -> str:
    """A value in a line for people."""
    if isinstance(value, tuple | list):
        return ", ".join(map(shown, value)) or "none"
    return f"{value:g}" if isinstance(value, float) else str(value)
