"""What is known of a robot at a moment: measured lately, or commanded if nobody measures."""

import math

import pytest

from pi0_ros.ros.state_history import StateHistory

GROUPS = """
arm:
  kind: position
  channels: [j1, j2, wrist]
  command: {topic: arm/commands, type: float64_multi_array}
  limits: {source: urdf, acceleration: 10.0}
hand:
  kind: gripper
  channels: [grip]
  joint: {name: finger, closed: 0.0, open: 0.04}
  command: {topic: hand/commands, type: float64_multi_array}
base:
  kind: velocity
  channels: [base_vx, base_wz]
  command: {topic: cmd_vel, type: twist}
  limits: {velocity: [0.5, 1.0], acceleration: [1.0, 2.0]}
"""
STATE = """state:
  - {topic: joint_states, type: joint_state, max_age: 0.1}
  - {topic: slow/joint_states, type: joint_state, max_age: 0.4}
  - {topic: odom, type: odometry, max_age: 0.25}
"""


@pytest.fixture
def history(small_robot):
    return StateHistory(small_robot(GROUPS, STATE), 2.0)


def hear(history, at, topic="joint_states", **positions):
    history.add_joints(at, at, positions, {}, topic)


def test_measurements_are_interpolated_each_by_itself_and_a_gripper_is_a_share_of_its_stroke(history):
    hear(history, 10.0, j1=0.1, j2=-0.4, finger=0.01)
    hear(history, 10.1, j1=0.3, j2=-0.8, finger=0.03)
    found = history.at(10.05, 10.1)
    assert found == pytest.approx({"j1": 0.2, "j2": -0.6, "grip": 0.5, "finger": 0.02})
    assert history.newest() == pytest.approx({"j1": 0.3, "j2": -0.8, "grip": 0.75, "finger": 0.03})


def test_the_axes_of_a_base_are_not_mixed_up(history):
    history.add_odometry(10.0, 10.0, (0.1, 0.2, 0.3), "odom")
    assert history.at(10.0, 10.0) == {"base_vx": 0.1, "base_wz": 0.3}


@pytest.mark.parametrize(("topic", "age"), [("joint_states", 0.1), ("slow/joint_states", 0.4)])
def test_each_topic_has_its_own_age_on_the_steady_clock(history, topic, age):
    hear(history, 10.0, topic, j1=0.1)
    assert history.at(10.0, 10.0 + age - 0.01) == {"j1": 0.1}
    assert history.at(10.0, 10.0 + age + 0.01) == {}


def test_odometry_has_its_own_age(history):
    history.add_odometry(10.0, 10.0, (0.1, 0.2, 0.3), "odom")
    assert set(history.at(10.0, 10.24)) == {"base_vx", "base_wz"} and history.at(10.0, 10.26) == {}


def test_an_angle_without_ends_is_given_on_the_turn_of_its_command(history):
    hear(history, 10.0, wrist=0.2, j1=0.2)
    assert history.at(10.0, 10.0)["wrist"] == 0.2
    history.add_command({"wrist": 6.4, "j1": 6.4, "j2": math.nan})
    found = history.at(10.0, 10.0)
    assert found["wrist"] == pytest.approx(0.2 + math.tau) and found["j1"] == 0.2 and "j2" not in found
    assert history.command == {"wrist": 6.4, "j1": 6.4}


def test_everything_is_known_up_to_the_slowest_that_came_at_all(history):
    assert history.reached == math.inf
    hear(history, 10.3, j1=0.1)
    history.add_odometry(10.0, 10.1, (0.1, 0.2, 0.3), "odom")
    assert history.reached == 10.1
    history.clear()
    assert history.reached == math.inf and history.newest() == {} and history.at(10.1, 10.1) == {}


def test_what_is_not_finite_or_nobodys_joint_is_no_measurement(history):
    hear(history, 10.0, j1=math.nan, stranger=1.0)
    assert history.newest() == {}


def test_what_is_missing_is_named_with_joint_and_topics(history):
    text = history.missing_sentence(["grip", "base_vx"])
    assert (
        text
        == "no fresh state on joint_states, slow/joint_states, odom for grip (from finger), base_vx (from odometry)"
    )


def test_a_joint_of_which_two_publishers_disagree_is_found(history):
    for k in range(4):
        hear(history, 10.0 + 0.02 * k, j1=0.0)
        hear(history, 10.01 + 0.02 * k, "slow/joint_states", j1=1.0)
    found = history.agreement.contradiction(10.08)
    assert found is not None and found.joint == "j1" and set(found.topics) == {"joint_states", "slow/joint_states"}


OTHER_STATE = """state:
  - {topic: slow/joint_states, type: joint_state, max_age: 0.4}
  - {topic: joint_states, type: joint_state, max_age: 0.15}
  - {topic: odom, type: odometry, max_age: 0.25}
  - {topic: wheels, type: odometry, max_age: 0.6}
"""


@pytest.fixture
def other(small_robot):
    """With a gripper that nobody measures, and an arm of velocities."""
    driven = """
lifted:
  kind: velocity
  channels: [j3_velocity]
  joints: [j3]
  command: {topic: lifted/commands, type: joint_state, joints: [j3]}
  limits: {source: urdf, acceleration: 5.0}
"""
    return StateHistory(
        small_robot(GROUPS.replace("open: 0.04", "open: 0.04, measured: false") + driven, OTHER_STATE), 2.0
    )


def test_a_message_of_no_known_topic_ages_as_one_of_the_first_source_of_its_kind(other):
    hear(other, 10.0, "", j1=0.1)
    other.add_odometry(10.0, 10.0, (0.1, 0.2, 0.3), "")
    assert set(other.at(10.0, 10.24)) == {"j1", "base_vx", "base_wz"} and set(other.at(10.0, 10.39)) == {"j1"}
    assert other.at(10.0, 10.41) == {}


def test_a_second_odometry_has_its_own_age(other):
    other.add_odometry(10.0, 10.0, (0.1, 0.2, 0.3), "wheels")
    assert set(other.at(10.0, 10.59)) == {"base_vx", "base_wz"} and other.at(10.0, 10.61) == {}


def test_the_command_stands_for_what_nobody_measures_and_for_nothing_else(other):
    hear(other, 10.0, j1=0.1)
    other.add_command({"grip": 0.75, "j1": 0.5, "j2": 0.6, "base_vx": 0.3})
    assert other.at(10.0, 10.0) == {"j1": 0.1, "grip": 0.75}


def test_arrival_and_stamp_are_not_mixed_up(history):
    history.add_joints(500.0, 10.0, {"j1": 0.1}, {}, "joint_states")
    history.add_joints(500.02, 10.02, {"j1": 0.3}, {}, "joint_states")
    assert history.reached == 10.02 and history.at(10.01, 500.1) == pytest.approx({"j1": 0.2})
    assert history.at(10.01, 500.13) == {}


def test_what_cannot_be_used_changes_no_age_and_a_joint_without_a_name_is_nobodys(history):
    hear(history, 10.0, j1=0.1)
    hear(history, 10.05, "slow/joint_states", j1=math.nan)
    assert history.at(10.0, 10.2) == {}
    history.add_joints(11.0, 11.0, {"": 0.5}, {"": 0.7}, "joint_states")
    assert history.newest() == {"j1": 0.1}


def agreed(history, values, **fixed):
    """Whether these values of one joint, 10 ms apart, come from one publisher."""
    (name,) = fixed
    for k, value in enumerate(values):
        history.add_joints(10.0 + 0.01 * k, 10.0 + 0.01 * k, {name: value}, {name: value}, "joint_states")
    return history.agreement.contradiction(10.0 + 0.01 * len(values)) is None


def test_one_glitch_is_no_second_publisher_and_what_was_forgotten_neither(history):
    assert agreed(history, (0.0, 1.0, 0.0), j1=1)
    assert not agreed(history, (0.0, 1.0, 0.0, 1.0, 0.0), j1=1)
    history.clear()
    assert history.agreement.contradiction(10.05) is None


def test_an_angle_without_ends_and_a_velocity_may_jump(history, other):
    assert agreed(history, (3.0, -3.0, 3.0, -3.0, 3.0), wrist=1)
    assert not agreed(other, (0.0, 1.0, 0.0, 1.0, 0.0), j3=1), "the position of what a velocity drives may not"
    other.clear()
    for k in range(6):
        at = 10.0 + 0.01 * k
        other.add_joints(at, at, {"j3": 0.5}, {"j3": (-1.0, 1.0)[k % 2]}, "joint_states")
    assert other.agreement.contradiction(10.06) is None and other.newest()["j3_velocity"] == 1.0
