"""Qualities of service, stamps and sizes, with the numbers that they have to have."""

import inspect
from types import SimpleNamespace

import pytest

pytest.importorskip("rclpy")

from pi0_ros.msg import ActionChunk
from rclpy.qos import DurabilityPolicy, HistoryPolicy, ReliabilityPolicy
from sensor_msgs.msg import CompressedImage, Image, JointState
from std_msgs.msg import String

from pi0_ros.ros import guarded_core, loop
from pi0_ros.ros.any_publisher import profiles
from pi0_ros.ros.bounded import MAX_BYTES
from pi0_ros.ros.clock import duration_parts, seconds, time_message, time_parts
from pi0_ros.ros.environment import UnusableEnvironment, _check_domain
from pi0_ros.ros.parameters import Parameter
from pi0_ros.ros.qos import command_quality
from pi0_ros.ros.timing import Ring, Tally, Timing

RELIABLE, BEST_EFFORT = ReliabilityPolicy.RELIABLE, ReliabilityPolicy.BEST_EFFORT
LATCHED, VOLATILE = DurabilityPolicy.TRANSIENT_LOCAL, DurabilityPolicy.VOLATILE


def test_readers_of_any_publisher_are_latched_reliable_and_best_effort():
    found = profiles(7)
    assert [(q.reliability, q.durability) for q in found] == [
        (RELIABLE, LATCHED), (RELIABLE, VOLATILE), (BEST_EFFORT, VOLATILE),
    ]  # fmt: skip
    assert {(q.history, q.depth) for q in found} == {(HistoryPolicy.KEEP_LAST, 7)}
    plain = profiles(1, latched=False)
    assert [(q.reliability, q.durability) for q in plain] == [(RELIABLE, VOLATILE), (BEST_EFFORT, VOLATILE)]


@pytest.mark.parametrize(("period", "depth"), [(0.02, 6), (0.03, 5), (0.1, 2), (0.5, 2)])
def test_commands_of_a_tenth_of_a_second_and_the_newest_are_kept(period, depth):
    found = command_quality(period)
    assert found.depth == depth and found.lifespan.nanoseconds == 100_000_000
    assert (found.reliability, found.durability) == (RELIABLE, VOLATILE)


@pytest.mark.parametrize(
    ("at", "parts"), [(12.5, (12, 500_000_000)), (0.25, (0, 250_000_000)), (0.0, (0, 0)), (-3.0, (0, 0))]
)
def test_stamps_are_whole_seconds_and_nanoseconds_from_the_epoch_on(at, parts):
    assert time_parts(at) == parts and seconds(time_message(at)) == max(at, 0.0)


def test_durations_may_be_negative():
    assert duration_parts(-0.25) == (-1, 750_000_000) and duration_parts(1.75) == (1, 750_000_000)


def test_sizes_hold_what_they_say_they_hold():
    """A picture of 2^25 pixels with four numbers of 16 bits; 4,096 rows of 100 float32; a thousand joints with names of 60."""
    assert MAX_BYTES[Image] == 2**25 * 4 * 2 and MAX_BYTES[CompressedImage] == 64 * 2**20
    assert 4096 * 100 * 4 < MAX_BYTES[ActionChunk] == 2 * 2**20
    assert 1000 * (3 * 8 + 64) < MAX_BYTES[JointState] == 128 * 1024
    assert MAX_BYTES[String] == 16 * 1024


@pytest.mark.parametrize(
    ("domain", "good"), [("", True), ("0", True), ("232", True), ("233", False), ("-1", False), ("x", False)]
)
def test_a_domain_is_a_number_up_to_232(domain, good):
    if good:
        _check_domain(domain)
    else:
        with pytest.raises(UnusableEnvironment, match="ROS_DOMAIN_ID must be a number from 0 to 232"):
            _check_domain(domain)


@pytest.mark.parametrize(("drawn", "epoch"), [(0, 1), (2**31 - 2, 2**31 - 1)])
def test_the_first_epoch_is_drawn_from_half_of_what_a_message_holds(monkeypatch, drawn, epoch):
    """So that as many takeovers can follow."""
    asked = []
    monkeypatch.setattr(guarded_core.secrets, "randbelow", lambda count: asked.append(count) or drawn)
    assert guarded_core.first_epoch() == epoch and asked == [2**31 - 1]


# --- parameters ---


def described(default, **how):
    return Parameter("p", default, "what it is", **how).descriptor()


def test_ranges_are_shown_in_the_parameters_type():
    """rate:=50 stands for 50.0, so the type is held by us and not by rclpy."""
    whole, number, half, text = (
        described(3, low=-1, high=7), described(2.0, low=0, high=5), described(2.0, low=0.0), described("a", choices=("a", "b"))
    )  # fmt: skip
    (steps,) = whole.integer_range
    assert (steps.from_value, steps.to_value, steps.step) == (-1, 7, 1) and not whole.floating_point_range
    (span,) = number.floating_point_range
    assert (span.from_value, span.to_value, span.step) == (0.0, 5.0, 0.0) and not number.integer_range
    assert not half.floating_point_range and not half.integer_range
    assert text.additional_constraints == "one of a, b"
    assert all(
        d.dynamic_typing and not d.read_only and d.description == "what it is" for d in (whole, number, half, text)
    )


# --- times of a loop ---


def test_nobody_is_pinned_to_a_processor_or_given_a_priority_unasked():
    defaults = {n: p.default for n, p in inspect.signature(loop.Loop.start).parameters.items()}
    assert defaults["cpu"] == -1 and defaults["priority"] == 0


def test_the_interpreter_changes_threads_after_a_tenth_of_a_millisecond_while_the_loop_sleeps_and_after_five_while_it_works():
    assert (loop.YIELDING, loop.WORKING) == (1e-4, 5e-3)


@pytest.mark.parametrize(("late", "skipped"), [(0.049, 0), (0.051, 1), (0.149, 1), (0.151, 2)])
def test_work_half_a_period_late_is_skipped(late, skipped):
    pacer = loop.Pacer(0.1, 10.0)
    assert pacer.next(10.1 + late) == pytest.approx(10.1 + 0.1 * skipped) and pacer.skipped == skipped


def test_what_is_longer_than_a_tally_counts_counts_as_its_longest():
    """Steps of 10 µs up to 20 ms, rounded up."""
    tally = Tally()
    for length in (0.000015, 0.5, 1.0):
        tally.add(length)
    assert tally.quantile(0.3) == pytest.approx(2e-5) and tally.quantile(0.9) == pytest.approx(0.02001)
    assert Tally().quantile(0.5) == 0.0


def test_a_loop_that_has_not_run_has_no_times():
    assert Ring(5).summary() == (0.0, 0.0, 0.0)
    assert set(vars(Timing()).values()) == {0}


def test_motion_without_a_lag_is_told_by_its_jerk_alone():
    from pi0_ros.robot import load_robot
    from pi0_ros.ros.motion_report import MotionReport

    report = MotionReport(load_robot("mobile_bimanual"), 0.02)
    report.see(SimpleNamespace(command=None, step=None))
    assert report.values() == {"jerk_rms": 0.0, "jerk_max": 0.0} and report.sentences == ()
    report._lag = SimpleNamespace(lags=lambda: {"lift": 0.05})
    assert report.values() == {"jerk_rms": 0.0, "jerk_max": 0.0, "lift lag_ms": 50.0}
