"""The nodes that `pi0 up` runs, as processes under its supervisor in a ROS graph of their own, and somebody who watches.

What is measured is what the outside can see: topics, services, the processes themselves.
"""

from __future__ import annotations

import os
import re
import signal
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TextIO

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from pi0_ros.msg import ExecutorState
from rclpy.node import Node as RosNode
from rclpy.signals import SignalHandlerOptions
from std_msgs.msg import String
from std_srvs.srv import Trigger

from pi0_ros import bringup
from pi0_ros.commands._own_graph import own_graph
from pi0_ros.robot import Robot
from pi0_ros.robot.resources import share
from pi0_ros.robot.spec import Group
from pi0_ros.ros.commands import COMMAND_TYPES
from pi0_ros.ros.conversions import MODE_NAMES, channel_values
from pi0_ros.ros.qos import EVENTS, LATCHED, OBSERVED
from pi0_ros.ros.run import Spinner
from pi0_ros.supervisor import Supervisor, node_program

START = 240.0  # [s] for the slowest to load on a busy machine
ANSWER = 30.0


class BenchError(RuntimeError):
    """The bench cannot go on; the text says what did not happen."""


class Stack:
    """Programs by name. Each has a supervisor of its own, so that one can be killed and started again."""

    def __init__(self, nodes: Sequence[bringup.Node], out: TextIO = sys.stderr) -> None:
        self._out, self._env = out, own_graph()
        self._programs = {n.executable: node_program(n) for n in nodes}
        self._running: dict[str, Supervisor] = {}

    def start(self, *names: str) -> None:
        """Start these, or all if none is named."""
        for name in names or self._programs:
            self._running[name] = Supervisor([self._programs[name]], self._out, self._env)
            self._running[name].start()

    def kill(self, name: str) -> float:
        """kill -9; the steady time [s] at which it was done. Returns when the process is gone."""
        one = self._running.pop(name)
        at = time.monotonic()
        one.send(name, signal.SIGKILL)
        if one.next_event(ANSWER) is None:
            raise BenchError(f"{name} did not end within {ANSWER:g} s of kill -9")
        one.stop()
        return at

    def end(self, name: str) -> int | None:
        """SIGINT, as a supervisor does; the exit code. None if it has not ended in time."""
        self._running[name].send(name, signal.SIGINT)
        return self.wait_for_end(name)

    def wait_for_end(self, name: str) -> int | None:
        """The exit code of a program that is to end by itself, None if it does not in time."""
        event = self._running[name].next_event(ANSWER)
        if event is None:
            return None
        self._running.pop(name).stop()
        return event.code

    def processes(self) -> dict[str, int]:
        """Process numbers of what runs, by name."""
        return {name: one.processes[name] for name, one in list(self._running.items()) if name in one.processes}

    def ended(self) -> list[str]:
        """Programs that ended by themselves."""
        return [name for name, one in self._running.items() if not one.running]

    def stop(self) -> None:
        """Stop all, the robot's commands first."""
        for name in sorted(self._running, key=lambda n: n != "executor"):
            self._running[name].stop()
        self._running.clear()


class Watcher(RosNode):
    """Sees states, modes, diagnostics and commands, and asks for modes. `wait` returns when something has come true."""

    def __init__(self, robot: Robot, groups: Sequence[str] = (), name: str = "bench") -> None:
        """`groups`: whose commands are taken down, values and all."""
        super().__init__(name)
        self.robot, self.changed = robot, threading.Condition()
        self.state: ExecutorState | None = None
        self.states: list[tuple[float, ExecutorState]] = []
        self.health: dict[str, tuple[str, dict[str, str]]] = {}
        self.modes: list[tuple[float, str]] = []
        self.commands: dict[str, list[tuple[float, tuple[float, ...]]]] = defaultdict(list)
        self.create_subscription(ExecutorState, "executor_state", self._on_state, EVENTS)
        self.create_subscription(String, "mode", self._on_mode, LATCHED)
        self.create_subscription(DiagnosticArray, "/diagnostics", self._on_health, EVENTS)
        for group in robot.groups:
            if group.name in groups:
                kind = COMMAND_TYPES[group.command.type].message
                self.create_subscription(kind, group.command.topic, partial(self._on_command, group), OBSERVED)
        self._asked: dict[str, object] = {}
        self._task = self.create_publisher(String, "task", LATCHED)
        self._spinner = Spinner()
        self._spinner.add(self)
        self._spinner.start()

    def close(self) -> None:
        """Stop watching."""
        if self._spinner.stop(ANSWER):
            self.destroy_node()

    def forget(self) -> None:
        """What was seen so far is of no interest."""
        self.states, self.modes = self.states[-1:], self.modes[-1:]
        self.commands = defaultdict(list, {name: seen[-10:] for name, seen in self.commands.items()})

    def notify(self) -> None:
        """Let those who wait look again."""
        with self.changed:
            self.changed.notify_all()

    def _on_state(self, message: ExecutorState) -> None:
        self.state = message
        self.states.append((time.monotonic(), message))
        self.notify()

    def _on_mode(self, message: String) -> None:
        self.modes.append((time.monotonic(), message.data))
        self.notify()

    def _on_health(self, message: DiagnosticArray) -> None:
        for status in message.status:
            self.health[status.name] = (status.message, {v.key: v.value for v in status.values})
            self.heard_health(status.name)
        self.notify()

    def heard_health(self, name: str) -> None:
        """Something was said about this node."""

    def _on_command(self, group: Group, message: object, info: dict[str, int]) -> None:
        values = channel_values(group, message, group.command)
        self.commands[group.name].append((info["source_timestamp"] * 1e-9, tuple(values)))
        self.notify()

    @property
    def mode(self) -> str:
        """The newest mode, "" if none was heard."""
        return MODE_NAMES[self.state.mode] if self.state is not None else ""

    @property
    def reason(self) -> str:
        """Why it is so."""
        return self.state.reason if self.state is not None else "no executor_state"

    def happens(self, condition: Callable[[], object], timeout: float) -> bool:
        """Whether a condition comes to hold within `timeout` [s]."""
        with self.changed:
            return bool(self.changed.wait_for(condition, timeout))

    def wait(self, condition: Callable[[], object], what: str, timeout: float = START) -> None:
        """Wait for a condition. Raises BenchError with `what` if it does not come to hold in time."""
        if not self.happens(condition, timeout):
            raise BenchError(f"waited {timeout:g} s for {what}; {self.mode}: {self.reason}")

    def wait_often(self, condition: Callable[[], object], what: str, timeout: float = START) -> None:
        """As `wait`, for what the graph knows: no message tells that it has changed."""
        end = time.monotonic() + timeout
        while not self.happens(condition, 0.02):
            if time.monotonic() > end:
                raise BenchError(f"waited {timeout:g} s for {what}")

    def wait_for_plans(self, condition: Callable[[], object], what: str, timeout: float = START) -> None:
        """As `wait`, for what a stopped executor keeps from happening: if a busy machine has stopped it, it is reset."""
        end = time.monotonic() + timeout
        while not self.happens(condition, 2.0):
            if time.monotonic() > end:
                told = "; ".join(f"{name}: {text}" for name, (text, _) in sorted(self.health.items()))
                raise BenchError(f"waited {timeout:g} s for {what}; {self.mode}: {self.reason}; diagnostics: {told}")
            if self.mode == "stopped":
                self.ask("executor/reset")

    def say(self, task: str) -> None:
        """Publish a task."""
        self._task.publish(String(data=task))

    def ask(self, name: str) -> tuple[bool, str]:
        """Call a Trigger service; whether it was granted, and its message."""
        client = self._asked.setdefault(name, None) or self.create_client(Trigger, name)
        self._asked[name] = client
        self.wait(client.service_is_ready, f"the service {name}")  # type: ignore[attr-defined]
        end = time.monotonic() + ANSWER
        while True:  # what was asked of a server that is dead, but not yet known to be, is never answered
            future = client.call_async(Trigger.Request())  # type: ignore[attr-defined]
            future.add_done_callback(lambda _: self.notify())
            if self.happens(future.done, ANSWER / 10.0):
                break
            client.remove_pending_request(future)  # type: ignore[attr-defined]
            if time.monotonic() > end:
                raise BenchError(f"waited {ANSWER:g} s for an answer of {name}; {self.mode}: {self.reason}")
        return future.result().success, future.result().message

    def lay_out_anew(self) -> None:
        """Other blocks on the table of a robot in hold, so that the policy has something to do."""
        for request in ("executor/reset" if self.mode == "stopped" else "executor/hold", "sim_robot/reset"):
            granted, why = self.ask(request)
            if not granted:
                raise BenchError(f"{request}: {why}")
            self.wait(lambda: self.mode == "hold", "hold", 5.0)

    def engage(self, timeout: float = START) -> None:
        """Ask for autonomy, out of a stop by reset, until a plan is being followed."""
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            if self.mode == "stopped":
                self.ask("executor/reset")
            self.ask("executor/autonomy")
            if self.happens(lambda: self.mode == "autonomy" and self.state.plan_left > 0.0, 3.0):
                return
        raise BenchError(f"no plan was followed within {timeout:g} s; {self.mode}: {self.reason}")


def patient_robot(folder: Path, name: str = "mobile_bimanual", age: float = 1.5) -> Path:
    """A robot of this package whose measurements may be `age` [s] old, as a file in `folder`.

    For benches that are not about time: its driver lives in the bench's process, on a machine that may be busy.
    """
    text, file = share("config", "robots", f"{name}.yaml").read_text(), folder / f"{name}.yaml"
    file.write_text(re.sub(r"max_age: [0-9.]+", f"max_age: {age}", text))
    return file


def prepare() -> None:
    """A ROS graph of the bench's own, for this process and those it starts."""
    os.environ.update(own_graph())
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
