"""Frame n of an episode is n periods after its first."""

import math

import pytest

from pi0_ros.data.frame_clock import FrameClock


def test_before_the_first_frame_there_is_no_moment():
    clock = FrameClock(30.0)
    assert not clock.begun and math.isnan(clock.moment) and clock.frames == 0


@pytest.mark.parametrize("fps", [12.5, 30.0])
def test_moments_are_a_period_apart_whether_a_frame_was_taken_or_missed(fps):
    clock = FrameClock(fps)
    clock.begin(100.3)
    moments = [clock.moment]
    assert clock.begun and clock.take() == 0
    moments.append(clock.moment)
    assert clock.miss() is False
    moments.append(clock.moment)
    assert clock.take() == 1  # the missed one is filled in, and counts
    moments.append(clock.moment)
    assert moments == pytest.approx([100.3 + k / fps for k in range(4)]) and clock.frames == 3


def test_two_missed_frames_running_end_the_episode_and_two_with_one_between_do_not():
    clock = FrameClock(10.0)
    clock.begin(0.0)
    assert [clock.take(), clock.miss(), clock.take(), clock.miss(), clock.take()] == [0, False, 1, False, 1]
    assert [clock.miss(), clock.miss()] == [False, True]


def test_the_next_episode_counts_from_its_own_beginning():
    clock = FrameClock(10.0)
    clock.begin(5.0)
    clock.take()
    clock.miss()
    clock.begin(7.25)
    assert clock.moment == 7.25 and clock.frames == 0 and clock.take() == 0
    assert clock.moment == pytest.approx(7.35) and clock.frames == 1
