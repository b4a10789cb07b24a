"""What a policy node says of itself: the worst first, and when a plan is slow."""

from types import SimpleNamespace

import pytest

from pi0_ros.ros.diagnostics import ERROR, OK, WARN
from pi0_ros.ros.policy_health import policy_health, policy_values, slowness


def lanes(at_once=1, lasts=2.0, oldest=10.0):
    contract = SimpleNamespace(origin="openpi server", cameras={"eye": "slot", "hand": "other"})
    return SimpleNamespace(at_once=at_once, lasts=lasts, contract=contract, oldest=lambda: oldest)


@pytest.mark.parametrize(
    ("waited", "latency", "at_once", "late"),
    [(0.79, 0.1, 1, False), (0.81, 0.1, 1, True), (0.81, 0.3, 3, True), (0.81, 0.5, 3, False), (1.01, 0.5, 3, True)],
)
def test_a_plan_is_late_after_a_while_and_with_several_at_once_after_two_of_their_usual_times(
    waited, latency, at_once, late
):
    said = slowness(waited, latency, lanes(at_once))
    assert said == (f"waiting for a plan of openpi server for {waited:.1f} s" if late else "")


@pytest.mark.parametrize(
    ("latency", "at_once", "lasts", "gap"),
    [(0.5, 1, 1.01, False), (0.5, 1, 0.99, True), (0.5, 2, 0.76, False), (0.5, 2, 0.74, True)],
)
def test_a_robot_stands_where_the_next_plan_comes_after_the_end_of_the_last(latency, at_once, lasts, gap):
    """The next is asked for `latency` / `at_once` after the last, and comes `latency` later."""
    said = slowness(0.0, latency, lanes(at_once, lasts))
    assert (
        said.startswith(f"an answer takes 0.50 s and a plan lasts {lasts:.2f} s: the robot will stop")
        if gap
        else not said
    )


class Share:
    """Its quantile is a multiple of the share asked for."""

    def __init__(self, times):
        self.times = times

    def quantile(self, share):
        return self.times * share


def loop(failure=None, withheld=None, stale=(), odd=(), oldest=10.0, latency=0.1):
    status = SimpleNamespace(
        failure=failure, withheld=withheld, failures=3, times_withheld=4, inference=Share(0.2),
        rate=SimpleNamespace(hz=lambda steady: steady / 10.0),
    )  # fmt: skip
    observations = SimpleNamespace(
        values=lambda cameras: {"cameras": cameras},
        stale=lambda cameras: dict(stale),
        warnings=lambda cameras: list(odd),
    )
    words = SimpleNamespace(text="lift it", topic="subtask")
    return SimpleNamespace(
        inputs=SimpleNamespace(texts=SimpleNamespace(words=words), observations=observations),
        status=status, session=SimpleNamespace(sequence=8, latency=Share(2.0 * latency)), lanes=lanes(oldest=oldest),
    )  # fmt: skip


ROBOT = SimpleNamespace(
    cameras=[SimpleNamespace(name="eye", required=True), SimpleNamespace(name="hand", required=False)]
)
ORDER = [
    ({"failure": SimpleNamespace(level=ERROR, sentence="out of memory")}, ERROR, "out of memory"),
    ({"stale": {"eye": "eye is old", "hand": "hand is old"}}, ERROR, "not planning: eye is old"),
    ({"withheld": SimpleNamespace(sentence="no task")}, WARN, "not planning: no task"),
    ({"stale": {"hand": "hand is old"}}, WARN, "planning without hand is old"),
    ({"oldest": 9.0}, WARN, "waiting for a plan of openpi server for 1.0 s"),
    ({"odd": ["dark", "slow"]}, WARN, "planning, but dark; slow"),
    ({}, OK, "planning: lift it"),
]


@pytest.mark.parametrize("place", range(len(ORDER)))
def test_the_worst_is_said_before_all_that_is_less_bad(place):
    """Everything further down the list is the case as well."""
    case = {}
    for changes, _, _ in reversed(ORDER[place:]):
        case |= changes
    found = policy_health(loop(**case), ROBOT, 10.0)
    assert (found.level, found.message) == ORDER[place][1:]
    assert found.values["cameras"] == ("eye", "hand") and found.values["chunks"] == 8


def test_the_numbers_are_each_that_of_its_own_kind():
    assert policy_values(loop(), 25.0) == pytest.approx(
        {
            "prompt": "lift it", "prompt_source": "subtask", "chunks": 8, "chunks_hz": 2.5, "inference_ms_p50": 100.0,
            "inference_ms_p99": 198.0, "observation_to_chunk_ms_p50": 100.0, "observation_to_chunk_ms_p95": 190.0,
            "requests_at_once": 1, "failures": 3, "withheld": 4,
        }
    )  # fmt: skip
