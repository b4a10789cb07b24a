"""Which pictures of several cameras are fresh, and which belong to one moment."""

import math

import pytest

from pi0_ros.robot.spec import Camera
from pi0_ros.ros.camera_pictures import CameraPictures, PictureChoice
from pi0_ros.ros.history import Picture
from pi0_ros.ros.source_clocks import SourceClocks

CAMERAS = (
    Camera("front", "front/image", "image", max_age=0.3),
    Camera("wrist", "wrist/image", "image", max_age=0.2),
    Camera("back", "back/image", "image", max_age=0.5, required=False),
)
NAMES = ("front", "wrist", "back")
T0 = 5000.0


@pytest.fixture
def clocks():
    return SourceClocks({c.topic: c.max_age for c in CAMERAS})


@pytest.fixture
def pictures(clocks):
    return CameraPictures(CAMERAS, 1.0, clocks)


@pytest.fixture
def see(clocks, pictures):
    """Pictures taken at steady `times` [s], while the ROS clock is T0 ahead, `late` [s] on their way."""

    def see(camera, *times, late=0.01):
        for at in times:
            clocks.update(f"{camera}/image", at + late, T0 + at, T0 + at + late)
            pictures.add(camera, Picture(T0 + at, at + late, f"{camera} {at:g}"), 1000)

    return see


def test_a_picture_is_as_old_as_the_older_of_its_stamp_and_its_arrival(pictures, see):
    see("front", 1.0, late=0.1)
    assert pictures.age("front", 1.2, T0 + 1.2) == pytest.approx(0.2)
    assert pictures.age("front", 1.5, T0 + 1.2) == pytest.approx(0.4)  # the ROS clock stands still
    assert pictures.age("wrist", 1.2, T0 + 1.2) == math.inf


def test_each_camera_has_its_own_age_and_its_own_sentence(pictures, see):
    see("front", 1.0)
    see("wrist", 1.0)
    stale = pictures.stale(NAMES, 1.25, T0 + 1.25)
    assert set(stale) == {"wrist", "back"}
    assert stale["wrist"] == "camera wrist: last picture 0.24 s ago on wrist/image (at most 0.2 s)"
    assert stale["back"] == "camera back: no picture yet on back/image (at most 0.5 s)"


def test_one_old_picture_is_told_from_a_camera_whose_clock_is_behind(pictures, see):
    see("wrist", 1.0, late=0.4)
    assert "has just come on wrist/image is 0.40 s old" in pictures.stale(["wrist"], 1.4, T0 + 1.4)["wrist"]
    see("wrist", 1.1, 1.2, 1.3, late=0.4)
    assert "stamped 0.40 s behind this computer" in pictures.stale(["wrist"], 1.7, T0 + 1.7)["wrist"]


def test_without_a_required_camera_or_without_any_there_is_no_observation(pictures):
    assert pictures.blocking(NAMES, {}) == {} and pictures.blocking((), {}) == {}
    assert pictures.blocking(NAMES, {"back": "gone"}) == {}
    assert pictures.blocking(NAMES, {"back": "gone", "wrist": "old"}) == {"wrist": "old"}
    assert pictures.blocking(("back",), {"back": "gone"}) == {"back": "gone"}


def test_the_newest_common_moment_is_that_of_the_slowest_camera(pictures, see):
    see("front", 1.0, 1.1)
    see("wrist", 1.0, 1.04)
    assert pictures.common(("front", "wrist")) == T0 + 1.04 and pictures.common(()) == math.inf


def test_a_camera_that_stopped_long_ago_is_not_waited_for(pictures, see):
    see("front", 1.0, 1.9)
    see("wrist", 1.0)
    assert pictures.reached(("front", "wrist"), 1.3, T0 + 1.3) == T0 + 1.0  # stale, but it may still come
    assert pictures.reached(("front", "wrist"), 1.95, T0 + 1.95) == T0 + 1.9
    assert pictures.reached(("back",), 1.95, T0 + 1.95) == math.inf


def test_of_each_camera_the_nearest_picture_is_chosen_before_or_behind_the_moment(pictures, see):
    see("front", 1.00, 1.03, 1.06)
    see("wrist", 0.97, 1.07)
    choice = pictures.nearest(("front", "wrist"), T0 + 1.04)
    assert {n: p.message for n, p in choice.pictures.items()} == {"front": "front 1.03", "wrist": "wrist 1.07"}
    assert choice.skew == pytest.approx(0.03) and choice.too_far == {} and pictures.skew_problem(choice) == ""


def test_a_picture_too_far_is_left_out_and_is_a_problem_where_its_camera_is_required(pictures, see):
    see("front", 1.0)
    see("wrist", 1.15)
    see("back", 1.25)
    choice = pictures.nearest(("front", "back"), T0 + 1.0)
    assert set(choice.pictures) == {"front"} and choice.too_far == {"back": pytest.approx(0.25)}
    assert choice.skew == pytest.approx(0.25) and pictures.skew_problem(choice) == ""
    problem = pictures.skew_problem(pictures.nearest(("front", "wrist"), T0 + 1.0))
    assert problem.startswith("camera wrist: its nearest picture on wrist/image is 0.15 s away") and "0.10 s" in problem


@pytest.mark.parametrize(("period", "far"), [(0.2, 0.119), (0.4, 0.239)])
def test_a_slow_camera_may_be_half_of_its_period_away(pictures, see, period, far):
    see("front", *(1.0 + period * k for k in range(4)))
    newest = T0 + 1.0 + 3 * period
    assert pictures.nearest(("front",), newest + far).too_far == {}
    assert set(pictures.nearest(("front",), newest + far + 0.01).too_far) == {"front"}


def test_after_clear_nothing_was_seen(pictures, see):
    see("front", 1.0)
    pictures.clear()
    assert pictures.newest("front") is None and set(pictures.stale(["front"], 1.0, T0 + 1.0)) == {"front"}


def test_without_cameras_no_pictures_are_apart():
    assert PictureChoice({}, {}, {}).skew == 0.0 and PictureChoice({}, {"a": 0.1, "b": 0.3}, {}).skew == 0.3


def test_a_camera_that_is_late_and_then_silent_is_silent(pictures, see):
    for k in range(10):
        see("wrist", 1.0 + 0.05 * k, late=0.4)
    late = pictures.stale(("wrist",), 1.86, T0 + 1.86)["wrist"]
    silent = pictures.stale(("wrist",), 2.5, T0 + 2.5)["wrist"]
    assert "last picture" not in late and "last picture 0.65 s ago on wrist/image" in silent


def test_a_slow_camera_that_may_be_old_is_waited_for_and_one_that_is_gone_is_not():
    slow = Camera("slow", "slow/image", "image", max_age=3.0)
    quick = Camera("quick", "quick/image", "image", max_age=0.3)
    pictures = CameraPictures((slow, quick), 9.0, SourceClocks({"slow/image": 3.0, "quick/image": 0.3}))
    for name, at in (("slow", 10.0), ("quick", 10.5), ("quick", 12.4)):
        pictures.add(name, Picture(T0 + at, at, name), 1)
    both = ("slow", "quick")
    assert pictures.reached(both, 12.5, T0 + 12.5) == T0 + 10.0, "2.5 s old, and may be"
    pictures.add("quick", Picture(T0 + 13.4, 13.4, "quick"), 1)
    assert pictures.reached(both, 13.5, T0 + 13.5) == T0 + 13.4, "3.5 s old: gone"


def test_of_two_pictures_that_are_too_far_the_farther_is_named(pictures, see):
    see("front", 1.0)
    see("wrist", 1.3)
    see("back", 1.5)
    choice = pictures.nearest(NAMES, T0 + 1.5)
    assert set(choice.pictures) == {"back"} and choice.skew == pytest.approx(0.5)
    assert "camera front: its nearest picture on front/image is 0.50 s away" in pictures.skew_problem(choice)
