"""Requests to a policy: in this process one after another, to a server several at once over several connections."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from rclpy.impl.rcutils_logger import RcutilsLogger

from pi0_ros.control.in_flight import InFlight
from pi0_ros.policy.plan import AnyPolicy, Plan
from pi0_ros.ros.plan_requests import AnsweredRequest, Request, Requests


class PolicyLanes:
    """The questions that wait for an answer, and how many of them may wait at a time."""

    def __init__(self, policy: AnyPolicy, most: int, infer_in: Callable[..., Plan], woken: Callable[[], None]) -> None:
        """`most` questions at once. `infer_in(work, ...)` does `work(...)` in the network's own thread; `woken` is called,
        from another thread, when an answer is there."""
        self.policy, self.contract = policy, policy.contract
        lanes = policy.lanes(most)
        self._others, self._infer_in = lanes[1:], infer_in
        self._in_flight, self._requests = InFlight(len(lanes)), Requests(len(lanes), woken)
        self.at_once = 1
        """How many may wait at a time now."""

    @property
    def lasts(self) -> float:
        """Seconds that a plan lasts."""
        return self.contract.plan_seconds

    def free(self) -> int | None:
        """A lane for another question; None while enough of them wait."""
        self.at_once = self._in_flight.allowed(self.lasts)
        return self._requests.free(self.at_once)

    def ask(self, request: Request, lane: int, *given: object, **named: object) -> None:
        """Ask for a plan, in the lane's own thread if there are several; arguments as of `infer`."""
        infer: Callable[..., Plan] = self._others[lane - 1].infer if lane else self.policy.infer
        if not self._others:
            infer = partial(self._infer_in, infer)
        self._requests.ask(request, lane, partial(infer, *given, **named))

    def answered(self, now: Callable[[], float], logger: RcutilsLogger) -> Iterator[AnsweredRequest]:
        """What has been answered since the last look and is still of use; learns from how long it took."""
        for answered in self._requests.answered():
            took = now() - answered.request.began
            if answered.says_time and self._in_flight.note(took, answered.beside):
                logger.warning(
                    f"{self.contract.origin} answers later beside other requests ({took:.2f} s): at most "
                    f"{self._in_flight.most} at once from now on"
                )
            if not answered.request.activation.over and not answered.overtaken:
                yield answered

    def oldest(self) -> float:
        """When the oldest question without an answer was asked [steady s], infinity if there is none."""
        return self._requests.oldest()

    def close(self) -> None:
        """Ask nothing more."""
        self._requests.close()
        for lane in self._others:
            lane.close()
