"""The scripted person lets a policy fail, takes over through the teleop topics, touches the block and ends."""

from types import SimpleNamespace

import pytest
from rclpy.parameter import Parameter
from stand_in import Person, Planner

pytest.importorskip("mujoco")

from pi0_ros.nodes.sim_operator import SimOperatorNode
from pi0_ros.ros.parameters import ParameterError

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


def test_its_script_goes_on_when_its_condition_holds_or_its_time_is_over(graph, monkeypatch):
    ended, now, said, looked, steps, holds = [], [50.0], [], [], [], [False]
    given = [Parameter("corrections", value=3), Parameter("scenes", value=5)]
    node = SimOperatorNode(SimpleNamespace(end=ended.append), parameter_overrides=given)
    assert node.script._most == (3, 5) and node.bring_up() is True
    assert [timer.timer_period_ns for timer in node.timers] == [20_000_000]
    monkeypatch.setattr(node.clocks, "steady", lambda: now[0])
    monkeypatch.setattr(node.get_logger(), "info", said.append)
    node.script.every_period = lambda: looked.append(now[0])

    def play():
        for k in range(3):
            steps.append(k)
            yield (lambda: holds[0]), 3.0

    node._playing = play()
    for at, condition, expected in (
        (50.0, False, 1), (52.9, False, 1), (53.1, False, 2), (53.2, True, 3), (53.3, False, 3),
    ):  # fmt: skip
        now[0], holds[0] = at, condition
        node._tick()
        assert len(steps) == expected
    holds[0] = True
    for _ in range(2):
        node._tick()
    node.shut_down("over")
    assert ended == ["done"] and said == ["over: 0 scenes, 0 alone, 0 corrected, 0 lost"] and len(looked) == 6
    node.destroy_node()
    with pytest.raises(ParameterError, match="parameter robot: nobody"):
        SimOperatorNode(None, parameter_overrides=[Parameter("robot", value="nobody")])
