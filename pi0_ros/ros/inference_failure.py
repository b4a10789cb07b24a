"""What a failed inference means for the node: how bad it is, what is said, and when to try again."""

from __future__ import annotations

import traceback
from dataclasses import dataclass

from rclpy.impl.rcutils_logger import RcutilsLogger

from pi0_ros.policy import PolicyError
from pi0_ros.policy.backends.server_errors import LateAnswerError, ServerNotReadyError
from pi0_ros.ros.diagnostics import ERROR, WARN

RETRY = 0.5
"""Seconds until the next try after an inference that failed."""
RETRY_CONNECTION = 0.2
"""The same after a connection that broke twice: nobody is asked by it, and the plan may still be running."""
LOG_PERIOD = 5.0


@dataclass(frozen=True)
class InferenceFailure:
    """level: of the diagnostics. sentence: one line for people. retry: seconds until the next try.

    details: all that a server said. trace: our own traceback, for errors that nobody foresaw.
    """

    level: bytes
    sentence: str
    retry: float
    details: str = ""
    trace: str = ""


def failure_of(error: BaseException) -> InferenceFailure:
    """An error of `infer` as what it means. Errors that nobody foresaw carry their traceback as details."""
    if isinstance(error, LateAnswerError):
        return InferenceFailure(WARN, f"an answer came too late: {error}", RETRY)
    if isinstance(error, ServerNotReadyError):
        return InferenceFailure(WARN, f"the policy server is not there: {error}", RETRY_CONNECTION, error.details)
    if isinstance(error, PolicyError):
        return InferenceFailure(ERROR, f"inference failed: {error}", RETRY, getattr(error, "details", ""))
    text = f"inference failed: {type(error).__name__}: {error}"
    return InferenceFailure(ERROR, text, RETRY, trace="".join(traceback.format_exception(error)))


def log_failure(logger: RcutilsLogger, failure: InferenceFailure) -> None:
    """Log its sentence, at most once in `LOG_PERIOD`; what a server said at length is logged for debugging."""
    text = f"{failure.sentence}\n{failure.trace}".strip()
    if failure.level == WARN:  # two calls: rclpy refuses one that changes its severity
        logger.warning(text, throttle_duration_sec=LOG_PERIOD)
    else:
        logger.error(text, throttle_duration_sec=LOG_PERIOD)
    if failure.details:
        logger.debug(failure.details)
