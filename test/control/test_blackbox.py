"""The ring of the last seconds: bounded in time, in number and in bytes."""

from pi0_ros.control.blackbox import BlackBox, state_bytes


def kept(box):
    return [record.data for record in box.snapshot()]


def test_what_is_older_than_the_ring_is_long_makes_room():
    box = BlackBox(seconds=2.0)
    for at in (10.0, 11.0, 12.0, 12.5):
        box.add(at, at, "state", at, 3)
    assert kept(box) == [11.0, 12.0, 12.5] and box.size == 9 and len(box) == 3


def test_it_holds_so_many_records_and_so_many_bytes():
    box = BlackBox(records=3)
    for k in range(5):
        box.add(1.0, 1.0, "state", k, 10)
    assert kept(box) == [2, 3, 4] and box.size == 30
    box = BlackBox(budget=100)
    for k, size in enumerate((60, 30, 10, 25)):
        box.add(1.0, 1.0, "picture", k, size)
    assert kept(box) == [1, 2, 3] and box.size == 65


def test_what_is_larger_than_all_of_it_is_not_kept():
    box = BlackBox(budget=100)
    box.add(1.0, 1.0, "picture", "huge", 101)
    assert kept(box) == [] and box.size == 0


def test_how_old_a_record_is_counts_on_the_steady_clock_whatever_the_ros_clock_does():
    box = BlackBox(seconds=2.0)
    for steady, ros in ((10.0, 900.0), (11.5, 100.0), (12.5, 99.0)):
        box.add(steady, ros, "state", steady, 3)
    assert [(record.steady, record.ros) for record in box.snapshot()] == [(11.5, 100.0), (12.5, 99.0)]


def test_a_measurement_counts_for_its_numbers_and_its_names():
    assert state_bytes({"j1": 0.5, "wrist": 0.1}) == 2 * 64 + 7 * 4 and state_bytes({}) == 0
