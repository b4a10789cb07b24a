"""What a demo counts, and when."""

import math

import pytest
from pi0_ros.msg import ExecutorState

from pi0_ros.nodes.demo_record import DemoRecord, Faults, PlanTimes, Stage, own_timing
from pi0_ros.robot import load_robot

ROBOT = load_robot("mobile_bimanual")


@pytest.fixture
def record():
    return DemoRecord(ROBOT, lambda text: None)


def test_how_far_a_scene_is_is_what_the_simulation_says():
    stage = Stage()
    assert (stage.done, stage.total, stage.solved, stage.running, stage.elapsed(9.0)) == (0, 0, False, False, 0.0)
    stage.scene, stage.began = {"done": "2", "total": "5", "success": "True"}, 3.0
    assert (stage.done, stage.total, stage.solved, stage.running, stage.elapsed(9.5)) == (2, 5, True, True, 6.5)


def test_the_network_is_done_since_it_first_said_so_and_not_once_it_says_something_else():
    stage = Stage()
    for text, at, since in (("reach", 1.0, math.inf), ("done", 2.0, 2.0), ("done", 3.0, 2.0), ("reach", 4.0, math.inf),
                            ("done", 5.0, 5.0)):  # fmt: skip
        stage.update_subtask(text, at)
        assert stage.finished_since == since


def test_of_a_scene_that_time_ran_out_for_only_what_was_reached_for_was_attempted(record):
    stage = Stage(scene={"done": "2", "total": "5"})
    record.end_scene(stage, True)
    assert (record.attempted, record.succeeded) == (5, 2)
    record.end_scene(stage, False)
    assert (record.attempted, record.succeeded) == (8, 4)
    record.end_scene(Stage(scene={"done": "5", "total": "5"}), False)
    assert (record.attempted, record.succeeded) == (13, 9)


def test_the_same_fault_with_other_numbers_is_one():
    warned = []
    faults = Faults(warned.append)
    for text in ("late by 0.3 s", "late by 12 s", "lost"):
        faults.add(text)
    assert faults.texts == warned == ["late by 0.3 s", "lost"]


def test_delays_are_those_of_plans_that_are_followed_each_once():
    plans = PlanTimes()
    for milliseconds in range(1, 201):
        plans.add_chunk(1e-3 * milliseconds)
    for sequence, delay in ((0, 9.0), (1, 0.2), (1, 8.0), (6, 0.4), (0, 7.0), (6, 6.0), (7, 0.6)):
        plans.follow(sequence, delay)
    found = plans.report()
    assert found["chunks"] == 200 and found["inference_ms"] == {"p50": 101.0, "p99": 199.0}
    assert found["observation_to_command_ms"] == {"p50": 400.0, "p99": 600.0}
    plans.restart()
    assert plans.report()["chunks"] == 0 and plans.report()["inference_ms"]["p50"] == 0.0
    plans.add_chunk(0.0123456)
    plans.follow(8, 0.0654321)
    found = plans.report()  # to a hundredth of a millisecond
    assert found["inference_ms"] == {"p50": 12.35, "p99": 12.35}
    assert found["observation_to_command_ms"] == {"p50": 65.43, "p99": 65.43}


def test_a_report_counts_from_where_measuring_began(record):
    record.add_health({}, measuring=True)
    motion = record.report(Stage(state=ExecutorState(underruns=3)), 3.0)["motion"]
    assert (motion["jerk_rms"], motion["tracking_error"], motion["underruns"]) == (0.0, 0.0, 3)
    assert record.report(Stage(), 3.0)["motion"]["underruns"] == 0
    record.plans.add_chunk(0.5)
    for at in (1.0, 1.1):
        record.monitor.see("base", at, [0.0, 0.0, 0.0])
    assert record.report(Stage(), 3.0)["control"]["missed"] == 4
    record.start(7)
    before = record.report(Stage(), 3.0)
    assert before["policy"]["chunks"] == before["control"]["missed"] == 0
    record.add_health({"jerk_rms": "9.0", "tracking_error": "0.5"}, measuring=False)
    record.add_health({"jerk_rms": "3.0", "tracking_error": "0.01", "seam_position_max": "0.2"}, measuring=True)
    record.add_health({"jerk_rms": "2.0", "tracking_error": "0.02", "seam_velocity_max": "0.6", "overruns": "4",
                       "period_late_ms_p99": "0.1234"}, measuring=True)  # fmt: skip
    assert [record.add_subtask(text) for text in ("reach", "reach", "", "grasp", "reach")] == [1, 0, 0, 1, 1]
    found = record.report(Stage(state=ExecutorState(underruns=9), began=10.0), 13.456)
    assert found["duration_s"] == 3.46 and found["subtasks"] == ["reach", "grasp", "reach"]
    motion = found["motion"]
    assert (motion["jerk_rms"], motion["tracking_error"], motion["underruns"]) == (3.0, 0.02, 2)
    assert (motion["seam_position"], motion["seam_velocity"]) == (0.0, 0.6)
    assert found["control"]["executor"] == {"period_late_ms": {"p50": 0.0, "p99": 0.123, "max": 0.0}, "missed": 4}
    assert own_timing({}) == {"period_late_ms": {"p50": 0.0, "p99": 0.0, "max": 0.0}, "missed": 0}
