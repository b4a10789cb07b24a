"""Running nodes in a process: spin in a thread, end on SIGINT or SIGTERM with everything made safe and exit code 0."""

from __future__ import annotations

import contextlib
import os
import signal
import stat
import sys
import threading
from collections.abc import Callable, Sequence
from typing import Protocol

import rclpy
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions

from pi0_ros.robot.resources import share
from pi0_ros.ros.parameters import ParameterError

# Threads that wait for the interpreter get it after this long; the default of 5 ms is a quarter of a control period.
SWITCH_INTERVAL = 0.0005
# Seconds for each of the last two things a process does, when all has been made safe: end spinning, say goodbye.
FAREWELL = 0.5


FAST_DDS, RANGE = "rmw_fastrtps_cpp", "ROS_AUTOMATIC_DISCOVERY_RANGE"
PROFILES = ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE")


class Runnable(Protocol):
    """What `run` needs of a node."""

    def bring_up(self) -> bool:
        """Start working; False where that is not possible."""

    def shut_down(self, reason: str) -> None:
        """Make safe and go quiet; what the node holds is destroyed later, when nothing spins any more."""


class Spinner:
    """A thread that spins nodes, and ends in order: first the thread, then what it used."""

    def __init__(self) -> None:
        # Not rclpy's EventsExecutor: as of Jazzy it deadlocks with the interpreter's lock as soon as another thread
        # publishes what this process subscribes to, or creates an entity.
        self._executor = SingleThreadedExecutor()
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._spin, name="ros", daemon=True)

    def add(self, node: Node) -> None:
        """Spin this node too."""
        self._executor.add_node(node)

    def start(self) -> None:
        """Start spinning."""
        self._thread.start()

    def stop(self, patience: float = 1.0) -> bool:
        """End, after the callback in progress; False where that takes longer than `patience` [s].

        A node must not be destroyed while it is still spun.
        """
        self._ending.set()
        self._executor.wake()
        if self._thread.is_alive():
            self._thread.join(timeout=patience)
        if self._thread.is_alive():
            return False
        self._executor.shutdown()
        return True

    def _spin(self) -> None:
        try:
            while not self._ending.is_set():
                self._executor.spin_once(timeout_sec=0.5)
        except ExternalShutdownException:
            return


class Signals:
    """SIGINT and SIGTERM as an event with a name."""

    def __init__(self) -> None:
        self.reason = ""
        self.idle: Callable[[], bool] = lambda: True
        """Whether nothing is at work yet: a process that is still loading ends at once, not when it has loaded."""
        self._asked = threading.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._received)

    def _received(self, number: int, _: object) -> None:
        self.reason = signal.Signals(number).name
        self._asked.set()
        if self.idle():
            _leave(0)

    def wait(self) -> str:
        """The name of the signal that came."""
        # With a timeout the main thread gets to run Python's signal handler on every platform.
        while not self._asked.wait(0.5):
            continue
        return self.reason

    def end(self, reason: str) -> None:
        """End the process as if a signal had come."""
        self.reason = reason
        self._asked.set()

    @property
    def asked(self) -> bool:
        """Whether the process is asked to end."""
        return self._asked.is_set()


def never_wait_for_output() -> None:
    """Let log lines that nobody reads be lost, rather than stop the process.

    The logger of ROS writes with the interpreter in its hand: where the terminal is paused or the reader of the pipe is
    stuck, every thread would wait for it.
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

    Writing to a reader through it takes a lock that lies in the reader's hands, and waits up to a second for the reader to
    show that it is alive: a recorder that starts on a busy machine, or one that is killed, would stop the control loop, or
    the driver whose measurements the loop needs. UDP on the same machine asks nobody. Nor is its publisher the one who
    sends: a thread of Fast DDS does, so that the six messages of a period leave the loop at once.
    """
    told = os.environ
    if told.get("RMW_IMPLEMENTATION", FAST_DDS) != FAST_DDS:
        return
    told.setdefault("RMW_FASTRTPS_PUBLICATION_MODE", "ASYNCHRONOUS")
    if told.keys() & set(PROFILES):
        return
    told.setdefault("FASTDDS_BUILTIN_TRANSPORTS", "UDPv4")
    if told.get(RANGE) == "LOCALHOST" and told["FASTDDS_BUILTIN_TRANSPORTS"] == "UDPv4":
        # There rmw_fastrtps chooses the transports by itself, shared memory among them; the profile leaves that out.
        told.update({name: str(share("config", "dds", "loopback_udp.xml")) for name in PROFILES})
        told[RANGE] = "SYSTEM_DEFAULT"


def run(make: Callable[[Signals], Sequence[Node]], arguments: Sequence[str] | None = None) -> int:
    """Run nodes until a signal. `make` builds them; returns the exit code: 0 after a signal, 1 if one cannot start."""
    sys.setswitchinterval(SWITCH_INTERVAL)
    signals = Signals()
    rclpy.init(args=list(arguments) if arguments is not None else None, signal_handler_options=SignalHandlerOptions.NO)
    try:
        nodes = make(signals)
    except ParameterError as error:
        print(f"error: {error}", file=sys.stderr)
        rclpy.shutdown()
        return 1
    return _run_nodes(nodes, signals)


def _run_nodes(nodes: Sequence[Node], signals: Signals) -> int:
    spinner = Spinner()
    for node in nodes:
        spinner.add(node)
    signals.idle = lambda: not any(getattr(node, "active", True) for node in nodes)
    up = all(node.bring_up() for node in nodes if not signals.asked)  # type: ignore[attr-defined]
    signals.idle = lambda: False
    spinner.start()
    if up:
        signals.wait()
    for node in nodes:
        node.shut_down(signals.reason or "could not start")  # type: ignore[attr-defined]
    if spinner.stop(FAREWELL):
        _say_goodbye(nodes)
    return _leave(0 if up else 1)


def _say_goodbye(nodes: Sequence[Node]) -> None:
    """Tell the other participants that the nodes are gone, as far as that can be done in time.

    What is left out costs nothing: they notice by themselves after a while.
    """

    def goodbye() -> None:
        for node in nodes:
            node.destroy_node()
        rclpy.try_shutdown()

    thread = threading.Thread(target=goodbye, name="goodbye", daemon=True)
    thread.start()
    thread.join(timeout=FAREWELL)


def _leave(code: int) -> int:
    """End the process here and now, everything having been made safe.

    The interpreter would first wait for the libraries under torch and DDS to take their threads apart, which on a busy
    machine lasts longer than a supervisor waits before it kills.
    """
    with contextlib.suppress(OSError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code)
