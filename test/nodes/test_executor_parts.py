"""What an executor is made of, what it begins and lets go, without anybody on the other side of its topics."""

from dataclasses import asdict
from types import SimpleNamespace

import pytest
from rclpy.parameter import Parameter
from wiring import entities

from pi0_ros.control import ExecutorSettings
from pi0_ros.control.limits import stop_time
from pi0_ros.nodes import executor as module
from pi0_ros.nodes.executor import ExecutorNode
from pi0_ros.robot import load_robot
from pi0_ros.ros.diagnostics import WARN, Health
from pi0_ros.ros.lifecycle import FAILURE, SUCCESS

ROBOT = load_robot("aloha")
SETTINGS = {
    "strategy": "blend", "chunk_max_age": 1.25, "start_gap": 0.3, "limit_margin": 0.15, "reach_time": 0.35,
    "reach_speed": 4.0, "engage_time": 1.5, "engage_scale": 0.45, "policy_lost": 2.5, "state_grace": 0.55,
    "tracking_error": 0.65, "tracking_error_m": 0.075, "tracking_time": 0.85, "tracking_lag": 0.95, "slow_down": 5.0,
    "chunk_max_ahead": 0.6, "wait_max_age": 33.0, "second_publisher": "warn",
}  # fmt: skip


@pytest.fixture
def make(graph):
    """Makes executors of this robot, and destroys them."""
    made = []

    def one(name="executor", **values):
        given = {"robot": "aloha", "black_box": "", "realtime_priority": 0} | values
        made.append(ExecutorNode(name, parameter_overrides=[Parameter(n, value=v) for n, v in given.items()]))
        return made[-1]

    yield one
    for node in made:
        node.destroy_node()


@pytest.fixture
def calls(monkeypatch):
    """The calls to what concerns the whole process; the control thread runs as an ordinary one. `refused`: by the system."""
    found = SimpleNamespace(list=[], refused=[])
    for name in (
        "pause_collector", "resume_collector", "extend_timeout", "raise_thread_priorities", "restore_thread_priorities",
    ):  # fmt: skip
        monkeypatch.setattr(module, name, lambda *given, name=name: found.list.append((name, *given)))
    monkeypatch.setattr(module.SecondPublishers, "look_first", lambda self: "")  # waits a second for the others
    ordinary = module.ControlThread.start

    def start(self, priority, cpu):
        found.list.append(("start", priority, cpu))
        return [*ordinary(self, 0, -1), *found.refused]

    monkeypatch.setattr(module.ControlThread, "start", start)
    return found


def test_every_setting_reaches_the_control_core_and_the_rate_is_the_parameters_or_else_the_robots(make):
    node = make(rate=37.0, **SETTINGS)
    assert node.trigger_configure() == SUCCESS
    parts = node.parts
    assert asdict(parts.settings) == asdict(ExecutorSettings(**SETTINGS))
    assert parts.robot.control_rate == 37.0 and parts.period == pytest.approx(1.0 / 37.0)
    assert {p.topic_name for p in parts.commands.publishers} == {f"/{g.command.topic}" for g in ROBOT.groups}
    assert node.trigger_cleanup() == SUCCESS
    other = make("other")
    assert other.trigger_configure() == SUCCESS
    assert (other.parts.robot.control_rate, other.parts.period) == (ROBOT.control_rate, 1.0 / ROBOT.control_rate)


def test_one_executor_of_a_robot_is_configured_at_a_time_and_nothing_is_left_of_one_that_is_cleaned_up(make):
    first, second = make(), make("second")
    before = entities(first)
    for _ in range(2):
        assert first.trigger_configure() == SUCCESS
        assert all(number > before[kind] for kind, number in entities(first).items() if kind != "services")
        assert second.trigger_configure() == FAILURE and "robot aloha has an executor" in second.stop_reason
        assert entities(second) == before
        lock = first._robot_lock
        assert first.trigger_cleanup() == SUCCESS
        assert entities(first) == before and lock._socket is None
    assert second.trigger_configure() == SUCCESS


def test_the_other_threads_stay_below_the_control_thread_where_the_system_lets_it_be_real_time(
    make, calls, monkeypatch
):
    node, said, jumps, waits = make(cpu=3), [], [], []
    monkeypatch.setattr(node.clocks, "on_jump", jumps.append)
    monkeypatch.setattr(node.get_logger(), "warning", said.append)
    assert node.trigger_configure() == SUCCESS and jumps == [node._on_clock_jump]
    monkeypatch.setattr(node.parts.commands, "wait_for_acknowledgement", waits.append)
    assert (node.health().level, node.health().message) == (WARN, "starting")
    # To rest, half a second more than the limits ask for; then what arrives late, the black box, the process.
    ending = stop_time(ROBOT.groups, 1.0 / ROBOT.control_rate) + 0.5 + 1.5 + 1.0 + 2.0
    told = []
    monkeypatch.setattr(module, "health_of", lambda *given: told.append(given) or Health(WARN, "told"))
    for priority, refused, raised in ((40, [], [30]), (41, ["priority 41 was refused"], []), (0, [], [])):
        node.values.realtime_priority, calls.refused = priority, refused
        assert node.trigger_activate() == SUCCESS
        assert calls.list[0] == ("pause_collector",) and ("start", priority, 3) in calls.list
        assert [given for name, *given in calls.list if name == "raise_thread_priorities"] == [[p] for p in raised]
        assert {"control", "report"} <= set(node._threads)
        node.values.second_publisher = "warn" if refused else "stop"
        assert node.health().message == "told"
        assert told[-1][:3] == (node.parts, node.control, node._reporter) and told[-1][4] is not bool(refused)
        assert node.trigger_deactivate() == SUCCESS
        names = [name for name, *_ in calls.list]
        assert names.count("restore_thread_priorities") == (priority > 0) and names[-1] == "resume_collector"
        assert [given for name, *given in calls.list if name == "extend_timeout"] == [[pytest.approx(ending)]]
        assert node.control is None and not node._reporter.thread.alive
        calls.list.clear()
    assert [text for text in said if "priority" in text] == ["priority 41 was refused"] and waits == [1.5] * 3


def test_what_happens_beside_the_control_thread_is_told_to_its_core(make, calls, monkeypatch):
    node, told = make(), []
    assert node._remaining_plan(5.0) is None
    node._on_clock_jump(), node._on_second_publisher("somebody")  # nobody is there to be told
    monkeypatch.setattr(module.SecondPublishers, "look_first", lambda self: "somebody else publishes")
    assert node.trigger_configure() == SUCCESS
    monkeypatch.setattr(
        module.ControlThread, "post", lambda self, note: told.append((self, note)) or None, raising=True
    )
    assert node.trigger_activate() == SUCCESS
    core = SimpleNamespace(
        on_clock_jump=lambda *given: ("jump", *given), on_second_publisher=lambda *given: ("second", *given),
        running_plan=lambda ros: ("plan", ros),
    )  # fmt: skip
    monkeypatch.setattr(type(node.control), "core", property(lambda self: core))
    ((thread, note),) = told
    assert thread is node.control and note(1.0, 2.0) == ("second", 1.0, 2.0, "somebody else publishes")
    node._on_clock_jump()
    assert told[1][1](3.0, 4.0) == ("jump", 3.0, 4.0)
    assert node._remaining_plan(5.0) == ("plan", 5.0)
