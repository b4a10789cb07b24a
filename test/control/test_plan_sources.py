"""Who plans: one source owns an epoch, and a source is one process."""

import pytest
from story import Story

from pi0_ros.control import ExecutorSettings, Mode
from pi0_ros.control.plan_sources import Sources, follows, order_problem

ARM, OTHER_ARM = "left_joint1", "right_joint1"


def driving():
    return Story(settings=ExecutorSettings(policy_lost=0.5)).autonomy(goal={ARM: 0.3}, rows=30, source="policy#1")


def test_two_processes_of_one_name_end_autonomy_before_control_goes_to_and_fro():
    story = Story().autonomy(goal={ARM: 0.3}, source="policy", sequence=100)
    verdicts, drivers = [], set()
    for k in range(40):  # A every 0.4 s from 101 on, B every 0.1 s from 85 on: B overtakes A
        if k % 4 == 0:
            verdicts.append(story.send(story.chunk(goal={ARM: 0.3}, source="policy", sequence=101 + k // 4)))
        story.send(story.chunk(goal={OTHER_ARM: 0.3}, source="policy", sequence=85 + k))
        story.run(0.1)
        if story.last.mode is Mode.AUTONOMY:
            drivers.add(
                "B" if abs(story.at(OTHER_ARM) - story.runs[-1][0][story.robot.index[OTHER_ARM]]) > 1e-3 else "A"
            )
    assert story.last.mode is Mode.HOLD and "two processes publish plans as 'policy'" in story.last.reason
    assert drivers == {"A"}
    story.sound()


def test_of_two_names_the_first_drives_and_the_other_is_named():
    story = driving()
    story.send(story.chunk(goal={OTHER_ARM: 0.3}, source="policy#2", sequence=10_000))
    story.run(0.2)
    assert story.last.mode is Mode.AUTONOMY and story.last.counters.ignored == 1
    assert "two policies publish plans: 'policy#1' is driving, 'policy#2' is ignored" in story.texts()


def test_a_restarted_policy_is_not_taken_for_the_old_one_and_the_reason_says_how_it_is_followed():
    story = driving()
    verdict = story.send(story.chunk(goal={ARM: 0.3}, source="policy#2", sequence=1))
    assert not verdict.accepted
    story.run(4.0, each=lambda s: s.send(s.chunk(goal={ARM: 0.3}, source="policy#2")))
    assert story.last.mode is Mode.HOLD
    assert "'policy#2' publishes and is followed once autonomy is asked for again" in story.texts()
    assert story.ask("autonomy").ok
    story.tick()
    assert story.send(story.chunk(goal={ARM: 0.2}, source="policy#2")).accepted
    story.run(0.2)
    assert story.last.owner == "policy"
    story.sound()


def test_a_restarted_policy_that_keeps_its_name_is_refused_with_the_true_reason_until_asked():
    story = Story(settings=ExecutorSettings(policy_lost=0.5)).autonomy(goal={ARM: 0.3}, source="policy", sequence=500)
    verdict = story.send(story.chunk(goal={ARM: 0.3}, source="policy", sequence=1))
    assert (
        not verdict.accepted and "if policy was restarted, it is followed once autonomy is asked for" in verdict.reason
    )
    story.run(4.0)
    assert story.last.mode is Mode.HOLD and story.ask("autonomy").ok
    story.tick()
    assert story.send(story.chunk(goal={ARM: 0.2}, source="policy", sequence=2)).accepted


@pytest.mark.parametrize(
    ("sequences", "expected"),
    [((5, 6, 9), False), ((5, 5, 6), False), ((5, 3, 4), False), ((5, 3, 6), True), ((5, 6, 2, 3, 7), True)],
)
def test_sequences_that_go_back_and_on_again_are_those_of_two(sequences, expected):
    sources, found = Sources(), False
    for sequence in sequences:
        found = found or sources.namesakes("policy", sequence)
        if not order_problem("policy", sequence, sources.sequences):
            sources.accept("policy", sequence)
    assert found is expected


@pytest.mark.parametrize("last", [0, 7, 2**63, 2**64 - 3])
@pytest.mark.parametrize(
    ("further", "good"), [(0, False), (1, True), (2**62, True), (2**63 - 1, True), (2**63, False), (2**64 - 1, False)]
)
def test_half_of_all_numbers_come_after_one_and_the_others_before_it(last, further, good):
    """Serial numbers of 64 bits (RFC 1982)."""
    assert follows((last + further) % 2**64, last) is good


def test_a_sequence_that_is_not_the_next_one_is_told_with_the_one_before_and_with_the_way_out_unless_it_is_that_one():
    known = {"policy": 7, "": 4}
    assert order_problem("policy", 8, known) == order_problem("another", 3, known) == ""
    assert order_problem("policy", 7, known) == "sequence 7 does not follow 7"
    told = order_problem("policy", 5, known)
    assert told.startswith("sequence 5 does not follow 7; if policy was restarted")
    assert order_problem("", 2, known).startswith("sequence 2 does not follow 4; if the policy was restarted")


def test_who_is_ignored_is_known_by_name_until_another_is():
    sources = Sources()
    assert sources.other == ""
    sources.ignore("second")
    assert sources.other == "second"
    sources.ignore("third")
    assert sources.other == "third" and sources.owner is None
