"""A recorded run through the executor again, with any strategy."""

import json

import numpy as np
import pytest

from pi0_ros.cli import main
from pi0_ros.closed_loop.harness import Harness, Trial
from pi0_ros.closed_loop.latency import Latency
from pi0_ros.closed_loop.replay import replay
from pi0_ros.control import BlackBox
from pi0_ros.data.bag import CHUNK
from pi0_ros.data.blackbox_file import write_black_box
from pi0_ros.data.errors import DataError
from pi0_ros.data.recording import load_recording
from pi0_ros.robot import load_robot
from pi0_ros.sim.robot import SimRobot
from pi0_ros.sim.tasks import make_task
from pi0_ros.touch.planners import OperatorPlanner


@pytest.fixture(scope="module")
def robot():
    return load_robot("mobile_bimanual")


@pytest.fixture(scope="module")
def bag(robot, tmp_path_factory):
    box = BlackBox()
    harness = Harness(SimRobot(robot), OperatorPlanner, Trial(latency=Latency(0.2, 0.3), rtc="none"))
    harness.run(make_task("reach"), 5, box)
    return write_black_box(tmp_path_factory.mktemp("bag"), box.snapshot(), "test", robot.channel_names)


def test_every_strategy_commands_within_limits(robot, bag):
    from pi0_ros.control.audit import violations

    recording = load_recording(bag, robot)
    for strategy in ("replace", "blend", "ensemble", "auto"):
        assert not violations(robot, replay(recording, robot, strategy).commands, 1 / robot.control_rate)


def test_a_policy_that_was_restarted_is_followed_on(robot, bag):
    recording = load_recording(bag, robot)
    chunks = [heard for heard in recording.messages if heard.type == CHUNK]
    last = chunks[len(chunks) // 2].message.sequence
    for heard in chunks[len(chunks) // 2 :]:  # counts from 1 again, for another epoch
        heard.message.sequence, heard.message.epoch = heard.message.sequence - last + 1, heard.message.epoch + 2
    counted = replay(recording, robot).steps[-1].counters
    assert counted.chunks_accepted >= len(chunks) - 2 and counted.chunks_rejected == 0


def test_a_replay_is_repeatable(robot, bag):
    recording = load_recording(bag, robot)
    assert np.array_equal(replay(recording, robot).commands, replay(recording, robot).commands)


def test_the_command_prints_numbers_and_draws(bag, tmp_path, capsys):
    plot, numbers = tmp_path / "p.png", tmp_path / "n.json"
    arguments = ["replay", str(bag), "--strategy", "replace", "blend", "--plot", str(plot), "--json", str(numbers)]
    assert main(arguments) == 0
    assert "rms_jerk" in capsys.readouterr().out
    assert set(json.loads(numbers.read_text())) == {"replace", "blend"}
    assert plot.read_bytes().startswith(b"\x89PNG")


def test_an_unknown_channel_is_said_with_those_there_are(bag, capsys):
    assert main(["replay", str(bag), "--channel", "tail"]) == 1
    assert "--channel tail: robot mobile_bimanual has left_joint1" in capsys.readouterr().err


def test_a_recording_without_chunks_is_refused(robot, tmp_path):
    box = BlackBox()
    box.add(0.0, 0.0, "state", (0.0, {"left_joint1": 0.0}, "joint_states"), 8)
    file = write_black_box(tmp_path, box.snapshot(), "test", robot.channel_names)
    with pytest.raises(DataError, match=r"holds no pi0_ros/msg/ActionChunk; record action_chunk"):
        load_recording(file, robot)
