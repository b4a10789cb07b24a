"""A robot YAML whose parts contradict one another: one joint of two channels, one topic that is written and read."""

import pytest

from pi0_ros.robot import RobotError

ARM = """
arm:
  kind: position
  channels: [j1, j2]
  command: {topic: arm, type: joint_state}
  limits: {source: urdf, acceleration: 5.0}
"""
TURRET = """
turret:
  kind: velocity
  channels: [pan, tilt]
  joints: [j3, JOINT]
  command: {topic: turret, type: float64_multi_array}
  limits: {source: urdf, acceleration: 5.0}
"""
HAND = """
hand:
  kind: gripper
  channels: [grip]
  joint: {name: JOINT, closed: 0.0, open: 0.04}
  limits: {velocity: 1.0}
  command: {topic: hand, type: joint_state}
"""
LED = "  teleop: {topic: /leader/arm, type: joint_state, max_age: 0.2}\n"


@pytest.mark.parametrize(
    ("groups", "words"),
    [
        (ARM + TURRET.replace("JOINT", "j2"), r"turret\.joints\[1\]: joint j2 is already measured by channel j2 of group arm"),
        (TURRET.replace("JOINT", "j2") + ARM, r"arm\.channels\[1\]: joint j2 is already measured by channel tilt of group turret"),
        (TURRET.replace("JOINT", "finger") + HAND.replace("JOINT", "finger"),
         r"hand\.joint: joint finger is already measured by channel tilt of group turret"),
        (ARM + LED + TURRET.replace("JOINT", "j2").replace("topic: turret", "topic: leader/arm").replace("j2", "wrist"),
         r"turret\.command: topic leader/arm is also read as teleoperation of group arm; commands need a topic of their own"),
        (ARM.replace("topic: arm", "topic: /joint_states"), r"arm\.command: topic /joint_states is also read as measured state"),
        (ARM.replace("topic: arm", "topic: /front/image_raw"), r"arm\.command: topic /front/image_raw is also read as pictures of camera front"),
    ],
)  # fmt: skip
def test_what_would_be_owned_twice_is_refused_where_it_stands(small_robot, groups, words):
    with pytest.raises(RobotError, match=rf"small\.yaml:\d+: groups\.{words}"):
        small_robot(groups)


def test_what_is_apart_is_taken(small_robot):
    robot = small_robot(ARM + LED + TURRET.replace("JOINT", "wrist") + HAND.replace("JOINT", "finger"))
    assert [c.joint for c in robot.channels] == ["", "", "j3", "wrist", ""]
    assert robot.joint_of_channel == {"j1": "j1", "j2": "j2", "grip": "finger"}
    base = """
base:
  kind: velocity
  channels: [vx, wz]
  command: {topic: cmd_vel, type: twist}
  limits: {velocity: 0.5, acceleration: 1.0}
"""
    assert small_robot(base).channel_names == ("vx", "wz")  # neither of which moves a joint
