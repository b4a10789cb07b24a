"""One group's command on its way to a goal: together or each alone, within unequal limits, and back inside them."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
from story import make_robot, middle

from pi0_ros.control.limiter import (
    GroupLimiter,
    Limiter,
    Motion,
    RuckigProblem,
    at_rest,
    goes_own_way,
    reachable_goal,
)
from pi0_ros.control.limits import Bounds, bounds_of
from pi0_ros.robot.spec import Kind

PERIOD = 0.01
ROBOT = make_robot()
BOUNDS = Bounds((-2.0, -1.5, -0.5), (2.5, 1.0, 0.8), (2.0, 1.2, 0.5), (8.0, 5.0, 3.0), (80.0, 60.0, 25.0))


def limiter(start=(0.1, -0.2, 0.3), bounds=BOUNDS, **more):
    made = GroupLimiter(bounds, PERIOD, **more)
    made.reset(start)
    return made


def alone(column):
    """The limits of one channel."""
    return Bounds(*((getattr(BOUNDS, n)[column],) for n in ("lower", "upper", "velocity", "acceleration", "jerk")))


def still(*values):
    """A goal [3, D] that stands."""
    return np.array([values, [0.0] * len(values), [0.0] * len(values)])


def way(of, goal, steps=600, **more):
    """Values, velocities and accelerations [n, 3, D] until it stands, and what each step said."""
    moved, said = [np.array(of.motion)], []
    for _ in range(steps):
        said.append(of.step(goal, **more))
        moved.append(np.array(of.motion))
        if of.motion.still and moved[-2][1:].any():
            break
    return np.array(moved), said


def within(moved, bounds=BOUNDS, share=1.0):
    """Every limit of every channel is kept, between the steps too."""
    v, a = np.abs(moved[:, 1]), np.abs(moved[:, 2])
    jerk = np.abs(np.diff(moved[:, 2], axis=0)) / PERIOD
    assert (v <= np.array(bounds.velocity) * share * (1 + 1e-6)).all()
    assert (a <= np.array(bounds.acceleration) * (1 + 1e-6)).all()
    assert (jerk <= np.array(bounds.jerk) * (1 + 1e-6)).all()


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_a_group_goes_straight_and_as_fast_as_the_channel_that_needs_longest(sign):
    start = np.array([0.1, -0.2, 0.3])
    goal = start + sign * np.array([0.9, -0.35, 0.25])
    moved, said = way(limiter(start), still(*goal))
    np.testing.assert_allclose(moved[-1, 0], goal, atol=1e-12)
    within(moved)
    share = (moved[:, 0] - start) / (goal - start)  # how far each channel is on its way
    np.testing.assert_allclose(share, share[:, :1] * np.ones(3), atol=1e-9)
    longest = max(len(way(limiter((start[k],), alone(k)), still(goal[k]))[0]) for k in range(3))
    assert longest <= len(moved) <= 1.35 * longest
    assert said[0] and not said[-1]


def test_channels_that_are_not_bound_to_a_line_each_take_the_time_that_they_need():
    start, goal = (0.1, -0.2, 0.3), (1.0, -0.25, 0.0)
    free, _ = way(limiter(start, together=False), still(*goal))
    within(free)
    for k in range(3):
        own, _ = way(limiter(start[k : k + 1], alone(k)), still(goal[k]))
        np.testing.assert_allclose(free[: len(own), 0, k], own[:, 0, 0], atol=2e-3)


def test_a_group_that_moves_across_its_way_turns_each_channel_as_fast_as_it_can():
    """One channel is already fast when the goal is put elsewhere: no line leads there."""
    of = limiter()
    for _ in range(30):
        of.step(still(2.0, -0.2, 0.3))
    assert of.motion.v[0] > 1.0 and of.motion.v[1] == 0.0
    moved, _ = way(of, still(0.9, 0.1, 0.3))
    within(moved)
    np.testing.assert_allclose(moved[-1, 0], [0.9, 0.1, 0.3], atol=1e-12)
    own, _ = way(limiter((-0.2,), alone(1)), still(0.1))
    np.testing.assert_allclose(moved[: len(own), 0, 1], own[:, 0, 0], atol=2e-3)


@pytest.mark.parametrize("share", [0.2, 0.6])
def test_a_share_of_the_speed_limits_is_the_speed_of_a_position_and_the_value_of_a_velocity(share):
    moved, _ = way(limiter(), still(2.0, -0.2, 0.3), scale=share)
    within(moved, share=share)
    assert np.abs(moved[:, 1, 0]).max() == pytest.approx(share * 2.0)
    speeds = limiter((0.0, 0.0, 0.0), driven=True)
    for _ in range(400):
        changed = speeds.step(still(2.0, -1.2, 0.1), scale=share)
    np.testing.assert_allclose(speeds.motion.x, [min(2.0, 2.5 * share), max(-1.2, -1.5 * share), 0.1], atol=1e-9)
    assert changed is (2.5 * share < 2.0 or -1.5 * share > -1.2)


def test_a_goal_outside_is_met_at_the_limit_and_that_is_said_as_long_as_it_lasts():
    of = limiter()
    moved, said = way(of, still(9.0, -0.2, -9.0), steps=800)
    np.testing.assert_allclose(moved[-1, 0], [2.5, -0.2, -0.5], atol=1e-12)
    assert all(said) and of.step(still(9.0, -0.2, -9.0))
    assert not of.step(still(2.5, -0.2, -0.5))


@pytest.mark.parametrize(("start", "goal"), [(2.7, 0.4), (-2.3, 0.4)])
def test_the_way_back_inside_is_slow_and_then_as_fast_as_ever(start, goal):
    of = limiter((start, -0.2, 0.3), recovery=0.05)
    outside, inside = [], []
    for _ in range(900):
        of.step(still(goal, -0.2, 0.3))
        (inside if -2.0 <= of.motion.x[0] <= 2.5 else outside).append(abs(of.motion.v[0]))
        if of.motion.still:
            break
    assert max(outside) == pytest.approx(0.05, abs=1e-6) and max(inside) > 1.0
    far = max(start - 2.5, -2.0 - start)
    assert len(outside) * PERIOD == pytest.approx(far / 0.05, abs=0.1)
    assert of.motion.x[0] == pytest.approx(goal)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_a_stop_keeps_the_line_of_the_motion_and_takes_the_time_that_its_slowest_channel_needs(sign):
    of = limiter()
    for _ in range(40):
        of.step(still(0.1 + sign * 1.6, -0.2 - sign * 0.8, 0.3 + sign * 0.35))
    began = np.array(of.motion.v)
    assert (np.abs(began) > 0.05).all()
    moved = [np.array(of.motion)]
    while of.brake():
        moved.append(np.array(of.motion))
    moved = np.array(moved)
    within(moved)
    gone = moved[-1, 0] - moved[0, 0]
    np.testing.assert_allclose(gone / gone[0], began / began[0], atol=0.02)
    assert not of.brake() and of.motion.still
    assert (moved[-1, 0] * sign > moved[0, 0] * sign).tolist() == [True, False, True]


def test_a_stop_at_a_limit_stays_inside_even_where_the_channels_have_to_part():
    of = limiter((2.2, -0.2, 0.3))
    for _ in range(22):
        of.step(still(2.5, 0.9, 0.3))
    while of.brake():
        assert of.motion.x[0] <= 2.5 + 1e-9
    assert of.motion.still


def test_a_gripper_that_is_late_for_a_jump_is_no_limit_at_work_and_one_beyond_its_ends_is():
    grip = GroupLimiter(Bounds((0.0,), (1.0,), (2.0,), (20.0,), (200.0,)), PERIOD, steps=True)
    grip.reset((0.2,))
    assert not grip.step(still(1.0))
    assert grip.step(still(1.5))
    assert limiter().step(still(1.0, -0.2, 0.3))  # an arm that is late for one is


def test_where_it_stands_at_its_goal_nothing_is_computed_and_nothing_is_said():
    of = limiter()
    before = of.motion
    assert not of.step(still(0.1, -0.2, 0.3)) and of.motion is before


@pytest.mark.parametrize("side", [1.0, -1.0])
def test_a_goal_that_moves_is_met_with_its_own_velocity_and_not_overshot(side):
    """It moves at 0.8 rad/s; met, the command is on it in every step."""
    of, goal, behind = limiter((0.0, 0.0, 0.0)), 0.0, []
    for k in range(150):
        goal = side * (0.2 + 0.8 * PERIOD * k)
        of.step(np.array([[goal, 0.0, 0.0], [side * 0.8, 0.0, 0.0], [0.0, 0.0, 0.0]]))
        behind.append(side * (goal - of.motion.x[0]))
    assert min(behind) > -1e-6 and np.abs(behind[-20:]).max() < 1e-6
    assert of.motion.v[0] == pytest.approx(side * 0.8)


LIMITS = (2.0, 8.0, 80.0)


@pytest.mark.parametrize(
    ("x", "v", "found"),
    [
        (0.3, 0.5, (0.3, 0.5)),
        (0.3, 1.9, (0.3, 1.8)),  # 0.9 of the speed limit, so that it can be reached
        (0.3, -1.9, (0.3, -1.8)),
        (3.0, -1.0, (2.5, 0.0)),
        (-3.0, 1.0, (-2.0, 0.0)),
        # From 1 rad/s a stop takes 0.5 (1 / 8 + 8 / 80) = 0.1125 rad.
        (2.385, 1.0, (2.385, 1.0)),
        (2.39, 1.0, (2.39, 0.0)),
        (2.39, -1.0, (2.39, -1.0)),
        (-1.885, -1.0, (-1.885, -1.0)),
        (-1.89, -1.0, (-1.89, 0.0)),
        (-1.89, 1.0, (-1.89, 1.0)),
    ],
)
def test_the_nearest_goal_that_can_be_stopped_inside(x, v, found):
    assert reachable_goal(x, v, -2.0, 2.5, LIMITS) == pytest.approx(found)


# --- all groups of a robot ---------------------------------------------------------------------------------------------


def test_of_a_robot_only_the_groups_that_are_told_to_move_do_each_with_its_own_share():
    robot = ROBOT
    whole, start = Limiter(robot, 0.02, 0.0175), middle(robot)
    start[[c.kind is Kind.VELOCITY for c in robot.channels]] = 0.0
    whole.reset(start)
    goal = np.array([start + 0.05, np.zeros(len(start)), np.zeros(len(start))])
    names = [g.name for g in robot.groups]
    moves, scales = [name != "right_arm" for name in names], [1.0] * len(names)
    scales[names.index("left_arm")] = 0.1
    changed = whole.step(goal, moves, scales)
    assert changed == sum(moves) - sum(g.kind is Kind.GRIPPER for g in robot.groups)
    for _ in range(400):
        whole.step(goal, moves, scales)
    for group, part, move in zip(robot.groups, whole.slices, moves, strict=True):
        np.testing.assert_allclose(whole.state[0, part], start[part] + 0.05 * move, atol=1e-9, err_msg=group.name)
    # 0.05 at 0.1 of the speed limit takes the left arm longer than anything else.
    whole.reset(start)
    for _ in range(8):
        whole.step(goal, moves, scales)
    arm = whole.slices[names.index("left_arm")]
    assert np.abs(whole.state[1, arm]).max() <= 0.1 * max(c.limits.velocity for c in robot.groups[0].channels) + 1e-9


@pytest.mark.parametrize("wrong", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("row", [0, 1, 2])
def test_a_number_that_is_not_finite_refuses_the_whole_command_and_nothing_has_moved(wrong, row):
    robot = ROBOT
    whole = Limiter(robot, 0.02, 0.0175)
    whole.reset(middle(robot))
    goal = np.array([middle(robot) + 0.1, np.zeros(18), np.zeros(18)])
    goal[row, 11] = wrong
    before = whole.state
    assert whole.step(goal, [True] * len(robot.groups), [1.0] * len(robot.groups)) is None
    assert whole.state is before


def test_after_a_plan_the_groups_go_on_from_where_it_has_led_them():
    robot = ROBOT
    whole, start = Limiter(robot, 0.02, 0.0175), middle(robot)
    start[[c.kind is Kind.VELOCITY for c in robot.channels]] = 0.0
    whole.reset(start)
    grip = robot.index["left_gripper"]
    state = np.array([start + 0.01, np.full(18, 0.02), np.zeros(18)])
    state[0, grip], state[1, grip] = 1.0, 0.0
    whole.follow(state, [1.0] * len(robot.groups))
    others = [i for i, c in enumerate(robot.channels) if c.kind is not Kind.GRIPPER]
    np.testing.assert_array_equal(whole.state[:, others], state[:, others])
    assert start[grip] < whole.state[0, grip] < 1.0  # a gripper only aims at it
    assert not whole.still
    whole.step(np.zeros((3, 18)), [False] * len(robot.groups), [1.0] * len(robot.groups))
    arm = robot.index["left_joint2"]
    assert whole.state[0, arm] == pytest.approx(start[arm] + 0.01 + 0.02 * 0.02, abs=2e-4)


@pytest.mark.parametrize("side", [1.0, -1.0])
@pytest.mark.parametrize(("room", "good"), [(4.35, True), (4.05, False), (2.0, False), (0.5, False)])
def test_a_state_is_taken_only_where_a_stop_from_it_stays_inside(side, room, good):
    """A slow and heavy axis: from 2 m/s a stop at 0.5 m/s^2 and 5 m/s^3 takes 2 (2 / 0.5 + 0.5 / 5) / 2 = 4.1 m."""
    heavy = limiter((0.0,), Bounds((-6.0,), (7.0,), (2.0,), (0.5,), (5.0,)))
    end = 7.0 if side > 0.0 else -6.0
    after = Motion((end - side * room,), (side * 2.0,), (0.0,))
    before = Motion((after.x[0] - side * 2.0 * PERIOD,), after.v, after.a)
    assert heavy._stoppable(before, after) is good
    assert heavy._stoppable(before, Motion(after.x, (side * -2.0,), after.a))  # away from the end


def test_where_there_is_no_way_to_a_goal_the_group_comes_to_rest(monkeypatch):
    of = limiter()
    for _ in range(20):
        of.step(still(1.0, -0.4, 0.5))
    fast, twin = np.array(of.motion.v), limiter()
    for _ in range(20):
        twin.step(still(1.0, -0.4, 0.5))
    assert (np.abs(fast) > 0.1).all()
    monkeypatch.setattr(of, "_towards", lambda *given: None)
    for _ in range(80):
        assert of.step(still(1.0, -0.4, 0.5))
        twin.brake()
        assert of.motion == twin.motion
    assert of.motion.still


def test_before_it_is_told_where_it_starts_nothing_moves():
    assert GroupLimiter(BOUNDS, PERIOD).motion.still and Limiter(ROBOT, 0.02, 0.0175).still


@pytest.mark.parametrize("column", [0, 2])
def test_a_goal_that_passes_by_where_the_group_stands_is_followed_if_only_one_channel_of_it_moves(column):
    of, goal = limiter(), still(0.1, -0.2, 0.3)
    goal[1, column] = 0.3
    of.step(goal)
    assert not of.motion.still and of.motion.v[column] > 0.0


def along(unit, far, goal_speed=0.0):
    """How far along a line with direction `unit` a single channel is after each period, whose limits are those of the channels
    by their shares of the line; to a goal `far` away."""
    share = np.abs(unit)
    own = [(float(min(np.array(getattr(BOUNDS, name)) / share)),) for name in ("velocity", "acceleration", "jerk")]
    one = GroupLimiter(Bounds((-99.0,), (99.0,), *own), PERIOD)
    one.reset((0.0,))
    return way(one, np.array([[far], [goal_speed], [0.0]]))[0][:, :, 0]


@pytest.mark.parametrize("way_to", [(0.9, -0.35, 0.25), (-1.2, -0.4, -0.1), (0.05, 0.3, 0.28), (-0.4, 0.2, -0.3)])
def test_on_its_line_a_group_moves_as_one_channel_whose_limits_are_the_least_of_the_channels_shares(way_to):
    start, far = np.array([0.1, -0.2, 0.3]), float(np.linalg.norm(way_to))
    unit = np.array(way_to) / far
    moved, _ = way(limiter(tuple(start)), still(*(start + way_to)))
    line = along(unit, far)
    assert len(moved) == len(line)
    np.testing.assert_allclose(moved[:-1, 0], start + line[:-1, :1] * unit, atol=1e-9)
    np.testing.assert_allclose(moved[:-1, 1], line[:-1, 1:2] * unit, atol=1e-8)
    np.testing.assert_allclose(moved[:-1, 2], line[:-1, 2:3] * unit, atol=1e-7)


@pytest.mark.parametrize("far", np.linspace(0.85, 2.0, 14).tolist())
def test_at_full_speed_nothing_brakes_for_a_rounding(far):
    moved, _ = way(limiter((-1.0, -0.2, 0.3)), still(-1.0 + far, -0.2 - 0.31 * far, 0.3 + 0.17 * far))
    speed, turn = moved[:, 1, 0], np.abs(moved[:, 2, 0])
    (fast,) = np.nonzero(speed > 2.0 - 1e-9)
    assert len(fast) >= 2 and (turn[fast[0] : fast[-1] + 1] < 1e-6).all()


def test_a_goal_further_along_the_line_changes_nothing_on_it_and_one_beside_it_parts_the_channels():
    start, unit = np.array([0.1, -0.2, 0.3]), np.array([0.8, -0.6, 0.0])
    of, moved = limiter(tuple(start)), []
    for k in range(60):
        of.step(still(*(start + unit * (0.5 if k < 10 else 1.1))))
        moved.append(of.motion.x)
    gone = (np.array(moved) - start) @ unit
    np.testing.assert_allclose(np.array(moved) - start, gone[:, None] * unit, atol=1e-9)
    parted = limiter(tuple(start))
    for k in range(30):
        parted.step(still(*(start + (unit if k < 10 else np.array([0.8, -0.3, 0.1])))))
    gone = np.array(parted.motion.x) - start
    assert np.linalg.norm(gone - unit * (gone @ unit)) > 1e-3


@pytest.mark.parametrize("side", [1.0, -1.0])
@pytest.mark.parametrize("row", [1, 2])
def test_a_channel_that_moves_or_turns_across_the_line_to_the_goal_goes_on_from_there(side, row):
    """0.3 rad/s take it 3 mrad further within the period, and 2 rad/s^2 0.1 mrad; with 60 rad/s^3 it turns by 0.01 mrad at most."""
    of, rows = limiter(), np.array([(0.1, -0.2, 0.3), (0.0, 0.0, 0.0), (0.0, 0.0, 0.0)])
    rows[row, 1] = side * (0.3 if row == 1 else 2.0)
    of.motion = Motion(*map(tuple, rows.tolist()))
    of.step(still(0.6, -0.2, 0.3))
    assert side * (of.motion.x[1] + 0.2) == pytest.approx(3e-3 if row == 1 else 1e-4, abs=1.1e-5)
    assert of.motion.v[0] > 0.0


@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize("side", [1.0, -1.0])
@pytest.mark.parametrize("speed", [0.8, -0.8])
def test_towards_a_goal_that_moves_the_speed_limits_are_those_of_the_robot_and_not_of_the_goal(side, speed, together):
    """2 rad/s, reached after 0.35 s, whichever way the goal goes meanwhile; and as far as it has come it is met."""
    of, goal, speeds = limiter((-side * 1.4, 0.0, 0.0), together=together), side * 0.7, []
    for k in range(200):
        goal = side * 0.7 + speed * PERIOD * k * (k < 100)
        of.step(np.array([[goal, 0.0, 0.0], [speed * (k < 100), 0.0, 0.0], [0.0, 0.0, 0.0]]))
        speeds.append(side * of.motion.v[0])
        assert of.motion.x[1:] == (0.0, 0.0)
    np.testing.assert_allclose(speeds[36:46], 2.0, atol=1e-6)
    assert np.abs(speeds).max() <= 2.0 * (1.0 + 1e-6)
    assert of.motion.x[0] == pytest.approx(goal, abs=1e-3)


ALONE = Bounds((-6.0,), (7.0,), (2.0,), (0.5,), (5.0,))


@pytest.mark.parametrize("side", [1.0, -1.0])
def test_a_state_that_would_become_too_fast_is_taken_only_where_it_was_faster_before(side):
    """At 1.9 m/s, an acceleration a takes a^2 / 10 more: 0.1 m/s at 1 m/s^2, and then 2 m/s are reached."""
    heavy = limiter((0.0,), ALONE)

    def taken(v, a, before):
        last = Motion((0.0,), (side * before,), (0.0,))
        return heavy._stoppable(last, Motion((side * 0.01,), (side * v,), (side * a,)))

    assert taken(1.9, 0.99, 1.88) and not taken(1.9, 1.01, 1.88)
    assert taken(1.9, 1.01, 1.91) and taken(1.9, 1.01, -1.91)
    assert taken(1.99, -1.01, 1.97)  # it slows down
    assert taken(0.0, 0.4, 0.0) and not taken(2.01, 1e-3, 2.0)
    assert not taken(1.9, np.inf, 1.88) and not taken(np.nan, 0.0, 1.88)


@pytest.mark.parametrize("side", [1.0, -1.0])
def test_a_state_beyond_an_end_is_taken_within_rounding_or_no_further_out_than_the_state_before(side):
    heavy, end = limiter((0.0,), ALONE), 7.0 if side > 0.0 else -6.0
    at = lambda beyond: Motion((end + side * beyond,), (0.0,), (0.0,))
    assert heavy._stoppable(at(0.0), at(5e-10)) and not heavy._stoppable(at(0.0), at(2e-9))
    assert heavy._stoppable(at(0.3), at(0.29)) and heavy._stoppable(at(0.3), at(0.3 + 5e-10))
    assert not heavy._stoppable(at(0.3), at(0.31))
    assert not heavy._stoppable(at(-1e-3), Motion((end - side * 1e-3,), (side * 0.3,), (0.0,)))
    # On the way back inside a stop reaches no further out than it already is.
    assert heavy._stoppable(at(0.3), Motion((end + side * 0.29,), (-side * 0.3,), (0.0,)))


def test_one_channel_that_cannot_stop_refuses_the_state_of_all():
    of = limiter()
    before = of.motion
    for column, far in ((0, 2.499), (1, 0.999), (2, 0.799)):
        x = [0.1, -0.2, 0.3]
        x[column] = far
        v = [0.0, 0.0, 0.0]
        for speed, good in ((0.4, False), (-0.4, True), (0.0, True)):
            v[column] = speed
            assert of._stoppable(before, Motion(tuple(x), tuple(v), (0.0,) * 3)) is good


@pytest.mark.parametrize("side", [1.0, -1.0])
@pytest.mark.parametrize(("room", "parted"), [(0.05, False), (0.03, True)])
def test_a_stop_keeps_its_line_if_no_channel_leaves_its_limits_on_it_and_else_each_is_as_fast_as_it_can_be(
    side, room, parted
):
    """The third channel takes 0.5 / 3 + 3 / 25 = 0.287 s and a period or two, in which the first goes on by 0.043 and more."""
    of = limiter()
    end = 2.5 if side > 0.0 else -2.0
    of.motion = Motion((end - side * room, -0.2, 0.0), (side * 0.3, 0.0, 0.5), (0.0, 0.0, 0.0))
    took = 0
    while of.brake():
        took += 1
        assert -2.0 <= of.motion.x[0] <= 2.5
    gone = side * (of.motion.x[0] - end) + room
    assert gone < room if parted else 0.6 * of.motion.x[2] == pytest.approx(gone, abs=6e-3) and gone > 0.043
    assert of.motion.x[1:] == pytest.approx((-0.2, 0.5 * 0.287 / 2.0), abs=1e-3)
    assert took == pytest.approx(0.287 / PERIOD, abs=1.0)


def test_a_sample_is_exactly_at_rest_once_it_is_and_never_turns_faster_than_it_may():
    asked = []

    def at_time(time):
        asked.append(time)
        return [0.11, 0.12, 0.13], [1.9e-9, -2.0, 4e-10], [-8.0 - 1e-9, 5.0 + 1e-9, 2.9e-9]

    found = limiter()._sample(SimpleNamespace(duration=0.3, at_time=at_time), 0.2)
    assert found == Motion((0.11, 0.12, 0.13), (0.0, -2.0, 0.0), (-8.0, 5.0, 0.0))
    limiter()._sample(SimpleNamespace(duration=0.3, at_time=at_time), 0.4)
    assert asked == [0.2, 0.3]


def test_where_no_stop_is_found_the_group_stands_still(monkeypatch):
    of = limiter()
    for _ in range(20):
        of.step(still(1.0, -0.4, 0.5))
    here = of.motion.x
    monkeypatch.setattr(of, "_plan_stop", lambda now, how: False)
    assert of.brake() and of.motion == Motion(here, (0.0,) * 3, (0.0,) * 3)
    assert not of.brake()


def test_a_problem_that_is_no_problem_has_no_way():
    problem = RuckigProblem(1, PERIOD)
    given = problem.given
    given.max_velocity, given.max_acceleration, given.max_jerk = [1.0], [2.0], [30.0]
    given.target_position = [0.5]
    assert problem.solve()
    given.current_position = [math.nan]
    assert not problem.solve()
    given.current_position, given.max_acceleration = [0.1], [-2.0]
    assert not problem.solve()


def test_a_group_rests_only_where_no_channel_has_a_speed_or_a_turn():
    assert at_rest((0.3, -0.1)) == Motion((0.3, -0.1), (0.0, 0.0), (0.0, 0.0)) and at_rest((0.3, -0.1)).still
    for part in (1, 2):
        for column in (0, 1):
            rows = np.zeros((3, 2))
            rows[part, column] = -0.2
            assert not Motion(*map(tuple, rows.tolist())).still


def test_back_inside_a_position_is_slow_and_a_velocity_is_not():
    robot = ROBOT
    whole, start = Limiter(robot, 0.02, 0.03), middle(robot)
    start[[c.kind is Kind.VELOCITY for c in robot.channels]] = 0.0
    joint, base, other = robot.index["left_joint2"], robot.index["base_vx"], robot.index["right_joint3"]
    outside = start.copy()
    outside[joint], outside[base] = robot.channels[joint].limits.upper + 0.05, robot.channels[base].limits.upper + 0.2
    whole.reset(outside)
    np.testing.assert_array_equal(whole.state, [outside, 0.0 * outside, 0.0 * outside])
    goal = np.stack([start, 0.0 * start, 0.0 * start])
    speeds = np.zeros(len(start))
    for _ in range(40):
        whole.step(goal, [True] * len(robot.groups), [1.0] * len(robot.groups))
        speeds = np.maximum(speeds, np.abs(whole.state[1]))
    assert speeds[joint] == pytest.approx(0.03) and speeds[base] == pytest.approx(
        robot.channels[base].limits.acceleration
    )
    assert whole.state[0, base] == pytest.approx(0.0, abs=1e-3) and speeds[other] == 0.0


def test_what_a_plan_says_is_not_written_into_and_what_goes_its_own_way_is_late_for_it():
    whole, start = Limiter(ROBOT, 0.02, 0.0175), middle(ROBOT)
    start[[c.kind is Kind.VELOCITY for c in ROBOT.channels]] = 0.0
    whole.reset(start)
    before, plan = whole.state, np.stack([start, 0.0 * start, 0.0 * start])
    grips = [ROBOT.index["left_gripper"], ROBOT.index["right_gripper"]]
    plan[0, grips] = 1.0, 0.0
    given = plan.copy()
    whole.follow(given, [1.0] * len(ROBOT.groups))
    np.testing.assert_array_equal(given, plan)
    np.testing.assert_array_equal(before, [start, 0.0 * start, 0.0 * start])
    alone = []
    for name, goal in (("left_gripper", 1.0), ("right_gripper", 0.0)):
        one = GroupLimiter(bounds_of(ROBOT.group(name), 0.02), 0.02, steps=True)
        one.reset((start[ROBOT.index[name]],))
        one.step(still(goal))
        alone.append(np.array(one.motion)[:, 0])
    np.testing.assert_array_equal(whole.state[:, grips], np.array(alone).T)
    assert (np.abs(whole.state[1, grips]) > 0.0).all()


def test_which_groups_aim_at_a_plan_of_their_own(small_robot):
    robot = small_robot(
        """
        arm: {kind: position, channels: [j1], command: {topic: arm, type: joint_state},
              limits: {source: urdf, acceleration: 5.0}}
        turret: {kind: velocity, channels: [pan], joints: [j2], command: {topic: turret, type: float64_multi_array},
                 limits: {source: urdf, acceleration: 5.0}}
        hand: {kind: gripper, channels: [grip], joint: {name: finger, closed: 0.0, open: 0.04},
               command: {topic: hand, type: float64_multi_array}}
        """
    )
    assert [goes_own_way(g) for g in (*robot.groups, ROBOT.group("base"))] == [False, True, True, False]
    groups = Limiter(robot, 0.02, 0.0175).groups
    assert [(g.steps, g.driven, g._together, g._recovery) for g in groups] == [
        (False, False, True, 0.0175), (False, True, False, math.inf), (True, False, True, 0.0175),
    ]  # fmt: skip
