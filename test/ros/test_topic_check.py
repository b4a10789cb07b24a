"""What the graph says of a topic, and whether one publisher alone sends on it."""

from types import SimpleNamespace

import pytest

from pi0_ros.ros.topic_check import (
    SequenceWatch,
    TopicCheck,
    TopicFault,
    WantedTopic,
    judge_topic,
    publishers_of,
    ros_type_name,
)

IMAGE, SMALL, OTHER = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage", "std_msgs/msg/String"
TYPES = (("image", IMAGE), ("compressed", SMALL))


def publishers(*types):
    return [SimpleNamespace(topic_type=t, node_name=f"n{k}", node_namespace="/") for k, t in enumerate(types)]


@pytest.mark.parametrize(
    ("single", "types", "fault", "words"),
    [
        (True, (IMAGE,), None, ()),
        (True, (IMAGE, OTHER), None, ()),  # somebody sends the right one
        (False, (IMAGE, IMAGE), None, ()),
        (True, (IMAGE, IMAGE), TopicFault.TWO_PUBLISHERS, ("2 publishers on eye", "/n0", "/n1")),
        (True, (OTHER, IMAGE, IMAGE), TopicFault.TWO_PUBLISHERS, ("2 publishers on eye", "/n1", "/n2")),
        (True, (), TopicFault.NO_PUBLISHER, ("nobody publishes eye; is the driver running?",)),
        (
            True,
            (SMALL,),
            TopicFault.WRONG_TYPE,
            ("eye carries sensor_msgs/CompressedImage", "/n0", "say type: compressed"),
        ),
        (False, (OTHER, OTHER), TopicFault.WRONG_TYPE, (f"only {IMAGE}, {SMALL} can be read there",)),
    ],
)
def test_a_topic_is_judged_by_the_publishers_of_its_type(single, types, fault, words):
    found = judge_topic(WantedTopic("eye", "image", TYPES, single), publishers(*types))
    assert (found.fault if found else None) is fault
    assert found is None or (found.topic == "eye" and all(word in found.sentence for word in words))


def test_the_type_in_use_is_that_of_its_word():
    from sensor_msgs.msg import CompressedImage

    assert WantedTopic("eye", "compressed", TYPES).ros_type == SMALL == ros_type_name(CompressedImage)


def watched(*numbers, step=0.1):
    watch = SequenceWatch()
    for k, number in enumerate(numbers):
        watch.update(10.0 + step * k, number)
    return watch


def test_one_publisher_numbers_its_messages_upwards_and_has_sent_five_lately():
    last = 10.4
    assert watched(1, 2, 3, 5, 9).one_publisher(last) and not watched(1, 2, 3, 4).one_publisher(last)
    assert watched(1, 2, 3, 4, 5).one_publisher(last + 0.99) and not watched(1, 2, 3, 4, 5).one_publisher(last + 1.01)
    assert watched(0, 1, 2, 3, 4).one_publisher(last), "the first number is whatever it is"


def test_a_number_that_does_not_rise_is_of_another_publisher_for_a_second():
    for numbers in ((1, 2, 3, 4, 5, 5, 6), (1, 2, 3, 4, 90, 5, 91)):
        watch = watched(*numbers)
        assert not watch.one_publisher(10.6)
        for k in range(20):
            at = 10.7 + 0.1 * k
            watch.update(at, 100 + k)
            assert watch.one_publisher(at) is (at - 10.5 > 1.0)


def test_who_publishes_on_topics_is_named_in_order_with_the_namespace():
    there = {"/robot/odom": ["z", "b"], "/robot/eye": ["a"]}
    node = SimpleNamespace(
        resolve_topic_name=lambda topic: f"/robot/{topic}",
        get_publishers_info_by_topic=lambda topic: [
            SimpleNamespace(node_name=name, node_namespace="/robot") for name in there[topic]
        ],
    )
    assert publishers_of(node, ["odom", "eye"]) == ("/robot/a", "/robot/b", "/robot/z")


def test_of_wrong_types_the_first_is_named_and_publishers_by_the_alphabet():
    wrong = judge_topic(WantedTopic("eye", "image", TYPES), publishers(OTHER, "std_msgs/msg/Bool"))
    assert "std_msgs/String" in wrong.sentence and "/n0" in wrong.sentence and "Bool" not in wrong.sentence
    several = [SimpleNamespace(topic_type=IMAGE, node_name=name, node_namespace="/") for name in ("c", "a", "b")]
    sentence = judge_topic(WantedTopic("eye", "image", TYPES, True), several).sentence
    assert sentence.index("/a") < sentence.index("/b") < sentence.index("/c")


def test_the_graph_is_asked_at_most_twice_a_second_and_only_what_is_wrong_is_told():
    clock, there, asked = [100.0], {"eye": publishers(IMAGE), "hand": []}, []
    node = SimpleNamespace(get_publishers_info_by_topic=lambda topic: asked.append(topic) or there[topic])
    check = TopicCheck(
        node, (WantedTopic("eye", "image", TYPES), WantedTopic("hand", "image", TYPES)), lambda: clock[0]
    )
    first = check.problems()
    assert asked == ["eye", "hand"] and {t: p.fault for t, p in first.items()} == {"hand": TopicFault.NO_PUBLISHER}
    there["hand"] = publishers(IMAGE)
    clock[0] = 100.49
    assert check.problems() == first and len(asked) == 2
    clock[0] = 100.51
    assert check.problems() == {} and len(asked) == 4
    clock[0] = 100.99
    check.problems()
    assert len(asked) == 4
