"""The watchdogs, fed as a machine feeds them: whatever is read is read a little late, now more and now less."""

import numpy as np
import pytest
from story import Story

from pi0_ros.control import ExecutorSettings, Mode
from pi0_ros.control.watchdogs import CLOCK_JITTER, ClockFault, ClockWatch, Estop, Since, silent

ARM = "left_joint1"
LIMIT, PERIOD = 0.5, 0.02
BLINK = 0.1


def lateness(kind, seed=5):
    """How late [s] a clock is read: never, by microseconds, by milliseconds, on a loaded machine."""
    chance = np.random.default_rng(seed)
    return {
        "never": lambda: 0.0,
        "microseconds": lambda: chance.uniform(0.0, 3e-5),
        "milliseconds": lambda: chance.uniform(0.0, 0.004),
        "loaded": lambda: chance.exponential(0.004),
    }[kind]


EVERY = pytest.mark.parametrize("late", ["never", "microseconds", "milliseconds", "loaded"])


def watched(seconds, clock, late):
    """(first fault, steady time of it) of a clock `clock(steady)` that is read late for `seconds`."""
    watch = ClockWatch()
    for k in range(round(seconds / PERIOD)):
        steady = k * PERIOD
        ros = clock(steady) - late()
        found = watch.fault(steady, ros, LIMIT)
        if found is not None:
            return found[0], steady
        watch = watch.update(steady, ros)
    return None, seconds


@EVERY
def test_a_clock_that_stops_is_noticed_within_half_a_second(late):
    fault, at = watched(20.0, lambda t: min(1000.0 + t, 1003.0), lateness(late))
    assert fault is ClockFault.STOPPED and 3.4 < at < 3.0 + LIMIT + BLINK


@EVERY
@pytest.mark.parametrize("rate", [0.05, 0.3, 1.0, 1.3, 3.0])
def test_a_clock_that_is_slow_or_fast_runs(late, rate):
    assert watched(60.0, lambda t: 1000.0 + rate * t, lateness(late))[0] is None


@EVERY
@pytest.mark.parametrize("jump", [-0.6, 0.6, -30.0, 1e6])
def test_a_clock_that_jumps_is_noticed_at_once(late, jump):
    fault, at = watched(5.0, lambda t: 1000.0 + t + (jump if t >= 2.0 else 0.0), lateness(late))
    assert fault is ClockFault.JUMPED and 2.0 <= at < 2.0 + 2 * PERIOD


@EVERY
@pytest.mark.parametrize("step", [0.02, 0.1])
def test_a_clock_that_comes_in_steps_runs(late, step):
    """As /clock of a simulation that is slower than the loop."""
    assert watched(20.0, lambda t: 1000.0 + step * (t // step), lateness(late))[0] is None


@EVERY
def test_a_step_back_of_a_third_of_a_second_is_no_stop(late):
    assert watched(10.0, lambda t: 1000.0 + t - (0.33 if t > 4.0 else 0.0), lateness(late))[0] is None


@pytest.mark.parametrize(("step", "expected"), [(0.0, 0), (-0.1, 1), (-0.3, 1), (0.3, 0)])
def test_a_clock_that_was_set_back_is_told_once_and_jitter_is_not(step, expected):
    watch, late, told = ClockWatch(), lateness("milliseconds"), 0
    for k in range(500):
        ros = 1000.0 + k * PERIOD + (step if k > 250 else 0.0) - late()
        told += watch.set_back(ros)
        watch = watch.update(k * PERIOD, ros)
    # Until the clock is where it has been before, it is behind; that is one step back.
    assert told == expected


def jittery(late, **kwargs):
    story = Story(**kwargs)
    story.late = lateness(late)
    return story


@EVERY
@pytest.mark.parametrize("stamped", [True, False])
def test_a_standing_clock_ends_autonomy_and_the_base_comes_to_rest(late, stamped):
    story = jittery(late)
    if not stamped:
        story.stamp_of = lambda _: 0.0
    story.run(0.1)
    assert story.ask("autonomy").ok
    story.tick()
    plan = story.chunk(rows=50).values.copy()
    plan[:, story.robot.index["base_vx"]] = 0.3
    assert story.send(story.chunk(rows=50, values=plan)).accepted
    story.run(1.5)
    assert story.at("base_vx") > 0.2
    story.stalled = story.ros
    story.run(LIMIT + BLINK)
    assert story.last.mode is Mode.HOLD
    story.run(1.0)
    last = next(s.command for s in reversed(story.steps) if s.command is not None)
    assert abs(last.values[story.robot.index["base_vx"]]) < 1e-4
    assert not story.ask("autonomy").ok and "stood still" in story.texts()
    story.sound()


@EVERY
def test_jitter_alone_ends_nothing(late):
    story = jittery(late).autonomy(goal={ARM: 0.4}, rows=60)
    story.run(5.0)
    assert {s.mode for s in story.steps[10:]} == {Mode.AUTONOMY}, story.texts()
    story.sound()


@EVERY
def test_silent_joints_silent_odometry_and_frozen_joints_end_autonomy_in_spite_of_jitter(late):
    for quiet in ("joints", "odometry"):
        story = jittery(late).autonomy(goal={ARM: 0.4}, rows=30).run(0.5)
        setattr(story, quiet, False)
        story.run(0.35)
        assert story.last.mode is Mode.HOLD and "no fresh measurement" in story.last.reason
    story = jittery(late, settings=ExecutorSettings(tracking_error=5.0)).autonomy(goal={ARM: 0.6}, rows=30)
    story.follows = False
    story.run(2.0)
    assert story.last.mode is not Mode.AUTONOMY and "frozen" in story.texts()


@EVERY
def test_repeated_stamps_count_as_stale_in_spite_of_jitter(late):
    story = jittery(late).autonomy(goal={ARM: 0.4}, rows=30)
    stuck = story.ros
    story.stamp_of = lambda _: stuck
    story.run(0.45)
    assert story.last.mode is Mode.HOLD and "no fresh measurement" in story.last.reason


def test_what_counts_as_jitter_is_far_below_what_counts_as_a_stop():
    assert ExecutorSettings().clock_jump > 20 * CLOCK_JITTER


def test_silence_begins_after_the_limit_and_what_was_never_heard_is_silent():
    assert silent(None, 5.0, 1.0) and silent(5.0, 6.01, 1.0) and not silent(5.0, 6.0, 1.0) and not silent(5.0, 4.0, 1.0)


def test_a_button_that_was_never_heard_stops_nothing_and_then_its_silence_does():
    button = Estop()
    assert button.active(100.0, 0.5) == ""
    button = button.hear(100.0, False)
    assert button.active(100.5, 0.5) == "" and button.active(100.51, 0.5) == "e-stop silent for more than 0.5 s"
    assert button.hear(100.2, True).active(100.3, 0.5) == "e-stop pressed"
    assert button.hear(100.2, True).active(109.0, 0.5) == "e-stop pressed"
    assert button.hear(100.2, True).hear(100.4, False).active(100.8, 0.5) == ""


def test_each_of_two_buttons_is_pressed_and_silent_by_itself():
    two = Estop().hear(10.0, True, b"left").hear(10.4, False, b"right")
    assert two.active(10.4, 0.5) == "e-stop pressed"
    named = two.with_publishers({b"left": "/left_button", b"right": "/right_button"})
    assert named.active(10.4, 0.5) == "e-stop of /left_button pressed"
    released = named.hear(10.5, False, b"left")
    assert released.active(10.6, 0.5) == ""
    alone = released.hear(10.9, False, b"left").hear(11.3, False, b"left")
    assert alone.active(11.3, 0.5) == "e-stop of /right_button silent for more than 0.5 s"


def test_a_button_that_has_left_is_forgotten_once_another_is_there_and_the_last_one_never():
    pressed = Estop().hear(10.0, True, b"console")
    assert pressed.with_publishers({}).active(10.1, 0.5) == "e-stop pressed"
    both = pressed.hear(10.2, False, b"button")
    assert both.with_publishers({b"button": "/button"}).active(10.3, 0.5) == ""
    assert both.with_publishers({b"button": "/button", b"console": "/console"}).active(10.3, 0.5) != ""


def test_of_a_flood_of_buttons_those_that_are_pressed_are_remembered():
    button = Estop().hear(1.0, True, b"pressed")
    for k in range(500):
        button = button.hear(2.0 + 0.001 * k, False, k.to_bytes(2, "big"))
    assert button.active(2.5, 100.0) == "e-stop pressed" and len(button.buttons) <= 32


def test_a_condition_lasts_from_when_it_began_without_a_break():
    condition = Since()
    assert not condition.lasts(9.0, 0.0)
    for now in (1.0, 1.5, 2.5):
        condition = condition.update(now, True)
    assert condition.start == 1.0 and condition.lasts(2.51, 1.5) and not condition.lasts(2.5, 1.5)
    condition = condition.update(2.6, False)
    assert condition == Since() and condition.update(2.7, False) == Since()
    assert condition.update(3.0, True).start == 3.0


def test_the_third_reading_in_a_row_that_is_behind_tells_that_the_clock_was_set_back():
    watch, told = ClockWatch().update(0.0, 100.0).update(0.02, 100.02), []
    for k, ros in enumerate((99.9, 99.9, 100.03, 99.9, 99.92, 99.94, 99.96)):
        told.append(watch.set_back(ros))
        watch = watch.update(0.04 + 0.02 * k, ros)
    assert told == [False, False, False, False, False, True, False]


@pytest.mark.parametrize(("further", "runs"), [(0.0049, False), (0.0051, True)])
def test_a_clock_comes_further_by_more_than_five_milliseconds(further, runs):
    """Half a second later, in which nothing came: less is what a reading may be late by."""
    watch = ClockWatch().update(10.0, 100.0).update(10.02, 100.0 + further)
    assert watch.furthest == (100.0 + further if runs else 100.0) and watch.since == (10.02 if runs else 10.0)
    found = watch.fault(10.0 + LIMIT + 0.01, 100.0 + further, LIMIT)
    assert (found and found[0]) is (None if runs else ClockFault.STOPPED)
    behind = ClockWatch().update(10.0, 100.0).update(10.02, 100.0 - further)
    assert behind.behind == (1 if runs else 0)


def test_a_clock_that_is_first_read_at_zero_has_not_stood_still_until_then():
    """As simulated time does before it runs; nor was it set back."""
    watch = ClockWatch()
    assert watch.fault(100.0, 0.0, 0.5) is None and not watch.set_back(-9.0)
    watch = watch.update(100.0, 0.0)
    assert watch == ClockWatch(100.0, 0.0, 0.0, 100.0, 0)
    assert watch.fault(100.49, 0.0, 0.5) is None
    assert watch.fault(100.51, 0.0, 0.5) == (ClockFault.STOPPED, "the ROS clock has stood still for 0.51 s")


@pytest.mark.parametrize("pause", [0.02, 0.4, 3.0])
def test_a_clock_jumps_by_what_it_is_ahead_of_the_other_one_or_behind_itself(pause):
    watch = ClockWatch().update(100.0, 900.0)
    for ahead, words in ((0.0, ""), (0.49, ""), (0.51, "jumped ahead by 0.51 s")):
        fault = watch.fault(100.0 + pause, 900.0 + pause + ahead, 0.5)
        assert fault is None if not words else fault == (ClockFault.JUMPED, f"the ROS clock {words}")
    assert watch.fault(100.0 + pause, 899.49, 0.5) == (ClockFault.JUMPED, "the ROS clock jumped back by 0.51 s")
    back = watch.fault(100.0 + pause, 899.51, 0.5)
    assert back is None if pause < 0.5 else back[0] is ClockFault.STOPPED


def test_thirty_two_buttons_are_told_apart_and_of_more_the_oldest_that_is_released_goes():
    found = Estop()
    for k in range(32):
        found = found.hear(5.0 + k, k in (0, 3), b"%d" % k)
    assert len(found.buttons) == 32
    found = found.hear(99.0, False, b"another")
    assert (
        len(found.buttons) == 32 and {b"0", b"3", b"2", b"another"} <= set(found.buttons) and b"1" not in found.buttons
    )
