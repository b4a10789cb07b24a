"""A demo, scene by scene, on a stage whose time the test turns on."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
from pi0_ros.msg import ExecutorState
from rclpy.logging import get_logger

from pi0_ros.nodes.demo_record import DemoRecord, Stage
from pi0_ros.nodes.demo_script import GIVEN_UP, SCENE_TIMEOUT, TAKEOVER, TAKEOVER_SWING, DemoScript
from pi0_ros.robot import load_robot

ROBOT = load_robot("mobile_bimanual")
ARM = ROBOT.group("left_arm")
TICK = 0.1


class World:
    """Hands, stage and clock of a demo: `answers` says what a service does, `happens(world)` what goes on every tick."""

    def __init__(self, duration=0.0, takeover=False, happens=lambda world: None, ready_at=0.0):
        self.now, self.called, self.said, self.led, self.refused = 50.0, [], [], [], set()
        self.stage, self.arm, self._happens = Stage(mode="hold"), ARM, happens
        self.record = DemoRecord(ROBOT, lambda text: None)
        for group in self.record.monitor.groups.values():
            group.times.append(0.0)
        command = np.linspace(-0.3, 0.4, len(ROBOT.channel_names))
        self.ready_at = self.now + ready_at
        self._state = ExecutorState(
            channels=list(ROBOT.channel_names), command=list(command), underruns=5, reason="bump"
        )
        self.home = command[[ROBOT.index[c.name] for c in ARM.channels]]
        node = SimpleNamespace(get_logger=lambda: get_logger("demo"))
        self.script = DemoScript(node, self, self, self.stage, self.record, duration, takeover)
        self.engaged = math.inf

    def steady(self):
        return self.now

    def ready(self):
        return self.now >= self.ready_at

    def say(self, task):
        self.said.append(task)

    def lead(self, positions):
        self.led.append((self.now, positions))

    def call(self, name):
        self.called.append(name)
        well = name not in self.refused
        if well and name == "sim_robot/reset":
            self.stage.scene = {}
        elif well and name.startswith("executor/"):
            self.stage.mode = {"executor/reset": "hold"}.get(name, name.split("/")[1])
            self.engaged = self.now if self.stage.mode == "autonomy" else math.inf
        answer = SimpleNamespace(success=well, message="touch four blocks" if name == "sim_robot/reset" else "no")
        return SimpleNamespace(done=lambda: True, result=lambda: answer)

    def play(self, script, longest=1000.0):
        """Play a script to its end; the seconds that it took."""
        began = self.now
        for condition, timeout in script:
            until = self.now + timeout
            while not condition() and self.now < until:
                assert self.now < began + longest, "it does not end"
                self.now += TICK
                self.stage.state = self._state if self.now >= self.ready_at else None
                self.record.plans.chunks += 1
                self._happens(self)
        return self.now - began


def solve(world):
    """After four seconds of autonomy a block is done, after eight the scene."""
    driven = world.now - world.engaged
    done = int(driven > 4.0) + int(driven > 8.0)
    world.stage.scene = {"done": str(done), "total": "2", "success": str(done == 2)}


def test_a_demo_asks_for_a_scene_says_its_task_and_measures_from_the_first_autonomy_to_its_end():
    world = World(duration=40.0, happens=solve)
    world.play(world.script.play())
    assert world.called[:2] == ["sim_robot/reset", "executor/autonomy"]
    assert world.called[2:5] == ["executor/hold", "sim_robot/reset", "executor/autonomy"]
    assert set(world.said) == {"touch four blocks"} and world.record.takeovers == 0 and not world.led
    assert world.stage.elapsed(world.now) == pytest.approx(40.0, abs=0.3)
    tasks = world.record.report(world.stage, world.now)["tasks"]
    # A scene takes ten seconds with what is between; none is begun in the last ten.
    assert tasks == {"attempted": 8, "succeeded": 8} and world.called.count("sim_robot/reset") == 4
    assert not world.record.faults.texts


def test_once_in_the_middle_a_person_swings_one_joint_about_where_the_arm_was_commanded_and_gives_back():
    world = World(duration=40.0, takeover=True, happens=solve)
    world.play(world.script.play())
    k = world.called.index("executor/teleop")
    assert world.called.count("executor/teleop") == 1 and world.called[k + 1] == "executor/autonomy"
    swings = np.array([positions - world.home for _, positions in world.led])
    np.testing.assert_allclose(swings[0], 0.0, atol=1e-9)
    assert not swings[:, 1:].any()
    assert swings[:, 0].max() == pytest.approx(TAKEOVER_SWING, rel=0.02) == -swings[:, 0].min()
    times = [at for at, _ in world.led]
    assert times[-1] - times[0] == pytest.approx(TAKEOVER, abs=2 * TICK)
    rises = swings[: len(swings) // 4, 0]
    assert (np.diff(rises) >= 0.0).all() and rises[-1] > 0.1  # first towards positive angles


def test_a_scene_that_nobody_solves_ends_after_its_time():
    world = World()
    world.stage.state, world.stage.mode, world.stage.began = world._state, "autonomy", 0.0
    assert world.play(world.script.let_it_work(False)) == pytest.approx(SCENE_TIMEOUT, abs=2 * TICK)


def test_where_autonomy_ends_it_is_a_fault_and_is_asked_for_again():
    def bump(world):
        if 60.0 < world.now < 60.0 + 1.5 * TICK:
            world.stage.mode = "hold"
        solve(world)

    world = World(happens=bump)
    world.stage.state, world.stage.began = world._state, 0.0
    world.call("executor/autonomy")
    world.engaged = 58.0
    world.play(world.script.let_it_work(False))
    assert world.called == ["executor/autonomy"] * 2 and world.record.faults.texts == ["autonomy ended: bump"]
    assert world.stage.solved


@pytest.mark.parametrize("stopped", [False, True])
def test_autonomy_that_is_refused_is_asked_for_twenty_times_and_after_a_stop_there_is_a_reset_between(stopped):
    world = World()
    world.refused.update(["executor/autonomy", "executor/reset"])
    world.stage.mode = "stopped" if stopped else "hold"
    world.play(world.script._engage())
    assert world.called.count("executor/autonomy") == 20 and world.called.count("executor/reset") == 20 * stopped
    assert world.record.faults.texts == ["autonomy was refused twenty times"]


def test_a_network_that_says_for_a_while_that_it_is_done_is_believed():
    world = World()
    world.stage.state, world.stage.mode, world.stage.began = world._state, "autonomy", 0.0
    world.stage.finished_since = world.now + 3.0
    assert world.play(world.script.let_it_work(False)) == pytest.approx(3.0 + GIVEN_UP, abs=2 * TICK)


def test_without_an_executor_the_demo_ends_and_says_so():
    world = World(ready_at=1e6)
    world.play(world.script.play(), 1e4)
    assert world.record.faults.texts == ["no executor_state within 120 s"] and not world.called
