"""The simulated robot's steps, pictures, resets and health, one at a time, with nobody who looks on."""

from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("mujoco")

import rclpy
from rclpy.parameter import Parameter

from pi0_ros.nodes import sim_robot as module
from pi0_ros.nodes.sim_robot import SimRobotNode
from pi0_ros.ros.clock import seconds
from pi0_ros.ros.diagnostics import OK, WARN
from pi0_ros.ros.parameters import ParameterError
from pi0_ros.sim.robot import SimRobot
from pi0_ros.touch.tasks import Reach

STEP = 0.01  # [s] of physics


class Outputs:
    """What a driver says: (what, stamp [s], values)."""

    def __init__(self):
        self.said = []

    def clock(self, stamp):
        self.said.append(("clock", seconds(stamp), ()))

    def joints(self, stamp, *values):
        self.said.append(("joints", seconds(stamp), values))

    def odometry(self, stamp, *values):
        self.said.append(("odometry", seconds(stamp), values))

    def pictures(self, stamp, draw):
        self.said.append(("pictures", seconds(stamp), (draw("base"), draw("left_wrist"))))


def overridden(**values):
    return [Parameter(name, value=value) for name, value in values.items()]


@pytest.fixture(scope="module")
def made():
    """A simulated robot before the task `reach`, with a clock of its own and the fourth scene."""
    rclpy.init()
    node = SimRobotNode(overridden(scene="reach", seed=4, camera_rate=20.0, watchdog=0.5, use_sim_time=True))
    node.first = node._inputs, node._instruction, node._sim.data.qpos.copy()
    yield node
    node.destroy_node()
    rclpy.shutdown()


@pytest.fixture
def node(made, monkeypatch):
    """The same; what it says is in `node.said`, and commands of `node.targets` are carried out."""
    outputs = Outputs()
    made.said, made.targets, made.read, made.forgotten = outputs.said, [], [], []
    inputs = SimpleNamespace(
        read=lambda: made.read.append(made._sim.time), targets=lambda: list(made.targets), silent={"lift", "base"},
        forget=lambda: made.forgotten.append(True),
    )  # fmt: skip
    for name, value in (("_outputs", outputs), ("_inputs", inputs), ("_steps", 0), ("_skipped", 0), ("_error", "")):
        monkeypatch.setattr(made, name, value)
    monkeypatch.setattr(made._loop.times, "overruns", 0)
    return made


def test_it_begins_with_the_scene_of_its_seed_and_groups_stop_after_the_watchdogs_time(made):
    inputs, instruction, places = made.first
    sim = SimRobot(made.robot, 0)
    assert instruction == Reach().reset(sim, 4) and np.array_equal(sim.data.qpos, places)
    assert Reach().reset(sim, 5) and not np.array_equal(sim.data.qpos, places)
    assert inputs._watchdog == 0.5 and made._own_clock is True and made._loop.times.overruns == 0
    assert (made._loop.period, made._render_loop.period) == (STEP, 0.05)
    values = made._health().values
    assert [values[name] for name in ("scene", "seed", "instruction", "done", "total", "success", "skipped_steps")] == [
        "reach", 4, instruction, 0, 1, False, 0,
    ]  # fmt: skip
    assert "joint_states_hz" in values and values["groups without commands"] == ""
    made._advance(0.0, 0.0)
    assert (made._steps, made._sim.time, made._error, made._viewer) == (1, pytest.approx(STEP), "", None)
    assert made._now() == pytest.approx(1.0 + STEP)
    made._failed("ValueError: once\n")
    assert made._health().message == "the simulation failed: ValueError: once"
    made._error = ""
    asked = {service.srv_name for service in made.services}
    assert any(name.endswith("sim_robot/reset") or name == "~/reset" for name in asked)


def test_each_step_is_ten_milliseconds_and_odometry_comes_with_every_second_one(node):
    began, steady = node._sim.time, node.clocks.steady()
    for _ in range(4):
        node._advance(0.0, 0.0)
    assert node._sim.time == pytest.approx(began + 4 * STEP)
    assert [what for what, _, _ in node.said] == ["clock", "joints", "odometry", "clock", "joints"] * 2
    # Its own clock begins a little above zero, and says the time of the physics.
    stamps = [at for what, at, _ in node.said if what == "joints"]
    np.testing.assert_allclose(stamps, [node._before + began + k * STEP for k in (1, 2, 3, 4)], atol=1e-6)
    assert {at for what, at, _ in node.said[:3]} == {stamps[0]} and len(node.read) == 4
    names, positions, velocities = node.said[1][2]
    assert len(names) == len(positions) == len(velocities) and "left_joint1" in names
    assert len(node.said[2][2]) == 6 and steady <= node.clocks.steady()


def test_periods_that_were_missed_are_made_up_for_five_at_most(node):
    for overruns, periods in ((0, 1), (2, 3), (2, 1), (9, 6), (10, 2)):
        node._loop.times.overruns, began = overruns, node._sim.time
        node._advance(0.0, 0.0)
        assert node._sim.time - began == pytest.approx(periods * STEP) and node._skipped == overruns


def test_commands_move_what_they_name(node):
    arm = node.robot.group("left_arm")
    names, before, _ = node._sim.joint_state()
    place = list(names).index("left_joint1")
    goal = [float(before[list(names).index(f"left_joint{k}")]) for k in range(1, 7)]
    goal[0] += 0.2
    node.targets = [(arm, goal)]
    for _ in range(60):
        node._advance(0.0, 0.0)
    after = node._sim.joint_state()[1]
    assert after[place] - before[place] == pytest.approx(0.2, abs=0.03)


def test_pictures_show_the_newest_state_and_carry_its_time(node, monkeypatch):
    drawn = []

    class Renderer:
        def __init__(self, model, size):
            drawn.append((model, size))

        def draw(self, data, camera, size):
            return data.time, camera, size

    monkeypatch.setattr(module, "Renderer", Renderer)
    monkeypatch.setattr(node, "_renderer", None)
    synced = []
    viewer = SimpleNamespace(is_running=lambda: True, sync=lambda: synced.append(1))
    for seen in (None, viewer, SimpleNamespace(is_running=lambda: False, sync=lambda: synced.append(2))):
        monkeypatch.setattr(node, "_viewer", seen)
        node._advance(0.0, 0.0)
        node._show(0.0, 0.0)
    assert drawn == [(node._sim.model, 224)] and synced == [1]  # drawn by one renderer, of this thread
    what, stamp, pictures = node.said[-1]
    assert what == "pictures" and pictures == ((node._sim.time, "base", 224), (node._sim.time, "left_wrist", 224))
    assert stamp == pytest.approx(node._before + node._sim.time, abs=1e-6)


def test_a_reset_lays_the_next_scene_with_no_commands_and_the_clock_goes_on(node):
    node._advance(0.0, 0.0)
    before, seed = node.said[-1][1], node._seed
    response = node._on_reset(None, SimpleNamespace(success=None, message=None))
    expected = Reach().reset(SimRobot(node.robot, 0), seed + 1)
    assert (response.success, response.message, node._seed) == (True, expected, seed + 1) and node.forgotten == [True]
    node.said.clear()
    node._advance(0.0, 0.0)
    assert before < node.said[0][1] < before + 1.0 and node._sim.time < 0.5


def test_its_health_says_the_scene_the_rates_and_what_is_too_slow(node, monkeypatch):
    node._task.progress, node._task.success = lambda sim: (2, 5), lambda sim: sim is node._sim
    rates = {"state": 100.0, "pictures": 20.0}
    monkeypatch.setattr(node, "_state_rate", SimpleNamespace(hz=lambda steady: rates["state"]))
    monkeypatch.setattr(node, "_render_rate", SimpleNamespace(hz=lambda steady: rates["pictures"]))
    node._loop.times.overruns = 3
    monkeypatch.setattr(node, "_skipped", 3)
    monkeypatch.setattr(node._loop.times, "timing", lambda: SimpleNamespace(late_p99=0.002))
    health = node._health()
    assert (health.level, health.message) == (OK, "keeps real time") and health.values["physics_late_ms_p99"] == 2.0
    assert {name: health.values[name] for name in ("scene", "seed", "instruction", "done", "total", "success")} == {
        "scene": "reach", "seed": node._seed, "instruction": node._instruction, "done": 2, "total": 5, "success": True,
    }  # fmt: skip
    assert (health.values["joint_states_hz"], health.values["pictures_hz"]) == (100.0, 20.0)
    assert (health.values["skipped_steps"], health.values["groups without commands"]) == (3, "base, lift")
    for state, pictures, words in (
        (97.5, 19.5, ""), (96.5, 20.0, "joint states at 96 of 100 Hz"), (100.0, 19.3, "pictures at 19 of 20 Hz"),
        (50.0, 10.0, "joint states at 50 of 100 Hz, pictures at 10 of 20 Hz"),
    ):  # fmt: skip
        rates.update(state=state, pictures=pictures)
        health = node._health()
        assert health.level == (WARN if words else OK)
        assert health.message == (f"cannot keep real time: {words}" if words else "keeps real time")
    logged = []
    monkeypatch.setattr(node.get_logger(), "error", logged.append)
    for number in (1, 2):
        node._failed(f"Traceback\n  line\nValueError: wrong {number}\n")
    health = node._health()
    assert (health.level, health.message) == (WARN, "the simulation failed: ValueError: wrong 2")
    assert len(logged) == 1 and "wrong 1" in logged[0]  # once a failure, not a hundred times a second


def test_it_starts_and_ends_physics_pictures_and_a_window_where_one_is_wanted(node, monkeypatch):
    did = []
    for name in ("_loop", "_render_loop"):
        loop = getattr(node, name)
        monkeypatch.setattr(loop, "start", lambda name=name: did.append(("start", name)))
        monkeypatch.setattr(loop, "stop", lambda name=name: did.append(("stop", name)))
    assert (node._loop.period, node._render_loop.period) == (STEP, 0.05)
    assert node.bring_up() is True and node._viewer is None
    node.shut_down("")
    assert did == [("start", "_loop"), ("start", "_render_loop"), ("stop", "_render_loop"), ("stop", "_loop")]
    import mujoco.viewer

    window = SimpleNamespace(close=lambda: did.append("closed"))
    monkeypatch.setattr(mujoco.viewer, "launch_passive", lambda *given, **how: did.append((given, how)) or window)
    monkeypatch.setattr(node._values, "viewer", True)
    monkeypatch.setattr(node, "_viewer", None)
    node.bring_up()
    assert did[4] == ((node._sim.model, node._seen), {"show_left_ui": False, "show_right_ui": False})
    node.shut_down("")
    assert did[-1] == "closed"


def test_without_a_clock_of_its_own_it_stamps_with_ros_time(node, monkeypatch):
    monkeypatch.setattr(node, "_own_clock", False)
    monkeypatch.setattr(node.clocks, "ros", lambda: 77.5)
    node._advance(0.0, 0.0)
    assert {at for _, at, _ in node.said} == {77.5}


@pytest.mark.parametrize(
    ("values", "words"), [({"robot": "nobody"}, "parameter robot: nobody"), ({"scene": "moon"}, "sim_robot: .*moon"), ({"world": "moon"}, "sim_robot: .*moon")]
)  # fmt: skip
def test_what_it_cannot_simulate_is_refused_with_the_name(made, values, words):
    with pytest.raises(ParameterError, match=words):
        SimRobotNode(overridden(**values))
