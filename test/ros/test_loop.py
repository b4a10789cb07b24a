import threading

from pi0_ros.ros.loop import Loop, Pacer


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
    assert enough.wait(5.0)
    loop.stop()
    assert len(failures) == 3 and "RuntimeError: no" in failures[0]


def test_a_refused_priority_is_a_sentence_and_the_loop_runs():
    ran = threading.Event()
    loop = Loop(0.001, lambda *_: ran.set(), print)
    refused = loop.start(cpu=1_000_000)
    assert ran.wait(5.0)
    loop.stop()
    assert len(refused) == 1 and "CPU 1000000" in refused[0]
