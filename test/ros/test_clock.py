"""Seconds as messages and back."""

import pytest

from pi0_ros.ros.clock import duration_message, duration_parts, seconds, time_message, time_parts


@pytest.mark.parametrize(
    ("length", "parts"),
    [
        (0.0, (0, 0)),
        (1.25, (1, 250_000_000)),
        (2.9999999996, (3, 0)),
        (2.9999999994, (2, 999_999_999)),
        (-0.25, (-1, 750_000_000)),
        (-3.0, (-3, 0)),
    ],
)
def test_a_duration_is_whole_seconds_and_nanoseconds_that_are_never_negative(length, parts):
    message = duration_message(length)
    assert duration_parts(length) == (message.sec, message.nanosec) == parts
    assert seconds(message) == pytest.approx(length, abs=1e-9)


def test_a_time_before_the_epoch_is_the_epoch():
    assert time_parts(-0.25) == (0, 0) and time_parts(3.5) == (3, 500_000_000)
    assert seconds(time_message(1700000000.125)) == 1700000000.125 and seconds(time_message(-5.0)) == 0.0
