import threading
import time

import pytest

from pi0_ros.ros.plan_thread import PlanThread

TIMEOUT = 10.0


@pytest.fixture
def plans():
    thread = PlanThread(0.02)
    yield thread
    thread.stop()


def test_plans_are_made_in_a_thread_of_their_own_that_runs_before_anything_asks(plans):
    names = {t.name for t in threading.enumerate()}
    work = plans.submit(lambda: threading.current_thread().name)
    assert work.result(TIMEOUT) in names and work.result() != threading.current_thread().name


def test_of_plans_that_wait_only_the_newest_is_made(plans):
    begun, go_on, made = threading.Event(), threading.Event(), []

    def first():
        begun.set()
        go_on.wait(TIMEOUT)

    plans.submit(first)
    assert begun.wait(TIMEOUT)
    plans.submit(lambda: made.append("second"))
    third = plans.submit(lambda: made.append("third"))
    go_on.set()
    third.result(TIMEOUT)
    assert made == ["third"]


def test_how_long_plans_take_is_learnt_from_the_moment_they_were_asked_for(plans):
    plans.due = time.monotonic() + 3600.0
    assert plans.periods() == 0
    for _ in range(3):
        held = threading.Event()
        work = plans.submit(lambda held=held: held.wait(TIMEOUT))
        time.sleep(0.03)  # what is measured here is time itself
        held.set()
        work.result(TIMEOUT)
    plans.due = time.monotonic()
    assert plans.periods() >= 2, "plans took more than one period of 0.02 s"
