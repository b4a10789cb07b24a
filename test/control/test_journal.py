"""What is written down of a run: events for people, totals, and the same in the black box."""

from pi0_ros.control.blackbox import BlackBox, state_bytes
from pi0_ros.control.journal import EVENT_SIZE, Journal, Now
from pi0_ros.control.step import Counters


def test_totals_add_up_each_by_itself():
    journal = Journal(BlackBox())
    assert journal.counters == Counters(0, 0, 0, 0, 0, 0, 0)
    journal.count(chunks_accepted=1, overruns=3)
    journal.count(overruns=2)
    assert journal.counters == Counters(chunks_accepted=1, overruns=5)


def test_an_event_is_given_out_once_and_kept_in_the_black_box_at_the_time_at_which_it_was_given_out():
    journal, noted, given = Journal(BlackBox()), Now(5.0, 700.0), Now(5.25, 701.5)
    journal.note(noted, "warn", "overrun", "3 control periods missed")
    (event,) = journal.take(given)
    assert (event.steady, event.ros, event.level, event.name, event.text) == (
        5.0, 700.0, "warn", "overrun", "3 control periods missed",
    )  # fmt: skip
    (record,) = journal.blackbox.snapshot()
    assert (record.steady, record.ros, record.kind, record.data) == (5.25, 701.5, "event", event)
    assert record.size == journal.blackbox.size == EVENT_SIZE + 4 * len("3 control periods missed")
    assert journal.take(given) == ()


def test_an_event_of_one_name_is_noted_once_a_second_unless_told_otherwise():
    journal = Journal(BlackBox())
    for steady, throttle in ((1.0, None), (1.9, None), (2.1, None), (2.2, 0.0), (2.3, 5.0), (7.3, 5.0)):
        journal.note(Now(steady, 0.0), "info", "a", f"{steady}", **({} if throttle is None else {"throttle": throttle}))
    assert [event.text for event in journal.take(Now(9.0, 0.0))] == ["1.0", "2.1", "2.2", "7.3"]


def test_a_measurement_takes_the_room_of_its_numbers_and_of_its_names():
    assert state_bytes({"elbow": 0.1, "j2": 0.2, "j3": 0.3}) == 3 * 64 + 4 * len("elbowj2j3")
    assert state_bytes({}) == 0
