import os
import sys
import threading
from types import SimpleNamespace

import pytest

from pi0_ros.ros import loop as loop_module
from pi0_ros.ros.loop import (
    LOOK_TIME,
    WORKING,
    YIELDING,
    Loop,
    Pacer,
    lower_priority,
    raise_thread_priorities,
    restore_own_priority,
    restore_thread_priorities,
)


def test_deadlines_stay_on_their_grid_when_work_is_short():
    pacer = Pacer(0.02, 10.0)
    assert [round(pacer.next(10.0 + 0.02 * k + 0.003), 6) for k in range(3)] == [10.02, 10.04, 10.06]
    assert pacer.skipped == 0


def test_a_little_late_is_done_at_once_and_the_grid_is_kept():
    pacer = Pacer(0.02, 0.0)
    assert pacer.next(0.025) == 0.02
    assert pacer.next(0.026) == 0.04
    assert pacer.skipped == 0


def test_an_overrun_is_skipped_and_counted_never_caught_up():
    pacer = Pacer(0.02, 0.0)
    assert round(pacer.next(0.2), 6) == 0.2
    assert pacer.skipped == 9
    assert round(pacer.next(0.201), 6) == 0.22


def test_the_loop_goes_on_after_an_exception_and_hands_it_over():
    failures, enough = [], threading.Event()

    def work(deadline, late):
        if len(failures) < 3:
            raise RuntimeError("no")
        enough.set()

    loop = Loop(0.001, work, failures.append)
    loop.start()
    assert enough.wait(60.0)
    loop.stop()
    assert len(failures) == 3 and "RuntimeError: no" in failures[0]


def test_a_refused_priority_is_a_sentence_and_the_loop_runs():
    ran = threading.Event()
    loop = Loop(0.001, lambda *_: ran.set(), print)
    refused = loop.start(cpu=1_000_000)
    assert ran.wait(60.0)
    loop.stop()
    assert len(refused) == 1 and "CPU 1000000" in refused[0]


def test_what_is_prepared_comes_before_each_work_and_what_fails_in_it_is_handed_over_too():
    order, failures, enough = [], [], threading.Event()

    def prepare():
        order.append("prepare")
        if len(order) == 3:
            raise RuntimeError("unreadable")

    def work(deadline, late):
        order.append("work")
        if len(order) >= 10:
            enough.set()

    loop = Loop(0.001, work, failures.append, prepare=prepare)
    loop.start()
    assert enough.wait(60.0)
    loop.stop()
    assert order[:10] == ["prepare", "work"] * 5
    assert len(failures) == 1 and "unreadable" in failures[0]
    assert loop.times.timing().prepare_max > 0.0


def test_while_the_first_loop_works_nobody_may_soon_interrupt_it_and_afterwards_all_is_as_before():
    usual, seen, ran = sys.getswitchinterval(), [], threading.Event()

    def work(deadline, late):
        seen.append(sys.getswitchinterval())
        if len(seen) > 3:
            ran.set()

    loop = Loop(0.001, work, print, first=True)
    loop.start()
    assert ran.wait(60.0)
    loop.stop()
    assert min(seen[1:]) == pytest.approx(WORKING) and WORKING > 10 * YIELDING
    assert sys.getswitchinterval() == pytest.approx(usual)


@pytest.mark.skipif(sys.platform != "linux", reason="threads have priorities of their own on Linux alone")
def test_the_other_threads_of_a_process_are_urged_and_calmed_again(monkeypatch):
    """Whether the system allows it or not, what is asked of it is the same: so it is asked of a table."""
    ready, over, number = threading.Event(), threading.Event(), []

    def wait():
        number.append(threading.get_native_id())
        ready.set()
        over.wait(60.0)

    thread = threading.Thread(target=wait)
    thread.start()
    assert ready.wait(60.0)
    policies, real_time = {}, threading.get_native_id()
    policies[real_time] = (os.SCHED_RR, 60)  # neither an ordinary one nor one that was urged: left alone both times
    monkeypatch.setattr(os, "sched_getscheduler", lambda n: policies.get(n, (os.SCHED_OTHER, 0))[0])
    monkeypatch.setattr(os, "sched_setscheduler", lambda n, kind, p: policies.update({n: (kind, p.sched_priority)}))
    try:
        raise_thread_priorities(7)
        assert policies[number[0]] == (os.SCHED_FIFO, 7)
        restore_thread_priorities()
        assert policies[number[0]] == (os.SCHED_OTHER, 0)
        assert policies[real_time] == (os.SCHED_RR, 60)
    finally:
        over.set()
        thread.join()


def test_between_two_deadlines_the_loop_looks_for_what_has_come_and_what_fails_in_it_is_handed_over_too():
    order, failures, enough = [], [], threading.Event()

    def look():
        order.append("look")
        if len(failures) == 0:
            raise RuntimeError("unreadable")

    def work(deadline, late):
        order.append("work")
        if order.count("work") > 2 and "look" in order:
            enough.set()

    loop = Loop(0.1, work, failures.append, prepare=lambda: order.append("prepare"), look=look)
    loop.start()
    assert enough.wait(60.0)
    loop.stop()
    first = order.index("look")
    assert order[first - 1] == "work" and order[order.index("work", first) - 1] == "prepare"
    assert "unreadable" in failures[0]


def looks_per_period(period, periods):
    """Run a loop; what it called in each whole period, in order."""
    order, enough = [], threading.Event()
    loop = Loop(
        period,
        lambda *_: order.append("work") or order.count("work") > periods and enough.set(),
        print,
        prepare=lambda: order.append("prepare"),
        look=lambda: order.append("look"),
    )
    loop.start()
    assert enough.wait(60.0)
    loop.stop()
    calls = "".join(each[0] for each in order)
    return calls[: calls.rindex("w")].split("w")[1:]


def test_a_period_too_short_to_look_in_has_the_one_look_right_after_the_work():
    assert set(looks_per_period(0.004, 20)) == {"lp"}


def test_the_last_look_leaves_what_it_may_take_before_the_next_preparation(monkeypatch):
    """In virtual time: looks take all they may, and every command is still prepared for and sent at its moment."""
    clock, calls, over = [0.0], [], threading.Event()
    sleep = lambda seconds: clock.__setitem__(0, clock[0] + seconds)
    monkeypatch.setattr(loop_module, "time", SimpleNamespace(monotonic=lambda: clock[0], sleep=sleep))

    def work(deadline, late):
        calls.append(("work", round(clock[0] / 0.02 % 1.0 * 20.0, 3), late))
        sleep(0.0011)
        if len(calls) > 50:
            over.set()
            loop._ending = True

    def spend(name, seconds):
        calls.append((name, round(clock[0] / 0.02 % 1.0 * 20.0, 3), 0.0))
        sleep(seconds)

    loop = Loop(0.02, work, print, prepare=lambda: spend("prepare", 0.001), look=lambda: spend("look", LOOK_TIME))
    loop.start()
    assert over.wait(60.0)
    loop.stop()
    later = calls[3:]  # the first period begins with its deadline
    assert {at for name, at, _ in later if name == "prepare"} == {17.0}
    assert {round(late, 6) for name, _, late in later if name == "work"} == {0.0}
    looks = [at for name, at, _ in later if name == "look"]
    assert (min(looks), max(looks)) == (1.1, 17.0 - 1e3 * LOOK_TIME)


@pytest.fixture
def asked(monkeypatch):
    """What is asked of the system, which grants all of it: (what, thread, to what)."""
    found = []

    def scheduler(thread, kind, parameter):
        found.append(("scheduler", thread or threading.get_native_id(), (kind, parameter.sched_priority)))

    monkeypatch.setattr(os, "sched_setscheduler", scheduler)
    monkeypatch.setattr(
        os, "sched_setaffinity", lambda thread, cpus: found.append(("cpus", thread or threading.get_native_id(), cpus))
    )
    monkeypatch.setattr(os, "setpriority", lambda which, thread, nice: found.append((which, thread, nice)))
    return found


@pytest.mark.skipif(sys.platform != "linux", reason="threads have priorities of their own on Linux alone")
@pytest.mark.parametrize(
    ("priority", "cpu", "wanted"),
    [
        (0, -1, []),
        (1, -1, [("scheduler", (os.SCHED_FIFO, 1))]),
        (0, 0, [("cpus", {0})]),
        (60, 3, [("scheduler", (os.SCHED_FIFO, 60)), ("cpus", {3})]),
    ],
)
def test_priority_and_processor_are_asked_for_the_loops_own_thread_and_only_where_they_are_wanted(
    asked, priority, cpu, wanted
):
    threads, ran = [], threading.Event()
    loop = Loop(0.001, lambda *_: (threads.append(threading.get_native_id()), ran.set()), print)
    assert loop.start(priority, cpu) == []
    assert ran.wait(60.0)
    loop.stop()
    assert [(what, to) for what, _, to in asked] == wanted
    assert {thread for _, thread, _ in asked} <= set(threads)


@pytest.mark.skipif(sys.platform != "linux", reason="threads have priorities of their own on Linux alone")
def test_who_gives_way_is_a_little_nicer_than_its_process_and_who_calms_down_an_ordinary_thread(asked):
    wanted = []

    def work():  # a thread whose priority nobody has lowered before
        me, nice = threading.get_native_id(), os.getpriority(os.PRIO_PROCESS, 0)
        lower_priority(5)
        restore_own_priority()
        wanted.extend([(os.PRIO_PROCESS, me, nice + 5), ("scheduler", me, (os.SCHED_OTHER, 0))])

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert wanted and asked == wanted


def test_a_refused_priority_names_it_and_the_way_out(monkeypatch):
    def refuse(*_):
        raise PermissionError("not allowed")

    monkeypatch.setattr(os, "sched_setscheduler", refuse, raising=False)
    ran = threading.Event()
    loop = Loop(0.001, lambda *_: ran.set(), print)
    (said,) = loop.start(priority=40)
    assert ran.wait(60.0)
    loop.stop()
    assert "priority 40 was refused (not allowed)" in said and "realtime_priority to 0" in said


@pytest.mark.skipif(sys.platform != "linux", reason="threads have a niceness of their own on Linux alone")
def test_a_thread_that_lowers_its_priority_again_keeps_it():
    """A recorder that was activated seven times had niceness 19, and got no processor any more."""
    found = []

    def work():
        before = os.getpriority(os.PRIO_PROCESS, 0)
        for _ in range(3):
            lower_priority(2)
            found.append(os.getpriority(os.PRIO_PROCESS, 0) - before)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [2, 2, 2]


def test_from_more_than_half_a_period_on_deadlines_are_skipped_to_the_nearest_one():
    for now, deadline, skipped in (
        (0.029, 0.02, 0),
        (0.031, 0.04, 1),
        (0.049, 0.04, 1),
        (0.051, 0.06, 2),
        (0.071, 0.08, 3),
    ):
        pacer = Pacer(0.02, 0.0)
        assert pacer.next(now) == pytest.approx(deadline) and pacer.skipped == skipped


def test_a_loop_runs_from_its_start_to_its_stop_and_may_be_started_again():
    ran = threading.Event()
    loop = Loop(0.001, lambda *_: loop.running and ran.set(), print)
    assert not loop.running and loop.thread is None
    for _ in range(2):
        ran.clear()
        loop.start()
        assert ran.wait(60.0)
        loop.stop()
        assert not loop.running and loop.thread is None


@pytest.mark.skipif(sys.platform != "linux", reason="threads have priorities of their own on Linux alone")
def test_other_threads_yield_soon_only_to_a_loop_that_has_its_priority(asked, monkeypatch):
    given = []
    for priority in (0, 60):
        loop = Loop(0.001, lambda *_: None, print)
        loop._run = given.append
        loop.start(priority)
        loop.stop()
    monkeypatch.setattr(loop_module.os, "sched_setscheduler", lambda *_: (_ for _ in ()).throw(OSError("no")))
    refused = Loop(0.001, lambda *_: None, print)
    refused._run = given.append
    assert len(refused.start(60)) == 1
    refused.stop()
    assert given == [sys.getswitchinterval(), YIELDING, sys.getswitchinterval()] and YIELDING == 0.0001


def test_while_the_first_loop_sleeps_others_yield_soon_and_while_it_works_late(monkeypatch):
    intervals, slept = [], []
    monkeypatch.setattr(loop_module, "time", SimpleNamespace(monotonic=lambda: 5.0, sleep=slept.append))
    monkeypatch.setattr(sys, "setswitchinterval", intervals.append)
    first, other = (Loop(0.01, lambda *_: None, print, first=first) for first in (True, False))
    first._sleep_until(5.5, 0.125)
    assert intervals == [0.125, WORKING] and slept == [0.5] and WORKING == 0.005
    for late in (5.0, 4.0):
        first._sleep_until(late, 0.25)
    other._sleep_until(5.25, 0.25)
    assert intervals[2:] == [0.25, WORKING] * 2 and slept == [0.5, 0.25]


def test_in_virtual_time_each_period_is_as_late_and_as_long_as_it_was(monkeypatch):
    """The third period works for 13 ms of 10: the fourth begins 3 ms late, and the fifth in time."""
    clock, lates, over = [0.0], [], threading.Event()
    sleep = lambda seconds: clock.__setitem__(0, clock[0] + seconds)
    monkeypatch.setattr(loop_module, "time", SimpleNamespace(monotonic=lambda: clock[0], sleep=sleep))

    def work(deadline, late):
        lates.append((round(deadline, 6), round(late, 6)))
        sleep(0.013 if len(lates) == 3 else 0.002)
        if len(lates) == 5:
            loop._ending = True
            over.set()

    loop = Loop(0.01, work, print)
    loop.start()
    assert over.wait(60.0)
    loop.stop()
    assert lates == [(0.0, 0.0), (0.01, 0.0), (0.02, 0.0), (0.03, 0.003), (0.04, 0.0)]
    timing = loop.times.timing()
    assert (timing.late_max, timing.work_max, timing.work_p50) == pytest.approx((0.003, 0.013, 0.002))
    assert timing.ticks == 5 and timing.overruns == 0
