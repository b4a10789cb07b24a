"""Topic names: what the loader takes, ROS takes."""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pi0_ros.robot.topics import same_topic, topic_problem


@settings(deadline=None)
@given(st.text(alphabet="aZ_09/~{}-. é", min_size=1, max_size=12))
@example("base-camera/image_raw")
@example("a//b")
@example("1st/image")
@example("/")
def test_a_name_that_the_loader_takes_is_one_that_ros_takes(name):
    pytest.importorskip("rclpy")
    from rclpy.exceptions import InvalidTopicNameException
    from rclpy.expand_topic_name import expand_topic_name
    from rclpy.validate_full_topic_name import validate_full_topic_name

    try:
        valid = validate_full_topic_name(expand_topic_name(name, "node", "/"))
    except (InvalidTopicNameException, ValueError):
        valid = False
    if not topic_problem(name):
        assert valid
    elif "~" not in name and "{" not in name:
        assert not valid


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("base-camera/image_raw", "letters, digits, _ and / only, and it has '-'"),
        ("two words", "it has ' '"),
        ("1st/image", "starts with a digit"),
        ("cam/2nd", "starts with a digit"),
        ("cam/", "ends with /"),
        ("cam//image", "nothing between two /"),
        ("~/image", "another topic in every node"),
        ("{node}/image", "another topic in every node"),
        ("a" * 201, "more than 200 characters"),
    ],
)
def test_a_bad_name_comes_with_what_is_wrong(name, words):
    assert words in topic_problem(name)


@pytest.mark.parametrize("name", ["joint_states", "/joint_states", "left/arm_1/_x", "A"])
def test_a_good_name_is_taken(name):
    assert topic_problem(name) == ""


def test_a_relative_and_an_absolute_name_are_one_topic_without_a_namespace():
    assert same_topic("/cmd_vel") == same_topic("cmd_vel")


def test_odd_characters_are_told_once_each_and_in_order():
    assert topic_problem("z?b-a?c-") == "letters, digits, _ and / only, and it has '-' '?'"


@pytest.mark.parametrize("length", [1, 200, 201])
def test_a_name_may_be_long_but_not_endless(length):
    assert topic_problem("a" * length) == ("" if length <= 200 else "more than 200 characters")
