"""What a recording begins with: how large its pictures are, how many frames a second, what is noted, what is waited for."""

import json
import math
from dataclasses import replace
from types import SimpleNamespace

import pytest

pytest.importorskip("rclpy")
pytest.importorskip("av")

from pi0_ros.data.errors import DataError
from pi0_ros.policy.adapter_reading import load_adapter
from pi0_ros.robot import load_robot
from pi0_ros.ros import recording_opening
from pi0_ros.ros.recording_opening import (
    RecordingOpening,
    adapter_for,
    check_writable,
    known_sizes,
    note_of,
    rows_a_second,
)

ROBOT = load_robot("mobile_bimanual")


@pytest.mark.parametrize(
    ("period", "frames"),
    [
        (0.1, 10),
        (0.02, 50),
        (1 / 15, 15),
        (1 / 30, 30),
        (0.01, 100),
        (1 / 101, 10),
        (0.005, 10),
        (0.08, 10),
        (1.0, 1),
        (2.0, 10),
    ],
)
def test_as_many_frames_a_second_as_plans_have_rows_where_that_is_a_whole_number_up_to_a_hundred(period, frames):
    assert rows_a_second(replace(load_adapter("aloha"), period=period)) == frames


def test_without_a_policy_there_are_ten_frames_a_second():
    assert rows_a_second(None) == 10


def test_the_policy_yaml_that_is_named_counts_and_else_the_checkpoints_own(tmp_path):
    assert adapter_for("", "") is None
    assert adapter_for(str(tmp_path), "droid").name == "droid"
    assert adapter_for("ws://server:8000", "") is None
    assert adapter_for(str(tmp_path), "") is None
    (tmp_path / "config.json").write_text("{}")
    assert adapter_for(str(tmp_path), "") is None


def test_the_pictures_of_a_dataset_that_is_there_are_known_and_other_files_are_no_dataset(tmp_path):
    assert known_sizes(tmp_path / "none") == {} == known_sizes(tmp_path)
    (tmp_path / ".recording").mkdir()
    assert known_sizes(tmp_path) == {}
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(DataError, match="is not empty and holds no dataset"):
        known_sizes(tmp_path)


def test_what_is_noted_of_every_episode_is_the_robot_with_its_limits_and_the_policy():
    endless = replace(ROBOT.channels[0], limits=replace(ROBOT.channels[0].limits, lower=-math.inf, upper=math.inf))
    group = replace(ROBOT.groups[0], channels=(endless, *ROBOT.groups[0].channels[1:]))
    robot = replace(ROBOT, groups=(group, *ROBOT.groups[1:]))
    note = note_of(robot, "folder/a", load_adapter("droid"), "corrections")
    assert (note["robot"], note["checkpoint"], note["adapter"], note["mode"]) == (
        "mobile_bimanual", "folder/a", "droid", "corrections",
    )  # fmt: skip
    first, second = robot.channels[:2]
    assert note["limits"][first.name] == [None, None, first.limits.velocity]
    assert note["limits"][second.name] == [second.limits.lower, second.limits.upper, second.limits.velocity]
    assert set(note["versions"]) == {"pi0_ros", "av", "numpy"} and all(note["versions"].values())
    json.dumps(note, allow_nan=False)
    assert note_of(robot, "", None, "everything")["adapter"] == ""


class Client:
    """The process that writes; what it was started with."""

    def __init__(self, settings):
        self.settings, self.report = settings, SimpleNamespace(expected=4)


@pytest.fixture
def opening(tmp_path, monkeypatch):
    """What makes an opening for a robot whose cameras have pictures of `seen` sizes now."""
    monkeypatch.setattr(recording_opening, "RecordingClient", Client)

    def made(seen, required=()):
        cameras = tuple(replace(c, required=c.name in required) for c in ROBOT.cameras)
        robot = replace(ROBOT, cameras=cameras)
        return RecordingOpening(tmp_path / "new", 15, robot, lambda: seen, 7, 123_000)

    return made


NAMES = [c.name for c in ROBOT.cameras]
SIZES = {name: (120 + 20 * k, 160 + 40 * k) for k, name in enumerate(NAMES)}


def test_a_dataset_is_opened_once_every_camera_has_shown_its_pictures(opening):
    opened = opening(dict(SIZES)).open(50.0).settings
    assert (opened.fps, opened.robot, opened.lead, opened.min_free) == (15, "mobile_bimanual", 7, 123_000)
    assert opened.slots == 30  # 2 s of 15 frames a second
    shapes = {n: tuple(opened.features[f"observation.images.{n}"]["shape"]) for n in NAMES}
    assert shapes == {n: (*SIZES[n], 3) for n in NAMES}


@pytest.mark.parametrize(
    ("fps", "cameras", "slots"),
    [(10, 4, 20), (30, 3, 34), (30, 8, 24), (1, 1, 4)],  # 2 s · 96 MB · 0.8 s, though they are 177 MB · four, always
)
def test_frames_of_two_seconds_may_wait_for_the_encoder_unless_they_are_too_large(fps, cameras, slots):
    size = (224 * 224 if fps == 10 else 640 * 480) * 3 * cameras
    assert recording_opening.slots_for(fps, size) == slots


def test_a_camera_that_is_needed_is_waited_for_however_long_it_takes(opening):
    seen = dict(SIZES)
    del seen[NAMES[1]]
    begun = opening(seen, required=(NAMES[1],))
    topic = ROBOT.cameras[1].topic
    for at in (50.0, 53.0, 99.0):
        assert begun.open(at) == f"camera {NAMES[1]}: no picture yet on {topic}"
    seen[NAMES[1]] = SIZES[NAMES[1]]
    assert isinstance(begun.open(100.0), Client)


def test_one_that_may_be_missing_is_waited_for_two_seconds_after_the_first_picture_and_is_as_large_as_another(opening):
    seen = {}
    begun = opening(seen)
    assert begun.open(50.0) == f"camera {NAMES[0]}: no picture yet on {ROBOT.cameras[0].topic}"
    seen[NAMES[1]] = SIZES[NAMES[1]]
    for at in (60.0, 61.0, 61.99):
        assert begun.open(at) == f"camera {NAMES[0]}: no picture yet on {ROBOT.cameras[0].topic}"
    features = begun.open(62.0).settings.features
    assert tuple(features[f"observation.images.{NAMES[0]}"]["shape"]) == (*SIZES[NAMES[1]], 3)


def test_the_sizes_of_a_datasets_pictures_are_height_and_width_by_camera(tmp_path, monkeypatch):
    videos = {f"observation.images.{name}": shape for name, shape in (("eye", [48, 64, 3]), ("hand", [32, 16, 3]))}
    features = {key: {"dtype": "video", "shape": shape} for key, shape in videos.items()}
    features["action"] = {"dtype": "float32", "shape": [7]}
    (tmp_path / "meta").mkdir()
    (tmp_path / "meta" / "info.json").write_text("{}")
    monkeypatch.setattr(recording_opening, "checked_info", lambda file: {"features": features})
    assert known_sizes(tmp_path) == {"eye": (48, 64), "hand": (32, 16)}


def test_a_folder_is_made_with_those_above_it_and_one_that_is_there_is_used(tmp_path):
    deep = tmp_path / "a" / "b" / "set"
    check_writable(deep)
    assert deep.parent.is_dir() and not deep.exists() and not list(deep.parent.iterdir())
    deep.mkdir()
    for _ in range(2):
        check_writable(deep)
    assert not list(deep.iterdir())


def test_a_folder_that_cannot_be_made_is_named_with_the_reason(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=f"parameter folder: {tmp_path}/file/a cannot be written: Not a directory"):
        check_writable(tmp_path / "file" / "a" / "set")
