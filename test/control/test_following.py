"""The plan that is followed: on its time after a pause, made anew only with a reason, and right when it was made late."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from story import Story, make_robot

from pi0_ros.control import motion_plan
from pi0_ros.control.executor import Executor
from pi0_ros.control.following import Following
from pi0_ros.control.joining import Join
from pi0_ros.control.motion_plan import Grid
from pi0_ros.control.plan_maker import Coming, Start
from pi0_ros.control.plan_making import FinishedPlan
from pi0_ros.control.progress import Progress
from pi0_ros.control.running_plan import AcceptedChunk, Running
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


# --- when one plan takes over from another, by plans that are written down here -------------------------------------

CHANNELS = SimpleNamespace(
    names=("a", "b", "grip"),
    bound=np.array([1.0, 1.0, 0.0]),
    smooth=np.array([1.0, 1.0, 0.0]),
    rate_limit=np.array([2.0, 4.0, 5.0]),
)
STATE = np.array([[0.1, 0.2, 0.3], [0.4, 0.5, 0.6], [0.7, 0.8, 0.9]])
SHARES = np.full(6, 0.8)


class Noted:
    """Notes what plans are asked for. Each begins with command 4 of the running one, which comes at 100.10."""

    grid = Grid(count=6, step=0.04, parts=2, tail=2)

    def __init__(self):
        self.began, self.asked = None, []

    def start(self, running, now, commanded, again=0):
        self.began = (running, now, commanded, again)
        return Start(4, commanded, 100.10, 100.12)

    def renew(self, chunk, joined, start, scales, late=0):
        self.asked.append((chunk, joined, start, scales, late))
        return "on its way"


def plan_of(count=20, end=1000.9, state=STATE, time=100.0, first=0.0):
    """A plan whose command k is at path time 1000 + 0.03 k, and whose values are `first` and 0.01 k more."""
    k = np.arange(count)
    states = np.tile(STATE, (count, 1, 1))
    states[:, 0] += first + 0.01 * k[:, None]
    return SimpleNamespace(
        states=states,
        path_times=1000.0 + 0.03 * k,
        rates=1.0 + 0.1 * k,
        path=SimpleNamespace(end=end, start=1000.0, period=0.1),
        request=SimpleNamespace(state=state, time=time, times=SimpleNamespace(times=[999.98])),
        limited=np.zeros(count, bool),
    )


def chunk_of(sequence=1, observed=99.5):
    return AcceptedChunk(sequence, 1, "policy", observed, 0.1, "", "blend", (False,))


class Late:
    """A plan that is not there."""

    def done(self):
        return False


def following(index=None, coming=None, executed=(), chunk=None, **plan):
    """One that follows a plan of which command `index` was sent last (None: no plan), and one on its way."""
    progress = Progress()
    for time, seconds in executed:
        progress.add(time, seconds)
    found = Following(CHANNELS, 0.02, Noted(), progress)
    if index is not None:
        found.running = Running(chunk or chunk_of(), plan_of(**plan), 0.3, index)
    found.coming = coming
    return found


def on_its_way(work, join=-1, first=100.04, late=0, sequence=2, time=100.04):
    joined = Join("the path", 1000.5, 0.25, np.array([0.01, 0.03, 0.02]))
    return Coming(chunk_of(sequence, observed=99.8), joined, Start(join, STATE, time, first), SHARES, work, late)


def step(of, time=100.06, state=STATE):
    return of.advance(ros=500.0, time=time, state=state, scales="the scales")


@pytest.mark.parametrize(("time", "taken"), [(100.029, False), (100.031, True)])
def test_a_plan_takes_over_half_a_period_before_its_first_command_is_due_and_not_sooner(time, taken):
    of = following(coming=on_its_way(FinishedPlan(plan_of(first=5.0))))
    command, first = step(of, time)
    assert (command is not None, first, of.coming is None) == (taken, taken, taken)
    if taken:
        np.testing.assert_allclose(command[0], STATE[0] + 5.0)
        assert (of.running.index, of.running.behind, of.waiting, of.dry) == (0, 0.25, False, False)
        assert step(of, time + 0.02)[1] is False


@pytest.mark.parametrize(("index", "taken"), [(2, False), (3, True), (4, True)])
def test_a_plan_that_begins_on_the_way_of_another_waits_until_that_is_there(index, taken):
    of = following(index, on_its_way(FinishedPlan(plan_of(first=5.0)), join=3))
    command, _ = step(of)
    np.testing.assert_allclose(command[0], STATE[0] + (5.0 if taken else 0.01 * (index + 1)))


def test_who_stands_waits_for_its_plan_and_asks_for_no_other():
    for of in (following(coming=on_its_way(Late())), following(19, on_its_way(Late()))):  # without one, and at its end
        assert step(of) == (None, False)
        assert of.coming.work.done() is False and of._maker.asked == []


@pytest.mark.parametrize(("work", "late"), [(Late(), 0), (Late(), 2), (FinishedPlan(plan_of(state=STATE + 2e-9)), 1), (FinishedPlan(plan_of(state=STATE - 2e-9)), 1)])  # fmt: skip
def test_a_plan_that_is_not_there_in_time_or_begins_elsewhere_is_asked_for_again_from_further_on(work, late):
    """0.03 s of path were executed since its start at 100.04, and 0.06 s more are until command 4, at 100.10."""
    of = following(2, on_its_way(work, late=late), executed=((100.04, 0.0), (100.06, 0.03)))
    old = of.running
    command, first = step(of)
    assert of.running is old and not first and of.coming == "on its way"
    np.testing.assert_allclose(command[0], STATE[0] + 0.03)
    assert of._maker.began == (old, pytest.approx(100.04), STATE, late + 1) or of._maker.began[3] == late + 1
    ((chunk, joined, start, shares, again),) = of._maker.asked
    assert (chunk.sequence, joined.path, start.join, again) == (2, "the path", 4, late + 1) and shares is SHARES
    assert joined.begin == pytest.approx(1000.5 + 0.03 + 0.06)
    assert joined.behind == pytest.approx(0.25 + 0.06 - 0.09)
    np.testing.assert_array_equal(joined.gap, [0.01, 0.03, 0.02])


def test_a_gripper_that_is_elsewhere_keeps_no_plan_from_beginning():
    elsewhere = STATE + np.array([0.0, 0.0, 0.5])
    of = following(2, on_its_way(FinishedPlan(plan_of(first=5.0))))
    np.testing.assert_allclose(step(of, state=elsewhere)[0][0], STATE[0] + 5.0)


def test_where_there_is_no_motion_the_one_before_goes_on_and_that_is_said():
    of = following(2, on_its_way(FinishedPlan(None)))
    np.testing.assert_allclose(step(of)[0][0], STATE[0] + 0.03)
    assert of.unfound == "chunk 2: no motion within the robot's limits follows it" and of.coming is None
    of.forget()
    assert (of.running, of.coming, of.unfound, of.splice_delay, of.rate, of.waiting) == (None, None, "", 0.0, 0.0, True)


def test_the_seam_is_what_the_new_plan_changes_of_what_the_old_one_would_have_sent():
    """Of the worst channel without grippers: 0.2 of position, and of velocity 0.3, which is 0.15 of a limit of 2."""
    new = plan_of()
    new.states[0] = plan_of().states[3] + [[-0.2, 0.1, 9.0], [0.3, -0.5, 9.0], [0.0, 0.0, 0.0]]
    of = following(2, on_its_way(FinishedPlan(new)))
    step(of)
    seam = (of.seam.position, of.seam.velocity, of.seam.velocity_share, of.seam.gap)
    assert seam == pytest.approx((0.2, 0.5, 0.15, 0.03))
    assert of.splice_delay == pytest.approx(500.0 - 99.8)


def test_a_plan_made_anew_of_the_same_chunk_is_no_seam_and_no_splice():
    chunk = chunk_of()
    of = following(2, replace(on_its_way(FinishedPlan(plan_of(first=5.0))), chunk=chunk), chunk=chunk)
    step(of)
    assert (of.seam.position, of.splice_delay) == (0.0, 0.0) and of.running.chunk is chunk


@pytest.mark.parametrize(("index", "executed"), [(-1, 0.02), (2, 0.03), (6, 0.0)])
def test_what_is_executed_is_counted_in_path_seconds_until_the_path_ends(index, executed):
    """Command 0 is 0.02 s behind the plan's start, the others 0.03 s apart; of the last ones the path has already ended."""
    of = following(index, end=1000.18)
    step(of)
    assert of._progress.total == pytest.approx(executed)


def asked_anew(time, index=2, count=20, end=1000.9, coming=None):
    of = following(index, coming, count=count, end=end)
    of.advance(500.0, time, STATE, "the scales")
    return of._maker.asked


@pytest.mark.parametrize(
    ("off", "anew"), [(0.0, False), (0.029, False), (0.031, True), (-0.029, False), (-0.031, True)]
)
def test_a_plan_that_is_off_its_clock_by_a_period_and_a_half_is_made_anew(off, anew):
    """Command 3 of a plan from 100.0 on is due at 100.08."""
    asked = asked_anew(100.08 + off)
    assert bool(asked) is anew
    if anew:
        ((chunk, joined, start, scales, late),) = asked
        assert (chunk.sequence, start.join, scales, late) == (1, 4, "the scales", 0)
        assert (start.time, start.first) == pytest.approx((100.08 + off + 0.02, 100.08 + off + 0.04))
        assert joined.begin == pytest.approx(1000.12) and not joined.gap.any() and len(joined.gap) == 3
        # Late by 0.3 s at its start, and since then by 5 periods less 0.14 s of path; and off its clock.
        assert joined.behind == pytest.approx(0.3 + 5 * 0.02 - 0.14 + off)


@pytest.mark.parametrize(
    ("count", "end", "anew"),
    [
        (10, 1000.9, True),  # command 3 of 10: without the 4 of the stop 3 are left, of 8
        (11, 1000.9, False),
        (10, 1000.2, True),
        (
            10,
            1000.18,
            False,
        ),  # the path ends before the stop begins, 0.08 s before the last command: nothing is missing
    ],
)
def test_a_plan_is_made_anew_where_half_of_what_it_looks_ahead_is_over_unless_its_path_ends_there(count, end, anew):
    (asked,) = asked_anew(100.08, 2, count, end) or (None,)
    assert (asked is not None) is anew
    if anew:
        assert asked[1].behind == pytest.approx(0.3 + 5 * 0.02 - 0.14)


def test_no_plan_is_made_anew_where_another_is_on_its_way_or_the_path_is_over():
    assert asked_anew(100.2, coming=on_its_way(FinishedPlan(plan_of()), first=200.0)) == []
    assert asked_anew(100.2, end=1000.09) == []


def test_how_fast_a_path_is_run_is_that_of_the_command_that_was_sent_last():
    assert [round(following(index).rate, 9) for index in (-1, 0, 3)] == [1.0, 1.0, 1.3]
    ended = following(3, end=1000.09)
    assert (ended.rate, ended.driving, ended.dry, ended.waiting) == (0.0, None, True, False)
    assert not following(3, on_its_way(Late()), end=1000.09).dry
