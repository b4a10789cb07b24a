"""The executor that runs the callbacks of every node here: no exception in one of them ends the thread that answers `stop`.

rclpy's own executor raises what a callback raised, which ends the thread that spins. An exception while a message is taken
is worse: it leaves the entity, and with it the whole callback group of the node, marked as busy for ever.
"""

from __future__ import annotations

import contextlib
import threading
import time
import traceback
from collections.abc import Callable
from typing import Any

from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor, await_or_execute
from rclpy.logging import get_logger
from rclpy.node import Node

from pi0_ros.ros.guarded_thread import GuardedThread

LOG_PERIOD = 1.0
"""Seconds between two log lines about the same callback."""
MAX_FAILURES = 100
"""Failures of the waiting itself, one after the other and with nothing done in between, until the thread gives up."""
RETRY_DELAY = 0.01


class GuardedExecutor(SingleThreadedExecutor):
    """Runs callbacks; what one of them raises is logged with its traceback and counted, and spinning goes on.

    A service whose callback raised answers with the default response, whose `success` is False, and with the reason
    where the response has a `message`: nobody waits for an answer that never comes.
    """

    def __init__(self) -> None:
        super().__init__()
        self.failures = 0
        self._logged: dict[str, float] = {}

    def work(self, timeout: float) -> None:
        """Wait up to `timeout` seconds for something to do, and do it. Raises only what waiting itself raises."""
        self.spin_once(timeout_sec=timeout)

    def _take_subscription(self, subscription: Any) -> Any:
        return self._guarded(f"topic {subscription.topic_name}", super()._take_subscription, subscription)

    def _take_timer(self, timer: Any) -> Any:
        return self._guarded("a timer", super()._take_timer, timer)

    def _take_client(self, client: Any) -> Any:
        return self._guarded(f"the client of {client.srv_name}", super()._take_client, client)

    def _take_guard_condition(self, guard: Any) -> Any:
        return self._guarded("a guard condition", super()._take_guard_condition, guard)

    def _take_waitable(self, waitable: Any) -> Any:
        return self._guarded(f"a {type(waitable).__name__}", super()._take_waitable, waitable)

    def _take_service(self, service: Any) -> Any:
        name = f"service {service.srv_name}"
        try:
            with service.handle:
                request, header = service.handle.service_take_request(service.srv_type.Request)
        except Exception as error:  # noqa: BLE001 - bytes that are no request must not lock the callback group
            self.failed(name, error)
            return None
        if header is None:
            return None

        async def answer() -> None:
            response = service.srv_type.Response()
            try:
                response = await await_or_execute(service.callback, request, response)
            except GeneratorExit:  # a callback that waits for something is let go of
                raise
            except BaseException as error:  # noqa: BLE001 - the caller gets an answer, whatever happened
                self.failed(name, error)
                response = service.srv_type.Response()
                if hasattr(response, "message"):
                    response.message = f"{type(error).__name__}: {error}"
            with contextlib.suppress(Exception):  # whoever asked may be gone
                service.send_response(response, header)

        return answer

    def _guarded(self, name: str, take: Callable[[Any], Any], entity: Any) -> Any:
        """What `take` returns for an entity, as a coroutine that does not raise."""
        try:
            execute = take(entity)
        except Exception as error:  # noqa: BLE001 - bytes that are no message must not lock the callback group
            self.failed(name, error)
            return None
        if execute is None:
            return None

        async def guarded() -> None:
            try:
                await execute()
            except GeneratorExit:  # a callback that waits for something is let go of
                raise
            except BaseException as error:  # noqa: BLE001 - one failed callback must not end the thread
                self.failed(name, error)

        return guarded

    def failed(self, name: str, error: BaseException) -> None:
        """Count a failure and log it, at most once a second for each name."""
        self.failures += 1
        now = time.monotonic()
        if now - self._logged.get(name, -LOG_PERIOD) >= LOG_PERIOD:
            self._logged[name] = now
            trace = "".join(traceback.format_exception(error))
            get_logger("ros").error(f"a callback of {name} failed:\n{trace}")


class Spinner:
    """A thread that spins nodes, and ends in order: first the thread, then what it used.

    `died(reason)` is called, from that thread, if spinning ended without having been asked to: no service answers
    any more, so that whoever started it has to make everything safe and end the process.
    """

    def __init__(self, died: Callable[[str], None] = lambda _: None) -> None:
        # Not rclpy's EventsExecutor: as of Jazzy it deadlocks with the interpreter's lock as soon as another thread
        # publishes what this process subscribes to, or creates an entity.
        self._executor = GuardedExecutor()
        self._died = died
        self._ending = threading.Event()
        self._thread = GuardedThread("ros", self._spin, get_logger("ros").fatal, died=self._ended)

    @property
    def failures(self) -> int:
        """How many callbacks have failed."""
        return self._executor.failures

    def add(self, node: Node) -> None:
        """Spin this node too."""
        self._executor.add_node(node)

    def start(self) -> None:
        """Start spinning."""
        self._thread.start()

    def stop(self, patience: float = 1.0) -> bool:
        """End, after the callback in progress; False if that takes longer than `patience` [s].

        A node must not be destroyed while it is still spun.
        """
        self._ending.set()
        with contextlib.suppress(Exception):  # the context may be gone already
            self._executor.wake()
        if not self._thread.stop(patience):
            return False
        self._executor.shutdown()
        return True

    def _spin(self) -> None:
        self._ended(self._work())

    def _ended(self, reason: str) -> None:
        if not self._ending.is_set():
            self._died(f"the ROS thread ended: {reason}")

    def _work(self) -> str:
        """Spin until asked to end, or until that makes no sense any more, which is the reason returned."""
        in_a_row = 0
        while not self._ending.is_set():
            try:
                self._executor.work(0.5)
                in_a_row = 0
            except ExternalShutdownException:
                return "ROS was shut down"
            except Exception as error:
                in_a_row += 1
                self._executor.failed("the executor", error)
                if in_a_row >= MAX_FAILURES:
                    raise
                time.sleep(RETRY_DELAY)
        return ""
