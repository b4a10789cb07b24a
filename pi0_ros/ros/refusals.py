"""Messages that cannot be used: counted, logged once per second, and the last one kept for /diagnostics."""

from __future__ import annotations

from rclpy.impl.rcutils_logger import RcutilsLogger

from pi0_ros.robot.quoting import escape


class Refusals:
    """Refused messages of all topics of a node."""

    def __init__(self, logger: RcutilsLogger) -> None:
        self._logger = logger
        self.count, self.last = 0, ""
        """How many, and the sentence about the last one."""

    def add(self, topic: str, error: Exception) -> None:
        """A message of `topic` cannot be used, because of `error`."""
        self.count += 1
        self.last = escape(f"{topic}: {error}")
        self._logger.warning(escape(f"message on {topic} refused: {error}"), throttle_duration_sec=1.0)

    def values(self) -> dict[str, object]:
        """What /diagnostics says of them, nothing without any."""
        return {"messages_refused": self.count, "last_refusal": self.last} if self.count else {}
