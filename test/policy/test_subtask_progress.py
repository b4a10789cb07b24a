"""Whether subtasks make progress: times are given, and sequences are compared with a search that is written otherwise."""

from dataclasses import replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pi0_ros.policy.subtask_progress import STEPS_KEPT, Progress, ProgressLimits, Repetition, Verdict, follow

ON, RETRY, GIVEN_UP = Verdict.GOING_ON, Verdict.RETRY, Verdict.GIVEN_UP
LIMITS = ProgressLimits(timeout=30.0, repeats=2, retries=2, finished=("done",))


def run(steps, limits=LIMITS, progress=None):
    """What comes of (subtask, seconds) one after the other, and the verdicts."""
    progress, verdicts = progress or Progress(), []
    for subtask, steady in steps:
        progress = follow(progress, subtask, steady, limits)
        verdicts.append(progress.verdict)
    return progress, verdicts


def each(subtasks, start=100.0, spacing=3.0):
    """One subtask after the other."""
    return [(subtask, start + spacing * k) for k, subtask in enumerate(subtasks)]


def test_a_subtask_may_last_as_long_as_the_limit_and_is_then_tried_again_so_often_and_given_up():
    times = (100.0, 130.0, 130.5, 131.0, 161.0, 161.5, 170.0, 200.0, 200.25)
    found, verdicts = run([("a", t) for t in times])
    assert verdicts == [ON, ON, RETRY, ON, ON, RETRY, ON, ON, GIVEN_UP]
    assert found.repetition == Repetition(("a",), 1, 30.25) and found.retries == 2
    first, _ = run([("a", t) for t in times[:3]])
    assert first.repetition == Repetition(("a",), 1, 30.5) and first.retries == 1


def test_a_timeout_may_be_less_than_a_second():
    assert run([("a", 0.0), ("a", 0.4), ("a", 0.6)], replace(LIMITS, timeout=0.5))[1] == [ON, ON, RETRY]


def test_what_is_given_up_stays_given_up_whatever_follows():
    found, _ = run([("a", 0.0), ("a", 31.0)], replace(LIMITS, retries=0))
    assert found.verdict is GIVEN_UP and follow(found, "b", 32.0, LIMITS) is found


def test_another_subtask_between_begins_the_time_of_one_anew():
    _, verdicts = run([("a", 0.0), ("a", 29.0), ("b", 31.0), ("a", 45.0), ("a", 75.0), ("a", 76.0)])
    assert verdicts == [ON, ON, ON, ON, ON, RETRY]


def test_a_new_subtask_forgets_retries_and_one_that_was_tried_before_does_not():
    stuck = [("a", 0.0), ("b", 2.0), ("b", 33.0)]
    found, verdicts = run([*stuck, ("a", 40.0)])
    assert verdicts == [ON, ON, RETRY, ON] and found.retries == 1 and found.repetition.subtasks == ("b",)
    found, _ = run([*stuck, ("b", 40.0), ("c", 41.0)])
    assert found.retries == 0 and found.repetition is None
    found, _ = run([*stuck, ("c", 40.0), ("c", 71.0)])
    assert found.retries == 1, "its own first"


def test_two_subtasks_that_are_stuck_in_turn_are_given_up_too():
    found, verdicts = run(
        [("a", 0.0), ("a", 31.0), ("b", 40.0), ("b", 71.0), ("a", 80.0), ("a", 111.0), ("b", 120.0), ("b", 151.0)]
    )
    assert verdicts[1::2] == [RETRY, RETRY, RETRY, GIVEN_UP] and found.repetition.subtasks == ("b",)


@pytest.mark.parametrize(
    ("sequence", "times"),
    [
        ("abababa", 6), ("abcabcabcabc", 9), ("xyababab", 8), ("abcbabcbabcb", 12), ("abab", None), ("abcabcab", None),
        ("abcacbabcacb", None), ("ababcababcab", None),
    ],
)  # fmt: skip
def test_a_sequence_that_has_come_back_twice_is_no_progress(sequence, times):
    """`times`: how many steps it takes to notice."""
    _, verdicts = run(each(sequence))
    assert [k + 1 for k, verdict in enumerate(verdicts) if verdict is not ON] == ([] if times is None else [times])


def test_a_sequence_is_said_in_its_order_how_often_it_came_and_for_how_long():
    found, _ = run(each("zabcabcabc"))
    assert found.repetition == Repetition(("a", "b", "c"), 3, 24.0)


def test_after_a_retry_a_sequence_has_to_come_back_as_often_again_and_with_the_third_time_is_given_up():
    _, verdicts = run(each("ab" * 9))
    assert [k for k, v in enumerate(verdicts) if v is RETRY] == [5, 11] and verdicts[17] is GIVEN_UP


def test_looking_often_is_no_repetition():
    _, verdicts = run([(subtask, float(k)) for k, subtask in enumerate("aaaabbbbccccaaaaccccbbbb")])
    assert set(verdicts) == {ON}


def test_what_says_that_nothing_is_left_may_last_and_may_not_come_and_go():
    _, verdicts = run([("a", 0.0), ("done", 5.0), ("done", 9999.0)])
    assert set(verdicts) == {ON}
    found, _ = run(each(["a", "done"] * 3))
    assert found.verdict is RETRY and found.repetition.subtasks == ("a", "done")


@pytest.mark.parametrize(
    ("off", "steps"), [("timeout", [("a", 0.0), ("a", 1e6)]), ("repeats", each("ab" * 30))], ids=["timeout", "repeats"]
)
def test_a_limit_of_zero_is_none(off, steps):
    assert set(run(steps, replace(LIMITS, **{off: 0}))[1]) == {ON}
    assert set(run(steps, LIMITS)[1]) > {ON}


def test_steps_of_long_ago_are_forgotten():
    found, _ = run(each([str(k) for k in range(STEPS_KEPT + 7)]))
    assert len(found.steps) == STEPS_KEPT and found.steps[0].subtask == "7"


@given(st.text("abc", max_size=40), st.integers(1, 3))
@example("ab" * 8, 3)
@example("cabcabcab", 2)
def test_any_sequence_is_noticed_exactly_when_the_text_ends_with_so_many_copies_of_it(text, repeats):
    """In texts of letters of which no two neighbours are equal; found by comparing copies."""
    text = "".join(letter for k, letter in enumerate(text) if k == 0 or letter != text[k - 1])
    limits = ProgressLimits(timeout=0.0, repeats=repeats, retries=len(text))
    _, verdicts = run(each(text), limits)
    start, expected = 0, []
    for end in range(1, len(text) + 1):
        seen = text[start:end]
        copies = any(seen.endswith(seen[len(seen) - n :] * (repeats + 1)) for n in range(2, len(seen) + 1))
        expected.append(RETRY if copies else ON)
        start = end if copies else start
    assert verdicts == expected
