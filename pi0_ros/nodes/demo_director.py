"""demo_director: runs the demo and measures it from the robot's side of the topics.

It starts scenes, says the task, asks for autonomy, takes over once in the middle and drives an arm, gives back, and
writes the report of docs/interface.md. It sees only what any node on the network can see.
"""

from __future__ import annotations

import json
import math
from functools import partial
from pathlib import Path

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.node import Node
from std_msgs.msg import String

from pi0_ros.msg import ActionChunk, ExecutorState
from pi0_ros.nodes.demo_film import RATE, DemoFilm
from pi0_ros.nodes.demo_record import DemoRecord, Stage
from pi0_ros.nodes.demo_script import DemoHands, DemoScript
from pi0_ros.robot import RobotError, load_robot
from pi0_ros.robot.quoting import quote
from pi0_ros.robot.replacing import write_whole
from pi0_ros.robot.spec import Group
from pi0_ros.ros.bounded import listen
from pi0_ros.ros.clock import Clocks, seconds
from pi0_ros.ros.commands import COMMAND_TYPES
from pi0_ros.ros.conversions import ConversionError, channel_values
from pi0_ros.ros.diagnostics import ERROR
from pi0_ros.ros.notify import extend_timeout
from pi0_ros.ros.parameters import Overrides, Parameter, ParameterError, Parameters
from pi0_ros.ros.polled_subscriptions import PolledSubscriptions
from pi0_ros.ros.qos import EVENTS, LATCHED, OBSERVED, READ
from pi0_ros.ros.run import run
from pi0_ros.ros.signals import Signals
from pi0_ros.ros.video import CLOSING

TICK = 0.02
LONGEST_UNREAD = 60.0
"""Seconds that a message may have waited to be read."""


class DemoDirector(Node):
    """Wires what a demo sees, does and tells."""

    table = (
        Parameter("robot", "mobile_bimanual", "robot YAML: a file, or a name under config/robots", required=True),
        Parameter("duration", 60.0, "seconds from the first autonomy on; 0: until stopped", low=0.0, high=1e6),
        Parameter("report", "", "JSON file to write the report to"),
        Parameter("video", "", "MP4 file to write what the cameras saw to"),
        Parameter("takeover", True, "take over once in the middle, drive an arm, give back"),
    )

    def __init__(self, signals: Signals, parameter_overrides: Overrides = None) -> None:
        super().__init__("demo_director", parameter_overrides=parameter_overrides)
        self._signals, self.clocks = signals, Clocks(self)
        options = Parameters(self, self.table).values()
        try:
            self.robot = load_robot(options.robot)
        except RobotError as error:
            raise ParameterError(f"parameter robot: {error}") from None
        self.stage, self.record = Stage(), DemoRecord(self.robot, self.get_logger().warning)
        # 350 messages a second: read together at every tick, for a demo that watches itself must not be what it measures.
        self._polled = PolledSubscriptions(self, lambda topic, error: self.record.faults.add(f"{topic}: {error}"))
        self._listen()
        self._report_file = options.report
        hands = DemoHands(self, self.robot)
        arguments = (self.stage, self.record, options.duration, options.takeover)
        self.script = DemoScript(self, self.clocks, hands, *arguments)
        self._film = self._start_film(options.video) if options.video else None
        self._waits = (self.script.play(), lambda: True, math.inf)
        self._finished = False
        self.clocks.timer(TICK, self._tick)

    def _listen(self) -> None:
        for group in self.robot.groups:
            kind = COMMAND_TYPES[group.command.type].message
            self._polled.add(kind, group.command.topic, partial(self._on_command, group), OBSERVED)
        self._polled.add(ExecutorState, "executor_state", self._on_state, READ)
        listen(self, ActionChunk, "action_chunk", self._on_chunk, EVENTS)
        listen(self, String, "mode", self._on_mode, LATCHED)
        listen(self, String, "subtask", self._on_subtask, LATCHED)
        listen(self, DiagnosticArray, "/diagnostics", self._on_health, EVENTS)

    def _start_film(self, file: str) -> DemoFilm:
        film = DemoFilm(self, self.robot.cameras, Path(file), self._lines, self.record.faults.add)
        self.clocks.timer(1.0 / RATE, film.add_frame)
        return film

    def _lines(self) -> tuple[str, ...]:
        subtask, stage = self.record.subtasks[-1:] or ["-"], self.stage
        return (f"task: {stage.task or '-'}", f"subtask: {subtask[0]}    mode: {stage.mode or '-'}")

    def bring_up(self) -> bool:
        """Nothing to do: the script starts with the first tick."""
        return True

    def shut_down(self, reason: str) -> None:
        """Write what was measured so far."""
        self._finish()

    def _on_command(self, group: Group, message: object, received: float | None = None) -> None:
        # The time at which the network layer got it, not the time at which this process came round to look.
        at = self.clocks.ros() - self._polled.age if received is None else received
        try:
            values = channel_values(group, message, group.command)
        except ConversionError as error:
            self.record.faults.add(f"command on {group.command.topic}: {error}")
            return
        if broken := self.record.monitor.see(group.name, at, values, self._polled.sequence):
            self.record.faults.add(f"a command of {group.name} broke a limit: {broken}")

    def _on_state(self, message: ExecutorState) -> None:
        self.stage.state = message
        self.record.plans.follow(message.plan_sequence, message.splice_delay)

    def _on_chunk(self, message: ActionChunk) -> None:
        self.record.plans.add_chunk(seconds(message.inference_time))

    def _on_mode(self, message: String) -> None:
        if message.data == "teleop" and self.stage.mode not in ("", "teleop"):
            self.record.takeovers += 1
        self.stage.mode = message.data

    def _on_subtask(self, message: String) -> None:
        self.stage.update_subtask(message.data, self.clocks.steady())
        if self.record.add_subtask(message.data):
            self.get_logger().info(f"subtask: {quote(message.data)}")

    def _on_health(self, message: DiagnosticArray) -> None:
        for status in message.status:
            # By the whole name: another robot's executor on this network is not ours.
            place, _, name = status.name.rpartition("/")
            if place != self.get_namespace().strip("/"):
                continue
            values = {v.key: v.value for v in status.values}
            if name == "sim_robot":
                self.stage.scene = values
            if name == "executor":
                self.record.add_health(values, self.stage.running)
            if status.level == ERROR and self.stage.running:
                self.record.faults.add(f"{name}: {status.message}")

    def _tick(self) -> None:
        self._polled.take(LONGEST_UNREAD)
        if self._finished:
            return
        script, condition, deadline = self._waits
        if condition() or self.clocks.steady() > deadline or (self.stage.running and self.script.left <= 0.0):
            try:
                condition, timeout = next(script)
                self._waits = (script, condition, self.clocks.steady() + timeout)
            except StopIteration:
                self._finish()
                self._signals.end("done")

    def report(self) -> dict[str, object]:
        """The demo report (docs/interface.md)."""
        return self.record.report(self.stage, self.clocks.steady())

    def _finish(self) -> None:
        if self._finished:
            return
        self._finished = True
        if self._film is not None:
            extend_timeout(2.0 * CLOSING)
            self._film.close()
        if self._report_file:
            text = json.dumps(self.report(), indent=1, ensure_ascii=False) + "\n"
            try:
                write_whole(Path(self._report_file), text)
            except OSError as error:  # a demo without a report ends too, and who asked for it finds none
                self.get_logger().error(str(error))


def main() -> int:
    """Run the node."""
    return run(lambda signals: [DemoDirector(signals)])


if __name__ == "__main__":
    raise SystemExit(main())
