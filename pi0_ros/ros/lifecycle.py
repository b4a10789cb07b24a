"""The managed node every lifecycle node here is: subclasses write `setup`, `start`, `halt`, `teardown`.

rclpy swallows exceptions of transitions, and raises for a request that the state does not allow, which would end the
thread that answers services (ros2/rclpy#1209). This base logs the former with their traceback and refuses the latter,
lets one transition happen at a time, keeps the first reason for a stop, and brings the node up by itself with `autostart`.
"""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any, TypeVar

from lifecycle_msgs.srv import ChangeState
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn

from pi0_ros.ros.clock import Clocks
from pi0_ros.ros.diagnostics import ERROR, WARN, Diagnostics, Health
from pi0_ros.ros.guarded_thread import GuardedThread
from pi0_ros.ros.missing import missing_module
from pi0_ros.ros.parameters import Overrides, Parameter, ParameterError, Parameters
from pi0_ros.ros.sim_time import SimTimeWatch

AUTOSTART = Parameter("autostart", True, "configure and activate without being asked by a lifecycle manager")

HALT = 0.2
"""Seconds that `halt` may wait for a thread whose work cannot be interrupted, such as a network's."""

PROGRESS_PERIOD = 5.0
"""Seconds between two log lines about what a long `setup` waits for."""

SUCCESS, FAILURE, FAULT = (
    TransitionCallbackReturn.SUCCESS,
    TransitionCallbackReturn.FAILURE,
    TransitionCallbackReturn.ERROR,
)


Entity = TypeVar("Entity")


class ManagedNode(LifecycleNode):
    """A lifecycle node with checked parameters, clocks and diagnostics. Raise `expected` errors for one-line refusals.

    Larger than a class should be because rclpy calls one method of a node per transition, and triggers them by another.
    """

    table: Sequence[Parameter] = ()
    expected: tuple[type[Exception], ...] = (ParameterError,)

    def __init__(self, name: str, parameter_overrides: Overrides = None) -> None:
        self._changing = threading.RLock()
        super().__init__(name, enable_logger_service=True, parameter_overrides=parameter_overrides)
        self._granted = self._service_change_state.callback
        self._service_change_state.callback = self._on_request_to_change
        self.on_finalized: Callable[[], None] = lambda: None
        """Called once the node is finalized: it can never be active again."""
        self.finalized = False
        self.clocks = Clocks(self)
        self.parameters = Parameters(self, (*self.table, AUTOSTART))
        self.values = SimpleNamespace()
        self.active = False
        self._begun = False
        self.stop_reason, self._intended = "", False
        self._progress = ""
        self._owned: list[object] = []
        self._sim_time = SimTimeWatch(self, self.clocks)
        self._threads: dict[str, GuardedThread] = {}
        self._diagnostics = Diagnostics(self, self._report, self.clocks)

    # What a subclass writes.

    def setup(self) -> None:
        """Configure: load and validate; raise to refuse."""

    def start(self) -> None:
        """Activate."""

    def halt(self) -> None:
        """Deactivate: make safe, then go quiet. Called after a failed `start` too, however far that came."""

    def teardown(self) -> None:
        """Clean up: let go of what `setup` made. Called after a failed `setup` too, however far that came."""

    def health(self) -> Health:
        """What /diagnostics says while the node is active."""
        return Health()

    # What a subclass uses.

    def own(self, entity: Entity) -> Entity:
        """Remember a subscription, timer, service or publisher; it is destroyed when the node is cleaned up.

        What has a `close` is closed then, before what was remembered before it is destroyed.
        """
        self._owned.append(entity)
        return entity

    def begin_thread(self, name: str, work: Callable[[], None]) -> GuardedThread:
        """A thread that begins again if its work raises; then the diagnostics say ERROR. One of a name at a time."""
        thread = GuardedThread(name, work, self.get_logger().error)
        self.watch_thread(thread)
        return thread.start()

    def watch_thread(self, thread: GuardedThread) -> None:
        """Have the diagnostics say what becomes of a thread, in place of the one of that name before."""
        self._threads[thread.name] = thread

    def note_stop(self, reason: str, intended: bool = False) -> None:
        """Record why the node stops working; the first reason stays until the next activation.

        `intended`: somebody wanted it, which is no error.
        """
        if not self.stop_reason:
            self.stop_reason, self._intended = reason, intended

    def report_progress(self, text: str) -> None:
        """Say what a long `setup` waits for: as a warning, and in /diagnostics until it is done."""
        self._progress = text
        self.get_logger().warning(text, throttle_duration_sec=PROGRESS_PERIOD)
        self._diagnostics.publish()

    def bring_up(self) -> bool:
        """Configure and activate if `autostart` says so. False if that failed (it has been logged)."""
        try:
            if not AUTOSTART.check(self.get_parameter("autostart").value):
                return True
        except ParameterError as error:
            self.get_logger().error(str(error))
            return False
        return bool(self.trigger_configure() == SUCCESS and self.trigger_activate() == SUCCESS)

    def shut_down(self, reason: str) -> None:
        """Make safe and go quiet from whatever state, before the process ends; waits for a transition in progress."""
        with self._changing:
            self.note_stop(reason, intended=True)
            if self.state_label == "active":
                self.trigger_deactivate()
            self._make_safe()

    def destroy_node(self) -> None:
        """Let go of everything; nothing may spin the node any more."""
        with self._changing:
            self._make_safe()
            self._transition("clean up", self._release)
        super().destroy_node()

    @property
    def state_label(self) -> str:
        """unconfigured, inactive, active, finalized, or the transition in progress."""
        return str(self._state_machine.current_state[1])

    # Requests.

    def trigger_configure(self) -> TransitionCallbackReturn:
        """Configure; refused with FAILURE if the state does not allow it, as all of these."""
        return self._trigger("configure", super().trigger_configure)

    def trigger_activate(self) -> TransitionCallbackReturn:
        """Activate."""
        return self._trigger("activate", super().trigger_activate)

    def trigger_deactivate(self) -> TransitionCallbackReturn:
        """Deactivate."""
        return self._trigger("deactivate", super().trigger_deactivate)

    def trigger_cleanup(self) -> TransitionCallbackReturn:
        """Clean up."""
        return self._trigger("cleanup", super().trigger_cleanup)

    def trigger_shutdown(self) -> TransitionCallbackReturn:
        """Shut down, for ever."""
        return self._trigger("shutdown", super().trigger_shutdown)

    def _trigger(self, label: str, work: Callable[[], TransitionCallbackReturn]) -> TransitionCallbackReturn:
        with self._changing:
            return work() if self._allowed(0, label) else FAILURE

    def _on_request_to_change(
        self, request: ChangeState.Request, response: ChangeState.Response
    ) -> ChangeState.Response:
        with self._changing:
            if not self._allowed(request.transition.id, request.transition.label):
                response.success = False
                return response
            granted: ChangeState.Response = self._granted(request, response)
            return granted

    def _allowed(self, number: int, label: str) -> bool:
        """Whether the state allows a transition; the label counts if it is given, as in rclcpp. Logs a refusal."""
        possible = {t[1]: t[0] for t in self._state_machine.available_transitions}
        if label in possible or (not label and number in possible.values()):
            return True
        name = label or f"transition {number}"
        choice = ", ".join(possible) or "none"
        self.get_logger().warning(f"{name} refused: the node is {self.state_label}; possible now: {choice}")
        return False

    # The transitions.

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Read parameters, then `setup`."""

        def configure() -> None:
            self.values = self.parameters.values()
            self.setup()
            self.parameters.freeze(True)

        done = self._transition("configure", configure)
        self._progress = ""
        if done != SUCCESS:
            self._transition("clean up", self._release)
        return done if done == SUCCESS else FAILURE

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """`start`, then publish."""

        def activate() -> None:
            self.stop_reason = ""
            self._begun = True
            self.start()
            self.active = True
            self.get_logger().info("active")

        done = self._transition("activate", activate)
        if done != SUCCESS:
            self._make_safe()
        return done

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """`halt`: the node is quiet when this returns."""

        self.note_stop("deactivated", intended=True)
        done = self._make_safe()
        # What is expected to go wrong (a full disk) has been said; a node that is quiet is not active.
        return FAULT if done == FAULT else SUCCESS

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """`teardown`, and destroy what the node owns."""
        return self._transition("clean up", self._release)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Make safe and let go."""

        self.note_stop("shut down", intended=True)
        self._make_safe()
        self._transition("clean up", self._release)
        self.finalized = True
        self.on_finalized()
        return SUCCESS

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """After a failed transition: let go, back to unconfigured, ready to be configured again."""
        self._make_safe()
        self._transition("recover", self._release)
        return SUCCESS

    def _make_safe(self) -> TransitionCallbackReturn:
        """`halt`, if `start` was begun and nothing has halted since."""
        self.active = False
        if not self._begun:
            return SUCCESS
        done = self._transition("deactivate", self.halt)
        self._begun = False
        return done

    def _transition(self, name: str, work: Callable[[], None]) -> TransitionCallbackReturn:
        try:
            work()
        except self.expected as error:
            self.note_stop(str(error))
            self.get_logger().error(f"cannot {name}: {error}")
            return FAILURE
        except Exception as error:  # noqa: BLE001 - rclpy would drop it without a word
            sentence = missing_module(error)
            if sentence:
                self.note_stop(sentence)
                self.get_logger().error(f"cannot {name}: {sentence}")
                return FAILURE
            self.note_stop(f"{name} failed: {error!r}")
            self.get_logger().error(f"cannot {name}:\n{traceback.format_exc()}")
            return FAULT
        return SUCCESS

    def _release(self) -> None:
        self.parameters.freeze(False)
        self.clocks.forget_jumps()
        try:
            self.teardown()
        finally:
            for entity in reversed(self._owned):
                self._destroy(entity)
            self._owned.clear()

    def _destroy(self, entity: object) -> None:
        if hasattr(entity, "close"):
            entity.close()
            return
        destroys: tuple[Callable[[Any], bool], ...] = (
            self.destroy_subscription,
            self.destroy_publisher,
            self.destroy_timer,
            self.destroy_service,
        )
        any(destroy(entity) for destroy in destroys)  # only one of them knows it

    def _report(self) -> Health:
        if no_time := self._sim_time.problem():
            return Health(ERROR if self.active else WARN, no_time, self.health().values if self.active else {})
        if self.active:
            health = self.health()
            failed = "; ".join(filter(None, (thread.problem() for thread in list(self._threads.values()))))
            return Health(ERROR, failed, health.values) if failed else health
        if self._progress:
            return Health(WARN, f"not active: {self._progress}")
        if not self.stop_reason:
            return Health(message="not active")
        if self._intended:
            return Health(WARN, f"not active: {self.stop_reason}")
        return Health(ERROR, self.stop_reason)
