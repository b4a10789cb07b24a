"""`pi0 up`: the nodes of the list, supervised."""

import os
import shlex
import signal
import subprocess
import sys

import pytest

from pi0_ros import bringup, cli
from pi0_ros.robot.resources import share

PATIENCE = 120.0


def test_what_would_run_can_be_shown(capsys):
    assert cli.main(["up", "--print", "sim:=true", "task:=touch the red block"]) == 0
    lines = capsys.readouterr().out.splitlines()
    expected = [bringup.command(n) for n in bringup.nodes({"sim": "true", "task": "touch the red block"})]
    assert [shlex.split(line) for line in lines] == expected


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("chekpoint:=x", "pi0: there is no argument chekpoint; did you mean checkpoint?\n"),
        ("sim", "pi0: 'sim' is not of the form name:=value; did you mean sim?\n"),
        ("autostart:=maybe", "pi0: autostart:=maybe is not possible; choose from true, false\n"),
    ],
)
def test_an_argument_that_does_not_exist_is_one_sentence_and_nothing_starts(word, told, capsys):
    assert cli.main(["up", word]) == 1
    assert capsys.readouterr() == ("", told)


def test_help_lists_every_argument_with_its_default_and_choices(capsys):
    with pytest.raises(SystemExit):
        cli.main(["up", "--help"])
    shown = capsys.readouterr().out
    for argument in bringup.ARGUMENTS:
        assert argument.name in shown
        assert argument.description in shown
        assert "|".join(argument.choices) in shown


def start(*words):
    env = {**os.environ, "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"}
    return subprocess.Popen(
        [sys.executable, "-u", "-m", "pi0_ros.cli", "up", *words],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=env,
    )  # fmt: skip


def test_the_executor_comes_up_and_ctrl_c_ends_it_with_success():
    pytest.importorskip("rclpy")
    with start("policy:=none", "robot:=mobile_bimanual", "namespace:=up_test") as process:
        shown = next(line for line in process.stdout if "[up_test.executor]" in line)
        process.send_signal(signal.SIGINT)
        rest, _ = process.communicate(timeout=PATIENCE)
    assert shown.startswith("[executor] ")
    assert process.returncode == 0, shown + rest


def test_a_robot_that_does_not_exist_is_one_sentence_and_nothing_starts(capsys):
    pytest.importorskip("rclpy")
    assert cli.main(["up", "policy:=none", "robot:=robby"]) == 1
    said = capsys.readouterr()
    assert said.out == "" and said.err.startswith("pi0: robby: no such robot") and said.err.count("\n") == 1


def test_a_robot_that_no_node_could_bring_up_is_one_sentence_and_nothing_starts(tmp_path, capsys):
    pytest.importorskip("rclpy")
    file = tmp_path / "mine.yaml"
    text = share("config", "robots", "mobile_bimanual.yaml").read_text()
    file.write_text(text.replace("topic: base_camera/image_raw", "topic: base-camera/image_raw"))
    assert cli.main(["up", "policy:=none", f"robot:={file}"]) == 1
    said = capsys.readouterr()
    assert said.out == "" and said.err.count("\n") == 1
    assert f"{file}:6: cameras.base.topic: 'base-camera/image_raw' is not a topic name" in said.err


def test_a_robot_of_a_parameter_file_that_does_not_exist_ends_everything_with_its_name(tmp_path):
    pytest.importorskip("rclpy")
    params = tmp_path / "params.yaml"
    params.write_text("/**:\n  ros__parameters:\n    robot: robby\n")
    with start("policy:=none", f"params_file:={params}") as process:
        told, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1
    assert "robby" in told
    assert "executor ended with exit code 1" in told


def test_an_environment_that_ros_cannot_start_in_is_one_sentence_and_nothing_starts(monkeypatch, capsys):
    pytest.importorskip("rclpy")
    monkeypatch.setenv("RMW_IMPLEMENTATION", "rmw_of_another_robot")
    assert cli.main(["up", "sim:=true"]) == 1
    said = capsys.readouterr()
    assert said.out == "" and said.err.count("\n") == 1
    assert "RMW_IMPLEMENTATION=rmw_of_another_robot is not installed here (there is rmw_fastrtps_cpp" in said.err
