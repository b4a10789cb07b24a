"""`use_sim_time`: everybody lives on /clock, and the simulated robot is who says what time it is."""

import signal

import numpy as np
import pytest
from builtin_interfaces.msg import Time
from rclpy.node import Node
from rclpy.parameter import Parameter
from rosgraph_msgs.msg import Clock
from stand_in import Driver, Person, Planner, SimulatedTime
from test_executor import within_limits
from test_graph import Recorder, reach

from pi0_ros.nodes.executor import ExecutorNode
from pi0_ros.nodes.policy import PolicyNode
from pi0_ros.ros.clock import seconds

ENOUGH = 60.0
SIMULATED = [Parameter("use_sim_time", value=True)]
LONG_AGO = 1e6
"""Seconds: any simulated time here is before it, any time of this century after."""


class Listener(Node):
    """Hears /clock."""

    def __init__(self, graph):
        super().__init__("listener")
        self.graph, self.times = graph, []
        self.create_subscription(Clock, "/clock", self._on_clock, 10)

    def _on_clock(self, message):
        self.times.append(seconds(message.clock))
        self.graph.notify()


@pytest.fixture
def simulation(graph, mobile):
    """Starts the simulated robot and the executor on /clock, and a planner that follows it."""
    pytest.importorskip("mujoco")
    robot, file = mobile
    clock, wire = graph.node(Listener), graph.node(Recorder, robot)
    person = graph.node(Person, robot)
    graph.node(Planner, robot, reach, parameter_overrides=SIMULATED)

    def simulate():
        return graph.start("sim_robot", f"robot:={file}", "camera_rate:=2.0", "use_sim_time:=true")

    sim = simulate()
    forgiving = ("tracking_error:=1.0", "start_gap:=1.0", "black_box:=''")
    executor = graph.start("executor", f"robot:={file}", "use_sim_time:=true", *forgiving)
    graph.wait(lambda: wire.commands["left_arm"] and person.state is not None, "the first command", ENOUGH)
    return clock, wire, person, (simulate, sim, executor)


def moved(wire, since=0):
    seen = [values[1] for _, values in wire.commands["left_arm"][since:]]
    return len(seen) > 20 and np.ptp(seen) > 0.05


def test_with_the_simulators_clock_every_stamp_is_simulated_and_autonomy_moves_the_arm(graph, simulation):
    clock, wire, person, (_, sim, executor) = simulation
    person.insist("autonomy", lambda: moved(wire), "motion")
    assert clock.times == sorted(clock.times) and clock.times[-1] < LONG_AGO
    first, last = clock.times[0], clock.times[-1]
    assert first - 1.0 < seconds(person.state.header.stamp) < last + 1.0
    assert abs(person.state.splice_delay) < last - first + 1.0  # on the wall clock it would be decades
    assert all(seconds(chunk.header.stamp) < LONG_AGO for chunk in person.chunks)
    for group in wire.robot.groups:
        within_limits(wire, group.name)
    assert graph.end(executor) == 0 and graph.end(sim) == 0


def test_a_reset_of_the_scene_does_not_turn_the_clock_back(graph, simulation):
    clock, _, person, *_ = simulation
    assert person.ask("reset", "sim_robot")[0]
    heard = len(clock.times)
    graph.wait(lambda: len(clock.times) > heard + 50, "the clock to go on")
    assert clock.times == sorted(clock.times)


def test_a_simulator_that_dies_stops_the_robot_and_a_new_one_is_driven_again_when_asked(graph, simulation):
    clock, wire, person, (simulate, sim, executor) = simulation
    person.insist("autonomy", lambda: moved(wire), "motion")
    assert graph.end(sim, signal.SIGKILL) == -signal.SIGKILL
    # The clock stands still and the joints are silent; the watchdogs live on another clock.
    person.wait_mode("stopped", ENOUGH)
    assert not wire.steps("left_arm")[-3:].any()
    within_limits(wire, "left_arm")
    assert executor.poll() is None

    heard, sent = len(clock.times), len(wire.commands["left_arm"])
    simulate()
    graph.wait(lambda: len(clock.times) > heard + 10, "another clock", ENOUGH)
    assert clock.times[-1] < clock.times[heard - 1] + LONG_AGO
    graph.wait(lambda: len(wire.commands["left_arm"]) > sent, "commands from where the new robot is", ENOUGH)
    assert person.mode == "stopped"
    graph.wait(lambda: person.ask("reset")[0], "a reset")
    sent = len(wire.commands["left_arm"])
    person.insist("autonomy", lambda: moved(wire, sent), "motion of the new robot")


def test_a_policy_plans_on_simulated_time_and_goes_on_after_the_clock_jumped_back(
    graph, mobile, make_checkpoint, tmp_path
):
    robot, file = mobile
    clock = graph.add(SimulatedTime())
    graph.node(Driver, robot, parameter_overrides=SIMULATED)
    person = graph.node(Person, robot)
    graph.managed(ExecutorNode, robot=file, use_sim_time=True, realtime_priority=0, black_box="")
    given = {"robot": file, "checkpoint": str(make_checkpoint(tmp_path)), "prompt": "task", "idle_period": 0.2}
    graph.managed(PolicyNode, use_sim_time=True, **given)
    person.say("go")
    graph.wait(lambda: sum(seconds(c.header.stamp) >= 100.0 for c in person.chunks) > 2, "plans", ENOUGH)
    assert all(seconds(chunk.header.stamp) < LONG_AGO for chunk in person.chunks)
    clock.set(5.0)
    graph.wait(lambda: seconds(person.chunks[-1].header.stamp) < 100.0, "a plan after the jump", ENOUGH)
    planned = len(person.chunks)
    graph.wait(lambda: len(person.chunks) > planned + 2, "more plans", ENOUGH)
    stamps = [seconds(chunk.header.stamp) for chunk in person.chunks[planned:]]
    assert stamps == sorted(stamps) and stamps[0] >= 5.0


@pytest.mark.parametrize("stamped", [True, False])
def test_a_clock_that_stands_still_stops_the_base_with_and_without_stamps(graph, mobile, stamped):
    robot, file = mobile
    clock = graph.add(SimulatedTime())
    driver = graph.node(Driver, robot, parameter_overrides=SIMULATED)
    if not stamped:
        driver.stamp = Time  # "the receive time is used"
    person = graph.node(Person, robot)
    graph.node(Planner, robot, lambda _: {"base_vx": 0.3}, parameter_overrides=SIMULATED)
    graph.managed(ExecutorNode, robot=file, use_sim_time=True, realtime_priority=0, black_box="", tracking_error=1.0)
    graph.wait(lambda: driver.commands["base"], "the first command")
    person.insist("autonomy", lambda: driver.commands["base"][-1][1][0] > 0.2, "motion of the base")
    clock.stopped = True
    person.wait_mode("hold")
    graph.wait(lambda: driver.commands["base"][-1][1][0] == 0.0, "standstill")
    ok, why = person.ask("autonomy")
    assert not ok and ("stood still" in why or stamped)
    within_limits(driver, "base")


def test_without_a_clock_every_node_says_so_and_the_way_out(graph, mobile):
    robot, file = mobile
    graph.node(Driver, robot)  # on the wall clock, as the drivers of a robot are
    person = graph.node(Person, robot)
    graph.managed(ExecutorNode, robot=file, realtime_priority=0, black_box="", use_sim_time=True)

    def health():
        return person.health.get("executor", (b"\0", "", {}))

    graph.wait(lambda: "nobody publishes /clock" in health()[1] and health()[2], "the sentence and its values", ENOUGH)
    level, sentence, values = health()
    assert level == b"\x02" and "set use_sim_time:=false" in sentence and values
    clock = graph.add(SimulatedTime())
    graph.wait(lambda: "/clock" not in health()[1], "time", ENOUGH)
    clock.stopped = True
    graph.wait(lambda: "/clock stands still" in health()[1], "the clock to be missed", ENOUGH)
