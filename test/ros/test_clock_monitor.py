"""Whether the ROS clock was set or stands still, beside the steady one."""

from pi0_ros.ros.clock_monitor import CLOCK_JUMP, ClockMonitor

T0 = 1.7e9


def run(monitor, begin, end, offset=T0):
    """Both clocks run, at 50 Hz; how often the ROS clock was found to be set."""
    return sum(monitor.update(k / 50.0, offset + k / 50.0) for k in range(round(begin * 50), round(end * 50)))


def test_a_clock_that_runs_was_not_set():
    monitor = ClockMonitor()
    assert run(monitor, 0.0, 5.0) == 0
    assert (monitor.restarts, monitor.stopped, monitor.events()) == (0, "", [])


def test_a_jump_ahead_and_one_back_are_two_restarts_with_a_sentence_each():
    monitor = ClockMonitor()
    run(monitor, 0.0, 1.0)
    assert run(monitor, 1.0, 2.0, T0 + 0.7) == 1
    assert run(monitor, 2.0, 3.0, T0 - 3.0) == 1
    assert monitor.restarts == 2
    ahead, back = monitor.events()
    assert ahead == "the ROS clock jumped ahead by 0.70 s; observations start anew"
    assert back == "the ROS clock jumped back by 3.68 s; observations start anew"
    assert monitor.events() == []


def test_a_clock_that_is_faster_by_less_than_the_jump_was_not_set():
    monitor = ClockMonitor()
    run(monitor, 0.0, 1.0)
    assert run(monitor, 1.0, 2.0, T0 + CLOCK_JUMP - 0.05) == 0


def test_a_clock_that_is_set_back_by_little_is_noticed_after_some_readings():
    monitor = ClockMonitor()
    run(monitor, 0.0, 1.0)
    assert run(monitor, 1.0, 2.0, T0 - 0.3) == 1
    assert monitor.events() == ["the ROS clock was set back a little; observations start anew"]


def test_a_clock_that_stands_still_is_no_restart_and_runs_again():
    monitor = ClockMonitor()
    run(monitor, 0.0, 1.0)
    for k in range(50):
        assert not monitor.update(1.0 + k / 50.0, T0 + 0.98)
    assert "stood still" in monitor.stopped
    assert run(monitor, 2.0, 2.1, T0 - 1.0) == 0 and monitor.stopped == "" and monitor.restarts == 0


def test_readings_that_come_late_are_left_out():
    monitor = ClockMonitor()
    run(monitor, 0.0, 1.0)
    assert not monitor.update(0.5, T0 - 100.0)
    assert run(monitor, 1.0, 1.5) == 0 and monitor.restarts == 0
