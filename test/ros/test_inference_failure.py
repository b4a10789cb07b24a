"""What a failed inference means: how bad, which words, and when the next try is."""

import pytest

from pi0_ros.policy import PolicyError
from pi0_ros.policy.backends.server_errors import LateAnswerError, ServerError, ServerNotReadyError
from pi0_ros.ros.diagnostics import ERROR, WARN
from pi0_ros.ros.inference_failure import InferenceFailure, failure_of, log_failure


@pytest.mark.parametrize(
    ("error", "level", "sentence", "retry", "details"),
    [
        (LateAnswerError("0.9 s", "all"), WARN, "an answer came too late: 0.9 s", 0.5, ""),
        (ServerNotReadyError("refused", "all"), WARN, "the policy server is not there: refused", 0.2, "all"),
        (ServerError("no key", "all"), ERROR, "inference failed: no key", 0.5, "all"),
        (PolicyError("no word"), ERROR, "inference failed: no word", 0.5, ""),
    ],
)
def test_what_is_known_has_its_own_words_and_no_traceback(error, level, sentence, retry, details):
    assert failure_of(error) == InferenceFailure(level, sentence, retry, details, "")


def test_what_nobody_foresaw_is_named_by_its_kind_with_the_place_where_it_was_raised():
    def lost():
        raise ZeroDivisionError("no")

    with pytest.raises(ZeroDivisionError) as caught:
        lost()
    found = failure_of(caught.value)
    assert (found.level, found.sentence) == (ERROR, "inference failed: ZeroDivisionError: no")
    assert "in lost" in found.trace and found.details == ""


class Log:
    def __init__(self):
        self.lines = []

    def __getattr__(self, level):
        return lambda text, **_: self.lines.append((level, text))


def test_a_failure_is_logged_at_its_level_and_what_a_server_said_at_length_for_those_who_look_for_it():
    log = Log()
    log_failure(log, InferenceFailure(WARN, "late", 0.5))
    log_failure(log, InferenceFailure(ERROR, "broken", 0.5, "everything", "here"))
    assert log.lines == [("warning", "late"), ("error", "broken\nhere"), ("debug", "everything")]
