"""The demo report says what was measured, in the words of docs/interface.md."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from pi0_ros.msg import ActionChunk, ExecutorState
from rclpy.parameter import Parameter
from sensor_msgs.msg import Image
from std_msgs.msg import String
from wiring import deliver, read

from pi0_ros.nodes import demo_director as module
from pi0_ros.nodes import demo_film
from pi0_ros.nodes.demo_director import DemoDirector
from pi0_ros.ros.clock import duration_message, time_message, time_parts
from pi0_ros.ros.commands import GroupCommand, shared_message
from pi0_ros.ros.images import image_message
from pi0_ros.ros.parameters import ParameterError
from pi0_ros.ros.video import CLOSING, compose

PAGE = Path(__file__).parents[2] / "docs" / "interface.md"
PERIOD = 0.02


class Asked:
    """What ends a process, noted down."""

    reason = ""

    def end(self, reason):
        self.reason = reason


def keys(node, path=""):
    """All paths of keys in a tree of maps."""
    if not isinstance(node, dict):
        return {path}
    return {key for name, value in node.items() for key in keys(value, f"{path}/{name}")}


def status(name, level=DiagnosticStatus.OK, message="", **values):
    told = [KeyValue(key=key, value=str(value)) for key, value in values.items()]
    return DiagnosticArray(status=[DiagnosticStatus(name=name, level=level, message=message, values=told)])


@pytest.fixture
def demo_director(graph, tmp_path):
    node = DemoDirector(Asked(), parameter_overrides=[Parameter("report", value=str(tmp_path / "demo.json"))])
    yield node
    node.destroy_node()


def measuring(demo_director):
    """As when the first autonomy was granted."""
    demo_director.stage.state = ExecutorState(underruns=3)
    demo_director.script.start_measuring()


def command(demo_director, at, step=0.0):
    """One command for every group, received at `at` [s]: all at rest, the arms `step` [rad] from their middle."""
    for group in demo_director.robot.groups:
        values = np.array([0.5 * (c.limits.lower + c.limits.upper) for c in group.channels])
        values += step if group.name.endswith("_arm") else 0.0
        message = shared_message(
            (group,), (GroupCommand(time_parts(at), values.tolist(), [0.0] * len(values), PERIOD),)
        )
        demo_director._on_command(group, message, at)


def test_the_report_has_the_keys_of_the_interface_and_the_numbers_that_were_seen(demo_director, tmp_path):
    promised = json.loads(re.search(r"```json\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL).group(1))
    measuring(demo_director)
    for k in range(101):
        command(demo_director, 100.0 + k * PERIOD + (0.004 if k == 50 else 0.0))
    demo_director._on_chunk(ActionChunk(inference_time=duration_message(0.042)))
    demo_director._on_state(ExecutorState(plan_sequence=1, splice_delay=0.08, underruns=4))
    for mode in ("autonomy", "teleop", "autonomy"):
        demo_director._on_mode(String(data=mode))
    demo_director._on_subtask(String(data="touch the red block with the left arm"))
    demo_director._on_health(status("executor", seam_position_max=0.002, seam_velocity_max=0.03, jerk_rms=7.5))
    late = {"period_late_ms_p50": 0.04, "period_late_ms_p99": 0.25, "period_late_ms_max": 1.5, "overruns": 2}
    demo_director._on_health(status("executor", seam_position_max=0.002, seam_velocity_max=0.03, jerk_rms=2.5, **late))
    demo_director._finish()

    told = json.loads((tmp_path / "demo.json").read_text())
    assert keys(told) == keys(promised)
    control = told["control"]
    assert control["commands"] == 101 and control["rate_hz"] == pytest.approx(50.0, abs=0.1) and control["missed"] == 0
    assert control["period_error_ms"]["max"] == pytest.approx(4.0, abs=0.01)
    assert control["executor"] == {"period_late_ms": {"p50": 0.04, "p99": 0.25, "max": 1.5}, "missed": 2}
    assert told["policy"] == {
        "chunks": 1,
        "inference_ms": {"p50": 42.0, "p99": 42.0},
        "observation_to_command_ms": {"p50": 80.0, "p99": 80.0},
    }
    assert told["motion"]["underruns"] == 1 and told["motion"]["limit_violations"] == 0
    assert (told["motion"]["seam_position"], told["motion"]["jerk_rms"]) == (0.002, 7.5)
    assert told["takeovers"] == 1 and told["subtasks"] == ["touch the red block with the left arm"]
    assert told["faults"] == []


def test_a_command_that_breaks_a_limit_a_lost_period_and_an_error_are_told(demo_director):
    measuring(demo_director)
    command(demo_director, 100.0)
    command(demo_director, 100.02, step=1.0)
    command(demo_director, 100.10, step=1.0)
    demo_director._on_health(status("policy", DiagnosticStatus.ERROR, "camera base: last picture 1.2 s ago"))
    demo_director._on_health(status("policy", DiagnosticStatus.ERROR, "camera base: last picture 2.2 s ago"))
    told = demo_director.report()
    assert told["motion"]["limit_violations"] == 2 and told["control"]["missed"] == 3
    assert len([text for text in told["faults"] if "camera base" in text]) == 1
    assert any("broke a limit" in text for text in told["faults"])


def test_a_demo_whose_report_cannot_be_written_ends_all_the_same_and_names_the_file(
    demo_director, tmp_path, monkeypatch
):
    (tmp_path / "file").write_text("no folder")
    demo_director._report_file = str(tmp_path / "file" / "demo.json")
    said, ended = [], []
    monkeypatch.setattr(demo_director.get_logger(), "error", said.append)
    monkeypatch.setattr(demo_director._signals, "end", ended.append)
    demo_director._waits = (iter(()), lambda: True, 0.0)
    demo_director._tick()
    assert ended == ["done"] and len(said) == 1 and str(tmp_path / "file") in said[0]


def test_before_anything_was_seen_the_report_is_all_zero(demo_director):
    told = demo_director.report()
    assert told["control"]["commands"] == 0 and told["policy"]["chunks"] == 0
    assert np.isfinite(told["duration_s"])


def test_only_its_own_executor_is_listened_to(demo_director):
    measuring(demo_director)
    demo_director._on_health(
        status("other_robot/executor", level=DiagnosticStatus.ERROR, message="stopped", jerk_rms=99.0)
    )
    demo_director._on_health(status("executor", jerk_rms=2.5))
    report = demo_director.report()
    assert report["motion"]["jerk_rms"] == 2.5 and not report["faults"]


def test_a_network_that_says_done_too_early_ends_the_scene_and_not_the_demo(demo_director):
    measuring(demo_director)
    demo_director.stage.mode, demo_director.stage.scene = "autonomy", {"done": "3", "total": "4", "success": "False"}
    waiting = demo_director.script.let_it_work(False)
    condition, _ = next(waiting)
    demo_director._on_subtask(String(data="touch the yellow block with the left arm"))
    demo_director._on_subtask(String(data="done"))
    assert not condition()
    since = demo_director.stage.finished_since
    demo_director._on_subtask(String(data="done"))  # said again, it is no later
    assert demo_director.stage.finished_since == since
    demo_director.stage.finished_since -= 10.0
    assert condition()
    with pytest.raises(StopIteration):
        next(waiting)
    demo_director.script.end_scene()
    report = demo_director.report()
    assert report["tasks"] == {"attempted": 4, "succeeded": 3}
    demo_director._on_subtask(String(data="touch the yellow block with the left arm"))
    assert demo_director.stage.finished_since == float("inf")


def test_it_reads_what_every_node_can_read_and_no_other_robots(demo_director, monkeypatch):
    told = demo_director
    assert deliver(told, "mode", String(data="teleop")) == 1
    for mode in ("hold", "teleop", "teleop", "autonomy", "teleop"):
        deliver(told, "mode", String(data=mode))
    assert told.record.takeovers == 2 and told.stage.mode == "teleop"  # who drove at first had not taken over
    monkeypatch.setattr(told.clocks, "steady", lambda: 50.0)
    deliver(told, "subtask", String(data="done"))
    assert told.stage.finished_since == 50.0 and told.record.subtasks == ["done"]
    deliver(told, "action_chunk", ActionChunk(inference_time=duration_message(0.25)))
    deliver(told, "executor_state", ExecutorState(plan_sequence=4, splice_delay=0.5, underruns=6))
    policy = told.record.plans.report()
    assert policy["chunks"] == 1 and policy["inference_ms"]["p50"] == 250.0 and told.stage.state.underruns == 6
    assert policy["observation_to_command_ms"]["p50"] == 500.0
    for name in ("sim_robot", "right/sim_robot", "executor"):
        deliver(told, "/diagnostics", status(name, done=name))
    assert told.stage.scene == {"done": "sim_robot"}
    deliver(told, "/diagnostics", status("policy", DiagnosticStatus.ERROR, "blind"))
    assert not told.record.faults.texts  # it is not measured yet
    told.stage.began = 40.0
    deliver(told, "/diagnostics", status("policy", DiagnosticStatus.WARN, "slow"))
    deliver(told, "/diagnostics", status("policy", DiagnosticStatus.ERROR, "blind"))
    assert told.record.faults.texts == ["policy: blind"] and told.report()["duration_s"] == 10.0
    topics = {name for name, _ in read(told)}
    assert {f"/{group.command.topic}" for group in told.robot.groups} < topics


def test_a_command_counts_from_when_it_was_received_by_its_number(demo_director, monkeypatch):
    seen = []
    monkeypatch.setattr(demo_director.record.monitor, "see", lambda *given: seen.append(given) or "too fast")
    monkeypatch.setattr(demo_director.clocks, "ros", lambda: 100.0)
    demo_director._polled.age, demo_director._polled.sequence = 0.25, 7
    group = demo_director.robot.group("lift")
    deliver(demo_director, group.command.topic, shared_message(
        (group,), (GroupCommand(time_parts(9.0), [0.125], [0.0], PERIOD),)
    ))  # fmt: skip
    ((name, at, values, sequence),) = seen
    assert (name, at, list(values), sequence) == ("lift", 99.75, [0.125], 7)
    assert demo_director.record.faults.texts == ["a command of lift broke a limit: too fast"]
    wrong = shared_message((group,), (GroupCommand(time_parts(9.0), [0.1, 0.2], [0.0] * 2, PERIOD),))
    demo_director._on_command(group, wrong)
    assert group.command.topic in demo_director.record.faults.texts[1] and len(seen) == 1


def test_its_script_goes_on_when_its_condition_holds_its_time_is_over_or_the_demo_is(demo_director, monkeypatch):
    now, steps, ended = [50.0], [], []
    monkeypatch.setattr(demo_director.clocks, "steady", lambda: now[0])
    monkeypatch.setattr(demo_director._signals, "end", ended.append)
    polled = []
    monkeypatch.setattr(demo_director._polled, "take", polled.append)
    holds = [False]

    def script():
        for k in range(4):
            steps.append((k, now[0]))
            yield (lambda: holds[0]), 3.0

    demo_director._waits = (script(), lambda: True, 0.0)
    for at, condition, expected in (
        (50.0, False, 1), (52.9, False, 1), (53.1, False, 2), (53.2, True, 3), (53.3, False, 3),
    ):  # fmt: skip
        now[0], holds[0] = at, condition
        demo_director._tick()
        assert len(steps) == expected
    demo_director.stage.began, demo_director.script._duration = 0.0, 53.4
    demo_director._tick()
    assert len(steps) == 3
    demo_director.script._duration = 53.0
    demo_director._tick()
    assert len(steps) == 4 and not ended
    demo_director._tick()
    assert ended == ["done"] and demo_director._finished
    holds[0] = True
    demo_director._tick()
    assert ended == ["done"] and polled == [60.0] * 9


def test_a_robot_that_is_not_there_is_a_wrong_parameter(graph):
    with pytest.raises(ParameterError, match="parameter robot: nobody"):
        DemoDirector(Asked(), parameter_overrides=[Parameter("robot", value="nobody")])


class Video:
    """A film that is not written."""

    def __init__(self, file, rate):
        self.file, self.rate, self.frames, self.failure, self.closed = file, rate, [], "", 0

    def add(self, frame):
        self.frames.append(frame)

    def close(self):
        self.closed += 1


def test_a_film_shows_what_the_cameras_saw_with_the_words_below(graph, monkeypatch, tmp_path):
    granted, videos = [], []
    monkeypatch.setattr(demo_film, "VideoWriter", lambda *given: videos.append(Video(*given)) or videos[-1])
    monkeypatch.setattr(module, "extend_timeout", granted.append)
    file = str(tmp_path / "demo.mp4")
    node = DemoDirector(Asked(), parameter_overrides=[Parameter("video", value=file)])
    (video,) = videos
    assert (str(video.file), video.rate) == (file, 10)
    assert sorted(t.timer_period_ns for t in node.timers) == [20_000_000, 100_000_000]
    node._film.add_frame()
    assert not video.frames and node._lines() == ("task: -", "subtask: -    mode: -")
    node.stage.task, node.stage.mode = "touch it", "teleop"
    node.record.subtasks += ["first", "then"]
    lines = node._lines()
    assert lines == ("task: touch it", "subtask: then    mode: teleop")
    cameras, picture = node.robot.cameras, np.random.default_rng(3).integers(0, 255, (24, 32, 3), np.uint8)
    deliver(node, cameras[1].topic, image_message(picture, time_message(5.0)))
    deliver(node, cameras[0].topic, Image(height=2, width=2, encoding="rgb8", step=6, data=[1]))  # cut short
    node._film.add_frame()
    right = compose({cameras[1].name: picture}, [c.name for c in cameras], lines)
    assert np.array_equal(video.frames[0], right)
    assert len(node.record.faults.texts) == 1 and f"camera {cameras[0].name}:" in node.record.faults.texts[0]
    video.failure = "the disk is full"
    for _ in range(2):
        node.shut_down("over")
    assert video.closed == 1 and granted == [2.0 * CLOSING]
    assert node.record.faults.texts[1:] == ["the disk is full"]
    node.destroy_node()
