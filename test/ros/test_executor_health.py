"""Which of several things the executor's line in /diagnostics is about, and every number in it."""

from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("rclpy")

from pi0_ros.control import Event
from pi0_ros.control.modes import Mode
from pi0_ros.control.step import Counters, Seam, Step
from pi0_ros.ros.control_thread import Period
from pi0_ros.ros.diagnostics import ERROR, OK, WARN, Health
from pi0_ros.ros.executor_health import executor_health, executor_values, health_of, with_second_publisher
from pi0_ros.ros.timing import Timing

COUNTERS = Counters(chunks_accepted=11, chunks_rejected=12, underruns=13, limited=14)
STEP = Step(
    command=None, mode=Mode.AUTONOMY, reason="asked for", owner="policy", epoch=7, plan_sequence=3, plan_left=0.4,
    starved=False, splice_delay=0.021, delay_p95=0.135, strategy="replace", seam=Seam(), plan_rate=0.5,
    tracking_error=0.017, measured=np.zeros(2), counters=COUNTERS, events=(),
)  # fmt: skip
DRIVING = Period(step=STEP)
CALM = {"trouble": None, "unheard": (), "silent": (), "missed_share": 0.0, "values": {"a": 1}}


def event(level):
    return Event(1.0, 2.0, level, "mode", "the camera fell")


@pytest.mark.parametrize(
    ("about", "level", "message"),
    [
        ({}, OK, "autonomy: asked for"),
        ({"black_box": "no room for a box"}, WARN, "autonomy: no room for a box"),
        (
            {"late": ("the arm follows late", "so does the lift")},
            WARN,
            "autonomy: the arm follows late; so does the lift",
        ),
        ({"missed_share": 0.11}, WARN, "11% of the control periods are missed"),
        ({"missed_share": 0.09}, OK, "autonomy: asked for"),
        ({"clocks": ("b is behind", "c is ahead")}, WARN, "autonomy: b is behind; c is ahead"),
        ({"silent": ("joint_states", "odom")}, WARN, "waiting for the first message on joint_states, odom"),
        ({"unheard": ("x is deaf", "y too")}, ERROR, "autonomy: x is deaf; y too"),
        ({"trouble": event("error")}, ERROR, "autonomy: asked for"),
        ({"trouble": event("warn"), "clocks": ("b is behind",)}, WARN, "autonomy: asked for; b is behind"),
    ],
)
def test_what_is_wrong_has_its_level_and_sentence(about, level, message):
    found = executor_health(DRIVING, **(CALM | about))
    assert (found.level, found.message, found.values) == (level, message, {"a": 1})


def test_of_several_things_the_gravest_is_told():
    """Each case still has everything below it."""
    wrong = {"trouble": event("error"), "unheard": ("deaf",), "silent": ("odom",), "missed_share": 0.5,
             "clocks": ("behind",), "black_box": "no box", "late": ("slow",), "values": {}}  # fmt: skip
    said = []
    faulty = DRIVING._replace(fault="ZeroDivisionError: no")
    stopped = DRIVING._replace(step=STEP._replace(mode=Mode.STOPPED, reason="e-stop"))
    said += [executor_health(period, **wrong) for period in (faulty, stopped)]
    for name, nothing in (("", None), ("trouble", None), ("unheard", ()), ("silent", ()), ("clocks", ()),
                          ("missed_share", 0.0), ("black_box", ""), ("late", ())):  # fmt: skip
        if name:
            wrong[name] = nothing
        said.append(executor_health(DRIVING, **wrong))
    assert [h.message for h in said] == [
        "fault in the executor, braking: ZeroDivisionError: no",
        "stopped: e-stop",
        "autonomy: asked for; behind",
        "autonomy: deaf",
        "waiting for the first message on odom",
        "autonomy: behind",
        "50% of the control periods are missed",
        "autonomy: no box",
        "autonomy: slow",
        "autonomy: asked for",
    ]
    assert [h.level for h in said] == [ERROR] * 4 + [WARN] * 5 + [OK]


def test_numbers_are_in_the_units_of_their_names():
    timing = Timing(0.001, 0.002, 0.003, 0.004, 0.005, 0.006, 0.007, 0.008, 0.009, 0.010, 21, 22)
    found = executor_values(DRIVING, timing, 49.5, Seam(0.31, 0.32, 0.33, 0.34))
    wanted = {
        "mode": "autonomy", "rate_hz": 49.5, "period_late_ms_p50": 1.0, "period_late_ms_p99": 2.0,
        "period_late_ms_max": 3.0, "work_ms_p50": 4.0, "work_ms_p99": 5.0, "work_ms_max": 6.0, "work_ms_p99_run": 10.0,
        "prepare_ms_p99": 8.0, "prepare_ms_max": 9.0, "ticks": 22, "overruns": 21, "owner": "policy",
        "strategy": "replace", "splice_delay_ms": 21.0, "delay_p95_ms": 135.0, "seam_position_max": 0.31,
        "seam_velocity_max": 0.32, "seam_velocity_share_max": 0.33, "tracking_error": 0.017,
        "chunks_accepted": 11, "chunks_rejected": 12, "underruns": 13, "limited": 14,
    }  # fmt: skip
    assert {k: pytest.approx(v) if isinstance(v, float) else v for k, v in wanted.items()} == {
        name: found[name] for name in wanted
    }


@pytest.mark.parametrize(
    ("before", "stops", "after"),
    [(OK, False, WARN), (OK, True, ERROR), (WARN, False, WARN), (ERROR, False, ERROR), (ERROR, True, ERROR)],
)
def test_a_second_publisher_is_said_first_and_makes_nothing_better(before, stops, after):
    health = Health(before, "hold: started", {"a": 1})
    found = with_second_publisher(health, "teleop publishes too", stops)
    assert (found.level, found.message) == (after, "teleop publishes too; hold: started") and found.values == {"a": 1}
    assert with_second_publisher(health, "", stops) == health
    said = Health(before, "hold: teleop publishes too", {})
    assert with_second_publisher(said, "teleop publishes too", stops).message == said.message


def test_a_period_before_the_first_step_starts_and_one_with_a_fault_is_stopped():
    assert (Period().mode, Period().reason) == ("hold", "starting")
    assert (DRIVING.mode, DRIVING.reason) == ("autonomy", "asked for")
    faulty = Period(step=SimpleNamespace(mode=Mode.AUTONOMY, reason="x"), fault="broken")
    assert (faulty.mode, faulty.reason) == ("stopped", "fault in the executor: broken")


def parts_of(refused=5, last="odom: too large"):
    """What the executor's health is made of, as stand-ins that say something each."""
    sources = SimpleNamespace(
        silent=(), values=lambda steady: {"asked": steady}, sentences=lambda steady: (f"odom is behind at {steady}",)
    )
    inputs = SimpleNamespace(
        refusals=SimpleNamespace(count=refused, last=last), sources=sources, competing=["/a also sends on x", ""]
    )
    box = SimpleNamespace(values=lambda: {"box_mb": 3}, failure="no room")
    return SimpleNamespace(
        inputs=inputs, period=0.02, black_box=box, matching=SimpleNamespace(sentences=()),
        second=SimpleNamespace(sentence="/b also sends on y"),
    )  # fmt: skip


def health_now(period, parts, stops=False, **timing):
    motion = SimpleNamespace(values=lambda: {"lag_ms": 40}, sentences=("the arm is late",))
    reporter = SimpleNamespace(latest=period, trouble=None, motion=motion)
    control = SimpleNamespace(timing=lambda: Timing(**timing), worst_seam=Seam(0.3, 0.4, 0.5))
    return health_of(parts, control, reporter, 12.5, stops)


def test_the_health_of_an_executor_is_that_of_its_parts():
    assert health_now(Period(step=None), parts_of()) == Health(WARN, "starting")
    found = health_now(DRIVING, parts_of(), overruns=1, ticks=1000)
    assert found.level == WARN
    assert found.message == "/b also sends on y; /a also sends on x; autonomy: odom is behind at 12.5"
    rest = {"messages_refused": 5, "last_rejection": "odom: too large", "asked": 12.5, "box_mb": 3, "lag_ms": 40}
    numbers = executor_values(DRIVING, Timing(overruns=1, ticks=1000), 50.0, Seam(0.3, 0.4, 0.5))
    assert found.values == {**numbers, **rest}
    assert health_now(DRIVING, parts_of(), stops=True).level == ERROR


def test_periods_that_are_missed_are_a_share_of_all():
    parts = parts_of()
    parts.inputs.sources.sentences = lambda steady: ()
    parts.inputs.competing, parts.second.sentence = [], ""
    assert health_now(DRIVING, parts, overruns=3, ticks=20).message == "15% of the control periods are missed"
    assert health_now(DRIVING, parts, overruns=1, ticks=20).message == "autonomy: no room"
    assert health_now(DRIVING, parts, overruns=1, ticks=1).message == "100% of the control periods are missed"
    assert health_now(DRIVING, parts).message == "autonomy: no room"
