"""high_level: asks the same network, less often, what to do next, and latches it on `subtask` as text."""

from __future__ import annotations

import math
import re
import threading
import traceback
from collections.abc import Callable
from functools import partial

from std_msgs.msg import String

from pi0_ros.nodes.policy import LONGEST_PROMPT
from pi0_ros.nodes.weights import MODEL_PARAMETERS, Weights
from pi0_ros.policy import Observation, PolicyError
from pi0_ros.policy.adapter import ANY_SUBTASK
from pi0_ros.policy.engine import Answer
from pi0_ros.robot import RobotError, load_robot
from pi0_ros.ros.any_publisher import subscribe_to_any
from pi0_ros.ros.diagnostics import ERROR, OK, WARN, Health
from pi0_ros.ros.guarded_thread import GuardedThread
from pi0_ros.ros.lifecycle import HALT, ManagedNode
from pi0_ros.ros.parameters import Parameter, ParameterError
from pi0_ros.ros.prompt_source import OVERRIDE, one_line
from pi0_ros.ros.qos import LATCHED
from pi0_ros.ros.run import run
from pi0_ros.ros.senses import PICTURE_FROZEN, Senses, View

LONGEST_SUBTASK = 120


class Decision:
    """Which subtask stands: a new text has to be decoded `agree` times running before it replaces the old one."""

    def __init__(self, agree: int) -> None:
        self._agree = agree
        self.subtask = ""
        self._candidate, self._count = "", 0

    def restart(self) -> None:
        """A new task: whatever is decoded next stands at once."""
        self.subtask, self._candidate, self._count = "", "", 0

    def decoded(self, text: str) -> bool:
        """Take a decoded text in; True where it now stands."""
        self._count = self._count + 1 if text == self._candidate else 1
        self._candidate = text
        if text == self.subtask or not self.subtask or self._count >= self._agree:
            self.subtask = text
        return text == self.subtask


def refusal(text: str, pattern: str = ".+", log_probability: float = 0.0, least: float = -math.inf) -> str:
    """Why a decoded text is no subtask, "" where it is one.

    It has to match `pattern` as a whole, and its tokens' mean log-probability has to be `least` or more.
    """
    if not text.strip():
        return "empty text"
    if len(text) > LONGEST_SUBTASK:
        return f"text of {len(text)} characters, at most {LONGEST_SUBTASK}"
    if not text.isprintable():
        return "text with unprintable characters"
    if not re.fullmatch(pattern, text):
        return f"text that does not match {pattern}"
    if not log_probability >= least:
        return f"the network is not sure (mean log-probability {log_probability:.2g}, {least:g} is asked for)"
    return ""


class HighLevelNode(ManagedNode):
    """Publishes subtasks."""

    table = (
        *MODEL_PARAMETERS,
        PICTURE_FROZEN,
        Parameter(
            "period", 1.0, "seconds between two questions to the network for a subtask", low=0.05, high=60.0, live=True
        ),
        Parameter("max_tokens", 32, "longest answer of the network, in tokens", low=1, high=256),
        Parameter("agree", 2, "how many equal answers in a row replace the subtask that stands", low=1, high=10),
    )
    expected = (ParameterError, RobotError, PolicyError)

    def __init__(
        self,
        name: str = "high_level",
        weights: Weights | None = None,
        partner: Callable[[], Senses | None] = lambda: None,
        **kwargs: object,
    ) -> None:
        """`partner`: senses of another node in this process to look through, where it has some."""
        super().__init__(name, **kwargs)
        self._weights, self._partner = weights or Weights(), partner
        self._own_senses: Senses | None = None
        self._thread: GuardedThread | None = None
        self._ending = threading.Event()
        self._ask = threading.Condition()

    def setup(self) -> None:
        """Load robot and checkpoint; one that was not trained to give subtasks is never asked, the task is passed on."""
        self.robot = load_robot(self.values.robot)
        self._policy = self._weights.get(self.values, self.robot)
        self._asks = self._policy.contract.gives_subtasks
        if not self._asks:
            self.get_logger().warning(
                f"checkpoint {self.values.checkpoint} was not trained to give subtasks: the task goes to the policy as it is"
                " (if it was, say in which form: subtasks in its policy YAML)"
            )
        self._task, self._new, self._reason, self._failure = "", False, "waiting for a task", ""
        self._decision = Decision(self.values.agree)
        self._answers = self._refused = self._failures = 0
        self._last_refused, self._seconds, self._unfit, self._log_probability = "", 0.0, "", math.nan
        if self._partner() is None:
            self._own_senses = Senses(self, self.robot, self.clocks, self.values.picture_frozen)
        self._publisher = self.own(self.create_publisher(String, "subtask", LATCHED))
        self._state_publisher = self.own(self.create_publisher(String, "high_level_state", LATCHED))
        self._told_state, self._override = "", ""
        for topic, callback in (("task", self._on_task), (OVERRIDE, self._on_override)):
            for subscription in subscribe_to_any(self, String, topic, callback):
                self.own(subscription)

    def start(self) -> None:
        """Start asking."""
        self._ending = threading.Event()
        self._thread = self.begin_thread("high level", partial(self._ask_forever, self._ending))

    def halt(self) -> None:
        """Stop asking; what is being decoded is not published, however long it still takes."""
        with self._ask:
            self._ending.set()
            self._ask.notify_all()
        if self._thread is not None:
            self._thread.stop(HALT)
            self._thread = None

    def teardown(self) -> None:
        """Let go of the subscriptions and the weights."""
        if self._own_senses is not None:
            self._own_senses.close()
            self._own_senses = None
        self._policy = None
        self._weights.drop()

    @property
    def _senses(self) -> Senses | None:
        return self._own_senses or self._partner()

    def _on_task(self, message: String) -> None:
        text = " ".join(message.data.split())
        if len(text) > LONGEST_PROMPT:
            self.get_logger().warning(f"task of {len(text)} characters refused: at most {LONGEST_PROMPT}")
            return
        with self._ask:
            # Said again counts as new: another scene may lie on the table. Other words end what was being done.
            changed, self._task, self._new = text != self._task, text, True
            if changed:
                if self._decision.subtask:
                    self._publisher.publish(String(data=""))
                self._decision.restart()
                self._reason = "the task has changed, the subtask is being decided"
            self._ask.notify_all()
        if not text:
            self.get_logger().warning("empty task: nothing is asked until there is one")

    def _on_override(self, message: String) -> None:
        """An operator's word is followed by the policy itself; meanwhile the network is not asked."""
        with self._ask:
            self._override = one_line(message.data)
            self._ask.notify_all()

    def _tell(self, reason: str) -> None:
        """Say on `high_level_state` why no subtask is given, "" while there is one."""
        if reason != self._told_state:
            self._told_state = reason
            self._state_publisher.publish(String(data=reason))

    def _ask_forever(self, ending: threading.Event) -> None:
        unsure = False
        while not ending.is_set():
            with self._ask:
                # An unsure answer is asked again with the next pictures, not a whole period later.
                self._ask.wait_for(lambda: ending.is_set() or self._new, 0.1 if unsure else self._period())
                if ending.is_set():
                    return
                task, new, self._new = self._task, self._new, False
            if new:
                self._decision.restart()
            if self._override:
                unsure, self._reason = False, f"an operator's {OVERRIDE} is followed: {self._override}"
            elif not task:
                unsure, self._reason = False, "no task yet; publish one on task"
            elif not self._asks or self._says_itself(task):
                unsure = False
                self._pass_on(task)
            else:
                unsure = self._decide(task, ending)
            self._tell(self._failure or self._reason or self._unfit)

    def _period(self) -> float:
        return float(self.get_parameter("period").value)

    def _says_itself(self, task: str) -> bool:
        """Whether a task has the form of the network's own subtasks: it asks for one step, and there is nothing to decide."""
        form = self._policy.contract.subtasks
        return form != ANY_SUBTASK and not refusal(task, form)

    def _pass_on(self, task: str) -> None:
        """Publish the task as the subtask."""
        with self._ask:
            if task != self._task or self._override:
                return
            self._reason = self._failure = self._unfit = ""
            if self._decision.subtask != task:
                self.get_logger().info(f"subtask, as the task says: {task}")
            self._decision.restart()
            self._decision.decoded(task)
            self._publisher.publish(String(data=task))

    def _decide(self, task: str, ending: threading.Event) -> bool:
        """Ask once; True where the answer should be confirmed soon."""
        senses = self._senses
        view = (
            senses.view(self._policy.contract.high_level_cameras)
            if senses is not None
            else View(missing=("policy is not configured, and high_level looks through its cameras: configure policy",))
        )
        if view.missing:
            self._reason = "; ".join(view.missing)
            return False
        try:
            answer = self._question(view, task)
        except BaseException as error:  # noqa: BLE001 - one failed question must not end the thread, nor a panic of Rust
            if ending.is_set():
                return False
            self._failures += 1
            self._failure = f"{type(error).__name__}: {error}"
            self.get_logger().error(f"decoding failed:\n{traceback.format_exc()}", throttle_duration_sec=5.0)
            return False
        with self._ask:
            if ending.is_set() or task != self._task or self._override:
                return False  # nobody wants to know any more
            self._failure = self._reason = ""
            return self._take(answer)

    def _question(self, view: View, task: str) -> Answer:
        observation = Observation(stamp=view.stamp, images=view.pictures, state=view.state, prompt=task)
        began = self.clocks.steady()
        answer = self._weights.run(self._policy.answer, observation, task, max_tokens=self.values.max_tokens)
        self._seconds = self.clocks.steady() - began
        return answer

    def _take(self, answer: Answer) -> bool:
        self._answers, text, contract = self._answers + 1, answer.text.strip(), self._policy.contract
        self._log_probability = answer.log_probability
        why = refusal(text, contract.subtasks, answer.log_probability, contract.subtask_log_probability)
        self._unfit = f"high_level's answers are no subtasks: {why}: {text[:40]!r}" if why else ""
        if why:
            self._refused += 1
            self._last_refused = f"{why}: {text[:40]!r}"
            self.get_logger().warning(f"subtask refused: {self._last_refused}", throttle_duration_sec=1.0)
            return False
        before = self._decision.subtask
        stands = self._decision.decoded(text)
        if self._decision.subtask != before:
            self.get_logger().info(f"subtask: {self._decision.subtask}")
        self._publisher.publish(String(data=self._decision.subtask))
        return not stands

    def health(self) -> Health:
        """Task, subtask, and why nothing is decided."""
        values = {
            "task": self._task,
            "subtask": self._decision.subtask,
            "answers": self._answers,
            "log_probability": self._log_probability,
            "refused": self._refused,
            "last_refused": self._last_refused,
            "failures": self._failures,
            "seconds": self._seconds,
        }
        if self._failure:
            return Health(ERROR, f"decoding failed: {self._failure}", values)
        if self._reason:
            return Health(WARN, f"not deciding: {self._reason}", values)
        if self._unfit:
            return Health(WARN, self._unfit, values)
        if self.count_publishers("subtask") > 1:
            return Health(WARN, f"another node publishes on subtask and is overwritten: use {OVERRIDE}", values)
        if not self._asks:
            return Health(OK, f"the task as it is: {self._task}", values)
        return Health(OK, f"subtask: {self._decision.subtask}", values)


def main() -> int:
    """Run the node."""
    return run(lambda _: [HighLevelNode()])


if __name__ == "__main__":
    raise SystemExit(main())
