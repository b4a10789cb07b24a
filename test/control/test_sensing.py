"""Which measurement counts, for how long, and when nobody knows where the robot is."""

from dataclasses import replace

import numpy as np
import pytest
from story import START, Story

from pi0_ros.control import Executor, ExecutorSettings
from pi0_ros.control.sensing import Latest, Measurements, OtherJoints, believable, first_source, table_of

ARM = """
arm:
  kind: position
  channels: [j1, j2]
  command: {topic: arm/commands, type: float64_multi_array}
  limits: {source: urdf, acceleration: 5.0}
"""
HAND = """
hand:
  kind: gripper
  channels: [gripper]
  joint: {name: finger, closed: 0.0, open: 0.04}
  command: {topic: hand/commands, type: float64_multi_array}
"""
BASE = """
base:
  kind: velocity
  channels: [base_vx, base_wz]
  command: {topic: cmd_vel, type: twist}
  limits: {velocity: [0.5, 1.0], acceleration: 1.0}
"""
TWO_SOURCES = """state:
  - {topic: joint_states, type: joint_state, max_age: 0.1}
  - {topic: hand/joint_states, type: joint_state, max_age: 2.0}
"""
T0 = START


def hear(core, time, positions, topic="joint_states", **other):
    core.on_state(time, T0 + time, T0 + time, positions, topic=topic, **other)


def test_each_joint_is_judged_by_the_max_age_of_the_source_it_came_from(small_robot):
    measured = Measurements(small_robot(ARM + HAND, state=TWO_SOURCES), ExecutorSettings())
    for k in range(51):
        t = 0.02 * k
        measured.update_joints(t, T0 + t, T0 + t, {"j1": 0.1, "j2": 0.2}, topic="joint_states")
    measured.update_joints(0.9, T0 + 0.9, T0 + 0.9, {"finger": 0.02}, topic="hand/joint_states")
    assert measured.stale(1.09) == ""
    assert measured.stale(1.11) == (
        "no fresh measurement of j1 and 1 more: nothing new on joint_states for 0.1 s and more (max_age 0.1 s)"
    )
    measured.update_joints(2.5, T0 + 2.5, T0 + 2.5, {"j1": 0.1, "j2": 0.2}, topic="joint_states")
    assert measured.stale(2.55) == "" and measured.stale(2.59) == ""
    measured.update_joints(2.95, T0 + 2.95, T0 + 2.95, {"j1": 0.1, "j2": 0.2}, topic="joint_states")
    assert measured.stale(2.95) == (
        "no fresh measurement of gripper (joint finger): nothing new on hand/joint_states for 2 s and more (max_age 2 s)"
    )


def test_names_that_come_instead_of_the_missing_ones_are_said(small_robot):
    measured = Measurements(small_robot(ARM), ExecutorSettings())
    measured.update_joints(0.0, T0, T0, {"fr3_j1": 0.1, "fr3_j2": 0.2}, topic="joint_states")
    assert measured.stale(0.01).endswith("joint_states has fr3_j1, fr3_j2 and not j1, j2: see state: joints")


def test_of_many_other_names_the_first_eight_are_said_and_none_where_each_joint_came_once(small_robot):
    measured = Measurements(small_robot(ARM), ExecutorSettings())
    measured.update_joints(0.0, T0, T0, {f"a{k}": 0.1 for k in range(12)}, topic="")
    measured.update_joints(0.0, T0, T0, {"b": 0.1}, topic="joint_states")
    names = ", ".join(f"a{k}" for k in range(8))
    assert measured.stale(0.01).endswith(f"; a joint state has {names} and not j1, j2: see state: joints")
    measured.update_joints(0.1, T0 + 0.1, T0 + 0.1, {"j1": 0.1, "j2": 0.2, "a1": 0.3}, topic="joint_states")
    assert measured.stale(0.19) == "" and measured.stale(9.0).endswith("(max_age 0.1 s)")
    others = OtherJoints()
    others.note("", "x")
    never = [f"j{k}" for k in range(12)]
    assert others.instead_of(never) == f"; a joint state has x and not {', '.join(never[:8])}: see state: joints"
    assert others.instead_of([]) == OtherJoints().instead_of(never) == ""


@pytest.mark.parametrize(("publishers", "told"), [(("/driver",), False), (("/driver", "/other"), True)])
def test_one_return_contradicts_where_two_publishers_are_known_and_may_be_a_glitch_of_one(
    small_robot, publishers, told
):
    measured = Measurements(small_robot(ARM), ExecutorSettings())
    measured.publishers = {"joint_states": publishers}
    for k, value in enumerate((0.1, 0.9, 0.1)):
        t = 5.0 + 0.01 * k
        measured.update_joints(t, T0 + t, T0 + t, {"j1": value, "j2": 0.2}, topic="joint_states")
    assert bool(measured.contradicted(5.02)) is told
    assert not told or all(name in measured.contradicted(5.02) for name in ("j1", "/driver", "/other"))


def test_a_contradiction_is_over_two_seconds_after_the_second_publisher_fell_silent(small_robot):
    measured = Measurements(small_robot(ARM), ExecutorSettings())
    for k in range(300):
        t = 0.01 * k
        value = 0.9 if k % 2 and k < 40 else 0.1
        measured.update_joints(t, T0 + t, T0 + t, {"j1": value, "j2": 0.2}, topic="joint_states")
    last = 0.4  # when it jumped back for good
    assert "j1" in measured.contradicted(last + 1.99) and measured.contradicted(last + 2.01) == ""
    assert "j1" in measured.unsettled(last + 0.99) and measured.unsettled(last + 1.01) == ""


WHEELS = """
base:
  kind: velocity
  channels: [vx, vy, wz]
  command: {topic: cmd_vel, type: twist}
  limits: {velocity: [0.5, 0.4, 1.0], acceleration: [1.0, 0.8, 2.0], jerk: [5.0, 4.0, 9.0]}
"""
WHEEL_ODOMETRY = "state:\n  - {topic: odom, type: odometry, max_age: 0.2}\n"


@pytest.mark.parametrize(
    ("publishers", "others", "told"),
    [
        (("/base", "/ekf"), (0.0, 0.0, 0.0), True),  # a filter that gets nothing, beside wheels that turn
        (("/base", "/ekf"), (0.27, 0.0, 0.05), False),  # a filter of the same wheels
        (("/base", "/ekf"), (0.3, 0.25, 0.0), True),
        (("/base",), (0.0, 0.0, 0.0), False),  # one base that jolts
    ],
)
def test_two_publishers_of_odometry_contradict_where_one_base_cannot_do_what_both_say(
    small_robot, publishers, others, told
):
    measured = Measurements(small_robot(WHEELS, state=WHEEL_ODOMETRY), ExecutorSettings())
    measured.publishers = {"odom": publishers}
    for k in range(20):
        t = 5.0 + 0.02 * k
        measured.update_odometry(t, T0 + t, T0 + t, (0.3, 0.0, 0.0), "odom")
        measured.update_odometry(t + 0.01, T0 + t + 0.01, T0 + t + 0.01, others, "odom")
    sentence = measured.contradicted(t)
    assert bool(sentence) is told
    assert not told or all(name in sentence for name in ("/base and /ekf publish v", "on odom", "stop one of them"))


def test_a_base_that_brakes_as_hard_as_it_may_contradicts_nobody(small_robot):
    measured = Measurements(small_robot(WHEELS, state=WHEEL_ODOMETRY), ExecutorSettings())
    measured.publishers = {"odom": ("/base", "/ekf")}
    for k in range(200):  # to and fro at 1 m/s^2; both say what is true
        t = 5.0 + 0.01 * k
        measured.update_odometry(t, T0 + t, T0 + t, (0.5 - abs(0.5 - 0.01 * (k % 100)), 0.0, 0.0), "odom")
    assert measured.contradicted(t) == ""


@pytest.mark.parametrize("wrong", [float("nan"), float("inf"), None])
def test_a_value_that_is_none_changes_nothing_and_makes_nothing_fresh(small_robot, wrong):
    measured = Measurements(small_robot(ARM), ExecutorSettings())
    assert measured.update_joints(1.0, T0 + 1.0, T0 + 1.0, {"j1": 0.3, "j2": 0.2}, topic="joint_states") == ""
    said = measured.update_joints(1.2, T0 + 1.2, T0 + 1.2, {"j1": wrong, "j2": 0.4}, topic="joint_states")
    assert said == f"j1 is {wrong}" and list(measured.values) == [0.3, 0.4]
    assert "j1" in measured.stale(1.25) and "j2" not in measured.stale(1.25)


def test_messages_that_arrive_in_one_burst_moved_as_fast_as_their_stamps_say(small_robot):
    measured = Measurements(small_robot(ARM), ExecutorSettings())
    for k in range(10):  # 2 rad/s, slower than the joint can move
        at = T0 + 3.0 + 0.05 * k
        measured.update_joints(3.5, at, at, {"j1": 0.1 * k - 0.5, "j2": 0.2}, topic="joint_states")
    assert measured.unsettled(3.5) == measured.contradicted(3.5) == ""


def test_the_first_command_waits_while_two_publishers_say_different_things(small_robot):
    core = Executor(small_robot(ARM))
    core.on_publishers({"joint_states": ("/driver", "/joint_state_publisher")})
    commands = []
    for k in range(1, 200):
        t = 0.02 * k
        hear(core, t, {"j1": 1.2, "j2": 0.5})
        if k % 5 == 0:
            hear(core, t + 0.003, {"j1": 0.0, "j2": 0.0})
        step = core.step(t + 0.005, T0 + t + 0.005)
        commands.append(step.command)
    assert commands == [None] * len(commands)
    assert "/driver and /joint_state_publisher publish j" in step.reason
    assert not core.request(4.0, T0 + 4.0, "autonomy").ok


def test_two_publishers_that_agree_start_after_a_moment_and_one_at_once(small_robot):
    def first_command(publishers):
        core = Executor(small_robot(ARM))
        core.on_publishers({"joint_states": publishers})
        for k in range(1, 200):
            t = 0.02 * k
            hear(core, t, {"j1": 1.2})
            hear(core, t + 0.001, {"j2": 0.5})
            step = core.step(t + 0.005, T0 + t + 0.005)
            if step.command is not None:
                return t, step.command.values.tolist()

    assert first_command(("/driver",)) == (0.02, [1.2, 0.5])
    begun, values = first_command(("/arm", "/hand"))
    assert values == [1.2, 0.5] and 1.0 <= begun <= 1.1


def test_waiting_for_agreement_with_measurements_that_never_change_is_no_fault(small_robot):
    core = Executor(small_robot(ARM))
    core.on_publishers({"joint_states": ("/arm", "/hand")})
    for k in range(1, 100):
        hear(core, 0.02 * k, {"j1": 0.4, "j2": 0.3})
        step = core.step(0.02 * k + 0.005, T0 + 0.02 * k + 0.005)
    assert step.mode.value == "hold" and step.command.values.tolist() == [0.4, 0.3]


def test_a_publisher_that_comes_later_and_disagrees_ends_autonomy_and_then_nothing_is_sent(small_robot):
    story = Story(small_robot(ARM), start=[0.5, 0.2])
    story.executor.on_publishers({"joint_states": ("/driver",)})
    story.autonomy({"j1": 0.8})
    story.run(0.3)
    story.executor.on_publishers({"joint_states": ("/driver", "/gui")})

    def gui(story):
        if len(story.steps) % 5 == 0:
            hear(story.executor, story.steady + 0.001, {"j1": -1.0, "j2": -1.0})

    story.run(1.0, each=gui)
    assert story.last.mode.value in ("hold", "stopped")
    assert "/driver and /gui publish" in story.texts()
    assert story.last.command is None


def test_a_robot_without_odometry_is_driven_and_a_velocity_starts_from_its_command(small_robot):
    story = Story(small_robot(ARM + BASE), start=[0.5, 0.2, 0.0, 0.0])
    story.odometry = False
    story.autonomy()
    rows = np.tile([0.5, 0.2, 0.4, 0.0], (16, 1))
    assert story.send(story.chunk(values=rows)).accepted
    story.run(1.2)
    assert story.last.mode.value == "autonomy"
    driven = story.last.command
    np.testing.assert_array_equal(driven.velocities[2:], driven.values[2:])
    assert story.at("base_vx") > 0.05 and story.at("base_wz") == pytest.approx(0.0, abs=1e-9)


def test_odometry_that_the_yaml_names_is_needed(small_robot):
    state = "state:\n  - {topic: joint_states, type: joint_state, max_age: 0.1}\n"
    story = Story(
        small_robot(ARM + BASE, state=state + "  - {topic: odom, type: odometry, max_age: 0.1}\n"),
        start=[0.5, 0.2, 0, 0],
    )
    story.odometry = False
    story.run(0.1)
    assert story.last.reason == (
        "waiting: no fresh measurement of base_vx and 1 more: nothing came on odom yet (max_age 0.1 s)"
    )


def test_a_rest_pose_outside_the_limits_is_told_with_its_origin_and_the_way_out(small_robot):
    core = Executor(small_robot(ARM.replace("acceleration: 5.0", "acceleration: 5.0, margin: 0.02") + HAND))
    for k in range(1, 4):
        hear(core, 0.02 * k, {"j1": 0.1, "j2": -1.65, "finger": 0.02})
        step = core.step(0.02 * k + 0.001, T0 + 0.02 * k + 0.001)
    line = core.robot.channels[1].origin.where
    assert step.reason == (
        "j2 is measured at -1.650, its limits are -1.480 .. 1.880 (small.urdf, margin 0.02): move it by hand, or give "
        f"limits.position with override: true in {line}"
    )
    assert line.startswith("small.yaml:")


def test_odometry_that_falls_silent_ends_autonomy(small_robot):
    state = "state:\n  - {topic: joint_states, type: joint_state, max_age: 0.5}\n  - {topic: odom, type: odometry, max_age: 0.1}\n"
    story = Story(small_robot(ARM + BASE, state=state), start=[0.5, 0.2, 0.0, 0.0])
    story.autonomy()
    story.odometry = False
    story.run(0.08)
    assert story.last.mode.value == "autonomy"
    story.run(0.08 + ExecutorSettings().state_grace)
    assert story.last.mode.value == "hold" and "no fresh measurement of base_vx" in story.last.reason


def test_a_robot_that_was_outside_its_limits_and_is_inside_again_may_be_reset(small_robot):
    story = Story(small_robot(ARM), start=[0.5, 0.2])
    story.run(0.1)
    story.follows = False
    story.measured = np.array([2.3, 0.2])
    story.run(0.1)
    assert story.last.mode.value == "stopped" and not story.ask("reset").ok
    story.measured = np.array([1.9, 0.2])
    story.run(0.1)
    assert story.ask("reset").ok


@pytest.mark.parametrize("max_age", [0.1, 0.6])
def test_a_teleop_device_is_judged_by_the_max_age_of_the_yaml(small_robot, max_age):
    leader = f"  teleop: {{topic: leader, type: joint_state, max_age: {max_age}}}\n"
    story = Story(small_robot(ARM + leader), start=[0.5, 0.2])
    story.run(0.1)
    assert story.ask("teleop").ok
    story.run(0.2, each=lambda s: s.teleop("arm", [0.5, 0.2]))
    story.run(max_age - 0.04)
    assert story.last.mode.value == "teleop"
    story.run(0.08)
    assert story.last.mode.value == "hold"


def test_a_gripper_that_nobody_measures_keeps_the_arm_from_nothing(small_robot):
    robot = small_robot(ARM + HAND.replace("open: 0.04", "open: 0.04, measured: false"))
    story = Story(robot, start=[0.5, 0.2, 0.0])
    story.sense = lambda: hear(story.executor, story.steady, {"j1": story.measured[0], "j2": story.measured[1]})
    story.run(0.1)
    assert story.last.mode.value == "hold" and story.values.tolist() == [0.5, 0.2, 1.0]
    assert np.isnan(story.last.measured[2])
    story.autonomy({"gripper": 0.0, "j1": 0.7})
    story.run(1.6)
    assert story.at("gripper") < 0.1


@pytest.mark.parametrize(
    ("positions", "words"),
    [
        (
            {"j1": 15.6, "j2": 0.2, "finger": 0.02},
            "j1 is measured at 15.600, its limits are -2.000 .. 2.000 (small.urdf): degrees? Then give scale",
        ),
        (
            {"j1": 0.1, "j2": 0.2, "finger": 20.0},
            "gripper joint finger is 20, far outside of 0 .. 0.04; it reports 20: milli",
        ),
        ({"j1": 2048, "j2": 0.2, "finger": 0.02}, "(small.urdf): ticks of an encoder?"),
    ],
)
def test_a_measurement_in_another_unit_starts_nothing_and_is_guessed(small_robot, positions, words):
    core = Executor(small_robot(ARM + HAND))
    for k in range(1, 4):
        hear(core, 0.02 * k, positions)
        step = core.step(0.02 * k + 0.001, T0 + 0.02 * k + 0.001)
    assert step.command is None and words in step.reason


@pytest.mark.parametrize(
    ("behind", "cure"),
    [
        (2.0, "is stamped 2.00 s in the past by this computer's clock; synchronise the clocks (chrony or PTP)"),
        (37.1, "is stamped 37.10 s in the past by this computer's clock; 37 s is TAI against UTC"),
        (1e9, "it is another clock: set use_sim_time:=true"),
    ],
)
def test_a_clock_out_of_step_is_named_as_such_in_the_state_and_in_every_answer(small_robot, behind, cure):
    """50 messages a second arrive, so that "nothing new on joint_states" would send people to the cable."""
    core, now = Executor(small_robot(ARM)), T0

    def live(since, until, offset):
        for k in range(round(since / 0.02), round(until / 0.02)):
            t = 0.02 * k
            late = 0.003 * (k % 3)
            core.on_state(t, now + t, now + t - offset - late, {"j1": 1.2, "j2": 0.5}, topic="joint_states")
            step = core.step(t + 0.005, now + t + 0.005)
        return step

    assert live(0.02, 1.1, 0.0).command is not None
    reasons = {live(1.1 + 0.02 * k, 1.12 + 0.02 * k, behind).reason for k in range(120)}
    step = live(3.5, 3.6, behind)
    assert (
        step.mode.value == "stopped" and "joint_states arrives, but is stamped" in step.reason and cure in step.reason
    )
    assert len(reasons) < 8, "the sentence changes with every message"
    answer = core.request(3.6, now + 3.6, "autonomy")
    assert not answer.ok and cure in answer.message


def test_a_topic_that_falls_silent_after_old_stamps_is_said_to_be_silent(small_robot):
    measured = Measurements(small_robot(ARM), ExecutorSettings())
    measured.update_joints(0.0, T0, T0, {"j1": 0.1, "j2": 0.2}, topic="joint_states")
    measured.update_joints(1.0, T0 + 1.0, T0 - 1.0, {"j1": 0.1, "j2": 0.2}, topic="joint_states")
    assert "is stamped 2.00 s in the past" in measured.stale(1.5)
    assert measured.stale(2.5).endswith("nothing new on joint_states for 2 s and more (max_age 0.1 s)")


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (0.6, ""),
        (600.0, "millimetres? Then give scale: 0.001"),
        (40.0, "degrees? Then give scale: 0.0174533"),
        (-7.7, "it reports"),
    ],
)
def test_a_gripper_in_another_unit_is_guessed_by_the_ends_of_its_stroke(small_robot, said, words):
    """0.5 closed, 0.8 open: 600 may be millimetres, 40 degrees (0.7 rad), and -7.7 nothing that is known."""
    robot = small_robot(
        """
        arm: {kind: position, channels: [j1], command: {topic: arm, type: joint_state},
              limits: {source: urdf, acceleration: 5.0}}
        hand: {kind: gripper, channels: [grip], joint: {name: j2, closed: 0.5, open: 0.8},
               command: {topic: hand, type: float64_multi_array}}
        """
    )
    measured = Measurements(robot, ExecutorSettings())
    measured.update_joints(1.0, 100.0, 100.0, {"j1": 0.1, "j2": said}, {}, "joint_states")
    assert bool(measured.outside) is bool(words)
    if words == "it reports":
        assert measured.outside == "gripper joint j2 is -7.7, far outside of 0.5 .. 0.8"
    elif words:
        assert (
            measured.outside.startswith(f"gripper joint j2 is {said:g}, far outside of 0.5 .. 0.8")
            and words in measured.outside
        )


def test_before_any_command_a_joint_without_ends_is_where_it_went_on_to(small_robot):
    """It turns from 3.10 over pi, and its driver says -3.10."""
    text = ARM.replace("[j1, j2]", "[j1, wrist]")
    measured = Measurements(small_robot(text), ExecutorSettings())
    for k, said in enumerate((3.0, 3.1, -3.1, -3.0, 3.1)):
        t = 1.0 + 0.02 * k
        measured.update_joints(t, T0 + t, T0 + t, {"j1": 0.3, "wrist": said}, topic="joint_states")
        measured.command = None
    assert measured.values[1] == pytest.approx(3.1)
    found = []
    for k, said in enumerate((3.1, -3.1, -2.9)):
        t = 2.0 + 0.02 * k
        measured.update_joints(t, T0 + t, T0 + t, {"j1": 0.3, "wrist": said}, topic="joint_states")
        found.append(measured.values[1])
    assert found == pytest.approx([3.1, 2.0 * np.pi - 3.1, 2.0 * np.pi - 2.9])


@pytest.mark.parametrize(("excess", "told"), [(0.05, False), (0.09, False), (0.11, True)])
@pytest.mark.parametrize("side", ["upper", "lower"])
def test_a_position_may_be_measured_a_tenth_of_a_rad_outside_and_no_more(small_robot, excess, told, side):
    robot = small_robot(ARM)
    measured, limits = Measurements(robot, ExecutorSettings()), robot.channels[1].limits
    at = limits.upper + excess if side == "upper" else limits.lower - excess
    measured.update_joints(1.0, T0 + 1.0, T0 + 1.0, {"j1": 0.1, "j2": at}, topic="joint_states")
    assert bool(measured.outside) is told and (not told or "j2 is measured at" in measured.outside)


@pytest.mark.parametrize(
    ("said", "at"),
    [(6.0, 6.0), (-8.9, -8.9), (8.0, 8.0 - 2 * np.pi), (-11.0, -11.0 + 4 * np.pi), (20.0, 20.0 - 6 * np.pi)],
)
def test_a_joint_without_ends_that_is_first_measured_outside_its_limits_is_on_the_turn_nearest_to_their_middle(
    small_robot, said, at
):
    """-9 .. 6.28 of a joint that the URDF lets turn for ever."""
    arm = ARM.replace("[j1, j2]", "[j1, wrist]").replace(
        "source: urdf,", "source: urdf, position: {wrist: [-9, 6.28]},"
    )
    measured = Measurements(small_robot(arm), ExecutorSettings())
    measured.update_joints(1.0, T0 + 1.0, T0 + 1.0, {"j1": 0.3, "wrist": said}, topic="joint_states")
    assert measured.values[1] == pytest.approx(at)


def test_measurements_are_frozen_once_none_has_changed_for_the_time_set_however_many_come(small_robot):
    measured = Measurements(small_robot(ARM), ExecutorSettings(state_frozen=0.25))
    for k, j2 in enumerate((0.2, 0.2, 0.21, 0.21, 0.21, 0.21, 0.21)):
        t = 5.0 + 0.1 * k
        assert measured.update_joints(t, T0 + t, T0 + t, {"j1": 0.1, "j2": j2}, topic="joint_states") == ""
        assert measured.frozen(t) is (k == 5 or k == 6)
    assert not measured.frozen(5.44)
    measured.update_joints(5.65, T0 + 5.65, T0 + 5.65, {"j1": 0.11, "j2": 0.21}, topic="joint_states")
    assert not measured.frozen(5.89) and measured.frozen(5.91)


TURRET = """
turret:
  kind: velocity
  channels: [pan, tilt]
  joints: [j1, j2]
  command: {topic: turret, type: float64_multi_array}
  limits: {source: urdf, acceleration: 5.0}
"""


@pytest.mark.parametrize(("rate", "said"), [(0.4, ""), (np.nan, ""), (np.inf, "j2 is inf"), (-np.inf, "j2 is -inf")])
def test_a_rate_that_is_not_reported_is_no_fault_and_one_that_is_infinite_is(small_robot, rate, said):
    measured = Measurements(small_robot(TURRET), ExecutorSettings())
    measured.update_joints(5.0, T0, T0, {"j1": 0.1, "j2": 0.2}, {"j1": 0.3, "j2": -0.2}, topic="joint_states")
    answer = measured.update_joints(
        5.1, T0 + 0.1, T0 + 0.1, {"j1": 0.1, "j2": 0.2}, {"j1": 0.35, "j2": rate}, topic="joint_states"
    )
    assert answer == said
    np.testing.assert_array_equal(measured.values, [0.35, rate if rate == 0.4 else -0.2])


def test_where_a_joint_is_that_velocities_move_is_told_beside_how_fast_it_is(small_robot):
    measured = Measurements(small_robot(TURRET), ExecutorSettings())
    assert np.isnan(measured.joint("j1")) and np.isnan(measured.joint("nobody"))
    measured.update_joints(5.0, T0, T0, {"j1": 0.1, "j2": 0.2}, {"j1": 0.3, "j2": -0.2}, topic="joint_states")
    assert (measured.joint("j1"), measured.joint("j2")) == (0.1, 0.2)
    assert np.isnan(measured.joint("nobody"))


def test_odometry_is_taken_axis_by_axis_once_and_only_if_it_is_new_finite_and_of_this_clock(small_robot):
    measured = Measurements(small_robot(WHEELS, state=WHEEL_ODOMETRY), ExecutorSettings())
    hear = lambda at, stamp, *velocity: measured.update_odometry(at, T0 + at, T0 + stamp, velocity, "odom")
    assert hear(1.0, 1.0, 0.1, -0.2, 0.3) == "" and measured.values == [0.1, -0.2, 0.3]
    assert hear(1.1, 1.0, 0.4, 0.5, 0.6) == "" and measured.values == [0.1, -0.2, 0.3]  # it was there before
    assert hear(1.2, 1.2, 0.1, np.nan, 0.3) == "odometry is not finite" and measured.values == [0.1, -0.2, 0.3]
    assert hear(1.2, 1.2, 0.2, 0.1, np.inf) == "odometry is not finite"
    assert measured.stale(1.19) == "" and "nothing new on odom" in measured.stale(1.21)
    assert hear(1.3, 1.29, 0.2, 0.0, 0.1) == "" and measured.values == [0.2, 0.0, 0.1]
    assert hear(1.6, -0.4, 0.9, 0.9, 0.9) == "odometry is stamped 2.00 s in the past"
    assert measured.values == [0.2, 0.0, 0.1] and "odom arrives, but is stamped 2.00 s in the past" in measured.stale(
        2.0
    )
    assert hear(3.0, 3.51, 0.3, 0.0, 0.1) == "state stamped 0.51 s in the future: the receive time is used"
    measured.forget_stamps()
    assert hear(3.1, 2.9, 0.4, 0.0, 0.1) == "" and measured.values == [0.4, 0.0, 0.1]


@pytest.mark.parametrize(
    ("stamp", "found"),
    [
        (99.6, (99.6, "")),
        (99.49, (99.49, "old")),
        (100.4, (100.4, "")),
        (100.52, (100.0, "state stamped 0.52 s in the future: the receive time is used")),
        (0.0, (100.0, "state without a stamp: the receive time is used")),
        (-3.0, (100.0, "state without a stamp: the receive time is used")),
        (float("nan"), (100.0, "state without a stamp: the receive time is used")),
        (float("-inf"), (100.0, "state without a stamp: the receive time is used")),
    ],
)
def test_a_stamp_within_half_a_second_is_gone_by_and_one_that_is_none_is_the_time_of_receipt(stamp, found):
    assert believable(stamp, 100.0, 0.5) == found
    assert believable(stamp, 0.0, 0.5) == (0.0, "")  # there is no time yet
    assert believable(stamp, -1.0, 0.5) == (-1.0, "")


def test_before_a_reading_was_heard_it_is_waited_for_from_the_first_topic_of_its_kind(small_robot):
    state = (
        "state:\n  - {topic: odom, type: odometry, max_age: 0.3}\n  - {topic: arm, type: joint_state, max_age: 0.1}\n"
    )
    robot, settings = small_robot(ARM + BASE, state=state), ExecutorSettings(state_stale=0.7)
    table = table_of(robot)
    assert [first_source(robot, r, settings) for r in table.readings] == [("arm", 0.1)] * 2 + [("odom", 0.3)] * 2
    assert table.axes == ((2, 0), (3, 2)) and table.channels == 4 and table.needed == (0, 1, 2, 3)
    assert table.same == (0.05, 0.05, 0.1, 0.2) and table.ages == {"arm": 0.1, "odom": 0.3}
    table = table_of(small_robot(TURRET + HAND))
    places = {joint: [(i, reading.rate) for i, reading in found] for joint, found in table.joints.items()}
    assert places == {"j1": [(0, True), (3, False)], "j2": [(1, True), (4, False)], "finger": [(2, False)]}
    assert table.same == (0.2, 0.2, 0.25, 0.05, 0.05)


def test_of_a_reading_without_a_source_nobody_knows_the_topic_and_it_is_believed_for_as_long_as_the_settings_say(
    small_robot,
):
    robot = replace(small_robot(ARM), state=())
    assert first_source(robot, table_of(robot).readings[0], ExecutorSettings(state_stale=0.7)) == ("", 0.7)


def test_a_repeated_stamp_changes_nothing_and_is_told_only_if_nothing_worse_is(small_robot):
    measured = Measurements(small_robot(ARM), ExecutorSettings())
    hear = lambda at, stamp, **joints: measured.update_joints(at, T0 + at, T0 + stamp, joints, topic="joint_states")
    assert hear(1.0, 1.0, j1=0.1, j2=0.2) == ""
    assert hear(1.05, 1.0, j1=0.5, j2=0.6) == "repeated or older stamp" and measured.values == [0.1, 0.2]
    assert hear(1.06, 0.9, j1=0.5, j2=0.6) == "repeated or older stamp" and measured.values == [0.1, 0.2]
    assert hear(1.07, 1.0, j1=float("nan"), j2=0.6) == "j1 is nan"
    assert measured.stale(1.09) == "" and measured.stale(1.11) != ""  # it made nothing fresh
    assert hear(1.2, 1.01, j1=0.3, j2=0.4) == "" and measured.values == [0.3, 0.4]


def test_a_reading_keeps_its_source_where_a_message_does_not_say_where_it_came_from():
    latest = Latest("arms", 0.1)
    latest.update(5.0, 905.0, "", None)
    assert latest == Latest("arms", 0.1, 5.0, 905.0)
    latest.update(5.5, 905.4, "hands", 0.3)
    assert latest == Latest("hands", 0.3, 5.5, 905.4)
    latest.update(6.0, 906.0, "hands", 0.0)
    assert latest == Latest("hands", 0.0, 6.0, 906.0)


def test_simulated_time_has_stamps_in_its_first_second():
    assert believable(0.5, 0.7, 0.5) == (0.5, "") and believable(0.1, 0.7, 0.5) == (0.1, "old")


def test_limits_that_are_turns_away_from_what_is_reported_say_which_turn_it_is(small_robot):
    arm = ARM.replace("[j1, j2]", "[j1, wrist]").replace(
        "source: urdf,", "source: urdf, position: {wrist: [10, 16.5]},"
    )
    measured = Measurements(small_robot(arm), ExecutorSettings())
    measured.update_joints(1.0, T0 + 1.0, T0 + 1.0, {"j1": 0.3, "wrist": 0.5}, topic="joint_states")
    assert measured.values[1] == pytest.approx(0.5 + 4.0 * np.pi)
