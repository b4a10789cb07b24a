import math

import pytest

from pi0_ros.robot import load_robot
from pi0_ros.ros.observation import Synchroniser

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


# --- time ---


def stream(memory, camera, seconds, hz, latency, first=0.0):
    """Pictures of one camera at `hz`, `latency` old on arrival; the message is the stamp."""
    for k in range(round(seconds * hz) + 1):
        at = first + k / hz
        memory.add_picture(camera, at + latency, at, at + latency, at, 1000)


@pytest.mark.parametrize("fast", [30, 60, 90])
def test_the_pictures_of_one_observation_are_half_a_frame_apart_at_most(memory, fast):
    feel(memory, *[9.0 + k * 0.01 for k in range(101)])
    memory.add_picture("left_wrist", 10.0, 9.8, 10.0, 9.8)  # 200 ms on its way, as network cameras are
    stream(memory, "base", 1.0, fast, 0.03, first=8.97)
    memory.add_picture("right_wrist", 10.0, 9.801, 10.0, 9.801)
    taken = memory.take(10.0, 10.0, CAMERAS)
    assert taken.complete and taken.stamp == 9.8
    assert abs(taken.pictures["base"].message - 9.8) <= 0.5 / fast + 1e-9
    assert memory.skew == pytest.approx(max(abs(taken.pictures["base"].message - 9.8), 0.001))


def test_of_several_pictures_the_nearest_is_given_not_the_oldest_nor_the_newest(memory):
    feel(memory, 4.9, 5.0, 5.1)
    look(memory, 4.91, "base")
    look(memory, 4.97, "base")
    look(memory, 5.08, "base")
    look(memory, 5.0, "left_wrist", "right_wrist")
    assert memory.take(5.1, 5.1, CAMERAS).pictures["base"].message == "base at 4.97"


def test_pictures_that_are_too_far_apart_are_refused_with_the_camera_and_the_distance(memory):
    feel(memory, *[9.5 + k * 0.01 for k in range(51)])
    look(memory, 9.8, "left_wrist", "right_wrist")
    look(memory, 9.95, "base")  # its first picture: there is none nearer
    (why,) = memory.take(10.0, 10.0, CAMERAS).missing
    assert "camera base" in why and "base_camera/image_raw" in why and "0.15 s away" in why and "at most 0.10 s" in why


@pytest.mark.parametrize("hz", [15, 50, 1000])
def test_the_state_belongs_to_the_stamp_of_the_picture_whatever_its_rate(memory, hz):
    first = 10.0
    for k in range(round(hz * 0.7) + 1):
        feel(memory, first + k / hz)
    look(memory, 10.5037, *CAMERAS, late=0.2)
    taken = memory.take(10.7037, 10.7037, CAMERAS)
    assert taken.state["left_joint3"] == pytest.approx(10.5037, abs=1e-6)


def test_an_older_picture_after_a_newer_one_is_dropped(memory):
    feel(memory, 5.0)
    look(memory, 5.0, *CAMERAS)
    memory.add_picture("base", 5.01, 4.95, 5.01, "late")
    look(memory, 5.0, "base")
    assert memory.cameras.newest("base").message == "base at 5.0"
    assert memory.take(5.0, 5.0, CAMERAS).pictures["base"].message == "base at 5.0"


def test_a_picture_ages_while_the_ros_clock_stands_still(memory):
    feel(memory, 5.0)
    look(memory, 5.0, *CAMERAS)
    assert set(memory.cameras.stale(CAMERAS, 5.3, 5.0)) == set(CAMERAS)
    assert "the ROS clock has stood still for 0.60 s" in memory.take(5.6, 5.0, CAMERAS).missing[0]


def test_a_clock_that_is_set_back_starts_observations_anew_at_once(memory):
    feel(memory, 100.0, 100.02)
    look(memory, 100.0, *CAMERAS)
    for k in range(3):
        at = 100.04 + 0.02 * k
        memory.add_joints(at, at - 3600.0, at - 3600.0, joints(7.0))
        memory.add_odometry(at, at - 3600.0, at - 3600.0, (0.0, 0.0, 0.0))
        for camera in CAMERAS:
            memory.add_picture(camera, at, at - 3600.0, at - 3600.0, "new")
    taken = memory.take(100.1, 100.1 - 3600.0, CAMERAS)
    assert taken.complete and taken.stamp == pytest.approx(100.08 - 3600.0) and taken.state["left_joint1"] == 7.0
    (event,) = memory.clock.events()
    assert "jumped back by 3599.98 s; observations start anew" in event and not memory.clock.events()


def test_a_camera_on_another_clock_is_told_from_one_that_is_dead(memory):
    for k in range(30):
        feel(memory, 1.7e9 + k / 30)
        for camera in CAMERAS:
            offset = {"base": 1.7e9 - 1000.0, "left_wrist": 0.37, "right_wrist": 0.0}[camera]
            memory.add_picture(camera, 1.7e9 + k / 30, 1.7e9 + k / 30 - offset, 1.7e9 + k / 30, k)
    base, wrist = memory.take(1.7e9 + 1.0, 1.7e9 + 1.0, CAMERAS).missing
    assert "base_camera/image_raw arrives at 30 Hz, but is stamped 1.7e+09 s behind" in base and "use_sim_time" in base
    assert "left_wrist_camera/image_raw arrives at 30 Hz, but is stamped 0.37 s behind" in wrist and "chrony" in wrist


@pytest.mark.parametrize("behind", [0.13, 0.3, 3.0])
def test_a_state_source_whose_computer_is_behind_is_named_with_the_cure(memory, behind):
    for k in range(51):
        at = 10.0 + k * 0.02
        memory.add_joints(at, at - behind, at, joints(1.0), topic="joint_states")
        memory.add_odometry(at, at, at, (0.0, 0.0, 0.0), "odom")
    look(memory, 10.99, *CAMERAS, late=0.01)
    (why,) = memory.take(11.0, 11.0, CAMERAS).missing
    assert why.startswith(
        f"joint_states arrives at 50 Hz, but is stamped {behind:.2f} s behind this computer; synchronise"
    )
    assert memory.sources.offsets()["joint_states"] == pytest.approx(behind) and memory.sources.offsets()[
        "odom"
    ] == pytest.approx(0.0)


def test_a_source_that_is_a_little_behind_is_used_and_said(memory):
    for k in range(51):
        at = 10.0 + k * 0.02
        memory.add_joints(at, at - 0.09, at, joints(1.0), topic="joint_states")
        memory.add_odometry(at, at + 0.3, at, (0.0, 0.0, 0.0), "odom")
    problems = memory.clock_problems(11.0)
    assert "0.09 s behind" in problems["joint_states"]
    assert "0.30 s ahead of this computer, so the time of arrival is used" in problems["odom"]


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
    small.add_picture("front", 0.01, 1000.01, 1000.01, "")
    middle = small.take(0.02, 1000.02, state=["j1", "wrist"])
    assert middle.complete, middle.missing
    assert middle.state["j1"] == pytest.approx(0.2) and middle.state["wrist"] == pytest.approx(math.pi, abs=1e-9)
    small.state.add_command(COMMAND)
    assert small.take(0.02, 1000.02, state=["wrist"]).state["wrist"] == pytest.approx(5.0 * math.pi, abs=1e-9)


def test_what_nobody_measures_is_what_was_commanded_last(small):
    small.add_joints(0.0, 1000.0, 1000.0, {"j1": 0.1, "wrist": 0.2})
    small.add_picture("front", 0, 1000.0, 1000.0, "")
    early = small.take(0.0, 1000.0)
    assert (
        not early.complete and "gripper (from the executor's command, which there is none of yet)" in early.missing[0]
    )
    small.state.add_command(COMMAND)
    taken = small.take(0.0, 1000.0)
    assert {n: taken.state[n] for n in ("gripper", "base_vx", "base_wz")} == {
        "gripper": 0.7,
        "base_vx": 0.1,
        "base_wz": -0.2,
    }


def test_only_what_the_policy_measures_has_to_be_there(small):
    small.add_joints(0.0, 1000.0, 1000.0, {"j1": 0.1})
    small.add_picture("front", 0, 1000.0, 1000.0, "")
    assert small.take(0.0, 1000.0, state=["j1"]).state == {"j1": 0.1}
    assert "wrist" in small.take(0.0, 1000.0, state=["j1", "wrist"]).missing[0]


def test_two_publishers_that_disagree_are_no_observation(small):
    for k in range(40):
        t = 0.02 * k
        small.add_joints(t, 1000.0 + t, 1000.0 + t, {"j1": 1.2, "wrist": 0.5}, topic="joint_states")
        if k % 5 == 0:
            small.add_joints(t + 0.003, 1000.003 + t, 1000.003 + t, {"j1": 0.0, "wrist": 0.0}, topic="joint_states")
    small.add_picture("front", 0.75, 1000.75, 1000.75, "")
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
    memory.add_picture("front", 0, 1000.0, 1000.0, "")
    assert memory.take(0.0, 1000.0).state == {"j1_velocity": -0.3, "j1": 0.4}


# --- two cameras of different ages, two sources of joints ---

UNEQUAL = """robot: small
urdf: small.urdf
cameras:
  front: {topic: front/image_raw, type: image, max_age: 0.3}
  hand: {topic: hand/image_raw, type: image, max_age: 0.9}
"""
TWO = """state:
  - {topic: joint_states, type: joint_state, max_age: 0.1}
  - {topic: arm/joint_states, type: joint_state, max_age: 0.2}
"""
ONE_ARM = """
arm:
  kind: position
  channels: [j1, j2]
  command: {topic: arm/commands, type: float64_multi_array}
  limits: {source: urdf, acceleration: 5.0}
"""


@pytest.fixture
def unequal(small_robot):
    return Synchroniser(small_robot(ONE_ARM, TWO, head=UNEQUAL))


def test_before_the_first_observation_no_pictures_are_apart(memory):
    assert memory.skew == 0.0


def test_what_has_come_is_as_far_as_the_slower_of_pictures_and_state_and_the_clock_without_any(memory):
    assert memory.reached(5.0, 7.0, CAMERAS) == 7.0
    feel(memory, 10.2)
    look(memory, 10.0, *CAMERAS)
    assert memory.reached(10.2, 10.2, CAMERAS) == 10.0
    look(memory, 10.4, *CAMERAS)
    assert memory.reached(10.4, 10.4, CAMERAS) == 10.2


def test_state_is_kept_for_half_a_second_more_than_the_oldest_picture_that_may_be_used(unequal):
    for k in range(101):
        at = 10.0 + 0.02 * k
        unequal.add_joints(at, at, at, {"j1": at, "j2": 2.0 * at})
    asked = lambda moment: unequal.take(12.0, 12.0, (), moment=moment)
    assert asked(10.7).complete and asked(10.7).state == pytest.approx({"j1": 10.7, "j2": 21.4})
    assert not asked(10.45).complete


def test_a_source_is_noted_under_its_own_topic(unequal):
    unequal.add_joints(10.0, 9.9, 10.0, {"j1": 0.1}, topic="arm/joint_states")
    unequal.add_joints(10.0, 9.7, 10.0, {"j2": 0.2})
    assert {topic: round(offset, 3) for topic, offset in unequal.sources.offsets().items()} == {
        "arm/joint_states": 0.1,
        "joint_states": 0.3,
    }


def test_a_moment_is_judged_by_what_was_fresh_then_by_both_clocks(memory):
    """The steady clock is 990 s ahead of the ROS clock; nothing has come for 0.8 s."""
    for at in (9.9, 10.0):
        memory.add_joints(at + 990.0, at, at, joints(at))
        memory.add_odometry(at + 990.0, at, at, (0.0, 0.0, 0.0))
        for camera in CAMERAS:
            memory.add_picture(camera, at + 990.0, at, at, f"at {at}")
    memory._update_clock(1000.8, 10.8)
    assert not memory.take(1000.8, 10.8, CAMERAS).complete
    taken = memory.take(1000.8, 10.8, CAMERAS, moment=9.9)
    assert taken.complete and taken.stamp == 9.9 and taken.pictures["base"].message == "at 9.9"
    assert taken.state["left_joint1"] == 9.9


def test_of_the_state_only_what_is_asked_for_has_to_be_known(unequal):
    unequal.add_joints(10.0, 10.0, 10.0, {"j1": 0.5})
    assert unequal.take(10.0, 10.0, (), ("j1",)).state == {"j1": 0.5}
    assert unequal.take(10.0, 10.0, (), ()).complete
    (why,) = unequal.take(10.0, 10.0, (), ("j2", "j1")).missing
    assert "j2" in why and "j1" not in why
    assert not unequal.take(10.0, 10.0, ()).complete
