"""The best motion of a channel, and the solver that is asked for one after the other."""

import numpy as np
import pytest

from pi0_ros.control.least_squares import (
    ChannelLimits,
    Solver,
    keeps,
    make_problem,
    states_of,
    within_limits,
    without_limits,
)

COUNT, STEP, WEIGHTED = 40, 0.02, 30
WIDE = (9.0, 9.0, 90.0, 9e5)  # velocity up and down, acceleration, jerk


def limits(forward, backward, acceleration, jerk, low=-9.0, high=9.0):
    rows = (np.full((COUNT, 1), value) for value in (forward, backward, low, high))
    up, down, lowest, highest = rows
    return ChannelLimits(up, down, np.array([acceleration]), np.array([jerk]), lowest, highest)


def target(rng):
    return np.cumsum(rng.normal(0.0, 0.01, (COUNT, 1)), axis=0)


def test_where_no_limit_is_met_the_answer_is_that_of_the_problem_without_limits():
    problem, wanted, start = (
        make_problem(COUNT, STEP, WEIGHTED),
        target(np.random.default_rng(1)),
        np.array([[0.1], [0.3], [-2.0]]),
    )
    free = without_limits(problem, wanted, start)
    found = within_limits(problem, wanted, start, limits(*WIDE), STEP)
    assert found == pytest.approx(free, abs=1e-9)
    assert keeps(states_of(problem, found, start), found, limits(*WIDE), STEP).all()


@pytest.mark.parametrize(
    ("bound", "reached"),
    [
        (limits(0.4, 0.7, 90.0, 9e5), lambda x, v, a: v.max() == pytest.approx(0.4) and v.min() >= -0.7 - 1e-6),
        (limits(0.7, 0.2, 90.0, 9e5), lambda x, v, a: v.min() == pytest.approx(-0.2, abs=1e-6)),
        (limits(9.0, 9.0, 3.0, 9e5), lambda x, v, a: np.abs(a).max() == pytest.approx(3.0)),
        (limits(9.0, 9.0, 90.0, 9e5, high=0.03), lambda x, v, a: x.max() == pytest.approx(0.03)),
    ],
)
def test_each_limit_is_reached_and_kept(bound, reached):
    problem, start = make_problem(COUNT, STEP, WEIGHTED), np.zeros((3, 1))
    k = np.arange(COUNT)[:, None]
    wanted = 0.1 * np.sin(0.25 * k) * (k < 2 * np.pi / 0.25)
    found = within_limits(problem, wanted, start, bound, STEP)
    states = states_of(problem, found, start)
    assert keeps(states, found, bound, STEP, 1e-6).all() and reached(*states[:, :, 0])
    assert np.abs(states[1:, -1]).max() < 1e-6, "at rest at the end"


def test_no_answer_depends_on_what_was_asked_before_impossible_and_broken_questions_among_it():
    problem, rng = make_problem(COUNT, STEP, WEIGHTED), np.random.default_rng(3)
    size = COUNT + len(problem.table)

    def question():
        upper, lower = rng.uniform(0.01, 1.0, size), rng.uniform(-1.0, -0.01, size)
        upper[-2:] = lower[-2:] = 0.0
        return rng.normal(0.0, 1e-4, COUNT), upper, lower

    asked = [question() for _ in range(12)]
    alone = [Solver(problem).solve(*each) for each in asked]
    one = Solver(problem)
    for linear, upper, lower in asked:
        assert one.solve(linear, lower - 1.0, lower) is None, "nothing is between a bound and less than it"
        impossible = np.where(np.arange(size) < COUNT, 1e-12, upper), np.where(np.arange(size) < COUNT, -1e-12, lower)
        impossible[0][-2:] = impossible[1][-2:] = 1.0
        assert one.solve(linear, *impossible) is None
    again = [one.solve(*each) for each in reversed(asked)][::-1]
    for first, second in zip(alone, again, strict=True):
        assert second == pytest.approx(first, abs=1e-12)


@pytest.mark.parametrize("where", ["target", "start", "bound"])
def test_what_is_not_finite_has_no_answer_and_spoils_none_after_it(where):
    problem, wanted, start, bound = (
        make_problem(COUNT, STEP, WEIGHTED),
        target(np.random.default_rng(2)),
        np.zeros((3, 1)),
        limits(0.3, 0.2, 3.0, 60.0),
    )
    right = within_limits(problem, wanted, start, bound, STEP)
    bad_target, bad_start, bad_bound = wanted.copy(), start.copy(), bound
    if where == "target":
        bad_target[7] = np.nan
    elif where == "start":
        bad_start[1] = np.inf
    else:
        bad_bound = bound._replace(high=np.full((COUNT, 1), np.nan))
    assert within_limits(problem, bad_target, bad_start, bad_bound, STEP) is None
    assert within_limits(problem, wanted, start, bound, STEP) == pytest.approx(right, abs=1e-12)
