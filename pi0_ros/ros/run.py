"""Running nodes in a process: spin in a thread, end on a signal with everything made safe and exit code 0."""

from __future__ import annotations

import contextlib
import os
import stat
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import Protocol

import rclpy
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions

from pi0_ros.robot.resources import share
from pi0_ros.ros.bounded_types import FAST_DDS, bound_types
from pi0_ros.ros.environment import UnusableEnvironment, check_environment
from pi0_ros.ros.guarded_thread import GuardedThread
from pi0_ros.ros.parameters import ParameterError
from pi0_ros.ros.parent import watch_parent
from pi0_ros.ros.signals import Interrupted, Signals, leave
from pi0_ros.ros.spinning import Spinner

# Threads that wait for the interpreter get it after this long; the default of 5 ms is a quarter of a control period.
SWITCH_INTERVAL = 0.0005
# Seconds for each of the last two things a process does, when all has been made safe: end spinning, say goodbye.
SHUTDOWN_TIMEOUT_S = 0.5


RANGE = "ROS_AUTOMATIC_DISCOVERY_RANGE"
PROFILES = ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE")


class Runnable(Protocol):
    """What `run` needs of a node."""

    def bring_up(self) -> bool:
        """Start working; False if that is not possible."""

    def shut_down(self, reason: str) -> None:
        """Make safe and go quiet; what the node holds is destroyed later, when nothing spins any more."""


def never_wait_for_output() -> None:
    """Let log lines that nobody reads be lost, rather than stop the process.

    The logger of ROS writes while holding the GIL: if the terminal is paused or the reader of the pipe is stuck, every
    thread would wait for it.
    """
    for number in (1, 2):
        with contextlib.suppress(OSError):
            if stat.S_ISFIFO(os.fstat(number).st_mode) or os.isatty(number):
                # Opened anew, because whoever else has it open does not expect it to change.
                own = os.open(f"/proc/self/fd/{number}", os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY)
                os.dup2(own, number)
                os.close(own)


def never_wait_for_readers() -> None:
    """Keep this process out of Fast DDS's shared memory, unless the environment says otherwise; before `run`.

    Writing to a reader through it takes a lock that the reader may hold, and waits up to a second for the reader to show
    that it is alive: a recorder that starts on a busy machine, or one that is killed, would stop the control loop, or the
    driver whose measurements the loop needs. UDP on the same machine takes no such lock. A thread of Fast DDS sends, not
    the publisher's, so that the loop hands over the six messages of a period at once.
    """
    environment = os.environ
    if environment.get("RMW_IMPLEMENTATION", FAST_DDS) != FAST_DDS:
        return
    environment.setdefault("RMW_FASTRTPS_PUBLICATION_MODE", "ASYNCHRONOUS")
    if environment.keys() & set(PROFILES):
        return
    environment.setdefault("FASTDDS_BUILTIN_TRANSPORTS", "UDPv4")
    if environment.get(RANGE) == "LOCALHOST" and environment["FASTDDS_BUILTIN_TRANSPORTS"] == "UDPv4":
        # There rmw_fastrtps chooses the transports by itself, shared memory among them; the profile leaves that out.
        environment.update({name: str(share("config", "dds", "loopback_udp.xml")) for name in PROFILES})
        environment[RANGE] = "SYSTEM_DEFAULT"


def bound_memory() -> None:
    """Have the network layer drop what is larger than any honest message, so that nobody's messages fill the memory.

    Memory is then taken for one message of each topic at first, not for a hundred, unless the user has a profile of his own.
    """
    unbounded = bound_types()
    if unbounded:
        print(f"warning: large messages of others can fill the memory: {', '.join(unbounded)}", file=sys.stderr)
    if not os.environ.keys() & set(PROFILES):
        os.environ.update({name: str(share("config", "dds", "few_places.xml")) for name in PROFILES})


def run(make: Callable[[Signals], Sequence[Node]], arguments: Sequence[str] | None = None) -> int:
    """Run nodes until a signal. `make` builds them; ends the process with the exit code:

    0 after a signal or when all managed nodes are finalized, 1 if one cannot start or if the ROS thread ended by itself.
    """
    sys.setswitchinterval(SWITCH_INTERVAL)
    signals = Signals()
    try:
        check_environment()
        bound_memory()
        rclpy.init(
            args=list(arguments) if arguments is not None else None, signal_handler_options=SignalHandlerOptions.NO
        )
        nodes = make(signals)
        watch_parent(signals.raise_for)
    except (ParameterError, UnusableEnvironment) as error:
        print(f"error: {error}", file=sys.stderr)
        rclpy.try_shutdown()
        return 1
    return leave(_run_nodes(nodes, signals))


def _run_nodes(nodes: Sequence[Node], signals: Signals) -> int:
    spinner = Spinner(lambda reason: signals.end(reason, 1))
    for node in nodes:
        spinner.add(node)
    up = False
    try:
        up = _bring_up(nodes, signals)
        _end_when_finalized(nodes, signals)
        spinner.start()
        if up:
            signals.wait()
    except Interrupted:
        up = True
    except Exception:  # noqa: BLE001 - whatever it was, nothing may be left moving
        traceback.print_exc()
    finally:
        signals.idle, signals.loading = (lambda: False), False
        for node in nodes:
            _shut_down(node, signals.reason or "could not start")
    if signals.code:
        print(f"error: {signals.reason}", file=sys.stderr)
    if spinner.stop(SHUTDOWN_TIMEOUT_S):
        _say_goodbye(nodes)
    return signals.code if up else 1


def _bring_up(nodes: Sequence[Node], signals: Signals) -> bool:
    signals.idle = lambda: not any(getattr(node, "active", True) for node in nodes)
    signals.loading = True
    up = all(node.bring_up() for node in nodes if not signals.asked)  # type: ignore[attr-defined]
    signals.idle, signals.loading = (lambda: False), False
    return up


def _end_when_finalized(nodes: Sequence[Node], signals: Signals) -> None:
    """End the process when no node of it can ever be active again, so that a supervisor notices."""

    def finalized() -> None:
        if all(getattr(node, "finalized", False) for node in nodes):
            signals.end("shut down by a lifecycle request")

    for node in nodes:
        if hasattr(node, "on_finalized"):
            node.on_finalized = finalized
    finalized()


def _shut_down(node: Node, reason: str) -> None:
    """Make one node safe; a failure in it must not keep the others from being made safe."""
    try:
        node.shut_down(reason)  # type: ignore[attr-defined]
    except Exception:  # noqa: BLE001
        traceback.print_exc()


def _say_goodbye(nodes: Sequence[Node]) -> None:
    """Tell the other participants that the nodes are gone, as far as that can be done in time.

    What is left out costs nothing: they notice by themselves after a while.
    """

    def goodbye() -> None:
        for node in nodes:
            node.destroy_node()
        rclpy.try_shutdown()

    GuardedThread("goodbye", goodbye, _print_error, died=lambda _: None).start().stop(SHUTDOWN_TIMEOUT_S)


def _print_error(text: str) -> None:
    print(text, file=sys.stderr)
