"""policy: looks, and plans. One observation in, one ActionChunk out; it never moves anything.

Inference runs in its own thread; a policy server that takes long is asked again before it has answered. The next chunk is asked for in time, from what `executor_state` says of the running
plan, and told what of that plan will have been executed before it can be used (real-time chunking).
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable
from functools import partial

import numpy as np
from std_msgs.msg import String

from pi0_ros.control import Chunk
from pi0_ros.control.in_flight import InFlight
from pi0_ros.control.plan_cover import standing_time
from pi0_ros.control.planning import Latency, Prefix, Situation, Timetable
from pi0_ros.control.planning_session import PlanningSession
from pi0_ros.msg import ActionChunk, ExecutorState
from pi0_ros.nodes.inference_failure import InferenceFailure, failure_of, log_failure
from pi0_ros.nodes.requests import Answered, Request, Requests
from pi0_ros.nodes.weights import MODEL_PARAMETERS, Weights
from pi0_ros.policy import Observation, Plan, PlanPrefix, PolicyError
from pi0_ros.policy.rehearsal import empty_scene
from pi0_ros.robot import RobotError, load_robot
from pi0_ros.ros.any_publisher import subscribe_to_any
from pi0_ros.ros.bounded import listen
from pi0_ros.ros.clock import seconds
from pi0_ros.ros.conversions import MODE_NAMES, chunk_message
from pi0_ros.ros.diagnostics import ERROR, OK, WARN, Health, Rate
from pi0_ros.ros.guarded_thread import GuardedThread
from pi0_ros.ros.lifecycle import HALT, ManagedNode
from pi0_ros.ros.parameters import Parameter, ParameterError
from pi0_ros.ros.prompt_source import OVERRIDE, PromptSource, one_line
from pi0_ros.ros.qos import LATCHED, RELIABLE
from pi0_ros.ros.run import run
from pi0_ros.ros.senses import PICTURE_FROZEN, Senses, View

EXECUTOR_SILENT = 0.5
LONGEST_PROMPT = 400
SLOW_ANSWER = 0.8
"""Seconds after which a plan that has not come is worth a word."""


class PolicyNode(ManagedNode):
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
            "seconds between plans in autonomy; earlier where the running plan would end before",
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
            "what the network is told of the running plan: none, identity (guided), vjp (guided, exact gradients), prefix (trained for it)",
            choices=("none", "identity", "vjp", "prefix"),
            live=True,
        ),
        Parameter(
            "requests_at_once",
            3,
            "requests to a policy server at once, where an answer takes more than a third of what a plan lasts; 1: one "
            "after another",
            low=1,
            high=8,
        ),
    )
    expected = (ParameterError, RobotError, PolicyError)

    def __init__(self, name: str = "policy", weights: Weights | None = None, **kwargs: object) -> None:
        super().__init__(name, **kwargs)
        self._weights = weights or Weights()
        self.senses: Senses | None = None
        self._thread: GuardedThread | None = None
        self._ending = threading.Event()
        self._speaking = threading.Lock()

    # --- lifecycle ---

    def setup(self) -> None:
        """Load robot and checkpoint, refuse what does not fit, plan once on an empty scene, subscribe."""
        self.robot = load_robot(self.values.robot)
        self._policy = self._weights.get(self.values, self.robot, self.get_logger().warning)
        self.contract = self._policy.contract
        self._cameras = tuple(self.contract.cameras)
        self._state = self.contract.needed_state(self.robot)
        self._words = PromptSource(self.values.prompt)
        self._high_level, self._failures, self._withheld = "", 0, 0
        self._reason, self._taken = "waiting for the first observation", 0
        self._failure: InferenceFailure | None = None
        self._inference, self._rate = Latency(), Rate(10.0)
        self._noise = np.random.default_rng(self.values.seed)
        self._rehearse()
        self.session = self._new_session()
        self._lanes = self._policy.lanes(self.values.requests_at_once)
        self._in_flight, self._at_once = InFlight(len(self._lanes)), 1
        self._requests = Requests(len(self._lanes), self._wake)
        self.senses = Senses(self, self.robot, self.clocks, self.values.picture_frozen)
        self._publisher = self.own(self.create_publisher(ActionChunk, "action_chunk", RELIABLE))
        self._state_publisher = self.own(self.create_publisher(String, "policy_state", LATCHED))
        self._told_state = ""
        self._tell("not active")
        texts = {
            self.values.prompt: self._on_prompt,
            OVERRIDE: self._on_override,
            "high_level_state": self._on_high_level,
        }
        for topic, callback in texts.items():
            for subscription in subscribe_to_any(self, String, topic, callback):
                self.own(subscription)
        self.own(listen(self, ExecutorState, "executor_state", self._on_executor, RELIABLE))

    def _rehearse(self) -> None:
        """Plan once in the dark: the first inference is the slowest, and what is broken shows before anything moves."""
        observation = empty_scene(self.robot, self._cameras)
        self._weights.run(self._policy.rehearse, observation, self.report_progress)
        self.contract = self._policy.contract  # a server says only now how many rows it gives

    def _new_session(self) -> PlanningSession:
        # Names of nodes are not unique, and sequences begin anew: whoever plans now is nobody who has planned before.
        source = f"{self.get_fully_qualified_name().lstrip('/')}#{secrets.token_hex(3)}"
        contract = self.contract
        return PlanningSession(self.robot, source, contract.horizon, contract.period, contract.finished)

    def start(self) -> None:
        """Start planning."""
        # Every activation has its own: a thread that still thinks when the next one begins must not come back to life.
        self._ending = threading.Event()
        self._thread = self.begin_thread("inference", partial(self._plan_forever, self._ending))

    def halt(self) -> None:
        """Stop planning; the plan that is being made is not published, however long it still takes."""
        with self._speaking:
            self._ending.set()
        self.senses.wake()
        if self._thread is not None:
            self._thread.stop(HALT)
            self._thread = None
        self._tell("not active")

    def teardown(self) -> None:
        """Let go of the subscriptions and the weights."""
        if self.senses is not None:
            self.senses.close()
            self.senses = None
            self._requests.close()
            for lane in self._lanes[1:]:
                lane.connection.close()
        self._policy = None
        self._weights.drop()

    def _wake(self) -> None:
        senses = self.senses
        if senses is not None:
            senses.wake()

    # --- the ROS thread ---

    @property
    def _prompt(self) -> str:
        return self._words.text

    def _on_prompt(self, message: String) -> None:
        text = one_line(message.data)
        if self._too_long(self.values.prompt, text):
            return
        if not text and self._prompt and not self._words.overridden:
            self.get_logger().warning(f"empty {self.values.prompt}: planning pauses until there is one")
        self._words.hear(text, self.clocks.steady())
        self.senses.wake()

    def _on_override(self, message: String) -> None:
        text = one_line(message.data)
        if self._too_long(OVERRIDE, text) or (not text and not self._words.overridden):
            return
        self._words.override(text)
        self.get_logger().info(f"{OVERRIDE}: {text}" if text else f"{OVERRIDE} released: {self._words.topic} again")
        self.senses.wake()

    def _on_high_level(self, message: String) -> None:
        self._high_level = one_line(message.data)

    def _too_long(self, topic: str, text: str) -> bool:
        if len(text) <= LONGEST_PROMPT:
            return False
        self.get_logger().warning(f"{topic} of {len(text)} characters refused: at most {LONGEST_PROMPT}")
        return True

    def _on_executor(self, message: ExecutorState) -> None:
        if self.senses is not None:
            self.senses.hear_command(message)
        before = self.session.situation
        now = self.session.situation = Situation(
            self.clocks.steady(),
            MODE_NAMES.get(message.mode, "stopped"),
            message.epoch,
            message.plan_sequence,
            message.plan_left,
            seconds(message.header.stamp),
        )
        if (before.mode, before.epoch) != (now.mode, now.epoch):
            self.senses.wake()

    # --- the inference thread ---

    def _plan_forever(self, ending: threading.Event) -> None:
        senses = self.senses
        while not ending.is_set():
            senses.wait(0.05)
            self._take_answers()
            self._at_once = self._in_flight.allowed(self._lasts())
            lane = self._requests.free(self._at_once)
            if ending.is_set() or lane is None or not self._wanted():
                continue
            kept = self.session.keep_end(self._prompt, self.clocks.steady(), self.clocks.ros())
            if kept is not None:
                self._publish(kept, 0.0, ending)
                continue
            view = senses.view(self._cameras, self._state)
            if view.missing:
                self._withhold("; ".join(view.missing))
                continue
            self._attempt(partial(self._ask, view, lane, ending), ending)
            self._take_answers()

    def _wanted(self) -> bool:
        """Whether it is time to plan; notes why not."""
        steady, now = self.clocks.steady(), self.session.situation
        if not self._prompt:
            return self._withhold(f"no {self.values.prompt} yet; publish one on {self.values.prompt}")
        age = self._words.age(steady)
        if self.values.prompt == "subtask" and 0.0 < self._live("prompt_max_age") < age:
            why = self._high_level or "is high_level running?"
            return self._withhold(f"the subtask is {age:.0f} s old; {why}")
        if steady - now.heard > EXECUTOR_SILENT:
            return self._withhold("no executor_state; is the executor active?")
        if now.mode == "stopped":
            return self._withhold("the executor is stopped")
        table = Timetable(self._live("replan_period"), self._live("idle_period"), self._live("margin"))
        return self.session.due(table, self._prompt, steady)

    def _live(self, name: str) -> float:
        return self.get_parameter(name).value

    def _withhold(self, reason: str) -> bool:
        if reason.split(":")[0] != self._reason.split(":")[0]:
            self._withheld += 1
            self.get_logger().warning(f"not planning: {reason}", throttle_duration_sec=1.0)
        self._reason = reason
        self._tell(reason)
        return False

    def _tell(self, reason: str) -> None:
        """Say on `policy_state` why nothing is planned, "" while there is planning; the executor passes it on."""
        if reason != self._told_state:
            self._told_state = reason
            self._state_publisher.publish(String(data=reason))

    def _attempt(self, work: Callable[[], None], ending: threading.Event) -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - one failed inference must not end the thread, nor a panic of Rust
            if ending.is_set():
                return
            self._failures += 1
            self._failure = failure_of(error)
            log_failure(self.get_logger(), self._failure)
            self._tell(self._failure.sentence)
            self.session.postpone(self.clocks.steady() + self._failure.retry - self._live("replan_period"))

    def _ask(self, view: View, lane: int, ending: threading.Event) -> None:
        withdrawn, began = self._words.withdrawn, self.clocks.steady()
        task = self.session.begin(self._prompt, began, view.stamp, self._live("replan_period"))
        if task.new_epoch:
            self._policy.new_episode()
        observation = Observation(view.stamp, view.pictures, view.state, task.prompt, self.senses.command())
        told = self._told(task.prefix)
        infer = self._policy.infer if lane == 0 else self._lanes[lane].infer
        if len(self._lanes) == 1:
            infer = partial(self._weights.run, infer)
        request = Request(task, view.stamp, began, withdrawn, ending)
        self._requests.ask(request, lane, partial(infer, observation, prefix=told, seed=self._noise))

    def _take_answers(self) -> None:
        for answered in self._requests.answered():
            took = self.clocks.steady() - answered.request.began
            if answered.says_time and self._in_flight.note(took, answered.beside):
                self.get_logger().warning(
                    f"{self.contract.origin} answers later beside other requests ({took:.2f} s): at most "
                    f"{self._in_flight.most} at once from now on"
                )
            if not answered.request.ending.is_set() and not answered.overtaken:
                self._attempt(partial(self._use, answered), answered.request.ending)

    def _use(self, answered: Answered) -> None:
        """Publish the plan of an answer; its error is raised."""
        request = answered.request
        plan: Plan = answered.answer.result()
        if not np.all(np.isfinite(plan.values)):
            bad = [n for n, ok in zip(plan.names, np.all(np.isfinite(plan.values), axis=0), strict=True) if not ok]
            raise PolicyError(f"the plan for {', '.join(bad)} is not finite")
        self._reason, self._failure = "", None
        self._tell("")
        if request.withdrawn != self._words.withdrawn:
            return  # the words that it was made for are not to be followed any more
        chunk = self.session.chunk(request.task, request.stamp, plan.period, plan.names, plan.values, plan.frozen_rows)
        if self._publish(chunk, plan.inference_seconds, request.ending):
            self.session.latency.add(self.clocks.ros() - request.stamp)
            self._inference.add(plan.inference_seconds)

    def _told(self, rest: Prefix | None) -> PlanPrefix | None:
        """What the policy is told of the running plan."""
        method = self._live("rtc")
        if method == "none" or rest is None:
            return None
        return PlanPrefix(rest.values, rest.names, rest.delay_rows, rest.execution_rows, method)

    def _publish(self, chunk: Chunk, inference_seconds: float, ending: threading.Event) -> bool:
        """Send a chunk, unless the node was deactivated meanwhile; whether it went out."""
        with self._speaking:
            if ending.is_set():
                return False
            self.session.note_sent(chunk)
            self._publisher.publish(chunk_message(chunk, inference_seconds))
            self._rate.tick(self.clocks.steady())
            return True

    # --- diagnostics ---

    def health(self) -> Health:
        """Prompt, rates, latencies, and why no plan is made."""
        steady = self.clocks.steady()
        values = {
            "prompt": self._prompt,
            "prompt_source": self._words.topic,
            "chunks": self.session.sequence,
            "chunks_hz": self._rate.hz(steady),
            "inference_ms_p50": self._inference.quantile(0.5) * 1e3,
            "inference_ms_p99": self._inference.quantile(0.99) * 1e3,
            "observation_to_chunk_ms_p50": self.session.latency.quantile(0.5) * 1e3,
            "observation_to_chunk_ms_p95": self.session.latency.quantile(0.95) * 1e3,
            "requests_at_once": self._at_once,
            "failures": self._failures,
            "withheld": self._withheld,
            **self.senses.values(self._cameras),
        }
        if self._failure is not None:
            return Health(self._failure.level, self._failure.sentence, values)
        stale = self.senses.stale(self._cameras)
        required = [why for name, why in stale.items() if self._camera_required(name)]
        if required:
            return Health(ERROR, "not planning: " + "; ".join(required), values)
        if self._reason:
            return Health(WARN, f"not planning: {self._reason}", values)
        if stale:
            return Health(WARN, "planning without " + "; ".join(stale.values()), values)
        slow = self._slowness(steady)
        if slow:
            return Health(WARN, slow, values)
        if odd := self.senses.warnings(self._cameras):
            return Health(WARN, f"planning, but {'; '.join(odd)}", values)
        return Health(OK, f"planning: {self._prompt}", values)

    def _lasts(self) -> float:
        return (self.contract.horizon - 1) * self.contract.period

    def _slowness(self, steady: float) -> str:
        waited, latency = steady - self._requests.asked(), self.session.latency.quantile(0.5)
        if waited > (SLOW_ANSWER if self._at_once == 1 else max(SLOW_ANSWER, 2.0 * latency)):
            return f"waiting for a plan of {self.contract.origin} for {waited:.1f} s"
        lasts, at_once = self._lasts(), self._at_once
        interval = latency if at_once == 1 else max(latency / at_once, self._live("replan_period"))
        if standing_time(latency, lasts, interval) <= 0.0:
            return ""
        return (
            f"an answer takes {latency:.2f} s and a plan lasts {lasts:.2f} s: the robot will stop between plans; "
            "longer plans, a nearer server or a faster network help"
        )

    def _camera_required(self, name: str) -> bool:
        return any(c.name == name and c.required for c in self.robot.cameras)


def main() -> int:
    """Run the node."""
    return run(lambda _: [PolicyNode()])


if __name__ == "__main__":
    raise SystemExit(main())
