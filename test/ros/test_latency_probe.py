"""A probe whose time, executor and robot are stand-ins: what it sends, asks and measures."""

from types import SimpleNamespace

import numpy as np
import pytest

rclpy = pytest.importorskip("rclpy")

from pi0_ros.msg import ExecutorState
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray

from pi0_ros.robot import RobotError
from pi0_ros.ros import latency_probe
from pi0_ros.ros.latency_probe import APPROACH, PATIENCE, RATE, SETTLING, LatencyProbe

GROUPS = """
arm:
  kind: position
  channels: [j1, j2, wrist]
  command: {{topic: arm/commands, type: float64_multi_array}}
  {teleop}
  limits: {{source: urdf, acceleration: 10.0}}
hand:
  kind: gripper
  channels: [grip]
  joint: {{name: finger, closed: 0.0, open: 0.04}}
  command: {{topic: hand/commands, type: float64_multi_array}}
  teleop: {{topic: hand/teleop, type: float64_multi_array, max_age: 0.2}}
"""
ARRAY = "teleop: {topic: arm/teleop, type: float64_multi_array, max_age: 0.2}"
STATES = "teleop: {topic: arm/teleop, type: joint_state, max_age: 0.2}"
START = [0.3, -0.2, 0.7]
DELAY = 0.1


class World:
    """An executor that follows the teleop input, and a robot that follows it `DELAY` later; time passes while it spins."""

    def __init__(self, probe):
        self.now, self.probe, self.sent, self.asked = 100.0, probe, [], []
        self.mode, self.services, self.answers, self.granted = ExecutorState.HOLD, True, True, True
        self.commands, self.leaves_at, self.silent, self.turn = [(0.0, START)], np.inf, False, 0.0
        self.spun, self.ended = list(probe._spinner.get_nodes()), 0
        probe._spinner.shutdown()
        probe._spinner = SimpleNamespace(spin_once=self.spin, shutdown=self.end)
        probe._publisher = SimpleNamespace(publish=lambda message: self.sent.append((self.now, message)))
        probe.create_client = self.client

    def end(self):
        self.ended += 1

    def client(self, kind, name):
        def call(request):
            self.asked.append((self.now, name))
            if self.granted:
                self.mode = ExecutorState.TELEOP if name.endswith("teleop") else ExecutorState.HOLD
            result = SimpleNamespace(success=self.granted, message="not now")
            return SimpleNamespace(done=lambda: self.answers, result=lambda: result)

        return SimpleNamespace(service_is_ready=lambda: self.services, call_async=call)

    def spin(self, timeout_sec):
        self.now += timeout_sec
        if self.silent:
            return
        if self.now >= self.leaves_at:
            self.mode = ExecutorState.STOPPED
        if self.sent and self.mode == ExecutorState.TELEOP:
            message = self.sent[-1][1]
            values = list(getattr(message, "data", None) or message.position)
            self.commands = [*self.commands[-20:], (self.now, values)]
        command = self.commands[-1][1]
        self.probe._on_state(ExecutorState(mode=self.mode, command=[*command, 0.5], reason="e-stop"))
        self.probe._on_command(Float64MultiArray(data=command))
        times, rows = [at for at, _ in self.commands], [row for _, row in self.commands]
        measured = [np.interp(self.now - DELAY, times, column) for column in np.array(rows).T]
        measured[2] += self.turn
        self.probe._on_joints(None, 0.0, dict(zip(("j1", "j2", "wrist"), measured, strict=True)), {})


@pytest.fixture(scope="module")
def graph():
    rclpy.init()
    yield
    rclpy.try_shutdown()


@pytest.fixture
def world(graph, small_robot, monkeypatch):
    made = []

    def make(channel=1, teleop=ARRAY, group=0):
        robot = small_robot(GROUPS.format(teleop=teleop))
        probe = LatencyProbe(robot, robot.groups[group], channel)
        made.append(World(probe))
        monkeypatch.setattr(latency_probe, "time", SimpleNamespace(monotonic=lambda: made[-1].now))
        return made[-1]

    yield make
    for world in made:
        world.probe.close()


def moved(world):
    return np.array([message.data for _, message in world.sent])


def test_a_joint_is_moved_out_and_back_and_its_delay_is_measured(world):
    world = world(channel=1)
    found = world.probe.measure(0.2, 0.8, 2)
    assert found.delay == pytest.approx(DELAY, abs=0.025) and found.way == pytest.approx(0.2, rel=0.05)
    assert [name for _, name in world.asked] == ["executor/teleop", "executor/hold"]
    rows, times = moved(world), np.array([at for at, _ in world.sent])
    np.testing.assert_allclose(np.diff(times), 1.0 / RATE, atol=1e-9)
    np.testing.assert_allclose(rows[:, 0], START[0])
    np.testing.assert_allclose(rows[:, 2], START[2])
    begin = times[np.flatnonzero(rows[:, 1] != START[1])[0] - 1]
    assert begin - times[0] == pytest.approx(APPROACH, abs=1.1 / RATE)
    moving = np.clip(times - begin, 0.0, 1.6)
    np.testing.assert_allclose(rows[:, 1] - START[1], 0.1 * (1.0 - np.cos(2.0 * np.pi * moving / 0.8)), atol=1e-9)
    assert times[-1] - begin == pytest.approx(1.6 + SETTLING, abs=1.1 / RATE) and rows[-1].tolist() == START
    assert world.probe.commanded.times[0] >= begin and len(world.probe.measured.times) > 100
    assert world.asked[1][0] >= times[-1]


def test_an_endless_joint_that_is_reported_a_turn_off_is_measured_without_a_jump(world):
    world = world(channel=2)
    world.spin(0.02)
    world.turn = 2.0 * np.pi
    for _ in range(3):
        world.spin(0.02)
    assert np.ptp(world.probe.measured.values) < 1e-6
    probe = world.probe
    probe._on_joints(None, 0.0, {"j1": 3.0}, {})
    assert len(probe.measured.values) == 4
    for angle in (2.5, 4.0, 6.0):
        probe._on_joints(None, 0.0, {"wrist": angle - 2.0 * np.pi}, {})
    assert probe.measured.values[-3:] == pytest.approx([2.5, 4.0, 6.0])


def test_a_joint_with_ends_is_measured_as_it_is_reported(world):
    probe = world(channel=0).probe
    for value in (0.1, 0.1 + 2.0 * np.pi, 0.0):
        probe._on_joints(None, 0.0, {"j1": value, "j2": 9.0}, {})
    assert probe.measured.values == [0.1, 0.1 + 2.0 * np.pi, 0.0]


def test_a_command_that_does_not_fit_is_left_out(world):
    probe = world(channel=1).probe
    probe._on_command(Float64MultiArray(data=[0.1, 0.2]))
    probe._on_command(Float64MultiArray(data=[0.1, 0.2, 0.3]))
    assert probe.commanded.values == [0.2] and probe.commanded.times == [100.0]
    times, values = probe.commanded.arrays()
    assert times.tolist() == [100.0] and values.tolist() == [0.2]


def test_a_teleop_input_by_names_is_stamped_and_has_the_joints(world):
    world = world(teleop=STATES)
    world.probe._send([0.1, 0.2, 0.3])
    ((_, message),) = world.sent
    assert isinstance(message, JointState) and message.header.stamp.sec > 0
    assert list(message.name) == ["j1", "j2", "wrist"] and list(message.position) == [0.1, 0.2, 0.3]


@pytest.mark.parametrize("group, teleop", [(0, ""), (1, ARRAY)])
def test_only_a_group_of_joints_with_a_teleop_input_can_be_moved(world, group, teleop):
    with pytest.raises(RobotError, match=r"group (arm|hand) needs kind position and a teleop input"):
        world(channel=0, teleop=teleop, group=group)


def test_without_an_executor_nothing_is_moved(world):
    world = world()
    world.silent = True
    with pytest.raises(RobotError, match="no executor commands the robot"):
        world.probe.measure(0.2, 1.0, 1)
    assert not world.sent and not world.asked and world.now == pytest.approx(100.0 + PATIENCE, abs=0.11)


def test_an_executor_that_has_commanded_nothing_yet_is_waited_for(world):
    world = world()
    world.commands = [(0.0, [np.nan, 0.0, 0.0])]
    with pytest.raises(RobotError, match="no executor commands the robot"):
        world.probe.measure(0.2, 1.0, 1)


@pytest.mark.parametrize(
    "lacks, sentence",
    [
        ("services", "no service executor/teleop"),
        ("answers", "does not answer"),
        ("granted", "executor/teleop: not now"),
    ],
)
def test_an_executor_that_does_not_go_into_teleop_is_not_moved(world, lacks, sentence):
    world = world()
    setattr(world, lacks, False)
    with pytest.raises(RobotError, match=sentence):
        world.probe.measure(0.2, 1.0, 1)
    assert not world.sent


def test_an_executor_that_leaves_teleop_ends_the_motion_and_is_asked_to_hold(world):
    world = world()
    world.leaves_at = 101.0
    with pytest.raises(RobotError, match="left teleop: stopped, e-stop"):
        world.probe.measure(0.2, 1.0, 1)
    assert world.sent[-1][0] == pytest.approx(101.0, abs=0.05) and world.asked[-1][1] == "executor/hold"


def test_an_executor_has_half_a_second_to_go_into_teleop(world):
    world = world()
    world.spin(0.02)
    begin = world.now
    with pytest.raises(RobotError, match="left teleop: hold"):
        world.probe._lead(START, lambda _: 0.0, 5.0)
    assert world.now - begin == pytest.approx(0.5, abs=0.05)


def test_a_robot_that_does_not_move_is_named_by_its_joint(world):
    world = world(channel=1)
    world.probe._on_joints = lambda *given: None
    with pytest.raises(RobotError, match="^j2: "):
        world.probe.measure(0.2, 1.0, 1)
    assert world.asked[-1][1] == "executor/hold"


def test_it_reads_the_groups_commands_the_executors_state_and_the_joints(world):
    made = world()
    probe = made.probe
    assert made.spun == [probe] and "/arm/teleop" in {p.topic_name for p in probe.publishers}
    read = {s.topic_name: s.callback for s in probe.subscriptions}
    assert {"/arm/commands", "/executor_state", "/joint_states"} <= read.keys()
    read["/executor_state"](ExecutorState(epoch=3))
    read["/arm/commands"](Float64MultiArray(data=[0.1, 0.2, 0.3]))
    assert probe._seen().epoch == 3 and probe.commanded.values == [0.2]
    probe.close()
    assert made.ended == 1
