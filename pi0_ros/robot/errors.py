"""The project's own errors: sentences for a person, whatever the file or message was made of."""

from pi0_ros.robot.quoting import shorten


class UserError(ValueError):
    """Something that came from outside cannot be used. Its text is one printable line that a person can read.

    Files and messages of others end up in such texts: control characters are escaped, and what is long loses its middle.
    """

    def __init__(self, message: object = "", *more: object) -> None:
        super().__init__(shorten(message), *more)

    def __str__(self) -> str:
        return str(self.args[0])


class RobotError(UserError):
    """A robot YAML or its URDF cannot be used; the message names file, line and key, and the way out."""
