"""Processes that ask their supervisor for time."""

import os
import socket
import sys
import time
from types import SimpleNamespace

import pytest

from pi0_ros.ros import notify
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


def say(*words):
    """Send these to the supervisor as they are."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as asking:
        for word in words:
            asking.sendto(word, os.environ["NOTIFY_SOCKET"].replace("@", "\0", 1))


def test_other_words_and_numbers_that_are_none_ask_for_nothing(extensions):
    say(
        b"READY=1",
        b"WATCHDOG_USEC=9000000",
        b"EXTEND_TIMEOUT_USEC=-5",
        b"EXTEND_TIMEOUT_USEC=many",
        b"EXTEND_TIMEOUT_USEC",
    )
    say(b"\xff\xfe", b"")
    assert extensions.until(os.getpid()) == 0.0
    before = time.monotonic()
    say(b"EXTEND_TIMEOUT_USEC=9000000", b"\xff", b" EXTEND_TIMEOUT_USEC=7000000\n")
    assert before + 7.0 <= extensions.until(os.getpid()) <= time.monotonic() + 7.0, "all that has come, the last counts"


def test_a_word_without_a_sender_asks_for_nothing(extensions):
    extensions._socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 0)
    say(b"EXTEND_TIMEOUT_USEC=9000000")
    assert extensions.until(os.getpid()) == extensions.until(0) == 0.0


def test_after_the_end_nobody_can_ask_and_nobody_waits_for_it(extensions):
    there = extensions._socket
    extensions.close()
    assert there.fileno() == -1
    extend_timeout(5.0)
    assert extensions.until(os.getpid()) == 0.0


@pytest.mark.parametrize(("address", "platform"), [("", "linux"), ("@pi0_ros/nobody", "darwin")])
def test_without_an_address_or_on_another_system_nothing_is_sent(monkeypatch, address, platform):
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    monkeypatch.setattr(notify, "sys", SimpleNamespace(platform=platform))
    monkeypatch.setattr(notify.socket, "socket", lambda *_: pytest.fail("it asked"))
    extend_timeout(5.0)


def test_two_supervisors_of_a_process_have_two_addresses(extensions):
    other = Extensions()
    assert other.environment["NOTIFY_SOCKET"] != extensions.environment["NOTIFY_SOCKET"]
    other.close()
