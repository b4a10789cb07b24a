"""Seconds as messages and back."""

from types import SimpleNamespace

import pytest
from rclpy.clock import ClockType, ROSClock
from rclpy.time import Time

from pi0_ros.ros.clock import Clocks, duration_message, duration_parts, seconds, time_message, time_parts


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


def test_a_jump_of_half_a_second_forwards_or_any_backwards_is_told_until_it_is_forgotten():
    """On a clock that is set by hand, as /clock does."""
    clock, timers, jumps = ROSClock(), [], []
    node = SimpleNamespace(get_clock=lambda: clock, create_timer=lambda *given, **more: timers.append((given, more)))
    clocks = Clocks(node)
    clocks.on_jump(lambda: jumps.append(clocks.ros()))
    clock._set_ros_time_is_active(True)
    assert len(jumps) == 1, "another clock"
    for at, count in ((10.0, 2), (10.4, 2), (10.95, 3), (10.9, 4), (11.0, 4)):
        clock.set_ros_time_override(Time(nanoseconds=round(at * 1e9), clock_type=ClockType.ROS_TIME))
        assert len(jumps) == count and clocks.ros() == pytest.approx(at)
    clocks.forget_jumps()
    clock.set_ros_time_override(Time(nanoseconds=0, clock_type=ClockType.ROS_TIME))
    assert len(jumps) == 4
    clocks.forget_jumps()
    clocks.timer(0.25, print)
    (((period, callback), more),) = timers
    assert (period, callback) == (0.25, print) and more["clock"].clock_type is ClockType.STEADY_TIME
