"""Who keeps the mode tells everybody of a change, once, and writes it down."""

import pytest

from pi0_ros.control import Mode
from pi0_ros.control.blackbox import BlackBox
from pi0_ros.control.journal import Journal, Now
from pi0_ros.control.mode_keeper import ModeEvent, ModeKeeper
from pi0_ros.control.modes import Trigger

NOW = Now(12.5, 900.0)


@pytest.fixture
def modes():
    keeper = ModeKeeper(7, Journal(BlackBox()))
    keeper.told = []
    keeper.on_change = (lambda t: keeper.told.append(("plans", t)), lambda t: keeper.told.append(("teleop", t)))
    return keeper


def written(modes):
    return [(e.steady, e.ros, e.level, e.name, e.text) for e in modes._journal.take(NOW)]


def test_it_begins_in_hold_with_the_epoch_that_it_was_given(modes):
    assert (modes.mode, modes.epoch, modes.state.reason, modes.state.trigger) == (Mode.HOLD, 7, "started", None)


def test_a_change_has_the_next_epoch_and_is_told_to_everybody_at_its_steady_time(modes):
    modes.fire(NOW, ModeEvent(Trigger.ASK_TELEOP, "teleop requested", "info"))
    assert (modes.mode, modes.epoch, modes.state.reason) == (Mode.TELEOP, 8, "teleop requested")
    assert modes.told == [("plans", 12.5), ("teleop", 12.5)]
    assert written(modes) == [(12.5, 900.0, "info", "mode", "hold -> teleop: teleop requested")]


def test_what_changes_nothing_is_neither_told_nor_written(modes):
    modes.fire(NOW, ModeEvent(Trigger.POLICY_LOST, "the policy is silent"))
    modes.fire(NOW, ModeEvent(Trigger.ASK_HOLD, "hold requested", "info"))
    assert (modes.mode, modes.epoch, modes.state.reason, modes.told, written(modes)) == (
        Mode.HOLD,
        7,
        "started",
        [],
        [],
    )


def test_every_change_is_written_however_soon_it_follows_the_last_one(modes):
    modes.fire(NOW, ModeEvent(Trigger.ASK_AUTONOMY, "autonomy requested", "info"))
    modes.fire(NOW, ModeEvent(Trigger.FAULT, "a joint is far outside"))
    assert [(level, text) for *_, level, _, text in written(modes)] == [
        ("info", "hold -> autonomy: autonomy requested"),
        ("error", "autonomy -> stopped: a joint is far outside"),
    ]
    assert len(modes.told) == 4 and modes.epoch == 9


def test_what_is_learned_later_of_the_cause_becomes_the_reason_and_of_another_cause_not(modes):
    modes.fire(NOW, ModeEvent(Trigger.ASK_AUTONOMY, "autonomy requested", "info"))
    modes.fire(NOW, ModeEvent(Trigger.SECOND_PUBLISHER, "somebody publishes on cmd_vel"))
    modes.explain(ModeEvent(Trigger.FAULT, "something else"))
    assert modes.state.reason == "somebody publishes on cmd_vel"
    modes.explain(ModeEvent(Trigger.SECOND_PUBLISHER, "/joystick publishes on cmd_vel"))
    assert (modes.state.reason, modes.epoch, modes.mode) == ("/joystick publishes on cmd_vel", 9, Mode.HOLD)
    assert len(modes.told) == 4
