"""What of the environment keeps ROS from starting."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pi0_ros.ros import environment
from pi0_ros.ros.environment import UnusableEnvironment, check_environment, middlewares


@pytest.fixture
def prefix(tmp_path):
    index = tmp_path / "ros" / "share" / "ament_index" / "resource_index" / "rmw_typesupport"
    index.mkdir(parents=True)
    for name in ("rmw_fastrtps_cpp", "rmw_implementation", "rmw_zenoh_cpp"):
        (index / name).touch()
    return {"AMENT_PREFIX_PATH": f"/no/such:{tmp_path / 'ros'}", "HOME": str(tmp_path)}


def test_the_middlewares_of_the_sourced_prefixes_are_found(prefix):
    assert middlewares(prefix) == ("rmw_fastrtps_cpp", "rmw_zenoh_cpp")


def test_what_ros_starts_with_is_let_pass(prefix):
    for more in ({}, {"ROS_DOMAIN_ID": "0"}, {"ROS_DOMAIN_ID": "232"}, {"RMW_IMPLEMENTATION": "rmw_zenoh_cpp"}):
        check_environment({**prefix, **more})


def test_where_no_index_says_what_is_there_the_middleware_is_left_to_ros(tmp_path):
    check_environment({"HOME": str(tmp_path), "RMW_IMPLEMENTATION": "rmw_cyclonedds_cpp"})


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"ROS_DOMAIN_ID": "233"}, "0 to 232"),
        ({"ROS_DOMAIN_ID": "-1"}, "0 to 232"),
        ({"RMW_IMPLEMENTATION": "rmw_cyclonedds_cpp"}, "there is rmw_fastrtps_cpp, rmw_zenoh_cpp"),
        ({"ROS_LOG_DIR": "/proc/nowhere/log"}, "ROS cannot write its log into /proc/nowhere/log"),
        ({"HOME": ""}, "HOME is not set"),
    ],
)
def test_what_it_does_not_start_with_is_named(prefix, more, told):
    with pytest.raises(UnusableEnvironment, match=told):
        check_environment({**prefix, **more})


def test_a_full_shared_memory_is_one_sentence_with_the_way_out(monkeypatch, prefix):
    """Where it is full, libraries under ROS end the process with SIGBUS and not a word."""
    monkeypatch.setattr(environment, "free_bytes", lambda: 500_000)
    with pytest.raises(UnusableEnvironment, match=r"/dev/shm has 0.5 MB free.*end what fills it.*--shm-size"):
        check_environment(prefix)
    for enough in (8_000_000, None):
        monkeypatch.setattr(environment, "free_bytes", lambda free=enough: free)
        check_environment(prefix)


@pytest.mark.parametrize(
    "words",
    [
        ["-m", "pi0_ros.nodes.executor"],
        *(["-m", "pi0_ros.cli", *command] for command in (["state"], ["call", "hold"], ["task", "x"])),
    ],
)
def test_it_is_refused_before_anything_of_ros_is_loaded(words):
    """Where /dev/shm is full, loading rclpy is enough to be ended by SIGBUS."""
    spy = (
        "import runpy, sys\n"
        "class Spy:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name == 'rclpy': print('rclpy is loaded', file=sys.stderr)\n"
        "sys.meta_path.insert(0, Spy()); words = sys.argv[2:]; sys.argv = ['-m'] if words[0].startswith('pi0_ros.nodes') else words\n"
        "runpy.run_module(words[0], run_name='__main__')"
    )
    outside = {**os.environ, "ROS_DOMAIN_ID": "none"}
    done = subprocess.run(
        [sys.executable, "-c", spy, *words], capture_output=True, text=True, check=False, env=outside, timeout=300
    )
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1 and "ROS_DOMAIN_ID must be a number from 0 to 232" in done.stderr


def test_what_killed_processes_have_left_is_removed_before_the_room_is_measured(monkeypatch, prefix):
    steps = []
    monkeypatch.setattr(environment, "remove_leftovers", lambda: steps.append("remove"))
    monkeypatch.setattr(environment, "free_bytes", lambda: steps.append("measure"))
    check_environment(prefix)
    assert steps == ["remove", "measure"]


def test_a_program_that_ros_cannot_start_in_ends_with_one_line(monkeypatch, capsys):
    monkeypatch.setattr(environment, "check_environment", lambda: None)
    environment.leave_where_ros_cannot_start()

    def refuse():
        raise UnusableEnvironment("no room")

    monkeypatch.setattr(environment, "check_environment", refuse)
    with pytest.raises(SystemExit) as end:
        environment.leave_where_ros_cannot_start()
    assert end.value.code == 1 and capsys.readouterr().err == "error: no room\n"


@pytest.mark.parametrize(
    ("given", "below"),
    [
        ({"ROS_LOG_DIR": "a", "ROS_HOME": "b", "HOME": "c"}, "a"),
        ({"ROS_HOME": "b", "HOME": "c"}, "b/log"),
        ({"HOME": "c"}, "c/.ros/log"),
    ],
)
def test_the_folder_of_the_log_is_the_one_that_ros_takes(tmp_path, given, below):
    check_environment({name: str(tmp_path / folder) for name, folder in given.items()})
    assert [str(f.relative_to(tmp_path)) for f in tmp_path.rglob("*") if not any(f.iterdir())] == [below]


def test_middlewares_are_named_by_the_alphabet(tmp_path):
    index = Path("share", "ament_index", "resource_index", "rmw_typesupport")
    for place, names in (("one", "fcb"), ("two", "age"), ("three", "d")):
        (tmp_path / place / index).mkdir(parents=True)
        for name in names:
            (tmp_path / place / index / name).touch()
    path = os.pathsep.join(str(tmp_path / place) for place in ("one", "two", "three"))
    assert middlewares({"AMENT_PREFIX_PATH": path}) == tuple("abcdefg") and middlewares({}) == ()
