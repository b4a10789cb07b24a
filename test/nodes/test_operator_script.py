"""An operator in the simulator, scene by scene, on a stage whose time the test turns on."""

import math
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("rclpy")
pytest.importorskip("mujoco", reason="needs the extra `sim`")

from nav_msgs.msg import Odometry
from pi0_ros.msg import ExecutorState
from rclpy.logging import get_logger
from sensor_msgs.msg import JointState

from pi0_ros.nodes.operator_script import LINGER, SETTLE, TRIES, OperatorScript, OperatorView

TICK = 0.05


class World:
    """Graph, clock and the person who looks on: `fate` says of every scene in which second of it what happens."""

    def __init__(self, fates=(), corrections=9, scenes=9):
        self.now, self.log, self.fates = 50.0, [], list(fates)
        self.refused, self.silent, self.absent = set(), set(), set()
        self.solved = self.lost = False
        self.objection, self.task, self.began = "", SimpleNamespace(time_limit=20.0), math.inf
        self.mode, self.joints, self.pose = "hold", {"j": 0.5}, (1.0, 2.0, 3.0)
        self.scene, self.seen, self.led = {}, [], []
        self.state = SimpleNamespace(command=[0.25, -0.5], measured=[0.75, 1.5])
        script = self.script = OperatorScript.__new__(OperatorScript)
        script._clocks, script._log, script._watcher = self, get_logger("operator"), self
        script._heard, script._leaders = self, SimpleNamespace(lead=self.led.append)
        script._task = SimpleNamespace(publish=lambda message: self.log.append(("task", message.data)))
        names = ("executor/hold", "executor/autonomy", "executor/teleop", "executor/reset", "sim_robot/reset")
        script._calls = {n: self._service(n) for n in names}
        script._most, script._began, script._driving = (corrections, scenes), math.inf, False
        script.counts = {"scenes": 0, "alone": 0, "corrected": 0, "lost": 0}

    def _service(self, name):
        return SimpleNamespace(service_is_ready=lambda: name not in self.absent, call_async=lambda _: self._call(name))

    def _call(self, name):
        self.log.append(name)
        if name == "sim_robot/reset":
            number = self.log.count(name)
            self.scene = {"instruction": f"task {number}", "scene": "touch_all", "seed": str(10 * number)}
        text = self.scene.get("instruction", "")
        answer = SimpleNamespace(success=name not in self.refused, message=text if name == "sim_robot/reset" else "no")
        return SimpleNamespace(done=lambda: name not in self.silent, result=lambda: answer)

    # --- clock and watcher ---

    def steady(self):
        return self.now

    def begin(self, scene, seed):
        self.log.append(("begin", scene, seed))
        self.solved = self.lost = False
        self.objection, self.fate = "", {}

    def look_anew(self):
        self.log.append("look anew")
        self.began, self.fate = self.now, self.fates.pop(0) if self.fates else {}

    def see(self, elapsed, joints, pose):
        self.seen.append((round(elapsed, 3), joints, pose))

    def take(self, command):
        self.log.append(("take", command.tolist()))
        self.taken = self.now

    def lead(self, measured):
        return measured.tolist()

    def play(self, script):
        began = self.now
        try:
            condition, timeout = next(script)
            while True:
                until = self.now + timeout
                while not condition() and self.now < until:
                    self.now += TICK
                    assert self.now < began + 5000.0, "it does not end"
                    for what, second in getattr(self, "fate", {}).items():
                        if self.now - self.began > second:
                            setattr(self, what, "too far" if what == "objection" else True)
                    self.script.every_period()
                condition, timeout = script.send(None)
        except StopIteration as end:
            return end.value


ALONE, CORRECTED, LOST = {"solved": 4.0}, {"objection": 3.0, "solved": 9.0}, {"lost": 2.0}


def test_scenes_are_counted_by_how_they_ended_until_there_are_enough_corrections():
    world = World([ALONE, LOST, CORRECTED, {}, CORRECTED], corrections=2)
    world.play(world.script.play())
    assert world.script.counts == {"scenes": 5, "alone": 1, "corrected": 2, "lost": 2}
    assert [entry for entry in world.log if entry[0] == "begin"] == [
        ("begin", "touch_all", 10 * k) for k in (1, 2, 3, 4, 5)
    ]
    assert [entry for entry in world.log if entry[0] == "task"] == [("task", f"task {k}") for k in (1, 2, 3, 4, 5)]


def test_it_ends_after_so_many_scenes_however_they_went():
    world = World([LOST, ALONE, ALONE], scenes=2)
    world.play(world.script.play())
    assert world.script.counts == {"scenes": 2, "alone": 1, "corrected": 0, "lost": 1}


def test_a_correction_begins_where_the_arm_was_commanded_and_ends_a_moment_after_the_task_is_done():
    world = World([CORRECTED])
    assert world.play(world.script._one_scene()) == "corrected"
    assert world.log == [
        "executor/hold", "sim_robot/reset", ("begin", "touch_all", 10), ("task", "task 1"), "executor/autonomy",
        "look anew", ("take", [0.25, -0.5]), "executor/teleop", "executor/hold",
    ]  # fmt: skip
    assert world.taken - world.began == pytest.approx(3.0, abs=2 * TICK)
    assert world.now - world.taken == pytest.approx(6.0 + LINGER, abs=4 * TICK)
    # It looks from the beginning of the scene on, anew from the take-over on, and leads from then on alone.
    elapsed = [at for at, _, _ in world.seen]
    assert elapsed[0] == pytest.approx(TICK, abs=TICK) and elapsed[len(elapsed) // 4] < 3.1
    assert {(tuple(j.items()), p) for _, j, p in world.seen} == {((("j", 0.5),), (1.0, 2.0, 3.0))}
    assert len(world.led) == pytest.approx((world.now - world.taken) / TICK, abs=4) and world.led[0] == [0.75, 1.5]
    assert world.script._began == math.inf and not world.script._driving


def test_a_scene_of_which_nothing_comes_is_lost_after_the_time_of_its_task():
    world = World([{}])
    assert world.play(world.script._one_scene()) == "lost" and world.now - world.began == pytest.approx(20.0, abs=0.2)


@pytest.mark.parametrize(("mode", "resets"), [("hold", 0), ("stopped", TRIES)])
def test_autonomy_that_is_refused_is_asked_for_again_and_after_a_stop_there_is_a_reset_between(mode, resets):
    world = World()
    world.refused, world.mode = {"executor/autonomy"}, mode
    began = world.now
    world.play(world.script._engage())
    assert world.log.count("executor/autonomy") == TRIES and world.log.count("executor/reset") == resets
    assert world.now - began == pytest.approx(0.3 + 0.5 * TRIES, abs=TICK * (TRIES + 2))


def test_a_service_that_does_not_answer_has_five_seconds():
    world = World()
    world.silent = {"executor/hold"}
    began = world.now
    assert world.play(world.script._ask("executor/hold")) is None and world.now - began == pytest.approx(
        5.0, abs=2 * TICK
    )


def test_without_the_services_it_ends_before_its_first_scene():
    world = World()
    world.absent = {"executor/teleop"}
    world.play(world.script.play())
    assert world.log == [] and world.script.counts["scenes"] == 0


def test_before_a_scene_nothing_is_looked_at():
    world = World()
    world.script.every_period()
    assert world.seen == [] and world.led == [] and SETTLE > 0.0


def test_what_the_robot_says_is_kept_as_it_is():
    view = OperatorView.__new__(OperatorView)
    view._place, view.joints, view.state = "left", {}, ExecutorState()
    assert view.mode == ""
    view._on_joints(JointState(name=["a", "b"], position=[0.5, -1.0]))
    view._on_joints(JointState(name=["b"], position=[2.0]))
    assert view.joints == {"a": 0.5, "b": 2.0}
    pose = Odometry()
    pose.pose.pose.position.x, pose.pose.pose.position.y = 1.5, -0.25
    pose.pose.pose.orientation.z, pose.pose.pose.orientation.w = math.sin(0.4), math.cos(0.4)
    view._on_odometry(pose)
    np.testing.assert_allclose(view.pose, (1.5, -0.25, 0.8))
    view._on_state(ExecutorState(mode=ExecutorState.TELEOP, channels=["a"]))
    assert view.mode == "teleop"
