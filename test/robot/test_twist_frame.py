"""A velocity is compared with the way that the base went: drivers say one frame and publish the other."""

import numpy as np
import pytest

from pi0_ros.robot.twist_frame import TwistFrame, twist_frame

T = np.arange(60) * 0.05


def drive(speed=0.3, slide=0.1, turn=0.5, heading=1.1, begin=(2.0, -3.0)):
    """Times, poses and the velocity in the base's frame of a base that drives a curve."""
    yaw = heading + turn * T
    world = np.stack([speed * np.cos(yaw) - slide * np.sin(yaw), speed * np.sin(yaw) + slide * np.cos(yaw)], axis=1)
    way = np.cumsum(0.5 * (world[:-1] + world[1:]) * 0.05, axis=0)
    xy = np.array(begin) + np.vstack([[0.0, 0.0], way])
    return T, np.column_stack([xy, yaw]), np.tile([speed, slide], (len(T), 1)), world


@pytest.mark.parametrize("heading", [1.1, 2.9, -1.6])
def test_the_frame_of_a_velocity_is_told_from_the_way(heading):
    times, poses, base, world = drive(heading=heading)
    noise = np.random.default_rng(4).normal(0.0, 0.01, base.shape)
    assert twist_frame(times, poses, base + noise) is TwistFrame.BASE
    assert twist_frame(times, poses, world + noise) is TwistFrame.WORLD


def test_a_velocity_that_is_never_filled_in_is_told():
    times, poses, base, _ = drive()
    assert twist_frame(times, poses, 0.0 * base) is TwistFrame.NOTHING


def test_nothing_is_said_of_a_base_that_stands_or_looks_along_the_frame_of_its_pose():
    times, poses, base, _ = drive(speed=0.0, slide=0.001, turn=0.0)
    assert twist_frame(times, poses, base) is TwistFrame.UNKNOWN
    times, poses, base, _ = drive(heading=0.0, turn=0.03)
    assert twist_frame(times, poses, base) is TwistFrame.UNKNOWN
    assert twist_frame(times[:2], poses[:2], base[:2]) is TwistFrame.UNKNOWN


def test_a_velocity_that_fits_neither_frame_is_not_guessed():
    times, poses, base, _ = drive()
    assert twist_frame(times, poses, base[:, ::-1] * [1.0, -3.0]) is TwistFrame.UNKNOWN


def straight(way=0.5, heading=0.0, said=1.0, frame=0.0):
    """A base that goes straight ahead `way` [m] in three seconds along `heading` [rad], and says `said` times that velocity
    along `frame` [rad] of its own frame."""
    speed = way / T[-1]
    poses = np.column_stack([speed * T * np.cos(heading), speed * T * np.sin(heading), np.full(len(T), heading)])
    twists = said * speed * np.tile([np.cos(frame), np.sin(frame)], (len(T), 1))
    return T, poses, twists


def test_a_quarter_of_a_rad_between_the_frames_is_enough_where_one_of_them_fits():
    """The wrong frame is then off by a quarter of the way, the right one by nothing."""
    for heading in (0.25, -0.25):
        assert twist_frame(*straight(heading=heading)) is TwistFrame.BASE
        assert twist_frame(*straight(heading=heading, frame=heading)) is TwistFrame.WORLD
    assert twist_frame(*straight(heading=0.15)) is TwistFrame.UNKNOWN  # too near to one another


def test_a_velocity_that_is_short_by_a_third_of_the_way_fits_no_frame_and_by_a_quarter_it_does():
    assert twist_frame(*straight(heading=1.2, said=0.66)) is TwistFrame.UNKNOWN
    assert twist_frame(*straight(heading=1.2, said=0.75)) is TwistFrame.BASE
    assert twist_frame(*straight(heading=1.2, said=0.66, frame=1.2)) is TwistFrame.UNKNOWN
    assert twist_frame(*straight(heading=1.2, said=0.75, frame=1.2)) is TwistFrame.WORLD


def test_six_centimetres_of_way_are_enough_and_four_are_not():
    assert twist_frame(*straight(way=0.06, heading=1.2)) is TwistFrame.BASE
    assert twist_frame(*straight(way=0.04, heading=1.2)) is TwistFrame.UNKNOWN


def test_of_two_frames_that_are_near_the_poses_counts_if_the_other_is_off_by_twice_as_much_and_a_tenth_of_the_way():
    """Along 0.3 rad, said as along 0.24: off by 0.06 of the way in the one frame and by 0.24 in the other, more than 0.22."""
    for side in (1.0, -1.0):
        assert twist_frame(*straight(heading=side * 0.3, frame=side * 0.24)) is TwistFrame.WORLD
        assert twist_frame(*straight(heading=side * 0.3, frame=side * 0.23)) is TwistFrame.BASE


def test_a_velocity_that_fits_the_poses_frame_badly_counts_if_the_other_is_off_by_six_tenths_of_the_way():
    """By 0.27 in the one frame, which fits, and by 0.62 or 0.59 in the other, which does not."""
    assert twist_frame(*straight(heading=0.9, frame=0.63)) is TwistFrame.WORLD
    assert twist_frame(*straight(heading=0.87, frame=0.6)) is TwistFrame.UNKNOWN


def test_a_base_that_has_turned_round_once_looks_along_the_frame_of_its_pose_again():
    for turns in (-1.0, 1.0, 2.0):
        for beside in (-0.15, 0.15):
            assert twist_frame(*straight(heading=2.0 * np.pi * turns + beside)) is TwistFrame.UNKNOWN
        assert twist_frame(*straight(heading=2.0 * np.pi * turns + 0.25)) is TwistFrame.BASE


def arc(turn, samples):
    """A base that drives ahead on a circle, of which few poses are known: `turn` [rad] apart, a metre of way each."""
    heading = 1.1 + turn * np.arange(samples)
    xy = np.stack([np.sin(heading), -np.cos(heading)], axis=1) / turn
    return np.arange(samples, dtype=float), np.column_stack([xy, heading]), np.tile([1.0, 0.0], (samples, 1))


def test_a_base_looks_along_its_way_in_the_middle_between_two_poses():
    for turn in (1.0, -1.0):
        assert twist_frame(*arc(turn, 5)) is TwistFrame.BASE


def test_three_poses_are_enough_and_two_are_not():
    times, poses, twists = arc(0.2, 3)
    assert twist_frame(times, poses, twists) is TwistFrame.BASE
    assert twist_frame(times[:2], poses[:2], twists[:2]) is TwistFrame.UNKNOWN


def test_times_that_do_not_go_on_tell_nothing():
    times, poses, twists = arc(0.2, 8)
    assert twist_frame(times, poses, twists) is TwistFrame.BASE
    for back in (0.0, 0.5):
        stuck = times.copy()
        stuck[4] = stuck[3] - back
        assert twist_frame(stuck, poses, twists) is TwistFrame.UNKNOWN
