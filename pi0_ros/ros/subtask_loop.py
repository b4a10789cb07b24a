"""The thread of the high_level node: asks the network what to do next, and decides the current subtask."""

from __future__ import annotations

import math
import traceback
from collections.abc import Callable
from dataclasses import dataclass

from rclpy.impl.rcutils_logger import RcutilsLogger

from pi0_ros.policy import Observation
from pi0_ros.policy.adapter_reading import ANY_SUBTASK
from pi0_ros.policy.plan import Answer, SubtaskPolicy
from pi0_ros.policy.subtask_choice import Decision, refusal
from pi0_ros.policy.subtask_progress import ProgressLimits, Verdict
from pi0_ros.ros.activation import Activation
from pi0_ros.ros.clock import Clocks
from pi0_ros.ros.observation_source import ObservationSource, SensorSnapshot
from pi0_ros.ros.prompt_source import OVERRIDE
from pi0_ros.ros.subtask_watch import SubtaskWatch
from pi0_ros.ros.task_desk import TaskDesk
from pi0_ros.ros.withheld import nothing_said

SOON = 0.1
"""Seconds after which an unsure answer is asked for again with the next pictures, and pictures that were missing looked for."""


@dataclass
class SubtaskStatus:
    """What has become of the questions. Sentences are "" if there is nothing to say.

    reason: why nothing is asked. failure: of the newest question. unfit: why its answer is no subtask.
    seconds: that it took. log_probability: of its answer's tokens, on average.
    """

    answers: int = 0
    refused: int = 0
    failures: int = 0
    reason: str = "waiting for a task"
    failure: str = ""
    unfit: str = ""
    last_refused: str = ""
    seconds: float = 0.0
    log_probability: float = math.nan


@dataclass(frozen=True)
class SubtaskOutputs:
    """Where a subtask goes, where the reason for none goes, and the log."""

    subtask: Callable[[str], None]
    state: Callable[[str], None]
    logger: RcutilsLogger


@dataclass(frozen=True)
class SubtaskSettings:
    """period [s] between two questions; max_tokens of an answer; how many equal answers replace a subtask that stands.

    limits: of subtasks without progress.
    """

    period: Callable[[], float]
    max_tokens: int
    agree: int
    limits: Callable[[], ProgressLimits]


class SubtaskLoop:
    """Decides while an activation lasts. `run` belongs to the thread, the other public methods to ROS's."""

    def __init__(
        self,
        policy: SubtaskPolicy,
        answer_in: Callable[..., Answer],
        observations: Callable[[], ObservationSource | None],
        clocks: Clocks,
        settings: SubtaskSettings,
        outputs: SubtaskOutputs,
    ) -> None:
        """`answer_in(work, ...)` does `work(...)` in the network's own thread. `observations`: None while there are none."""
        self.policy, self._answer_in, self._observations, self._clocks = policy, answer_in, observations, clocks
        self._settings, self._outputs = settings, outputs
        self.desk, self.status, self.decision = TaskDesk(), SubtaskStatus(), Decision(settings.agree)
        self.watch = SubtaskWatch(settings.limits)

    def update_task(self, text: str) -> None:
        """Somebody says the task. Other words than before end what was being done."""
        with self.desk.lock:
            self._count_anew()
            if self.desk.put_task(text):
                if self.decision.subtask:
                    self._outputs.subtask("")
                self.decision.restart()
                self.status.reason = "the task has changed, the subtask is being decided"
        if not text:
            self._outputs.logger.warning("empty task: nothing is asked until there is one")

    def update_override(self, text: str) -> None:
        """An operator's word is followed by the policy itself; meanwhile the network is not asked."""
        with self.desk.lock:
            if text != self.desk.override:
                self._count_anew()
            self.desk.put_override(text)

    def update_mode(self, mode: str) -> None:
        """The executor says its mode, on every change."""
        with self.desk.lock:
            if self.watch.update_mode(mode):
                self._count_anew()

    def _count_anew(self) -> None:
        """Forget what made no progress, with the lock held: a person did something, or another one drives."""
        if self.watch.given_up:
            self.status.reason = "the subtask is being decided anew"
            self.desk.decide_anew()
        self.watch.restart()

    def wake(self) -> None:
        """Let the thread look again."""
        self.desk.wake()

    def run(self, activation: Activation) -> None:
        """Decide again and again, until the activation is over."""
        soon, status = False, self.status
        while not activation.over:
            timeout = SOON if soon else self._settings.period()
            task, new = self.desk.wait(timeout, lambda: activation.over)
            if activation.over:
                return
            if new:
                self.decision.restart()
            soon = self._turn(task, activation)
            with activation.publishing() as allowed:
                if allowed:
                    self._outputs.state(status.failure or status.reason or status.unfit or self.watch.reason())

    def _turn(self, task: str, activation: Activation) -> bool:
        """One decision; True if the next one should be soon."""
        if self.desk.override:
            self.status.reason = f"an operator's {OVERRIDE} is followed: {self.desk.override}"
        elif not task:
            self.status.reason = nothing_said("task")
        elif not self.policy.contract.gives_subtasks or says_itself(task, self.policy.contract.subtasks):
            self._pass_on(task, activation)
        else:
            verdict = self._look(task, activation)
            return verdict is Verdict.RETRY or (verdict is Verdict.GOING_ON and self._decide(task, activation))
        return False

    def _look(self, task: str, activation: Activation) -> Verdict:
        """Whether the subtask that stands makes progress. If it does not it is withdrawn: the policy forgets its plans for it."""
        with activation.publishing() as allowed, self.desk.lock:
            if self.watch.given_up:
                return Verdict.GIVEN_UP
            if not allowed or not self.desk.stands(task):
                return Verdict.GOING_ON
            verdict, log = self.watch.look(self.decision.subtask, self._clocks.steady()), self._outputs.logger
            if verdict is not Verdict.GOING_ON:
                self.decision.restart()
                self._outputs.subtask("")
                self.status.reason = self.status.failure = self.status.unfit = ""
            if verdict is Verdict.RETRY:
                log.warning(self.watch.reason())
            elif verdict is Verdict.GIVEN_UP:
                log.error(self.watch.reason())
            return verdict

    def _pass_on(self, task: str, activation: Activation) -> None:
        """Publish the task as the subtask."""
        with activation.publishing() as allowed, self.desk.lock:
            if not allowed or not self.desk.stands(task):
                return
            self.status.reason = self.status.failure = self.status.unfit = ""
            if self.decision.subtask != task:
                self._outputs.logger.info(f"subtask, as the task says: {task}")
            self.decision.restart()
            self.decision.decoded(task)
            self._outputs.subtask(task)

    def _decide(self, task: str, activation: Activation) -> bool:
        """Ask once; True if it should be asked soon: to confirm the answer, or because nothing could be asked yet."""
        view = self._view()
        if view.missing:
            self.status.reason = "; ".join(view.missing)
            return True  # asked as soon as it can be: a period may be a minute
        try:
            answer = self._question(view, task)
        except BaseException as error:  # noqa: BLE001 - one failed question must not end the thread, nor a panic of Rust
            if not activation.over:
                self._fail(error)
            return False
        with activation.publishing() as allowed, self.desk.lock:
            if not allowed or not self.desk.stands(task):
                return False  # nobody wants to know any more
            self.status.failure = self.status.reason = ""
            return self._take(answer)

    def _view(self) -> SensorSnapshot:
        observations = self._observations()
        if observations is None:
            sentence = "policy is not configured, and high_level looks through its cameras: configure policy"
            return SensorSnapshot(missing=(sentence,))
        return observations.view(self.policy.contract.high_level_cameras)

    def _question(self, view: SensorSnapshot, task: str) -> Answer:
        observation = Observation(stamp=view.stamp, images=view.pictures, state=view.state, prompt=task)
        began = self._clocks.steady()
        answer = self._answer_in(self.policy.answer, observation, task, max_tokens=self._settings.max_tokens)
        self.status.seconds = self._clocks.steady() - began
        return answer

    def _fail(self, error: BaseException) -> None:
        self.status.failures += 1
        self.status.failure = f"{type(error).__name__}: {error}"
        self._outputs.logger.error(f"decoding failed:\n{traceback.format_exc()}", throttle_duration_sec=5.0)

    def _take(self, answer: Answer) -> bool:
        """Take an answer to the task that stands; True if it should be confirmed soon."""
        status, text, contract = self.status, answer.text.strip(), self.policy.contract
        status.answers += 1
        status.log_probability = answer.log_probability
        why = refusal(text, contract.subtasks or "", answer.log_probability, contract.subtask_log_probability)
        status.unfit = f"high_level's answers are no subtasks: {why}: {text[:40]!r}" if why else ""
        if why:
            status.refused += 1
            status.last_refused = f"{why}: {text[:40]!r}"
            self._outputs.logger.warning(f"subtask refused: {status.last_refused}", throttle_duration_sec=1.0)
            return False
        before = self.decision.subtask
        stands = self.decision.decoded(text)
        if self.decision.subtask != before:
            self._outputs.logger.info(f"subtask: {self.decision.subtask}")
        self._outputs.subtask(self.decision.subtask)
        return not stands


def says_itself(task: str, form: str | None) -> bool:
    """Whether a task has the `form` of the network's own subtasks: it asks for one step, and there is nothing to decide."""
    return form is not None and form != ANY_SUBTASK and not refusal(task, form)
