"""Where a new path begins, and what is remembered for it."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from story import make_robot, middle

from pi0_ros.control import Chunk, ExecutorSettings
from pi0_ros.control.joining import QUICK_JOIN, Joining
from pi0_ros.control.plan_channels import plan_channels
from pi0_ros.control.progress import Progress
from pi0_ros.control.running_plan import Running

ROBOT = make_robot()
JOINT = ROBOT.index["left_joint2"]


def made(progress=None, **settings):
    return Joining(plan_channels(ROBOT), ExecutorSettings(**settings), 0.02, 0.02, progress or Progress())


def rows_at(value, rows=10):
    values = np.tile(middle(ROBOT), (rows, 1))
    values[:, JOINT] = value
    return values


def chunk(values, start=100.0, period=0.1):
    return Chunk(start, period, ROBOT.channel_names, values, 1, 1, "policy")


def test_an_ensemble_of_a_new_owner_has_no_opinion_of_the_one_before():
    joining, low, high = made(strategy="ensemble", ensemble_decay=0.0), rows_at(0.1), rows_at(0.3)
    joining.path("ensemble", chunk(low), low)
    joining.remember()
    mixed = joining.path("ensemble", chunk(high), high)
    assert mixed.rows[0, JOINT] == pytest.approx(0.2)
    joining.forget()
    assert joining.path("ensemble", chunk(high), high).rows[0, JOINT] == pytest.approx(0.3)


def test_a_standing_robot_begins_at_the_row_that_is_near_it_and_what_was_executed_is_skipped():
    values, measured, progress = rows_at(0.0), middle(ROBOT), Progress()
    values[:, JOINT] = 0.4 + 0.05 * np.arange(10)
    measured[JOINT] = 0.4
    path = made().path("replace", chunk(values), values)
    begin, refusal = made(progress).first_near(path, 100.7, measured)
    assert (begin, refusal) == (pytest.approx(100.0), "")
    progress.add(100.0, 0.0)
    progress.add(100.5, 0.3)
    begin, refusal = made(progress).first_near(path, 100.7, measured)
    assert begin == pytest.approx(100.3) and refusal == ""


def test_the_start_gap_is_measured_from_where_the_robot_is_and_names_the_joint():
    values, measured = rows_at(0.4), middle(ROBOT)
    measured[JOINT] = 0.4 - 0.25
    path = made().path("replace", chunk(values), values)
    assert made(start_gap=0.2).first_near(path, 100.0, measured)[1] == "left_joint2 would start 0.25 from the robot"
    assert made(start_gap=0.3).first_near(path, 100.0, measured)[1] == ""


def test_from_rest_a_path_begins_at_the_command_and_is_on_its_rows_after_the_window():
    values, command = rows_at(0.4), middle(ROBOT)
    command[JOINT] = 0.4 - 0.01
    joined = made().from_rest(made().path("replace", chunk(values), values), 100.0, 100.3, command)
    at = joined.path.at(100.0 + np.array([0.0, QUICK_JOIN + 0.001, 0.5]))[:, JOINT]
    assert at == pytest.approx([0.39, 0.4, 0.4], abs=1e-9)
    assert (joined.begin, joined.behind) == (100.0, 0.0)


def running(old, times, index, path_time=None):
    """A plan on the path `old` whose commands are at plan `times`; command `index` was sent last."""
    request = SimpleNamespace(times=SimpleNamespace(times=[path_time]))
    return Running(None, SimpleNamespace(path_times=np.array(times), path=old, request=request), 0.0, index)


def slope(first, speed, start, rows=20, gripper=0.0, period=0.1):
    """A path of 2 s that moves one joint evenly from `first` [rad] on."""
    values = rows_at(0.0, rows)
    values[:, JOINT] = first + speed * period * np.arange(rows)
    values[:, ROBOT.index["left_gripper"]] = gripper
    return made().path("replace", chunk(values, start, period), values)


def executed(*pairs):
    progress = Progress()
    for time, seconds in pairs:
        progress.add(time, seconds)
    return progress


def test_the_new_path_begins_where_the_robot_will_be_on_it_and_says_how_far_it_is_from_the_old_one():
    """The old plan ran late: 0.30 of 0.40 s since the new observation. Its command 3 comes at 200.52, 60 ms from now."""
    old, new = slope(0.1, 0.2, 200.0), slope(0.13, 0.2, 200.06)
    progress = executed((200.06, 0.0), (200.46, 0.3))
    times = [200.3, 200.33, 200.345, 200.36]
    joined = made(progress).to_running(new, running(old, times, 0), 3, 200.52, "replace")
    # 0.3 s since the observation, and another 0.06 s until command 3 of the old plan.
    assert joined.begin == pytest.approx(200.06 + 0.36) and joined.behind == 0.0
    here, there = 0.1 + 0.2 * 0.36, 0.13 + 0.2 * 0.36
    assert joined.gap[JOINT] == pytest.approx(there - here)
    assert joined.path.at(np.array([joined.begin]))[0, JOINT] == pytest.approx(here)
    after = joined.begin + np.array([QUICK_JOIN + 0.021, 0.5])
    np.testing.assert_allclose(joined.path.at(after)[:, JOINT], 0.13 + 0.2 * (after - 200.06), atol=1e-9)


@pytest.mark.parametrize(
    ("strategy", "window"), [("replace", QUICK_JOIN), ("ensemble", QUICK_JOIN), ("blend", 0.7), ("rtc", 0.7)]
)
def test_how_long_the_old_rows_fade_depends_on_the_strategy(strategy, window):
    old, new = slope(0.1, 0.0, 200.0, rows=30), slope(0.5, 0.0, 200.0, rows=30)
    joining = made(executed((200.0, 0.0), (200.4, 0.4)), blend_time=0.7)
    joined = joining.to_running(new, running(old, [200.4, 200.42], 0), 1, 200.44, strategy)
    middle_of = joined.path.at(joined.begin + np.array([0.0, 0.5 * window, window + 0.021]))[:, JOINT]
    np.testing.assert_allclose(middle_of, [0.1, 0.3, 0.5], atol=1e-3)


def test_before_the_first_command_of_a_plan_its_own_start_counts():
    old, new = slope(0.1, 0.2, 200.0), slope(0.1, 0.2, 200.0)
    joined = made(executed((200.0, 0.0), (200.3, 0.25))).to_running(
        new, running(old, [200.27, 200.3], -1, path_time=200.25), -1, 200.32, "replace"
    )
    assert joined.begin == pytest.approx(200.25) and joined.gap.max() == pytest.approx(0.0, abs=1e-12)


def test_a_chunk_observed_later_than_now_begins_in_the_future():
    """As of a policy that sends its plans early: row 0 is 80 ms after the join, so the path begins 80 ms before row 0."""
    old, new = slope(0.1, 0.2, 200.0), slope(0.3, 0.2, 200.6)
    progress = executed((200.0, 0.0), (200.5, 0.5))
    joined = made(progress).to_running(new, running(old, [200.5, 200.52], 0), 1, 200.52, "blend")
    assert joined.begin == pytest.approx(200.52)
    held = joined.path.at(np.array([200.52, 200.56]))[:, JOINT]
    np.testing.assert_allclose(held, 0.1 + 0.2 * np.array([0.52, 0.56]), atol=1e-6)  # the old path goes on until then


@pytest.mark.parametrize(("looks", "behind"), [(False, 0.3), (True, 0.0)])
def test_a_playback_goes_on_where_its_rows_are_due_and_a_policy_where_the_robot_is(looks, behind):
    """The robot is 0.3 s late on a motion of 0.5 rad/s. A recording plays on by its clock: that much is then behind; a
    policy plans from where it saw the robot."""
    old = slope(0.1, 0.5, 200.0, rows=30)
    new = slope(0.1 + 0.5 * (0.7 if looks else 1.0), 0.5, 201.0, rows=20)
    progress = executed((200.0, 0.0), (201.0, 0.7))
    joined = made(progress).to_running(new, running(old, [200.7, 200.72], 0), 1, 201.02, "replace")
    assert joined.behind == pytest.approx(behind, abs=1e-9)
    assert joined.begin == pytest.approx(201.02 if looks else 200.72)
    assert joined.path.at(np.array([joined.begin]))[0, JOINT] == pytest.approx(0.1 + 0.5 * 0.72)


def test_what_the_rows_do_not_tell_of_a_policy_is_as_its_chunks_before_told():
    """Once a policy is known to play back it is so while the robot is on time, and where both ways fit alike; until its
    rows say otherwise, or another drives."""
    old, progress = slope(0.1, 0.5, 200.0, rows=30), Progress()
    played, halfway, looked = (slope(0.1 + 0.5 * (1.0 - late), 0.5, 201.0) for late in (0.0, 0.1, 0.2))
    joining = made(progress)

    def behind(new, late=0.2):
        progress.clear()
        progress.add(200.0, 0.0)
        progress.add(201.0, 1.0 - late)
        plan = running(old, [201.0 - late, 201.02 - late], 0)
        return joining.to_running(new, plan, 1, 201.02, "replace").behind

    assert behind(halfway) == 0.0  # nobody knows: from where the robot was
    assert behind(played) == pytest.approx(0.2)
    assert behind(halfway) == pytest.approx(0.2)
    assert behind(played, late=0.008) == pytest.approx(0.008)
    rest = joining.from_rest(halfway, 200.9, 201.3, middle(ROBOT))
    assert rest.behind == pytest.approx(0.4)  # its clock went on while the robot stood
    assert behind(looked) == 0.0
    assert behind(halfway) == 0.0
    assert behind(played) == pytest.approx(0.2)
    joining.forget()
    assert behind(halfway) == 0.0
    assert joining.from_rest(halfway, 200.9, 201.3, middle(ROBOT)).behind == 0.0


def test_a_gripper_is_no_gap():
    old, new = slope(0.1, 0.0, 200.0), slope(0.1, 0.0, 200.0, gripper=1.0)
    joined = made(executed((200.0, 0.0), (200.4, 0.4))).to_running(
        new, running(old, [200.4, 200.42], 0), 1, 200.44, "replace"
    )
    assert joined.gap.max() == pytest.approx(0.0, abs=1e-12)


def test_earlier_chunks_of_an_ensemble_keep_their_place_on_the_new_ones_time():
    """The old rows rise by 0.2 rad/s and are executed 0.1 s late, the next ones fall by 0.1 rad/s."""
    joining = made(executed((200.0, 0.0), (200.5, 0.4)), strategy="ensemble", ensemble_decay=0.0)
    seconds, rising, falling = 0.1 * np.arange(20), rows_at(0.0, 20), rows_at(0.0, 20)
    rising[:, JOINT], falling[:, JOINT] = 0.2 * seconds, 0.3 - 0.1 * seconds
    first = joining.path("ensemble", chunk(rising, 200.0), rising)
    joining.remember()
    second = joining.path("ensemble", chunk(falling, 200.5), falling)
    np.testing.assert_allclose(second.rows[:5, JOINT], 0.5 * (falling[:5, JOINT] + rising[5:10, JOINT]))
    joining.to_running(second, running(first, [200.4, 200.42], 0), 1, 200.52, "ensemble")
    joining.remember()
    third = joining.path("ensemble", chunk(rows_at(0.3, 20), 200.6), rows_at(0.3, 20))
    # Where the second is at 200.52 the first is at 200.42: 0.1 s later than on its own time. The second has its own.
    at = 200.6 + seconds[:5]
    wanted = (0.2 * (at - 200.1) + 0.3 - 0.1 * (at - 200.5) + 0.3) / 3.0
    np.testing.assert_allclose(third.rows[:5, JOINT], wanted, atol=1e-6)


@pytest.mark.parametrize("side", [1.0, -1.0])
def test_a_gap_to_a_standing_robot_closes_at_a_share_of_the_velocity_limit_and_within_a_second(side):
    """The fastest moment of the closing is 1.875 times its mean: a window of 1.875 gap / (share v), from 0.2 to 1 s."""
    velocity = ROBOT.channels[JOINT].limits.velocity
    values, command = rows_at(0.4, 30), middle(ROBOT)
    path = made().path("replace", chunk(values), values)
    for window, share in ((0.5, 0.25), (QUICK_JOIN, 0.25), (1.0, 0.25)):
        gap = (
            side * window * share * velocity / 1.875 * (3.0 if window == 1.0 else 0.3 if window == QUICK_JOIN else 1.0)
        )
        command[JOINT] = 0.4 + gap
        joined = made(engage_scale=share).from_rest(path, 100.3, 100.3, command)
        at = joined.path.at(100.3 + np.array([0.0, 0.5 * window, window + 0.021]))[:, JOINT]
        np.testing.assert_allclose(at, [0.4 + gap, 0.4 + 0.5 * gap, 0.4], atol=2e-3 * abs(gap) + 1e-9)


def test_a_standing_robot_that_is_further_along_the_rows_begins_there():
    values, measured = rows_at(0.0), middle(ROBOT)
    values[:, JOINT] = 0.4 + 0.1 * np.arange(10)
    path = made().path("replace", chunk(values), values)
    measured[JOINT] = 0.7
    begin, refusal = made().first_near(path, 100.6, measured)
    assert refusal == "" and begin == pytest.approx(100.3, abs=0.026)
    begin, _ = made().first_near(path, 100.1, measured)  # rows that are yet to come are not begun with
    assert begin <= 100.1 + 1e-6


@pytest.mark.parametrize("sent", [0, 1, 5])
def test_a_chunk_observed_between_the_newest_command_and_the_join_begins_as_much_later_as_its_row_0_is_over(sent):
    """The newest command was sent at 200.50, the new plan begins with the third one after it, at 200.56; observed at 200.53."""
    old, new = slope(0.1, 0.2, 200.0), slope(0.3, 0.2, 200.53)
    times = [*(200.5 - 0.02 * np.arange(sent, 0, -1)), 200.5, 200.53, 200.57, 200.6]  # run faster than its rows
    joined = made(executed((200.0, 0.0), (200.5, 0.5))).to_running(
        new, running(old, times, sent), sent + 3, 200.56, "replace"
    )
    assert joined.begin == pytest.approx(200.56)


@pytest.mark.parametrize("side", [1.0, -1.0])
def test_how_far_a_plan_is_from_the_one_before_is_a_distance(side):
    old, new = slope(0.1, 0.0, 200.0), slope(0.1 + 0.04 * side, 0.0, 200.0)
    plan = running(old, [200.4, 200.42], 0)
    joined = made(executed((200.0, 0.0), (200.4, 0.4))).to_running(new, plan, 1, 200.44, "replace")
    assert joined.gap[JOINT] == pytest.approx(0.04) and (joined.gap >= 0.0).all()


@pytest.mark.parametrize("sent", [0, 1, 5])
def test_a_chunk_observed_a_moment_before_the_newest_command_begins_by_what_is_executed_until_the_join(sent):
    """0.02 s of path until the newest command, at 200.50, and 0.10 s until the third one after it."""
    old, new = slope(0.1, 0.2, 200.0), slope(0.3, 0.2, 200.48)
    times = [*(200.5 - 0.02 * np.arange(sent, 0, -1)), 200.5, 200.53, 200.57, 200.6]
    plan = running(old, times, sent)
    joined = made(executed((200.0, 0.0), (200.5, 0.5))).to_running(new, plan, sent + 3, 200.56, "replace")
    assert joined.begin == pytest.approx(200.48 + 0.12)


def curve(motion, start, rows, joint=JOINT):
    """A path whose joint is where `motion` says at the time of each row, 0.1 s apart."""
    values = rows_at(0.0, rows)
    values[:, joint] = [motion(start + 0.1 * k) for k in range(rows)]
    return made().path("replace", chunk(values, start), values)


def judged(path, old, shift, before):
    """Whether the rows play back, after a policy of which that was known `before`."""
    joining = made()
    joining._playing = before
    return joining._plays_back(path, old, shift)


@pytest.mark.parametrize(("shift", "ends"), [(0.2, 202.7), (-0.2, 202.9)])
@pytest.mark.parametrize("looks", [True, False])
def test_what_a_policy_does_is_told_from_the_rows_that_both_paths_have(shift, ends, looks):
    """It stands at first, where both ways look alike; when the old rows are over, the new ones go elsewhere."""
    motion = lambda t: 0.5 * max(t - 202.2, 0.0)
    old = curve(motion, 200.0, 30)  # until 202.9
    new = curve(lambda t: motion(t + shift * looks) if t < ends + 1e-6 else 2.0, 200.5, 36)
    assert judged(new, old, shift, before=looks) is not looks
    short = curve(lambda t: motion(t + shift * looks), 200.5, 14)  # until 201.8: it stands throughout
    assert judged(short, old, shift, before=looks) is looks


@pytest.mark.parametrize(("shift", "told"), [(0.009, False), (-0.009, False), (0.013, True), (-0.013, True)])
def test_a_robot_less_than_half_a_period_off_tells_nothing(shift, told):
    motion = lambda t: 0.1 * (t - 200.0) ** 2
    old, new = curve(motion, 200.0, 30), curve(lambda t: motion(t + shift), 200.5, 12)
    assert judged(new, old, shift, before=True) is not told


def test_each_joint_counts_by_its_share_of_its_velocity_limit():
    """A lift that is 0.02 m off is more than a joint that is 0.04 rad off: its limit is so much lower."""
    lift = ROBOT.index["lift"]
    slow, fast = (ROBOT.channels[i].limits.velocity for i in (lift, JOINT))
    assert 0.02 / slow > 2.0 * 0.04 / fast
    old, new = rows_at(0.0, 30), rows_at(0.0, 20)
    for values, start, late in ((old, 200.0, 0.2), (new, 200.5, 0.0)):
        seconds = start - 200.0 + 0.1 * np.arange(len(values))
        values[:, lift] = 0.1 + 0.1 * (seconds + 0.2 - late)  # as the robot was seen, 0.2 s on
        values[:, JOINT] = 0.2 * seconds  # as it was to be
    paths = (made().path("replace", chunk(values, start), values) for values, start in ((new, 200.5), (old, 200.0)))
    assert judged(*paths, 0.2, before=True) is False


def test_a_plan_may_be_joined_to_the_first_command_of_another():
    old, new = slope(0.1, 0.2, 200.0), slope(0.1, 0.2, 200.0)
    plan = running(old, [200.3, 200.42], -1, path_time=200.25)
    joined = made(executed((200.0, 0.0), (200.3, 0.25))).to_running(new, plan, 0, 200.32, "replace")
    assert joined.begin == pytest.approx(200.25 + 0.05) and joined.gap.max() == pytest.approx(0.0, abs=1e-9)


def test_a_plan_that_begins_with_the_newest_command_skips_what_is_executed_since_the_observation():
    """It was observed 0.01 s before the newest command, which comes at 200.50 and is the join."""
    old, new = slope(0.1, 0.2, 200.0), slope(0.3, 0.2, 200.49)
    progress = executed((200.0, 0.0), (200.48, 0.48), (200.5, 0.008))
    joined = made(progress).to_running(new, running(old, [200.46, 200.488], 1), 1, 200.5, "replace")
    assert joined.begin == pytest.approx(200.49 + 0.004)


def ensemble(depth=4):
    return made(strategy="ensemble", ensemble_decay=0.0, ensemble_depth=depth)


def asked(joining, value, remember=True, strategy="ensemble"):
    """Rows at `value` [rad]; what the joint is asked for in the first of them."""
    found = joining.path(strategy, chunk(rows_at(value)), rows_at(value)).rows[0, JOINT]
    if remember:
        joining.remember()
    return pytest.approx(found)


def test_as_many_chunks_as_are_kept_have_an_opinion_besides_the_newest():
    joining = ensemble(depth=2)
    assert [asked(joining, value) for value in (0.1, 0.5, 0.3, 0.9)] == [0.1, 0.3, 0.3, (0.5 + 0.3 + 0.9) / 3.0]


def test_chunks_that_are_not_joined_to_anything_keep_their_times():
    """From rest, row k of each is for the same moment: the last ones too."""
    joining, rising = ensemble(), rows_at(0.0)
    rising[:, JOINT] = 0.1 * np.arange(10)
    for _ in range(3):
        found = joining.path("ensemble", chunk(rising), rising)
        joining.remember()
    np.testing.assert_allclose(found.rows[:, JOINT], rising[:, JOINT], atol=1e-12)


def test_a_chunk_of_which_nobody_said_that_it_was_accepted_has_no_opinion_nor_has_one_of_before():
    joining = ensemble()
    asked(joining, 0.1, remember=False)
    assert asked(joining, 0.3, remember=False) == 0.3
    joining.forget()
    joining.remember()
    assert asked(joining, 0.5) == 0.5
    assert asked(joining, 0.9, strategy="replace") == 0.9


def test_a_robot_without_position_channels_has_no_gap_to_close():
    base = replace(ROBOT, groups=(ROBOT.group("base"),))
    joining = Joining(plan_channels(base), ExecutorSettings(), 0.02, 0.02, Progress())
    values = np.full((5, 3), 0.2)
    path = joining.path("replace", Chunk(100.0, 0.1, base.channel_names, values, 1, 1, "policy"), values)
    joined = joining.from_rest(path, 100.0, 100.3, np.zeros(3))
    assert joined.path is path and joined.gap.tolist() == [0.0, 0.0, 0.0]
