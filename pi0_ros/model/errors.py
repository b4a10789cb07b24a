"""Errors of this package for input from outside. Needs no torch."""

from pi0_ros.robot.errors import UserError


class CheckpointError(UserError):
    """A checkpoint that cannot be used. The message names the file or key and the way out, in one sentence."""


class InputError(ValueError):
    """Tensors that do not fit the model; the message names which and how."""
