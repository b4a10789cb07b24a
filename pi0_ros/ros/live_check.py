"""Asks the running graph about a robot's topics: who publishes what, how often, how old. It moves nothing: it only reads."""

from __future__ import annotations

import contextlib
import importlib
import itertools
import math
import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.topic_endpoint_info import TopicEndpointInfo
from rclpy.utilities import get_rmw_implementation_identifier

from pi0_ros.msg import ActionChunk
from pi0_ros.robot.agreement import Agreement
from pi0_ros.robot.measurement import FAST, SourceMap, nearest_turn
from pi0_ros.robot.message_types import MESSAGE_TYPES
from pi0_ros.robot.spec import Robot, StateSource
from pi0_ros.robot.twist_frame import TwistFrame, twist_frame
from pi0_ros.ros.clock import seconds
from pi0_ros.ros.live_verdict import Endpoint, Role, TopicObservation
from pi0_ros.ros.publishers import full_name
from pi0_ros.ros.qos import EVENTS, SENSOR
from pi0_ros.ros.topic_check import ros_type_name

NODE, EXECUTOR = "pi0_check", "executor"
SAME = 0.1  # [rad, m and their rates] two publishers' values nearer than this are one measurement
DISCOVERY = 2.0
"""Seconds that the graph may take to become known."""


class NothingThere(RuntimeError):
    """None of a robot's topics is on the graph; the text says where was looked."""


@dataclass
class _Watch:
    """One topic while it is watched."""

    seen: TopicObservation
    source: SourceMap | None = None
    arrivals: list[float] = field(default_factory=list)
    offsets: list[float] = field(default_factory=list)
    ranges: dict[str, tuple[float, float]] = field(default_factory=dict)
    moves: list[tuple[float, ...]] = field(default_factory=list)  # of a base: time, x, y, heading, vx, vy
    unstamped: int = 0
    detail: str = ""
    as_world: bool = False
    lag: float = math.nan
    agreement: Agreement = field(default_factory=Agreement)
    newest: dict[str, float] = field(default_factory=dict)

    def agree(self, name: str, value: float) -> None:
        """Compare a value of a joint or an axis with what was said of it before; whole turns are no difference."""
        self.newest[name] = nearest_turn(value, self.newest.get(name, value))
        self.agreement.hear(name, self.seen.topic, self.arrivals[-1], self.newest[name], SAME, FAST, False)


def watch(
    robot: Robot, duration: float, namespace: str = "", use_sim_time: bool = False
) -> tuple[TopicObservation, ...]:
    """What is seen of each topic of a robot in `duration` seconds.

    Raises NothingThere if nobody publishes or reads any of them.
    """
    context = rclpy.Context()
    rclpy.init(context=context)
    node = Node(
        NODE,
        namespace=namespace,
        context=context,
        enable_rosout=False,
        start_parameter_services=False,
        parameter_overrides=[rclpy.Parameter("use_sim_time", value=use_sim_time)],
    )
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    try:
        return _watched(robot, node, executor, duration)
    finally:
        executor.shutdown()
        node.destroy_node()
        rclpy.shutdown(context=context)


def _watched(
    robot: Robot, node: Node, executor: SingleThreadedExecutor, duration: float
) -> tuple[TopicObservation, ...]:
    watches = [_Watch(seen, source) for seen, source in topics_of(robot)]
    for one in watches:
        if one.seen.role is not Role.PLANS:
            _listen(node, one)
    _listen_lags(node, {f"{one.seen.name} lag_ms": one for one in watches if one.seen.role is Role.COMMAND})
    until = time.monotonic() + DISCOVERY
    while time.monotonic() < until and not _all_published(node, watches):
        executor.spin_once(timeout_sec=0.05)
    end = time.monotonic() + duration
    while (left := end - time.monotonic()) > 0.0:
        executor.spin_once(timeout_sec=left)
    graph = _Graph(node, {one.seen.topic.lstrip("/") for one in watches})
    found = tuple(_finished(node, one, end, graph) for one in watches)
    if not any(s.publishers or s.subscribers for s in found):
        names = [name for name, _ in node.get_node_names_and_namespaces()]
        raise NothingThere(_nothing(robot.name, names, node.get_namespace()))
    return found


def topics_of(robot: Robot) -> list[tuple[TopicObservation, SourceMap | None]]:
    """Every topic of a robot, nothing seen yet."""
    found: list[tuple[TopicObservation, SourceMap | None]] = []
    for camera in robot.cameras:
        type_name = MESSAGE_TYPES[camera.type]
        found.append(
            (TopicObservation(Role.CAMERA, camera.name, camera.topic, type_name, camera.max_age, camera.required), None)
        )
    for number, source in enumerate(robot.state):
        seen = TopicObservation(Role.STATE, str(number), source.topic, MESSAGE_TYPES[source.type], source.max_age)
        found.append((seen, SourceMap(source)))
    for group in robot.groups:
        found.append(
            (TopicObservation(Role.COMMAND, group.name, group.command.topic, MESSAGE_TYPES[group.command.type]), None)
        )
        if group.teleop is not None:
            teleop = group.teleop
            seen = TopicObservation(
                Role.TELEOP, group.name, teleop.topic, MESSAGE_TYPES[teleop.type], teleop.max_age, required=False
            )
            found.append((seen, None))
    found.append((TopicObservation(Role.PLANS, "", "action_chunk", ros_type_name(ActionChunk), required=False), None))
    return found


def _listen(node: Node, one: _Watch) -> None:
    def receive(message: Any) -> None:
        _note(one, message, node.get_clock().now().nanoseconds * 1e-9, time.monotonic())

    node.create_subscription(_message_class(one.seen.type), one.seen.topic, receive, SENSOR)


def _note(one: _Watch, message: Any, ros: float, steady: float) -> None:
    """Note one message of a topic, which came at `ros` and `steady` [s]."""
    one.arrivals.append(steady)
    header = getattr(message, "header", None)
    stamp = seconds(header.stamp) if header is not None else 0.0
    if stamp > 0.0:
        one.offsets.append(ros - stamp)
    else:
        one.unstamped += 1
    _CONTENTS.get(one.seen.type, _nothing_to_say)(one, message)


def _listen_lags(node: Node, groups: dict[str, _Watch]) -> None:
    """Note the lag of each group, from the status of this namespace's executor."""
    name = f"{node.get_namespace().strip('/')}/{EXECUTOR}".lstrip("/")
    node.create_subscription(DiagnosticArray, "/diagnostics", lambda m: _note_lags(groups, name, m), EVENTS)


def _note_lags(groups: dict[str, _Watch], executor: str, message: DiagnosticArray) -> None:
    """Note the lags [ms] in the status of `executor`; groups: by the key of their lag."""
    for value in (v for s in message.status if s.name == executor for v in s.values if v.key in groups):
        with contextlib.suppress(ValueError):
            groups[value.key].lag = float(value.value) * 1e-3


def _message_class(name: str) -> type:
    package, _, kind = name.split("/")
    found: type = getattr(importlib.import_module(f"{package}.msg"), kind)
    return found


def _joints(one: _Watch, message: Any) -> None:
    source = one.source or SourceMap(StateSource(one.seen.topic, "joint_state", 1.0))
    for joint, value in source.positions(dict(zip(message.name, message.position, strict=False))).items():
        low, high = one.ranges.get(joint, (value, value))
        worst = math.nan if not math.isfinite(value) else 0.0
        one.ranges[joint] = (min(low, value) + worst, max(high, value) + worst)
        one.agree(joint, value)
    one.detail = f"{len(one.ranges)} joints"


def _picture(one: _Watch, message: Any) -> None:
    one.detail = f"{message.width}x{message.height} {message.encoding}"


def _compressed(one: _Watch, message: Any) -> None:
    one.detail = f"{message.format}, {len(message.data) / 1024:.0f} KiB"


def _odometry(one: _Watch, message: Any) -> None:
    one.detail = f"twist in {message.child_frame_id or 'no frame'}"
    pose, velocity, q = message.pose.pose.position, message.twist.twist.linear, message.pose.pose.orientation
    heading = math.atan2(2.0 * (q.w * q.z + q.x * q.y), 1.0 - 2.0 * (q.y * q.y + q.z * q.z))
    for axis, rate in (("vx", velocity.x), ("vy", velocity.y), ("wz", message.twist.twist.angular.z)):
        one.agree(axis, rate)
    one.moves.append((one.arrivals[-1], pose.x, pose.y, heading, velocity.x, velocity.y))
    declared = one.source.source.twist if one.source is not None else ""
    one.as_world = declared == "world" or (declared == "" and message.child_frame_id == message.header.frame_id)


def _array(one: _Watch, message: Any) -> None:
    one.detail = f"{len(message.data)} numbers"


def _nothing_to_say(one: _Watch, message: Any) -> None:
    return


_CONTENTS: dict[str, Callable[[_Watch, Any], None]] = {
    MESSAGE_TYPES["joint_state"]: _joints,
    MESSAGE_TYPES["image"]: _picture,
    MESSAGE_TYPES["compressed_image"]: _compressed,
    MESSAGE_TYPES["odometry"]: _odometry,
    MESSAGE_TYPES["float64_multi_array"]: _array,
}


class _Graph:
    """The topics of the graph that are not the robot's, to name in place of one that is not there."""

    def __init__(self, node: Node, known: set[str]) -> None:
        self._node = node
        self._topics = [(n, t) for n, t in node.get_topic_names_and_types() if n.lstrip("/") not in known]

    def alike(self, seen: TopicObservation) -> tuple[str, ...]:
        """Topics of the same type that somebody publishes, or reads if `seen` is for commands."""
        info = self._node.get_subscriptions_info_by_topic if seen.role is Role.COMMAND else None
        ask = info or self._node.get_publishers_info_by_topic
        return tuple(name.removeprefix("/") for name, types in self._topics if seen.type in types and ask(name))


def _all_published(node: Node, watches: list[_Watch]) -> bool:
    read = [one.seen.topic for one in watches if one.seen.role in (Role.CAMERA, Role.STATE) and one.seen.required]
    return all(node.get_publishers_info_by_topic(topic) for topic in read)


def _endpoint(info: TopicEndpointInfo) -> Endpoint:
    qos = info.qos_profile
    return Endpoint(
        full_name(info),
        info.topic_type,
        qos.reliability.name.lower(),
        qos.durability.name.lower(),
    )


def _finished(node: Node, one: _Watch, end: float, graph: _Graph) -> TopicObservation:
    own = f"{node.get_namespace().rstrip('/')}/{NODE}"
    publishers = tuple(_endpoint(info) for info in node.get_publishers_info_by_topic(one.seen.topic))
    subscribers = tuple(_endpoint(info) for info in node.get_subscriptions_info_by_topic(one.seen.topic))
    return replace(
        _measured(one, end, tuple(sorted({p.node for p in publishers}))),
        publishers=publishers,
        subscribers=tuple(s for s in subscribers if s.node != own),
        alike=graph.alike(one.seen),
    )


def _measured(one: _Watch, end: float, publishers: tuple[str, ...]) -> TopicObservation:
    """What its messages say of a topic that was watched until `end` (steady, [s]); publishers: the nodes that publish it."""
    times = one.arrivals
    gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
    twice = one.agreement.contradiction(end)
    return replace(
        one.seen,
        count=len(times),
        rate=len(gaps) / (times[-1] - times[0]) if gaps and times[-1] > times[0] else math.nan,
        gap=max(gaps, default=math.nan),
        age=end - times[-1] if times else math.nan,
        offset=statistics.median(one.offsets) if one.offsets else math.nan,
        stamped=not one.unstamped or one.seen.role is not Role.STATE,
        ranges=dict(one.ranges),
        detail=one.detail,
        twist=twist_frame(*np.split(np.array(one.moves), (1, 4), axis=1)) if one.moves else TwistFrame.UNKNOWN,
        as_world=one.as_world,
        lag=one.lag,
        contradiction="" if twice is None else twice.sentence(publishers),
    )


def _nothing(robot: str, nodes: list[str], space: str) -> str:
    """Where was looked for a robot of which there is nothing: beside which nodes, and in which namespace."""
    names = sorted(name for name in nodes if name != NODE)
    there = f"sees {len(names)} nodes ({', '.join(names[:5])})" if names else "sees no other node"
    where = [f"ROS_DOMAIN_ID={os.environ.get('ROS_DOMAIN_ID', '0')}", get_rmw_implementation_identifier()]
    reach = os.environ.get("ROS_AUTOMATIC_DISCOVERY_RANGE", "")
    where += [f"discovery {reach}"] if reach else []
    where += [f"namespace {space}"] if space != "/" else []
    return (
        f"nobody publishes or reads any topic of robot {robot}: this command is on {', '.join(where)} and {there}; "
        "start the drivers, or give them and this command the same domain, RMW and namespace"
    )
