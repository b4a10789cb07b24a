"""What is read for a bag, and with which quality: what each topic's publishers offer, and no more."""

from collections import Counter

import pytest

pytest.importorskip("rclpy")

from rclpy.qos import DurabilityPolicy

from pi0_ros.ros.bag_topics import bag_topics
from pi0_ros.ros.qos import EVENTS, MEASURED, READ, SENSOR

GROUPS = """
arm:
  kind: position
  channels: [j1, j2]
  command: {topic: arm/commands, type: joint_trajectory}
  limits: {source: urdf, acceleration: 5.0}
  teleop: {topic: leader, type: joint_state, max_age: 0.2}
base:
  kind: velocity
  channels: [base_vx, base_wz]
  command: {topic: cmd_vel, type: twist}
  limits: {velocity: 0.5, acceleration: 1.0}
"""
STATE = """state:
  - {topic: joint_states, type: joint_state, max_age: 0.1}
  - {topic: odom, type: odometry, max_age: 0.2}
"""
HEAD = """robot: small
urdf: small.urdf
takeover: {deadman: {topic: joy, button: 4}}
cameras:
  front: {topic: eye, type: image, max_age: 0.3}
  hand: {topic: hand/eye, type: compressed_image, max_age: 0.3}
"""


@pytest.fixture
def found(small_robot):
    listed = bag_topics(small_robot(GROUPS, STATE, head=HEAD))
    assert max(Counter(s.topic for s in listed).values()) == 1
    return {s.topic: s for s in listed}


def test_the_robots_topics_have_the_types_of_the_robot_yaml_and_one_reader_each(found):
    expected = {
        "eye": ("Image", SENSOR, True), "hand/eye": ("CompressedImage", SENSOR, True),
        "joint_states": ("JointState", MEASURED, False), "odom": ("Odometry", MEASURED, False),
        "arm/commands": ("JointTrajectory", MEASURED, False), "leader": ("JointState", MEASURED, False),
        "cmd_vel": ("Twist", MEASURED, False), "joy": ("Joy", MEASURED, False),
    }  # fmt: skip
    for topic, (kind, quality, picture) in expected.items():
        one = found[topic]
        assert (one.kind.__name__, one.profiles, one.picture, one.latched) == (kind, (quality,), picture, False)


def test_what_many_publish_or_publish_often_has_one_reader_and_the_rest_one_of_each_quality(found):
    assert found["/diagnostics"].profiles == found["/rosout"].profiles == (EVENTS,)
    assert found["executor_state"].profiles == (READ,) and found["/clock"].profiles == (MEASURED,)
    kept = DurabilityPolicy.TRANSIENT_LOCAL
    for topic, latched in (("mode", True), ("task", True), ("action_chunk", False), ("robot_description", True)):
        one = found[topic]
        assert one.latched is latched and len(one.profiles) == (3 if latched else 2)
        assert any(q.durability is kept for q in one.profiles) is latched and {q.depth for q in one.profiles} == {16}
    assert not {"executor/trajectory_preview", "executor/markers"} & set(found)
