"""What was measured and seen lately is kept by time, not by count."""

import math

import pytest

from pi0_ros.ros.history import MAX_PICTURE_BYTES, Picture, PictureHistory, Track


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
