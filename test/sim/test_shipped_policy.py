"""The shipped policy fits its robot, reads its pictures and follows its words."""

from dataclasses import replace

import numpy as np
import pytest

from pi0_ros.closed_loop.harness import Harness, Trial
from pi0_ros.closed_loop.planners import PolicyPlanner
from pi0_ros.policy import Observation, check_fit, load_policy
from pi0_ros.robot import load_robot
from pi0_ros.robot.resources import share
from pi0_ros.sim.robot import SimRobot
from pi0_ros.sim.tasks import make_task
from pi0_ros.sim.world import COLOURS
from pi0_ros.touch.planners import OperatorPlanner
from pi0_ros.touch.tasks import subtask_text

CHECKPOINT = share("checkpoints", "pi05_reach_tiny")
SCENES = range(200_000_000, 200_000_024)  # never trained on, nor used by `pi0 evaluate`
EPISODES = SCENES[:10]


@pytest.fixture(scope="module")
def robot():
    return load_robot("mobile_bimanual")


@pytest.fixture(scope="module")
def policy(robot):
    return load_policy(CHECKPOINT, robot)


@pytest.fixture(scope="module")
def sim(robot):
    simulated = SimRobot(robot)
    yield simulated
    simulated.close()


def look(sim, task, seed) -> tuple[Observation, str]:
    """The start of a scene with its instruction, and the working arm's side."""
    words = task.reset(sim, seed)
    images = {name: sim.render(name) for name in ("base", "left_wrist", "right_wrist")}
    return Observation(sim.time, images, sim.measured(), words), task.side


def arm(plan, side) -> np.ndarray:
    """The last row's six joints of the working arm."""
    return plan.values[-1][[plan.names.index(f"{side}_joint{i}") for i in range(1, 7)]]


def test_it_is_at_most_twenty_megabytes():
    assert sum(file.stat().st_size for file in CHECKPOINT.iterdir()) <= 20_000_000


def test_it_fits_the_robot_and_can_say_subtasks(robot, policy):
    assert check_fit(robot, policy.contract).ok
    assert policy.contract.has_text_head


def test_without_pictures_its_plans_are_further_from_the_operators(sim, policy):
    task, operator, seeing, blind = make_task("reach"), OperatorPlanner(sim), [], []
    for seed in SCENES:
        observation, side = look(sim, task, seed)
        black = {name: np.zeros_like(picture) for name, picture in observation.images.items()}
        unseen = Observation(observation.stamp, black, observation.state, observation.prompt)
        wanted = arm(operator.plan(observation, 0, None), side)
        seeing.append(np.linalg.norm(arm(policy.infer(observation, seed=seed), side) - wanted))
        blind.append(np.linalg.norm(arm(policy.infer(unseen, seed=seed), side) - wanted))
    assert np.mean(seeing) < 0.75 * np.mean(blind)


def touched(policy, robot, trial=None, other=False) -> list[tuple[str, str, str]]:
    """For each episode of `reach`: colour wanted by the task, colour said, and colour touched first ("" for none)."""
    harness, task, rows = Harness(SimRobot(robot), lambda sim: PolicyPlanner(policy), trial), make_task("reach"), []
    for seed in EPISODES:
        task.reset(harness.sim, seed)
        wanted = task.colour
        said = COLOURS[(COLOURS.index(wanted) + 1 + seed % 3) % 4] if other else wanted
        harness.trial = replace(harness.trial, instruction=subtask_text(said, task.side))
        harness.run(task, seed)
        rows.append((wanted, said, harness.sim.touches[0].colour if harness.sim.touches else ""))
    harness.close()
    return rows


def test_with_black_pictures_success_falls_to_chance(policy, robot):
    seeing, blind = (touched(policy, robot, Trial(blind=dark)) for dark in (False, True))
    assert sum(said == first for _, said, first in seeing) >= 8
    assert sum(said == first for _, said, first in blind) <= 5  # one block of four by chance: 5 or fewer of 10 in 98 %


def test_another_word_in_the_prompt_leads_to_another_block(policy, robot):
    rows = touched(policy, robot, other=True)
    assert sum(said == first for _, said, first in rows) >= 8
    assert sum(wanted == first for wanted, _, first in rows) <= 2
