"""What was seen of a robot on the graph is judged: each case is one kind of public bug report, and its sentence."""

import math
from dataclasses import replace

import pytest

pytest.importorskip("rclpy")

from pi0_ros.robot.twist_frame import TwistFrame
from pi0_ros.ros.live_verdict import (
    Endpoint,
    Joint,
    Level,
    Role,
    TopicObservation,
    needed_joints,
    problems_of,
    table_rows,
)

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


MANY = """
arm:
  kind: position
  channels: [j1, slide]
  command: {topic: arm/commands, type: float64_multi_array}
  limits: {source: urdf, acceleration: 5.0}
driven:
  kind: velocity
  channels: [j2_velocity, finger_velocity]
  joints: [j2, finger]
  command: {topic: driven/commands, type: joint_state, joints: [j2, finger]}
  limits: {source: urdf, acceleration: 5.0}
blind:
  kind: velocity
  channels: [j3_velocity]
  joints: [j3]
  measured: false
  command: {topic: blind/commands, type: joint_state, joints: [j3]}
  limits: {source: urdf, acceleration: 5.0}
hand:
  kind: gripper
  channels: [gripper]
  joint: {name: jaw, closed: 0.04, open: 0.01}
  command: {topic: hand/commands, type: float64_multi_array}
  limits: {velocity: 1.0, acceleration: 5.0}
base:
  kind: velocity
  channels: [base_vx, base_wz]
  command: {topic: cmd_vel, type: twist}
  limits: {velocity: 0.5, acceleration: 1.0}
"""


def test_a_joint_that_has_to_be_measured_may_be_within_its_limits_and_a_gripper_a_stroke_beyond_its_ends(small_robot):
    state = "state:\n  - {topic: joint_states, type: joint_state, max_age: 0.1}\n  - {topic: odom, type: odometry, max_age: 0.1}\n"
    found = needed_joints(small_robot(MANY, state))
    assert [(j.name, j.unit) for j in found] == [
        ("j1", "rad"),
        ("slide", "m"),
        ("j2", "rad"),
        ("finger", "m"),
        ("jaw", "m"),
    ]
    ends = [(-2.0, 2.0), (0.0, 0.4), (-1.5, 1.9), (0.0, 0.04), (0.01 - 0.03, 0.04 + 0.03)]
    assert [(j.lower, j.upper) for j in found] == [pytest.approx(pair) for pair in ends]
    assert found[0] == Joint("j1", -2.0, 2.0, "rad")


def judged(robot, states, without=()):
    """The sentences about joints, if these states are seen in place of the usual one."""
    rest = [topic for name, topic in seen().items() if name not in ("state", *without)]
    return [
        p.sentence for p in problems_of(robot, (*rest, *states)) if p.sentence.startswith(("joint ", "nobody reports"))
    ]


def test_joints_may_come_on_several_topics_and_one_that_is_silent_is_no_reason_to_be_silent(robot):
    state = seen()["state"]
    other = replace(state, name="1", topic="hand_states", ranges={"finger": (0.01, 0.01)})
    arm = replace(state, ranges={"j1": (0.1, 0.2), "j2": (0.0, 0.1)})
    assert judged(robot, (arm, other)) == []
    (sentence,) = judged(robot, (arm, replace(other, count=0, ranges={})))
    assert sentence.startswith("nobody reports joint finger on joint_states, hand_states; reported are j1, j2")
    assert judged(robot, (replace(arm, count=0, ranges={}), replace(other, count=0, ranges={}))) == []
    odometry = replace(state, type="nav_msgs/msg/Odometry", topic="odom", ranges={})
    assert judged(robot, (odometry,)) == [], "no topic of joints, no word about joints"


def test_of_joints_that_nobody_reports_three_alike_are_named_and_else_the_first_six(robot):
    alike = {f"j{k}x": (0.0, 0.0) for k in (5, 6, 7, 8)}
    rest = {f"Q{k}": (0.0, 0.0) for k in "gafbecd"}
    there = {"j2": (0.0, 0.0), "finger": (0.0, 0.0)}
    named = lambda ranges: (
        judged(robot, (replace(seen()["state"], ranges=ranges),))[0].split("reported are ")[1].split(":")[0]
    )
    assert len(named({**alike, **there}).split(", ")) == 3
    assert named(rest) == "Qa, Qb, Qc, Qd, Qe, Qf" and named({}) == "none"


@pytest.mark.parametrize("ends", [(math.nan, 0.1), (0.1, math.inf), (-math.inf, 0.1)])
def test_a_joint_that_is_not_finite_at_either_end_is_told_so(robot, ends):
    state = replace(seen()["state"], ranges={"j1": ends, "j2": (0.0, 0.1), "finger": (0.01, 0.01)})
    (sentence,) = judged(robot, (state,))
    assert sentence == f"joint j1 is reported as {ends[0]} .. {ends[1]}"


@pytest.mark.parametrize(
    ("joint", "ends", "told", "guess"),
    [
        ("j2", (-1.5, 1.9), "", False),
        ("j2", (-1.6, 1.0), "reported at -1.600, outside of -1.500 .. 1.900 rad", False),
        ("j2", (-1.0, 2.0), "reported at 2.000, outside of -1.500 .. 1.900 rad", False),
        ("j2", (-30.0, 20.0), "reported at -30.000", True),  # degrees, if it is far out
        ("j2", (-20.0, 30.0), "reported at 30.000", True),
        ("j2", (-2.4, 0.0), "reported at -2.400", False),
        ("j2", (-2.6, 0.0), "reported at -2.600", True),
        ("j2", (0.0, 2.8), "reported at 2.800", False),
        ("j2", (0.0, 3.0), "reported at 3.000", True),
        ("j2", (-500.0, 0.0), "reported at -500.000", False),  # no unit fits
        ("finger", (-0.04, 0.08), "", False),
        ("finger", (-0.041, 0.0), "reported at -0.041, outside of -0.040 .. 0.080 m", False),
    ],
)  # fmt: skip
def test_a_joint_outside_is_told_at_its_worst_end_and_a_unit_is_guessed_if_it_is_far_outside(
    robot, joint, ends, told, guess
):
    ranges = {**seen()["state"].ranges, joint: ends}
    found = judged(robot, (replace(seen()["state"], ranges=ranges),))
    assert bool(found) == bool(told)
    if told:
        assert f"joint {joint} is {told}" in found[0] and ("?" in found[0]) is guess


def test_the_table_has_a_row_for_every_topic_with_what_was_seen():
    camera = replace(
        seen()["camera"],
        publishers=(Endpoint("/b", IMAGE, "reliable"), Endpoint("/a", IMAGE), Endpoint("/a", IMAGE)),
        rate=9.96,
        gap=0.1234,
        offset=-0.0456,
    )
    silent = TopicObservation(Role.STATE, "0", "joint_states", JOINTS)
    unstamped = replace(seen()["state"], stamped=False, detail="")
    head, *rows = table_rows((camera, silent, unstamped))
    assert head[:4] == ("", "topic", "published by", "read by") and len({len(row) for row in (head, *rows)}) == 1
    assert rows[0] == (
        "camera front",
        "front/image_raw",
        "/a, /b (reliable)",
        "nobody",
        "10.0 Hz",
        "0.123 s",
        "-0.046 s",
        "640x480 rgb8",
    )
    assert rows[1] == ("state 0", "joint_states", "nobody", "nobody", "-", "-", "-", "-")
    assert rows[2][4:] == ("100.0 Hz", "0.020 s", "no stamp", "-")


def test_what_is_required_is_an_error_and_a_right_publisher_beside_a_wrong_one_is_judged_too(robot):
    wrong = Endpoint("/other", "sensor_msgs/msg/CompressedImage")
    for required, level in ((True, Level.ERROR), (False, Level.WARNING)):
        for change in (
            {"count": 0},
            {"gap": 0.5},
            {"publishers": (wrong,), "count": 0},
            {"publishers": (), "count": 0},
        ):
            topics = seen() | {"camera": replace(seen()["camera"], required=required, **change)}
            assert [p.level for p in problems_of(robot, tuple(topics.values()))] == [level]
    both = replace(seen()["camera"], publishers=(*seen()["camera"].publishers, wrong), gap=0.5)
    topics = seen() | {"camera": both}
    said = [p.sentence for p in problems_of(robot, tuple(topics.values()))]
    assert (
        len(said) == 2 and "carries sensor_msgs/CompressedImage (from /other)" in said[0] and "0.50 s passed" in said[1]
    )
    leader = TopicObservation(Role.TELEOP, "arm", "lead", JOINTS, 0.2, required=False, publishers=(wrong,))
    (finding,) = problems_of(robot, (*seen().values(), leader))
    assert finding.level is Level.WARNING and "carries sensor_msgs/CompressedImage" in finding.sentence


def test_only_a_namesake_of_the_executor_may_command_and_reliable_listeners_are_fine(robot):
    listening = Endpoint("/c", ARRAY, "reliable", "volatile")
    arm = replace(seen()["arm"], subscribers=(listening,), publishers=(Endpoint("/driver", ARRAY),))
    topics = tuple((seen() | {"arm": arm}).values())
    assert problems_of(robot, topics, own_node="driver") == ()
    (finding,) = problems_of(robot, topics)
    assert finding.sentence == "/driver also commands arm/commands; one owner only"
