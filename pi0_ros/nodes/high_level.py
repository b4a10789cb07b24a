"""high_level: asks the same network, less often, what to do next, and latches it on `subtask` as text."""

from __future__ import annotations

from collections.abc import Callable

from std_msgs.msg import String

from pi0_ros.nodes.network_node import NetworkNode
from pi0_ros.nodes.weights import MODEL_PARAMETERS, Weights
from pi0_ros.policy.subtask_progress import ProgressLimits
from pi0_ros.robot import load_robot
from pi0_ros.ros.bounded import listen
from pi0_ros.ros.diagnostics import Health
from pi0_ros.ros.observation_source import PICTURE_FROZEN, ObservationSource
from pi0_ros.ros.parameters import Overrides, Parameter
from pi0_ros.ros.prompt_source import OVERRIDE
from pi0_ros.ros.qos import LATCHED
from pi0_ros.ros.run import run
from pi0_ros.ros.subtask_health import subtask_health
from pi0_ros.ros.subtask_loop import SubtaskLoop, SubtaskOutputs, SubtaskSettings
from pi0_ros.ros.texts import LONGEST_PROMPT, StateText, subscribe_to_texts


class HighLevelNode(NetworkNode[SubtaskLoop]):
    """Publishes subtasks."""

    table = (
        *MODEL_PARAMETERS,
        PICTURE_FROZEN,
        Parameter(
            "period", 1.0, "seconds between two questions to the network for a subtask", low=0.05, high=60.0, live=True
        ),
        Parameter("max_tokens", 32, "longest answer of the network, in tokens", low=1, high=256),
        Parameter("agree", 2, "how many equal answers in a row replace the subtask that stands", low=1, high=10),
        Parameter(
            "subtask_timeout",
            120.0,
            "seconds of autonomy after which a subtask that stands counts as no progress; 0: it may last",
            low=0.0,
            high=3600.0,
            live=True,
        ),
        Parameter(
            "subtask_repeats",
            4,
            "how often the same sequence of subtasks has to come back at once to count as no progress; 0: any number",
            low=0,
            high=100,
            live=True,
        ),
        Parameter(
            "subtask_retries",
            2,
            "how often what makes no progress is tried again before no subtask is given and the robot holds",
            low=0,
            high=100,
            live=True,
        ),
    )
    thread_name = "high level"

    def __init__(
        self,
        name: str = "high_level",
        weights: Weights | None = None,
        partner: Callable[[], ObservationSource | None] | None = None,
        parameter_overrides: Overrides = None,
    ) -> None:
        """`partner`: observations of another node in this process to look through in place of its own; None if that node is
        not configured."""
        super().__init__(name, weights, parameter_overrides)
        self._partner = partner

    def make_loop(self) -> SubtaskLoop:
        """Load robot and checkpoint; one that was not trained to give subtasks is never asked, the task is passed on."""
        robot = load_robot(self.values.robot)
        policy = self.weights.get(self.values, robot)
        if not policy.contract.gives_subtasks:
            self.get_logger().warning(
                f"checkpoint {self.values.checkpoint} was not trained to give subtasks: the task goes to the policy as it is"
                " (if it was, say in which form: subtasks in its policy YAML)"
            )
        if self._partner is None:
            self.open_observations(robot)
        publisher, state = self.create_publisher(String, "subtask", LATCHED), StateText(self, "high_level_state")
        self.own(publisher)
        self.own(state.publisher)
        outputs = SubtaskOutputs(lambda text: publisher.publish(String(data=text)), state.update, self.get_logger())
        finished = policy.contract.finished
        settings = SubtaskSettings(
            self._period, self.values.max_tokens, self.values.agree, lambda: self._limits(finished)
        )
        loop = SubtaskLoop(policy, self.weights.run, self._eyes, self.clocks, settings, outputs)
        callbacks = {"task": loop.update_task, OVERRIDE: loop.update_override}
        for subscription in subscribe_to_texts(self, callbacks, LONGEST_PROMPT):
            self.own(subscription)
        self.own(listen(self, String, "mode", lambda message: loop.update_mode(message.data), LATCHED))
        return loop

    def _eyes(self) -> ObservationSource | None:
        return self.observations if self._partner is None else self._partner()

    def _period(self) -> float:
        return float(self.get_parameter("period").value)

    def _limits(self, finished: tuple[str, ...]) -> ProgressLimits:
        timeout, repeats, retries = (
            self.get_parameter(f"subtask_{name}").value for name in ("timeout", "repeats", "retries")
        )
        return ProgressLimits(timeout, repeats, retries, finished)

    def health(self) -> Health:
        """Task, subtask, and why nothing is decided."""
        return subtask_health(self.loop, self.count_publishers("subtask"))


def main() -> int:
    """Run the node."""
    return run(lambda _: [HighLevelNode()])


if __name__ == "__main__":
    raise SystemExit(main())
