"""The keys of a state source, and what is refused."""

import pytest

from pi0_ros.robot import RobotError, load_robot
from pi0_ros.robot.spec import Takeover

ARM = """
arm:
  kind: position
  channels: [j1, j2, j3]
  command: {topic: arm/commands, type: float64_multi_array}
  limits: {source: urdf, acceleration: 5.0}
"""


def state(text):
    return f"state:\n  - {{topic: joint_states, type: joint_state, max_age: 0.1{text}}}\n"


def test_names_units_and_state_only_joints_of_a_source(small_robot):
    text = ", joints: {a: j1, b: j2}, scale: 0.0174533, offset: {j2: -1.5}, measures: [torso]"
    robot = small_robot(ARM, state=state(text))
    (source,) = robot.state
    assert source.joints == (("a", "j1"), ("b", "j2")) and source.scale == (("", 0.0174533),)
    assert source.offset == (("j2", -1.5),) and robot.state_joints == ("torso",)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (", joints: [a, b, c]", "must map the driver's names to the robot's, for example {fr3_joint1: joint1}"),
        (", joints: {a: j1, b: j1}", "j1 is named twice"),
        (", scale: 0.0", "a scale of 0 makes every measurement the same"),
        (", scale: {j1: 0.0}", "a scale of 0 makes every measurement the same"),
        (", twist: world", "a source of type joint_state has no twist"),
    ],
)
def test_what_makes_no_sense_is_refused(small_robot, text, words):
    with pytest.raises(RobotError) as problem:
        small_robot(ARM, state=state(text))
    assert words in str(problem.value) and "state[0]" in str(problem.value)


def test_odometry_has_no_joints(small_robot):
    odometry = "  - {topic: odom, type: odometry, max_age: 0.1, prefix: left_}\n"
    with pytest.raises(RobotError, match="a source of type odometry has no prefix"):
        small_robot(ARM, state=state("") + odometry)


def test_a_robot_whose_only_joint_nobody_reports_needs_no_joint_states(small_robot):
    text = """
    hand:
      kind: gripper
      channels: [vacuum]
      joint: {name: valve, closed: 0.0, open: 1.0, measured: false}
      limits: {velocity: 10.0}
      command: {topic: valve, type: float64_multi_array}
    """
    robot = small_robot(text, state="state: []\n")
    assert not robot.groups[0].gripper.measured


@pytest.mark.parametrize(("button", "good"), [(0, True), (1, True), (7, True), (-1, False), (1.5, False)])
def test_a_deadman_button_is_counted_from_zero(small_robot, button, good):
    text = "arm: {kind: position, channels: [j1], command: {topic: arm, type: joint_state}, limits: {source: urdf, acceleration: 5.0}}"
    file = small_robot(text).file
    file.write_text(
        file.read_text() + f"takeover: {{deadman: {{topic: joy, button: {button}}}, leader_motion: 0.03}}\n"
    )
    if not good:
        with pytest.raises(RobotError, match="button"):
            load_robot(file)
        return
    takeover = load_robot(file).takeover
    assert (takeover.deadman_topic, takeover.deadman_button, takeover.leader_motion) == ("joy", button, 0.03)


def test_a_person_may_take_over_by_a_leaders_motion_alone_by_a_button_alone_or_not_at_all(small_robot):
    file = small_robot(ARM).file
    text = file.read_text()
    for said, expected in (
        ("{leader_motion: 0.03}", Takeover("", 0, 0.03)),
        ("{deadman: {topic: joy, button: 4}}", Takeover("joy", 4, 0.0)),
        ("{}", Takeover("", 0, 0.0)),
    ):
        file.write_text(f"{text}takeover: {said}\n")
        assert load_robot(file).takeover == expected
    file.write_text(f"{text}takeover: {{leader_motion: 0}}\n")
    with pytest.raises(RobotError, match="takeover.leader_motion: must be above 0"):
        load_robot(file)


def test_a_topic_is_read_once(small_robot):
    again = "  - {topic: /joint_states, type: joint_state, max_age: 0.3}\n"
    with pytest.raises(RobotError, match=r"state\[0\]: topic joint_states is read twice"):
        small_robot(ARM, state=state("") + again)
