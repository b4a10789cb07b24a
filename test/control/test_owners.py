"""Second lives: what a new owner, or the same one again, is like the first time, whatever happened before."""

from dataclasses import replace

import numpy as np
import pytest
from story import Story, make_robot, middle

from pi0_ros.control import ExecutorSettings, Mode
from pi0_ros.robot.spec import Takeover

ARM, BASE = "left_joint2", "base_vx"


def twice(tell, again, settings=None, robot=None):
    """Commands [N, D] that `tell(story)` makes of a fresh robot, and after `again(story)` from the same place."""
    fresh = Story(robot or make_robot(), settings).run(0.1)
    first = tell(fresh)
    used = Story(robot or make_robot(), settings).run(0.1)
    again(used)
    assert used.ask("hold").ok
    used.run(3.0)
    home = middle(used.robot)
    # Bring it back to where the first one began; nothing else is put right.
    assert used.ask("teleop").ok
    for group in used.robot.groups:
        part = [used.robot.index[c.name] for c in group.channels]
        goal = np.where(used.velocity[part], 0.0, home[part])
        used.run(5.0, each=lambda s, g=group, v=goal: s.teleop(g.name, v))
    used.run(1.0)
    assert used.ask("hold").ok
    used.run(1.0)
    np.testing.assert_allclose(used.values, fresh.runs[0][0], atol=1e-9)
    return first, tell(used)


def drive(story, values=0.4, source="policy", sequence=1):
    """Autonomy for a second along one plan; returns the commands relative to its start."""
    before = len(story.runs[-1])
    assert story.ask("autonomy").ok
    story.tick()
    verdict = story.send(goal={ARM: story.at(ARM) + values, BASE: 0.2}, rows=30, source=source, sequence=sequence)
    assert verdict.accepted, verdict.reason
    story.run(1.2)
    return np.array(story.runs[-1][before:])


@pytest.mark.parametrize("strategy", ["auto", "replace", "ensemble", "rtc"])
def test_autonomy_the_second_time_is_autonomy_the_first_time(strategy):
    """No plan, average, catch-up, driver or number of the owner before: the same chunk gives the same commands."""

    def before(story):
        drive(story, -0.5, source="another policy", sequence=1000)
        story.send(goal={ARM: story.at(ARM) + 0.3}, rows=20, source="another policy", sequence=1001)
        story.run(0.4)

    first, second = twice(drive, before, ExecutorSettings(strategy=strategy))
    np.testing.assert_allclose(second, first, atol=1e-9)
    assert np.ptp(first[:, make_robot().index[ARM]]) > 0.1


def test_a_person_the_second_time_is_approached_as_slowly_as_the_first_time():
    robot = make_robot()

    def follow(story):
        before = len(story.runs[-1])
        assert story.ask("teleop").ok
        goal = story.values[:6] + np.array([0.5, -0.3, 0.2, 0.1, -0.4, 0.6])
        story.run(1.0, each=lambda s: s.teleop("left_arm", goal))
        return np.array(story.runs[-1][before:])

    first, second = twice(follow, follow, robot=robot)
    np.testing.assert_allclose(second, first, atol=1e-9)
    speed = np.abs(np.diff(first[:45], axis=0)).max(axis=0) / 0.02
    limits = np.array([c.limits.velocity for c in robot.channels])
    assert speed[:6].max() > 0.0 and (speed <= 0.2 * limits * 1.001).all()


def test_a_deadman_button_that_is_pressed_again_starts_slowly_again():
    story = Story(make_robot(takeover=Takeover(deadman_topic="joy", deadman_button=4))).run(0.1)
    assert story.ask("teleop").ok
    limits = np.array([c.limits.velocity for c in story.robot.channels])[:6]
    leader = story.values[:6].copy()

    def lead(share, pressed=True):
        """A hand that moves at a share of the velocity limits, from where the arm is; the button is held, or not."""

        def each(s):
            leader[:] += share * limits * s.period * np.array([1.0, -0.4, 0.5, 0.3, -0.6, 0.8])
            s.executor.on_deadman(s.steady, pressed)
            s.teleop("left_arm", leader)

        return each

    def fastest(seconds):
        commands = np.array(story.runs[-1][-round(seconds / story.period) - 1 :])[:, :6]
        return float((np.abs(np.diff(commands, axis=0)) / story.period / limits).max())

    story.run(0.5, lead(0.0)).run(0.4, lead(0.4))
    assert 0.1 < fastest(0.4) <= 0.2 * 1.001
    story.run(3.0, lead(0.0)).run(0.4, lead(0.4))
    assert fastest(0.4) > 0.3
    story.run(1.0, lead(0.0)).run(0.5, lead(0.0, pressed=False))
    assert story.speed() == 0.0
    story.run(0.3, lead(0.0)).run(0.4, lead(-0.4))
    assert 0.1 < fastest(0.4) <= 0.2 * 1.001


@pytest.mark.parametrize("after", ["hold", "teleop", "stop"])
def test_a_policy_that_was_restarted_or_another_one_is_followed_by_the_next_owner(after):
    story = Story().autonomy(goal={ARM: 0.3}, sequence=500)
    story.run(0.3)
    assert story.ask(after).ok
    story.run(2.0)
    if after == "stop":
        assert story.ask("reset").ok
        story.run(0.2)
    assert story.ask("autonomy").ok
    story.tick()
    assert story.send(goal={ARM: story.at(ARM) + 0.2}, source="other policy", sequence=1).accepted
    story.run(0.2)
    assert story.last.owner == "policy" and story.last.plan_sequence == 1


def test_what_was_planned_for_the_last_owner_is_not_followed_by_the_next_one():
    story = Story().autonomy(goal={ARM: 0.8}, rows=40)
    story.run(0.6)
    assert story.ask("hold").ok
    story.run(1.5)
    held = story.values.copy()
    assert story.ask("autonomy").ok
    story.run(1.0)
    np.testing.assert_array_equal(story.values, held)
    assert story.last.plan_sequence == 0 and story.executor.running_plan(story.ros) is None


# Both sides of every watchdog -----------------------------------------------------------------------------------------

DRIVERS = pytest.mark.parametrize("mode", ["autonomy", "teleop"])


def driven(mode, robot=None, way=0.5):
    """A robot that moves its arm, by a policy or by a person, and what keeps it going."""
    story = Story(robot)
    if mode == "autonomy":
        story.autonomy(goal={ARM: way}, rows=25)
        return story, None
    story.run(0.1)
    assert story.ask("teleop").ok
    goal = story.values[:6] + way * np.array([0.3, 1.0, -0.4, 0.2, -0.5, 0.1])
    return story, lambda s: s.teleop("left_arm", goal)


@DRIVERS
@pytest.mark.parametrize("source", ["joints", "odometry"])
def test_a_source_of_state_that_falls_silent_brakes_at_once_and_then_holds(mode, source):
    story, each = driven(mode)
    story.run(0.6, each)
    assert story.last.mode is Mode(mode)
    setattr(story, source, False)
    story.run(0.5, each)
    assert story.last.mode is Mode.HOLD and story.speed() == 0.0
    first = "left_joint1" if source == "joints" else "base_vx"
    assert f"no fresh measurement of {first}" in story.texts()


@DRIVERS
@pytest.mark.parametrize("way", [0.6, -0.6])
def test_a_blocked_arm_ends_motion_in_either_direction_where_it_is(mode, way):
    story, each = driven(mode, way=way)
    story.run(0.4, each)
    story.follows = False
    noise = np.random.default_rng(3)
    blocked = story.measured.copy()

    def stuck(s):
        s.measured = np.where(s.velocity, 0.0, blocked + 1e-4 * noise.standard_normal(len(blocked)))
        if each is not None:
            each(s)

    story.run(3.0, stuck)
    assert story.last.mode is Mode.HOLD and "TRACKING" in story.texts() and ARM in story.texts()
    story.run(3.0, stuck)
    assert abs(story.at(ARM) - blocked[story.robot.index[ARM]]) < 1e-3


@DRIVERS
def test_frozen_measurements_end_motion(mode):
    story, each = driven(mode)
    story.run(0.5, each)
    story.follows = False
    story.run(2.0, each)
    assert story.last.mode is Mode.HOLD and "measurements are frozen" in story.texts()


@pytest.mark.parametrize(("off", "accepted"), [(0.15, True), (-0.15, True), (0.25, False), (-0.25, False)])
def test_a_plan_starts_where_the_robot_is_and_not_where_its_command_is(off, accepted):
    """The arm sags: a chunk that starts at the command is judged by its distance from the robot."""
    settings = ExecutorSettings(start_gap=0.2, tracking_error=1.0, reach_time=10.0)
    story = Story(settings=settings).run(0.1)
    story.follows = False
    story.measured = story.measured.copy()
    story.measured[story.robot.index[ARM]] += off
    assert story.ask("autonomy").ok
    story.tick()
    verdict = story.send(goal={ARM: story.at(ARM) + 0.01})
    assert verdict.accepted is accepted, verdict.reason
    assert accepted or f"{ARM} would start" in verdict.reason


def test_what_is_sent_to_a_base_is_a_velocity_and_to_an_arm_its_derivative():
    robot = make_robot()
    story = Story(robot).autonomy(goal={BASE: 0.3, ARM: 0.4}, rows=30)
    story.run(1.5)
    columns = [robot.index[c.name] for g in robot.groups if g.kind.value == "velocity" for c in g.channels]
    command = story.last.command
    np.testing.assert_array_equal(command.velocities[columns], command.values[columns])
    assert command.velocities[robot.index[BASE]] > 0.05
    arm = np.array([s.command.values[robot.index[ARM]] for s in story.steps[-3:]])
    assert command.velocities[robot.index[ARM]] == pytest.approx((arm[2] - arm[0]) / 0.04, abs=0.02)


def test_the_rest_of_a_plan_is_told_from_now_on_and_not_from_its_start():
    story = Story().autonomy(goal={ARM: 0.4}, rows=20, period=0.1, delay=0.0)
    for _ in range(3):
        story.run(0.3)
        rest = story.executor.running_plan(story.ros)
        i = story.robot.index[ARM]
        assert rest.start == pytest.approx(story.ros) and rest.period == 0.1
        assert rest.values[0, i] == pytest.approx(story.at(ARM), abs=0.02)
        assert rest.values[-1, i] == pytest.approx(0.4, abs=0.01)
        assert len(rest.values) == pytest.approx(story.last.plan_left / 0.1, abs=1.6)


def test_chunks_may_name_the_channels_in_any_order():
    story = Story().run(0.1)
    assert story.ask("autonomy").ok
    story.tick()
    chunk = story.chunk(goal={ARM: 0.4, "right_joint3": -0.2, "lift": story.at("lift") + 0.05}, rows=25)
    order = np.random.default_rng(4).permutation(len(chunk.names))
    shuffled = replace(chunk, names=tuple(chunk.names[i] for i in order), values=chunk.values[:, order])
    assert story.send(shuffled).accepted
    story.run(3.5)
    np.testing.assert_allclose(story.values, chunk.values[-1], atol=2e-3)
    story.sound()


def test_an_average_of_plans_knows_nothing_of_the_owner_before():
    """ensemble: held and asked for again while the old plan would still have an opinion, the new one is not mixed with it."""
    story = Story(settings=ExecutorSettings(strategy="ensemble")).autonomy(goal={ARM: 0.9}, rows=60)
    story.run(0.4)
    assert story.ask("hold").ok
    story.run(0.8)
    here = story.at(ARM)
    assert story.ask("autonomy").ok
    story.tick()
    assert story.send(rows=30).accepted  # stays where it is
    story.run(1.5)
    assert story.last.owner == "policy" and abs(story.at(ARM) - here) < 1e-6


def test_a_chunk_that_was_refused_has_no_opinion_in_an_average_of_plans():
    """Two robots, alike to the bit; one of them is sent a chunk in between that is too fast for it."""

    def commands(fast: bool) -> np.ndarray:
        story = Story(settings=ExecutorSettings(strategy="ensemble", slow_down=1.1, ensemble_decay=0.0))
        story.autonomy(goal={ARM: 0.5}, rows=30).run(0.8)
        if fast:
            i = story.robot.index[ARM]
            velocity = story.robot.channels[i].limits.velocity
            values = np.tile(story.values, (16, 1))
            values[:, i] -= np.minimum(2.9 * velocity * 0.05 * np.arange(16), 0.8)
            verdict = story.send(period=0.05, values=values)
            assert "it would have to be slowed" in verdict.reason
        assert story.send(goal={ARM: 0.6}, rows=30, sequence=7).accepted
        return np.array(story.run(1.0).sound().runs[-1])

    np.testing.assert_array_equal(commands(fast=True), commands(fast=False))


def test_what_ran_for_the_owner_before_is_not_skipped_in_a_chunk_of_the_next_one():
    """Pictures are older than the moment in which a policy learns that autonomy has been given back."""
    story, grip = Story(settings=ExecutorSettings(engage_time=0.0, engage_ramp=0.0)), "left_gripper"
    story.run(0.1)
    assert story.ask("autonomy").ok
    story.tick()
    still = np.tile(story.values, (30, 1))
    still[:, story.velocity] = 0.0
    still[:, story.robot.index[grip]] = 1.0
    assert story.send(story.chunk(start=story.ros, period=0.1, values=still)).accepted
    story.run(1.0)
    seen = story.ros
    story.run(0.3)
    assert story.ask("teleop").ok  # a person takes over, leaves the robot where it is, and gives it back
    story.run(0.1)
    assert story.ask("autonomy").ok
    story.tick()
    rows = still[:20].copy()
    rows[:3, story.robot.index[grip]] = 0.0  # the policy saw something to grasp: closed for 0.3 s, then open
    before = len(story.runs[-1])
    verdict = story.send(story.chunk(start=seen, period=0.1, values=rows))
    assert verdict.accepted, verdict.reason
    story.run(1.0)
    moved = np.array(story.runs[-1])[before:, story.robot.index[grip]]
    assert moved.min() < 0.3, "0.3 s of another plan were executed since the picture, none of this one"
    assert moved[-1] > 0.9


def test_where_a_robot_was_held_is_forgotten_with_the_measurements_that_said_so():
    """Pushed away while it is stopped, it is held where it is. Later nobody measures it, and somebody puts it elsewhere."""
    story = Story().run(0.1)
    i = story.robot.index[ARM]
    assert story.ask("stop").ok
    story.run(0.1)
    story.follows, story.measured = False, story.measured.copy()
    story.measured[i] += 0.4
    story.run(2.5)
    assert "TRACKING" in story.texts() and story.at(ARM) == pytest.approx(story.measured[i], abs=1e-6)
    story.joints = False
    story.run(3.0)
    assert story.last.command is None
    story.joints = True
    story.measured[i] -= 0.7
    story.run(1.0)
    np.testing.assert_allclose(np.array(story.runs[-1])[:, i], story.measured[i], atol=1e-9)
