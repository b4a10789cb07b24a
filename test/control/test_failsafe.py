"""What is asked of the mode table for what is wrong: which, in which mode, when, and the worst first."""

from dataclasses import replace

import numpy as np
import pytest
from story import make_robot

from pi0_ros.control import ExecutorSettings, Mode
from pi0_ros.control.failsafe import Conditions, Failsafe, PlanCondition, StateCondition
from pi0_ros.control.modes import ModeState, Trigger
from pi0_ros.control.policy_watch import PolicyWatch

ROBOT = make_robot()
SETTINGS = ExecutorSettings(
    state_grace=0.31,
    state_lost=0.91,
    tracking_error=0.25,
    tracking_time=0.41,
    tracking_lag=0.0,
    frozen_motion=0.2,
    engage_timeout=3.0,
    policy_lost=1.5,
)
PERIOD = 0.02
COMMAND = np.zeros((3, len(ROBOT.channels)))
COMMAND[0] = [0.5 * (c.limits.lower + c.limits.upper) for c in ROBOT.channels]
DRIVEN = [Mode.TELEOP, Mode.AUTONOMY]


def good(mode=Mode.HOLD, epoch=4, **other):
    """Conditions in which nothing is wrong, but for what is given: fields of `Conditions`, of the state or of the plan."""
    state = StateCondition("", "", False, False, "", COMMAND[0].tolist())
    plan = PlanCondition(False, False, 0.0, "", "", PolicyWatch())
    state = state._replace(**{k: v for k, v in other.items() if k in StateCondition._fields})
    plan = plan._replace(**{k: v for k, v in other.items() if k in PlanCondition._fields})
    now = Conditions(ModeState(mode, "asked", epoch), True, "", mode is Mode.TELEOP, COMMAND, state, plan)
    return now._replace(**{k: v for k, v in other.items() if k in Conditions._fields and k not in ("state", "plan")})


def watcher():
    failsafe = Failsafe(ROBOT, SETTINGS, PERIOD)
    failsafe.begin(COMMAND[0])
    return failsafe


def when(failsafe, trigger, seconds, now, start=10.0):
    """The steady time since `start` at which an event of this kind is first asked for, None if it is not within `seconds`."""
    for k in range(round(seconds / PERIOD)):
        if any(event.trigger is trigger for event in failsafe.update(start + k * PERIOD, now)):
            return k * PERIOD
    return None


@pytest.mark.parametrize("mode", list(Mode))
def test_where_nothing_is_wrong_nothing_is_asked(mode):
    failsafe = watcher()
    assert all(failsafe.update(10.0 + k * PERIOD, good(mode)) == [] for k in range(600))
    assert not failsafe.late and not failsafe.starved and not failsafe.lost(99.0)


@pytest.mark.parametrize("mode", list(Mode))
@pytest.mark.parametrize("following", [True, False])
def test_the_button_stops_in_every_mode_and_a_joint_far_outside_once_commands_go_out(mode, following):
    asked = watcher().update(10.0, good(mode, following=following, estop="e-stop pressed", outside="j is at 9"))
    wanted = [(Trigger.ESTOP, "e-stop pressed")] + [(Trigger.FAULT, "j is at 9")] * following
    assert [(event.trigger, event.text) for event in asked] == wanted
    assert {event.level for event in asked} == {"error"}


@pytest.mark.parametrize("mode", list(Mode))
def test_late_measurements_cost_speed_then_the_mode_and_then_the_robot(mode):
    failsafe, late, asked = watcher(), [], {}
    for k in range(60):
        steady = 10.0 + k * PERIOD
        now = good(mode, quiet="nothing new on joint_states", clock="the clock stands")
        for event in failsafe.update(steady, now):
            asked.setdefault(event.trigger, (steady - 10.0, event.text))
        late.append(failsafe.late)
    assert late == [k * PERIOD <= 0.31 for k in range(60)]
    at, text = asked[Trigger.STATE_STALE]
    assert at == pytest.approx(0.32) and text == "nothing new on joint_states"
    at, text = asked[Trigger.FAULT]
    assert at == pytest.approx(0.92) and text == "measurements lost: nothing new on joint_states; the clock stands"


def test_measurements_that_come_back_are_late_anew_the_next_time():
    failsafe, quiet = watcher(), good(Mode.AUTONOMY, quiet="nothing new")
    assert when(failsafe, Trigger.STATE_STALE, 0.3, quiet) is None and failsafe.late
    assert failsafe.update(10.3, good(Mode.AUTONOMY)) == [] and not failsafe.late
    assert when(failsafe, Trigger.STATE_STALE, 0.3, quiet, 10.32) is None
    assert when(failsafe, Trigger.STATE_STALE, 0.3, quiet, 10.62) is not None


def test_where_two_publishers_disagree_there_is_no_grace_and_before_the_start_nothing_is_asked():
    asked = watcher().update(10.0, good(Mode.TELEOP, quiet="/a and /b publish j1", contradicted=True))
    assert [event.trigger for event in asked] == [Trigger.STATE_STALE]
    failsafe = watcher()
    assert when(failsafe, Trigger.STATE_STALE, 3.0, good(quiet="nothing came", following=False)) is None
    assert not failsafe.late and failsafe.lost(13.0)


def test_a_device_is_lost_that_was_there_and_one_that_never_spoke_is_waited_for():
    failsafe = watcher()
    assert when(failsafe, Trigger.TELEOP_LOST, 5.0, good(Mode.TELEOP, teleop=False)) is None
    assert failsafe.update(20.0, good(Mode.TELEOP)) == []
    asked = failsafe.update(20.02, good(Mode.TELEOP, teleop=False))
    assert [(event.trigger, event.text) for event in asked] == [(Trigger.TELEOP_LOST, "the teleop device went silent")]
    # In the next life of the mode it is waited for again.
    failsafe.update(20.04, good(Mode.TELEOP, epoch=5))
    assert failsafe.update(20.06, good(Mode.TELEOP, epoch=6, teleop=False)) == []


def test_a_device_that_never_spoke_is_not_lost_in_the_first_epoch_either():
    assert watcher().update(10.0, good(Mode.TELEOP, epoch=0, teleop=False)) == []


@pytest.mark.parametrize("mode", [Mode.HOLD, Mode.AUTONOMY, Mode.STOPPED])
def test_devices_are_watched_where_a_person_drives_and_plans_where_the_policy_does(mode):
    failsafe = watcher()
    failsafe.update(10.0, good(mode, teleop=True))
    assert failsafe.update(10.02, good(mode, teleop=False)) == []
    if mode is not Mode.AUTONOMY:
        assert when(watcher(), Trigger.POLICY_LOST, 9.0, good(mode, waiting=True, dry=True)) is None
    assert when(watcher(), Trigger.POLICY_LOST, 9.0, good(Mode.TELEOP, waiting=True, dry=True)) is None


def test_without_a_plan_autonomy_ends_after_its_time_and_says_what_was_refused():
    failsafe = watcher()
    waiting = good(Mode.AUTONOMY, waiting=True, refusal="too far")
    assert when(failsafe, Trigger.POLICY_LOST, 3.0, waiting) is None
    assert failsafe.update(13.0, good(Mode.AUTONOMY)) == []  # a plan came: the time begins anew
    assert when(failsafe, Trigger.POLICY_LOST, 3.0, waiting, 13.02) is None
    (event,) = failsafe.update(16.05, waiting)
    assert event.text == "no usable chunk within 3 s; the last was refused: too far"
    for_ever = Failsafe(ROBOT, replace(SETTINGS, engage_timeout=0.0), PERIOD)
    assert when(for_ever, Trigger.POLICY_LOST, 30.0, waiting) is None


@pytest.mark.parametrize(("delay", "limit"), [(0.0, 1.5), (0.7, 1.5), (0.8, 3.1), (2.0, 5.5)])
def test_a_plan_that_ran_out_is_waited_for_longer_the_slower_the_policy_is(delay, limit):
    """1.5 s; a policy that takes more than half of that gets twice its delay on top."""
    failsafe, dry = watcher(), good(Mode.AUTONOMY, dry=True, delay=delay)
    assert when(failsafe, Trigger.POLICY_LOST, limit, dry) is None and failsafe.starved
    assert failsafe.update(10.0 + limit - 0.001, good(Mode.AUTONOMY)) == [] and not failsafe.starved
    failsafe = watcher()
    failsafe.update(10.0, dry)
    assert failsafe.update(10.0 + limit - 1e-6, dry) == []
    (event,) = failsafe.update(10.0 + limit + 1e-3, dry)
    assert event.text == f"policy silent for {limit:g} s after the plan ran out"


def test_why_a_policy_that_fell_silent_makes_no_plan_is_said():
    failsafe, dry = watcher(), good(Mode.AUTONOMY, dry=True, policy=PolicyWatch(reason="no subtask"))
    failsafe.update(10.0, dry)
    (event,) = failsafe.update(11.6, dry)
    assert event.text.endswith("after the plan ran out; the policy: no subtask")


def test_who_publishes_beside_a_policy_that_fell_silent_is_named():
    failsafe, dry = watcher(), good(Mode.AUTONOMY, dry=True, other="policy_b")
    failsafe.update(10.0, dry)
    (event,) = failsafe.update(11.6, dry)
    assert event.text.endswith("; 'policy_b' publishes and is followed once autonomy is asked for again")


def test_a_plan_that_ran_out_in_the_last_life_of_autonomy_counts_for_nothing_in_the_next():
    failsafe, dry = watcher(), good(Mode.AUTONOMY, dry=True, waiting=True)
    failsafe.update(10.0, dry)
    assert failsafe.update(11.6, good(Mode.AUTONOMY, epoch=6, dry=True, waiting=True)) == []
    assert failsafe.update(12.9, good(Mode.AUTONOMY, epoch=6, dry=True, waiting=True)) == []


@pytest.mark.parametrize("side", [1.0, -1.0])
@pytest.mark.parametrize("mode", list(Mode))
@pytest.mark.parametrize(("name", "allowed"), [("right_joint3", 0.25), ("lift", 0.05)])
def test_a_joint_that_stays_off_its_command_is_told_in_every_mode(side, mode, name, allowed):
    i, measured = ROBOT.index[name], COMMAND[0].copy()
    measured[i] = COMMAND[0, i] + side * 0.97 * allowed
    assert when(watcher(), Trigger.TRACKING, 2.0, good(mode, measured=measured.tolist())) is None
    measured[i] = COMMAND[0, i] + side * 1.03 * allowed
    failsafe, off = watcher(), good(mode, measured=measured.tolist())
    failsafe.update(9.98, off)
    assert failsafe.tracking.error == pytest.approx(1.03 * allowed)
    assert when(failsafe, Trigger.TRACKING, 2.0, off) == pytest.approx(0.4)
    # Dealt with: it is told again only when it has been off for the whole time once more.
    assert when(failsafe, Trigger.TRACKING, 2.0, off, 20.0) == pytest.approx(0.42)


def test_a_moving_command_may_be_followed_later_by_the_lag_in_either_direction():
    failsafe = Failsafe(ROBOT, replace(SETTINGS, tracking_lag=0.1), PERIOD)
    i = ROBOT.index["left_joint2"]
    for speed in (1.5, -1.5):
        command, measured = COMMAND.copy(), COMMAND[0].copy()
        command[1, i] = speed
        lag = 0.1 + ROBOT.group("left_arm").command_latency
        for excess, seen in ((0.97, None), (1.03, 0.42)):
            measured[i] = COMMAND[0, i] - np.sign(speed) * (0.25 * excess + lag * abs(speed))
            failsafe.begin(COMMAND[0])
            failsafe.tracking.restart()
            off = good(Mode.AUTONOMY, commanded=command, measured=measured.tolist())
            assert when(failsafe, Trigger.TRACKING, 2.0, off) == (seen and pytest.approx(seen))


def test_who_is_off_course_in_one_life_of_a_mode_is_watched_anew_in_the_next():
    failsafe, measured = watcher(), COMMAND[0].copy()
    measured[2] += 0.4
    assert when(failsafe, Trigger.TRACKING, 0.4, good(Mode.TELEOP, measured=measured.tolist())) is None
    again = good(Mode.TELEOP, epoch=5, measured=measured.tolist())
    assert when(failsafe, Trigger.TRACKING, 0.4, again, 10.4) is None
    assert failsafe.update(10.83, again) != []


@pytest.mark.parametrize("mode", list(Mode))
@pytest.mark.parametrize("side", [1.0, -1.0])
def test_measurements_that_stand_still_while_somebody_drives_are_told_after_some_way(mode, side):
    failsafe, still = watcher(), {"frozen": True, "measured": COMMAND[0].tolist()}
    command = COMMAND.copy()
    command[0, 9] += side * 0.19
    assert failsafe.update(10.0, good(mode, commanded=command, **still)) == []
    command[0, 9] += side * 0.02
    asked = failsafe.update(10.02, good(mode, commanded=command, **still))
    if mode in DRIVEN:
        (event,) = asked
        assert event.trigger is Trigger.TRACKING and f"{ROBOT.channel_names[9]} was told to move 0.21" in event.text
        assert failsafe.update(10.04, good(mode, epoch=5, commanded=command, **still)) == []  # counted from here on
    else:
        assert asked == []


def test_measurements_that_move_begin_the_way_anew():
    failsafe, command = watcher(), COMMAND.copy()
    for k in range(20):
        command[0, 9] += 0.03
        now = good(Mode.TELEOP, commanded=command.copy(), measured=command[0].tolist(), frozen=k % 5 != 4)
        assert failsafe.update(10.0 + k * PERIOD, now) == []


def test_what_follows_from_the_worst_is_not_asked_beside_it():
    """Measurements that stay away end the mode; that the policy is silent as well is then nobody's business."""
    failsafe = watcher()
    now = good(Mode.AUTONOMY, quiet="nothing new", dry=True, waiting=True)
    asked = [event.trigger for k in range(300) for event in failsafe.update(10.0 + k * PERIOD, now)]
    assert Trigger.POLICY_LOST not in asked and {Trigger.STATE_STALE, Trigger.FAULT} == set(asked)


@pytest.mark.parametrize(
    ("following", "quiet", "told"), [(True, "", True), (False, "", False), (True, "j is late", False)]
)
def test_only_of_a_robot_that_is_commanded_and_measured_is_it_said_that_it_is_off_its_command(following, quiet, told):
    failsafe = watcher()
    now = good(following=following, quiet=quiet, measured=(COMMAND[0] + 0.5).tolist())
    assert (when(failsafe, Trigger.TRACKING, 1.2, now) is not None) is told


@pytest.mark.parametrize("following", [True, False])
def test_only_a_robot_that_is_commanded_is_slowed_where_measurements_are_late(following):
    failsafe = watcher()
    assert not failsafe.late
    failsafe.update(10.0, good(following=following, quiet="j is late"))
    assert failsafe.late is following
