"""What is told, how often, and that nobody can fill the memory with it."""

from pi0_ros.control.events import Event, EventLog


def test_an_event_of_one_name_is_told_once_a_second_and_another_at_once():
    log = EventLog()
    for at in (5.0, 5.5, 5.99, 6.0, 6.4):
        log.add(at, at + 100.0, "warn", "late", f"at {at}")
    log.add(5.1, 105.1, "error", "other", "once")
    assert [e.text for e in log.take()] == ["at 5.0", "at 6.0", "once"]
    assert log.take() == ()
    log.add(7.5, 107.5, "info", "late", "again")
    assert log.take() == (Event(7.5, 107.5, "info", "late", "again"),)


def test_a_throttle_of_its_own_is_kept_and_zero_is_none():
    log = EventLog()
    for at in (1.0, 1.1, 3.0, 4.1):
        log.add(at, at, "warn", "slow", str(at), throttle=3.0)
        log.add(at, at, "warn", "each", f"each {at}", throttle=0.0)
    assert [e.text for e in log.take() if e.name == "slow"] == ["1.0", "4.1"]
    log.add(4.1, 4.1, "warn", "each", "at the same time", throttle=0.0)
    assert [e.text for e in log.take()] == ["at the same time"]


def test_a_clock_that_was_set_back_silences_nothing():
    log = EventLog()
    log.add(50.0, 50.0, "warn", "late", "first")
    log.add(20.0, 20.0, "warn", "late", "second")
    assert [e.text for e in log.take()] == ["first", "second"]


def test_no_more_than_sixty_four_wait():
    log = EventLog()
    for k in range(200):
        log.add(1.0, 1.0, "warn", f"name {k}", str(k))
    assert [e.text for e in log.take()] == [str(k) for k in range(64)]
