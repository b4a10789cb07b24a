"""A second robot is a file, not code: ALOHA's topics, joint orders, prefixes and trajectories with the same nodes."""

from pathlib import Path

import numpy as np
import pytest
from stand_in import Driver, Person, Speaker
from test_executor import within_limits

from pi0_ros.nodes.executor import ExecutorNode
from pi0_ros.nodes.policy import PolicyNode
from pi0_ros.policy import load_adapter
from pi0_ros.policy.normalize import Statistics, write_norm_stats
from pi0_ros.robot.resources import share
from pi0_ros.ros.clock import seconds

ENOUGH = 60.0
TASK = "put the fork into the drawer"


def gentle(adapter):
    """Statistics with which whatever a network says is a small motion: arms by 0.03 rad, grippers about the middle."""
    arms = np.array(adapter.delta_mask)
    middle, spread = np.where(arms, 0.0, 0.5), np.where(arms, 0.03, 0.1)
    actions = {"mean": middle, "std": spread, "q01": middle - spread, "q99": middle + spread}
    ones = np.ones(len(adapter.state_channels))
    return {
        "state": Statistics({"mean": 0.0 * ones, "std": ones, "q01": -ones, "q99": ones}),
        "actions": Statistics(actions),
    }


@pytest.fixture(scope="module")
def aloha_checkpoint(make_checkpoint, tmp_path_factory):
    """A tiny network of random weights, fitted to ALOHA by its adapter alone; ten rows a second."""
    folder = tmp_path_factory.mktemp("aloha_checkpoint")
    text = share("config", "policies", "aloha_plain.yaml").read_text(encoding="utf-8")
    adapter = folder / "aloha_slow.yaml"
    adapter.write_text(text.replace("period: 0.02", "period: 0.1").replace("horizon: 50", "horizon: 16"))
    make_checkpoint(folder, adapter=str(adapter))
    write_norm_stats(folder, gentle(load_adapter(str(adapter))))
    return str(folder)


@pytest.fixture
def stage(graph, aloha):
    robot, file = aloha
    driver, person = graph.node(Driver, robot), graph.node(Person, robot)

    def play(checkpoint, **parameters):
        forgiving = {"chunk_max_age": 10.0, "tracking_error": 1.0, "start_gap": 1.0, "realtime_priority": 0}
        executor = {"policy_lost": 30.0, "engage_time": 0.2, "black_box": "", **forgiving}
        graph.managed(ExecutorNode, robot=file, **(executor | parameters.pop("executor", {})))
        given = {"robot": file, "checkpoint": checkpoint, "replan_period": 0.3, "idle_period": 0.3}
        return graph.managed(PolicyNode, **(given | parameters))

    return driver, person, play


def moved(driver, group, by):
    seen = [values for _, values in driver.commands[group]]
    return len(seen) > 20 and float(np.ptp(seen, axis=0).max()) > by


def test_a_policy_plans_for_it_and_the_executor_publishes_trajectories(stage, graph, aloha_checkpoint):
    driver, person, play = stage
    policy = play(aloha_checkpoint, prompt="task")
    person.say(TASK)
    graph.wait(lambda: len(person.chunks) > 1, "chunks", ENOUGH)
    chunk = person.chunks[-1]
    assert len(chunk.channels) == 14 and set(chunk.channels) == set(driver.robot.channel_names)
    assert np.all(np.isfinite(chunk.values)) and len(chunk.values) == 16 * 14 and chunk.subtask == TASK
    assert seconds(chunk.header.stamp) <= driver.seen["cam_high"]
    assert set(policy.loop.lanes.contract.cameras) == {"cam_high", "cam_left_wrist", "cam_right_wrist"}

    person.insist("autonomy", lambda: moved(driver, "left_arm", 0.005) and moved(driver, "right_arm", 0.005), "motion")
    assert person.state.plan_sequence > 0 or person.state.chunks_accepted > 0
    for group in driver.robot.groups:
        (sent,) = driver.raw[group.name]
        assert type(sent).__name__ == "JointTrajectory"
        assert tuple(sent.joint_names) == group.command.joints
        assert len(sent.points) == 3 and not any(sent.points[-1].velocities)
        within_limits(driver, group.name)
    assert driver.raw["left_arm"][0].joint_names[0] == driver.raw["right_arm"][0].joint_names[0] == "waist"


def test_a_high_level_that_dies_ends_autonomy_when_its_last_subtask_is_too_old(stage, graph, aloha_checkpoint):
    driver, person, play = stage
    speaker = graph.node(Speaker, TASK)
    play(aloha_checkpoint, prompt="subtask", prompt_max_age=1.0, executor={"policy_lost": 1.0})
    graph.wait(lambda: len(person.chunks) > 1, "chunks", ENOUGH)
    person.insist("autonomy", lambda: moved(driver, "left_arm", 0.005), "motion")
    speaker.silent = True
    person.wait_mode("hold", ENOUGH)
    graph.wait(lambda: "is high_level running?" in person.health["policy"][1], "the policy to say why", ENOUGH)
    graph.wait(lambda: not driver.steps("left_arm")[-10:].any(), "standstill")
    within_limits(driver, "left_arm")


def test_nothing_of_the_project_but_files_names_it():
    root = Path(__file__).parents[2] / "pi0_ros"
    named = [
        f
        for f in root.rglob("*.py")
        if f.parent.name in ("nodes", "ros", "control", "robot") and "aloha" in f.read_text().lower()
    ]
    assert not named
