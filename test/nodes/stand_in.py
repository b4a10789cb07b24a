"""A stand-in robot driver, a scripted planner and a person, as real nodes; and waiting for conditions instead of sleeping."""

from __future__ import annotations

import math
import os
import re
import signal
import subprocess
import sys
import threading
import time
from array import array
from collections import defaultdict
from dataclasses import replace
from functools import partial

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from nav_msgs.msg import Odometry
from pi0_ros.msg import ActionChunk, ExecutorState
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import JointState
from std_msgs.msg import String
from std_srvs.srv import Trigger

from pi0_ros.control import Chunk
from pi0_ros.robot import load_robot
from pi0_ros.robot.measurement import joint_value
from pi0_ros.robot.resources import share
from pi0_ros.robot.wire import to_wire
from pi0_ros.ros.clock import seconds, time_message
from pi0_ros.ros.commands import COMMAND_TYPES
from pi0_ros.ros.conversions import MODE_CODES, MODE_NAMES, channel_values, chunk_message
from pi0_ros.ros.images import compressed_message, image_message
from pi0_ros.ros.qos import EVENTS, LATCHED, RELIABLE, SENSOR
from pi0_ros.ros.run import Spinner
from pi0_ros.ros.subscribe import PICTURE_TYPES, TELEOP_TYPES

PATIENCE = 40.0
COMMANDS = QoSProfile(depth=200)


def patient_robot(name, folder, age=1.5):
    """A robot of this package that forgives a busy test machine: every max_age is longer. (loaded robot, its file)."""
    text = share("config", "robots", f"{name}.yaml").read_text()
    file = folder / f"{name}.yaml"
    file.write_text(re.sub(r"max_age: [0-9.]+", f"max_age: {age}", text))
    return load_robot(file), str(file)


class Graph:
    """Nodes of the test process, spun in a thread, and child processes; `wait` blocks until a condition holds."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self._spinner = Spinner()
        self._nodes, self._processes, self._managed, self._running = [], [], [], False

    def add(self, node):
        self._nodes.append(node)
        self._spinner.add(node)
        if not self._running:
            self._spinner.start()
            self._running = True
        return node

    def node(self, kind, *args, **kwargs):
        """A node of this test that tells the graph whenever it heard something."""
        return self.add(kind(self, *args, **kwargs))

    def managed(self, kind, **parameters):
        """A managed node of the project, in this process, configured and active."""
        return self.run(kind(parameter_overrides=[Parameter(n, value=v) for n, v in parameters.items()]))

    def run(self, node):
        """A node of the project, in this process, brought up."""
        assert node.bring_up(), getattr(node, "stop_reason", "")
        spinner = Spinner()
        spinner.add(node)
        spinner.start()
        self._managed.append((node, spinner))
        return node

    def start(self, module, *parameters, env=None):
        """A node of the project as a process of its own."""
        arguments = [sys.executable, "-m", f"pi0_ros.nodes.{module}", "--ros-args"]
        for parameter in parameters:
            arguments += ["-p", parameter]
        return self._popen(arguments, {**os.environ, **(env or {})})

    def _popen(self, arguments, env):
        process = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=env)
        process.said = []
        threading.Thread(target=self._listen, args=(process,), daemon=True).start()
        self._processes.append(process)
        return process

    def run_script(self, *words):
        """A Python program that is no node of the project, as a process of its own."""
        return self._popen([sys.executable, *words], os.environ)

    def _listen(self, process):
        for line in process.stdout:
            process.said.append(line.rstrip())
            self.notify()

    def notify(self):
        with self.changed:
            self.changed.notify_all()

    def wait(self, condition, what, timeout=PATIENCE):
        with self.changed:
            done = self.changed.wait_for(condition, timeout)
        output = "\n".join(line for p in self._processes for line in p.said[-15:])
        assert done, f"waited {timeout} s for {what}\n{output}"

    def happens(self, condition, timeout):
        """Whether a condition comes to hold in time."""
        with self.changed:
            return self.changed.wait_for(condition, timeout)

    def end(self, process, how=signal.SIGINT):
        process.send_signal(how)
        return process.wait(timeout=PATIENCE)

    def close(self):
        for process in self._processes:
            if process.poll() is None:
                process.kill()
                process.wait(timeout=PATIENCE)
        for node, spinner in self._managed:
            node.shut_down("test over")
            assert spinner.stop(PATIENCE)
            node.destroy_node()
        assert self._spinner.stop(PATIENCE)
        for node in self._nodes:
            node.destroy_node()


class Driver(Node):
    """A robot whose joints are at once where they are told to be. `silent` names what it keeps quiet about."""

    def __init__(self, graph, robot, camera_rate=8.0, size=32, start=0.0, **kwargs):
        super().__init__("driver", **kwargs)
        self.lock, self.stamp = threading.Lock(), lambda: self.get_clock().now().to_msg()
        self.graph, self.robot, self.size = graph, robot, size
        self.silent, self.pictures, self.seen = set(), {}, {}
        self._noise = np.random.default_rng(0)
        self.values = {c.name: np.clip(start, c.limits.lower, c.limits.upper) for c in robot.channels}
        self.values |= {c.name: 0.0 for g in robot.groups if g.kind.value == "velocity" for c in g.channels}
        self.commands = defaultdict(list)
        self.raw = defaultdict(list)
        for group in robot.groups:
            kind = COMMAND_TYPES[group.command.type].message
            self.create_subscription(kind, group.command.topic, partial(self._on_command, group), COMMANDS)
        self._sources = [
            (s, self.create_publisher(Odometry if s.type == "odometry" else JointState, s.topic, SENSOR))
            for s in robot.state
        ]
        self._cameras = [(c, self.create_publisher(PICTURE_TYPES[c.type], c.topic, SENSOR)) for c in robot.cameras]
        self.create_timer(0.02, self._state)
        self.create_timer(1.0 / camera_rate, self._look)

    def _on_command(self, group, message):
        values = channel_values(group, message, group.command)
        self.commands[group.name].append((time.monotonic(), np.array(values)))
        self.raw[group.name] = [message]
        if "motion" not in self.silent:
            self.values |= dict(zip((c.name for c in group.channels), values, strict=True))
        self.graph.notify()

    def joints(self):
        found = {}
        for group in self.robot.groups:
            names = [self.robot.joint_of_channel.get(c.name) for c in group.channels]
            if all(names):
                found |= {
                    n: joint_value(group, float(self.values[c.name]))
                    for n, c in zip(names, group.channels, strict=True)
                }
        return found

    def _state(self):
        with self.lock:
            stamp = self.stamp()
        for source, publisher in self._sources:
            if source.topic in self.silent:
                continue
            if source.type == "odometry":
                message = Odometry()
                twist = message.twist.twist
                twist.linear.x, twist.linear.y, twist.angular.z = (
                    float(self.values[f"base_{a}"]) for a in ("vx", "vy", "wz")
                )
            else:
                # Backwards, as a driver that does not know our order.
                own = {n: v for n, v in reversed(list(self.joints().items())) if n.startswith(source.prefix)}
                message = JointState(name=[n[len(source.prefix) :] for n in own])
                message.position = array("d", own.values())
                message.velocity = array("d", [0.0] * len(own))
            message.header.stamp = stamp
            publisher.publish(message)

    def _look(self):
        stamp = self.get_clock().now().to_msg()
        for camera, publisher in self._cameras:
            if camera.name in self.silent:
                continue
            # As a real camera's: something to see, and noise.
            picture = self._noise.integers(40, 200, (self.size, self.size, 3), dtype=np.uint8)
            encode = compressed_message if camera.type == "compressed_image" else image_message
            message = encode(picture, stamp)
            publisher.publish(self.pictures.get(camera.name, lambda m: m)(message))
            self.seen[camera.name] = seconds(stamp)

    def steps(self, group, since=0.0):
        """Differences between consecutive commands of a group [n, channels] and the periods they took."""
        kept = [(at, v) for at, v in self.commands[group] if at >= since]
        return np.diff([v for _, v in kept], axis=0)


class Person(Node):
    """Whoever stands beside the robot: calls services, reads mode, executor_state and diagnostics, drives arms.

    drives: whether it has a teleop device; one that is silent is a second one beside somebody else's.
    """

    def __init__(self, graph, robot, drives=True):
        super().__init__("person")
        self.graph, self.robot = graph, robot
        self.mode, self.state, self.health, self.modes = "", None, {}, []
        self.subtasks, self.chunks = [], []
        self.create_subscription(String, "mode", self._on_mode, LATCHED)
        self.create_subscription(String, "subtask", self._on_subtask, LATCHED)
        self.create_subscription(ExecutorState, "executor_state", self._on_state, RELIABLE)
        self.create_subscription(ActionChunk, "action_chunk", self._on_chunk, EVENTS)
        self.create_subscription(DiagnosticArray, "/diagnostics", self._on_health, EVENTS)
        self._task = self.create_publisher(String, "task", LATCHED)
        self._subtask = None
        self._teleop = {
            g.name: self.create_publisher(TELEOP_TYPES[g.teleop.type], g.teleop.topic, SENSOR)
            for g in robot.groups
            if drives and g.teleop is not None
        }
        self._leads = {}
        self.create_timer(0.02, self._lead)
        self._triggers = {}

    def _on_mode(self, message):
        self.mode = message.data
        self.modes.append(message.data)
        self.graph.notify()

    def _on_subtask(self, message):
        self.subtasks.append(message.data)
        self.graph.notify()

    def _on_chunk(self, message):
        self.chunks.append(message)
        self.graph.notify()

    def _on_state(self, message):
        self.state = message
        self.graph.notify()

    def _on_health(self, message):
        for status in message.status:
            self.health[status.name] = (status.level, status.message, {v.key: v.value for v in status.values})
        self.graph.notify()

    def say(self, text):
        self._task.publish(String(data=text))

    def say_subtask(self, text):
        if self._subtask is None:
            self._subtask = self.create_publisher(String, "subtask", LATCHED)
        self._subtask.publish(String(data=text))

    def sees(self, group):
        """Whether the executor has said what it measures of a group."""
        return self.state is not None and bool(np.isfinite(self.measured(group)).all())

    def measured(self, group):
        """What the executor measures of a group."""
        return np.array([self.state.measured[self.robot.index[c.name]] for c in self.robot.group(group).channels])

    def lead(self, group, values):
        """Drive a group by its teleop topic at 50 Hz with `values(seconds since now)`; None lets go."""
        self._leads[group] = (time.monotonic(), values)
        if values is None:
            del self._leads[group]

    def _lead(self):
        for name, (since, values) in list(self._leads.items()):
            group = self.robot.group(name)
            message = JointState(name=list(group.teleop.joints))
            message.header.stamp = self.get_clock().now().to_msg()
            message.position = array("d", to_wire(group, values(time.monotonic() - since), group.teleop))
            self._teleop[name].publish(message)

    def ask(self, request, node="executor"):
        """Call a Trigger service; (success, message)."""
        name = f"{node}/{request}"
        client = self._triggers.setdefault(name, None) or self.create_client(Trigger, name)
        self._triggers[name] = client
        assert client.wait_for_service(PATIENCE), f"no service {name}"
        future = client.call_async(Trigger.Request())
        future.add_done_callback(lambda _: self.graph.notify())
        self.graph.wait(future.done, f"an answer of {name}")
        return future.result().success, future.result().message

    def insist(self, request, until, what, timeout=2 * PATIENCE):
        """Ask for a mode until something has happened in it: a starved test machine may fall back to hold at any time."""
        end = time.monotonic() + timeout
        self.ask(request)
        while time.monotonic() < end and not self.graph.happens(until, 3.0):
            if self.state.mode != MODE_CODES[request]:
                self.ask(request)
        assert until(), f"no {what} in {request}: {self.why()}"

    def wait_mode(self, mode, timeout=PATIENCE):
        """Wait for a mode, also in executor_state: the reason there is then the reason for this mode."""
        there = lambda: self.mode == mode and self.state is not None and self.state.mode == MODE_CODES[mode]
        self.graph.wait(there, f"mode {mode}, it is {self.mode!r}: {self.why()}", timeout)

    def why(self):
        return "" if self.state is None else f"{MODE_NAMES[self.state.mode]}: {self.state.reason}"


class Planner(Node):
    """Publishes ActionChunks from a function of time: `plan(seconds) -> {channel: value}`; others stay where they are."""

    def __init__(self, graph, robot, plan=None, period=0.1, rows=16, rate=5.0, **kwargs):
        super().__init__("planner", **kwargs)
        self.graph, self.robot, self.plan = graph, robot, plan or (lambda _: {})
        self.period, self.rows, self.silent = period, rows, False
        self._state, self._sequence, self._home = None, 0, None
        self._began = None
        self.spoil = lambda message: message
        self.create_subscription(ExecutorState, "executor_state", self._on_state, RELIABLE)
        self._publisher = self.create_publisher(ActionChunk, "action_chunk", RELIABLE)
        self.create_timer(1.0 / rate, self._speak)

    def _on_state(self, message):
        if self._state is None or message.epoch != self._state.epoch:
            self._home = None
        self._state = message

    def _speak(self):
        if self._state is None or self.silent or not np.all(np.isfinite(self._state.measured)):
            return
        now = self.get_clock().now().nanoseconds * 1e-9
        if self._home is None:
            self._home, self._began = dict(zip(self._state.channels, self._state.measured, strict=True)), now
        self._sequence += 1
        names = self.robot.channel_names
        rows = []
        for k in range(self.rows):
            offsets = self.plan(now + k * self.period - self._began)
            rows.append([self._home[n] + offsets.get(n, 0.0) for n in names])
        chunk = Chunk(now, self.period, names, np.array(rows), self._sequence, self._state.epoch, "planner")
        self._publisher.publish(self.spoil(chunk_message(chunk)))


class Calm:
    """A policy whose plans stay near the robot: a network with random weights plans what no robot could do.

    reach: how far the last row may be away from where the robot is.
    """

    def __init__(self, policy, reach=0.01):
        self._policy, self._reach = policy, reach

    def __getattr__(self, name):
        return getattr(self._policy, name)

    def infer(self, obs, *given, **named):
        plan = self._policy.infer(obs, *given, **named)
        here = np.array([obs.state[name] for name in plan.names])
        ramp = np.linspace(0.0, 1.0, len(plan.values))[:, None]
        return replace(plan, values=here + self._reach * ramp * np.tanh(plan.values))


class Speaker(Node):
    """Says a subtask five times a second, as a high level that is alive does."""

    def __init__(self, graph, text):
        super().__init__("speaker")
        self.text, self.silent = text, False
        self._publisher = self.create_publisher(String, "subtask", LATCHED)
        self.create_timer(0.2, self._speak)

    def _speak(self):
        if not self.silent:
            self._publisher.publish(String(data=self.text))


class SimulatedTime(Node):
    """/clock at real speed from 100 s on; it can be set and stopped."""

    def __init__(self):
        super().__init__("simulated_time")
        self.stopped = False
        self.set(100.0)
        self._publisher = self.create_publisher(Clock, "/clock", 10)
        self.create_timer(0.01, self._tick)

    def set(self, now):
        self._offset = now - time.monotonic()

    def _tick(self):
        if not self.stopped:
            self._publisher.publish(Clock(clock=time_message(time.monotonic() + self._offset)))


def nod(t):
    """The left arm nods, slower than its limits."""
    return {"left_joint2": 0.25 * (1.0 - math.cos(t))}


def main():
    """A planner as a process of its own, which can be killed: `python stand_in.py ROBOT.yaml`."""
    rclpy.init()
    spinner = Spinner()
    spinner.add(Planner(None, load_robot(sys.argv[1]), nod))
    spinner.start()
    threading.Event().wait()


if __name__ == "__main__":
    main()
