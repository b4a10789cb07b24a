"""What is published of a period: what a mode waits for, and the answer to who asks for the mode that is on."""

import pytest
from story import Story, make_robot

from pi0_ros.control import BlackBox, ExecutorSettings
from pi0_ros.control.journal import Now
from pi0_ros.control.mode_keeper import ModeEvent
from pi0_ros.control.modes import Trigger
from pi0_ros.control.parts import assemble
from pi0_ros.control.plan_making import AtOnce
from pi0_ros.control.policy_watch import PolicyWatch
from pi0_ros.control.report import report, waits_for
from pi0_ros.control.watchdogs import Since
from pi0_ros.robot.spec import Takeover


def test_a_person_is_told_what_their_mode_waits_for_and_then_why_it_is_on():
    story = Story(make_robot(takeover=Takeover(deadman_topic="joy", deadman_button=1))).run(0.1)
    assert story.ask("teleop").message == "waiting for the deadman button"
    assert story.tick().reason == "waiting for the deadman button"
    story.executor.on_deadman(story.steady, True)
    assert story.ask("teleop").message == "already in teleop; waiting for teleop input"
    assert story.tick().reason == "waiting for teleop input"
    story.teleop("left_arm", story.values[:6])
    assert story.tick().reason == "teleop requested"
    assert story.ask("teleop").message == "already in teleop; it was entered because: teleop requested"


def test_without_a_button_input_is_all_that_teleop_waits_for():
    story = Story().run(0.1)
    assert story.ask("teleop").ok and story.tick().reason == "waiting for teleop input"


def test_autonomy_waits_for_its_first_plan_and_once_it_has_run_out_for_the_next():
    story = Story().run(0.1)
    assert story.ask("hold").message == "already in hold, since the start"
    assert story.ask("autonomy").message == "waiting for a fresh chunk that starts near the robot"
    assert not story.send(period=99.0).accepted
    assert "; the last was refused: period 99.0 s" in story.tick().reason
    assert story.send(goal={"left_joint2": 0.4}, rows=4).accepted
    step = story.tick()
    assert (step.reason, step.plan_sequence, step.starved) == ("autonomy requested", story.sequence, False)
    assert 0.2 < step.plan_left < 0.3 and step.strategy in ("blend", "replace")
    story.executor.on_policy(lambda _: PolicyWatch(reason="no camera"))
    story.run(0.6)
    assert story.last.starved and story.last.reason.startswith("UNDERRUN: the plan ran out")
    assert story.last.reason.endswith("; the policy: no camera")


@pytest.mark.parametrize(
    ("trigger", "waits"),
    [(None, ""), (Trigger.ASK_TELEOP, "waiting for the deadman button"), (Trigger.ASK_AUTONOMY, "waiting for a fresh chunk that starts near the robot")],
)  # fmt: skip
def test_before_any_plan_there_is_none_to_tell_of_and_only_who_teleoperates_needs_a_button(trigger, waits):
    robot = make_robot(takeover=Takeover(deadman_topic="joy", deadman_button=1))
    parts, now = assemble(robot, ExecutorSettings(), 6, AtOnce(), BlackBox()), Now(5.0, 905.0)
    if trigger is not None:
        parts.modes.fire(now, ModeEvent(trigger, "a person asked", "info"))
    parts.failsafe._starved = Since(1.0)
    assert waits_for(parts, 5.0) == waits
    step = report(parts, now, None, "none")
    assert (step.command, step.owner, step.epoch, step.reason) == (None, "none", parts.modes.epoch, waits or "started")
    assert (step.plan_sequence, step.plan_left, step.starved, step.strategy, step.plan_rate) == (0, 0.0, False, "", 0.0)
    assert [e.name for e in step.events] == ["mode"] * (trigger is not None) and len(step.measured) == 18
