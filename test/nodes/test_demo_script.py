"""A demo, scene by scene, on a stage whose time the test turns on."""

import math
from contextlib import suppress
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from pi0_ros.msg import ExecutorState
from sensor_msgs.msg import JointState
from std_msgs.msg import String
from std_srvs.srv import Trigger
from wiring import Alone, written

from pi0_ros.nodes.demo_record import DemoRecord, Stage
from pi0_ros.nodes.demo_script import SERVICES, DemoHands, DemoScript
from pi0_ros.robot import load_robot
from pi0_ros.robot.spec import Kind

ROBOT = load_robot("mobile_bimanual")
ARM = ROBOT.group("left_arm")
TICK = 0.1
FIRST, TAKEOVER = 8.0, 4.0  # [s] until a person takes over, and for how long
SCENE_TIMEOUT, START_TIMEOUT = 45.0, 120.0


class World:
    """Hands, stage and clock of a demo: `answers` says what a service does, `happens(world)` what goes on every tick."""

    def __init__(self, duration=0.0, takeover=False, happens=lambda world: None, ready_at=0.0, arm=ARM):
        self.now, self.called, self.said, self.led, self.refused = 50.0, [], [], [], set()
        self.times, self.silent, self.log, self.planning_at = [], set(), [], 0.0
        self.stage, self.arm, self._happens = Stage(mode="hold"), arm, happens
        self.record = DemoRecord(ROBOT, lambda text: None)
        for group in self.record.monitor.groups.values():
            group.times.append(0.0)
        command = np.linspace(-0.3, 0.4, len(ROBOT.channel_names))
        self.ready_at = self.now + ready_at
        self._state = ExecutorState(
            channels=list(ROBOT.channel_names), command=list(command), underruns=5, reason="bump"
        )
        self.home = command[[ROBOT.index[c.name] for c in ARM.channels]]
        log = SimpleNamespace(info=self.log.append, warning=self.log.append)
        node = SimpleNamespace(get_logger=lambda: log)
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
        self.led_before = len(self.led)
        self.times.append(self.now)
        well = name not in self.refused
        if well and name == "sim_robot/reset":
            self.stage.scene = {}
        elif well and name.startswith("executor/"):
            self.stage.mode = {"executor/reset": "hold"}.get(name, name.split("/")[1])
            self.engaged = self.now if self.stage.mode == "autonomy" else math.inf
        answer = SimpleNamespace(success=well, message="touch four blocks" if name == "sim_robot/reset" else "no")
        return SimpleNamespace(done=lambda: name not in self.silent, result=lambda: answer)

    def play(self, script, longest=1000.0):
        """Play a script to its end; the seconds that it took."""
        began = self.now
        for condition, timeout in script:
            until = self.now + timeout
            over = lambda: self.stage.running and self.script.left <= 0.0
            while not condition() and self.now < until and not over():
                assert self.now < began + longest, "it does not end"
                self.now += TICK
                self.stage.state = self._state if self.now >= self.ready_at else None
                self.record.plans.chunks = int(self.now >= self.planning_at)
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
    # The arms are where the reset has put them before the task is said; after a scene the executor holds first.
    waits = np.diff(world.times[:6])
    np.testing.assert_allclose(waits, [1.5, waits[1], 0.5, 1.5, waits[4]], atol=1.5 * TICK)
    assert world.log[:2] == ["measuring: touch four blocks", "scene over: 2 of 2"]
    report = world.record.report(world.stage, world.now)
    assert report["motion"]["underruns"] == 0 and report["policy"]["chunks"] > 0  # those of before do not count


def test_a_demo_that_is_too_short_for_a_second_scene_has_one_and_is_measured_to_its_end():
    world = World(duration=9.0, happens=solve)
    world.play(world.script.play())
    assert world.called.count("sim_robot/reset") == 1
    assert world.stage.elapsed(world.now) == pytest.approx(9.0, abs=3 * TICK)


def test_a_demo_begins_once_there_is_somebody_to_ask_and_measures_once_a_plan_has_come():
    world = World(duration=9.0, happens=solve, ready_at=7.0)
    world.planning_at = world.now + 30.0
    world.play(world.script.play())
    assert world.times[0] == pytest.approx(57.0, abs=2 * TICK) and world.stage.began == pytest.approx(80.0, abs=0.5)
    world = World(duration=9.0, happens=solve)
    world.stage.state, world.ready = world._state, lambda: False
    world.play(world.script.play())  # the executor says something, and offers nothing: asked all the same, in the end
    assert world.times[0] == pytest.approx(50.0 + START_TIMEOUT, abs=3 * TICK)
    world = World(duration=9.0, happens=solve)
    world.record.monitor.groups["base"].times.clear()  # one group is not commanded
    world.play(world.script.play())
    assert world.times[0] == pytest.approx(50.0 + START_TIMEOUT, abs=3 * TICK)


@pytest.mark.parametrize(("duration", "scenes"), [(0.0, 0), (80.0, 0), (120.0, 2), (160.0, 4)])
def test_a_person_takes_over_in_the_first_scene_that_may_last_until_the_middle(duration, scenes):
    """A scene takes ten seconds here, and may take 45."""
    world = World(duration=duration, takeover=True, happens=solve)
    with suppress(AssertionError):  # one of no duration has no end
        world.play(world.script.play(), 60.0 + 2.0 * duration)
    before = world.called[: world.called.index("executor/teleop")]
    assert before.count("sim_robot/reset") == scenes + 1


def test_a_person_takes_over_once_something_is_done_or_after_a_while():
    for happens, after in ((solve, 4.0), (lambda world: None, FIRST)):
        world = World(happens=happens)
        world.stage.state, world.stage.began = world._state, world.now
        world.call("executor/autonomy")
        script, began = world.script.let_it_work(True), world.now
        with pytest.raises(AssertionError):
            world.play(script, after + 1.0)
        assert world.led_before == 1  # the leader is where the arm is before anybody drives
        assert world.called[1] == "executor/teleop" and world.times[1] - began == pytest.approx(after, abs=2 * TICK)


def test_a_scene_in_which_a_person_took_over_may_last_so_much_longer():
    world = World()
    world.stage.state, world.stage.began = world._state, world.now
    world.call("executor/autonomy")
    assert world.play(world.script.let_it_work(True)) == pytest.approx(SCENE_TIMEOUT + TAKEOVER, abs=3 * TICK)


def test_once_in_the_middle_a_person_swings_one_joint_about_where_the_arm_was_commanded_and_gives_back():
    world = World(duration=40.0, takeover=True, happens=solve)
    world.play(world.script.play())
    k = world.called.index("executor/teleop")
    assert world.called.count("executor/teleop") == 1 and world.called[k + 1] == "executor/autonomy"
    swings = np.array([positions - world.home for _, positions in world.led])
    np.testing.assert_allclose(swings[0], 0.0, atol=1e-9)
    assert not swings[:, 1:].any()
    assert swings[:, 0].max() == pytest.approx(0.12, rel=0.02) == -swings[:, 0].min()
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
    assert world.stage.solved and world.times[1] == pytest.approx(60.0 + 1.5, abs=3 * TICK)


@pytest.mark.parametrize("stopped", [False, True])
def test_autonomy_that_is_refused_is_asked_for_twenty_times_and_after_a_stop_there_is_a_reset_between(stopped):
    world = World()
    world.refused.update(["executor/autonomy", "executor/reset"])
    world.stage.mode = "stopped" if stopped else "hold"
    assert world.play(world.script._engage()) == pytest.approx(20 * 0.5, abs=42 * TICK)
    assert world.log == [f"{name}: no" for name in world.called]
    assert world.called.count("executor/autonomy") == 20 and world.called.count("executor/reset") == 20 * stopped
    assert world.record.faults.texts == ["autonomy was refused twenty times"]


def test_a_network_that_says_for_a_while_that_it_is_done_is_believed():
    world = World()
    world.stage.state, world.stage.mode, world.stage.began = world._state, "autonomy", 0.0
    world.stage.finished_since = world.now + 3.0
    world.stage.scene = {"done": "2", "total": "5"}
    assert world.play(world.script.let_it_work(False)) == pytest.approx(3.0 + 6.0, abs=2 * TICK)
    assert "after 2 of 5" in world.log[-1]
    world.log.clear()
    world.stage.scene = {"done": "5", "total": "5", "success": "True"}
    world.play(world.script.let_it_work(False))
    assert not world.log  # what is solved is not given up

    def both(world):
        if world.now > 80.0:
            world.stage.finished_since, world.stage.scene = 0.0, {"done": "5", "total": "5", "success": "True"}

    world = World(happens=both)
    world.stage.state, world.stage.mode, world.stage.began = world._state, "autonomy", 0.0
    assert world.play(world.script.let_it_work(False)) == pytest.approx(30.0, abs=2 * TICK) and not world.log


def test_until_the_last_moment_autonomy_that_ended_is_a_fault_and_a_scene_counts_as_a_whole():
    world = World(duration=60.0)
    world.stage.state, world.stage.began = world._state, world.now - 59.2
    world.stage.scene = {"done": "1", "total": "5"}
    world.play(world.script.let_it_work(False))
    assert world.record.faults.texts == ["autonomy ended: bump"]
    world.now = world.stage.began + 59.2
    world.script.end_scene()
    assert world.record.attempted == 5


def test_what_was_not_reached_for_when_time_was_up_was_not_attempted():
    def slow(world):
        solve(world)
        world.stage.scene["total"] = "5"

    world = World(duration=6.0, happens=slow)
    world.play(world.script.play())
    assert world.record.report(world.stage, world.now)["tasks"] == {"attempted": 2, "succeeded": 1}


def test_a_service_that_does_not_answer_is_a_fault_after_five_seconds():
    world = World()
    world.silent = {"sim_robot/reset"}
    assert world.play(world.script._ask("sim_robot/reset")) == pytest.approx(5.0, abs=2 * TICK)
    assert world.record.faults.texts == ["sim_robot/reset did not answer"] and not world.log
    world.play(world.script._start_scene())
    assert world.said == [""]  # nobody knows the task then


def test_without_an_executor_the_demo_ends_and_says_so():
    world = World(ready_at=1e6)
    world.play(world.script.play(), 1e4)
    assert world.record.faults.texts == ["no executor_state within 120 s"] and not world.called


def test_hands_say_a_task_move_the_leader_of_the_first_arm_and_call_by_name(monkeypatch):
    alone = Alone("demo", namespace="left")
    hands = DemoHands(alone.node, ROBOT)
    assert hands.arm == ROBOT.groups[0] and hands.arm.teleop is not None
    assert {(c.srv_name, c.srv_type) for c in alone.node.clients} == {(name, Trigger) for name in SERVICES}
    topics = {("/left/task", String), (f"/left/{hands.arm.teleop.topic}", JointState)}
    assert written(alone.node) == topics and not hands.ready()
    sent = []
    for publisher in alone.node.publishers:
        monkeypatch.setattr(publisher, "publish", sent.append, raising=False)
    hands.say("touch it")
    hands.lead([0.1, 0.2, -0.3, 0.4, 0.5, 0.6])
    assert sent[0] == String(data="touch it")
    assert sent[1].name == list(hands.arm.teleop.joints) and sent[1].header.stamp.sec > 0
    np.testing.assert_allclose(sent[1].position, [0.1, 0.2, -0.3, 0.4, 0.5, 0.6])
    calls = []
    for client in alone.node.clients:
        name = client.srv_name
        monkeypatch.setattr(
            client, "call_async", lambda request, name=name: calls.append((name, request)), raising=False
        )
        here = name in ("executor/autonomy", "sim_robot/reset")
        monkeypatch.setattr(client, "service_is_ready", lambda here=here: here, raising=False)
    assert hands.ready()
    hands.call("executor/hold")
    assert calls == [("executor/hold", Trigger.Request())]
    for client in alone.node.clients:
        if client.srv_name in ("executor/autonomy", "sim_robot/reset"):
            monkeypatch.setattr(client, "service_is_ready", lambda: False, raising=False)
            assert not hands.ready()
            monkeypatch.setattr(client, "service_is_ready", lambda: True, raising=False)
    alone.close()


def test_a_robot_that_nobody_can_lead_is_taken_over_by_nobody():
    alone, robot = Alone("demo"), replace(ROBOT, groups=tuple(replace(g, teleop=None) for g in ROBOT.groups))
    assert DemoHands(alone.node, robot).arm is None and written(alone.node) == {("/task", String)}
    second = replace(robot, groups=(robot.groups[0], *ROBOT.groups[1:]))
    assert DemoHands(alone.node, second).arm == ROBOT.group("right_arm")
    wheels = replace(ROBOT, groups=tuple(g for g in ROBOT.groups if g.kind is not Kind.POSITION))
    assert any(g.teleop for g in wheels.groups) and DemoHands(alone.node, wheels).arm is None
    alone.close()
    world = World(duration=40.0, takeover=True, happens=solve, arm=None)
    world.play(world.script.play())
    assert not world.led and "executor/teleop" not in world.called
