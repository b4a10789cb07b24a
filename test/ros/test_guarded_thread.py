"""A thread that fails is counted, told and begun again; it cannot end silently."""

import threading

import pytest

pytest.importorskip("rclpy")

from rclpy.logging import get_logger

from pi0_ros.ros import guarded_thread
from pi0_ros.ros.guarded_thread import GuardedThread

PATIENCE = 60.0


class PanicException(BaseException):
    """What libraries in Rust raise: no Exception."""


class Work:
    """Fails as often as told, then works until it is told to end."""

    def __init__(self, *failures):
        self.failures, self.calls = list(failures), 0
        self.at_work, self.ending = threading.Event(), threading.Event()

    def __call__(self):
        self.calls += 1
        if self.failures:
            raise self.failures.pop(0)
        self.at_work.set()
        assert self.ending.wait(PATIENCE)


def guarded(work):
    return GuardedThread("inference", work, get_logger("test").error, restart=0.001).start()


@pytest.mark.parametrize(
    "error", [ValueError("a"), PanicException("called `Result::unwrap()`"), SystemExit(3), KeyboardInterrupt()]
)
def test_whatever_is_raised_the_work_is_begun_again_and_the_failure_is_told(error):
    work = Work(error, error)
    thread = guarded(work)
    assert work.at_work.wait(PATIENCE)
    assert thread.failures == 2 and work.calls == 3 and thread.alive
    assert "the thread inference failed 2 times" in thread.problem() and type(error).__name__ in thread.problem()
    work.ending.set()
    assert thread.stop(PATIENCE)


def test_after_a_while_without_a_failure_it_is_well_again(monkeypatch):
    monkeypatch.setattr(guarded_thread, "RECOVERED", 0.0)
    work = Work(ValueError("once"))
    thread = guarded(work)
    assert work.at_work.wait(PATIENCE)
    assert thread.problem() == "" and thread.failures == 1
    work.ending.set()
    assert thread.stop(PATIENCE)


def test_an_end_that_was_asked_for_is_no_problem_and_one_that_was_not_is():
    work = Work()
    thread = guarded(work)
    assert work.at_work.wait(PATIENCE) and thread.problem() == ""
    work.ending.set()
    thread._thread.join(PATIENCE)
    assert "ended though nobody asked" in thread.problem()
    assert thread.stop(PATIENCE) and thread.problem() == ""


def test_a_thread_that_always_fails_can_be_stopped():
    failing = threading.Event()

    def work():
        failing.set()
        raise ValueError("\x1b[2J" + "x" * 10_000)

    thread = guarded(work)
    assert failing.wait(PATIENCE)
    assert thread.stop(PATIENCE) and thread.failures >= 1


def test_the_reason_is_one_short_printable_line():
    work = Work(ValueError("\x1b[2J\n" + "x" * 10_000))
    thread = guarded(work)
    assert work.at_work.wait(PATIENCE)
    assert thread.problem().isprintable() and len(thread.problem()) < 600
    work.ending.set()
    assert thread.stop(PATIENCE)


def test_after_a_failure_it_waits_before_it_begins_again_and_ends_at_once_when_it_is_told_to():
    failed = threading.Event()

    def work():
        failed.set()
        raise ValueError("no")

    thread = GuardedThread("inference", work, lambda text: None, restart=1000.0).start()
    assert failed.wait(PATIENCE)
    assert thread.stop(PATIENCE) and thread.failures == 1


def test_unless_said_otherwise_it_waits_a_fifth_of_a_second():
    assert (guarded_thread.RESTART, guarded_thread.RECOVERED, guarded_thread.LOG_PERIOD) == (0.2, 5.0, 5.0)


@pytest.mark.parametrize("died", [None, lambda reason: None])
def test_a_failure_is_logged_with_its_trace_and_what_becomes_of_the_thread(died):
    said, work = [], Work(ValueError("a"), ValueError("b"))
    thread = GuardedThread("inference", work, said.append, restart=0.001, died=died).start()
    if died is None:
        assert work.at_work.wait(PATIENCE)
        work.ending.set()
    assert thread.stop(PATIENCE)
    (text,) = said  # the second one came soon after it
    assert "inference" in text and "ValueError: a" in text and "Traceback" in text
    assert ("begun again" in text) == (died is None)
