"""That /clock is wanted and does not come is told, with its cause, once a cause."""

from types import SimpleNamespace

import pytest

pytest.importorskip("rclpy")

from pi0_ros.ros.sim_time import SimTimeWatch


@pytest.fixture
def stage():
    """A node with `wanted`, `count` publishers of /clock, `steady` and `ros` time; what it has `said`."""
    made = SimpleNamespace(wanted=True, count=0, steady=50.0, ros=0.0, said=[])
    node = SimpleNamespace(
        get_parameter=lambda name: SimpleNamespace(value={"use_sim_time": made.wanted}[name]),
        count_publishers=lambda topic: {"/clock": made.count}[topic],
        get_logger=lambda: SimpleNamespace(warning=made.said.append),
    )
    made.watch = SimTimeWatch(node, SimpleNamespace(steady=lambda: made.steady, ros=lambda: made.ros))
    return made


def test_a_second_of_silence_is_told_with_its_cause_and_logged_once(stage):
    causes = []
    for steady, ros, count in (
        (50.9, 0.0, 0),
        (51.1, 0.0, 0),
        (52.0, 0.0, 0),
        (52.1, 0.0, 1),
        (52.2, 0.1, 1),
        (53.1, 0.1, 1),
        (53.3, 0.1, 1),
    ):
        stage.steady, stage.ros, stage.count = steady, ros, count
        causes.append(stage.watch.problem())
    words = (
        "",
        "nobody publishes /clock",
        "nobody publishes /clock",
        "nothing comes on /clock",
        "",
        "",
        "stands still",
    )
    assert all(word in cause and bool(cause) == bool(word) for word, cause in zip(words, causes, strict=True))
    assert stage.said == [causes[1], causes[3], causes[6]]
    stage.ros, stage.steady = 0.2, 53.4
    assert stage.watch.problem() == ""
    stage.steady = 54.5
    assert "stands still" in stage.watch.problem() and len(stage.said) == 4, "again, as it had come meanwhile"


def test_a_clock_that_stands_still_is_no_problem_where_it_is_not_wanted(stage):
    stage.wanted, stage.steady = False, 90.0
    assert stage.watch.problem() == "" and not stage.said
