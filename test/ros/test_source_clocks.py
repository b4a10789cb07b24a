"""What a node says of the clocks behind the topics it measures by."""

import math

import pytest

from pi0_ros.ros.source_clocks import SourceClocks

AGES = {"joint_states": 0.1, "odom": 0.4}


def receive(clocks: SourceClocks, topic: str, behind: float, hz: float = 50.0, upto: float = 3.0) -> None:
    for k in range(int(upto * hz)):
        at = k / hz
        clocks.update(topic, 100.0 + at, 5000.0 + at - behind - 0.002 * (k % 3), 5000.0 + at)


def test_rate_and_offset_of_each_topic_are_told_and_what_was_never_heard_is_named():
    clocks = SourceClocks(AGES)
    assert clocks.silent == ("joint_states", "odom") and not clocks.values(100.0) and not clocks.sentences(100.0)
    receive(clocks, "joint_states", 0.012)
    assert clocks.silent == ("odom",)
    values = clocks.values(102.98)
    assert values["joint_states hz"] == pytest.approx(50.0)
    assert values["joint_states offset_ms"] == pytest.approx(12.0)
    assert clocks.sentences(102.98) == ()


def test_each_topic_is_judged_by_its_own_max_age():
    clocks = SourceClocks(AGES)
    receive(clocks, "joint_states", 0.3)
    receive(clocks, "odom", 0.3)
    (sentence,) = clocks.sentences(102.98)
    assert sentence.startswith("joint_states arrives at 50 Hz, but is stamped 0.30 s behind this computer")


def test_only_topics_that_are_older_than_asked_for_are_behind():
    clocks = SourceClocks(AGES)
    receive(clocks, "joint_states", 0.3)
    receive(clocks, "odom", 0.3)
    (sentence,) = clocks.behind({"odom": 0.2}, 102.98)
    assert sentence.startswith("odom arrives at 50 Hz, but is stamped 0.30 s behind this computer")
    assert clocks.behind(AGES, 102.98) == clocks.sentences(102.98)
    assert set(clocks.problems(102.98, {"odom": 0.2})) == {"joint_states", "odom"}
    assert set(clocks.problems(102.98, {})) == {"joint_states"}


def test_a_missing_stamp_is_a_problem_but_not_of_a_clock():
    clocks = SourceClocks(AGES)
    for k in range(40):
        clocks.update("odom", 100.0 + k / 20.0, 0.0, 5000.0 + k / 20.0)
    assert "without stamps" in clocks.problems(102.0, {})["odom"]
    assert clocks.sentences(102.0) == () and clocks.offsets() == {}


def test_after_our_own_clock_was_set_nothing_is_known_of_the_others():
    clocks = SourceClocks(AGES)
    receive(clocks, "joint_states", 0.3)
    assert clocks.offsets()["joint_states"] == pytest.approx(0.3) and clocks.arrival_age("joint_states", 103.0) < 0.03
    clocks.clear()
    assert clocks.silent == ("joint_states", "odom") and clocks.offsets() == {} and clocks.sentences(102.98) == ()
    assert clocks.arrival_age("joint_states", 103.0) == math.inf


def test_a_clock_ahead_of_ours_is_told_and_a_stamp_of_zero_is_not_a_clock():
    clocks = SourceClocks(AGES)
    receive(clocks, "joint_states", -37.0)
    for k in range(40):
        clocks.update("odom", 100.0 + k / 20.0, 0.0, 5000.0)
    (sentence,) = clocks.sentences(102.0)
    assert "stamped" in sentence and "ahead" in sentence and "TAI" in sentence
    assert math.isnan(clocks.values(102.0)["odom offset_ms"])


def test_a_camera_clock_that_starts_again_after_seventy_one_minutes_is_told_and_recovers():
    """realsense-ros 3498: 32 bits of milliseconds run over, and stamps fall back by 4,294,967 s / 1000."""
    clocks = SourceClocks(AGES)
    receive(clocks, "joint_states", 0.01)
    for k in range(150):
        at = 3.0 + k / 50.0
        clocks.update("joint_states", 100.0 + at, 5000.0 + at - 4294.967, 5000.0 + at)
    (sentence,) = clocks.sentences(105.98)
    assert "4294.97 s behind" in sentence
    for k in range(150):
        at = 6.0 + k / 50.0
        clocks.update("joint_states", 100.0 + at, 5000.0 + at - 0.01, 5000.0 + at)
    assert clocks.sentences(108.98) == ()
