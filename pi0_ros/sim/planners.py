"""Who plans in the harness: a checkpoint, or the scripted operator."""

from __future__ import annotations

import numpy as np

from pi0_ros.policy import Observation, Plan, PlanPrefix, Policy
from pi0_ros.sim.operator import Operator
from pi0_ros.sim.robot import SimRobot
from pi0_ros.sim.tasks import next_subtask


class PolicyPlanner:
    """A checkpoint."""

    def __init__(self, policy: Policy) -> None:
        self.policy, contract = policy, policy.contract
        self.horizon, self.period = contract.horizon, contract.period
        self.finished = contract.finished
        self.cameras, self.high_level_cameras = tuple(contract.cameras), tuple(contract.high_level_cameras)

    def plan(self, observation: Observation, seed: int, told: PlanPrefix | None) -> Plan:
        """One inference; the noise is drawn from `seed`."""
        return self.policy.infer(observation, prefix=told, seed=seed)

    def subtask(self, observation: Observation, task: str) -> str:
        """The network's own next subtask."""
        return self.policy.subtask(observation, task)


class OperatorPlanner:
    """The scripted operator as a policy: it reads the simulation instead of pictures, and makes no use of a prefix.

    It shows what the executor makes of good plans, with nothing of the network in it.
    """

    def __init__(self, sim: SimRobot, horizon: int = 16, period: float = 0.1) -> None:
        self.sim, self.horizon, self.period = sim, horizon, period
        self.finished: tuple[str, ...] = ()
        self.cameras: tuple[str, ...] = ()
        self.high_level_cameras: tuple[str, ...] = ()
        self._operator = Operator(sim.robot, sim)

    def plan(self, observation: Observation, seed: int, told: PlanPrefix | None) -> Plan:
        """What the operator would command from the measured state on [horizon, D]."""
        names = self.sim.robot.channel_names
        self._operator.set_command(np.array([observation.state[name] for name in names]))
        values = self._operator.plan(observation.prompt, self.horizon, self.period)
        return Plan(values, names, self.period)

    def subtask(self, observation: Observation, task: str) -> str:
        """What the scene asks for next."""
        return next_subtask(self.sim)
