"""The best motion of a channel, and the solver that is asked for one after the other."""

import numpy as np
import pytest

from pi0_ros.control.least_squares import (
    ChannelLimits,
    Solver,
    Solvers,
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


# --- what the problem is, in scalars --------------------------------------------------------------------------------


def simulated(y, start, step):
    """Value, velocity and acceleration at each knot of one channel, a piece of constant jerk after the other."""
    (x, v, a), found = start, []
    for jerk in (one / step**3 for one in y):
        x += v * step + a * step**2 / 2.0 + jerk * step**3 / 6.0
        v += a * step + jerk * step**2 / 2.0
        a += jerk * step
        found.append((x, v, a))
    return np.array(found).T


def test_the_states_at_the_knots_are_those_of_constant_jerks_between_them():
    rng = np.random.default_rng(5)
    y, start = rng.normal(0.0, 1e-3, (7, 2)), rng.normal(0.0, 0.5, (3, 2))
    found = states_of(make_problem(7, 0.04, 5), y, start)
    for i in (0, 1):
        np.testing.assert_allclose(found[:, :, i], simulated(y[:, i], start[:, i], 0.04), atol=1e-12)


@pytest.mark.parametrize(("weighted", "smoothing"), [(9, {}), (6, {}), (6, {"smoothing": 0.11})])
def test_no_motion_that_ends_at_rest_is_nearer_to_its_targets_for_so_much_jerk(weighted, smoothing):
    """sum of squares of what is off at the first `weighted` knots, and (T / step)^6 of each y^2; T is 43 ms."""
    count, step, rng = 9, 0.05, np.random.default_rng(6)
    wanted, start = rng.normal(0.0, 0.1, (count, 2)), rng.normal(0.0, 0.5, (3, 2))
    found = without_limits(make_problem(count, step, weighted, **smoothing), wanted, start)
    price = (smoothing.get("smoothing", 0.043) / step) ** 6
    ends = np.stack([simulated(one, (0.0, 0.0, 0.0), step)[1:, -1] for one in np.eye(count)], axis=1)
    ways = np.linalg.svd(ends)[2][2:]  # motions that end as they began
    for i in (0, 1):

        def cost(y, i=i):
            off = simulated(y, start[:, i], step)[0] - wanted[:, i]
            return float(np.sum(off[:weighted] ** 2) + price * np.sum(y**2))

        assert np.abs(simulated(found[:, i], start[:, i], step)[1:, -1]).max() < 1e-9
        slopes = [cost(found[:, i] + way) - cost(found[:, i] - way) for way in ways]
        assert len(ways) == count - 2 and np.abs(slopes).max() < 1e-8
        assert cost(found[:, i] + ways[0]) - cost(found[:, i]) > 1e-3


@pytest.mark.parametrize("side", [1.0, -1.0])
@pytest.mark.parametrize("key", ["speed", "acceleration", "jerk", "place"])
def test_each_limit_is_reached_on_either_side_by_a_motion_that_begins_with_a_speed_and_a_turn(side, key):
    """The bound of a speed or place is another one at every knot, and never that of the other side."""
    problem, k = make_problem(COUNT, STEP, COUNT), np.arange(COUNT)
    start = side * np.array([[0.05], [0.12], [-0.8]])
    wanted = side * (0.05 + 0.2 * np.sin(np.pi * k / COUNT) ** 2)[:, None]
    bound, reached = limits(*WIDE), None
    if key == "speed":
        near, far = (0.3 + 0.004 * k)[:, None], (0.9 - 0.01 * k)[:, None]
        bound = bound._replace(**dict(zip(("velocity", "backward"), (near, far)[:: int(side)], strict=True)))
        reached = lambda x, v, a, u: (side * v - near[:, 0]).max()
    elif key == "place":
        near, far = (0.2 - 0.001 * k)[:, None], (0.7 + 0.01 * k)[:, None]
        high, low = (near, -far) if side > 0.0 else (far, -near)
        bound = bound._replace(high=high, low=low)
        reached = lambda x, v, a, u: (side * x - near[:, 0]).max()
    elif key == "acceleration":
        bound = bound._replace(acceleration=np.array([2.3]))
        reached = lambda x, v, a, u: np.abs(a).max() - 2.3
    else:
        bound = bound._replace(jerk=np.array([21.0]))
        reached = lambda x, v, a, u: np.abs(u).max() - 21.0
    found = within_limits(problem, wanted, start, bound, STEP)
    states = simulated(found[:, 0], start[:, 0], STEP)
    assert reached(*states, found[:, 0] / STEP**3) == pytest.approx(0.0, abs=1e-8)
    assert np.abs(states[1:, -1]).max() < 1e-6


@pytest.mark.parametrize("slack", [0.0, 1e-3])
@pytest.mark.parametrize("side", [1.0, -1.0])
@pytest.mark.parametrize(("key", "order"), [("place", 0), ("speed", 1), ("turn", 2), ("jerk", 3)])
def test_a_channel_is_inside_up_to_its_own_bound_at_each_knot(slack, side, key, order):
    """Bounds of three channels at four knots, all different; a share more may be allowed, of places a tenth of it in metres."""
    knot, i, step = 2, 1, 0.1
    rows = lambda least: least + 0.1 * np.arange(4.0)[:, None] + np.arange(3.0)
    bounds = ChannelLimits(rows(1.0), rows(1.5), np.array([4.0, 5.0, 6.0]), np.array([50.0, 60.0, 70.0]), -rows(2.0), rows(2.7))  # fmt: skip
    most = {"place": (3.9, 3.2), "speed": (2.2, 2.7), "turn": (5.0, 5.0), "jerk": (60.0, 60.0)}[key][side < 0.0]
    edge = most + 0.1 * slack if key == "place" else most * (1.0 + slack)
    for off, kept in ((-1e-6, True), (1e-6, False)):
        all_of = np.zeros((4, 4, 3))
        all_of[order, knot, i] = side * (edge + off) * (step**3 if key == "jerk" else 1.0)
        assert keeps(all_of[:3], all_of[3], bounds, step, *([slack] if slack else [])).tolist() == [True, kept, True]


@pytest.mark.parametrize(("beyond", "kept"), [(5e-10, True), (1.5e-9, False)])
def test_a_speed_that_may_be_none_backwards_may_be_one_of_rounding(beyond, kept):
    bound, states = limits(0.5, 0.0, 9.0, 9.0), np.zeros((3, COUNT, 1))
    states[1, 7] = -beyond
    assert keeps(states, np.zeros((COUNT, 1)), bound, STEP).tolist() == [kept]


def test_problems_that_take_turns_are_each_solved_as_they_are():
    """Of one size, so that the one could be taken for the other."""
    rng, start = np.random.default_rng(8), np.array([[0.1], [0.3], [-2.0]])
    problems = [(make_problem(COUNT, step, WEIGHTED), step) for step in (0.02, 0.05, 0.02, 0.03, 0.05)]
    for problem, step in problems:
        wanted = target(rng)
        found = within_limits(problem, wanted, start, limits(*WIDE), step)
        assert found == pytest.approx(without_limits(problem, wanted, start), abs=1e-9)


@pytest.mark.parametrize("much", [1e-4, 1e-6, 1e-7])
def test_a_limit_that_is_hardly_passed_is_kept_as_well(much):
    """A plan may be off its limits by a millionth of them; what the solver leaves has to be less."""
    problem, start = make_problem(COUNT, STEP, COUNT), np.zeros((3, 1))
    wanted = 0.2 * np.sin(np.pi * np.arange(COUNT) / COUNT)[:, None] ** 2
    free = states_of(problem, without_limits(problem, wanted, start), start)
    for row, key in ((0, "high"), (1, "velocity"), (2, "acceleration")):
        size = np.abs if key == "acceleration" else np.asarray  # only a turn has one bound for both ways
        most = size(free[row]).max()
        bound = limits(*WIDE)
        bound = bound._replace(**{key: np.full(getattr(bound, key).shape, most * (1.0 - much))})
        found = within_limits(problem, wanted, start, bound, STEP)
        reached = size(simulated(found[:, 0], (0.0, 0.0, 0.0), STEP)[row])
        assert reached.max() / most == pytest.approx(1.0 - much, abs=2e-9)


def test_the_bounds_of_one_channel_are_its_columns():
    rows = np.arange(6.0).reshape(2, 3)
    alone = ChannelLimits(rows, rows + 10, rows[0] + 20, rows[0] + 30, rows + 40, rows + 50).channel(1)
    assert [part.tolist() for part in alone] == [
        [[1.0], [4.0]], [[11.0], [14.0]], [21.0], [31.0], [[41.0], [44.0]], [[51.0], [54.0]],
    ]  # fmt: skip


def test_bounds_that_leave_no_motion_have_no_answer_and_one_that_was_not_a_number_keeps_no_limit():
    problem, start = make_problem(COUNT, STEP, COUNT), np.array([[0.0], [0.5], [0.0]])
    assert within_limits(problem, np.zeros((COUNT, 1)), start, limits(*WIDE, high=0.2), STEP) is not None
    assert within_limits(problem, np.zeros((COUNT, 1)), start, limits(*WIDE, high=1e-4), STEP) is None
    answer = np.full((COUNT, 1), np.nan)
    assert not keeps(states_of(problem, answer, start), answer, limits(*WIDE), STEP, 1e-6).any()


def test_the_solvers_of_the_last_sixteen_problems_are_kept():
    """A solver takes four fifths of the work of a plan to be made."""
    problems, solvers = [make_problem(3 + k, 0.05, 3) for k in range(16)], Solvers()
    made = [solvers.of(problem) for problem in problems]
    assert [solvers.of(problem) for problem in problems] == made and len(set(map(id, made))) == 16
    another = make_problem(30, 0.05, 3)
    newest = solvers.of(another)
    assert [solvers.of(problem) for problem in (*problems[1:], another)] == [*made[1:], newest]
    assert solvers.of(problems[0]) is not made[0]
