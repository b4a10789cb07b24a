"""Where a new path begins, and what is remembered for it."""

import numpy as np
import pytest
from story import make_robot, middle

from pi0_ros.control import Chunk, ExecutorSettings
from pi0_ros.control.joining import QUICK_JOIN, Joining
from pi0_ros.control.plan_channels import plan_channels
from pi0_ros.control.progress import Progress

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
    joined = made().from_rest(made().path("replace", chunk(values), values), 100.0, command)
    at = joined.path.at(100.0 + np.array([0.0, QUICK_JOIN + 0.001, 0.5]))[:, JOINT]
    assert at == pytest.approx([0.39, 0.4, 0.4], abs=1e-9)
    assert (joined.begin, joined.behind) == (100.0, 0.0)
