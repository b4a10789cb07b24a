"""What the control thread leaves for the reporter: everything, and a wake-up when there is news or it is time."""

import threading

import numpy as np
import pytest

pytest.importorskip("rclpy")

from pi0_ros.control.modes import Mode
from pi0_ros.control.step import Counters, Seam, Step
from pi0_ros.ros.control_thread import Period
from pi0_ros.ros.period_mailbox import UNREPORTED, PeriodMailbox

PATIENCE = 60.0
STEP = Step(
    command=None, mode=Mode.HOLD, reason="started", owner="hold", epoch=1, plan_sequence=0, plan_left=0.0,
    starved=False, splice_delay=0.0, delay_p95=0.0, strategy="", seam=Seam(), plan_rate=1.0, tracking_error=0.0,
    measured=np.zeros(2), counters=Counters(), events=(),
)  # fmt: skip


def period(overruns=0, **step):
    return Period(STEP._replace(**step), overruns=overruns)


def test_every_period_comes_out_once_and_in_order():
    mailbox = PeriodMailbox(0.02)
    for k in range(5):
        mailbox.offer(period(k))
    assert [p.overruns for p in mailbox.take()] == [0, 1, 2, 3, 4] and not list(mailbox.take())


def test_of_more_than_wait_for_a_report_the_newest_are_kept():
    mailbox = PeriodMailbox(0.02)
    for k in range(UNREPORTED + 3):
        mailbox.offer(period(k))
    kept = [p.overruns for p in mailbox.take()]
    assert (len(kept), kept[0], kept[-1]) == (UNREPORTED, 3, UNREPORTED + 2)


class Bell:
    """In place of the condition: counts how often the reporter is woken."""

    def __init__(self):
        self.rung, self.free = 0, True

    def acquire(self, blocking):
        assert not blocking, "the control thread waits for nobody"
        return self.free

    def release(self):
        assert self.free

    def notify_all(self):
        self.rung += 1


@pytest.mark.parametrize(("rate", "every"), [(50.0, 2), (100.0, 4), (20.0, 1)])
def test_without_news_the_reporter_is_woken_every_forty_milliseconds(rate, every):
    mailbox = PeriodMailbox(1.0 / rate)
    mailbox._wake = bell = Bell()
    mailbox.offer(period())
    assert bell.rung == 1
    for _ in range(8 * every):
        mailbox.offer(period())
    assert bell.rung == 9


@pytest.mark.parametrize("change", [{"mode": Mode.AUTONOMY}, {"reason": "lost"}, {"epoch": 2}, {"plan_sequence": 1}])
def test_a_change_wakes_it_at_once(change):
    mailbox = PeriodMailbox(0.001)
    mailbox._wake = bell = Bell()
    mailbox.offer(period())
    mailbox.offer(period())
    assert bell.rung == 1
    mailbox.offer(period(**change))
    assert bell.rung == 2


def test_a_reporter_that_is_at_work_is_not_waited_for_and_hears_of_the_change_in_the_next_period():
    mailbox = PeriodMailbox(0.001)
    mailbox._wake = bell = Bell()
    bell.free = False
    mailbox.offer(period())
    bell.free = True
    mailbox.offer(period())
    assert bell.rung == 1


def test_the_end_wakes_who_waits_and_whoever_waits_later():
    mailbox, ended = PeriodMailbox(0.02), []

    def report():
        while mailbox.wait():
            pass
        ended.append(True)

    thread = threading.Thread(target=report)
    thread.start()
    mailbox.close()
    thread.join(PATIENCE)
    assert ended == [True] and not mailbox.wait()
