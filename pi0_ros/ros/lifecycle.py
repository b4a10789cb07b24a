"""The managed node every lifecycle node here is: subclasses write `setup`, `start`, `halt`, `teardown`.

rclpy swallows exceptions of transitions; this base logs them with their traceback, keeps the first reason for a stop,
and brings the node up by itself with `autostart`.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Sequence
from types import SimpleNamespace

from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn

from pi0_ros.ros.clock import Clocks
from pi0_ros.ros.diagnostics import ERROR, WARN, Diagnostics, Health
from pi0_ros.ros.parameters import Parameter, ParameterError, Parameters

AUTOSTART = Parameter("autostart", True, "configure and activate without being asked by a lifecycle manager")

HALT = 0.2
"""Seconds that `halt` may wait for a thread whose work cannot be interrupted, such as a network's."""

SUCCESS, FAILURE, FAULT = (
    TransitionCallbackReturn.SUCCESS,
    TransitionCallbackReturn.FAILURE,
    TransitionCallbackReturn.ERROR,
)


class ManagedNode(LifecycleNode):
    """A lifecycle node with checked parameters, clocks and diagnostics. Raise `expected` errors for one-line refusals."""

    table: Sequence[Parameter] = ()
    expected: tuple[type[Exception], ...] = (ParameterError,)

    def __init__(self, name: str, **kwargs: object) -> None:
        super().__init__(name, **kwargs)
        self.clocks = Clocks(self)
        self.parameters = Parameters(self, (*self.table, AUTOSTART))
        self.values = SimpleNamespace()
        self.active = False
        self.stop_reason, self._stopped_as_asked = "", False
        self._owned: list[object] = []
        self._diagnostics = Diagnostics(self, self._report, self.clocks)

    # What a subclass writes.

    def setup(self) -> None:
        """Configure: load and validate; raise to refuse."""

    def start(self) -> None:
        """Activate."""

    def halt(self) -> None:
        """Deactivate: make safe, then go quiet."""

    def teardown(self) -> None:
        """Clean up: let go of what `setup` made. Called after a failed `setup` too."""

    def health(self) -> Health:
        """What /diagnostics says while the node is active."""
        return Health()

    # What a subclass uses.

    def own(self, entity: object) -> object:
        """Remember a subscription, timer, service or publisher; it is destroyed when the node is cleaned up."""
        self._owned.append(entity)
        return entity

    def note_stop(self, reason: str, asked: bool = False) -> None:
        """Record why the node stops working; the first reason stays until the next activation.

        `asked`: somebody wanted it, which is no error.
        """
        if not self.stop_reason:
            self.stop_reason, self._stopped_as_asked = reason, asked

    def bring_up(self) -> bool:
        """Configure and activate where `autostart` says so. False where that failed (it has been logged)."""
        try:
            if not AUTOSTART.check(self.get_parameter("autostart").value):
                return True
        except ParameterError as error:
            self.get_logger().error(str(error))
            return False
        return self.trigger_configure() == SUCCESS and self.trigger_activate() == SUCCESS

    def shut_down(self, reason: str) -> None:
        """Make safe and go quiet from whatever state, before the process ends."""
        self.note_stop(reason, asked=True)
        if self.active:
            self.trigger_deactivate()

    def destroy_node(self) -> None:
        """Let go of everything; nothing may spin the node any more."""
        self._transition("clean up", self._release)
        super().destroy_node()

    # The transitions.

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Read parameters, then `setup`."""

        def configure() -> None:
            self.values = self.parameters.values()
            self.setup()
            self.parameters.freeze(True)

        done = self._transition("configure", configure)
        if done != SUCCESS:
            self._transition("clean up", self._release)
        return done if done == SUCCESS else FAILURE

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """`start`, then publish."""

        def activate() -> None:
            self.stop_reason = ""
            self.start()
            self.active = True
            self.get_logger().info("active")

        return self._transition("activate", activate)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """`halt`: the node is quiet when this returns."""

        def deactivate() -> None:
            self.note_stop("deactivated", asked=True)
            self.active = False
            self.halt()

        return self._transition("deactivate", deactivate)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """`teardown`, and destroy what the node owns."""
        return self._transition("clean up", self._release)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Make safe and let go."""

        def stop() -> None:
            self.note_stop("shut down", asked=True)
            if self.active:
                self.active = False
                self.halt()
            self._release()

        return self._transition("shut down", stop)

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """After a failed transition: let go, back to unconfigured, ready to be configured again."""
        self.active = False
        self._transition("recover", self._release)
        return SUCCESS

    def _transition(self, name: str, work: Callable[[], None]) -> TransitionCallbackReturn:
        try:
            work()
        except self.expected as error:
            self.note_stop(str(error))
            self.get_logger().error(f"cannot {name}: {error}")
            return FAILURE
        except Exception as error:  # noqa: BLE001 - rclpy would drop it without a word
            self.note_stop(f"{name} failed: {error!r}")
            self.get_logger().error(f"cannot {name}:\n{traceback.format_exc()}")
            return FAULT
        return SUCCESS

    def _release(self) -> None:
        self.parameters.freeze(False)
        try:
            self.teardown()
        finally:
            for entity in reversed(self._owned):
                self._destroy(entity)
            self._owned.clear()

    def _destroy(self, entity: object) -> None:
        for destroy in (self.destroy_subscription, self.destroy_publisher, self.destroy_timer, self.destroy_service):
            if destroy(entity):
                return

    def _report(self) -> Health:
        if self.active:
            return self.health()
        if not self.stop_reason:
            return Health(message="not active")
        if self._stopped_as_asked:
            return Health(WARN, f"not active: {self.stop_reason}")
        return Health(ERROR, self.stop_reason)
