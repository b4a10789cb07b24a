"""The plan that is followed: on its time after a pause, made anew only with a reason, and right when it was made late."""

from dataclasses import replace

import numpy as np
import pytest
from story import Story, make_robot

from pi0_ros.control import motion_plan
from pi0_ros.control.executor import Executor
from pi0_ros.control.settings import ExecutorSettings

ROBOT = make_robot()
JOINT = ROBOT.index["left_joint2"]
SLOW = ExecutorSettings(engage_time=0.0, engage_ramp=0.0, engage_scale=1.0)


class Counting:
    """Makes plans, which are ready `late` seconds after they were asked for; counts them."""

    def __init__(self, late=0.0):
        self.late, self.made, self.clock, self.making = late, 0, lambda: 0.0, False

    def submit(self, make):
        self.made += 1
        self.making = True
        plan, self.making = make(), False
        return Ready(plan, self.clock, self.clock() + self.late - 1e-6)

    def periods(self):
        return 0


class Ready:
    def __init__(self, plan, clock, at):
        self.plan, self.clock, self.at = plan, clock, at

    def done(self):
        return self.clock() >= self.at

    def result(self):
        return self.plan


def driving(planner, speed=0.25, rows=40, settings=SLOW):
    """A story in autonomy along rows of 0.1 s that move one joint evenly, and the function of ROS time that they are."""
    story = Story(ROBOT, settings)
    story.executor, planner.clock = Executor(ROBOT, settings, planner=planner), lambda: story.steady
    story.run(0.1)
    assert story.ask("autonomy").ok
    story.tick()
    start, here = story.ros, story.values.copy()
    values = np.tile(here, (rows, 1))
    values[:, JOINT] += speed * 0.1 * np.arange(rows)
    assert story.send(story.chunk(values=values, rows=rows, start=start)).accepted
    return story, lambda ros: here[JOINT] + speed * (ros - start)


@pytest.mark.parametrize("speed", [0.25, -0.25])
def test_after_a_pause_of_the_loop_the_robot_is_soon_where_its_rows_are(speed):
    story, wanted = driving(Counting(), speed)
    story.run(0.8)
    assert story.at("left_joint2") == pytest.approx(wanted(story.ros), abs=1e-3)
    story.tick(0.13)  # five periods and a half are missed
    late = (wanted(story.ros) - story.at("left_joint2")) / speed
    assert late == pytest.approx(0.11, abs=0.005)
    story.run(1.4)
    assert story.at("left_joint2") == pytest.approx(wanted(story.ros), abs=1e-3)
    story.sound()


def test_a_plan_is_made_anew_where_its_end_comes_near_and_after_a_pause_and_not_otherwise():
    planner = Counting()
    story, _ = driving(planner)
    first = planner.made
    story.run(0.2)
    assert planner.made == first == 1
    story.tick(0.13)
    story.run(0.1)
    assert planner.made == 2
    story.run(2.5)
    assert 3 <= planner.made <= 8  # a plan lasts a good part of a second


@pytest.mark.parametrize("late", [0.04, 0.08])
def test_a_first_plan_that_is_made_late_begins_where_the_robot_is_as_much_later(late):
    """Rows that a standing robot has not executed are not skipped: it stays that much behind them."""
    planner = Counting(late)
    story, wanted = driving(planner)
    story.run(0.02)
    assert story.last.owner == "hold"  # it is not ready yet
    story.run(0.2)
    assert story.last.owner == "policy"
    planner.late = 0.0
    story.run(1.5)
    behind = (wanted(story.ros) - story.at("left_joint2")) / 0.25
    assert 0.0 <= behind <= late + 0.021
    story.sound()


def test_a_chunk_whose_plan_comes_late_is_joined_to_the_one_that_goes_on_meanwhile():
    """The next chunk asks for 0.05 rad more everywhere; the robot neither stops nor jumps until its plan is there."""
    planner = Counting()
    story, wanted = driving(planner, rows=60)
    story.run(0.8)
    planner.late = 0.1
    rows = np.tile(story.values, (40, 1))
    rows[:, JOINT] = wanted(story.ros + 0.1 * np.arange(40)) + 0.05
    assert story.send(story.chunk(values=rows, rows=40, start=story.ros)).accepted
    moved, sequence = [], story.last.plan_sequence
    for _ in range(4):
        story.tick()
        moved.append(story.last.command.velocities[JOINT])
        assert story.last.plan_sequence == sequence
    assert min(moved) > 0.2
    planner.late = 0.0
    story.run(1.4)
    assert story.last.plan_sequence == sequence + 1
    assert story.at("left_joint2") == pytest.approx(wanted(story.ros) + 0.05, abs=2e-3)
    story.sound()


def test_only_a_new_chunk_is_measured_in_the_control_thread_and_a_plan_made_anew_where_plans_are_made(monkeypatch):
    """Measuring a path takes a millisecond, which a period that sends a command does not have."""
    planner, measured = Counting(), []
    measure = motion_plan.demand

    def watched(*args):
        measured.append("beside" if planner.making else "in the control thread")
        return measure(*args)

    monkeypatch.setattr(motion_plan, "demand", watched)
    story, _ = driving(planner)
    assert measured == ["in the control thread"]
    story.run(2.0)
    assert len(measured) >= 3
    assert set(measured[1:]) == {"beside"}


def test_where_the_rows_further_on_are_too_fast_no_plan_is_made_anew_and_the_robot_comes_to_rest_within_its_limits():
    planner = Counting()
    story, _ = driving(planner, rows=2, settings=replace(SLOW, slow_down=1.5))
    story.run(0.3)
    calm = 0.2 * 0.05 * np.arange(40)
    to_and_fro = 0.3 * np.abs((np.arange(60) + 2) % 4 - 2)  # 6 rad/s, which the joint cannot
    rows = np.tile(story.values, (100, 1))
    rows[:, JOINT] += np.concatenate([calm, calm[-1] + to_and_fro])
    verdict = story.send(story.chunk(values=rows, rows=len(rows), start=story.ros, period=0.05))
    assert verdict.accepted, verdict.reason
    story.run(6.0)
    end = rows[0, JOINT] + calm[-1]
    assert story.at("left_joint2") < end + 0.4  # of the motion to and fro at most the beginning
    assert np.abs(story.last.command.velocities).max() == pytest.approx(0.0, abs=1e-9)
    story.sound()
