"""The scripted operator as the planner of the harness."""

from __future__ import annotations

import numpy as np

from pi0_ros.policy import Observation, Plan, PlanPrefix
from pi0_ros.sim.robot import SimRobot
from pi0_ros.touch.operator import Operator
from pi0_ros.touch.tasks import next_subtask


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

    def plan(self, observation: Observation, seed: int, prefix: PlanPrefix | None) -> Plan:
        """What the operator would command from the measured state on [horizon, D]."""
        names = self.sim.robot.channel_names
        self._operator.set_command(np.array([observation.state[name] for name in names]))
        values = self._operator.plan(observation.prompt, self.horizon, self.period)
        return Plan(values, names, self.period)

    def subtask(self, observation: Observation, task: str) -> str:
        """What the scene asks for next."""
        return next_subtask(self.sim)
