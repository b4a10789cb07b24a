"""Processes that ask their supervisor for time."""

import os
import sys
import time

import pytest

from pi0_ros.ros.notify import Extensions, extend_timeout

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux, whose sockets say who sends")


@pytest.fixture
def extensions(monkeypatch):
    made = Extensions()
    monkeypatch.setenv("NOTIFY_SOCKET", made.environment["NOTIFY_SOCKET"])
    yield made
    made.close()


@pytest.mark.parametrize(("asked", "granted"), [(5.0, 5.0), (59.0, 59.0), (61.0, 60.0), (1e5, 60.0)])
def test_a_process_has_the_seconds_that_it_asks_for_and_a_minute_at_most(extensions, asked, granted):
    before = time.monotonic()
    extend_timeout(asked)
    assert before + granted <= extensions.until(os.getpid()) <= time.monotonic() + granted
    assert extensions.until(os.getpid() + 1) == 0.0


def test_without_a_supervisor_nobody_is_asked(extensions, monkeypatch):
    monkeypatch.delenv("NOTIFY_SOCKET")
    extend_timeout(5.0)
    assert extensions.until(os.getpid()) == 0.0
    extensions.close()
    extensions.close()
    assert extensions.until(os.getpid()) == 0.0
