"""The one error of this package."""

from pi0_ros.robot.errors import UserError


class CheckpointError(UserError):
    """A checkpoint that cannot be used. The message names the file or key and the way out, in one sentence."""
