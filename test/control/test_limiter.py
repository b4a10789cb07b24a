"""One group's command on its way to a goal: together or each alone, within unequal limits, and back inside them."""

import math

import numpy as np
import pytest
from story import make_robot, middle

from pi0_ros.control.limiter import GroupLimiter, Limiter, Motion, reachable_goal
from pi0_ros.control.limits import Bounds
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
