"""What nodes say of text from outside cannot steer a terminal, forge a line, or flood a log."""

from array import array

import pytest

pytest.importorskip("rclpy")

from sensor_msgs.msg import JointState

from pi0_ros.control.chunk import Chunk, check_shape
from pi0_ros.robot import load_robot
from pi0_ros.ros.conversions import ConversionError, channel_values, joint_state_values

EVIL = "\x1b[2Jjoint\n[INFO] all is well"
ROBOT = load_robot("mobile_bimanual")


def harmless(sentence, longest=1200):
    return sentence.isprintable() and len(sentence) <= longest


def chunk_of(names):
    import numpy as np

    return Chunk(0.0, 0.02, tuple(names), np.zeros((1, len(names))), 1, 1, "policy")


def test_channel_names_of_a_chunk_are_quoted():
    reason = check_shape(chunk_of([EVIL, *ROBOT.channel_names[1:]]), ROBOT)
    assert harmless(reason, 200) and "is not one of mobile_bimanual" in reason


@pytest.mark.timeout(30)
def test_a_chunk_of_a_hundred_thousand_names_is_refused_quickly():
    names = [ROBOT.channel_names[0]] * 50_000 + [f"c{k}" for k in range(50_000)]
    assert "is not one of" in check_shape(chunk_of(names), ROBOT)
    assert "is there twice" in check_shape(chunk_of([ROBOT.channel_names[0]] * 100_000), ROBOT)


@pytest.mark.timeout(30)
def test_a_joint_state_with_many_names_twice_is_refused_quickly_and_shortly():
    names = [f"{EVIL}{k}" for k in range(20_000)] * 2
    with pytest.raises(ConversionError) as refused:
        joint_state_values(JointState(name=names, position=array("d", range(len(names)))))
    assert harmless(str(refused.value)) and "and 19992 more twice" in str(refused.value)


def test_the_names_of_a_teleop_message_are_quoted_and_counted():
    group = ROBOT.group("left_arm")
    message = JointState(name=[EVIL] + [f"j{k}" for k in range(1999)], position=array("d", [0.0] * 2000))
    with pytest.raises(ConversionError) as refused:
        channel_values(group, message, group.teleop)
    assert harmless(str(refused.value)) and "and 1992 more" in str(refused.value)
