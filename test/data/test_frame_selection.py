"""Which frames are kept, when an episode ends, and what counts as an intervention, driver by driver."""

import pytest

from pi0_ros.data.frame_selection import Choice, FrameSelection, Keep, RecordMode

HOLD, TELEOP, AUTONOMY = "hold", "teleop", "autonomy"
WRITE, LEAD, SKIP = Keep.WRITE, Keep.LEAD, Keep.SKIP


def told(mode, drivers):
    selection = FrameSelection(mode)
    return [selection.choose(driver) for driver in drivers]


def test_of_everything_nothing_ends_and_a_person_intervenes_only_after_the_policy_drove():
    found = told(RecordMode.EVERYTHING, [TELEOP, AUTONOMY, HOLD, TELEOP, AUTONOMY])
    assert found == [Choice(WRITE), Choice(WRITE), Choice(WRITE), Choice(WRITE, intervention=True), Choice(WRITE)]


def test_of_the_policys_driving_each_stretch_is_an_episode():
    found = told(RecordMode.POLICY, [HOLD, AUTONOMY, AUTONOMY, TELEOP, TELEOP, AUTONOMY, HOLD])
    assert [c.keep for c in found] == [SKIP, WRITE, WRITE, SKIP, SKIP, WRITE, SKIP]
    assert [c.ends for c in found] == [False, False, False, True, False, False, True]


def test_a_correction_begins_after_the_policy_ends_with_the_person_and_the_next_needs_the_policy_again():
    found = told(RecordMode.CORRECTIONS, [TELEOP, AUTONOMY, TELEOP, TELEOP, HOLD, TELEOP, AUTONOMY, HOLD, TELEOP])
    assert [c.keep for c in found] == [LEAD, LEAD, WRITE, WRITE, LEAD, LEAD, LEAD, LEAD, WRITE]
    assert [c.ends for c in found] == [False, False, False, False, True, False, False, False, False]
    # Driving that is no correction is no intervention either.
    assert [c.intervention for c in found] == [False, False, True, True, False, False, False, False, True]


def test_a_stop_ends_a_correction_and_so_does_the_policy_after_a_frame_of_which_the_next_one_may_begin():
    found = told(RecordMode.CORRECTIONS, [AUTONOMY, TELEOP, "stopped", AUTONOMY, TELEOP, AUTONOMY, TELEOP, TELEOP])
    assert [c.keep for c in found] == [LEAD, WRITE, LEAD, LEAD, WRITE, LEAD, WRITE, WRITE]
    assert [c.ends for c in found] == [False, False, True, False, False, True, False, False]
    assert [c.intervention for c in found] == [c.keep is WRITE for c in found]


@pytest.mark.parametrize("mode", list(RecordMode))
def test_a_recording_that_begins_anew_knows_nothing_of_who_drove_before(mode):
    drivers = [HOLD, TELEOP, AUTONOMY, TELEOP, HOLD]
    selection = FrameSelection(mode)
    first = [selection.choose(driver) for driver in drivers]
    selection.choose(AUTONOMY)
    selection.restart()
    assert [selection.choose(driver) for driver in drivers] == first
