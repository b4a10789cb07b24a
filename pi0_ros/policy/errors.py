"""The exception a policy raises for anything a person has to put right."""

from __future__ import annotations


class PolicyError(ValueError):
    """A file, key, camera or value that the policy cannot work with; the sentence names it and the way out."""


class WeightsError(PolicyError):
    """A checkpoint whose weights cannot be read."""
