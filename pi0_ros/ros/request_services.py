"""Trigger services that the control loop answers itself, once a period.

rclpy's executor runs one callback at a time: behind a storm of other requests, `stop` would wait for all of them. Here each
service has a queue of its own in the network layer, `stop` and `hold` are read first, and what is read of the others is bounded.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rclpy.callback_groups import CallbackGroup
from rclpy.node import Node
from std_srvs.srv import Trigger

from pi0_ros.control import Answer

REQUESTS = ("stop", "hold", "teleop", "autonomy", "reset")
"""In the order in which they are read: what ends a motion comes first."""
PER_PERIOD = 4
"""Requests of one service that are answered in one period; the queue behind it holds ten."""


class PolledGroup(CallbackGroup):
    """Callbacks that rclpy's executor runs, except while `polled`: then somebody reads the entities itself."""

    def __init__(self) -> None:
        super().__init__()
        self.polled = False

    def can_execute(self, entity: object) -> bool:
        """Whether rclpy's executor may wait for the entity."""
        return not self.polled

    def beginning_execution(self, entity: object) -> bool:
        """Whether rclpy's executor may run the callback."""
        return not self.polled

    def ending_execution(self, entity: object) -> None:
        """Nothing to be done."""


class RequestServices:
    """`~/stop`, `~/hold`, `~/teleop`, `~/autonomy`, `~/reset` of one node. While nobody polls, each answers `refusal`.

    They are there for as long as the node is: whoever calls `stop` gets an answer in every lifecycle state.
    """

    def __init__(self, node: Node, refusal: str) -> None:
        self._node, self._refusal = node, refusal
        self._group = PolledGroup()
        self._services = []
        for name in REQUESTS:
            service = node.create_service(Trigger, f"~/{name}", self._refuse, callback_group=self._group)
            self._services.append((name, service))
        self._answered: list[tuple[Any, Any, Answer]] = []

    def poll(self, polled: bool) -> None:
        """Whether `take` is called from now on, or rclpy's executor answers with the refusal."""
        self._group.polled = polled
        if self._node.executor is not None:
            self._node.executor.wake()

    def take(self, answer: Callable[[str], Answer]) -> None:
        """Answer the requests that have come, each with `answer(name)`; `reply` sends the answers."""
        for name, service in self._services:
            for _ in range(PER_PERIOD):
                request, header = service.handle.service_take_request(Trigger.Request)
                if request is None:
                    break
                self._answered.append((service, header, answer(name)))

    def reply(self) -> None:
        """Send the answers to what was taken."""
        answered, self._answered = self._answered, []
        for service, header, answer in answered:
            service.send_response(Trigger.Response(success=answer.ok, message=answer.message), header)

    def _refuse(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        response.success, response.message = False, self._refusal
        return response
