"""Where a plan can begin that takes its time to be made, and which paths are too fast for the robot."""

from types import SimpleNamespace

import numpy as np
import pytest
from story import make_robot, middle

from pi0_ros.control import ExecutorSettings
from pi0_ros.control.joining import Join
from pi0_ros.control.least_squares import make_problem
from pi0_ros.control.path_clock import smoother
from pi0_ros.control.plan_maker import PlanMaker
from pi0_ros.control.plan_making import AtOnce
from pi0_ros.control.row_path import make_path
from pi0_ros.control.running_plan import Running
from pi0_ros.robot.spec import Kind

ROBOT = make_robot()
ARM, WIDTH, PERIOD = ROBOT.index["left_joint2"], len(ROBOT.channels), 0.02
SPEED = ROBOT.channels[ARM].limits.velocity


class Busy(AtOnce):
    """Makes plans that can begin so many periods after the next command."""

    def __init__(self, lead):
        self.lead = lead

    def periods(self):
        return self.lead


def maker(lead=0, **settings):
    return PlanMaker(ROBOT, ExecutorSettings(**settings), PERIOD, Busy(lead))


def running(index, count=10):
    """A plan of `count` commands, of which `index` was the last that was sent."""
    states = np.arange(count, dtype=float)[:, None, None] * np.ones((count, 3, WIDTH))
    request = SimpleNamespace(state=np.full((3, WIDTH), -7.0))
    return Running(None, SimpleNamespace(states=states, request=request), 0.0, index)


COMMAND = np.full((3, WIDTH), 0.3)


@pytest.mark.parametrize(("lead", "again", "periods"), [(0, 0, 0), (3, 0, 3), (0, 1, 1), (3, 1, 3), (0, 2, 2), (3, 2, 4), (1, 4, 4)])  # fmt: skip
def test_from_a_standstill_it_begins_from_the_command_as_much_later_as_it_takes(lead, again, periods):
    for old in (None, running(9)):
        start = maker(lead).start(old, 100.0, COMMAND, again)
        assert start.join == -1 and start.state is COMMAND
        assert (start.time, start.first) == pytest.approx((100.0 + 0.02 * periods, 100.02 + 0.02 * periods))


@pytest.mark.parametrize(
    ("index", "lead", "join"),
    [(2, 0, 2), (2, 3, 5), (7, 3, 9), (8, 5, 9), (-1, 0, -1), (-1, 1, 0), (0, 0, 0), (-1, 2, 1)],
)
def test_from_a_plan_it_begins_from_one_of_its_commands_at_the_latest_from_its_last(index, lead, join):
    start = maker(lead).start(running(index), 100.0, COMMAND)
    assert start.join == join
    assert start.state[0, 0] == (join if join >= 0 else -7.0)
    ahead = 0.02 * (join - index)
    assert (start.time, start.first) == pytest.approx((100.0 + ahead, 100.0 + ahead + 0.02))


def swing(fastest):
    """A path along which one joint swings by 0.4 rad to either side, at most at so many times its velocity limit."""
    rows = np.tile(middle(ROBOT), (120, 1))
    rows[:, ARM] += 0.4 * np.sin(fastest * SPEED / 0.4 * 0.02 * np.arange(120))
    kinds = tuple(c.kind for c in ROBOT.channels)
    limits = np.array([c.limits.velocity for c in ROBOT.channels])
    return make_path(100.0, 0.02, rows, kinds, limits, 4.0 * np.ones(WIDTH))


def submitted(made, path, scales=lambda times: np.ones(len(times))):
    state = np.zeros((3, WIDTH))
    state[0] = path.rows[0]
    start = made.start(None, 100.0, state)
    return made.submit("the chunk", Join(path, 100.0, 0.0, np.full(WIDTH, 0.25)), start, scales)


def test_a_path_that_asks_for_little_is_made_and_nothing_is_said_of_it():
    made = maker()
    coming, refusal = submitted(made, swing(0.3))
    assert (refusal, made.slowed, coming.chunk, coming.late) == ("", "", "the chunk", 0)
    assert (coming.start.join, coming.joined.gap[3], coming.joined.begin) == (-1, 0.25, 100.0)
    assert coming.start.first == pytest.approx(100.02) and coming.work.done()
    assert coming.work.result().path is coming.joined.path


def test_a_plan_that_is_made_once_more_is_the_same_one_and_counts_how_often_and_none_where_it_is_too_fast():
    made = maker(slow_down=2.0)
    path, shares = swing(0.3), np.full(made.grid.count, 0.7)
    state = np.zeros((3, WIDTH))
    state[0] = path.rows[0]
    start, joined = made.start(None, 100.0, state), Join(path, 100.0, 0.0, np.zeros(WIDTH))
    first, _ = made.submit("the chunk", joined, start, lambda times: shares)
    again = made.renew("the chunk", joined, start, shares, 3)
    asked = made.renew("the chunk", joined, start, lambda times: np.full(len(times), 0.7))
    assert (again.late, asked.late, again.chunk, again.joined, again.start) == (3, 0, "the chunk", joined, start)
    for each in (again, asked):
        np.testing.assert_array_equal(each.work.result().states, first.work.result().states)
        np.testing.assert_array_equal(each.shares, shares)
    made.slowed = "as before"
    fast = made.renew("the chunk", joined._replace(path=swing(3.0)), start, np.ones(made.grid.count))
    assert fast.work.result() is None and made.slowed == "as before"


def test_a_path_that_is_a_little_too_fast_is_slowed_and_one_far_too_fast_refused_each_with_joint_and_number():
    made = maker(slow_down=2.0)
    coming, refusal = submitted(made, swing(1.0))
    assert coming is not None and refusal == ""
    assert made.slowed.startswith("slowed 1.") and "left_joint2 would need" in made.slowed
    made.forget()
    assert made.slowed == ""
    coming, refusal = submitted(made, swing(3.0))
    assert coming is None and made.slowed == ""
    assert (
        refusal.startswith("too fast for the robot: left_joint2 would need") and "it would have to be slowed" in refusal
    )


def test_shares_of_the_speed_are_asked_for_at_the_times_of_the_knots():
    made, asked = maker(), []
    coming, _ = submitted(made, swing(0.3), lambda times: asked.append(times) or np.full(len(times), 0.5))
    np.testing.assert_allclose(asked[0], 100.0 + made.grid.step * np.arange(1, made.grid.count + 1))
    np.testing.assert_array_equal(coming.shares, 0.5)
    np.testing.assert_array_equal(coming.work.result().request.scales, 0.5)


@pytest.mark.parametrize("rate", [100.0, 200.0])
def test_between_the_knots_of_a_plan_the_commands_are_those_of_a_constant_jerk(rate):
    """At these rates a knot has several commands; each follows from the one before by integration, and keeps the limits."""
    period = 1.0 / rate
    made = PlanMaker(ROBOT, ExecutorSettings(), period, AtOnce())
    parts = made.grid.parts
    assert parts > 1
    state = np.zeros((3, WIDTH))
    state[0] = middle(ROBOT)
    path = swing(0.3)
    coming, _ = made.submit(
        "the chunk", Join(path, 100.0, 0.0, np.zeros(WIDTH)), made.start(None, 100.0, state), lambda t: np.ones(len(t))
    )
    plan = coming.work.result()
    arms = [i for i, c in enumerate(ROBOT.channels) if c.kind is Kind.POSITION]
    x, v, a = np.concatenate([state[None], plan.states])[:, :, arms].transpose(1, 0, 2)
    jerk = np.diff(a, axis=0) / period
    np.testing.assert_allclose(np.diff(v, axis=0), (a[:-1] + jerk * period / 2.0) * period, atol=2e-6)
    np.testing.assert_allclose(
        np.diff(x, axis=0), (v[:-1] + (a[:-1] / 2.0 + jerk * period / 6.0) * period) * period, atol=2e-8
    )
    pieces = jerk.reshape(-1, parts, len(arms))
    np.testing.assert_allclose(pieces, np.repeat(pieces[:, :1], parts, axis=1), atol=1e-3)
    assert np.ptp(x[:, arms.index(ARM)]) > 0.3 and np.abs(np.diff(pieces[:, 0], axis=0)).max() > 1.0
    knots = plan.request.times.times
    at = knots[:-1, None] + np.diff(knots)[:, None] * np.arange(1, parts + 1) / parts
    np.testing.assert_allclose(plan.path_times, at.ravel(), atol=1e-9)
    np.testing.assert_allclose(np.diff(plan.path_times) / period, plan.rates[1:], atol=1e-6)
    # It begins at rest on a path that moves; when it has caught up, and before its last stop, it is on the rows.
    count = (made.grid.count - made.grid.tail) * parts
    off = np.abs(plan.states[:count, 0, ARM] - path.at(plan.path_times[:count])[:, ARM])
    assert off[count // 2 :].max() < 0.01 < off.max()


def test_all_that_a_plan_needs_beside_its_path_is_made_before_the_first_one_is_asked_for():
    """The first plan takes no longer than the others: also one that ends within what is looked at."""
    for cached in (make_problem, smoother):
        cached.cache_clear()
    made = maker()
    before = [cached.cache_info().misses for cached in (make_problem, smoother)]
    rows = np.tile(middle(ROBOT), (3, 1))
    kinds, ones = tuple(c.kind for c in ROBOT.channels), np.ones(WIDTH)
    for path in (swing(0.3), make_path(100.0, 0.05, rows, kinds, ones, ones)):
        assert submitted(made, path)[0].work.result() is not None
    assert [cached.cache_info().misses for cached in (make_problem, smoother)] == before


@pytest.mark.parametrize("side", [1.0, -1.0])
def test_a_base_drives_as_much_slower_as_the_path_is_run(side):
    """The lift is asked for 1.4 times its speed: the path is run at 0.7 of its rate, and so a base at 0.2 m/s at 0.14."""
    lift, base, count = ROBOT.index["lift"], ROBOT.index["base_vx"], 27
    fastest = ROBOT.channels[lift].limits
    rows = np.tile(middle(ROBOT), (count, 1))
    rows[:, lift] += 1.4 * fastest.velocity * 0.05 * (np.arange(count) - 0.5 * count)
    rows[:, base] = side * 0.2
    assert fastest.lower < rows[:, lift].min() and rows[:, lift].max() < fastest.upper
    kinds = tuple(c.kind for c in ROBOT.channels)
    limits = np.array([c.limits.velocity for c in ROBOT.channels])
    coming, refusal = submitted(maker(), make_path(100.0, 0.05, rows, kinds, limits, 4.0 * np.ones(WIDTH)))
    assert refusal == ""
    plan = coming.work.result()
    steady = slice(len(plan.states) // 3, len(plan.states) // 2)
    np.testing.assert_allclose(plan.rates[steady], 0.7, atol=0.04)
    np.testing.assert_allclose(plan.states[steady, 0, base], side * 0.2 * plan.rates[steady], atol=0.004)


@pytest.mark.parametrize("side", [1.0, -1.0])
def test_a_motion_of_two_millimetres_a_second_is_followed_too(side):
    """From knot to knot it is less than what counts as noise; where it ends says that it is meant."""
    lift = ROBOT.index["lift"]
    rows = np.tile(middle(ROBOT), (41, 1))
    rows[:, lift] += side * 0.002 * 0.05 * np.arange(41)
    kinds, ones = tuple(c.kind for c in ROBOT.channels), np.ones(WIDTH)
    made = maker()
    plan = submitted(made, make_path(100.0, 0.05, rows, kinds, ones, ones))[0].work.result()
    count = (made.grid.count - made.grid.tail) * made.grid.parts
    off = plan.states[:count, 0, lift] - plan.path.at(plan.path_times[:count])[:, lift]
    assert np.abs(off).max() < 2e-4 and abs(plan.states[count - 1, 0, lift] - rows[0, lift]) > 1e-3


def test_a_plan_says_where_its_rows_want_a_gripper_and_nothing_of_how_it_gets_there():
    """Also where the gripper moves when the plan begins: that is the limiter's."""
    grip = ROBOT.index["left_gripper"]
    path = swing(0.3)
    path.rows[:, grip] = np.where(np.arange(120) < 30, 0.9, 0.1)
    made, state = maker(), np.zeros((3, WIDTH))
    state[0], state[1, grip], state[2, grip] = path.rows[0], 0.7, -3.0
    start, ones = made.start(None, 100.0, state), lambda times: np.ones(len(times))
    plan = made.submit("the chunk", Join(path, 100.0, 0.0, np.zeros(WIDTH)), start, ones)[0].work.result()
    assert not plan.states[:, 1:, grip].any()
    np.testing.assert_array_equal(plan.states[:, 0, grip], np.where(plan.path_times < 100.6 - 1e-6, 0.9, 0.1))


def test_its_plans_have_knots_for_the_longest_stop_of_all_but_the_grippers():
    """A stop takes v / A + A / J, of the base's acceleration and jerk as of one derivative more."""
    made = maker()
    assert made.slowed == ""
    stops = []
    for group in ROBOT.groups:
        for m in (c.limits for c in group.channels):
            if group.kind is Kind.VELOCITY:
                stops.append(m.acceleration / m.jerk + m.jerk / (4.0 * m.jerk / PERIOD))
            elif group.kind is Kind.POSITION:
                stops.append(m.velocity / m.acceleration + m.acceleration / m.jerk)
    assert made.grid.tail == int(np.ceil(max(stops) / made.grid.step)) + 2
