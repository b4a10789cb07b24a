"""The executor's black box between the control thread's memory and the files."""

import os
from types import SimpleNamespace

import numpy as np
import pytest

os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
rclpy = pytest.importorskip("rclpy")

from pi0_ros.control import BlackBox
from pi0_ros.data.blackbox_file import Keep
from pi0_ros.robot import load_robot
from pi0_ros.ros.executor_black_box import ExecutorBlackBox
from pi0_ros.ros.lifecycle import ManagedNode

PATIENCE = 60.0
ROBOT = load_robot("mobile_bimanual")


@pytest.fixture
def node():
    rclpy.init(domain_id=1 + os.getpid() % 100)
    made = ManagedNode("executor")
    yield made
    made.destroy_node()
    rclpy.shutdown()


@pytest.fixture
def memory():
    """What a control thread remembers: one command."""
    box = BlackBox()
    box.add(1.0, 100.0, "command", (100.0, np.arange(len(ROBOT.channels), dtype=float)), 8)
    return box


@pytest.fixture
def control(memory):
    return SimpleNamespace(core=SimpleNamespace(blackbox=memory), post=lambda note: note(2.0, 101.0))


def parameters(place, pictures=0.0):
    return SimpleNamespace(black_box=str(place), black_box_gb=0.5, black_box_days=3.0, picture_period=pictures)


def test_a_file_with_the_robots_name_is_written_on_request_and_none_after_the_end(node, control, tmp_path):
    box = ExecutorBlackBox(node, ROBOT, parameters(tmp_path))
    (thread,) = box.start(control)
    box.save("a fault")
    box.stop(PATIENCE)
    box.save("too late")
    assert not thread.alive
    (file,) = tmp_path.rglob("*.mcap")
    assert file.parent == tmp_path / ROBOT.name and box.failure == ""


def test_what_is_remembered_and_what_was_written_is_told(node, control, memory, tmp_path):
    box = ExecutorBlackBox(node, ROBOT, parameters(tmp_path))
    box.start(control)
    memory.add(1.5, 100.5, "picture", ("base", 100.5, b"jpeg"), 3_000_000)
    values = box.values()
    assert values["black_box_mb"] == pytest.approx(memory.size / 1e6) and values["black_box_mb"] > 3.0
    assert (values["black_box_files"], values["black_box_failures"], values["black_box_pictures"]) == (0, 0, 0)
    box.stop(PATIENCE)


def test_without_a_folder_nothing_is_written_and_nothing_is_wrong(node, control, tmp_path):
    box = ExecutorBlackBox(node, ROBOT, parameters("", pictures=2.0))
    assert box.start(control) == []
    box.save("a fault")
    box.stop(PATIENCE)
    box.close()
    assert box.failure == "" and "black_box_files" not in box.values() and not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written_is_a_failure_before_any_fault(node, tmp_path):
    file = tmp_path / "file"
    file.write_text("no folder")
    failure = ExecutorBlackBox(node, ROBOT, parameters(file)).failure
    assert failure.startswith("parameter black_box: ") and str(file) in failure


def test_pictures_are_taken_only_while_a_control_thread_runs(node, control, memory, tmp_path):
    box = ExecutorBlackBox(node, ROBOT, parameters(tmp_path, pictures=60.0))
    writer, thumbnails = box.start(control)
    assert (writer.name, thumbnails.name) == ("black box", "thumbnails") and thumbnails.alive
    box.stop(PATIENCE)
    box.close()
    assert not thumbnails.alive and [r.kind for r in memory.snapshot()] == ["command"]


def test_files_are_kept_as_the_parameters_say_and_a_picture_without_a_stamp_is_of_now(node, control, memory, tmp_path):
    box = ExecutorBlackBox(node, ROBOT, parameters(tmp_path))
    assert box._keep == Keep(bytes=500_000_000, days=3.0)
    box._add_picture("base", 99.5, b"early")
    assert len(memory.snapshot()) == 1, "before the control thread runs"
    box.start(control)
    box._add_picture("base", 99.5, b"one")
    box._add_picture("wrist", 0.0, b"four")
    assert [(r.steady, r.ros, r.kind, r.data) for r in memory.snapshot()[1:]] == [
        (2.0, 101.0, "picture", ("base", 99.5, b"one")), (2.0, 101.0, "picture", ("wrist", 101.0, b"four")),
    ]  # fmt: skip
    box._writer.last_failure = "no room"
    assert box.failure == "no room"
    box.stop(PATIENCE)
    assert box.failure == ""


def test_that_no_file_can_be_written_is_logged(node, tmp_path, capfd):
    (tmp_path / "file").write_text("no folder")
    ExecutorBlackBox(node, ROBOT, parameters(tmp_path / "file"))
    assert "parameter black_box" in capfd.readouterr().err
