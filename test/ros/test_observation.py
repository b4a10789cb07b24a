import math

import pytest

from pi0_ros.robot import load_robot
from pi0_ros.ros.observation import Synchroniser, Track

ROBOT = load_robot("mobile_bimanual")
CAMERAS = ("base", "left_wrist", "right_wrist")


@pytest.fixture
def memory():
    return Synchroniser(ROBOT)


def joints(value, gripper=0.02):
    found = dict.fromkeys(ROBOT.joint_of_channel.values(), value)
    return found | {"left_finger_joint": gripper, "right_finger_joint": gripper}


def feel(memory, *stamps, value=lambda t: t):
    for t in stamps:
        memory.add_joints(t, t, t, joints(value(t)))
        memory.add_odometry(t, t, t, (0.1 * t, 0.2, 0.3))


def look(memory, stamp, *cameras, late=0.0):
    for camera in cameras:
        memory.add_picture(camera, stamp + late, stamp, stamp + late, f"{camera} at {stamp}")


def test_joints_are_interpolated_at_the_time_of_the_pictures(memory):
    feel(memory, 10.00, 10.01, 10.02)
    look(memory, 10.013, *CAMERAS)
    taken = memory.take(10.02, 10.02, CAMERAS)
    assert taken.complete and taken.stamp == 10.013
    assert taken.state["left_joint3"] == pytest.approx(10.013)
    assert taken.state["base_vx"] == pytest.approx(1.0013)


def test_a_gripper_is_given_as_zero_to_one(memory):
    feel(memory, 1.0)
    look(memory, 1.0, *CAMERAS)
    assert memory.take(1.0, 1.0, CAMERAS).state["left_gripper"] == pytest.approx(0.5)


def test_the_observation_is_of_the_newest_moment_that_every_camera_saw(memory):
    feel(memory, 5.0, 5.05, 5.1)
    look(memory, 5.00, *CAMERAS)
    look(memory, 5.03, "base", "left_wrist")
    look(memory, 5.06, "base")
    taken = memory.take(5.1, 5.1, CAMERAS)
    assert taken.stamp == 5.0
    assert {p.message for p in taken.pictures.values()} == {f"{c} at 5.0" for c in CAMERAS}
    look(memory, 5.06, "left_wrist", "right_wrist")
    assert memory.take(5.1, 5.1, CAMERAS).stamp == 5.06


def test_a_required_camera_that_stopped_is_named_with_its_topic(memory):
    feel(memory, 3.5)
    look(memory, 3.0, "left_wrist")
    look(memory, 3.5, "base", "right_wrist")
    taken = memory.take(3.5, 3.5, CAMERAS)
    assert not taken.complete and len(taken.missing) == 1
    assert "left_wrist: last picture 0.50 s ago on left_wrist_camera/image_raw" in taken.missing[0]


def test_a_camera_that_never_showed_anything_is_named(memory):
    feel(memory, 1.0)
    taken = memory.take(1.0, 1.0, CAMERAS)
    assert len(taken.missing) == 3 and "no picture yet" in taken.missing[0]


def test_a_picture_that_arrives_late_is_as_old_as_its_stamp(memory):
    feel(memory, 2.0, 2.3)
    look(memory, 2.0, *CAMERAS, late=0.3)
    assert not memory.take(2.3, 2.3, CAMERAS).complete


def test_an_optional_camera_is_left_out_when_it_is_stale(memory):
    feel(memory, 1.0)
    look(memory, 1.0, *CAMERAS)
    taken = memory.take(1.0, 1.0, (*CAMERAS, "back"))
    assert taken.complete and set(taken.pictures) == set(CAMERAS)


def test_missing_state_is_named_with_its_topic(memory):
    look(memory, 1.0, *CAMERAS)
    taken = memory.take(1.0, 1.0, CAMERAS)
    assert "joint_states, odom" in taken.missing[0] and "left_joint1" in taken.missing[0]


def test_state_that_stopped_is_not_used(memory):
    feel(memory, 1.0)
    look(memory, 1.2, *CAMERAS)
    assert not memory.take(1.2, 1.2, CAMERAS).complete


@pytest.mark.parametrize("stamp", [0.0, 99.0])
def test_a_stamp_of_zero_or_from_the_future_counts_as_now(memory, stamp):
    memory.add_joints(5.0, stamp, 5.0, joints(1.0))
    memory.add_odometry(5.0, stamp, 5.0, (0.0, 0.0, 0.0))
    for camera in CAMERAS:
        memory.add_picture(camera, 5.0, stamp, 5.0, "")
    assert memory.take(5.0, 5.0, CAMERAS).stamp == 5.0


def test_after_a_clock_jump_nothing_old_is_used(memory):
    feel(memory, 100.0)
    look(memory, 100.0, *CAMERAS)
    memory.clear()
    assert not memory.take(100.0, 1.0, CAMERAS).complete
    feel(memory, 1.0)
    look(memory, 1.0, *CAMERAS)
    assert memory.take(1.0, 1.0, CAMERAS).stamp == 1.0


def test_samples_that_do_not_rise_or_are_not_finite_are_dropped():
    track = Track()
    assert track.add(0.0, 1.0, 5.0)
    assert not track.add(0.0, 1.0, 6.0) and not track.add(0.0, 0.5, 6.0) and not track.add(0.0, 2.0, math.nan)
    assert track.at(1.0, 0.0) == 5.0


def test_a_track_is_held_only_so_far_beyond_its_ends():
    track = Track()
    track.add(0.0, 1.0, 5.0)
    track.add(0.0, 2.0, 7.0)
    assert track.at(1.5, 0.0) == 6.0 and track.at(2.1, 0.1) == 7.0
    assert track.at(2.2, 0.1) is None and track.at(0.8, 0.1) is None


SMALL = """
arm:
  kind: position
  channels: [j1, wrist]
  command: {topic: arm/commands, type: float64_multi_array}
  limits: {source: urdf, acceleration: 5.0}
hand:
  kind: gripper
  channels: [gripper]
  joint: {name: finger, closed: 0.0, open: 0.04, measured: false}
  command: {topic: hand/commands, type: float64_multi_array}
base:
  kind: velocity
  channels: [base_vx, base_wz]
  command: {topic: cmd_vel, type: twist}
  limits: {velocity: [0.5, 1.0], acceleration: 1.0}
"""
COMMAND = {"j1": 0.5, "wrist": 3.14 + 4.0 * math.pi, "gripper": 0.7, "base_vx": 0.1, "base_wz": -0.2}


@pytest.fixture
def small(small_robot):
    return Synchroniser(small_robot(SMALL))


def test_a_joint_without_ends_is_interpolated_over_pi_and_given_on_the_turn_of_its_command(small):
    small.add_joints(0.00, 1000.00, 1000.00, {"j1": 0.1, "wrist": 3.13})
    small.add_joints(0.02, 1000.02, 1000.02, {"j1": 0.3, "wrist": -3.13})
    look(small, 1000.01, "front")
    middle = small.take(0.02, 1000.02, state=["j1", "wrist"])
    assert middle.complete, middle.missing
    assert middle.state["j1"] == pytest.approx(0.2) and middle.state["wrist"] == pytest.approx(math.pi, abs=1e-9)
    small.add_command(COMMAND)
    assert small.take(0.02, 1000.02, state=["wrist"]).state["wrist"] == pytest.approx(5.0 * math.pi, abs=1e-9)


def test_what_nobody_measures_is_what_was_commanded_last(small):
    small.add_joints(0.0, 1000.0, 1000.0, {"j1": 0.1, "wrist": 0.2})
    look(small, 1000.0, "front")
    early = small.take(0.0, 1000.0)
    assert (
        not early.complete and "gripper (from the executor's command, which there is none of yet)" in early.missing[0]
    )
    small.add_command(COMMAND)
    taken = small.take(0.0, 1000.0)
    assert {n: taken.state[n] for n in ("gripper", "base_vx", "base_wz")} == {
        "gripper": 0.7,
        "base_vx": 0.1,
        "base_wz": -0.2,
    }


def test_only_what_the_policy_measures_has_to_be_there(small):
    small.add_joints(0.0, 1000.0, 1000.0, {"j1": 0.1})
    look(small, 1000.0, "front")
    assert small.take(0.0, 1000.0, state=["j1"]).state == {"j1": 0.1}
    assert "wrist" in small.take(0.0, 1000.0, state=["j1", "wrist"]).missing[0]


def test_two_publishers_that_disagree_are_no_observation(small):
    for k in range(40):
        t = 0.02 * k
        small.add_joints(t, 1000.0 + t, 1000.0 + t, {"j1": 1.2, "wrist": 0.5}, topic="joint_states")
        if k % 5 == 0:
            small.add_joints(t + 0.003, 1000.003 + t, 1000.003 + t, {"j1": 0.0, "wrist": 0.0}, topic="joint_states")
    look(small, 1000.75, "front")
    taken = small.take(0.8, 1000.8, state=["j1"])
    assert not taken.complete and taken.missing[0].startswith("j1 is said twice on joint_states")


def test_each_source_has_its_own_age(small_robot):
    state = "state:\n  - {topic: joint_states, type: joint_state, max_age: 0.1}\n"
    robot = small_robot(SMALL, state=state + "  - {topic: wrist/joint_states, type: joint_state, max_age: 2.0}\n")
    memory = Synchroniser(robot)
    memory.add_joints(0.0, 1000.0, 1000.0, {"j1": 0.1}, topic="joint_states")
    memory.add_joints(0.0, 1000.0, 1000.0, {"wrist": 0.2}, topic="wrist/joint_states")
    memory.add_picture("front", 0.5, 1000.5, 1000.5, "late")
    assert memory.take(0.5, 1000.5, state=["wrist"]).complete
    assert "j1" in memory.take(0.5, 1000.5, state=["j1", "wrist"]).missing[0]


def test_the_joint_behind_a_gripper_may_be_measured_too(memory):
    feel(memory, 1.0)
    look(memory, 1.0, *CAMERAS)
    state = memory.take(1.0, 1.0, CAMERAS).state
    assert (state["left_gripper"], state["left_finger_joint"]) == pytest.approx((0.5, 0.02))


def test_an_arm_of_velocities_has_its_joints_positions_in_the_state(small_robot):
    text = """
    arm:
      kind: velocity
      channels: [j1_velocity]
      joints: [j1]
      command: {topic: arm/commands, type: float64_multi_array}
      limits: {source: urdf, acceleration: 5.0}
    """
    memory = Synchroniser(small_robot(text))
    memory.add_joints(0.0, 1000.0, 1000.0, {"j1": 0.4}, {"j1": -0.3})
    look(memory, 1000.0, "front")
    assert memory.take(0.0, 1000.0).state == {"j1_velocity": -0.3, "j1": 0.4}
