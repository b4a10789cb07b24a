"""Which requests are granted, and the worst reason why one is not."""

from types import SimpleNamespace

import pytest

from pi0_ros.control.journal import Now
from pi0_ros.control.modes import Mode, ModeState, Trigger
from pi0_ros.control.requests import nobody_may_drive, objection, policy_objection

REASONS = {
    "estop": "the button is pressed",
    "outside": "j1 is far outside",
    "competitor": "somebody else sends",
    "clock": "the clock stands",
    "stale": "j1 is late",
    "policy": "the policy has another robot",
    "two": "two policies",
}


def parts(*wrong, mode=Mode.HOLD, buttons=True, required=True, second="stop"):
    """A core in which these things are wrong; what is asked of it has to be asked for the moment."""

    def said(key, *moment):
        assert moment in ((), (5.0,), (5.0, 0.3), (Now(5.0, 900.0),))
        return REASONS[key] if key in wrong else ""

    measured = SimpleNamespace(outside=said("outside"), stale=lambda steady: said("stale", steady))
    return SimpleNamespace(
        modes=SimpleNamespace(state=ModeState(mode, "a fault", 3)),
        settings=SimpleNamespace(estop_required=required, estop_heartbeat=0.3, second_publisher=second),
        pace=SimpleNamespace(
            ros=900.0, fault=lambda now: ("stopped", said("clock", now)) if "clock" in wrong else None
        ),
        inputs=SimpleNamespace(
            measured=measured,
            estop=SimpleNamespace(
                active=lambda steady, heartbeat: said("estop", steady, heartbeat),
                buttons={b"": True} if buttons else {},
            ),
            competitors={Trigger.SECOND_PUBLISHER: said("competitor")} if "competitor" in wrong else {},
            policy=SimpleNamespace(objection=lambda: said("policy"), competition=lambda: said("two")),
        ),
    )


@pytest.mark.parametrize(
    ("trigger", "mode", "order"),
    [
        (Trigger.ASK_RESET, Mode.STOPPED, ["estop", "outside"]),
        (Trigger.ASK_TELEOP, Mode.HOLD, ["competitor"]),
        (Trigger.ASK_AUTONOMY, Mode.HOLD, ["competitor", "clock", "stale", "policy", "two"]),
        (Trigger.ASK_HOLD, Mode.AUTONOMY, []),
    ],
)
def test_a_request_is_refused_for_what_matters_to_it_the_worst_first_and_granted_else(trigger, mode, order):
    for k, key in enumerate(order):
        assert objection(parts(*order[k:], mode=mode), 5.0, trigger) == REASONS[key]
    others = [key for key in REASONS if key not in order]
    assert objection(parts(*others, mode=mode), 5.0, trigger) == ""


@pytest.mark.parametrize(("mode", "way_out"), [(Mode.STOPPED, " (a fault); reset first"), (Mode.HOLD, "")])
def test_what_a_mode_does_not_lead_to_is_refused_with_the_way_out(mode, way_out):
    trigger = Trigger.ASK_TELEOP if mode is Mode.STOPPED else Trigger.ASK_RESET
    text = f"{trigger.value} is not possible in {mode.value}{way_out}"
    assert objection(parts("estop", "competitor", mode=mode), 5.0, trigger) == text


@pytest.mark.parametrize(
    ("required", "buttons", "good"), [(True, True, True), (True, False, False), (False, False, True)]
)
def test_where_an_emergency_stop_is_required_nobody_drives_before_it_was_heard(required, buttons, good):
    of = parts(buttons=buttons, required=required)
    assert (nobody_may_drive(of) == "") is good
    assert good or "estop_required" in objection(of, 5.0, Trigger.ASK_TELEOP)


def test_two_policies_are_refused_unless_somebody_chose_to_be_warned_only():
    assert policy_objection(parts("two")) == REASONS["two"]
    assert policy_objection(parts("two", second="warn")) == ""
    assert policy_objection(parts("policy", "two", second="warn")) == REASONS["policy"]
