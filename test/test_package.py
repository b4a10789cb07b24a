"""The package as ROS, pip and a fresh machine see it."""

import ast
import importlib.util
import os
import re
import subprocess
import sys
import xml.etree.ElementTree as xml
from pathlib import Path

import pytest

from pi0_ros import bringup

ROOT = Path(__file__).resolve().parent.parent
PARTS = ("base", "ros", "test", "docs")
ROS_PACKAGE = re.compile(r"^(\w+_msgs|std_srvs|builtin_interfaces|rclpy|tf_transformations)$")


def load_script(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


setup_env = load_script("setup_env")


def test_every_ros_package_that_is_imported_is_declared():
    declared = {element.text for element in xml.parse(ROOT / "package.xml").getroot() if "depend" in element.tag}
    for file in (ROOT / "pi0_ros").rglob("*.py"):
        for module in imported_modules(file):
            assert not ROS_PACKAGE.match(module) or module in declared, f"{file.name} imports {module}: package.xml"


def imported_modules(file):
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node.module.partition(".")[0]


def test_pip_and_ros_read_the_same_version():
    told = subprocess.run(
        [sys.executable, "setup.py", "--version"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert told.stdout.split()[-1] == xml.parse(ROOT / "package.xml").findtext("version")


def test_no_source_folder_takes_a_name_that_generated_messages_own():
    assert not [name for name in ("msg", "srv", "action") if (ROOT / "pi0_ros" / name).exists()]


# The locks


def pins(part):
    lines = (ROOT / "requirements" / f"{part}.lock").read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


@pytest.mark.parametrize("part", PARTS)
def test_everything_is_locked_to_one_version(part):
    assert pins(part)
    assert [pin for pin in pins(part) if not re.fullmatch(r"[a-z0-9.-]+==[0-9][0-9a-z.]*", pin)] == []


def test_no_package_is_locked_twice():
    names = [pin.partition("==")[0] for part in PARTS for pin in pins(part)]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("part", PARTS)
def test_everything_that_is_asked_for_is_locked(part):
    locked = {pin.partition("==")[0] for known in PARTS[: PARTS.index(part) + 1] for pin in pins(known)}
    lines = (ROOT / "requirements" / f"{part}.in").read_text(encoding="utf-8").splitlines()
    asked = {re.split(r"[=<>]", line)[0].lower() for line in lines if line and not line.startswith("#")}
    # What the test tools need may be locked with the ROS wheels, which need pytest as well.
    assert asked - locked == set()


# What `make setup` built


@pytest.fixture
def installed():
    """The prefix that `make setup` installed the ROS package into."""
    pytest.importorskip("rclpy")
    ament = pytest.importorskip("ament_index_python")
    return Path(ament.get_package_prefix("pi0_ros"))


def test_every_node_of_the_list_is_installed_as_a_program(installed):
    given = [{"sim": "true", "task": "wave", **more} for more in ({}, {"high_level": "false"}, {"policy": "none"})]
    for executable in {node.executable for settings in given for node in bringup.nodes(settings)}:
        assert os.access(installed / "lib" / "pi0_ros" / executable, os.X_OK), executable


@pytest.mark.parametrize("file", ["config/robots/mobile_bimanual.yaml", "launch/bimanual.launch.py",
                                  "urdf/mobile_bimanual.urdf.xacro", "checkpoints/pi05_reach_tiny/model.safetensors",
                                  "msg/ActionChunk.msg", "package.xml"])  # fmt: skip
def test_what_a_robot_computer_needs_is_in_the_share_folder(installed, file):
    assert (installed / "share" / "pi0_ros" / file).is_file()


def test_messages_and_modules_share_one_name(installed):
    from pi0_ros.msg import ActionChunk, ExecutorState
    from rclpy.serialization import deserialize_message, serialize_message

    from pi0_ros.robot import Robot

    chunk = ActionChunk(epoch=3, channels=["lift"], values=[0.25, 0.5], subtask="wave")
    assert deserialize_message(serialize_message(chunk), ActionChunk) == chunk
    modes = (ExecutorState.HOLD, ExecutorState.TELEOP, ExecutorState.AUTONOMY, ExecutorState.STOPPED)
    assert modes == (0, 1, 2, 3)
    assert Robot.__module__.startswith("pi0_ros.robot")


def test_the_message_libraries_are_found_without_sourcing_anything(installed):
    clean = {name: value for name, value in os.environ.items() if "PATH" not in name and not name.startswith("_ROS")}
    code = (
        "from pi0_ros.msg import ActionChunk; from rclpy.serialization import serialize_message as s; s(ActionChunk())"
    )
    env = {**clean, "PATH": os.defpath}
    done = subprocess.run([sys.executable, "-c", code], cwd="/", env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


# The set-up itself


def test_setup_says_in_one_sentence_which_python_it_needs():
    env = {**os.environ, "PYTHON": "/nowhere/python"}
    done = subprocess.run(["sh", "scripts/setup.sh"], cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert "apt install python3.11" in done.stderr


def test_setup_names_the_package_for_each_thing_that_is_missing(monkeypatch):
    monkeypatch.delenv("ROS_DISTRO", raising=False)
    monkeypatch.setattr(setup_env.shutil, "which", lambda *_, **__: None)
    monkeypatch.setattr(setup_env, "module_exists", lambda _: False)
    told = list(setup_env.missing_here())
    assert any("sudo apt install g++" in line for line in told)
    assert any("-venv" in line for line in told)


def test_a_sourced_ros_that_this_python_cannot_use_is_named(monkeypatch):
    monkeypatch.setenv("ROS_DISTRO", "jazzy")
    monkeypatch.setattr(setup_env, "module_exists", lambda name: name not in ("rclpy", "cv2"))
    monkeypatch.setattr(setup_env.shutil, "which", lambda name, **_: None if name == "colcon" else name)
    told = list(setup_env.missing_here())
    assert any("ROS_DISTRO is jazzy" in line and "rclpy" in line for line in told)
    assert any("python3-colcon-common-extensions" in line for line in told)
    assert any("sudo apt install python3-opencv" in line for line in told)


def test_a_sourced_ros_keeps_its_numpy_and_gets_no_wheels_of_ros(monkeypatch, tmp_path):
    monkeypatch.setenv("ROS_DISTRO", "jazzy")
    monkeypatch.setattr(setup_env, "VENV", tmp_path)
    wanted, constraints = (Path(word) for word in setup_env.requirement_words("base")[1::2])
    names = {re.split(r"[=<>]", line)[0] for line in wanted.read_text().splitlines()}
    assert "torch" in names
    assert not names & set(setup_env.FROM_ROS)
    assert not [name for name in names if name.startswith("ros-")]
    assert "torch==" in constraints.read_text()
    assert "numpy==" not in constraints.read_text()


def test_a_change_of_a_lock_or_a_message_is_noticed(tmp_path):
    message = tmp_path / "msg" / "A.msg"
    message.parent.mkdir()
    message.write_text("bool a")
    before = setup_env.key("same", message.parent)
    assert setup_env.key("same", message.parent) == before
    message.write_text("bool b")
    assert setup_env.key("same", message.parent) != before
    assert setup_env.key("other", message.parent) != setup_env.key("same", message.parent)


def test_a_command_that_fails_is_told_with_the_end_of_what_it_printed():
    with pytest.raises(setup_env.SetupError, match="(?s)no space left.*exit code 4"):
        setup_env.follow([sys.executable, "-c", "print('no space left'); raise SystemExit(4)"])


def test_paths_of_the_machine_that_built_the_wheels_are_replaced(monkeypatch, tmp_path):
    file = tmp_path / "share" / "rosidl" / "export.cmake"
    file.parent.mkdir(parents=True)
    built = "/opt/python/cp311-cp311"
    numpy = f"{built}/lib/python3.11/site-packages/numpy/_core/include"
    file.write_text(f'set(INCLUDES "{built}/include/python3.11;{numpy};/usr/include")')
    monkeypatch.setattr(setup_env, "VENV", tmp_path)
    setup_env.mend_wheels()
    mended = file.read_text()
    assert "/opt/python" not in mended
    assert str(setup_env.site_packages() / "numpy") in mended
    assert ";/usr/include" in mended
