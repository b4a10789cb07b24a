"""What was seen of a robot on the graph is judged: each case is one kind of public bug report, and its sentence."""

import math
from dataclasses import replace

import pytest

pytest.importorskip("rclpy")

from pi0_ros.robot.twist_frame import TwistFrame
from pi0_ros.ros.live_verdict import Endpoint, Level, Role, TopicObservation, needed_joints, problems_of

GROUPS = """
arm:
  kind: position
  channels: [j1, j2]
  command: {topic: arm/commands, type: float64_multi_array}
  limits: {source: urdf, acceleration: 5.0}
hand:
  kind: gripper
  channels: [gripper]
  joint: {name: finger, closed: 0.0, open: 0.04}
  command: {topic: hand/commands, type: float64_multi_array}
"""
ARRAY, JOINTS, IMAGE = "std_msgs/msg/Float64MultiArray", "sensor_msgs/msg/JointState", "sensor_msgs/msg/Image"


@pytest.fixture
def robot(small_robot):
    return small_robot(GROUPS)


def seen():
    """A robot that is well: a camera, joint states, and two controllers that listen."""
    return {
        "camera": TopicObservation(
            Role.CAMERA, "front", "front/image_raw", IMAGE, 0.3, publishers=(Endpoint("/cam", IMAGE),), count=30,
            rate=10.0, gap=0.12, age=0.05, offset=0.03, detail="640x480 rgb8",
        ),
        "state": TopicObservation(
            Role.STATE, "0", "joint_states", JOINTS, 0.1, publishers=(Endpoint("/driver", JOINTS),), count=300, rate=100.0,
            gap=0.02, age=0.005, offset=0.001, ranges={"j1": (0.1, 0.2), "j2": (0.0, 0.1), "finger": (0.01, 0.01)},
        ),
        "arm": TopicObservation(Role.COMMAND, "arm", "arm/commands", ARRAY, subscribers=(Endpoint("/controller", ARRAY),)),
        "hand": TopicObservation(Role.COMMAND, "hand", "hand/commands", ARRAY, subscribers=(Endpoint("/controller", ARRAY),)),
    }  # fmt: skip


def test_a_robot_that_is_well_has_no_findings(robot):
    assert problems_of(robot, tuple(seen().values())) == ()


def test_the_executor_may_command_and_its_namesake_in_a_namespace_too(robot):
    found = seen()
    found["arm"] = replace(found["arm"], publishers=(Endpoint("/left/executor", ARRAY),))
    assert problems_of(robot, tuple(found.values())) == ()


@pytest.mark.parametrize(
    ("which", "change", "level", "words"),
    [
        ("camera", {"publishers": (), "count": 0, "alike": ("cam/image_raw",)}, "no",
         "nobody publishes front/image_raw (sensor_msgs/Image); sensor_msgs/Image is on cam/image_raw"),
        ("camera", {"publishers": (), "count": 0, "required": False}, "warning", "nobody publishes front/image_raw"),
        ("camera", {"publishers": (Endpoint("/cam", "sensor_msgs/msg/CompressedImage"),), "count": 0}, "no",
         "front/image_raw carries sensor_msgs/CompressedImage (from /cam), and the robot YAML says sensor_msgs/Image"),
        ("camera", {"publishers": (Endpoint("/a", IMAGE), Endpoint("/b", IMAGE))}, "no", "/a and /b both publish front/image_raw"),
        ("camera", {"publishers": (Endpoint("/cam", IMAGE),) * 2}, "no", "2 publishers called /cam are on front/image_raw; stop one"),
        ("state", {"contradiction": "/a and /b publish j1 on joint_states, as 1.20 and as 0.00; stop one of them"}, "no",
         "/a and /b publish j1 on joint_states"),
        ("camera", {"count": 0, "rate": math.nan}, "no", "front/image_raw: /cam is there, and no message came"),
        ("camera", {"gap": 0.5}, "no", "0.50 s passed without a message, more than max_age 0.3"),
        ("state", {"age": 1.5}, "no", "joint_states: 1.50 s passed without a message, more than max_age 0.1"),
        ("state", {"offset": 2.0}, "no", "joint_states: stamps are 2.00 s behind this computer: synchronise the clocks"),
        ("state", {"offset": -0.3}, "no", "joint_states: stamps are 0.30 s ahead of this computer"),
        ("state", {"offset": -0.07}, "warning", "joint_states: stamps are 0.07 s ahead of this computer"),
        ("state", {"stamped": False, "offset": math.nan}, "warning", "messages carry no stamp"),
        ("state", {"ranges": {"arm_j1": (0, 0), "j2": (0, 0), "finger": (0, 0)}}, "no",
         "nobody reports joint j1 on joint_states; reported are j2, arm_j1"),
        ("state", {"ranges": {"j1": (15.0, 15.6), "j2": (0, 0), "finger": (0, 0)}}, "no",
         "joint j1 is reported at 15.600, outside of -2.000 .. 2.000 rad: degrees?"),
        ("state", {"ranges": {"j1": (-2.3, 1.0), "j2": (0, 0), "finger": (0, 0)}}, "no",
         "joint j1 is reported at -2.300, outside of -2.000 .. 2.000 rad"),
        ("state", {"ranges": {"j1": (math.nan, math.nan), "j2": (0, 0), "finger": (0, 0)}}, "no", "joint j1 is reported as nan"),
        ("arm", {"subscribers": ()}, "no", "nobody listens to arm/commands: load and activate the controller"),
        ("arm", {"subscribers": (Endpoint("/jtc", "trajectory_msgs/msg/JointTrajectory"),)}, "no",
         "/jtc listens to trajectory_msgs/JointTrajectory on arm/commands, and the robot YAML sends std_msgs/Float64MultiArray"),
        ("arm", {"publishers": (Endpoint("/executor", ARRAY), Endpoint("/moveit", ARRAY))}, "no", "/moveit also commands arm/commands"),
        ("arm", {"subscribers": (Endpoint("/c", ARRAY, "reliable", "transient_local"),)}, "no", "/c asks for transient local"),
        ("arm", {"lag": 0.14}, "warning", "group arm follows its commands 0.14 s later, so the robot is that much behind its plans; set command_latency: 0.14"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_one_sentence_with_the_topic(robot, which, change, level, words):
    found = seen()
    found[which] = replace(found[which], **change)
    problem, *more = problems_of(robot, tuple(found.values()))
    assert problem.level == Level(level)
    assert words in problem.sentence
    assert not more


def test_a_group_that_follows_in_time_is_no_finding(robot):
    found = seen()
    found["arm"] = replace(found["arm"], lag=0.04)
    assert problems_of(robot, tuple(found.values())) == ()


def test_a_leader_that_is_not_there_is_no_fault(robot):
    leader = TopicObservation(Role.TELEOP, "arm", "leader/joint_states", JOINTS, 0.2, required=False)
    assert problems_of(robot, (*seen().values(), leader)) == ()


@pytest.mark.parametrize(
    ("role", "topic", "nodes", "level", "words"),
    [
        (Role.TELEOP, "leader/joint_states", ("/a", "/b"), "no", "/a and /b both publish leader/joint_states; stop one of them"),
        (Role.TELEOP, "leader/joint_states", ("/a", "/a"), "warning", "2 publishers called /a are on leader/joint_states"),
        (Role.PLANS, "action_chunk", ("/brain", "/policy"), "no", "/brain and /policy both publish action_chunk"),
        (Role.PLANS, "action_chunk", ("/policy", "/policy"), "warning", "2 publishers called /policy are on action_chunk"),
        (Role.PLANS, "action_chunk", ("/policy",), "", ""),
        (Role.PLANS, "action_chunk", (), "", ""),
    ],
)  # fmt: skip
def test_two_senders_where_there_is_room_for_one_are_named(robot, role, topic, nodes, level, words):
    seen_there = TopicObservation(
        role, "arm", topic, JOINTS, 0.2, required=False, publishers=tuple(Endpoint(n, JOINTS) for n in nodes), count=30,
        rate=50.0, gap=0.03, age=0.01, offset=0.001,
    )  # fmt: skip
    found = problems_of(robot, (*seen().values(), seen_there))
    assert [f.level.value for f in found] == ([level] if level else [])
    assert all(words in f.sentence for f in found)


def test_errors_come_before_warnings(robot):
    found = seen()
    found["state"] = replace(found["state"], stamped=False)
    found["hand"] = replace(found["hand"], subscribers=())
    assert [p.level for p in problems_of(robot, tuple(found.values()))] == [Level.ERROR, Level.WARNING]


def test_a_gripper_that_nobody_measures_need_not_be_reported(small_robot):
    robot = small_robot(GROUPS.replace("open: 0.04}", "open: 0.04, measured: false}"))
    assert [joint.name for joint in needed_joints(robot)] == ["j1", "j2"]


@pytest.mark.parametrize(
    ("twist", "as_world", "level", "words"),
    [
        (TwistFrame.WORLD, False, Level.ERROR, "say twist: world in the robot YAML"),
        (TwistFrame.BASE, True, Level.ERROR, "say twist: base in the robot YAML"),
        (TwistFrame.NOTHING, False, Level.WARNING, "the twist stays at 0 while the pose moves"),
    ],
)
def test_a_twist_in_another_frame_than_it_is_taken_for_is_told(robot, twist, as_world, level, words):
    topics = seen()
    topics["state"] = replace(topics["state"], twist=twist, as_world=as_world)
    (finding,) = problems_of(robot, tuple(topics.values()))
    assert finding.level is level and words in finding.sentence
    right = replace(topics["state"], as_world=not as_world)
    if twist is not TwistFrame.NOTHING:
        assert problems_of(robot, (*(t for k, t in topics.items() if k != "state"), right)) == ()
