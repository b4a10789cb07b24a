"""Sentences about stamps of another clock: what kind of clock it is, for how long they are said, and that they stay the same."""

import pytest

from pi0_ros.control.other_clocks import ClocksBehind, cure, duration


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (1.1e5, "it is another clock: set use_sim_time:=true for a simulation"),
        (0.9e5, "synchronise the clocks"),
        (37.4, "37 s is TAI against UTC"),
        (36.6, "37 s is TAI against UTC"),
        (37.6, "synchronise the clocks"),
        (36.4, "synchronise the clocks"),
        (2.0, "synchronise the clocks (chrony or PTP), or set the driver's option for the computer's time"),
    ],
)
def test_the_cure_is_that_of_the_kind_of_clock(seconds, words):
    assert cure(seconds).startswith(words)


@pytest.mark.parametrize(
    ("seconds", "told"), [(2.0, "2.00 s"), (37.126, "37.13 s"), (99_999.0, "99999.00 s"), (1.76e9, "1.76e+09 s")]
)
def test_an_offset_is_told_to_a_hundredth_and_a_huge_one_by_its_size(seconds, told):
    assert duration(seconds) == told


def test_a_topic_of_which_no_old_message_came_is_not_spoken_of():
    clocks = ClocksBehind()
    clocks.note("odom", 10.0, 2.0)
    assert clocks.sentence("joint_states", 10.0, 5.0) == ClocksBehind().sentence("odom", 0.0, 5.0) == ""


def test_it_is_said_for_as_long_as_such_messages_came_lately():
    clocks = ClocksBehind()
    clocks.note("joint_states", 10.0, 2.0)
    said = clocks.sentence("joint_states", 11.4, 1.5)
    assert said.startswith(
        "joint_states arrives, but is stamped 2.00 s in the past by this computer's clock; synchronise"
    )
    assert clocks.sentence("joint_states", 11.6, 1.5) == ""
    clocks.note("joint_states", 11.6, 2.1)
    assert clocks.sentence("joint_states", 13.0, 1.5) == said


@pytest.mark.parametrize(("offset", "told"), [(2.24, "2.00 s"), (1.76, "2.00 s"), (2.26, "2.26 s"), (1.74, "1.74 s")])
def test_it_changes_with_the_offset_by_a_quarter_of_a_second_and_not_with_every_message(offset, told):
    clocks = ClocksBehind()
    clocks.note("", 10.0, 2.0)
    clocks.note("", 10.1, offset)
    assert clocks.sentence("", 10.1, 1.0).startswith(f"the state arrives, but is stamped {told} in the past")


def test_the_first_offset_is_told_however_small_it_is():
    clocks = ClocksBehind()
    clocks.note("odom", 10.0, 0.1)
    assert "is stamped 0.10 s in the past" in clocks.sentence("odom", 10.0, 1.0)
