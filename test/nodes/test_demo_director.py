"""The demo report says what was measured, in the words of docs/interface.md."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from pi0_ros.msg import ActionChunk, ExecutorState
from rclpy.parameter import Parameter
from std_msgs.msg import String

from pi0_ros.nodes.demo_director import DemoDirector
from pi0_ros.ros.clock import duration_message, time_parts
from pi0_ros.ros.commands import GroupCommand, shared_message

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
