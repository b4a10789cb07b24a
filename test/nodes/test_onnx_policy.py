"""The policy node with its network as ONNX graphs."""

import shutil

from rclpy.parameter import Parameter
from stand_in import Driver, Person

from pi0_ros.nodes.executor import ExecutorNode
from pi0_ros.nodes.policy import PolicyNode

ENOUGH = 60.0


def test_a_policy_from_graphs_plans_and_is_followed_and_without_graphs_says_what_to_do(
    graph, mobile, exported, tmp_path
):
    robot, file = mobile
    folder = tmp_path / "checkpoint"
    shutil.copytree(exported, folder, ignore=shutil.ignore_patterns("onnx"))
    given = {"robot": file, "checkpoint": str(folder), "prompt": "task", "backend": "onnx", "idle_period": 0.2}
    without = PolicyNode(parameter_overrides=[Parameter(name, value=value) for name, value in given.items()])
    assert not without.bring_up() and "write the graphs with `pi0 export" in without.stop_reason
    without.destroy_node()
    shutil.copytree(exported / "onnx", folder / "onnx")
    graph.node(Driver, robot)
    person = graph.node(Person, robot)
    graph.managed(ExecutorNode, robot=file, realtime_priority=0, black_box="")
    node = graph.managed(PolicyNode, **given)
    person.say("touch the red block")
    graph.wait(lambda: len(person.chunks) > 2, "plans", ENOUGH)
    assert node.health().values["failures"] == 0
    assert tuple(person.chunks[-1].channels) == robot.channel_names
