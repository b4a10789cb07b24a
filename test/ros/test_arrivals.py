"""Who waits for what arrives is woken by it, and by nothing that came before."""

import threading

from pi0_ros.ros.arrivals import Arrivals

PATIENCE = 60.0


def test_what_arrived_before_the_wait_does_not_end_it():
    arrivals = Arrivals()
    arrivals.announce()
    assert not arrivals.wait(0.01)


def test_a_waiting_thread_is_woken_by_the_next_arrival():
    arrivals, waiting, woken = Arrivals(), threading.Event(), []

    def wait():
        with arrivals.lock:
            waiting.set()
            woken.append(arrivals.wait(PATIENCE))

    thread = threading.Thread(target=wait)
    thread.start()
    assert waiting.wait(PATIENCE)
    with arrivals.lock:  # free only once the thread waits
        arrivals.announce()
    thread.join(PATIENCE)
    assert woken == [True]
