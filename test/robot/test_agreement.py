"""A joint of which two things are said at once is not measured; one that moves, however fast, is."""

import math

from pi0_ros.robot.agreement import SETTLE, WINDOW, Agreement

TOLERANCE, SPEED = 0.05, 2.5


def hear(agreement, *said, sure=False, topic="joint_states"):
    for time, value in said:
        agreement.hear("j1", topic, time, value, TOLERANCE, SPEED, sure)
    return agreement


def two_publishers(until, other_every=0.1):
    """A driver at 50 Hz that says 1.2, and another node that says 0."""
    driver = [(0.02 * k, 1.2) for k in range(round(until / 0.02))]
    other = [(0.003 + other_every * k, 0.0) for k in range(math.ceil(until / other_every))]
    return sorted(driver + other)


def test_two_publishers_that_disagree_are_noticed_with_both_values():
    found = hear(Agreement(), *two_publishers(0.4)).contradiction(0.4)
    assert found.joint == "j1" and sorted(found.values) == [0.0, 1.2]
    assert found.sentence(("/driver", "/joint_state_publisher")) == (
        "/driver and /joint_state_publisher publish j1 on joint_states, as 1.20 and as 0.00; stop one of them"
    )


def test_one_publisher_that_says_zero_now_and_then_contradicts_itself():
    """As a driver that has lost its robot for a moment does (Universal_Robots_ROS_Driver 302)."""
    said = [(0.02 * k, 0.0 if k % 7 == 6 else 1.2) for k in range(30)]
    found = hear(Agreement(), *said).contradiction(0.6)
    text = found.sentence(("/ur_driver",))
    assert text == "/ur_driver publishes j1 on joint_states, in turn as 1.20 and as 0.00; it contradicts itself"


def test_one_return_is_enough_where_several_publishers_are_known_and_may_be_a_glitch_where_they_are_not():
    once = [(0.0, 1.2), (0.003, 0.0), (0.02, 1.2), (0.04, 1.2)]
    assert hear(Agreement(), *once).contradiction(0.04) is None
    assert hear(Agreement(), *once, sure=True).contradiction(0.04) is not None


def test_nothing_starts_on_a_jump():
    agreement = hear(Agreement(), (0.0, 1.2), (0.003, 0.0))
    assert agreement.restless(0.02) == "j1"
    assert agreement.restless(0.003 + SETTLE + 0.01) == ""


def test_publishers_that_agree_or_speak_of_other_joints_are_fine():
    agreement = hear(Agreement(), *[(0.01 * k, 1.2 + 0.02 * (k % 2)) for k in range(100)])
    for k in range(100):
        agreement.hear("j2", "joint_states", 0.01 * k, -0.7, TOLERANCE, SPEED, True)
    assert agreement.contradiction(1.0) is None and agreement.restless(1.0) == ""


def test_a_joint_that_swings_at_its_greatest_speed_contradicts_nothing():
    amplitude = 0.5
    swing = [(0.02 * k, amplitude * math.sin(SPEED / amplitude * 0.02 * k)) for k in range(300)]
    agreement = hear(Agreement(), *swing, sure=True)
    assert agreement.contradiction(6.0) is None


def test_a_swinging_joint_whose_messages_arrive_in_bursts_contradicts_nothing():
    """A loaded machine reads five of them at once; they were measured 20 ms apart all the same."""
    agreement = Agreement()
    for k in range(300):
        stamp = 0.02 * k
        arrived = 0.1 * math.ceil(stamp / 0.1) + 1e-4 * (k % 5)
        value = 0.5 * math.sin(4.5 * stamp)
        agreement.hear("j1", "joint_states", arrived, value, TOLERANCE, SPEED, True, 1000.0 + stamp)
    assert agreement.contradiction(6.1) is None and agreement.restless(6.1) == ""


def test_jumps_that_are_long_over_are_not_counted_together():
    apart = [(t, v) for k in range(4) for t, v in [(5.0 * k, 1.2), (5.0 * k + 0.02, 1.2 if k % 2 else 0.0)]]
    assert hear(Agreement(), *apart).contradiction(15.1) is None


def test_a_contradiction_is_over_some_time_after_the_last_jump():
    agreement = hear(Agreement(), *two_publishers(0.4))
    assert agreement.contradiction(0.4 + 0.9 * WINDOW) is not None
    assert agreement.contradiction(0.4 + WINDOW + 0.1) is None


def test_two_topics_that_disagree_are_both_named():
    agreement = Agreement()
    for k in range(20):
        hear(agreement, (0.02 * k, 1.2), topic="arm/joint_states")
        hear(agreement, (0.02 * k + 0.01, 0.3), topic="joint_states")
    assert set(agreement.contradiction(0.4).topics) == {"arm/joint_states", "joint_states"}


def test_both_values_are_told_the_larger_first_whichever_came_first():
    for said in ([(0.0, 1.2), (0.003, 0.0), (0.02, 1.2)], [(0.0, 0.0), (0.003, 1.2), (0.02, 0.0)]):
        found = hear(Agreement(), *said, sure=True).contradiction(0.02)
        assert "as 1.20 and as 0.00" in found.sentence()
        assert found.sentence() == "j1 is said twice on joint_states, as 1.20 and as 0.00; stop one of them"


def test_two_jumps_the_same_way_are_no_return():
    assert hear(Agreement(), (0.0, 0.0), (0.02, 1.0), (0.04, 2.0), (0.06, 3.0), sure=True).contradiction(0.06) is None


def test_a_return_to_somewhere_else_is_none():
    """Away to 1.2 and back only half the way: an arm that was moved by hand while nobody measured."""
    assert hear(Agreement(), (0.0, 0.0), (0.02, 1.2), (0.04, 0.6), sure=True).contradiction(0.04) is None


def test_what_is_forgotten_is_not_compared_with_what_comes():
    agreement = hear(Agreement(), *two_publishers(0.4))
    agreement.forget()
    assert agreement.contradiction(0.4) is None and agreement.restless(0.4) == ""
    hear(agreement, (0.42, -0.9))
    assert agreement.restless(0.42) == ""


def test_a_joint_that_comes_back_to_where_it_could_not_be_by_then_has_gone_on_and_contradicts_nothing():
    """0.05 + 1.5 times 2.5 rad/s for at most 0.1 s: 0.425 rad between where it jumped from and where it jumped back to."""
    for after, told in ((1.2 - 0.4, True), (1.2 - 0.45, False)):
        agreement = hear(Agreement(), (0.0, 1.2), (0.01, -2.0), (0.5, 0.8), sure=True)
        assert agreement.contradiction(0.5) is not None
        agreement = Agreement()
        agreement.hear("j1", "joint_states", 0.0, 1.2, TOLERANCE, SPEED, True)
        agreement.hear("j1", "joint_states", 0.01, -9.0, TOLERANCE, SPEED, True)
        agreement.hear("j1", "joint_states", 0.8, after, TOLERANCE, SPEED, True)
        assert (agreement.contradiction(0.8) is not None) is told


def test_each_joint_is_judged_by_its_own_speed_and_tolerance():
    for speed, tolerance, told in ((2.5, 0.05, True), (100.0, 0.05, False), (2.5, 2.0, False)):
        agreement = Agreement()
        for time, value in ((0.0, 1.2), (0.01, 0.0), (0.02, 1.2)):
            agreement.hear("j1", "joint_states", time, value, tolerance, speed, True)
        assert (agreement.contradiction(0.02) is not None) is told


def test_a_jump_back_to_where_the_last_one_ended_is_no_return():
    """It jumped by 0.3 rad, moved on by 0.3 at 2.5 rad/s, and jumps back to 0.3."""
    moved = [(1000.02 + 0.02 * k, 0.3 + 0.05 * k) for k in range(7)]
    agreement = hear(Agreement(), (1000.0, 0.0), (1000.01, 0.3), *moved, (1000.15, 0.3), sure=True)
    assert agreement.restless(1000.15) == "j1" and agreement.contradiction(1000.15) is None


def test_a_return_after_more_than_two_seconds_is_none_however_long_the_robot_has_run():
    """Of a slow joint, which cannot have moved there by itself."""
    for back, told in ((1.9, True), (2.1, False)):
        agreement = Agreement()
        for time, value in ((1000.0, 1.2), (1000.1, 0.0), (1000.1 + back, 1.2)):
            agreement.hear("j1", "joint_states", time, value, TOLERANCE, 0.1, True)
        assert agreement.restless(1000.1 + back) == "j1"
        assert (agreement.contradiction(1000.1 + back) is not None) is told


def test_the_sooner_a_joint_jumps_back_the_nearer_it_has_to_come_however_long_the_robot_has_run():
    """After 0.01 s: 0.05 + 1.5 times 2.5 rad/s for 0.01 s, which is 0.0875 rad; after 0.02 s 0.125 rad."""
    for start in (0.0, 1000.0):
        for later, off, told in ((0.01, 0.08, True), (0.01, 0.1, False), (0.02, 0.12, True), (0.02, 0.13, False)):
            said = [(start, 1.2), (start + 0.01, 0.0), (start + 0.01 + later, 1.2 - off)]
            assert (hear(Agreement(), *said, sure=True).contradiction(start + 0.04) is not None) is told


def test_two_returns_are_a_contradiction_whoever_spoke_and_one_is_not():
    values = (1.2, 0.0, 1.2, 0.0)
    for count, told in ((3, False), (4, True)):
        said = [(0.01 * k, value) for k, value in enumerate(values[:count])]
        assert (hear(Agreement(), *said).contradiction(0.04) is not None) is told


def test_the_newest_jump_is_told_with_where_it_came_from_first():
    agreement = Agreement()
    assert agreement.restless(0.0) == "" and agreement.contradiction(0.0) is None
    for time, value, topic in ((0.0, 1.2, "a"), (0.01, 0.1, "b"), (0.02, 1.19, "a")):
        hear(agreement, (time, value), sure=True, topic=topic)
    found = agreement.contradiction(0.02)
    assert (found.topics, found.values) == (("b", "a"), (0.1, 1.19))
    assert found.sentence(("/p", "/q")) == "/p and /q publish j1 on b and a, as 1.19 and as 0.10; stop one of them"


def test_of_a_joint_that_never_rests_a_few_jumps_are_remembered():
    agreement = hear(Agreement(), *[(0.01 * k, float(k % 2)) for k in range(50)])
    assert agreement.contradiction(0.5) is not None and len(agreement._said["j1"].jumps) == 8
