"""Requests to a policy that are not answered yet: one to a network of our own, several to a server that allows it."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

from pi0_ros.control.planning_session import PlanTask
from pi0_ros.policy import Plan
from pi0_ros.policy.backends.server_errors import LateAnswerError
from pi0_ros.ros.activation import Activation
from pi0_ros.ros.loop import lower_priority


@dataclass(frozen=True)
class Request:
    """A plan that was asked for at `began` [steady s], from the observation of `stamp` [ROS s].

    withdrawn: how often words had been taken back by then. activation: nobody wants the plan once it is over.
    """

    task: PlanTask
    stamp: float
    began: float
    withdrawn: int
    activation: Activation


@dataclass(eq=False)
class _Waiting:
    request: Request
    lane: int
    answer: Future[Plan] = field(default_factory=Future)
    beside: bool = False


@dataclass(frozen=True)
class AnsweredRequest:
    """A request and its plan, or the error that came in its place.

    beside: other requests were waiting meanwhile. overtaken: the plan of a newer observation has come before it.
    """

    request: Request
    answer: Future[Plan]
    beside: bool
    overtaken: bool

    @property
    def says_time(self) -> bool:
        """Whether it tells how long answers take: one that failed at once, for want of a connection, does not."""
        error = self.answer.exception()
        return error is None or isinstance(error, LateAnswerError)


class Requests:
    """Requests by lane. A lane has one request at a time."""

    def __init__(self, lanes: int, woken: Callable[[], None]) -> None:
        """`woken` is called, from another thread, when an answer is there. With one lane `ask` waits for the answer."""
        self.lanes, self._woken = lanes, woken
        self._workers = ThreadPoolExecutor(lanes, "request", initializer=lower_priority) if lanes > 1 else None
        self._waiting: list[_Waiting] = []
        self._newest = -math.inf
        self._changing = threading.Lock()

    def free(self, allowed: int) -> int | None:
        """A lane for another request, None if `allowed` requests wait already."""
        taken = {waiting.lane for waiting in self._waiting}
        if len(taken) >= allowed:
            return None
        return next((lane for lane in range(self.lanes) if lane not in taken), None)

    def oldest(self) -> float:
        """When the oldest request without an answer was made [steady s], infinity if there is none."""
        return min((waiting.request.began for waiting in self._waiting), default=math.inf)

    def ask(self, request: Request, lane: int, answer: Callable[[], Plan]) -> None:
        """Have `answer` called, in a thread of its own if there are several lanes."""
        waiting = _Waiting(request, lane)
        with self._changing:
            self._waiting = [*self._waiting, waiting]
            if len(self._waiting) > 1:
                for other in self._waiting:
                    other.beside = True
        waiting.answer.add_done_callback(lambda _: self._woken())
        if self._workers is None:
            _settle(waiting.answer, answer)
        else:
            self._workers.submit(_settle, waiting.answer, answer)

    def answered(self) -> Sequence[AnsweredRequest]:
        """What has been answered since the last look, oldest observation first."""
        with self._changing:
            done = [waiting for waiting in self._waiting if waiting.answer.done()]
            self._waiting = [waiting for waiting in self._waiting if waiting not in done]
            found = []
            for waiting in sorted(done, key=lambda waiting: waiting.request.began):
                overtaken = waiting.request.began < self._newest
                if waiting.answer.exception() is None:
                    self._newest = max(self._newest, waiting.request.began)
                found.append(AnsweredRequest(waiting.request, waiting.answer, waiting.beside, overtaken))
        return found

    def close(self) -> None:
        """Ask nothing more, and wait for no answer any more."""
        if self._workers is not None:
            self._workers.shutdown(wait=False, cancel_futures=True)


def _settle(future: Future[Plan], work: Callable[[], Plan]) -> None:
    try:
        future.set_result(work())
    except BaseException as error:  # noqa: BLE001 - a panic of Rust is an answer, too
        future.set_exception(error)
