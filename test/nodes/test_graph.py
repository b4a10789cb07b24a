"""The graph as processes: simulated robot and executor, a scripted planner, and a person with services and a leader arm."""

import math
import signal
from pathlib import Path

import numpy as np
import pytest
from stand_in import Driver, Person, Planner
from test_executor import within_limits

from pi0_ros.robot.wire import to_wire

ENOUGH = 60.0
STAND_IN = str(Path(__file__).with_name("stand_in.py"))


class Recorder(Driver):
    """Sees the commands as the simulated robot does, and keeps quiet."""

    def __init__(self, graph, robot):
        super().__init__(graph, robot)
        self.silent = {"motion", *(s.topic for s in robot.state), *(c.name for c in robot.cameras)}


def reach(t):
    """Forwards and down with the left arm, as in the beginning of a reach."""
    return {"left_joint2": 0.25 * (1 - math.cos(min(t, math.pi))), "left_joint1": -0.15 * math.sin(min(t, math.pi))}


def test_a_person_takes_over_mid_reach_drives_an_arm_and_gives_back_without_a_step(graph, mobile):
    pytest.importorskip("mujoco")
    robot, file = mobile
    wire = graph.node(Recorder, robot)
    person = graph.node(Person, robot)
    graph.node(Planner, robot, reach)
    sim = graph.start("sim_robot", f"robot:={file}", "camera_rate:=5.0")
    executor = graph.start("executor", f"robot:={file}", "tracking_error:=1.0")
    graph.wait(lambda: wire.commands["left_arm"], "the first command", ENOUGH)
    person.insist("autonomy", lambda: np.ptp([v[1] for _, v in wire.commands["left_arm"]]) > 0.1, "reach")

    home = person.measured("left_arm")
    person.lead("left_arm", lambda t: home + 0.1 * math.sin(min(t, math.pi)))
    person.insist("teleop", lambda: wire.commands["left_arm"][-1][1][0] > home[0] + 0.05, "following")

    taken = person.state.chunks_accepted
    person.insist("autonomy", lambda: person.state.chunks_accepted > taken + 2, "chunks after giving back")
    driven = [mode for mode in person.modes if mode != "hold"]
    assert [mode for k, mode in enumerate(driven) if k == 0 or mode != driven[k - 1]] == [
        "autonomy",
        "teleop",
        "autonomy",
    ]
    for group in robot.groups:
        within_limits(wire, group.name)
    assert graph.end(executor) == 0 and graph.end(sim) == 0


def test_killing_the_planner_ends_in_hold_and_a_new_one_moves_nothing_unasked(graph, mobile):
    robot, file = mobile
    driver = graph.node(Driver, robot)
    person = graph.node(Person, robot)
    planner = graph.run_script(STAND_IN, file)
    graph.start("executor", f"robot:={file}", "policy_lost:=0.5", "tracking_error:=1.0", "black_box:=''")
    graph.wait(lambda: driver.commands["lift"] and person.chunks, "hold", ENOUGH)
    person.insist("autonomy", lambda: np.ptp([v[1] for _, v in driver.commands["left_arm"]]) > 0.05, "motion")
    assert graph.end(planner, signal.SIGKILL) == -signal.SIGKILL
    person.wait_mode("hold", ENOUGH)
    graph.wait(lambda: "policy silent" in person.state.reason, "the reason")
    graph.wait(lambda: person.health["executor"][0] == b"\x02", "an error in the diagnostics")
    graph.wait(lambda: not driver.steps("left_arm")[-10:].any(), "standstill")

    sent, before = len(driver.commands["left_arm"]), len(person.chunks)
    graph.run_script(STAND_IN, file)
    graph.wait(lambda: len(person.chunks) > before + 3, "chunks of the new one", ENOUGH)
    assert person.mode == "hold" and not driver.steps("left_arm")[sent:].any()
    person.insist("autonomy", lambda: driver.steps("left_arm")[sent:].any(), "motion when asked for")
    within_limits(driver, "left_arm")


def test_another_robot_with_other_topics_joint_orders_and_trajectories_runs_with_the_same_node(graph, aloha):
    robot, file = aloha
    driver = graph.node(Driver, robot)
    person = graph.node(Person, robot)
    graph.node(Planner, robot, lambda t: {"left_waist": 0.2 * math.sin(t), "right_gripper": 0.2 * math.sin(t)})
    graph.start("executor", f"robot:={file}", "tracking_error:=1.0")
    graph.wait(lambda: driver.commands["right_gripper"], "commands", ENOUGH)
    assert set(driver.commands) == {g.name for g in robot.groups}
    assert person.ask("autonomy")[0]
    graph.wait(lambda: np.ptp([v[0] for _, v in driver.commands["left_arm"]]) > 0.1, "the left arm to move", ENOUGH)
    graph.wait(lambda: np.ptp([v[0] for _, v in driver.commands["right_gripper"]]) > 0.05, "the gripper", ENOUGH)
    assert not np.ptp([v for _, v in driver.commands["right_arm"]], axis=0).any()

    (sent,) = driver.raw["left_arm"]
    assert sent.joint_names == ["waist", "shoulder", "elbow", "forearm_roll", "wrist_angle", "wrist_rotate"]
    times = [p.time_from_start.sec + p.time_from_start.nanosec * 1e-9 for p in sent.points]
    assert times[0] == pytest.approx(1.0 / robot.control_rate) and times == sorted(set(times))
    assert not any(sent.points[-1].velocities)
    (grip,) = driver.raw["right_gripper"]
    (last,) = to_wire(robot.group("right_gripper"), driver.commands["right_gripper"][-1][1])
    assert grip.points[0].positions[0] == pytest.approx(last)
    assert 0.018 <= last <= 0.059

    home = person.measured("left_arm")
    person.lead("left_arm", lambda t: home + 0.1 * min(t, 1.0))
    assert person.ask("teleop")[0]
    graph.wait(lambda: driver.commands["left_arm"][-1][1][1] > home[1] + 0.05, "the arm to follow its leader", ENOUGH)
    for group in robot.groups:
        within_limits(driver, group.name)
