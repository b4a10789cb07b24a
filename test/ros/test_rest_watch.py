"""When a robot counts as at rest: three periods in a row in which no channel moves."""

import numpy as np
import pytest

from pi0_ros.control import Command
from pi0_ros.ros.rest_watch import REST_SPEED, REST_TICKS, RestWatch

MOVING = np.array([0.0, -1.01 * REST_SPEED, 0.0])
STILL = np.array([0.0, -0.99 * REST_SPEED, 0.5 * REST_SPEED])


def command(velocities):
    return Command(1.0, ("a", "b", "c"), np.zeros(3), velocities)


@pytest.fixture
def watch():
    return RestWatch()


def test_the_third_period_without_motion_is_rest(watch):
    for _ in range(REST_TICKS - 1):
        watch.update(command(STILL))
    assert not watch.wait(0.0)
    watch.update(command(STILL))
    assert watch.wait(0.0)


def test_a_motion_in_between_begins_the_count_again(watch):
    for velocities in (STILL, STILL, MOVING, STILL, STILL):
        watch.update(command(velocities))
    assert not watch.wait(0.0)


def test_a_restart_forgets_the_rest_before_it(watch):
    for _ in range(REST_TICKS):
        watch.update(command(STILL))
    watch.restart()
    watch.update(command(STILL))
    assert not watch.wait(0.0)


def test_who_is_sent_no_command_is_at_rest(watch):
    watch.update(None)
    assert watch.wait(0.0)
