"""Whatever comes in, in whatever order: every command keeps every promise and nothing raises."""

import math
from dataclasses import replace

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from story import Story, make_robot, middle

from bench.faults import fuzz
from pi0_ros.control import ExecutorSettings
from pi0_ros.control.audit import violations
from pi0_ros.control.limiter import GroupLimiter
from pi0_ros.control.limits import bounds_of
from pi0_ros.robot.spec import Kind

ROBOTS = {name: make_robot(name) for name in ("mobile_bimanual", "aloha")}
QUIET = settings(deadline=None, max_examples=40, suppress_health_check=list(HealthCheck), derandomize=True)

odd = st.sampled_from([0.0, 1.0, -1.0, math.nan, math.inf, -math.inf, 1e308, -1e308, 5e-324])
number = st.one_of(st.floats(-4.0, 4.0), odd)
seed = st.integers(0, 2**32 - 1)


def wild_chunk(story, draw):
    rng = np.random.default_rng(draw(seed))
    chunk = story.chunk(rows=draw(st.integers(1, 30)), delay=draw(st.floats(0.0, 0.4)))
    scale = draw(st.sampled_from([0.0, 0.003, 0.05, 0.5, 10.0, 1e12]))
    values = chunk.values + rng.normal(0.0, scale, chunk.values.shape) * rng.choice([0.0, 1.0], chunk.values.shape[1])
    if draw(st.integers(0, 4)) == 0:
        values[rng.integers(len(values)), rng.integers(values.shape[1])] = draw(odd)
    changes = draw(
        st.sampled_from(
            [{}] * 6
            + [
                {"period": 0.02},
                {"period": 0.001},
                {"period": math.nan},
                {"start": math.inf},
                {"start": story.ros + 0.3},
                {"epoch": 99},
                {"sequence": 0},
                {"names": chunk.names[::-1]},
                {"names": ("x",) * len(chunk.names)},
                {"frozen_rows": 5},
            ]
        )
    )
    story.send(replace(chunk, values=values, **changes))


def wild_teleop(story, draw):
    group = draw(st.sampled_from([*(g.name for g in story.robot.groups), "tail"]))
    if group == "tail":
        story.executor.on_teleop(story.steady, group, ("a",), (1.0,))
        return
    width = len(story.robot.group(group).channels)
    story.teleop(group, [draw(number) for _ in range(width)])


def wild_state(story, draw):
    what = draw(st.sampled_from(["silent", "heard", "stuck", "free", "stamp", "knock", "odometry"]))
    story.joints = {"silent": False, "heard": True}.get(what, story.joints)
    story.follows = {"stuck": False, "free": True}.get(what, story.follows)
    if what == "stamp":
        stamp = draw(number)
        story.executor.on_state(story.steady, story.ros, stamp, {"left_joint1": draw(number)})
    elif what == "knock":
        story.measured = story.measured + draw(st.floats(-0.3, 0.3))
    elif what == "odometry":
        story.executor.on_odometry(story.steady, story.ros, draw(number), draw(number), draw(number), draw(number))


def wild_clock(story, draw):
    if draw(st.booleans()):
        story.offset += draw(st.sampled_from([0.1, -0.1, 0.4, -0.4]))
    else:
        story.executor.step(draw(st.sampled_from([math.nan, math.inf, story.steady])), draw(number))


ACTIONS = (
    lambda s, d: wild_chunk(s, d),
    lambda s, d: wild_chunk(s, d),
    lambda s, d: s.send(goal={n: d(st.floats(-2.0, 2.0)) for n in s.robot.channel_names[:4]}, rows=12),
    lambda s, d: wild_teleop(s, d),
    lambda s, d: wild_state(s, d),
    lambda s, d: wild_clock(s, d),
    lambda s, d: s.ask(d(st.sampled_from(["hold", "teleop", "autonomy", "autonomy", "stop", "reset", "reset", "?"]))),
    lambda s, d: s.ask("autonomy"),
    lambda s, d: s.executor.on_estop(s.steady, d(st.booleans())),
    lambda s, d: s.executor.on_deadman(s.steady, d(st.booleans())),
)


@QUIET
@given(
    st.data(),
    st.sampled_from(list(ROBOTS)),
    st.sampled_from(["auto", "replace", "blend", "ensemble", "rtc", "wait"]),
    st.sampled_from([1.0, 0.2]),
)
def test_whatever_comes_in_every_command_is_finite_limited_single_owned_and_rising(data, name, strategy, scale):
    story = Story(ROBOTS[name], ExecutorSettings(strategy=strategy, engage_scale=scale)).run(0.06)
    for _ in range(data.draw(st.integers(1, 20))):
        data.draw(st.sampled_from(ACTIONS))(story, data.draw)
        for _ in range(data.draw(st.integers(1, 6))):
            story.tick(period=story.period * data.draw(st.sampled_from([1.0, 1.0, 1.0, 0.8, 1.3, 10.0])))
    owners = {s.owner for s in story.steps}
    assert owners <= {"none", "hold", "teleop", "policy"}
    assert all((s.command is None) == (s.owner == "none") for s in story.steps)
    assert all(s.command.names == story.robot.channel_names for s in story.steps if s.command is not None)
    story.sound()


def test_ten_thousand_random_inputs_crash_nothing_and_no_command_breaks_a_limit():
    found = fuzz(10_000, seed=1)
    assert found["commands"] > 500
    assert (found["crashes"], found["violations"]) == (0, 0)


@QUIET
@given(st.data(), st.sampled_from([0.02, 0.01, 0.005]), st.sampled_from(range(6)))
def test_the_limiter_alone_keeps_every_limit_for_any_goals(data, period, index):
    group = ROBOTS["mobile_bimanual"].groups[index]
    robot = replace(ROBOTS["mobile_bimanual"], groups=(group,), control_rate=1.0 / period)
    driven = group.kind is Kind.VELOCITY
    limiter, count = GroupLimiter(bounds_of(group, period), period, driven=driven), len(group.channels)
    limiter.reset([0.0 if group.kind is Kind.VELOCITY else m for m in middle(robot)])
    rng, path = np.random.default_rng(data.draw(seed)), [limiter.motion.x]
    reach = np.array([c.limits.upper - c.limits.lower for c in group.channels])
    goal = np.zeros((3, count))
    for _ in range(300):
        if rng.random() < 0.15:
            goal = rng.uniform(-1.2, 1.2, (3, count)) * np.array([reach, reach * 5.0, reach * 30.0])
        limiter.brake() if rng.random() < 0.03 else limiter.step(goal, rng.choice([1.0, 0.2]))
        path.append(limiter.motion.x)
    assert violations(robot, np.array(path), period) == []
