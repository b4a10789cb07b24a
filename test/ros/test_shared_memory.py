import fcntl
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pi0_ros.ros.shared_memory import NEW, SHM, free_bytes, remove_leftovers

DEAD, LIVING, FRESH, PORT = (
    "fastrtps_00000000000000aa",
    "fastrtps_00000000000000bb",
    "fastrtps_00000000000000cc",
    "fastrtps_port7410",
)
PARTICIPANT = """
import rclpy, sys
rclpy.init()
node = rclpy.create_node("participant")
print("ready", flush=True)
sys.stdin.read()
"""


def test_the_free_bytes_are_what_the_file_system_says(tmp_path):
    there = os.statvfs(tmp_path).f_bavail * os.statvfs(tmp_path).f_frsize
    assert abs(free_bytes(tmp_path) - there) < 0.2 * there
    assert free_bytes(tmp_path / "none") is None


def test_only_old_segments_that_nobody_has_locked_are_removed(tmp_path):
    now = time.time()
    for name, age, size in ((DEAD, 11.0, 500), (LIVING, 11.0, 600), (FRESH, 9.0, 700), (PORT, 11.0, 800)):
        (tmp_path / name).write_bytes(bytes(size))
        (tmp_path / f"{name}_el").touch()
        os.utime(tmp_path / f"{name}_el", (now - age, now - age))
    (tmp_path / "somebody_elses").write_bytes(bytes(900))
    with (tmp_path / f"{LIVING}_el").open() as alive:
        fcntl.flock(alive, fcntl.LOCK_EX)
        assert remove_leftovers(tmp_path, now) == 500
        gone = {DEAD, f"{DEAD}_el"}
        kept = {name for each in (LIVING, FRESH, PORT) for name in (each, f"{each}_el")} | {"somebody_elses"}
        there = {file.name for file in tmp_path.iterdir()}
        assert there == kept and not there & gone
    assert remove_leftovers(tmp_path / "none") == 0


def test_another_users_segment_stays(tmp_path, monkeypatch):
    for name in (DEAD, f"{DEAD}_el"):
        (tmp_path / name).write_bytes(b"1")
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    assert remove_leftovers(tmp_path, time.time() + 2 * NEW) == 0
    assert (tmp_path / DEAD).exists()


@pytest.mark.skipif(not SHM.is_dir(), reason="needs /dev/shm")
def test_a_killed_participants_segment_is_removed_and_a_living_ones_is_not():
    pytest.importorskip("rclpy")
    words = [sys.executable, "-c", PARTICIPANT]
    env = dict(os.environ)
    for name in ("FASTDDS_BUILTIN_TRANSPORTS", "FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE"):
        env.pop(name, None)
    started = [
        subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env) for _ in range(2)
    ]
    try:
        assert [process.stdout.readline() for process in started] == ["ready\n", "ready\n"]
        dead, living = (_segments(process.pid) for process in started)
        if not dead or not living:
            pytest.skip("this ROS does not use Fast DDS's shared memory")
        started[0].send_signal(signal.SIGKILL)
        started[0].wait(60.0)
        assert all(segment.exists() for segment in dead | living)
        assert remove_leftovers(now=time.time() + 2 * NEW) >= 500_000
        assert not any(segment.exists() for segment in dead - living)
        assert all(segment.exists() for segment in living)
    finally:
        for process in started:
            process.kill()
            process.wait(60.0)


def _segments(number):
    """The Fast DDS segments that a process has made: of those it maps, the ones that it has locked."""
    mapped = set(re.findall(r"/dev/shm/fastrtps_[0-9a-f]{16}\b", Path(f"/proc/{number}/maps").read_text()))
    locks = {os.path.realpath(f"/proc/{number}/fd/{n}") for n in os.listdir(f"/proc/{number}/fd")}
    return {Path(segment) for segment in mapped if f"{segment}_el" in locks}


def test_looking_for_leftovers_leaves_no_file_open(tmp_path):
    for name in (DEAD, LIVING):
        (tmp_path / name).write_bytes(b"1")
        (tmp_path / f"{name}_el").touch()
        os.utime(tmp_path / f"{name}_el", (0, 0))
    before = len(os.listdir("/proc/self/fd"))
    assert remove_leftovers(tmp_path) == 2
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_segment_without_its_memory_and_a_link_to_somebody_elses_are_no_reason_to_stop(tmp_path):
    (tmp_path / "precious").write_bytes(bytes(5000))
    (tmp_path / f"{FRESH}_el").symlink_to(tmp_path / "precious")  # the lock is a link: it is not even opened
    (tmp_path / DEAD).symlink_to(tmp_path / "precious")
    (tmp_path / LIVING).write_bytes(bytes(600))
    for name in (DEAD, LIVING, "fastrtps_00000000000000dd"):
        (tmp_path / f"{name}_el").touch()
    size = len(str(tmp_path / "precious"))
    assert remove_leftovers(tmp_path, time.time() + 11.0) == 600 + size
    assert {file.name for file in tmp_path.iterdir()} == {"precious", f"{FRESH}_el"}
