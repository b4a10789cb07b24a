"""One executor for a robot on a machine."""

import subprocess
import sys

import pytest

from pi0_ros.ros.robot_lock import LINUX, RobotLock, RobotLockError

pytestmark = pytest.mark.skipif(not LINUX, reason="needs the abstract socket namespace of Linux")

HOLDS = "import sys; from pi0_ros.ros.robot_lock import RobotLock; lock = RobotLock('arm', '/left'); print('held', flush=True); input()"


@pytest.fixture(autouse=True)
def own_domain(monkeypatch):
    monkeypatch.setenv("ROS_DOMAIN_ID", "199")


@pytest.fixture
def holder():
    with subprocess.Popen(
        [sys.executable, "-c", HOLDS], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_a_second_one_is_refused_and_told_who_has_it(holder):
    with pytest.raises(RobotLockError, match=f"arm has an executor on this machine already: process {holder.pid} "):
        RobotLock("arm", "/left")


@pytest.mark.parametrize("namespace", ["left", "/left", "/left/"])
def test_a_namespace_is_the_same_however_it_is_written(holder, namespace):
    with pytest.raises(RobotLockError):
        RobotLock("arm", namespace)


def test_another_robot_another_namespace_and_another_domain_are_free(holder, monkeypatch):
    for robot, namespace in (("arm", "/right"), ("legs", "/left"), ("arm", "/")):
        RobotLock(robot, namespace).release()
    monkeypatch.setenv("ROS_DOMAIN_ID", "198")
    RobotLock("arm", "/left").release()


def test_a_process_that_was_killed_holds_nothing(holder):
    holder.kill()
    holder.wait()
    RobotLock("arm", "/left").release()


def test_it_can_be_had_again_once_released():
    for _ in range(3):
        lock = RobotLock("arm", "/left")
        lock.release()
        lock.release()
