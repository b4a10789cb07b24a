"""Which chunks may be believed: every check on both sides of its bound, with the sentence that says so."""

from dataclasses import replace

import numpy as np
import pytest
from story import make_robot

from pi0_ros.control import Chunk, Mode
from pi0_ros.control.chunk import (
    MAX_ROWS,
    Ages,
    Cause,
    check_chunk,
    check_order,
    check_shape,
    check_time,
    check_values,
    in_robot_order,
    on_nearest_turn,
    unflatten,
)

AGES = Ages(oldest=1.0, waiting=30.0, ahead=0.5)


def chunk(start=100.0, period=0.1, rows=5, **other):
    values = np.arange(3.0 * rows).reshape(rows, 3)
    return Chunk(
        **(
            {"start": start, "period": period, "names": ("a", "b", "c"), "values": values, "sequence": 7, "epoch": 3}
            | other
        )
    )


@pytest.fixture(scope="module")
def robot():
    return make_robot()


def good(robot, **other):
    values = np.arange(len(robot.channel_names) * 4.0).reshape(4, -1)
    return chunk(names=robot.channel_names, values=values, **other)


def test_the_numbers_of_the_modes_are_those_of_the_message():
    assert [(mode.value, mode.number) for mode in Mode] == [("hold", 0), ("teleop", 1), ("autonomy", 2), ("stopped", 3)]


def test_a_flat_field_becomes_rows_and_one_that_does_not_divide_one_row():
    np.testing.assert_array_equal(unflatten([1, 2, 3, 4, 5, 6], 3), [[1, 2, 3], [4, 5, 6]])
    assert unflatten([1, 2, 3, 4], 3).shape == (1, 4) and unflatten([1, 2], 0).shape == (1, 2)
    assert unflatten([], 3).shape == (0, 3)
    assert unflatten([1, 2], 2).dtype == np.float64
    assert np.isnan(unflatten([None, 2.0], 2)[0, 0])  # what is no number is none


def test_a_chunk_ends_with_its_last_row_and_a_single_row_lasts_a_period():
    assert chunk().rows == 5 and chunk().end == pytest.approx(100.4)
    assert chunk(values=np.zeros((1, 3))).end == pytest.approx(100.1)
    assert chunk(values=np.zeros(3)).rows == 0


def test_values_are_doubles_that_nobody_can_change_and_whole_numbers_among_them():
    given = np.arange(6, dtype=np.int64).reshape(2, 3)
    said = chunk(values=given)
    given[0, 0] = 9
    assert said.values.dtype == np.float64 and said.values[0, 0] == 0.0
    with pytest.raises(ValueError, match="read-only"):
        said.values[0, 0] = 1.0
    assert (said.frozen_rows, said.source, said.subtask) == (0, "", "")


def test_a_table_has_rows_of_every_channel_once(robot):
    names = robot.channel_names
    whole = good(robot)
    assert check_shape(whole, robot) == check_shape(replace(whole, values=whole.values[:1]), robot) == ""
    for values in (np.zeros((0, len(names))), np.zeros((4, len(names) - 1)), np.zeros(len(names)), np.zeros((2, 2, 2))):
        assert "do not fit" in check_shape(replace(whole, values=values), robot)
    assert check_shape(replace(whole, values=np.zeros((MAX_ROWS, len(names)))), robot) == ""
    assert f"are more than {MAX_ROWS}" in check_shape(
        replace(whole, values=np.zeros((MAX_ROWS + 1, len(names)))), robot
    )
    assert "'tail' is not one of" in check_shape(replace(whole, names=("tail", *names[1:])), robot)
    assert check_shape(replace(whole, names=(names[1], *names[1:])), robot) == f"channel {names[1]} is there twice"
    shorter = replace(whole, names=names[1:], values=whole.values[:, 1:])
    assert check_shape(shorter, robot) == f"channel {names[0]} of {robot.name} is missing"


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_the_first_number_that_is_not_finite_is_named(value):
    values = np.zeros((5, 3))
    values[3, 1] = values[4, 0] = value
    assert check_values(chunk(values=values)) == f"b is {value} in row 3" and check_values(chunk()) == ""


@pytest.mark.parametrize(
    ("period", "start", "words"),
    [
        (0.001, 100.0, ""),
        (0.0009, 100.0, "is not between"),
        (10.0, 100.0, ""),
        (10.1, 100.0, "is not between"),
        (-0.1, 100.0, "is not between"),
        (np.nan, 100.0, "is not between"),
        (0.1, np.nan, "is no time"),
        (0.1, np.inf, "is no time"),
    ],
)
def test_period_and_start_are_numbers_that_make_sense(period, start, words):
    found = check_time(chunk(start, period), 100.0, AGES, 0.0)
    assert words in found and bool(found) == bool(words)


@pytest.mark.parametrize(
    ("age", "executed", "words"),
    [
        (0.9, 0.1, ""),
        (1.1, 0.1, "more than chunk_max_age 1.00 s"),
        (1.1, 0.0, ""),  # it has not moved since: the rows are as good as new
        (29.0, 0.0, ""),
        (31.0, 0.0, "more than wait_max_age 30.00 s"),
        (-0.4, 0.0, ""),
        (-0.6, 0.0, "0.60 s in the future, more than chunk_max_ahead 0.50 s"),
        (0.5, 0.39, ""),
        (0.5, 0.41, "it ended 0.01 s ago"),
    ],
)
def test_an_observation_may_be_so_old_and_so_early(age, executed, words):
    found = check_time(chunk(100.0), 100.0 + age, AGES, executed)
    assert words in found and bool(found) == bool(words), found


def test_a_chunk_answers_this_epoch_and_follows_the_last_of_its_source():
    assert check_order(chunk(source="p"), 3, {"p": 6}) == "" and check_order(chunk(source="p"), 3, {"q": 9}) == ""
    assert check_order(chunk(), 4, {}) == "epoch 3 is not the current epoch 4"
    assert check_order(chunk(source="p"), 3, {"p": 7}) == "sequence 7 does not follow 7"
    assert "if p was restarted" in check_order(chunk(source="p"), 3, {"p": 8})


def test_all_checks_together_say_the_first_failure_and_its_cause(robot):
    whole = good(robot)
    assert check_chunk(whole, robot, 100.1, AGES, 0.0, 3, {}).accepted
    for wrong in ({"frozen_rows": -1}, {"frozen_rows": 1.5}, {"period": 99.0}, {"epoch": 2}, {"names": ("a",)}):
        assert not check_chunk(replace(whole, **wrong), robot, 100.1, AGES, 0.0, 3, {}).accepted
    values = np.array(whole.values)
    values[2, 1] = np.nan
    verdict = check_chunk(replace(whole, values=values, epoch=2), robot, 100.1, AGES, 0.0, 3, {})
    assert verdict.cause is Cause.MALFORMED and verdict.reason == f"{robot.channel_names[1]} is nan in row 2"


def test_columns_are_put_in_the_robots_order_by_name(robot):
    whole = good(robot)
    order = np.random.default_rng(1).permutation(len(whole.names))
    shuffled = replace(whole, names=tuple(whole.names[i] for i in order), values=whole.values[:, order])
    np.testing.assert_array_equal(in_robot_order(shuffled, robot), whole.values)


def test_angles_without_ends_come_on_the_turn_of_the_command_and_go_on_over_pi(small_robot):
    arm = small_robot(
        """
        arm: {kind: position, channels: [j1, wrist], command: {topic: arm, type: joint_state},
              limits: {source: urdf, acceleration: 5.0}}
        """
    )
    said = chunk(names=("wrist", "j1"), values=np.array([[3.0, 0.1], [3.1, 0.2], [-3.1, 0.3], [-3.0, 9.0]]))
    found = on_nearest_turn(said, arm, np.array([0.5, 2.9 + 2 * np.pi]))
    expected = np.array([3.0, 3.1, 2 * np.pi - 3.1, 2 * np.pi - 3.0]) + 2 * np.pi
    np.testing.assert_allclose(found.values, np.stack([expected, [0.1, 0.2, 0.3, 9.0]], axis=1))
