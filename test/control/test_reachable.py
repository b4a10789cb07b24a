"""What the quick look says, against motions that are integrated step by step."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from pi0_ros.control.limits import INSIDE, Bounds, stop_reach
from pi0_ros.control.reachable import Reachable, Roomy, thirds

PERIOD = 0.02
LIMITS = Bounds((-1.0,), (1.0,), (2.0,), (8.0,), (80.0,))
share = st.floats(-1.1, 1.1)


def integrated(state, jerks, period):
    """States after each third of a period of constant jerks."""
    part, states = period / len(jerks), [np.array(state)]
    for jerk in jerks:
        x, v, a = states[-1]
        states.append(
            np.array(
                [x + part * (v + part * (a / 2 + part * jerk / 6)), v + part * (a + part * jerk / 2), a + part * jerk]
            )
        )
    return states


def asked(now, goal, scale=1.0):
    question = Reachable([LIMITS], PERIOD)
    (answer,) = question(np.array(now)[:, None], np.array(goal)[:, None], [scale], [True])
    return answer


@given(share, share, share, st.lists(share, min_size=3, max_size=3), st.sampled_from([1.0, 0.3]))
def test_a_goal_is_reachable_exactly_where_its_three_jerks_keep_every_limit(x, v, a, jerks, scale):
    now = np.array([x, v * 2.0, a * 8.0])
    states = integrated(now, [80.0 * j for j in jerks], PERIOD)
    goal, fast = states[-1], 2.0 * INSIDE * scale
    excess = [
        abs(now[0]),
        abs(goal[0]) + stopping(goal),
        *(abs(s[2]) / (8.0 * INSIDE) for s in states[1:]),
        *(abs(j) for j in jerks),
        *(abs(s[1]) / fast for s in states[1:]),
        (abs(goal[1]) + goal[2] ** 2 / 160.0) / fast,
    ]
    if abs(max(excess) - 1.0) > 1e-6:
        still = not now[1:].any() and np.array_equal(now, goal)
        assert asked(now, goal, scale) == (max(excess) < 1.0 or still)


def stopping(state):
    """What a stop is held to need: an upper bound that has no signs."""
    peak, bend = abs(state[1]) + state[2] ** 2 / 160.0, abs(state[2])
    return peak * (bend / 80.0 + peak / 16.0 + 0.05)


@given(st.floats(-2.0, 2.0), st.floats(-8.0, 8.0))
def test_the_room_kept_for_a_stop_is_never_too_small(v, a):
    assert stopping([0.0, v, a]) >= max(stop_reach(v, a, 8.0, 80.0), stop_reach(-v, -a, 8.0, 80.0)) - 1e-12


@given(st.floats(0.001, 0.1), st.lists(st.floats(-1.0, 1.0), min_size=6, max_size=6))
@settings(max_examples=50)
def test_the_three_jerks_lead_from_one_state_to_the_other(period, numbers):
    states = np.array(numbers) * np.tile([1.0, 1.0 / period, 1.0 / period**2], 2)
    jerks, between = thirds(period)
    _, first, second, end = integrated(states[:3], jerks @ states, period)
    scale = np.array([1.0, 1.0 / period, 1.0 / period**2])
    for got, wanted in ((end, states[3:]), (first, between[0] @ states), (second, between[1] @ states)):
        np.testing.assert_allclose(got / scale, wanted / scale, atol=1e-9)


def test_the_quick_answer_is_yes_well_inside_every_limit_no_past_a_linear_one_and_open_in_between():
    now = np.array([0.2, 0.5, 1.0])

    def quick(goal):
        ((may, does),) = Roomy(LIMITS, PERIOD)(now[:, None], np.array(goal)[:, None]).tolist()
        return may, does

    gentle = integrated(now, [10.0] * 3, PERIOD)[-1]
    assert quick(gentle) == (True, True)
    assert not quick(integrated(now, [10.0, 81.0, 10.0], PERIOD)[-1])[0]
    assert not quick(np.full(3, np.nan))[0]
    now[0] = 0.999
    assert quick(integrated(now, [10.0] * 3, PERIOD)[-1]) == (True, False)


def test_standing_still_is_free_even_at_a_limit():
    assert asked([1.0, 0.0, 0.0], [1.0, 0.0, 0.0])
    assert not asked([1.0, 0.0, 0.0], [1.0, 0.001, 0.0])


def test_one_channel_that_has_to_wait_holds_its_group_and_no_other():
    question = Reachable([LIMITS, Bounds(*(2 * row for row in vars(LIMITS).values()))], PERIOD)
    now, goal = np.zeros((3, 3)), np.zeros((3, 3))
    goal[0, 2] = 0.5
    assert question(now, goal, [1.0, 1.0], [True, True]) == [True, False]
    assert question(now, goal, [1.0, 1.0], [False, True]) == [False, False]
