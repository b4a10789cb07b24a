import pytest

pytest.importorskip("rclpy")

from builtin_interfaces.msg import Time
from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray, String

from pi0_ros.ros.message_template import MessageTemplate


def numbers_of(numbers):
    return Float64MultiArray(data=[float(n) for n in numbers])


def test_the_numbers_are_written_where_the_message_has_them():
    template = MessageTemplate(numbers_of, [0.0, 0.0, 0.0])
    for numbers in ([1.5, -2.0, 1e-300], [0.0, -0.0, float("inf")]):
        assert template(numbers) == serialize_message(numbers_of(numbers))


def test_whole_numbers_take_four_bytes():
    template = MessageTemplate(lambda n: Time(sec=n[0], nanosec=n[1]), [0, 0])
    assert deserialize_message(template([7, 999_999_999]), Time) == Time(sec=7, nanosec=999_999_999)


def test_a_message_that_leaves_a_number_out_has_no_template():
    with pytest.raises(ValueError, match="number 1 is not once"):
        MessageTemplate(lambda numbers: numbers_of(numbers[:1]), [0.0, 0.0])


def test_a_message_that_carries_no_numbers_has_no_template():
    with pytest.raises(ValueError, match="number 0 is not once"):
        MessageTemplate(lambda numbers: String(data=str(numbers[0])), [0.0])


def test_numbers_out_of_order_have_no_template():
    with pytest.raises(ValueError, match="in its order"):
        MessageTemplate(lambda numbers: numbers_of(numbers[::-1]), [0.0, 0.0])


def test_the_wrong_count_of_numbers_is_an_error():
    with pytest.raises(ValueError):
        MessageTemplate(numbers_of, [0.0, 0.0])([1.0])


def test_rows_of_numbers_are_written_between_texts_and_lengths():
    def build(n):
        state = JointState(name=["a", "elbow"], position=n[2:4], velocity=n[4:5])
        state.header.stamp, state.header.frame_id = Time(sec=n[0], nanosec=n[1]), "arm"
        return state

    template = MessageTemplate(build, [0, 0, 0.0, 0.0, 0.0])
    for numbers in ([7, 250, 0.5, -1.5, 2.25], [8, 999_999_999, 3.0, 4.0, -5.0]):
        assert deserialize_message(template(numbers), JointState) == build(numbers)


def test_a_message_that_carries_a_number_twice_has_no_template():
    with pytest.raises(ValueError, match="number 1 is not once"):
        MessageTemplate(lambda n: numbers_of([n[0], n[1], n[1]]), [0.0, 0.0])
