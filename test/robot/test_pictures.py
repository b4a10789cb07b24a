"""The picture keys of a camera in the robot YAML."""

import pytest
from test_loader import GOOD, URDF

from pi0_ros.robot import RobotError, load_robot
from pi0_ros.robot.pictures import PictureOptions


@pytest.fixture
def load(tmp_path):
    def load(keys):
        (tmp_path / "small.urdf").write_text(URDF)
        file = tmp_path / "small.yaml"
        file.write_text(GOOD.replace("max_age: 0.25}", f"max_age: 0.25, {keys}}}"))
        return load_robot(file).cameras[0].options

    return load


def test_a_camera_says_how_its_pictures_are_read_and_turned(load):
    options = load("encoding: bgr8, bits: 12, rotate: 270, flip: vertical, crop: [10, 20, 300, 200]")
    assert options == PictureOptions("bgr8", 12, 270, "vertical", (10, 20, 300, 200))
    assert load("required: true") == PictureOptions()


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ("encoding: 8UC3", "front.encoding: must be one of rgb8, bgr8"),
        ("bits: 8", "front.bits: must be one of 9, 10, 11, 12"),
        ("bits: 12.5", "front.bits: must be one of 9"),
        ("rotate: 45", "front.rotate: must be one of 0, 90, 180, 270, not 45"),
        ("rotate: -90", "front.rotate: must be one of 0, 90, 180, 270, not -90"),
        ("flip: diagonal", "front.flip: must be one of horizontal, vertical, both"),
        ("crop: [0, 0, 640]", "front.crop: needs [x, y, width, height] in pixels, and has 3 numbers"),
        ("crop: [0, 0, 640, 0]", "front.crop[3]: must be a whole number from 1 on, not 0"),
        ("crop: [-1, 0, 640, 480]", "front.crop[0]: must be a whole number from 0 on, not -1"),
        ("crop: [0, 0.5, 640, 480]", "front.crop[1]: must be a whole number from 0 on, not 0.5"),
    ],
)
def test_a_mistake_in_them_is_named(load, keys, words):
    with pytest.raises(RobotError) as problem:
        load(keys)
    assert words in str(problem.value) and "small.yaml:4: cameras." in str(problem.value)
