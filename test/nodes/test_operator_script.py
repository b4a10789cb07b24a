"""An operator in the simulator, scene by scene, on a stage whose time the test turns on."""

import math
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("rclpy")
pytest.importorskip("mujoco", reason="needs the extra `sim`")

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from nav_msgs.msg import Odometry
from pi0_ros.msg import ExecutorState
from sensor_msgs.msg import JointState
from std_msgs.msg import String
from std_srvs.srv import Trigger
from wiring import Alone, deliver, read, written

from pi0_ros.nodes.operator_script import SERVICES, OperatorScript, OperatorView
from pi0_ros.robot import load_robot

TICK = 0.05
TRIES = 40  # to get autonomy
ROBOT = load_robot("mobile_bimanual")


@pytest.fixture(scope="module", autouse=True)
def node():
    """The operator's node; every world has its script on it."""
    alone = Alone("operator", namespace="left")
    World.node = alone.node
    yield alone.node
    alone.close()


class World:
    """Graph, clock and the person who looks on: `fate` says of every scene in which second of it what happens."""

    node = None

    def __init__(self, fates=(), corrections=9, scenes=9):
        self.now, self.log, self.fates, self.said = 50.0, [], list(fates), []
        self.refused, self.silent, self.absent = set(), set(), set()
        self.solved = self.lost = False
        self.objection, self.task, self.began = "", SimpleNamespace(time_limit=20.0), math.inf
        self.mode, self.joints, self.pose = "hold", {"j": 0.5}, (1.0, 2.0, 3.0)
        self.scene, self.seen, self.led = {}, [], []
        self.state = SimpleNamespace(command=[0.25, -0.5], measured=[0.75, 1.5])
        script = self.script = OperatorScript(self.node, self, ROBOT, self, corrections, scenes)
        script._heard, script._leaders = self, SimpleNamespace(lead=self.led.append)
        script._task = SimpleNamespace(publish=lambda message: self.log.append(("task", message.data)))
        script._calls = {n: self._service(n) for n in script._calls}
        script._log = SimpleNamespace(**{level: self.said.append for level in ("info", "warning", "error")})

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
    assert set(world.script.counts.values()) == {0}
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
    assert world.now - world.taken == pytest.approx(6.0 + 0.4, abs=4 * TICK)
    # It looks from the beginning of the scene on, anew from the take-over on, and leads from then on alone.
    elapsed = [at for at, _, _ in world.seen]
    assert len(elapsed) == pytest.approx((world.now - world.began) / TICK, abs=5)
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
    assert world.said == [f"autonomy was refused {TRIES} times: no"]


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
    began = world.now
    world.play(world.script.play())
    assert world.log == [] and world.script.counts["scenes"] == 0 and world.now - began == pytest.approx(120.0, abs=0.2)
    (text,) = world.said
    assert "nobody offers executor/teleop:" in text
    world = World()
    world.mode = ""  # all services, and no word of the executor
    world.play(world.script.play())
    assert world.log == [] and "nobody offers executor_state:" in world.said[0]


def test_before_a_scene_nothing_is_looked_at():
    world = World()
    world.script.every_period()
    assert world.seen == [] and world.led == []


def test_autonomy_that_nobody_answers_about_is_no_autonomy_and_is_said_so_in_the_end():
    world = World()
    world.silent = {"executor/autonomy"}
    world.play(world.script._engage())
    assert world.log.count("executor/autonomy") == TRIES and world.said[-1].endswith("times: no answer")


def test_a_person_who_does_not_get_there_gives_back_after_twelve_seconds():
    world = World([{"objection": 3.0}])
    assert world.play(world.script._one_scene()) == "lost"
    assert world.now - world.taken == pytest.approx(12.0 + 0.4, abs=4 * TICK) and world.log[-1] == "executor/hold"


def test_an_objection_to_what_is_solved_or_lost_already_takes_nobody_over():
    for fate, how in (({"objection": 3.0, "solved": 3.0}, "alone"), ({"objection": 3.0, "lost": 3.0}, "lost")):
        world = World([fate])
        assert world.play(world.script._one_scene()) == how and "executor/teleop" not in world.log


def test_a_scene_begins_a_second_after_the_reset_once_the_simulation_says_the_same_words():
    world, scenes = World([ALONE]), []

    class Heard:
        scene = property(lambda self: {"instruction": "task 1", "seed": "9"} if world.now > 57.0 else {})

    world.script._heard, began = Heard(), world.now
    world.begin = lambda *given: scenes.append((given, world.now - began))
    assert world.play(world.script._next_scene()) == "task 1"
    assert scenes == [(("reach", 9), pytest.approx(7.0, abs=2 * TICK))]
    world.script._heard = SimpleNamespace(scene={})  # it never says so
    began = world.now
    world.play(world.script._next_scene())
    assert scenes[1] == (("reach", 0), pytest.approx(1.0 + 10.0, abs=3 * TICK))


def health(name, **values):
    told = [KeyValue(key=key, value=value) for key, value in values.items()]
    return DiagnosticArray(status=[DiagnosticStatus(name=name, values=told)])


def test_what_the_robot_says_is_kept_as_it_is():
    alone = Alone("view", namespace="left")
    view, here = OperatorView(alone.node, ROBOT), alone.node
    assert view.mode == "" and view.pose == (0.0, 0.0, 0.0) and view.joints == view.scene == {}
    deliver(here, "joint_states", JointState(name=["a", "b"], position=[0.5, -1.0]))
    deliver(here, "joint_states", JointState(name=["b"], position=[2.0]))
    assert view.joints == {"a": 0.5, "b": 2.0}
    pose = Odometry()
    pose.pose.pose.position.x, pose.pose.pose.position.y = 1.5, -0.25
    pose.pose.pose.orientation.z, pose.pose.pose.orientation.w = math.sin(0.4), math.cos(0.4)
    deliver(here, "odom", pose)
    np.testing.assert_allclose(view.pose, (1.5, -0.25, 0.8))
    deliver(here, "executor_state", ExecutorState(mode=ExecutorState.TELEOP, channels=["a"]))
    assert view.mode == "teleop"
    for place in ("left/sim_robot", "right/sim_robot", "left/executor", "sim_robot"):
        deliver(here, "/diagnostics", health(place, scene=place))
        assert view.scene == {"scene": "left/sim_robot"}  # not another robot's, and not another node's
    alone.close()


def test_it_asks_and_tells_those_of_its_own_namespace(node):
    OperatorScript(node, None, ROBOT, None, 1, 1)
    assert {(client.srv_name, client.srv_type) for client in node.clients} == {(name, Trigger) for name in SERVICES}
    assert ("/left/task", String) in written(node)
    assert {("/left/joint_states", JointState), ("/left/odom", Odometry), ("/diagnostics", DiagnosticArray)} < read(
        node
    )
