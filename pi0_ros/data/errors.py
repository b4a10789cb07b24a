"""What can be wrong with recorded data."""

from pi0_ros.robot.errors import UserError


class DataError(UserError):
    """A recording or dataset cannot be used; the message names the file and the way out."""
