"""What has become of a policy's plans: counted, logged, and published on `policy_state`."""

from __future__ import annotations

from rclpy.impl.rcutils_logger import RcutilsLogger

from pi0_ros.control.planning import Latency
from pi0_ros.ros.diagnostics import Rate
from pi0_ros.ros.inference_failure import InferenceFailure, failure_of, log_failure
from pi0_ros.ros.texts import StateText
from pi0_ros.ros.withheld import START, Withheld

RATE_WINDOW = 10.0
"""Seconds over which chunks per second are counted."""


class PlanningStatus:
    """The state that the inference thread leaves behind; the diagnostics read it."""

    def __init__(self, state: StateText, logger: RcutilsLogger) -> None:
        self._state, self._logger = state, logger
        self.withheld: Withheld | None = START
        """Why nothing is planned; None while there is planning."""
        self.failure: InferenceFailure | None = None
        """Of the newest inference; None if that gave a plan."""
        self.times_withheld = self.failures = 0
        self.inference, self.rate = Latency(), Rate(RATE_WINDOW)

    def withhold(self, reason: Withheld) -> None:
        """Nothing is planned; a new reason is counted and logged."""
        if not reason.is_as(self.withheld):
            self.times_withheld += 1
            self._logger.warning(f"not planning: {reason.sentence}", throttle_duration_sec=1.0)
        self.withheld = reason
        self._state.update(reason.sentence)

    def planned(self) -> None:
        """A plan was made."""
        self.withheld = self.failure = None
        self._state.update("")

    def failed(self, error: BaseException) -> InferenceFailure:
        """An inference raised; what that means."""
        self.failures += 1
        self.failure = failure_of(error)
        log_failure(self._logger, self.failure)
        self._state.update(self.failure.sentence)
        return self.failure

    def rest(self) -> None:
        """The node is not active."""
        self._state.update("not active")
