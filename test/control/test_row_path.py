"""What rows ask for between, before and after them, against formulas and scipy."""

from dataclasses import replace

import numpy as np
import pytest

from pi0_ros.control.row_path import (
    SLOWING,
    STOP,
    Joint,
    _natural_inverse,
    _overshoot,
    _second_derivatives,
    make_path,
)
from pi0_ros.robot.spec import Kind

ARM, BASE, GRIP = Kind.POSITION, Kind.VELOCITY, Kind.GRIPPER
FAST = np.array([2.0, 1.5, 4.0])
BRAKE = np.array([5.0, 3.0, 8.0])


def path(rows, kinds=(ARM, BASE, GRIP), start=7.0, period=0.2):
    return make_path(start, period, np.array(rows, dtype=float), kinds, FAST[: len(kinds)], BRAKE[: len(kinds)])


def test_a_position_passes_its_rows_smoothly_a_velocity_linearly_and_a_gripper_holds():
    interpolate = pytest.importorskip("scipy.interpolate")
    times = 7.0 + 0.2 * np.arange(12)
    arm, base, grip = 0.3 * np.sin(1.7 * times), 0.2 * np.cos(times), (np.arange(12) // 5 % 2).astype(float)
    made = path(np.stack([arm, base, grip], axis=1))
    at = np.linspace(7.0, 9.2, 111)[:-1]
    spline = interpolate.CubicSpline(times, arm, bc_type="natural")(at)
    # The ends of a natural spline may leave the row's range by less than the curve is allowed to.
    np.testing.assert_allclose(made.at(at)[:, 0], spline, atol=2e-4)
    np.testing.assert_allclose(made.at(at)[:, 1], np.interp(at, times, base), atol=1e-12)
    np.testing.assert_array_equal(made.at(at)[:, 2], grip[np.floor((at - 7.0) / 0.2 + 1e-9).astype(int)])
    np.testing.assert_allclose(made.at(times[:-1]), np.stack([arm, base, grip], axis=1)[:-1], atol=1e-12)


def test_a_step_between_rows_at_rest_is_not_overshot_up_or_down():
    for step in (0.4, -0.4):
        rows = np.array([0.1, 0.1, 0.1, 0.1 + step, 0.1 + step, 0.1 + step])[:, None]
        values = path(rows, (ARM,)).at(np.linspace(7.0, 8.0, 401))[:, 0]
        assert values.min() >= min(0.1, 0.1 + step) - 1e-12 and values.max() <= max(0.1, 0.1 + step) + 1e-12


def test_a_rounded_corner_may_leave_its_rows_by_a_sixth_of_the_bend():
    rows = 0.2 - 0.1 * (np.arange(5) - 1.5) ** 2  # its top lies between rows 1 and 2, second differences are -0.2
    values = path(rows[:, None], (ARM,)).at(np.linspace(7.2, 7.4, 201))[:, 0]
    assert 0.2 - 1e-3 < values.max() <= rows[1] + 0.2 / 6.0 + 1e-12
    mirrored = path(-rows[:, None], (ARM,)).at(np.linspace(7.2, 7.4, 201))[:, 0]
    np.testing.assert_allclose(mirrored, -values, atol=1e-12)


@pytest.mark.parametrize("side", [1.0, -1.0])
@pytest.mark.parametrize("rows", [[0, 80, 100, 100, 100], [0, 0, 33, 81, 97, 100, 100], [4, 4, 5, 9, 11, 11.5]])
def test_a_slope_that_ends_at_rest_stays_between_its_rows(rows, side):
    values = side * 1e-3 * np.array(rows, dtype=float)
    at = np.linspace(7.0, 7.0 + 0.2 * (len(rows) - 1), 401)
    curve = path(values[:, None], (ARM,)).at(at)[:, 0]
    low = np.minimum(values[:-1], values[1:])[np.minimum((at - 7.0) / 0.2, len(rows) - 2).astype(int)]
    high = np.maximum(values[:-1], values[1:])[np.minimum((at - 7.0) / 0.2, len(rows) - 2).astype(int)]
    assert (curve > low - 1e-12).all() and (curve < high + 1e-12).all()


@pytest.mark.parametrize("side", [1.0, -1.0])
@pytest.mark.parametrize("where", [0.0, 0.1, 0.5, 0.8])
def test_the_top_of_a_parabola_is_reached_wherever_it_lies_between_two_rows(where, side):
    """Rows 0.2 s apart of y = -u^2 (u in rows) with its top `where` behind row 4; the curve passes through it."""
    values = -0.02 * side * (np.arange(10) - 4.0 - where) ** 2
    top = path(values[:, None], (ARM,)).at(np.array([7.0 + 0.2 * (4.0 + where)]))[0, 0]
    assert top == pytest.approx(0.0, abs=2e-4)


def test_before_the_first_row_it_is_held_and_a_velocity_is_zero_on_either_side():
    made = path([[0.3, 0.4, 1.0], [0.3, -0.1, 0.0], [0.3, 0.2, 1.0]])
    np.testing.assert_allclose(made.at(np.array([5.0])), [[0.3, 0.0, 1.0]])
    np.testing.assert_allclose(made.at(np.array([7.0])), [[0.3, 0.4, 1.0]])
    np.testing.assert_allclose(made.at(np.array([7.4])), [[0.3, 0.2, 1.0]])
    np.testing.assert_allclose(made.at(np.array([7.6])), [[0.3, 0.0, 1.0]])
    assert made.end == pytest.approx(7.4)


@pytest.mark.parametrize("direction", [1.0, -1.0])
def test_a_motion_that_has_not_ended_comes_to_rest_behind_the_last_row(direction):
    speed, deceleration = 0.8 * direction, 5.0
    rows = 0.1 + speed * 0.2 * np.arange(6)
    made = path(rows[:, None], (ARM,))
    after = np.array([0.0, 0.05, 0.1, 0.16, 0.5])
    gone = np.minimum(after, abs(speed) / deceleration)
    expected = rows[-1] + speed * gone - 0.5 * np.sign(speed) * deceleration * gone**2
    np.testing.assert_allclose(made.at(8.0 + after)[:, 0], expected, atol=1e-9)


@pytest.mark.parametrize("last", [0.09, -0.3, 0.0])
def test_a_last_row_that_jumps_or_hardly_moves_is_where_the_path_ends(last):
    rows = np.array([0.0, 0.0, 0.0, 0.0, last])[:, None]
    made = path(rows, (ARM,))
    np.testing.assert_allclose(made.at(np.array([7.8, 8.0, 12.0]))[:, 0], last, atol=1e-12)


def test_it_ends_no_faster_than_the_rows_before_and_no_faster_than_the_limit():
    slowing = path(np.array([0.0, 0.1, 0.2, 0.3, 0.34])[:, None], (ARM,))
    assert slowing.coast[0] == pytest.approx(0.04 / 0.2)
    speeding = path(np.array([0.0, 0.1, 0.2, 0.3, 0.5])[:, None], (ARM,))
    assert speeding.coast[0] == pytest.approx(0.1 / 0.2)
    racing = path(np.array([0.0, -1.0, -2.0, -3.0, -4.0])[:, None], (ARM,))
    assert racing.coast[0] == pytest.approx(-2.0)


def test_with_dense_rows_the_speed_at_the_end_is_that_of_the_last_60_ms():
    rows = np.array([0.0, 0.02, 0.04, 0.06, 0.075, 0.09, 0.105])[:, None]  # 1 rad/s, then 0.75
    made = make_path(0.0, 0.02, rows, (ARM,), FAST[:1], BRAKE[:1])
    assert made.coast[0] == pytest.approx(0.75)


def test_a_single_row_lasts_one_period():
    made = path([[0.5, 0.3, 1.0]])
    assert made.end == pytest.approx(7.2)
    np.testing.assert_allclose(made.at(np.array([7.1])), [[0.5, 0.3, 1.0]])


def test_more_rows_than_a_matrix_is_made_for_still_pass_through_all_of_them():
    rows = 0.3 * np.sin(np.arange(600) * 0.05)[:, None]
    made = make_path(0.0, 0.02, rows, (ARM,), FAST[:1], BRAKE[:1])
    between = np.arange(599) * 0.02 + 0.01
    np.testing.assert_allclose(made.at(between)[:, 0], 0.3 * np.sin(between * 2.5), atol=1e-4)


def test_a_joint_counts_until_it_ends_and_grippers_only_before_the_rows_begin():
    made = path([[0.0, 0.1, 1.0], [0.2, 0.1, 0.0], [0.4, 0.1, 1.0]])
    joined = replace(made, joint=Joint(6.9, 0.1, np.array([[1.0, 1.0, 0.5], [1.2, 1.0, 0.5], [1.4, 1.0, 0.5]])))
    assert joined.joint.end == pytest.approx(7.1)
    np.testing.assert_allclose(joined.at(np.array([6.95])), [[1.1, 1.0, 0.5]])
    np.testing.assert_allclose(joined.at(np.array([7.05])), [[1.3, 1.0, 1.0]])
    np.testing.assert_allclose(joined.at(np.array([7.2])), made.at(np.array([7.2])))


@pytest.mark.parametrize("start", [0.0, 1_795_809_000.0, 1_795_809_199.319299, 1_795_810_496.647105])
@pytest.mark.parametrize("period", [0.02, 1.0 / 15.0, 0.1])
def test_at_the_time_of_a_row_its_values_are_asked_for_whatever_the_date(start, period):
    """ROS times are seconds since 1970: as numbers they are a quarter of a microsecond apart."""
    kinds = (Kind.POSITION, Kind.VELOCITY, Kind.GRIPPER)
    position, velocity, gripper = 0.1 * np.arange(6.0) ** 2, [0.2, 0.5, 0.1, 0.4, 0.3, 0.2], [0.0, 1.0] * 3
    values = np.stack([position, velocity, gripper], axis=1)
    path = make_path(start, period, values, kinds, np.full(3, 2.5), np.full(3, 5.0))
    times = np.array([start + period * k for k in range(6)])
    np.testing.assert_allclose(path.rows_at(times), values, atol=1e-4)


def test_rows_too_few_to_tell_motion_from_noise_go_on_where_the_robot_already_moves_as_they_say():
    values = 0.4 * 0.02 * np.arange(4)[:, None] * np.array([1.0, -1.0, 1.0])
    made = lambda rows, moving: make_path(
        5.0, 0.02, rows, (Kind.POSITION,) * 3, np.full(3, 2.5), np.full(3, 8.0), np.array(moving)
    )
    moving, still = made(values, [0.3, -0.9, -0.4]), made(values, [0.0, 0.0, 0.0])
    # As fast as both the rows and the robot; against the robot's direction as if it stood still.
    np.testing.assert_allclose(moving.coast, [0.3, -0.4, 0.0], atol=1e-12)
    np.testing.assert_allclose(moving.brake, [0.3 / SLOWING, 0.4 / SLOWING, 8.0])
    np.testing.assert_allclose(still.brake, [8.0, 8.0, 8.0])
    ended = moving.rows_at(np.array([moving.end + 0.5 * (STOP + SLOWING), moving.end + 1.0]))
    np.testing.assert_allclose(ended[1, :2] - values[-1, :2], [0.5 * 0.3 * STOP, -0.5 * 0.4 * STOP])
    np.testing.assert_allclose(ended[0, :2], ended[1, :2])
    on = moving.rows_at(np.array([moving.end + 0.5 * (STOP - SLOWING)]))
    np.testing.assert_allclose(on[0, :2] - values[-1, :2], [0.3 * 0.0375, -0.4 * 0.0375], atol=1e-12)
    many = 0.4 * 0.02 * np.arange(40)[:, None] * np.ones(3)
    np.testing.assert_array_equal(made(many, [0.3, -0.9, -0.4]).brake, made(many, [0.0, 0.0, 0.0]).brake)


@pytest.mark.parametrize("rate", [10.0, 12.5, 15.0, 20.0, 25.0, 30.0, 50.0])
def test_rows_of_150_ms_tell_motion_from_noise_at_every_rate(rate):
    """What goes on behind the last row is three quarters of 0.1 s of its motion: half of it at its speed, then the stop."""
    values = 0.4 / rate * np.arange(12)[:, None]
    made = make_path(5.0, 1.0 / rate, values, (ARM,), np.array([2.5]), np.array([8.0]))
    after = made.rows_at(made.end + np.array([0.0375, 0.1125, 2.0]))[:, 0] - values[-1, 0]
    np.testing.assert_allclose(after, [0.4 * 0.0375, 0.4 * 0.075, 0.4 * 0.075], atol=1e-9)
    jumped = make_path(
        5.0,
        1.0 / rate,
        np.where(np.arange(12) < 11, 0.0, 0.4 / rate)[:, None],
        (ARM,),
        np.array([2.5]),
        np.array([8.0]),
    )
    assert jumped.rows_at(np.array([jumped.end + 1.0]))[0, 0] == values[1, 0]


@pytest.mark.parametrize("side", [1.0, -1.0])
def test_a_sharp_turn_between_two_rows_leaves_them_by_a_sixth_of_their_bend_and_no_more(side):
    """A spline through these rows would leave them by 0.0186; the second differences beside the turn are 0.1."""
    rows = side * 0.1 * np.array([0.0, 0.3, 1.3, 1.3, 0.3, 0.0])[:, None]
    curve = side * path(rows, (ARM,)).at(np.linspace(7.4, 7.6, 101))[:, 0]
    assert curve.max() == pytest.approx(0.13 + 0.1 / 6.0, abs=1e-12) and curve.min() >= 0.13 - 1e-12


@pytest.mark.parametrize("rows", [2, 3, 4, 9, 512])
def test_the_second_derivatives_are_those_of_a_natural_spline(rows):
    """c[k-1] + 4 c[k] + c[k+1] = 6 (v[k-1] - 2 v[k] + v[k+1]), and none at either end."""
    values = np.random.default_rng(rows).normal(0.0, 0.1, (rows, 3))
    system, right = np.eye(rows), np.zeros((rows, 3))
    for k in range(1, rows - 1):
        system[k, k - 1 : k + 2] = 1.0, 4.0, 1.0
        right[k] = 6.0 * (values[k - 1] - 2.0 * values[k] + values[k + 1])
    np.testing.assert_allclose(_second_derivatives(values), np.linalg.solve(system, right), atol=1e-12)


def test_of_more_rows_than_512_the_second_differences_stand_for_them():
    values = np.random.default_rng(3).normal(0.0, 0.1, (513, 2))
    found = _second_derivatives(values)
    np.testing.assert_allclose(found[1:-1], values[2:] - 2.0 * values[1:-1] + values[:-2], atol=1e-12)
    assert not found[[0, -1]].any()


def test_a_matrix_that_many_paths_share_cannot_be_written_into():
    with pytest.raises(ValueError, match="read-only"):
        _natural_inverse(5)[0, 0] = 1.0


def turn_of(v, i):
    """How far the curve between rows `i` and `i` + 1 may go below and above them, row by row as the words say."""
    step = np.diff(v).tolist()
    if i == 0 or i == len(step) - 1 or step[i - 1] * step[i + 1] >= 0.0:
        return 0.0, 0.0
    if (i >= 2 and step[i - 2] * step[i - 1] <= 0.0) or (i + 2 < len(step) and step[i + 1] * step[i + 2] <= 0.0):
        return 0.0, 0.0
    before, after = step[i] - step[i - 1], step[i + 1] - step[i]
    size = min(abs(before), abs(after)) / 6.0 if before * after > 0.0 else 0.0
    size = min(size, abs(step[i - 1]) / 3.0, abs(step[i + 1]) / 3.0)
    return (0.0, size) if step[i - 1] > 0.0 else (size, 0.0)


@pytest.mark.parametrize("rows", [4, 5, 6, 11])
def test_a_curve_leaves_its_rows_only_where_both_sides_say_that_it_turns_and_as_far_as_both_say(rows):
    """1/6 of the smaller second difference beside it, and 1/3 of the smaller step; 300 rough and smooth motions."""
    rng = np.random.default_rng(rows)
    rough = 0.1 * rng.normal(0.0, 1.0, (rows, 300))
    values = np.where(
        np.arange(300) % 2 == 0, rough, np.cumsum(np.cumsum(rough, axis=0) - 0.1 * rng.normal(size=300), axis=0)
    )
    values[:, :20] = np.round(values[:, :20], 1)  # with rows at rest
    below, above = _overshoot(values)
    wanted = np.array([[turn_of(values[:, d].tolist(), i) for d in range(300)] for i in range(rows - 1)])
    np.testing.assert_allclose(below, wanted[..., 0], atol=1e-12)
    np.testing.assert_allclose(above, wanted[..., 1], atol=1e-12)
    assert (below > 0.0).sum() > 5 and (above > 0.0).sum() > 5


def test_what_is_left_of_an_earlier_path_is_linear_between_its_values_and_keeps_its_ends():
    values = np.array([[1.0, -2.0], [1.5, -2.1], [1.1, -1.0], [0.2, -1.7]])
    times = np.array([6.5, 6.9, 6.95, 7.02, 7.12, 7.19, 7.2, 7.7])
    found = Joint(6.9, 0.1, values).at(times)
    wanted = [np.interp(times, 6.9 + 0.1 * np.arange(4), values[:, k]) for k in range(2)]
    np.testing.assert_allclose(found, np.stack(wanted, axis=1), atol=1e-9)


def test_of_times_on_both_sides_of_the_joints_end_each_has_its_own_and_a_gripper_its_row_from_the_start_on():
    made = path([[0.0, 0.1, 1.0], [0.2, 0.1, 0.0], [0.4, 0.1, 1.0]])
    joined = replace(made, joint=Joint(6.9, 0.1, np.array([[1.0, 1.0, 0.5], [1.2, 1.0, 0.5], [1.4, 1.0, 0.5]])))
    found = joined.at(np.array([6.95, 7.3, 7.0, 6.9999, 7.0 - 4e-7]))
    np.testing.assert_allclose(found[[0, 2, 3]], [[1.1, 1.0, 0.5], [1.2, 1.0, 1.0], [1.1998, 1.0, 0.5]], atol=1e-9)
    np.testing.assert_allclose(found[1], made.at(np.array([7.3]))[0])
    assert found[4, 2] == 1.0  # within what ROS times are rounded by


def ending(rows, period, velocity, brake, moving):
    """How one joint passes its last row (speed, deceleration, seconds before that begins), in scalars."""
    count = len(rows)
    back = min(count - 1, max(1, round(0.06 / period)))
    far = min(max(2 * back, int(np.ceil(0.15 / period - 1e-9))), count - 1)
    last = (rows[-1] - rows[-1 - back]) / (back * period)
    before = (rows[-1 - back] - rows[-1 - far]) / ((far - back) * period) if far > back else 0.0
    slope = np.sign(last) * min(abs(last), abs(before)) if last * before > 0.0 else 0.0
    speed = np.clip(slope, -velocity, velocity) if abs(slope) > 0.05 * velocity else 0.0
    sure = speed != 0.0 and far * period >= 0.15 - 1e-9
    if moving is not None and (count - 1) * period < 0.15:
        agreed = np.sign(last) * min(abs(last), abs(moving)) if last * moving > 0.0 else 0.0
        if abs(agreed) > 0.005 * velocity:
            speed, sure = np.clip(agreed, -velocity, velocity), True
    slowing = min(brake, abs(speed) / 0.075) if sure else brake
    return speed, slowing, max(0.075 - 0.5 * abs(speed) / slowing, 0.0) if sure else 0.0


@pytest.mark.parametrize("moves", [False, True])
@pytest.mark.parametrize("period", [0.02, 0.0375, 0.05, 0.1, 0.2])
@pytest.mark.parametrize("count", [2, 3, 4, 5, 8, 9, 12])
def test_how_a_motion_goes_on_behind_its_last_row_follows_from_the_rows_before_it(count, period, moves):
    """Joints at 0.02 to 2 times their velocity limit, steady, jumping and turning; a base among them has no coast."""
    rng = np.random.default_rng(count)
    width = 60
    velocity, brake = rng.uniform(0.3, 2.0, width), rng.uniform(1.0, 9.0, width)
    speed = velocity * rng.choice([-1.0, 1.0], width) * np.geomspace(0.003, 2.0, width)
    steps = speed * period * rng.choice([1.0, 1.0, 0.6, -0.4], (count - 1, width))
    rows = np.concatenate([np.zeros((1, width)), np.cumsum(steps, axis=0)])
    moving = speed * rng.choice([1.5, 0.7, 0.004, -1.0], width) if moves else None
    kinds = tuple(BASE if d == 7 else ARM for d in range(width))
    made = make_path(3.0, period, rows, kinds, velocity, brake, moving)
    wanted = [
        ending(rows[:, d], period, velocity[d], brake[d], None if moving is None else moving[d]) for d in range(width)
    ]
    wanted[7] = (0.0, brake[7], 0.0)
    np.testing.assert_allclose(np.stack([made.coast, made.brake, made.carry], axis=1), wanted, atol=1e-12)


def test_two_rows_are_two_and_a_single_one_stands_for_itself():
    np.testing.assert_array_equal(path([[0.5, 0.3, 1.0], [0.7, 0.1, 0.0]]).rows, [[0.5, 0.3, 1.0], [0.7, 0.1, 0.0]])
    np.testing.assert_array_equal(path([[0.5, 0.3, 1.0]]).rows, [[0.5, 0.3, 1.0]] * 2)
