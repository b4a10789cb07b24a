"""What can be wrong with a robot description."""


class RobotError(ValueError):
    """A robot YAML or its URDF cannot be used; the message names file, line and key, and the way out."""
