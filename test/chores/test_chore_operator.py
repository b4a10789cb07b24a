"""The scripted operator with physics: it picks, places and mends, and its collected episodes show it."""

import numpy as np
import pytest

pytest.importorskip("mujoco")

from pi0_ros.chores.collect import ChoreCollector, ChoreSettings
from pi0_ros.chores.measure import block_pose, holders, placed_in
from pi0_ros.chores.operator import ChoreOperator
from pi0_ros.chores.tasks import PickPlace
from pi0_ros.closed_loop.harness import Harness, Trial
from pi0_ros.closed_loop.latency import Latency
from pi0_ros.robot import load_robot
from pi0_ros.sim.errors import SimError
from pi0_ros.sim.tasks import make_task, robot_before

FIRST = 100_000_000


@pytest.fixture(scope="module")
def sim():
    return robot_before(PickPlace(), load_robot("mobile_bimanual"))


@pytest.fixture
def operator(sim):
    return ChoreOperator(sim.robot, sim)


def begin(sim, operator, seed):
    task = make_task("pick_place")
    task.reset(sim, FIRST + seed)
    operator.sync()
    return task


def go_on(sim, operator, task, until=lambda: False):
    """Act until something holds or the episode is over; the commands."""
    commands = []
    while not (until() or task.success(sim) or task.failed(sim)):
        commands.append(operator.act(task.instruction))
        sim.set_command(sim.robot.channel_names, commands[-1])
        sim.advance(operator.period)
    return np.stack(commands)


@pytest.mark.parametrize("seed", [2, 5])
def test_it_puts_a_brick_and_a_cylinder_into_their_bins_within_the_limits(sim, operator, seed):
    task = begin(sim, operator, seed)
    commands = go_on(sim, operator, task)
    assert task.success(sim) and sim.time < 10.0 and task.progress(sim) == (5, 5)
    velocity = np.abs(np.diff(commands, axis=0)) / operator.period
    limits = np.array([c.limits.velocity for c in sim.robot.channels])
    assert (velocity <= limits + 1e-9).all()


def test_a_block_that_is_lifted_hangs_between_two_fingers_alone(sim, operator):
    task = begin(sim, operator, 4)
    lifted = block_pose(sim, task.colour).place[2] + 0.05
    go_on(sim, operator, task, lambda: block_pose(sim, task.colour).place[2] > lifted)
    assert holders(sim, task.colour) == {task.side}
    sim.model.geom_friction[:] *= 0.02
    try:
        go_on(sim, operator, task, lambda: not holders(sim, task.colour) or sim.time > 12)
        assert not holders(sim, task.colour), "without friction nothing holds it"
    finally:
        sim.model.geom_friction[:] /= 0.02


def test_a_block_that_slipped_is_grasped_again(sim, operator):
    task = begin(sim, operator, 6)
    start = block_pose(sim, task.colour).place[2]
    go_on(sim, operator, task, lambda: block_pose(sim, task.colour).place[2] > start + 0.04)
    dropped = operator.command.copy()
    dropped[sim.robot.index[f"{task.side}_gripper"]] = 1.0
    sim.set_command(sim.robot.channel_names, dropped)
    sim.advance(0.4)
    operator.set_command(dropped)
    assert not holders(sim, task.colour) and placed_in(sim, task.colour) is None
    go_on(sim, operator, task)
    assert task.success(sim)


def test_a_block_that_was_pushed_is_approached_again(sim, operator):
    task = begin(sim, operator, 2)
    go_on(sim, operator, task, lambda: task.progress(sim)[0] >= 1)
    at = sim.world.object_qpos[task.colour]
    sim.data.qpos[at : at + 2] += (-0.03, 0.06)
    go_on(sim, operator, task)
    assert task.success(sim)


def test_a_plan_shows_the_whole_grasp_and_leaves_the_command_as_it_was(sim, operator):
    task = begin(sim, operator, 2)
    grip = sim.robot.index[f"{task.side}_gripper"]
    before = operator.command.copy()
    plan = operator.plan(task.instruction, 80, 0.1)
    assert np.array_equal(operator.command, before) and plan.shape == (80, len(before))
    closed = np.flatnonzero(plan[:, grip] < 0.1)
    assert len(closed) and (plan[closed[-1] + 1 :, grip] > 0.1).any(), "it closes, and opens again over the bin"
    assert np.array_equal(plan[0], operator.act(task.instruction))


def test_through_the_executor_with_latency_it_succeeds(sim):
    task = PickPlace()
    episode = Harness(sim, task.operator, Trial(latency=Latency(0.1), rtc="none")).run(task, FIRST + 11)
    assert episode.success and (episode.done, episode.total) == (5, 5)


def test_collected_episodes_succeed_hold_corrections_and_are_the_same_to_the_bit():
    robot = load_robot("mobile_bimanual")
    settings = ChoreSettings(cameras=("base",), size=32, fps=5, push_rate=0.5)
    collector = ChoreCollector(robot, settings)
    rows = collector.rows(1)
    assert {*rows[0]} == {*collector.features, "task"} and rows[0]["observation.images.base"].std() > 5
    assert rows[-1]["progress"][0] == 5 and any(row["perturbed"][0] for row in rows)
    assert all(row["aim"] in row["task"] for row in rows)
    again = ChoreCollector(robot, ChoreSettings(cameras=(), size=32, fps=5, push_rate=0.5)).rows(1)
    assert len(again) == len(rows)
    for one, other in zip(rows, again, strict=True):
        assert np.array_equal(one["action"], other["action"])
        assert np.array_equal(one["observation.state"], other["observation.state"])


def test_a_camera_that_the_robot_lacks_is_named():
    with pytest.raises(SimError, match="has no camera 'nose'"):
        ChoreCollector(load_robot("mobile_bimanual"), ChoreSettings(cameras=("nose",)))
