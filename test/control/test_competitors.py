"""Two devices on one topic of teleop, two policies, and what a person is told who asks for the mode that is there already."""

import pytest
from story import Story, make_robot, middle

from pi0_ros.control import ExecutorSettings, Mode
from pi0_ros.control.modes import Trigger
from pi0_ros.control.policy_watch import PolicyWatch
from pi0_ros.robot.spec import Takeover

BOTH = "/leader and /joystick publish on teleop/left_arm, which has room for one teleop device; end one of the two"
ARM = "left_joint2"


def tell(story, text):
    """Two devices are there, or none (""), as the node says once a period."""
    story.executor.on_second_publisher(story.steady, story.ros, text, Trigger.TWO_DEVICES)


def test_two_devices_end_what_a_person_drives_and_nothing_is_granted_until_one_is_gone():
    story = Story().run(0.1)
    home = story.values[:6].copy()
    assert story.ask("teleop").ok
    story.run(0.5, each=lambda s: s.teleop("left_arm", home + 0.2))
    assert story.last.owner == "teleop"
    story.run(1.0, each=lambda s: (s.teleop("left_arm", home + 0.2), tell(s, BOTH)))
    assert story.last.mode is Mode.HOLD and story.last.reason == BOTH and story.speed() == 0.0
    assert [e.level for s in story.steps for e in s.events if e.name == "two teleop devices"] == ["error"]
    for request in ("teleop", "autonomy"):
        answer = story.ask(request)
        assert not answer.ok and answer.message == f"refused: {BOTH}"
    tell(story, "")
    assert story.ask("teleop").ok and story.tick().mode is Mode.TELEOP
    story.sound()


def test_autonomy_goes_on_beside_two_devices_and_who_takes_over_gets_a_robot_that_is_held():
    story = Story().autonomy(goal={ARM: 0.5}, rows=30)
    tell(story, BOTH)
    story.run(0.4, each=lambda s: tell(s, BOTH))
    assert story.last.mode is Mode.AUTONOMY and story.last.owner == "policy"
    answer = story.ask("teleop")
    assert not answer.ok and BOTH in answer.message
    story.run(1.0, each=lambda s: tell(s, BOTH))
    assert story.last.mode is Mode.HOLD and story.last.reason == BOTH and story.speed() == 0.0
    story.sound()


def test_a_leader_that_moved_beside_another_device_holds_the_robot_and_does_not_drive_it():
    robot = make_robot(takeover=Takeover(leader_motion=0.1))
    home = middle(robot)[robot.index["left_joint1"] :][:6]
    story = Story(robot).autonomy(goal={ARM: 0.5}, rows=30)
    tell(story, BOTH)
    story.teleop("left_arm", home)
    story.run(0.04)
    story.teleop("left_arm", home + 0.3)
    assert story.tick().mode is Mode.HOLD and story.last.reason == BOTH
    story.sound()


@pytest.mark.parametrize("seconds", [5.0])
def test_with_the_setting_warn_two_devices_are_told_and_stop_nothing(seconds):
    story = Story(settings=ExecutorSettings(second_publisher="warn")).run(0.1)
    home = story.values[:6].copy()
    tell(story, BOTH)
    assert story.ask("teleop").ok
    story.run(seconds, each=lambda s: (s.teleop("left_arm", home + 0.2), tell(s, BOTH)))
    assert story.last.mode is Mode.TELEOP and story.at("left_joint1") == pytest.approx(home[0] + 0.2, abs=1e-3)
    assert [e.level for s in story.steps for e in s.events if e.name == "two teleop devices"] == [
        "warn"
    ]  # not each period
    story.executor.on_second_publisher(story.steady, story.ros, "cmd_vel is also published by /joystick")
    assert story.tick().mode is Mode.TELEOP and "cmd_vel is also published by /joystick" in story.texts()


def test_two_policies_are_named_before_autonomy_is_granted_and_one_that_was_restarted_is_one():
    story = Story().run(0.1)
    story.executor.on_policy(lambda policy: policy.seen(("/policy", "/brain")))
    answer = story.ask("autonomy")
    assert not answer.ok
    assert answer.message == (
        "refused: /brain and /policy publish action_chunk, and one policy can drive; end one of the two"
    )
    story.executor.on_policy(lambda policy: policy.seen(("/policy", "/policy")))
    assert story.ask("autonomy").ok
    assert PolicyWatch(("/c", "/a", "/b")).competition().endswith("; end all but one")
    warned = Story(settings=ExecutorSettings(second_publisher="warn")).run(0.1)
    warned.executor.on_policy(lambda policy: policy.seen(("/policy", "/brain")))
    assert warned.ask("autonomy").ok


def test_a_setting_for_competitors_that_there_is_not_is_refused():
    with pytest.raises(ValueError, match="second_publisher 'ignore' is none of stop, warn"):
        ExecutorSettings(second_publisher="ignore")


def test_who_asks_for_the_mode_that_is_there_already_is_told_so_with_the_reason_of_then():
    story = Story().run(0.1)
    assert story.ask("hold").message == "already in hold, since the start"
    story.autonomy(goal={ARM: 0.3})
    assert story.ask("autonomy").message == "already in autonomy; it was entered because: autonomy requested"
    story.executor.on_second_publisher(story.steady, story.ros, "cmd_vel is also published by /joystick")
    story.executor.on_second_publisher(story.steady, story.ros, "")
    story.run(0.5)
    answer = story.ask("hold")
    assert answer.ok and answer.message == (
        "already in hold; it was entered because: cmd_vel is also published by /joystick"
    )
    assert story.tick().reason == "cmd_vel is also published by /joystick"
    assert story.ask("teleop").message == "waiting for teleop input"
    assert story.ask("teleop").message == "already in teleop; waiting for teleop input"
    assert story.ask("hold").message == "hold requested"
    story.executor.on_estop(story.steady, True)
    assert story.ask("stop").message == "already in stopped; it was entered because: e-stop pressed"


def test_who_asks_to_hold_a_robot_that_is_not_measured_yet_is_told_what_is_missing():
    story = Story()
    story.joints = False
    story.run(0.2)
    answer = story.ask("hold")
    assert answer.ok and answer.message.startswith("already in hold; waiting: no fresh measurement of ")


def test_who_asks_to_take_over_beside_two_devices_ends_autonomy_before_a_plan_has_come():
    story = Story().run(0.1)
    tell(story, BOTH)
    assert story.ask("autonomy").ok is story.ask("teleop").ok is False
    tell(story, "")
    assert story.ask("autonomy").ok and story.tick().mode is Mode.AUTONOMY
    tell(story, BOTH)
    assert not story.ask("teleop").ok
    assert (story.tick().mode, story.last.reason) == (Mode.HOLD, BOTH)
