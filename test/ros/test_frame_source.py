"""A frame of a recording: the state that was measured, the command that was sent, the words that stood, at one moment."""

import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("rclpy")
pytest.importorskip("av")

from pi0_ros.msg import ExecutorState

from pi0_ros.data.errors import DataError
from pi0_ros.robot import load_robot
from pi0_ros.ros.clock import time_message
from pi0_ros.ros.frame_source import DropCause, FrameSource, SourceFrame, between, features_of
from pi0_ros.ros.observation_source import SensorSnapshot
from pi0_ros.ros.prompt_source import OVERRIDE

ROBOT = load_robot("mobile_bimanual")
NAMES = ROBOT.channel_names
CAMERAS = [c.name for c in ROBOT.cameras]
SIZES = {name: (4 + 2 * k, 8 + 2 * k) for k, name in enumerate(CAMERAS)}
MEASURED = {name: 0.01 * k for k, name in enumerate(NAMES)}


class Seen:
    """What is seen: pictures of cameras at their own times, a state that says when it was asked for."""

    def __init__(self):
        self.missing, self.lost, self.sizes, self.restarts, self.commands, self.known = (
            (),
            (),
            dict(SIZES),
            7,
            [],
            105.0,
        )

    def update_command(self, message):
        self.commands.append(message)

    def reached(self, cameras):
        assert cameras == tuple(CAMERAS)
        return self.known

    def view(self, cameras, state=None, moment=None):
        assert cameras == tuple(CAMERAS)
        self.asked = state
        if self.missing:
            return SensorSnapshot(missing=self.missing)
        stamp = 104.0 if moment is None else moment
        there = [c for c in cameras if c not in self.lost]
        pictures = {c: np.full((*self.sizes[c], 3), 10 * (k + 1), np.uint8) for k, c in enumerate(there)}
        return SensorSnapshot(
            stamp, pictures, MEASURED, stamps={c: stamp - 0.01 * (k + 1) for k, c in enumerate(there)}
        )


@pytest.fixture
def source():
    seen = Seen()
    clocks = SimpleNamespace(ros=lambda: made.now)
    made = FrameSource(ROBOT, seen, clocks)
    made.seen, made.now = seen, 100.0
    return made


def state(at, values, mode=ExecutorState.AUTONOMY, names=NAMES):
    message = ExecutorState(mode=mode, channels=list(names), command=[float(v) for v in values])
    message.header.stamp = time_message(at)
    return message


def commanded(source, mode=ExecutorState.AUTONOMY):
    """Commands of 103.0 and 103.2 s, in the robot's order backwards; and what is being done."""
    for at, more in ((103.0, 0.0), (103.2, 0.1)):
        source.update_state(state(at, [1.0 + 0.01 * k + more for k in range(len(NAMES))][::-1], mode, NAMES[::-1]))
    source.now = 101.0
    source.update_words("task", "touch  every\nblock")
    source.now = 102.0
    source.update_words("subtask", "touch the red block")
    return source


FEATURES = features_of(ROBOT, SIZES)


def test_a_frame_is_what_was_measured_and_what_was_commanded_then_each_by_name(source):
    frame = commanded(source).at(103.05, FEATURES)
    row = frame.row
    np.testing.assert_allclose(row["observation.state"], [MEASURED[n] for n in NAMES], rtol=1e-6)
    # A quarter of the way from the first command to the second.
    np.testing.assert_allclose(row["action"], [1.0 + 0.01 * k + 0.025 for k in range(len(NAMES))], rtol=1e-6)
    assert row["action"].dtype == row["observation.state"].dtype == np.float32
    assert row["stamp"].tolist() == [103.05]
    np.testing.assert_allclose(row["picture_offset"], [-0.01 * (k + 1) for k in range(len(CAMERAS))], atol=1e-6)
    assert row["camera_present"].tolist() == [True] * len(CAMERAS)
    assert [frame.pictures[f"observation.images.{c}"][0, 0, 0] for c in CAMERAS] == [
        10 * (k + 1) for k in range(len(CAMERAS))
    ]
    assert len(source.seen.commands) == 2


@pytest.mark.parametrize(
    ("mode", "driver", "task", "origin"),
    [
        (ExecutorState.AUTONOMY, "autonomy", "touch the red block", "network"),
        (ExecutorState.TELEOP, "teleop", "touch every block", ""),
        (ExecutorState.HOLD, "hold", "touch every block", ""),
    ],
)
def test_the_words_of_a_frame_are_those_of_who_drives(source, mode, driver, task, origin):
    frame = commanded(source, mode).at(103.1, FEATURES)
    assert (frame.driver, frame.row["driver"], frame.row["task"]) == (driver, driver, task)
    assert (frame.row["high_level_task"], frame.row["subtask_source"]) == ("touch every block", origin)
    assert frame.row["high_level_target"] == ("touch the red block" if origin else "")


def test_an_operators_word_counts_from_when_it_was_said_and_until_it_is_taken_back(source):
    commanded(source)
    for at, text in ((103.05, "stay  where you are"), (103.15, "")):
        source.now = at
        source.update_words(OVERRIDE, text)
    tasks = [source.at(at, FEATURES).row["task"] for at in (103.04, 103.1, 103.2)]
    assert tasks == ["touch the red block", "stay where you are", "touch the red block"]


def test_what_is_not_there_is_told_with_its_cause(source):
    assert source.at(103.1, FEATURES).cause is DropCause.COMMAND
    commanded(source)
    assert source.at(104.0, FEATURES).cause is DropCause.COMMAND  # too long ago
    source.seen.missing = ("no picture of base", "no state")
    found = source.at(103.1, FEATURES)
    assert (found.cause, found.sentence) == (DropCause.OBSERVATION, "no picture of base; no state")
    assert source.newest() == found
    source.seen.missing = ()
    assert source.newest() == 105.0  # as far as everything has come
    source.seen.sizes[CAMERAS[1]] = (2, 12)
    height, width = SIZES[CAMERAS[1]]
    found = source.at(103.1, FEATURES)
    assert found.cause is DropCause.SIZE
    assert found.sentence == f"camera {CAMERAS[1]} has pictures of 12x2, and this dataset of {width}x{height}"


def test_commands_that_are_not_known_yet_and_words_that_nobody_said_make_no_frame(source):
    source.update_state(state(103.0, [math.nan] * len(NAMES)))
    assert source.at(103.0, FEATURES).sentence == "the executor has commanded nothing yet"
    source.update_state(state(103.1, [0.5] * len(NAMES)))
    found = source.at(103.1, FEATURES)
    assert found.cause is DropCause.WORDS


def test_a_camera_that_shows_nothing_is_black_and_marked_and_its_picture_is_of_that_moment(source):
    source.seen.lost = (CAMERAS[1],)
    frame = commanded(source).at(103.1, FEATURES)
    assert not frame.pictures[f"observation.images.{CAMERAS[1]}"].any()
    assert frame.pictures[f"observation.images.{CAMERAS[1]}"].shape == (*SIZES[CAMERAS[1]], 3)
    assert frame.row["camera_present"].tolist() == [c != CAMERAS[1] for c in CAMERAS]
    assert frame.row["picture_offset"][1] == 0.0


def test_it_has_come_as_far_as_the_slower_of_what_is_seen_and_what_is_commanded(source):
    assert not source.reaches(1.0)
    commanded(source)
    assert source.reaches(103.2) and not source.reaches(103.21)
    source.seen.known = 103.1
    assert source.reaches(103.1) and not source.reaches(103.2)
    assert source.restarts == 7 and source.sizes() == SIZES


def test_a_dataset_has_every_channel_and_camera_by_name(source):
    state_names = FEATURES["observation.state"]["names"]
    assert state_names == [*NAMES, *ROBOT.state_joints] and FEATURES["action"]["names"] == list(NAMES)
    assert tuple(FEATURES["observation.state"]["shape"]) == (len(state_names),)
    for name in CAMERAS:
        assert tuple(FEATURES[f"observation.images.{name}"]["shape"]) == (*SIZES[name], 3)
    assert FEATURES["camera_present"]["names"] == FEATURES["picture_offset"]["names"] == CAMERAS
    for odd in ((5, 8), (4, 9)):
        with pytest.raises(
            DataError, match=f"camera {CAMERAS[0]} has pictures of {odd[1]}x{odd[0]}, and a video needs even"
        ):
            features_of(ROBOT, SIZES | {CAMERAS[0]: odd})


def test_the_size_of_pictures_is_known_before_any_state_is(source):
    assert source.sizes() == SIZES and source.seen.asked == ()


def test_every_number_word_and_picture_of_a_dataset_has_its_shape():
    found = {name: (f["dtype"], tuple(f["shape"])) for name, f in FEATURES.items()}
    one = {"driver": "string", "intervention": "bool", "high_level_task": "string", "high_level_target": "string",
           "subtask_source": "string", "stamp": "float64"}  # fmt: skip
    assert {name: found[name] for name in one} == {name: (kind, (1,)) for name, kind in one.items()}
    count = len(CAMERAS)
    assert found["picture_offset"] == ("float32", (count,)) and found["camera_present"] == ("bool", (count,))
    assert FEATURES["picture_offset"]["names"] == FEATURES["camera_present"]["names"] == CAMERAS
    for name, size in SIZES.items():
        assert found[f"observation.images.{name}"] == ("video", (*size, 3))
    blind = features_of(replace(ROBOT, cameras=()), {})
    assert not {"picture_offset", "camera_present"} & set(blind) and set(blind) < set(FEATURES)


@pytest.mark.parametrize(("size", "odd"), [((6, 8), False), ((7, 8), True), ((6, 9), True), ((7, 9), True)])
def test_pictures_of_an_odd_size_are_refused_with_the_way_out(size, odd):
    sizes = {**SIZES, CAMERAS[-1]: size}
    if odd:
        with pytest.raises(DataError, match=f"camera {CAMERAS[-1]} has pictures of {size[1]}x{size[0]}.* crop"):
            features_of(ROBOT, sizes)
    else:
        assert features_of(ROBOT, sizes)


def test_a_frame_between_two_is_half_way_with_the_pictures_and_words_before():
    before = {"observation.state": np.array([1.0, 8.0], np.float32), "action": np.array([3.0], np.float32),
              "stamp": np.array([10.0]), "picture_offset": np.array([-0.25], np.float32), "task": "a"}  # fmt: skip
    after = {"observation.state": np.array([2.0, 4.0], np.float32), "action": np.array([5.0], np.float32),
             "stamp": np.array([10.5]), "picture_offset": np.array([0.5], np.float32), "task": "b"}  # fmt: skip
    made = between(SourceFrame(before, {"eye": "one"}, "teleop"), SourceFrame(after, {"eye": "two"}, "hold"), 0.25)
    assert {k: v if isinstance(v, str) else v.tolist() for k, v in made.row.items()} == {
        "observation.state": [1.5, 6.0], "action": [4.0], "stamp": [10.25], "picture_offset": [-0.5], "task": "a",
    }  # fmt: skip
    assert made.pictures == {"eye": "one"} and made.driver == "teleop" and made.row["action"].dtype == np.float32
    del before["picture_offset"]
    assert "picture_offset" not in between(SourceFrame(before, {}, ""), SourceFrame(after, {}, ""), 0.25).row
