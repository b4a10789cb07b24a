"""The exception a policy raises for anything a person has to put right."""

from __future__ import annotations

from pi0_ros.robot.errors import UserError


class PolicyError(UserError):
    """A file, key, camera or value that the policy cannot work with; the sentence names it and the way out."""


class WeightsError(PolicyError):
    """A checkpoint whose weights cannot be read."""
