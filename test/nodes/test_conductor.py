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

from pi0_ros.nodes.conductor import Conductor
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
def conductor(graph, tmp_path):
    node = Conductor(Asked(), parameter_overrides=[Parameter("report", value=str(tmp_path / "demo.json"))])
    yield node
    node.destroy_node()


def measuring(conductor):
    """As when the first autonomy was granted."""
    conductor.stage.state = ExecutorState(underruns=3)
    conductor.script.start_measuring()


def command(conductor, at, step=0.0):
    """One command for every group, received at `at` [s]: all at rest, the arms `step` [rad] from their middle."""
    for group in conductor.robot.groups:
        values = np.array([0.5 * (c.limits.lower + c.limits.upper) for c in group.channels])
        values += step if group.name.endswith("_arm") else 0.0
        message = shared_message(
            (group,), (GroupCommand(time_parts(at), values.tolist(), [0.0] * len(values), PERIOD),)
        )
        conductor._on_command(group, message, at)


def test_the_report_has_the_keys_of_the_interface_and_the_numbers_that_were_seen(conductor, tmp_path):
    promised = json.loads(re.search(r"```json\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL).group(1))
    measuring(conductor)
    for k in range(101):
        command(conductor, 100.0 + k * PERIOD + (0.004 if k == 50 else 0.0))
    conductor._on_chunk(ActionChunk(inference_time=duration_message(0.042)))
    conductor._on_state(ExecutorState(plan_sequence=1, splice_delay=0.08, underruns=4))
    for mode in ("autonomy", "teleop", "autonomy"):
        conductor._on_mode(String(data=mode))
    conductor._on_subtask(String(data="touch the red block with the left arm"))
    conductor._on_health(status("executor", seam_position_max=0.002, seam_velocity_max=0.03, jerk_rms=7.5))
    late = {"period_late_ms_p50": 0.04, "period_late_ms_p99": 0.25, "period_late_ms_max": 1.5, "overruns": 2}
    conductor._on_health(status("executor", seam_position_max=0.002, seam_velocity_max=0.03, jerk_rms=2.5, **late))
    conductor._finish()

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


def test_a_command_that_breaks_a_limit_a_lost_period_and_an_error_are_told(conductor):
    measuring(conductor)
    command(conductor, 100.0)
    command(conductor, 100.02, step=1.0)
    command(conductor, 100.10, step=1.0)
    conductor._on_health(status("policy", DiagnosticStatus.ERROR, "camera base: last picture 1.2 s ago"))
    conductor._on_health(status("policy", DiagnosticStatus.ERROR, "camera base: last picture 2.2 s ago"))
    told = conductor.report()
    assert told["motion"]["limit_violations"] == 2 and told["control"]["missed"] == 3
    assert len([text for text in told["faults"] if "camera base" in text]) == 1
    assert any("broke a limit" in text for text in told["faults"])


def test_before_anything_was_seen_the_report_is_all_zero(conductor):
    told = conductor.report()
    assert told["control"]["commands"] == 0 and told["policy"]["chunks"] == 0
    assert np.isfinite(told["duration_s"])


def test_only_its_own_executor_is_listened_to(conductor):
    measuring(conductor)
    conductor._on_health(status("other_robot/executor", level=DiagnosticStatus.ERROR, message="stopped", jerk_rms=99.0))
    conductor._on_health(status("executor", jerk_rms=2.5))
    report = conductor.report()
    assert report["motion"]["jerk_rms"] == 2.5 and not report["faults"]


def test_a_network_that_says_done_too_early_ends_the_scene_and_not_the_demo(conductor):
    measuring(conductor)
    conductor.stage.mode, conductor.stage.scene = "autonomy", {"done": "3", "total": "4", "success": "False"}
    waiting = conductor.script.let_it_work(False)
    condition, _ = next(waiting)
    conductor._on_subtask(String(data="touch the yellow block with the left arm"))
    conductor._on_subtask(String(data="done"))
    assert not condition()
    since = conductor.stage.finished_since
    conductor._on_subtask(String(data="done"))  # said again, it is no later
    assert conductor.stage.finished_since == since
    conductor.stage.finished_since -= 10.0
    assert condition()
    with pytest.raises(StopIteration):
        next(waiting)
    conductor.script.end_scene()
    report = conductor.report()
    assert report["tasks"] == {"attempted": 4, "succeeded": 3}
    conductor._on_subtask(String(data="touch the yellow block with the left arm"))
    assert conductor.stage.finished_since == float("inf")
