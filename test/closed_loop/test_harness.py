"""The loop in virtual time: the real executor, a simulated robot, and a policy that answers late."""

from dataclasses import replace

import numpy as np
import pytest

from pi0_ros.closed_loop.harness import Harness, Trial
from pi0_ros.closed_loop.latency import Latency
from pi0_ros.closed_loop.metrics import motion_of
from pi0_ros.control.audit import violations
from pi0_ros.robot import load_robot
from pi0_ros.robot.spec import Kind
from pi0_ros.sim.robot import SimRobot
from pi0_ros.sim.tasks import make_task
from pi0_ros.touch.planners import OperatorPlanner


@pytest.fixture(scope="module")
def robot():
    return load_robot("mobile_bimanual")


def run(robot, seed=3, task="reach", **trial):
    harness = Harness(SimRobot(robot), OperatorPlanner, Trial(rtc="none", **trial))
    return harness.run(make_task(task), seed)


def test_an_episode_is_the_same_to_the_bit_for_the_same_seed(robot):
    late = Latency(0.2, 0.3, 0.1)
    one, two = run(robot, latency=late), run(robot, latency=late)
    assert np.array_equal(one.commands, two.commands)
    assert np.array_equal(one.measured, two.measured)


def test_the_operators_plans_reach_the_block_through_the_executor_at_any_usual_latency(robot):
    for latency in (0.0, 0.1, 0.3):
        assert run(robot, latency=Latency(latency, 0.3)).success


def test_commands_stay_within_limits_while_chunks_are_late_and_lost(robot):
    episode = run(robot, latency=Latency(0.4, 0.5, 0.3))
    assert not violations(robot, episode.commands, 1 / robot.control_rate)


def test_a_policy_that_stalls_underruns_and_goes_on_by_itself(robot):
    episode = run(robot, latency=Latency(0.1, 0.0, 0.0, ((1.0, 2.0),)))
    assert episode.steps[-1].counters.underruns == 1
    assert motion_of(robot, [episode]).holding > 0.3
    assert episode.success


class Restless(OperatorPlanner):
    """Asked to do nothing it moves on a little with every plan, as networks do."""

    def plan(self, observation, seed, told):
        plan = super().plan(observation, seed, told)
        return replace(plan, values=plan.values + 0.02 * np.linspace(0, 1, self.horizon)[:, None])


@pytest.mark.parametrize("finished", [(), ("done",)])
def test_a_policy_whose_work_is_done_keeps_still_however_restless_it_is(robot, finished):
    def make(sim):
        planner = Restless(sim)
        planner.finished = finished
        return planner

    episode = Harness(SimRobot(robot), make, Trial(rtc="none", instruction="done")).run(make_task("reach"), 3)
    wheels = [c.kind is Kind.VELOCITY for c in robot.channels]
    last_seconds = episode.commands[episode.times > 7.0]
    moved, driven = (np.abs(x).max() > 1e-6 for x in (np.ptp(last_seconds, axis=0), last_seconds[:, wheels]))
    assert (moved, driven) == ((False, False) if finished else (True, True))


def test_no_chunk_at_all_moves_nothing(robot):
    episode = run(robot, latency=Latency(0.1, 0.0, 1.0))
    assert not episode.success
    assert float(np.abs(np.diff(episode.commands, axis=0)).max()) == 0.0


def test_subtasks_of_the_scene_lead_through_every_block(robot):
    episode = run(robot, task="touch_all", high_level=1.0, oracle=True, latency=Latency(0.1))
    assert episode.success
    assert (episode.done, episode.total) == (4, 4)
    assert len(episode.subtasks) >= 4


@pytest.mark.parametrize("bad", [{"mean": -0.1}, {"jitter": 1.5}, {"drop": float("nan")}])
def test_a_latency_that_makes_no_sense_is_refused(bad):
    with pytest.raises(ValueError, match="jitter and drop are 0 .. 1"):
        Latency(**bad)
