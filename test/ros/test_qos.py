"""Qualities of service, by what they are for."""

from rclpy.qos import DurabilityPolicy, HistoryPolicy, ReliabilityPolicy

from pi0_ros.ros import qos


def test_measurements_may_be_lost_commands_not_and_what_stays_true_reaches_who_comes_late():
    best = (qos.SENSOR, qos.NEWEST, qos.MEASURED)
    sure = (qos.RELIABLE, qos.LATCHED, qos.EVENTS, qos.OBSERVED, qos.READ)
    assert {q.reliability for q in best} == {ReliabilityPolicy.BEST_EFFORT}
    assert {q.reliability for q in sure} == {ReliabilityPolicy.RELIABLE}
    late = [q for q in (*best, *sure) if q.durability == DurabilityPolicy.TRANSIENT_LOCAL]
    assert late == [qos.LATCHED] and {q.history for q in (*best, *sure)} == {HistoryPolicy.KEEP_LAST}
    assert qos.NEWEST.depth == qos.RELIABLE.depth == qos.LATCHED.depth == 1, "an old one is worth nothing"
    assert qos.OBSERVED.depth > qos.MEASURED.depth > qos.SENSOR.depth > 1, "who counts must not lose any"
