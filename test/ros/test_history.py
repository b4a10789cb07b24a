"""What was measured and seen lately is kept by time, not by count."""

import math

import pytest

from pi0_ros.ros.history import MAX_PICTURE_BYTES, MAX_SAMPLES, Picture, PictureHistory, Track


def test_samples_that_do_not_rise_or_are_not_finite_are_dropped():
    track = Track()
    assert track.add(0.0, 1.0, 5.0)
    assert not track.add(0.0, 1.0, 6.0) and not track.add(0.0, 0.5, 6.0) and not track.add(0.0, 2.0, math.nan)
    assert track.at(1.0, 0.0) == 5.0 and track.newest == 5.0


def test_a_track_is_held_only_so_far_beyond_its_ends():
    track = Track()
    track.add(0.0, 1.0, 5.0)
    track.add(0.0, 2.0, 7.0)
    assert track.at(1.5, 0.5) == 6.0 and track.at(2.1, 0.1) == 7.0
    assert track.at(1.5, 0.1) is None  # an outage of a second is not bridged
    assert track.at(2.2, 0.1) is None and track.at(0.8, 0.1) is None


@pytest.mark.parametrize("hz", [15, 100, 1000])
def test_a_track_reaches_back_as_long_at_every_rate(hz):
    track = Track(span=0.75)
    for k in range(2 * hz + 1):
        track.add(k / hz, k / hz, 10.0 * k / hz)
    assert track.at(1.251, 0.0) == pytest.approx(12.51)
    assert track.at(1.1, 0.0) is None  # and no longer: memory stays bounded


def picture(at):
    return Picture(at, at, f"at {at}")


@pytest.mark.parametrize("hz", [5, 30, 120])
def test_pictures_are_kept_as_long_at_every_rate(hz):
    history = PictureHistory(span=0.4)
    for k in range(hz + 1):
        history.add(picture(k / hz), 100)
    assert history.period == pytest.approx(1 / hz)
    for wanted in (0.61, 0.8, 1.0):
        assert abs(history.nearest(wanted).stamp - wanted) <= 0.5 / hz + 1e-9
    assert history.nearest(0.0).stamp >= 0.6 - 1e-9


def test_large_pictures_are_kept_for_a_shorter_time_and_the_newest_always():
    history = PictureHistory(span=10.0)
    for k in range(10):
        history.add(picture(float(k)), MAX_PICTURE_BYTES // 3)
    assert history.nearest(0.0).stamp == 7.0 and history.newest.stamp == 9.0
    history.add(picture(10.0), 2 * MAX_PICTURE_BYTES)
    assert history.nearest(0.0).stamp == 10.0


def test_a_picture_that_is_not_newer_is_dropped():
    history = PictureHistory(span=1.0)
    assert history.add(picture(2.0)) and not history.add(picture(2.0)) and not history.add(picture(1.5))
    history.clear()
    assert history.newest is None and history.period == 0.0 and history.add(picture(1.5))


def test_a_track_without_samples_was_never_received_and_has_no_newest():
    track = Track()
    assert track.received == -math.inf and track.reached == -math.inf and math.isnan(track.newest)
    assert math.isnan(track.max_age) and track.at(1.0, 9.0) is None
    track.add(5.0, 100.0, 0.3)
    track.add(9.0, 99.0, 0.7)  # older: not received
    assert (track.received, track.reached, track.newest) == (5.0, 100.0, 0.3)


def test_one_sample_before_the_span_stays_and_a_gap_of_half_a_second_is_bridged():
    track = Track(span=1.0)
    for at in (0.0, 0.4, 1.4, 1.9):
        track.add(at, at, 10.0 * at)
    assert track.at(0.5, 0.2) == pytest.approx(5.0) and track.at(1.3, 0.2) == pytest.approx(13.0)
    assert track.at(0.9, 0.2) is None and track.at(0.2, 0.0) is None and track.at(0.2, 0.3) == 4.0
    assert track.at(1.65, 0.0) == pytest.approx(16.5), "half a second without a sample is no outage"
    kept = Track(span=1.0)
    for at in (0.0, 5.0):
        kept.add(at, at, at)
    assert kept.at(0.0, 0.0) == 0.0, "two samples stay, however old"


def test_a_continuous_angle_goes_on_over_the_seam_and_another_one_jumps():
    for continuous, second in ((True, 2.0 * math.pi - 3.1), (False, -3.1)):
        track = Track(continuous=continuous)
        track.add(0.0, 0.0, 3.1)
        track.add(0.1, 0.1, -3.1)
        assert track.newest == pytest.approx(second) and track.at(0.05, 0.0) == pytest.approx((3.1 + second) / 2)


def test_the_period_of_pictures_is_the_median_and_an_outage_counts_little():
    history = PictureHistory(span=100.0)
    assert history.period == 0.0
    history.add(picture(0.0))
    assert history.period == 0.0
    for at in (0.1, 0.3, 9.0):
        history.add(picture(at))
    assert history.period == pytest.approx(0.2)
    history.add(picture(9.05))
    assert history.period == pytest.approx(0.1), "of an even number the shorter one"
    assert history.nearest(0.19).stamp == 0.1 and history.nearest(0.21).stamp == 0.3 and history.newest.stamp == 9.05


def test_cleared_pictures_take_no_room():
    history = PictureHistory(span=100.0)
    history.add(picture(0.0), MAX_PICTURE_BYTES)
    history.clear()
    for at in (1.0, 2.0):
        history.add(picture(at), MAX_PICTURE_BYTES // 2)
    assert history.nearest(0.0).stamp == 1.0, "exactly as much as there may be"
    history.add(picture(3.0), 1)
    assert history.nearest(0.0).stamp == 2.0


def test_a_track_keeps_no_more_samples_than_four_seconds_of_two_kilohertz():
    track = Track(span=1e9)
    for k in range(MAX_SAMPLES + 1):
        track.add(0.0, float(k), 0.5 * k)
    assert MAX_SAMPLES == 8192 and track.at(0.0, 0.0) is None and track.at(1.0, 0.0) == 0.5
    assert track.reached == MAX_SAMPLES and track.newest == MAX_SAMPLES / 2


def test_what_is_older_than_the_newest_sample_is_dropped_though_it_is_newer_than_the_first():
    track = Track()
    for at in (1.0, 1.5):
        assert track.add(at, at, at)
    assert not track.add(2.0, 1.25, 9.0) and not track.add(2.0, 1.5, 9.0)
    assert (track.reached, track.received, track.newest) == (1.5, 1.5, 1.5) and track.at(1.25, 0.0) == 1.25


def test_an_angle_goes_on_over_several_turns():
    track = Track(continuous=True)
    for k in range(8):
        track.add(0.1 * k, 0.1 * k, (2.0 * k + math.pi) % (2.0 * math.pi) - math.pi)
    assert track.newest == pytest.approx(14.0)


def test_of_three_samples_the_first_goes_if_the_second_is_older_than_the_span():
    track = Track(span=1.0)
    for at in (0.0, 5.0, 6.0):
        track.add(at, at, at)
    assert track.at(0.0, 0.0) == 0.0, "the second is exactly as old as the span"
    track.add(6.5, 6.5, 6.5)
    assert track.at(0.0, 0.0) is None and track.at(5.0, 0.0) == 5.0


def test_an_outage_is_bridged_as_far_from_its_ends_as_is_asked_for():
    track = Track(span=9.0)
    for at in (1.0, 2.0, 4.0):
        track.add(at, at, 10.0 * at)
    assert track.at(2.25, 0.25) == 22.5 and track.at(3.75, 0.25) == 37.5 and track.at(3.0, 0.25) is None
    assert track.at(0.75, 0.25) == 10.0 and track.at(4.25, 0.25) == 40.0
