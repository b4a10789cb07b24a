"""Who moves the command in a period, where to, and how fast; what is then sent."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
from story import make_robot, middle

from pi0_ros.control import ExecutorSettings, Mode
from pi0_ros.control.drive import Drive
from pi0_ros.control.engage import Engage
from pi0_ros.robot.spec import Kind

ROBOT = make_robot()
PERIOD = 0.02
SETTINGS = ExecutorSettings(engage_time=1.0, engage_ramp=1.0, engage_scale=0.25)
DRIVEN = np.array([c.kind is Kind.VELOCITY for c in ROBOT.channels])
START = np.where(DRIVEN, 0.0, middle(ROBOT))
ARM, OTHER, LIFT, GRIP, BASE = (
    ROBOT.index[n] for n in ("left_joint2", "right_joint3", "lift", "left_gripper", "base_vx")
)


class Device:
    """What one person's device asks for: `goal` [3, C], followed at a `share` of the limits; notes how near the robot is."""

    def __init__(self, group, fresh=False, share=1.0):
        part = [ROBOT.index[c.name] for c in group.channels]
        self.goal, self.is_fresh, self.near = np.stack([START[part], 0.0 * START[part], 0.0 * START[part]]), fresh, []
        self.lead = SimpleNamespace(scale=lambda steady: share, reached=lambda *both: self.near.append(both))

    def fresh(self, steady):
        return self.is_fresh

    def aim(self, steady):
        return self.goal


def drive(devices=None, enabled=True, measured=None, plan=(None, False), **following):
    """A robot that begins at START, and what its plans were told. `plan`: what following it gives."""
    told = []

    def advance(*given):
        told.append(given)
        return plan

    found = SimpleNamespace(advance=advance, running=None, driving=None)
    vars(found).update(following)
    plans = SimpleNamespace(
        following=found, forget=lambda: told.append("forgotten"), grips=SimpleNamespace(steady=lambda states: states)
    )
    inputs = SimpleNamespace(
        measured=SimpleNamespace(or_commanded=lambda command: np.where(np.isnan(measured), command, measured)),
        teleop=SimpleNamespace(
            enabled=lambda steady: enabled, devices=devices or {g.name: Device(g) for g in ROBOT.groups}
        ),
    )
    engage = Engage(SETTINGS, PERIOD)
    engage.change_owner(-100.0)
    made = Drive(ROBOT, SETTINGS, PERIOD, inputs, plans, engage)
    made.begin(START)
    return made, told, engage


def hold(made, periods, late=False):
    for k in range(periods):
        yield made.move(10.0 + PERIOD * k, 900.0 + PERIOD * k, 900.0 + PERIOD * k, Mode.HOLD, late)


def fastest(of, name):
    return next(c.limits.velocity for c in ROBOT.channels if c.name == name) * of


def test_each_command_is_stamped_later_than_the_one_before_until_the_clock_is_set():
    made, _, _ = drive()
    stamps = [made.command(ros).stamp for ros in (900.0, 900.5, 900.5, 899.0, 901.0)]
    assert stamps == pytest.approx([900.0, 900.5, 900.5 + 1e-6, 900.5 + 2e-6, 901.0], abs=1e-9)
    assert np.all(np.diff(stamps) > 0.0)
    made.restart_stamps()
    assert made.command(30.0).stamp == 30.0


def test_a_base_is_sent_its_velocity_twice_and_the_others_their_derivative():
    state = np.stack([START + 0.01, np.full(len(START), 0.02), np.zeros(len(START))])
    made, _, _ = drive(plan=(state, False))
    assert made.move(10.0, 900.0, 900.0, Mode.AUTONOMY, False) == ("hold", 0)
    sent = made.command(900.0)
    others = [i for i, c in enumerate(ROBOT.channels) if c.kind is Kind.POSITION]
    assert sent.names == ROBOT.channel_names
    np.testing.assert_allclose(sent.values[others], START[others] + 0.01)
    np.testing.assert_array_equal(sent.velocities[DRIVEN], sent.values[DRIVEN])
    np.testing.assert_allclose(sent.velocities[others], 0.02)
    np.testing.assert_array_equal(made.commanded[1, DRIVEN], 0.02)  # what is sent is a copy


def test_the_robot_goes_slowly_to_where_it_was_measured_inside_its_limits_and_keeps_its_grip():
    measured = START.copy()
    measured[ARM] += 0.2
    measured[OTHER] = ROBOT.channels[OTHER].limits.lower - 0.3
    measured[GRIP], measured[BASE], measured[LIFT] = 1.0, 0.4, np.nan
    made, _, _ = drive(measured=measured)
    made.hold_measured()
    speeds = []
    for owner, _ in hold(made, 900):
        assert owner == "hold"
        speeds.append(np.abs(made.commanded[1]))
        if made.still:
            break
    assert list(hold(made, 1)) == [("hold", 0)]  # it is where it should be: no limit is at work
    wanted = START.copy()
    wanted[ARM], wanted[OTHER] = measured[ARM], ROBOT.channels[OTHER].limits.lower
    np.testing.assert_allclose(made.commanded[0], wanted, atol=1e-9)
    assert np.max(speeds, axis=0)[OTHER] == pytest.approx(fastest(0.25, "right_joint3"))


@pytest.mark.parametrize("forget", ["change_owner", "begin"])
def test_where_it_was_held_is_forgotten_with_a_new_owner_and_a_new_beginning(forget):
    measured = START.copy()
    measured[ARM] += 0.2
    made, _, _ = drive(measured=measured)
    made.hold_measured()
    made.change_owner(10.0) if forget == "change_owner" else made.begin(START)
    assert [answer for answer in hold(made, 3)] == [("hold", 0)] * 3
    np.testing.assert_array_equal(made.commanded[0], START)


def test_without_fresh_measurements_plans_are_forgotten_and_everything_comes_to_rest():
    made, told, _ = drive(plan=(np.stack([START + 0.01, 0.3 * np.ones_like(START), 0.0 * START]), False))
    made.move(10.0, 900.0, 900.0, Mode.AUTONOMY, False)
    assert not made.still and len(told) == 1
    for mode in (Mode.AUTONOMY, Mode.TELEOP, Mode.HOLD):
        told.clear()
        owner, _ = made.move(10.02, 900.02, 900.02, mode, True)
        assert (owner, told) == ("hold", ["forgotten"])
    list(hold(made, 300, late=True))
    assert made.still


def test_a_base_that_is_braked_comes_to_rest_at_no_velocity_and_an_arm_where_it_can():
    state = np.stack([START + 0.05, np.where(DRIVEN, 0.0, 0.3), 0.0 * START])
    made, _, _ = drive(plan=(state, False))
    made.move(10.0, 900.0, 900.0, Mode.AUTONOMY, False)
    for _ in range(400):
        made.brake()
    assert made.still
    np.testing.assert_array_equal(made.commanded[0, DRIVEN], 0.0)
    arms = [i for i, c in enumerate(ROBOT.channels) if c.kind is Kind.POSITION]
    assert np.all(made.commanded[0, arms] > START[arms] + 0.05)


def devices(**more):
    """Devices of all groups; what they ask for by group: (channel, value, share)."""
    found = {g.name: Device(g) for g in ROBOT.groups}
    for name, (channel, value, share) in more.items():
        group = ROBOT.group(name)
        found[name] = Device(group, fresh=True, share=share)
        found[name].goal[0, [c.name for c in group.channels].index(channel)] = value
    return found


@pytest.mark.parametrize(("owned_for", "share", "slow"), [(0.5, 0.9, 0.25), (9.0, 0.6, 0.6), (9.0, 1.0, 1.0)])
def test_a_person_moves_the_groups_of_fresh_devices_at_the_smaller_of_both_shares(owned_for, share, slow):
    asked = devices(left_arm=("left_joint2", START[ARM] + 1.0, share), base=("base_vx", 0.1, 1.0))
    asked["right_arm"].goal[0] += 0.5  # not fresh
    made, told, engage = drive(asked)
    speeds = []
    for k in range(60):
        engage.change_owner(10.0 + PERIOD * k - owned_for)  # as if it were always that long ago
        owner, _ = made.move(10.0 + PERIOD * k, 900.0, 900.0, Mode.TELEOP, False)
        assert owner == "teleop"
        speeds.append(made.commanded[1].copy())
    assert np.max(speeds, axis=0)[ARM] == pytest.approx(fastest(slow, "left_joint2"), rel=1e-6)
    assert made.commanded[0, BASE] == pytest.approx(0.1) and told == []
    np.testing.assert_array_equal(made.commanded[0, ROBOT.index["right_joint1"]], START[ROBOT.index["right_joint1"]])
    goal, place = asked["left_arm"].near[0]
    part = [ROBOT.index[c.name] for c in ROBOT.group("left_arm").channels]
    assert goal == asked["left_arm"].goal[0].tolist() and place == START[part].tolist()
    assert len(asked["left_arm"].near) == 60 and asked["right_arm"].near == []


def test_a_base_whose_device_fell_silent_comes_to_rest_while_others_are_driven_on():
    asked = devices(left_arm=("left_joint2", START[ARM] + 1.0, 1.0), base=("base_vx", 0.3, 1.0))
    made, _, _ = drive(asked)
    for k in range(100):
        asked["base"].is_fresh = k < 50
        made.move(10.0 + PERIOD * k, 900.0, 900.0, Mode.TELEOP, False)
        if k == 49:
            assert made.commanded[0, BASE] == pytest.approx(0.3)
    assert made.commanded[0, BASE] == 0.0 and made.commanded[0, ARM] > START[ARM] + 0.5


def test_a_person_who_lets_go_of_the_deadman_button_moves_nothing():
    asked = devices(left_arm=("left_joint2", START[ARM] + 1.0, 1.0))
    made, _, _ = drive(asked, enabled=False)
    assert made.move(10.0, 900.0, 900.0, Mode.TELEOP, False) == ("teleop", 0)
    np.testing.assert_array_equal(made.commanded[0], START)
    assert asked["left_arm"].near == []


def test_a_plan_is_followed_by_its_clock_and_its_first_command_begins_the_slow_time():
    state = np.stack([START + 0.001, 0.05 * np.ones_like(START), 0.0 * START])
    made, told, engage = drive(plan=(state, True))
    assert made.move(10.0, 900.3, 900.0, Mode.AUTONOMY, False) == ("hold", 0)  # its path is over: it only stops
    ((ros, time, before, _),) = told
    assert (ros, time) == (900.0, 900.3)
    np.testing.assert_array_equal(before, [START, 0.0 * START, 0.0 * START])
    np.testing.assert_array_equal(made.commanded[0, ARM], START[ARM] + 0.001)
    assert engage.scale(10.9) == 0.25 and engage.scale(12.1) == 1.0
    again, _, engage = drive(plan=(state, False))
    again.move(10.0, 900.3, 900.0, Mode.AUTONOMY, False)
    assert engage.scale(10.0) == 1.0


@pytest.mark.parametrize("limited", [True, False])
def test_while_a_path_lasts_the_policy_drives_and_a_limit_at_work_is_told(limited):
    state = np.stack([START, 0.0 * START, 0.0 * START])
    made, _, _ = drive(plan=(state, False), driving=SimpleNamespace(limited=limited))
    assert made.move(10.0, 900.0, 900.0, Mode.AUTONOMY, False) == ("policy", int(limited))


def test_a_plan_ahead_is_as_slow_as_the_first_second_in_which_it_will_run():
    """Followed already, for 0.5 s: another half second, and 0.1 s for smoothing, are slow. Not begun: a whole one."""
    for running, slow in ((SimpleNamespace(), 0.6), (None, 1.12)):
        made, told, engage = drive(plan=(None, False), running=running)
        engage.begin(9.5)
        made.move(10.0, 900.3, 900.3, Mode.AUTONOMY, False)
        scales = told[0][3]
        found = scales(900.3 + np.array([slow - 0.01, slow + 0.5]))
        np.testing.assert_allclose(found, [0.25, 0.625], atol=1e-9)


def test_without_a_plan_nobody_drives_in_autonomy_and_in_no_other_mode_is_one_asked_for():
    made, told, _ = drive()
    assert made.move(10.0, 900.0, 900.0, Mode.AUTONOMY, False) == ("hold", 0) and len(told) == 1
    for mode in (Mode.HOLD, Mode.STOPPED, Mode.TELEOP):
        made.move(10.0, 900.0, 900.0, mode, False)
    assert len(told) == 1


def test_a_goal_that_is_not_finite_is_refused_and_moves_nothing():
    made, _, _ = drive(devices(left_arm=("left_joint2", math.nan, 1.0)))
    assert made.move(10.0, 900.0, 900.0, Mode.TELEOP, False) == ("teleop", None)
    np.testing.assert_array_equal(made.commanded[0], START)


def test_every_command_is_counted_on_where_joints_are_braked_before_their_ends():
    """What was commanded lately has not been measured yet, whoever drove."""
    state = np.stack([START + 0.01, 0.02 * np.ones_like(START), 0.0 * START])
    made, _, _ = drive(plan=(state, False), measured=np.where(DRIVEN, 0.0, START + 0.02))
    counted, before = [], []
    made._guard = SimpleNamespace(bounded=lambda goal, command, measured: counted.append(command) or goal)
    for mode, late in ((Mode.AUTONOMY, False), (Mode.TELEOP, False), (Mode.HOLD, False), (Mode.AUTONOMY, True)):
        before.append(made.commanded[0])
        made.move(10.0, 900.0, 900.0, mode, late)
    made.hold_measured()
    before.append(made.commanded[0])
    made.move(10.0, 900.0, 900.0, Mode.HOLD, False)
    np.testing.assert_array_equal(counted, before)
    assert np.ptp(counted, axis=0)[ARM] > 0.0
