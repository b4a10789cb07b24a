"""The inference thread of the policy node: observation in, chunk out, whenever the next one is due."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from rclpy.impl.rcutils_logger import RcutilsLogger
from rclpy.publisher import Publisher

from pi0_ros.control import Chunk
from pi0_ros.control.planning import Prefix, Situation, Timetable
from pi0_ros.control.planning_session import PlanningSession
from pi0_ros.msg import ExecutorState
from pi0_ros.policy import Observation, PlanPrefix, PolicyError
from pi0_ros.policy.plan import Plan
from pi0_ros.ros.activation import Activation
from pi0_ros.ros.clock import Clocks, seconds
from pi0_ros.ros.conversions import MODE_NAMES, chunk_message
from pi0_ros.ros.observation_source import ObservationSource, SensorSnapshot
from pi0_ros.ros.plan_requests import AnsweredRequest, Request
from pi0_ros.ros.planning_status import PlanningStatus
from pi0_ros.ros.policy_lanes import PolicyLanes
from pi0_ros.ros.prompt_inputs import PromptInputs
from pi0_ros.ros.withheld import Wait, Withheld

LOOK = 0.05
"""Seconds after which the thread looks whether a plan is due if nothing has woken it."""


@dataclass(frozen=True)
class PlanSettings:
    """When to plan, and how the network is given the running plan: `none` or a method of `PlanPrefix`."""

    timetable: Timetable
    rtc: str


@dataclass(frozen=True)
class PlanInputs:
    """What a plan is made of: what is seen, what is said, both clocks, and the settings, which may change; and the log.

    state: channels and joints that have to be known.
    """

    observations: ObservationSource
    texts: PromptInputs
    clocks: Clocks
    settings: Callable[[], PlanSettings]
    state: tuple[str, ...]
    logger: RcutilsLogger


class PlanLoop:
    """Plans while an activation lasts. `run` belongs to the thread, the other public methods to ROS's."""

    def __init__(
        self,
        lanes: PolicyLanes,
        inputs: PlanInputs,
        session: PlanningSession,
        status: PlanningStatus,
        publisher: Publisher,
        seed: int,
    ) -> None:
        """`seed`: of the noise that plans start from."""
        self.lanes, self.inputs = lanes, inputs
        self.session, self.status, self._publisher = session, status, publisher
        self._noise = np.random.default_rng(seed)
        self._withdrawn = 0

    def wake(self) -> None:
        """Let the thread look at once whether a plan is due."""
        self.inputs.observations.arrivals.announce()

    def update_executor(self, message: ExecutorState) -> None:
        """Take what the executor says: its mode and epoch, the running plan, and what it commands."""
        self.inputs.observations.update_command(message)
        before = self.session.situation
        now = self.session.situation = Situation(
            self.inputs.clocks.steady(),
            MODE_NAMES.get(message.mode, "stopped"),
            message.epoch,
            message.plan_sequence,
            message.plan_left,
            seconds(message.header.stamp),
        )
        if (before.mode, before.epoch) != (now.mode, now.epoch):
            self.wake()

    def run(self, activation: Activation) -> None:
        """Plan whenever it is time, until the activation is over."""
        while not activation.over:
            self.inputs.observations.arrivals.wait(LOOK)
            self._take_answers()
            lane = self.lanes.free()
            if not activation.over and lane is not None and self._is_due(activation):
                self._look(lane, activation)

    def _is_due(self, activation: Activation) -> bool:
        steady = self.inputs.clocks.steady()
        withheld = self.inputs.texts.withheld(self.session.situation, steady)
        if withheld is not None:
            self._withhold(withheld, activation)
            return False
        words, table = self.inputs.texts.words, self.inputs.settings().timetable
        if words.withdrawn != self._withdrawn:
            self._withdrawn = words.withdrawn
            self.session.forget()
        return self.session.due(table, words.text, steady, self.lanes.at_once)

    def _look(self, lane: int, activation: Activation) -> None:
        inputs = self.inputs
        ending = self.session.keep_end(inputs.texts.words.text, inputs.clocks.steady(), inputs.clocks.ros())
        if ending is not None:
            self._publish(ending, 0.0, activation)
            return
        view = inputs.observations.view(tuple(self.lanes.contract.cameras), inputs.state)
        if view.missing:
            self._withhold(Withheld(Wait.OBSERVATION, "; ".join(view.missing), view.about), activation)
            return
        self._attempt(partial(self._ask, view, lane, activation), activation)
        self._take_answers()

    def _withhold(self, why: Withheld, activation: Activation) -> None:
        """Say why no plan is made, unless the activation has ended: the next one says how it is then."""
        with activation.publishing() as allowed:
            if allowed:
                self.status.withhold(why)

    def _attempt(self, work: Callable[[], None], activation: Activation) -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - one failed inference must not end the thread, nor a panic of Rust
            with activation.publishing() as allowed:
                if not allowed:
                    return
                failure = self.status.failed(error)
            replan = self.inputs.settings().timetable.replan
            self.session.postpone(self.inputs.clocks.steady() + failure.retry - replan)

    def _ask(self, view: SensorSnapshot, lane: int, activation: Activation) -> None:
        words, settings, began = self.inputs.texts.words, self.inputs.settings(), self.inputs.clocks.steady()
        withdrawn = words.withdrawn
        task = self.session.begin(words.text, began, view.stamp, settings.timetable.replan)
        if task.new_epoch:
            self.lanes.policy.new_episode()
        command = self.inputs.observations.command()
        observation = Observation(view.stamp, view.pictures, view.state, task.prompt, command)
        prefix = plan_prefix(task.prefix, settings.rtc)
        request = Request(task, view.stamp, began, withdrawn, activation)
        self.lanes.ask(request, lane, observation, prefix=prefix, seed=self._noise)

    def _take_answers(self) -> None:
        for answered in self.lanes.answered(self.inputs.clocks.steady, self.inputs.logger):
            self._attempt(partial(self._use, answered), answered.request.activation)

    def _use(self, answered: AnsweredRequest) -> None:
        """Publish the plan of an answer; its error is raised."""
        request, plan = answered.request, answered.answer.result()
        refuse_not_finite(plan)
        with request.activation.publishing() as allowed:
            if not allowed:
                return
            self.status.planned()
        if request.withdrawn != self.inputs.texts.words.withdrawn:
            return  # the words that it was made for are not to be followed any more
        chunk = self.session.chunk(request.task, request.stamp, plan.period, plan.names, plan.values, plan.frozen_rows)
        if self._publish(chunk, plan.inference_seconds, request.activation):
            self.session.latency.add(self.inputs.clocks.ros() - request.stamp)
            self.status.inference.add(plan.inference_seconds)

    def _publish(self, chunk: Chunk, inference_seconds: float, activation: Activation) -> bool:
        """Send a chunk, unless the node was deactivated meanwhile; whether it went out."""
        with activation.publishing() as allowed:
            if allowed:
                self.session.note_sent(chunk)
                self._publisher.publish(chunk_message(chunk, inference_seconds))
                self.status.rate.tick(self.inputs.clocks.steady())
            return allowed


def plan_prefix(rest: Prefix | None, method: str) -> PlanPrefix | None:
    """The part of the running plan that the network is given; `method` as in `PlanPrefix`, or `none`."""
    if method == "none" or rest is None:
        return None
    return PlanPrefix(rest.values, rest.names, rest.delay_rows, rest.execution_rows, method)


def refuse_not_finite(plan: Plan) -> None:
    """Raises PolicyError that names the channels of a plan that are not finite."""
    bad = [n for n, ok in zip(plan.names, np.all(np.isfinite(plan.values), axis=0), strict=True) if not ok]
    if bad:
        raise PolicyError(f"the plan for {', '.join(bad)} is not finite")
