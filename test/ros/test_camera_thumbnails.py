"""Pictures for the black box: few, small, and without waking anybody for the others."""

import threading

import numpy as np
import pytest

rclpy = pytest.importorskip("rclpy")

from sensor_msgs.msg import CompressedImage, Image

from pi0_ros.robot.spec import Camera
from pi0_ros.ros.camera_thumbnails import CameraThumbnails
from pi0_ros.ros.clock import time_message
from pi0_ros.ros.images import compressed_message, decode_picture, image_message
from pi0_ros.ros.polled_subscriptions import PolledGroup
from pi0_ros.ros.qos import SENSOR
from pi0_ros.ros.run import Spinner

PATIENCE = 60.0
CAMERAS = (Camera("wide", "wide/image", "image", 1.0), Camera("small", "small/image", "compressed_image", 1.0))


class Album:
    """Keeps what it is given, and lets tests wait for it."""

    def __init__(self):
        self.changed, self.kept = threading.Condition(), {camera.name: [] for camera in CAMERAS}

    def keep(self, camera, stamp, jpeg):
        with self.changed:
            self.kept[camera].append((stamp, jpeg))
            self.changed.notify_all()

    def wait(self, condition):
        with self.changed:
            assert self.changed.wait_for(condition, PATIENCE), {name: len(kept) for name, kept in self.kept.items()}


@pytest.fixture
def node():
    rclpy.init()
    made, spinner = rclpy.create_node("cameras"), Spinner()
    spinner.add(made)
    spinner.start()
    yield made
    assert spinner.stop(PATIENCE)
    made.destroy_node()
    rclpy.shutdown()


@pytest.fixture
def cameras(node):
    """Two cameras at 50 Hz whose pictures are as bright as their number; `spoil` changes messages."""
    wide, small = (
        node.create_publisher(Image, "wide/image", SENSOR),
        node.create_publisher(CompressedImage, "small/image", SENSOR),
    )
    state = {"number": 0, "spoil": lambda message: message}

    def look():
        state["number"] += 1
        stamp = time_message(float(state["number"]))
        picture = np.full((480, 640, 3), state["number"] % 200, np.uint8)
        wide.publish(state["spoil"](image_message(picture, stamp)))
        small.publish(compressed_message(picture[:60, :80], stamp))

    node.create_timer(0.02, look)
    return state


def test_every_camera_is_taken_now_and_then_small_with_the_stamp_of_its_picture(node, cameras):
    album = Album()
    snapshots = CameraThumbnails(node, CAMERAS, 0.4, album.keep)
    snapshots.start()
    album.wait(lambda: all(len(kept) > 2 for kept in album.kept.values()))
    snapshots.close()
    for name, shape in (("wide", (240, 320, 3)), ("small", (60, 80, 3))):
        stamps = [stamp for stamp, _ in album.kept[name]]
        assert stamps == sorted(set(stamps))
        # Of many pictures few are taken.
        assert stamps[-1] - stamps[0] > 2 * len(stamps)
        for stamp, jpeg in album.kept[name]:
            picture = decode_picture(CompressedImage(format="jpeg", data=jpeg))
            assert picture.shape == shape and len(jpeg) < 40_000
            assert abs(float(picture.mean()) - stamp % 200) < 3.0
    assert snapshots.taken == sum(len(kept) for kept in album.kept.values())


def test_nobody_is_woken_for_a_picture(node, cameras):
    snapshots = CameraThumbnails(node, CAMERAS, 0.4, lambda *_: None)
    mine = [s for s in node.subscriptions if isinstance(s.callback_group, PolledGroup)]
    assert len(mine) == 2 and not any(s.callback_group.can_execute(s) for s in mine)
    snapshots.close()
    assert not [s for s in node.subscriptions if isinstance(s.callback_group, PolledGroup)]


def test_a_picture_that_cannot_be_read_is_left_out_and_the_next_ones_are_taken(node, cameras):
    def spoiled(message):
        message.encoding = "32FC7"
        return message

    cameras["spoil"] = spoiled
    album = Album()
    snapshots = CameraThumbnails(node, CAMERAS, 0.2, album.keep)
    snapshots.start()
    album.wait(lambda: len(album.kept["small"]) > 3)
    assert not album.kept["wide"] and "32FC7" in snapshots.refused["wide"] and "small" not in snapshots.refused
    cameras["spoil"] = lambda message: message
    album.wait(lambda: album.kept["wide"])
    assert not snapshots.refused
    snapshots.close()


def test_closing_does_not_wait_for_the_next_picture(node):
    album = Album()
    snapshots = CameraThumbnails(node, CAMERAS, 3600.0, album.keep)
    snapshots.start()
    thread = snapshots.thread
    snapshots.close()
    assert not thread.alive and not album.kept["wide"]
