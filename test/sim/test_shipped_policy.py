"""The shipped policy fits its robot, and its plans follow the pictures: measured against the operator's."""

import numpy as np
import pytest

from pi0_ros.policy import Observation, check_fit, load_policy
from pi0_ros.robot import load_robot
from pi0_ros.robot.resources import share
from pi0_ros.sim.planners import OperatorPlanner
from pi0_ros.sim.robot import SimRobot
from pi0_ros.sim.tasks import make_task

CHECKPOINT = share("checkpoints", "pi05_reach_tiny")
SCENES = range(200_000_000, 200_000_024)  # never trained on, nor used by `pi0 evaluate`


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

