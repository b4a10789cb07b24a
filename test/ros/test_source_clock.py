"""The offset of a source's clock is told apart from its silence, with the cure."""

import math

import pytest

from pi0_ros.ros.source_clock import SourceClock, StampState, clock_sentence, usable_stamp

T0 = 1.7e9


def heard(offset, hz=20.0, delays=(0.012, 0.004, 0.009), until=2.0):
    """A source at `hz` whose clock is `offset` [s] behind ours, with messages some milliseconds on their way."""
    clock = SourceClock()
    for k in range(round(until * hz) + 1):
        sent = T0 + k / hz
        arrived = sent + delays[k % len(delays)]
        clock.update(arrived - T0 + 100.0, sent - offset if offset is not None else 0.0, arrived)
    return clock


@pytest.mark.parametrize(
    ("offset", "state", "words"),
    [
        (0.0, StampState.GOOD, ""),
        (0.09, StampState.GOOD, ""),
        (
            0.3,
            StampState.BEHIND,
            "joint_states arrives at 20 Hz, but is stamped 0.30 s behind this computer; synchronise",
        ),
        (37.0, StampState.BEHIND, "TAI against UTC"),
        (2e5, StampState.BEHIND, "another clock: set use_sim_time:=true"),
        (-0.3, StampState.AHEAD, "stamped 0.30 s ahead of this computer, so the time of arrival is used"),
        (-37.0, StampState.AHEAD, "TAI against UTC"),
        (None, StampState.ABSENT, "without stamps, so the time of arrival is used"),
    ],
)
def test_what_the_stamps_of_a_source_are_worth_is_said_with_the_cure(offset, state, words):
    clock = heard(offset)
    assert clock.state(102.0, max_age=0.1) is state
    sentence = clock_sentence("joint_states", clock, 102.0, 0.1)
    assert words in sentence and bool(sentence) == bool(words)


def test_the_offset_is_that_of_the_quickest_message():
    assert heard(0.2).offset == pytest.approx(0.204)
    assert math.isnan(heard(None).offset)


def test_rate_and_age_are_those_of_the_arrival():
    clock = heard(1e6)
    assert clock.hz(102.0) == pytest.approx(20.0, rel=0.02)
    assert clock.arrival_age(102.5) == pytest.approx(0.496, abs=0.01)
    assert clock.state(110.0, 0.1) is StampState.SILENT and clock_sentence("t", clock, 110.0, 0.1) == ""


def test_a_clock_that_was_corrected_is_good_again_after_a_while():
    clock = heard(5.0)
    for k in range(80):
        at = T0 + 2.1 + k / 20
        clock.update(at - T0 + 100.0, at, at)
    assert clock.state(106.05, 0.1) is StampState.GOOD


def test_a_stamp_of_zero_or_of_the_future_counts_as_the_time_of_arrival():
    assert usable_stamp(9.0, 10.0) == 9.0 and usable_stamp(10.04, 10.0) == 10.04
    assert usable_stamp(10.06, 10.0) == 10.0 and usable_stamp(0.0, 10.0) == 10.0 and usable_stamp(-1.0, 10.0) == 10.0


def test_what_is_old_because_it_is_held_up_is_not_blamed_on_the_clocks():
    clock = heard(0.0, delays=(0.14, 0.31, 0.22))
    assert clock.state(102.0, 0.1) is StampState.BEHIND
    sentence = clock_sentence("joint_states", clock, 102.0, 0.1)
    assert "0.14 s old by then at best and 0.22 s usually" in sentence and "clock" not in sentence
    assert "synchronise" in clock_sentence("joint_states", heard(0.14, delays=(0.0, 0.02, 0.05)), 102.0, 0.1)


def test_one_late_message_says_nothing_of_a_clock():
    clock = SourceClock()
    for k, late in enumerate((0.3, 0.4)):
        clock.update(100.0 + 0.02 * k, T0 + 0.02 * k - late, T0 + 0.02 * k)
        assert clock.state(100.0 + 0.02 * k, 0.1) is StampState.GOOD
    clock.update(100.04, T0 + 0.04 - 0.3, T0 + 0.04)
    assert clock.state(100.04, 0.1) is StampState.BEHIND


@pytest.mark.parametrize(
    ("arrivals", "hz"),
    [((), 0.0), ((100.0,), 0.0), ((100.0, 100.0), 0.0), ((100.0, 100.5), 2.0), ((100.0, 100.0, 100.5), 4.0)],
)
def test_a_rate_needs_two_messages_at_two_times(arrivals, hz):
    clock = SourceClock()
    for at in arrivals:
        clock.update(at, 50.0, 50.0)
    assert clock.hz(101.0) == hz and clock.received is bool(arrivals)


def test_a_source_that_was_never_heard_or_has_no_stamps_now_has_no_offset():
    clock = SourceClock()
    assert math.isnan(clock.offset) and math.isnan(clock.usual_delay) and clock.arrival_age(5.0) == math.inf
    for stamp in (9.9, 9.7, 9.8):
        clock.update(100.0, stamp, 10.0)
    assert (clock.offset, clock.usual_delay) == pytest.approx((0.1, 0.2))
    clock.update(100.0, 0.0, 10.0)
    assert math.isnan(clock.offset) and math.isnan(clock.usual_delay)
    clock.clear()
    assert not clock.received


def test_what_was_heard_more_than_two_seconds_ago_or_4096_messages_ago_is_forgotten():
    clock = SourceClock()
    clock.update(100.0, 9.99, 10.0)
    clock.update(102.0, 11.75, 12.0)
    assert clock.offset == pytest.approx(0.01)
    clock.update(102.01, 11.5, 12.01)
    assert clock.offset == pytest.approx(0.25)
    for _ in range(4095):
        clock.update(102.01, 11.0, 12.0)
    assert clock.offset == pytest.approx(0.51)
    clock.update(102.01, 11.0, 12.0)
    assert clock.offset == pytest.approx(1.0)


def test_a_stamp_counts_from_the_beginning_of_time_to_a_twentieth_of_a_second_ahead():
    assert [usable_stamp(stamp, 10.0) for stamp in (0.0, -1.0, 0.25, 10.0, 10.04, 10.06)] == [
        10.0,
        10.0,
        0.25,
        10.0,
        10.04,
        10.0,
    ]
