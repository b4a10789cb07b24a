"""A latched text topic that is published when the text has changed."""

from __future__ import annotations

from rclpy.publisher import Publisher
from std_msgs.msg import String


class LatchedText:
    """Says each text once."""

    def __init__(self, publisher: Publisher) -> None:
        self._publisher, self._said = publisher, ""

    def say(self, text: str) -> None:
        """Publish, if it is another text than the last one."""
        if text != self._said:
            self._said = text
            self._publisher.publish(String(data=text))
