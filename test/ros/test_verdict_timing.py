"""Live topics: from when on their times, their publishers and their names are worth a word."""

from types import SimpleNamespace

import pytest

pytest.importorskip("rclpy")

from pi0_ros.ros.live_verdict import Level, Role, _alike, _competing, _timing
from pi0_ros.ros.teleop_devices import two_devices


def seen(**changes):
    plain = {"topic": "/x", "gap": 0.1, "age": 0.1, "max_age": 0.5, "stamped": True, "offset": 0.0, "role": Role.STATE}
    return SimpleNamespace(**{**plain, **changes})


@pytest.mark.parametrize(
    ("offset", "max_age", "level"),
    [
        (0.45, 0.5, None),
        (0.55, 0.5, Level.ERROR),  # older than it may be
        (-0.55, 0.5, Level.ERROR),
        (0.95, 5.0, None),
        (1.05, 5.0, Level.ERROR),  # a second is another clock, however old a message may be
        (-1.05, 5.0, Level.ERROR),
        (-0.06, 5.0, Level.WARNING),  # from the future
        (-0.04, 5.0, None),
        (0.06, 5.0, None),
    ],
)
def test_stamps_of_another_clock_are_told_from_their_age_on_or_from_a_second_on(offset, max_age, level):
    found = list(_timing(seen(offset=offset, max_age=max_age), Level.ERROR))
    assert [f.level for f in found] == ([] if level is None else [level])
    if level is not None:
        side = "behind" if offset > 0 else "ahead of"
        assert f"/x: stamps are {abs(offset):.2f} s {side} this computer" in found[0].sentence
        assert ("use_sim_time" in found[0].sentence) == (level is Level.ERROR)


@pytest.mark.parametrize(("gap", "age", "told"), [(0.49, 0.49, ""), (0.51, 0.2, "0.51 s"), (0.2, 0.62, "0.62 s")])
def test_a_pause_longer_than_max_age_is_told_at_its_worst(gap, age, told):
    found = list(_timing(seen(gap=gap, age=age), Level.WARNING))
    assert [f.sentence.split(" passed")[0] for f in found] == ([f"/x: {told}"] if told else [])
    assert [f.level for f in _timing(seen(stamped=False, offset=9.0), Level.ERROR)] == [Level.WARNING]


@pytest.mark.parametrize(
    ("nodes", "role", "level"),
    [
        (("/a",), Role.STATE, None),
        (("/a", "/b"), Role.STATE, Level.ERROR),
        (("/a", "/a"), Role.STATE, Level.WARNING),  # it may have been restarted
        (("/a", "/a"), Role.CAMERA, Level.ERROR),
    ],
)
def test_two_publishers_of_one_topic_are_told_and_two_of_one_name_more_mildly(nodes, role, level):
    publishers = [SimpleNamespace(node=n) for n in nodes]
    assert [f.level for f in _competing(seen(role=role), publishers)] == ([] if level is None else [level])


def test_names_that_are_like_a_topic_are_told_and_else_the_first_three_of_its_type():
    topics = ("/qqqq1", "/qqqq2", "/qqqq3", "/qqqq4")
    one = SimpleNamespace(topic="/joint_states", alike=topics, type="sensor_msgs/msg/JointState")
    assert _alike(one).endswith("is on /qqqq1, /qqqq2, /qqqq3")
    near = SimpleNamespace(
        topic="/joint_states", alike=(*topics, "/arm/joint_states"), type="sensor_msgs/msg/JointState"
    )
    assert (
        _alike(near).endswith("is on /arm/joint_states")
        and _alike(SimpleNamespace(topic="/x", alike=(), type="a/b")) == ""
    )


def test_nodes_that_are_silent_are_named_by_the_alphabet():
    names = [f"/n{k}" for k in (4, 1, 6, 2, 5, 3)]
    publishers = {bytes([k]): name for k, name in enumerate(names)}
    assert two_devices([], publishers) == tuple(sorted(names))
    assert two_devices([b"\x00"], publishers) == ("/n4", *sorted(set(names) - {"/n4"}))
    assert two_devices([b"\x00"], {b"\x00": "/n4"}) == two_devices([], {}) == ()


def test_of_four_topics_of_like_names_three_are_told():
    topics = tuple(f"/left/joint_states{k}" for k in range(4))
    near = _alike(SimpleNamespace(topic="/joint_states", alike=topics, type="a/b"))
    assert near.count("joint_states") == 3 and near.startswith("; a/b is on ")
