"""The thread that writes black boxes outlives whatever goes wrong with one of them."""

import sys
import threading

import numpy as np
import pytest

pytest.importorskip("rclpy")

from pi0_ros.control import Record
from pi0_ros.ros.black_box_writer import BlackBoxWriter

NAMES = ("a", "b")
RECORDS = [Record(1.0, 100.0, "command", (100.0, np.array([0.5, 0.6])), 16)]


class Told:
    """What the writer says, and a way to wait for it."""

    def __init__(self):
        self.changed, self.files, self.failures = threading.Condition(), [], []

    def note(self, kept):
        def keep(what):
            with self.changed:
                kept.append(what)
                self.changed.notify_all()

        return keep

    def wait(self, condition):
        with self.changed:
            assert self.changed.wait_for(condition, 30.0), (self.files, self.failures)


@pytest.fixture
def told():
    return Told()


def writer(folder, told):
    return BlackBoxWriter(folder, NAMES, told.note(told.files), told.note(told.failures))


def test_without_mcap_it_says_what_to_install_and_the_next_box_is_written_once_it_is_there(tmp_path, told, monkeypatch):
    made = writer(tmp_path, told)
    with monkeypatch.context() as without:
        without.setitem(sys.modules, "mcap.writer", None)
        made.save(RECORDS, "first")
        told.wait(lambda: told.failures)
    (failure,) = told.failures
    assert failure.startswith("the black box could not be written: the Python module mcap is missing")
    assert "pip install mcap mcap-ros2-support" in failure
    assert made.last_failure == told.failures[0] and made.failures == 1
    made.save(RECORDS, "second")
    told.wait(lambda: told.files)
    assert made.close(30.0) and made.files == 1 and made.last_failure == ""
    assert [f.name for f in tmp_path.glob("*.mcap")] == ["100.000_second.mcap"]


def test_a_folder_that_cannot_be_written_and_records_that_are_none_are_said_and_survived(tmp_path, told):
    (tmp_path / "file").touch()
    made = writer(tmp_path / "file" / "box", told)
    made.save(RECORDS, "first")
    told.wait(lambda: len(told.failures) == 1)
    (tmp_path / "file").unlink()
    made.save([None], "second")
    told.wait(lambda: len(told.failures) == 2)
    assert told.failures[0].startswith("the black box could not be written: ")
    assert "AttributeError" in told.failures[1]
    assert made.close(30.0) and made.failures == 2
