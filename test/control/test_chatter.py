"""A gripper that a policy opens and closes many times a second is held still; one that is moved on purpose is followed exactly."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from story import make_robot
from test_motion import AT_ONCE, Policy, commands, ready

from pi0_ros.control.chatter import SteadyGrip, SteadyGrips

GRIP, PERIOD = "left_gripper", 0.02


def turns(values):
    """How often a signal turns back."""
    ways = np.sign(np.diff(values)[np.abs(np.diff(values)) > 1e-4])
    return int(np.sum(np.diff(ways) != 0))


def hovering(around, rng, sigma=0.08):
    """A policy without a threshold that cannot decide, from row to row."""
    return lambda t, s: {GRIP: float(np.clip(around(t) + rng.normal(0.0, sigma), 0.0, 1.0))}


def test_a_gripper_that_hovers_is_held_in_the_middle_and_the_way_out_is_said_once():
    story = ready(AT_ONCE, {GRIP: 1.0})
    story.run(8.0, Policy(hovering(lambda t: 0.5, np.random.default_rng(0)), 1.0 / 15.0, 15, 0.1))
    times, grip = commands(story, GRIP, 150)
    assert turns(grip) / (times[-1] - times[0]) < 1.0, "six times a second where every row is followed"
    assert grip.min() > 0.4 and grip.max() < 0.6
    said = [e.text for s in story.steps for e in s.events if e.name == "gripper"]
    assert len(said) == 1 and GRIP in said[0] and "set threshold" in said[0]


@pytest.mark.parametrize("opening", [0.0, 1.0])
def test_a_gripper_that_hovers_closes_and_opens_when_it_is_meant(opening):
    story = ready(AT_ONCE, {GRIP: 0.5})
    change = story.ros + 4.0
    around = lambda t: 0.5 if t < change else opening
    story.run(6.0, Policy(hovering(around, np.random.default_rng(3)), 1.0 / 15.0, 15, 0.1, every=0.2))
    times, grip = commands(story, GRIP)
    late = times > change + 0.8  # a gripper takes 0.5 s for its stroke
    assert np.max(np.abs(grip[late] - opening)) < 0.2


@given(
    st.lists(st.floats(0.0, 1.0), min_size=2, max_size=12),
    st.lists(st.floats(0.34, 1.5), min_size=12, max_size=12),
)
@example(
    [0.0] * 6 + [0.125, 0.0, 1.0, 0.0, 1.0], [1.0] * 6 + [0.375, 0.34375, 0.34375, 1.0, 1.0, 1.0]
)  # one of them slow
def test_what_turns_back_three_times_a_second_or_less_is_followed_exactly(levels, times):
    knots = np.cumsum([0.0, *times[: len(levels) - 1]])
    goals = np.interp(np.arange(0.0, knots[-1], PERIOD), knots, levels)
    grip = SteadyGrip(PERIOD, float(goals[0]))
    assert [grip.follow(float(goal)) for goal in goals] == goals.tolist()
    assert not grip.chatters


@given(st.lists(st.floats(0.0, 1.0), min_size=50, max_size=300))
def test_whatever_is_asked_for_a_gripper_is_held_within_what_was_asked_for_lately(goals):
    grip = SteadyGrip(PERIOD, goals[0])
    for k, goal in enumerate(goals):
        lately = [goals[0], *goals[max(0, k - 199) : k + 1]]
        assert min(lately) <= grip.follow(goal) <= max(lately)


def test_open_and_closed_in_turn_is_one_of_both_and_not_half_open():
    grip = SteadyGrip(PERIOD, 0.0)
    held = [grip.follow(float((k // 5) % 2)) for k in range(200)]
    assert set(held[50:]) <= {0.0, 1.0} and turns(held[50:]) == 0


def test_after_it_has_chattered_what_is_asked_for_is_reached_within_the_second():
    rng, grip = np.random.default_rng(5), SteadyGrip(PERIOD, 0.5)
    for k in range(200):
        grip.follow(0.5 + 0.1 * (-1.0) ** (k // 5) + float(rng.normal(0.0, 0.01)))
    assert grip.chatters
    held = [grip.follow(0.62) for _ in range(60)]
    assert held[51] == 0.62 and not grip.chatters


def test_what_one_policy_did_says_nothing_about_the_next():
    robot = make_robot()
    grips, column = SteadyGrips(robot, PERIOD), robot.index[GRIP]
    states = np.zeros((3, len(robot.channels)))
    for k in range(100):
        states[0, column] = 0.2 if (k // 5) % 2 else 0.8
        grips.steady(states)
    assert GRIP in grips.sentence
    grips.forget()
    assert grips.steady(states) is states and not grips.sentence


def test_a_person_who_takes_over_ends_the_chatter():
    story = ready(AT_ONCE, {GRIP: 0.5})
    policy = Policy(hovering(lambda t: 0.5, np.random.default_rng(0)), 1.0 / 15.0, 15, 0.1)
    story.run(3.0, policy)
    assert "gripper" in story.names()
    assert story.ask("hold").ok
    story.run(0.1)
    assert story.ask("autonomy").ok
    before = len(story.steps)
    story.run(0.5, Policy(lambda t, s: {GRIP: 0.4}, 1.0 / 15.0, 15, 0.0))
    assert story.at(GRIP) == pytest.approx(0.4, abs=1e-6)
    assert not any(e.name == "gripper" for s in story.steps[before:] for e in s.events)


@pytest.mark.parametrize(("low", "high"), [(2, 3), (3, 2)])
def test_the_middle_of_what_is_asked_for_is_what_half_of_the_goals_are_below(low, high):
    """Two fifths of the time at one opening and three fifths at the other: the middle is where it is for longer."""
    grip = SteadyGrip(PERIOD, 0.2)
    held = [grip.follow(0.2 if k % 5 < low else 0.8) for k in range(200)]
    assert grip.chatters and set(held[50:]) == {0.8 if high > low else 0.2}


def test_a_middle_that_moves_a_little_moves_no_gripper_and_the_first_time_it_goes_there():
    """The middle wanders by a few hundredths, as the swings do not fit the time that is looked at; 0.4 of 1.25 swings are 0.1."""
    grip = SteadyGrip(PERIOD, 0.5)
    goals = 0.5 + 0.1 * np.sin(2.0 * np.pi * np.arange(300) / 13.7) + 0.02 * np.sin(np.arange(300))
    held, began, middles = [], None, []
    for k, goal in enumerate(goals):
        held.append(grip.follow(float(goal)))
        began = k if grip.chatters and began is None else began
        middles.append(sorted(np.append(0.5, goals)[max(0, k - 18) : k + 2])[10] if k > 20 else None)
    assert 20 < began < 60 and held[began] == middles[began]
    assert set(held[began:]) == {held[began]} and np.ptp(middles[began:]) > 0.03


EXACT = 1.0 / 64.0  # [s] without rounding, of which 0.4 s are 26


def told(goals):
    """Which turns a gripper makes in place of `goals` a 64th of a second apart, and in which periods it chatters.

    It turns back where it goes the other way by 0.03 or more; a turn counts for a second, and is as large as the way since the one
    before. Four are chatter, until fewer than two are left. Then the middle of the newest 0.4 s of goals is followed, and left
    only by 0.4 of 1.25 times the largest turn; a goal that is 1.25 times as far away as that one is meant.
    """
    last = top = goals[0]
    up, when, turns, held, found, chatters = 0, 0.0, [], goals[0], [], False
    for k, goal in enumerate(goals[1:], 1):
        if up and (goal - top) * up > 0.0:
            top, when = goal, k * EXACT
        elif abs(goal - top) >= 0.03:
            turns += [(when, abs(top - last))] if up else []
            last = top if up else last
            top, when, up = goal, k * EXACT, np.sign(goal - top)
        lately = [size for at, size in turns if at >= k * EXACT - 1.0]
        before, chatters = chatters, len(lately) >= (2 if chatters else 4)
        middle = sorted(goals[max(0, k - 25) : k + 1])[min(26, k + 1) // 2]
        if not chatters or abs(goal - held) > 1.25 * max(lately):
            held = goal
        elif not before or abs(middle - held) > 0.4 * 1.25 * max(lately):
            held = middle
        found.append((held, chatters))
    return found


@pytest.mark.parametrize("seed", range(6))
def test_what_a_gripper_follows_is_told_by_its_turns_their_size_and_the_middle_of_its_goals(seed):
    """Still, to and fro by a lot and by less, drifting to either side, a jump, and still again; each for about a second."""
    rng, goals, at = np.random.default_rng(seed), [], 0.5
    for size, drift in (
        (0.0, 0.0),
        (0.2, 0.0),
        (0.05, -0.1),
        (0.02, 0.3),
        (0.3, 0.1),
        (0.1, -0.3),
        (0.0, 0.0),
        (0.12, 0.2),
    ):
        wait = int(rng.integers(2, 9))
        for k in range(int(rng.integers(40, 70))):
            goals.append(float(np.clip(at + drift * k * EXACT + size * (-1.0) ** (k // wait) + rng.normal(0.0, 0.1 * size), 0.0, 1.0)))  # fmt: skip
        at = float(rng.uniform(0.2, 0.8))
    grip, found = SteadyGrip(EXACT, goals[0]), []
    for goal in goals[1:]:
        found.append((grip.follow(goal), grip.chatters))
    assert found == told(goals)
    assert 0.2 < np.mean([chatters for _, chatters in found]) < 0.9


def test_grippers_are_held_each_for_itself_and_no_other_channel_and_no_plan_is_written_into():
    robot = make_robot()
    grips, columns = SteadyGrips(robot, PERIOD), [robot.index["left_gripper"], robot.index["right_gripper"]]
    alone = [SteadyGrip(PERIOD, first) for first in (0.8, 0.7)]
    assert grips.sentence == ""
    for k in range(80):
        plan = np.full((3, len(robot.channels)), 0.01 * k)
        plan[0] = 0.8 if (k // 5) % 2 == 0 else 0.2  # arms that turn as often
        plan[0, columns[1]] = 0.7 if (k // 4) % 2 == 0 or k < 40 else 0.3
        wanted = plan.copy()
        for column, grip in zip(columns, alone, strict=True):
            wanted[0, column] = grip.follow(float(plan[0, column]))
        given = plan.copy()
        steady = grips.steady(given)
        np.testing.assert_array_equal(steady, wanted)
        np.testing.assert_array_equal(given, plan)
        assert (steady is given) is bool((wanted == plan).all())
        named = [n for n, grip in zip(("left_gripper", "right_gripper"), alone, strict=True) if grip.chatters]
        assert (named[0] in grips.sentence) if named else grips.sentence == ""
    assert all(grip.chatters for grip in alone)


def test_a_gripper_that_is_asked_for_once_a_second_never_chatters():
    grip = SteadyGrip(1.0, 0.0)
    assert [grip.follow(float(k % 2)) for k in range(1, 30)] == [float(k % 2) for k in range(1, 30)]
