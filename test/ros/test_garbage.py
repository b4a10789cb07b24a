"""While a control loop runs, Python collects garbage only on request; afterwards as before."""

import gc

from pi0_ros.ros.garbage import pause_collector, resume_collector


def test_the_collector_pauses_and_goes_on():
    assert gc.isenabled()
    pause_collector()
    try:
        assert not gc.isenabled() and gc.get_freeze_count() > 0
    finally:
        resume_collector()
    assert gc.isenabled() and gc.get_freeze_count() == 0
