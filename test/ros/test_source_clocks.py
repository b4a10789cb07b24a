"""What a node says of the clocks behind the topics it measures by."""

import math
from types import SimpleNamespace

import pytest

from pi0_ros.ros.source_clocks import SourceClocks

ROBOT = SimpleNamespace(
    state=(SimpleNamespace(topic="joint_states", max_age=0.1), SimpleNamespace(topic="odom", max_age=0.4))
)


def heard(clocks: SourceClocks, topic: str, behind: float, hz: float = 50.0, upto: float = 3.0) -> None:
    for k in range(int(upto * hz)):
        at = k / hz
        clocks.update(topic, 100.0 + at, 5000.0 + at - behind - 0.002 * (k % 3), 5000.0 + at)


def test_rate_and_offset_of_each_topic_are_told_and_what_was_never_heard_is_named():
    clocks = SourceClocks(ROBOT)
    assert clocks.silent == ("joint_states", "odom") and not clocks.values(100.0) and not clocks.sentences(100.0)
    heard(clocks, "joint_states", 0.012)
    assert clocks.silent == ("odom",)
    values = clocks.values(102.98)
    assert values["joint_states hz"] == pytest.approx(50.0)
    assert values["joint_states offset_ms"] == pytest.approx(12.0)
    assert clocks.sentences(102.98) == ()


def test_each_topic_is_judged_by_its_own_max_age():
    clocks = SourceClocks(ROBOT)
    heard(clocks, "joint_states", 0.3)
    heard(clocks, "odom", 0.3)
    (told,) = clocks.sentences(102.98)
    assert told.startswith("joint_states arrives at 50 Hz, but is stamped 0.30 s behind this computer")


def test_a_clock_ahead_of_ours_is_told_and_a_stamp_of_zero_is_not_a_clock():
    clocks = SourceClocks(ROBOT)
    heard(clocks, "joint_states", -37.0)
    for k in range(40):
        clocks.update("odom", 100.0 + k / 20.0, 0.0, 5000.0)
    (told,) = clocks.sentences(102.0)
    assert "stamped" in told and "ahead" in told and "TAI" in told
    assert math.isnan(clocks.values(102.0)["odom offset_ms"])


def test_a_camera_clock_that_starts_again_after_seventy_one_minutes_is_told_and_recovers():
    """realsense-ros 3498: 32 bits of milliseconds run over, and stamps fall back by 4,294,967 s / 1000."""
    clocks = SourceClocks(ROBOT)
    heard(clocks, "joint_states", 0.01)
    for k in range(150):
        at = 3.0 + k / 50.0
        clocks.update("joint_states", 100.0 + at, 5000.0 + at - 4294.967, 5000.0 + at)
    (told,) = clocks.sentences(105.98)
    assert "4294.97 s behind" in told
    for k in range(150):
        at = 6.0 + k / 50.0
        clocks.update("joint_states", 100.0 + at, 5000.0 + at - 0.01, 5000.0 + at)
    assert clocks.sentences(108.98) == ()
