"""What the control core does at once with what comes in, before the next period: what it stores, records, counts and says."""

from dataclasses import replace

import numpy as np
import pytest
from story import make_robot, middle

from pi0_ros.control import Chunk, Executor, ExecutorSettings, Mode
from pi0_ros.control.blackbox import BlackBox
from pi0_ros.control.journal import Now
from pi0_ros.control.modes import Trigger
from pi0_ros.control.plan_making import AtOnce
from pi0_ros.control.policy_watch import PolicyWatch
from pi0_ros.robot.spec import Kind, Takeover

ROBOT = make_robot()
NAMES = tuple(f"left_joint{i}" for i in range(1, 7))
HOME = np.where([c.kind is Kind.VELOCITY for c in ROBOT.channels], 0.0, middle(ROBOT))
ARM = HOME[: len(NAMES)]


def core(takeover=None, planner=None, **settings):
    """A core that sends commands since 5.0 s of its steady clock, 905.0 of ROS."""
    made = Executor(replace(ROBOT, takeover=takeover or Takeover()), ExecutorSettings(**settings), 3, planner)
    positions = {joint: 0.02 for joint in ROBOT.joint_of_channel.values()}
    positions |= {c: float(v) for c, v in zip(ROBOT.channel_names, HOME, strict=True) if c in positions}
    made.on_state(5.0, 905.0, 905.0, positions)
    made.on_odometry(5.0, 905.0, 905.0, 0.0, 0.0, 0.0)
    assert made.step(5.0, 905.0).command is not None
    return made


def notes(made):
    """What was noted since this was asked last."""
    return [(e.steady, e.ros, e.level, e.name, e.text) for e in made._parts.journal.take(Now(99.0, 999.0))]


def records(made, kind):
    return [(r.steady, r.ros, r.data, r.size) for r in made.blackbox.snapshot() if r.kind == kind]


def test_a_joint_state_is_kept_with_its_stamp_and_topic_and_what_was_wrong_with_it_is_noted():
    made = Executor(ROBOT)
    made.on_state(5.0, 905.0, 904.9, {"left_joint1": 0.25, "x": 1.5}, {"left_joint1": 9.0}, "arms")
    assert made._parts.inputs.measured.joint("left_joint1") == 0.25
    assert records(made, "state") == [(5.0, 905.0, (904.9, {"left_joint1": 0.25, "x": 1.5}, "arms"), 2 * 64 + 4 * 12)]
    assert notes(made) == []
    made.on_state(5.1, 905.1, 903.1, {"left_joint1": 0.5}, topic="arms")
    assert made._parts.inputs.measured.joint("left_joint1") == 0.25
    text = "joint states are stamped 2.00 s in the past"
    assert len(records(made, "state")) == 2 and notes(made) == [(5.1, 905.1, "warn", "joint_state", text)]


def test_odometry_is_kept_axis_by_axis_and_what_was_wrong_with_it_is_noted():
    made = Executor(ROBOT)
    made.on_odometry(5.0, 905.0, 904.9, 0.1, -0.2, 0.3, "odom")
    base = [made._parts.inputs.measured.values[ROBOT.index[n]] for n in ("base_vx", "base_vy", "base_wz")]
    assert base == [0.1, -0.2, 0.3]
    assert records(made, "odometry") == [(5.0, 905.0, (904.9, (0.1, -0.2, 0.3)), 64)] and notes(made) == []
    made.on_odometry(5.1, 905.1, 905.1, 0.1, float("nan"), 0.3, "odom")
    assert notes(made) == [(5.1, 905.1, "warn", "odometry", "odometry is not finite")]


def test_a_chunk_is_judged_in_its_moment_and_kept_in_the_box():
    made = core()
    assert made.request(5.0, 905.0, "autonomy").ok
    given = Chunk(905.0, 0.1, ROBOT.channel_names, np.tile(HOME, (9, 1)), 1, made.epoch, "policy")
    assert made.on_chunk(5.1, 905.1, given).accepted
    refused = replace(given, values=np.full((9, 18), np.nan))
    assert not made.on_chunk(5.2, 905.2, refused).accepted
    size = 9 * 18 * 8 + 4 * (len("policy") + sum(map(len, ROBOT.channel_names)))
    first, second = records(made, "chunk")
    assert first == (5.1, 905.1, given, size) and first[2] is given
    assert (*second[:2], second[3]) == (5.2, 905.2, size) and np.isnan(second[2].values).all()
    assert made._parts.plans.strategies.delays.p95 == pytest.approx(0.2)  # the first one is no measure


def test_a_persons_input_is_refused_counted_or_kept_for_when_a_person_drives():
    made = core()
    made.on_teleop(5.1, "left_arm", NAMES, ARM[:5])
    assert notes(made) == [(5.1, 905.0, "warn", "teleop left_arm", "teleop for left_arm: 6 names and 5 values")]
    counters = made._parts.journal.counters
    assert (counters.refused, counters.ignored) == (1, 0)
    made.on_teleop(5.1, "left_arm", NAMES, ARM)
    counters = made._parts.journal.counters
    assert (counters.refused, counters.ignored) == (1, 1) and notes(made) == []
    assert made.request(5.1, 905.1, "teleop").ok
    notes(made)
    made.on_teleop(5.15, "left_arm", NAMES, ARM)
    assert notes(made) == []
    made.on_teleop(5.2, "left_arm", NAMES, ARM + np.eye(6)[2])
    jumped = "the input for left_arm jumped; it is approached slowly"
    assert notes(made) == [(5.2, 905.0, "warn", "teleop left_arm jump", jumped)]
    assert made._parts.journal.counters.ignored == 1
    assert made._parts.modes.mode is Mode.TELEOP


def moved_leader(made, pressed=None):
    """A leader that has moved by 0.1 rad within its time."""
    if pressed is not None:
        made.on_deadman(5.1, pressed)
    made.on_teleop(5.1, "left_arm", NAMES, ARM)
    made.on_teleop(5.12, "left_arm", NAMES, ARM + 0.1 * np.eye(6)[1])
    return made._parts.modes


LEADER = Takeover(leader_motion=0.05)


def test_a_leader_that_was_moved_takes_over_if_the_robot_lets_it_and_nothing_is_against_it():
    modes = moved_leader(core(LEADER))
    assert (modes.mode, modes.state.reason) == (Mode.TELEOP, "the leader of left_arm was moved")
    assert modes.state.trigger is Trigger.LEADER_MOVED
    made = core(LEADER)
    moved_leader(made)
    assert notes(made) == [(5.12, 905.0, "info", "mode", "hold -> teleop: the leader of left_arm was moved")]
    assert moved_leader(core()).mode is Mode.HOLD  # an option that is off
    button = Takeover(leader_motion=0.05, deadman_topic="joy", deadman_button=1)
    assert moved_leader(core(button), pressed=True).mode is Mode.TELEOP
    assert moved_leader(core(button), pressed=False).mode is Mode.HOLD
    assert moved_leader(core(button)).mode is Mode.HOLD
    assert moved_leader(core(LEADER, estop_required=True)).mode is Mode.HOLD
    made = core(LEADER)
    made.on_second_publisher(5.05, 905.05, "another one publishes")
    assert moved_leader(made).mode is Mode.HOLD


def test_a_leader_that_was_moved_beside_another_device_ends_autonomy_and_one_that_stands_does_not():
    made = core(LEADER)
    assert made.request(5.0, 905.0, "autonomy").ok
    made.on_second_publisher(5.05, 905.05, "two leaders", Trigger.TWO_DEVICES)
    made.on_teleop(5.06, "left_arm", NAMES, ARM)
    assert made._parts.modes.mode is Mode.AUTONOMY
    notes(made)
    modes = moved_leader(made)
    assert (modes.mode, modes.state.trigger, modes.state.reason) == (Mode.HOLD, Trigger.TWO_DEVICES, "two leaders")
    assert notes(made) == [(5.12, 905.0, "error", "mode", "autonomy -> hold: two leaders")]


def test_an_e_stop_is_heard_by_its_sender_and_stops_at_once_if_it_is_pressed():
    made = core()
    made.on_estop(5.1, False, b"a", {b"a": "/left", b"b": "/right"})
    made.on_estop(5.2, False, b"b", {b"a": "/left", b"b": "/right"})
    assert made._parts.modes.mode is Mode.HOLD
    assert made._parts.inputs.estop.active(5.65, 0.5) == "e-stop of /left silent for more than 0.5 s"
    made.on_estop(5.3, False, b"b", {b"b": "/right"})  # the other one has left
    assert list(made._parts.inputs.estop.buttons) == [b"b"] and made._parts.inputs.estop.active(5.65, 0.5) == ""
    notes(made)
    made.on_estop(5.4, True, b"c")
    modes = made._parts.modes
    assert (modes.mode, modes.state.reason, modes.state.trigger) == (Mode.STOPPED, "e-stop pressed", Trigger.ESTOP)
    assert notes(made) == [(5.4, 905.0, "error", "mode", "hold -> stopped: e-stop pressed")]
    made.on_estop(5.5, False, b"d", {b"c": "/third"})  # who speaks is there, whether or not the network knows it yet
    assert set(made._parts.inputs.estop.buttons) == {b"c", b"d"}


def test_what_is_known_of_the_policy_and_the_publishers_is_kept():
    made = core()
    made.on_policy(lambda watch: watch.says("its model is loaded"))
    made.on_policy(lambda watch: watch.seen(("/policy",)))
    assert made._parts.inputs.policy == PolicyWatch(("/policy",), "its model is loaded")
    made.on_publishers({"arms": ("/driver", "/gui")})
    assert made._parts.inputs.measured.publishers == {"arms": ("/driver", "/gui")}


def test_a_clock_that_was_set_ends_autonomy_and_makes_void_what_was_placed_on_it():
    made = core()
    assert made.request(5.0, 905.0, "autonomy").ok
    given = Chunk(905.0, 0.1, ROBOT.channel_names, np.tile(HOME, (9, 1)), 1, made.epoch, "policy")
    assert made.on_chunk(5.1, 905.0, given).accepted
    notes(made)
    made.on_clock_jump(5.2, 700.0)
    parts = made._parts
    assert parts.modes.mode is Mode.HOLD and parts.modes.state.trigger is Trigger.CLOCK_JUMP
    assert parts.plans.following.waiting and parts.gate.plausibility.history.at(905.0) is None
    assert notes(made) == [
        (5.2, 700.0, "warn", "mode", "autonomy -> hold: the ROS clock jumped"),
        (5.2, 700.0, "warn", "clock", "the ROS clock jumped: plans and stamps before it are void"),
    ]
    made.on_state(5.3, 700.1, 700.1, {"left_joint1": 0.125})
    assert parts.inputs.measured.joint("left_joint1") == 0.125
    assert parts.drive.command(700.2).stamp == 700.2


def test_a_request_is_granted_with_why_or_refused_and_noted_each_time():
    made = core()
    answer = made.request(5.1, 905.1, "dance")
    assert not answer.ok and "'dance' is none of hold, teleop, autonomy, stop, reset" in answer.message
    for at in (5.1, 5.2):
        answer = made.request(at, 905.2, "reset")
        assert not answer.ok and answer.message == "refused: reset is not possible in hold"
    text = "reset refused: reset is not possible in hold"
    assert notes(made) == [(at, 905.2, "warn", "request reset", text) for at in (5.1, 5.2)]
    granted = made.request(5.3, 905.3, "stop")
    assert granted.ok and granted.message == "stop requested" and made.epoch == 4
    assert notes(made) == [(5.3, 905.3, "info", "mode", "hold -> stopped: stop requested")]
    again = made.request(5.4, 905.4, "stop")
    assert again.ok and again.message == "already in stopped; it was entered because: stop requested"


def test_who_asks_to_take_over_beside_two_devices_gets_a_robot_that_is_held_and_who_asks_for_autonomy_changes_nothing():
    made = core()
    assert made.request(5.0, 905.0, "autonomy").ok
    made.on_second_publisher(5.05, 905.05, "two leaders", Trigger.TWO_DEVICES)
    assert not made.request(5.1, 905.1, "autonomy").ok
    assert made._parts.modes.mode is Mode.AUTONOMY
    notes(made)
    answer = made.request(5.2, 905.2, "teleop")
    assert not answer.ok and answer.message == "refused: two leaders"
    modes = made._parts.modes
    assert (modes.mode, modes.state.trigger, modes.state.reason) == (Mode.HOLD, Trigger.TWO_DEVICES, "two leaders")
    assert [note[:4] for note in notes(made)] == [
        (5.2, 905.2, "error", "mode"), (5.2, 905.2, "warn", "request teleop"),
    ]  # fmt: skip


def test_what_competes_is_noted_by_what_it_is():
    made = core()
    made.on_second_publisher(5.1, 905.1, "another one publishes")
    assert notes(made) == [(5.1, 905.1, "error", "second publisher", "another one publishes")]
    assert made._parts.inputs.competitors == {Trigger.SECOND_PUBLISHER: "another one publishes"}
    made.on_second_publisher(5.2, 905.2, "")
    assert made._parts.inputs.competitors == {} and notes(made) == []


class Noting(AtOnce):
    """Counts the plans that it makes."""

    asked = 0

    def submit(self, make):
        self.asked += 1
        return super().submit(make)


def test_plans_are_made_by_whom_the_core_was_given():
    planner = Noting()
    made = core(planner=planner)
    assert made.request(5.0, 905.0, "autonomy").ok
    given = Chunk(905.0, 0.1, ROBOT.channel_names, np.tile(HOME, (9, 1)), 1, made.epoch, "policy")
    assert made.on_chunk(5.1, 905.1, given).accepted and planner.asked == 1


def test_a_core_has_the_box_the_epoch_and_the_settings_that_it_is_given():
    box = BlackBox(seconds=2.0)
    made = Executor(ROBOT, ExecutorSettings(chunk_max_age=0.7), 41, blackbox=box)
    assert made.blackbox is box and made.epoch == 41 and made.robot is ROBOT
    assert made._parts.settings.chunk_max_age == 0.7
    assert Executor(ROBOT).epoch == 0 and isinstance(Executor(ROBOT).blackbox, BlackBox)
    assert made.running_plan(905.0) is None
