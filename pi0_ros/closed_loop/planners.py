"""A checkpoint as the planner of the harness."""

from __future__ import annotations

from pi0_ros.policy import Observation, Plan, PlanPrefix, Policy


class PolicyPlanner:
    """A checkpoint."""

    def __init__(self, policy: Policy) -> None:
        self.policy, contract = policy, policy.contract
        self.horizon, self.period = contract.horizon, contract.period
        self.finished = contract.finished
        self.cameras, self.high_level_cameras = tuple(contract.cameras), tuple(contract.high_level_cameras)

    def plan(self, observation: Observation, seed: int, prefix: PlanPrefix | None) -> Plan:
        """One inference; the noise is drawn from `seed`."""
        return self.policy.infer(observation, prefix=prefix, seed=seed)

    def subtask(self, observation: Observation, task: str) -> str:
        """The network's own next subtask."""
        return self.policy.subtask(observation, task)
