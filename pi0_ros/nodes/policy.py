"""policy: one observation in, one ActionChunk out; it never moves anything.

Inference runs in its own thread (`ros/plan_loop.py`); a policy server that takes long is asked again before it has
answered (`ros/policy_lanes.py`). The next chunk is asked for in time, from what `executor_state` says
of the running plan, and given the rows that will have been executed before it can be used (real-time chunking).
"""

from __future__ import annotations

import secrets

from pi0_ros.control.planning import Timetable
from pi0_ros.control.planning_session import PlanningSession
from pi0_ros.msg import ActionChunk, ExecutorState
from pi0_ros.nodes.network_node import NetworkNode
from pi0_ros.nodes.weights import MODEL_PARAMETERS, Weights
from pi0_ros.policy.contract import Contract
from pi0_ros.policy.plan import AnyPolicy
from pi0_ros.policy.rehearsal import empty_scene
from pi0_ros.robot import Robot, load_robot
from pi0_ros.ros.bounded import listen
from pi0_ros.ros.diagnostics import Health
from pi0_ros.ros.observation_source import PICTURE_FROZEN
from pi0_ros.ros.parameters import Overrides, Parameter
from pi0_ros.ros.plan_loop import PlanInputs, PlanLoop, PlanSettings
from pi0_ros.ros.planning_status import PlanningStatus
from pi0_ros.ros.policy_health import policy_health
from pi0_ros.ros.policy_lanes import PolicyLanes
from pi0_ros.ros.prompt_inputs import PromptInputs
from pi0_ros.ros.qos import RELIABLE
from pi0_ros.ros.run import run
from pi0_ros.ros.texts import StateText
from pi0_ros.ros.withheld import PromptRules


class PolicyNode(NetworkNode[PlanLoop]):
    """Publishes action chunks."""

    table = (
        *MODEL_PARAMETERS,
        Parameter("seed", 0, "seed of the noise that plans start from", low=0, high=2**31 - 1),
        Parameter("prompt", "subtask", "topic the prompt comes from", choices=("subtask", "task")),
        Parameter(
            "prompt_max_age", 5.0, "a subtask older than this [s] is not followed; 0: any age", low=0.0, high=3600.0
        ),
        Parameter(
            "replan_period",
            0.4,
            "seconds between plans in autonomy; earlier if the running plan would end before",
            low=0.02,
            high=60.0,
            live=True,
        ),
        Parameter("idle_period", 1.0, "seconds between plans while a person drives", low=0.02, high=60.0, live=True),
        PICTURE_FROZEN,
        Parameter(
            "margin",
            0.1,
            "how long before the running plan ends [s] the next one is to arrive",
            low=0.0,
            high=5.0,
            live=True,
        ),
        Parameter(
            "rtc",
            "identity",
            "how the network is given the running plan: none, identity (guided), vjp (guided, exact gradients), prefix (trained for it)",
            choices=("none", "identity", "vjp", "prefix"),
            live=True,
        ),
        Parameter(
            "requests_at_once",
            3,
            "requests to a policy server at once, if an answer takes more than a third of what a plan lasts; 1: one "
            "after another",
            low=1,
            high=8,
        ),
    )
    thread_name = "inference"

    def __init__(
        self, name: str = "policy", weights: Weights | None = None, parameter_overrides: Overrides = None
    ) -> None:
        super().__init__(name, weights, parameter_overrides)
        self.robot: Robot | None = None

    def make_loop(self) -> PlanLoop:
        """Load robot and checkpoint, refuse what does not fit, plan once on an empty scene, subscribe."""
        robot = self.robot = load_robot(self.values.robot)
        policy = self.weights.get(self.values, robot, self.get_logger().warning)
        self._rehearse(policy, robot)
        contract = policy.contract
        observations = self.open_observations(robot)
        publisher = self.own(self.create_publisher(ActionChunk, "action_chunk", RELIABLE))
        state = StateText(self, "policy_state")
        self.own(state.publisher)
        status = PlanningStatus(state, self.get_logger())
        status.rest()
        logger = self.get_logger()
        texts = PromptInputs(
            self, PromptRules(self.values.prompt, self.values.prompt_max_age), observations.arrivals.announce
        )
        inputs = PlanInputs(observations, texts, self.clocks, self._settings, contract.needed_state(robot), logger)
        lanes = PolicyLanes(policy, self.values.requests_at_once, self.weights.run, observations.arrivals.announce)
        loop = PlanLoop(lanes, inputs, self._new_session(robot, contract), status, publisher, self.values.seed)
        self.own(listen(self, ExecutorState, "executor_state", loop.update_executor, RELIABLE))
        return loop

    def halt(self) -> None:
        """Stop planning."""
        super().halt()
        self.loop.status.rest()

    def teardown(self) -> None:
        """Let go of the connections to a server too."""
        if self._loop is not None:
            self._loop.lanes.close()
        super().teardown()

    def _rehearse(self, policy: AnyPolicy, robot: Robot) -> None:
        """Plan once in the dark: the first inference is the slowest, and what is broken shows before anything moves."""
        observation = empty_scene(robot, policy.contract.cameras)
        self.weights.run(policy.rehearse, observation, self.report_progress)

    def _new_session(self, robot: Robot, contract: Contract) -> PlanningSession:
        # Names of nodes are not unique, and sequences begin anew: whoever plans now is nobody who has planned before.
        source = f"{self.get_fully_qualified_name().lstrip('/')}#{secrets.token_hex(3)}"
        return PlanningSession(robot, source, contract.horizon, contract.period, contract.finished)

    def _settings(self) -> PlanSettings:
        live = {name: self.get_parameter(name).value for name in ("replan_period", "idle_period", "margin", "rtc")}
        return PlanSettings(Timetable(live["replan_period"], live["idle_period"], live["margin"]), live["rtc"])

    def health(self) -> Health:
        """Prompt, rates, latencies, and why no plan is made."""
        assert self.robot is not None
        return policy_health(self.loop, self.robot, self.clocks.steady())


def main() -> int:
    """Run the node."""
    return run(lambda _: [PolicyNode()])


if __name__ == "__main__":
    raise SystemExit(main())
