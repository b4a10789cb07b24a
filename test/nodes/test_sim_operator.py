"""The scripted person lets a policy fail, takes over through the teleop topics, touches the block and ends."""

import pytest
from stand_in import Person, Planner

pytest.importorskip("mujoco")

ENOUGH = 120.0


def test_where_a_policy_comes_no_closer_it_takes_over_and_drives_to_the_block(graph, mobile):
    robot, file = mobile
    person = graph.node(Person, robot, drives=False)
    graph.node(Planner, robot)  # stays where it is
    graph.start("sim_robot", f"robot:={file}", "scene:=reach", "seed:=5", "camera_rate:=1.0")
    graph.start("executor", f"robot:={file}", "tracking_error:=1.0", "black_box:=''")
    operator = graph.start("sim_operator", f"robot:={file}", "corrections:=1", "scenes:=4")
    graph.wait(lambda: operator.poll() is not None, "the end of the script", 3 * ENOUGH)
    said = "\n".join(operator.said)
    assert operator.returncode == 0, said
    assert "taking over: it came" in said and "1 of 1 corrections" in said and "over: " in said
    driven = [mode for k, mode in enumerate(person.modes) if k == 0 or mode != person.modes[k - 1]]
    assert "autonomy" in driven and "teleop" in driven[driven.index("autonomy") :]
