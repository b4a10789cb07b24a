"""Messages that several readers of a topic deliver."""

import pytest

pytest.importorskip("rclpy")

from rclpy.qos import DurabilityPolicy, ReliabilityPolicy

from pi0_ros.ros.any_publisher import REMEMBERED, Repeats, profiles

LATCHED, VOLATILE = DurabilityPolicy.TRANSIENT_LOCAL, DurabilityPolicy.VOLATILE
RELIABLE, BEST_EFFORT = ReliabilityPolicy.RELIABLE, ReliabilityPolicy.BEST_EFFORT


@pytest.fixture
def repeats():
    return Repeats()


def test_a_message_is_the_same_if_time_and_content_are(repeats):
    assert [repeats.seen(*of) for of in ((5, b"a"), (5, b"b"), (6, b"a"), (5, b"a"), (5, b"b"))] == [
        False,
        False,
        False,
        True,
        True,
    ]


def test_without_the_senders_time_equal_messages_are_two(repeats):
    assert not repeats.seen(0, b"a") and not repeats.seen(0, b"a")


def test_only_the_last_messages_are_recognised(repeats):
    for number in range(1, REMEMBERED + 2):
        assert not repeats.seen(number, b"a")
    assert repeats.seen(2, b"a") and repeats.seen(REMEMBERED + 1, b"a")
    assert not repeats.seen(1, b"a")


@pytest.mark.parametrize("latched", [True, False])
def test_there_is_a_reader_for_each_quality_that_publishers_may_have(latched):
    found = profiles(7, latched)
    pairs = [(quality.reliability, quality.durability) for quality in found]
    assert pairs == [*([(RELIABLE, LATCHED)] if latched else []), (RELIABLE, VOLATILE), (BEST_EFFORT, VOLATILE)]
    assert {quality.depth for quality in found} == {7}
