"""Why a camera cannot be used though its pictures are young, and what is odd about it though it can."""

import pytest

from pi0_ros.robot.spec import Camera
from pi0_ros.ros.camera_watch import CameraWatch
from pi0_ros.ros.topic_check import TopicFault, TopicProblem

STILL, MOVED = {"j1": 0.1, "j2": -0.4}, {"j1": 0.2, "j2": -0.4}
TWO = TopicProblem("front/image", TopicFault.TWO_PUBLISHERS, "two publishers on front/image")
WRONG = TopicProblem("front/image", TopicFault.WRONG_TYPE, "front/image carries another type")
STALE = "camera front: last picture 0.50 s ago"


@pytest.fixture
def watch():
    return CameraWatch(Camera("front", "front/image", "image", 0.2), frozen=0.3)


def see(watch, seconds, same=False, numbers=range(1, 1000), state=STILL):
    """Pictures at 20 Hz, each with a stamp of its own."""
    for k in range(round(20 * seconds) + 1):
        stamp, rest = k.to_bytes(12, "little"), b"a" * 64 if same else k.to_bytes(64, "little")
        watch.update(10.0 + 0.05 * k, numbers[k], stamp + rest, state)


def test_a_camera_that_looks_is_used(watch):
    see(watch, 2.0)
    assert watch.problem(12.0, "", None, MOVED) == "" and watch.warnings(12.0) == []
    assert watch.rate.hz(12.0) == pytest.approx(20.0, abs=1.0)


def test_the_same_picture_is_odd_while_nothing_moves_and_frozen_while_the_robot_does(watch):
    see(watch, 1.0, same=True)
    assert watch.problem(11.0, "", None, STILL) == ""
    assert watch.warnings(11.0) == ["camera front: the same picture for 1 s: frozen?"]
    frozen = watch.problem(11.0, "", None, MOVED)
    assert frozen.startswith("camera front: frozen, the same picture on front/image for 1.0 s while the robot moved")


def test_with_zero_no_camera_counts_as_frozen():
    watch = CameraWatch(Camera("front", "front/image", "image", 0.2), frozen=0.0)
    see(watch, 1.0, same=True)
    assert watch.problem(11.0, "", None, MOVED) == "" and watch.warnings(11.0) == []


def test_what_the_graph_says_of_a_silent_camera_goes_before_its_age(watch):
    assert watch.problem(11.0, STALE, None, STILL) == STALE
    assert watch.problem(11.0, STALE, WRONG, STILL) == "camera front: front/image carries another type"
    assert watch.problem(11.0, "", WRONG, STILL) == ""  # somebody else sends the right one


def test_two_publishers_are_one_if_only_one_sends(watch):
    see(watch, 2.0)
    assert watch.problem(12.0, "", TWO, STILL) == "" and watch.problem(12.0, STALE, TWO, STILL) == STALE
    see(watch, 0.5, numbers=[5, 900, 6, 901, 7, 902, 8, 903, 9, 904, 10])
    assert watch.problem(10.5, "", TWO, STILL) == "camera front: two publishers on front/image"


def test_a_blank_picture_is_odd(watch):
    see(watch, 1.0)
    watch.blank = "the whole picture has one colour"
    assert watch.warnings(11.0) == ["camera front: the whole picture has one colour"]
