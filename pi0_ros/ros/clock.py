"""The two clocks of the design: the steady one paces and watches, the ROS one stamps data and places plans."""

from __future__ import annotations

import time
from collections.abc import Callable

from builtin_interfaces.msg import Duration as DurationMessage
from builtin_interfaces.msg import Time as TimeMessage
from rclpy.clock import Clock, ClockType, JumpHandle, JumpThreshold, TimeJump
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.timer import Timer

JUMP = 0.5
"""Seconds that a clock has to move by itself to count as a jump."""


def seconds(stamp: TimeMessage | DurationMessage) -> float:
    """A stamp or duration message in seconds."""
    return float(stamp.sec) + float(stamp.nanosec) * 1e-9


def time_message(at: float) -> TimeMessage:
    """Seconds since the epoch as a stamp message."""
    sec, nanosec = time_parts(at)
    return TimeMessage(sec=sec, nanosec=nanosec)


def time_parts(at: float) -> tuple[int, int]:
    """Whole seconds and nanoseconds of seconds since the epoch; zero before it."""
    return duration_parts(max(0.0, at))


def duration_message(length: float) -> DurationMessage:
    """Seconds as a duration message."""
    sec, nanosec = duration_parts(length)
    return DurationMessage(sec=sec, nanosec=nanosec)


def duration_parts(length: float) -> tuple[int, int]:
    """Whole seconds and nanoseconds of a duration in seconds."""
    return divmod(round(length * 1e9), 1_000_000_000)


class Clocks:
    """Both clocks of one node, in seconds."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._clock = node.get_clock()
        self._steady_clock = Clock(clock_type=ClockType.STEADY_TIME)
        self._handlers: list[JumpHandle] = []

    def steady(self) -> float:
        """The steady clock [s]: never set, never stopped."""
        return time.monotonic()

    def ros(self) -> float:
        """The ROS clock [s]: the system's, or `/clock` with use_sim_time."""
        return self._clock.handle.get_now().nanoseconds * 1e-9  # `now` makes an object with checks around it

    def timer(self, period: float, callback: Callable[[], None]) -> Timer:
        """A timer on the steady clock: it fires even if `/clock` stands still."""
        return self._node.create_timer(period, callback, clock=self._steady_clock)

    def on_jump(self, callback: Callable[[], None]) -> None:
        """Call back after ROS time jumped (a bag restarted, a simulation was reset, use_sim_time changed)."""

        def jumped(_: TimeJump) -> None:
            callback()

        threshold = JumpThreshold(
            min_forward=Duration(seconds=JUMP), min_backward=Duration(seconds=-0.001), on_clock_change=True
        )
        self._handlers.append(self._clock.create_jump_callback(threshold, post_callback=jumped))

    def forget_jumps(self) -> None:
        """Nobody who asked `on_jump` is called any more."""
        for handler in self._handlers:
            handler.unregister()
        self._handlers.clear()
