"""Motions as a person makes them, and as one was recorded in the simulator, sent as chunks: this executor beside ways in which chunks are executed elsewhere.

replace + clamp: the newest chunk's row for now is the goal, rows are held for their period, a goal is at most `STEP` from the position
before (LeRobot's `max_relative_target`). linear, cubic, quintic: ros2_control's joint_trajectory_controller as its documentation describes the
spline interpolator: straight lines where points have positions alone, cubic segments where they have velocities too, quintic ones with accelerations;
a new trajectory replaces the running one from the state that is commanded. Velocities and accelerations of the points are central
differences of the rows, and zero at the last point, as the controller demands. None of these limits velocity, acceleration or jerk.

`python -m bench motion_shapes [--plot FOLDER]`: one JSON object a line; with a folder a picture of each shape and of each case.
"""

import argparse
import json
import math
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "test" / "control"))

from story import Story  # type: ignore[import-not-found]
from test_motion import JOINT, LIFT, Policy, ready  # type: ignore[import-not-found]

from pi0_ros.closed_loop.harness import Harness, Trial
from pi0_ros.control import ExecutorSettings
from pi0_ros.robot import load_robot
from pi0_ros.sim.robot import SimRobot
from pi0_ros.sim.seeds import FIRST_UNSEEN_SEED
from pi0_ros.sim.tasks import make_task
from pi0_ros.touch.planners import OperatorPlanner

SECONDS, SETTLED, PERIOD = 12.0, 3.0, 0.02
STEP = 0.1  # [rad] of LeRobot's clamp, at 50 Hz twice the velocity limit
DEGREES = {"linear": 1, "cubic": 3, "quintic": 5}  # of the segments of joint_trajectory_controller


def shapes():  # type: ignore[no-untyped-def]
    """Paths [rad] over time [s]: a person's slow wandering with tremor and an encoder of 12 bits, and reaches with rests between."""
    rng, t = np.random.default_rng(7), np.arange(0.0, SECONDS + 8.0, 0.01)
    walk = np.zeros(len(t))
    for f in np.geomspace(0.08, 1.2, 12):  # slower parts are larger, as in a hand's motion
        walk += 0.1 / (1.0 + 3.0 * f) / f**0.5 * np.sin(2.0 * np.pi * f * t + rng.uniform(0.0, 6.3))
    person = walk - walk[0] + np.cumsum(rng.normal(0.0, 1e-4, len(t))) + 5e-4 * np.sin(2.0 * np.pi * 9.0 * t)
    step = 2.0 * np.pi / 4096.0
    encoder = np.round(person / step) * step
    reaches, at = np.zeros(len(t)), 0.0
    for begin, size in ((1.0, 0.5), (3.2, -0.7), (5.0, 0.35), (6.4, -0.6), (9.0, 0.8)):
        s = np.clip((t - begin) / (0.6 + abs(size)), 0.0, 1.0)
        reaches += size * s**3 * (10.0 - 15.0 * s + 6.0 * s * s)
        at += size
    return {name: (t, values) for name, values in (("person", person), ("encoder", encoder), ("reaches", reaches))}


def recorded():  # type: ignore[no-untyped-def]
    """A reach of the scripted operator in the simulator, and the same way back, over and over: time [s] and the measured
    position [rad] of its busiest arm joint from where it began."""
    robot = load_robot("mobile_bimanual")
    harness = Harness(SimRobot(robot), OperatorPlanner, Trial())
    episode = harness.run(make_task("reach"), FIRST_UNSEEN_SEED)
    harness.close()
    arms = [i for i, name in enumerate(robot.channel_names) if "joint" in name]
    measured = episode.measured[-len(episode.times) :, arms]
    values = measured[:, int(np.argmax(np.ptp(measured, axis=0)))]
    moved = values - values[0]
    limits = robot.channels[robot.index[JOINT]].limits
    if not (limits.lower < 0.35 + moved.min() and 0.35 + moved.max() < limits.upper):
        moved = -moved
    there_and_back = np.concatenate([moved, moved[::-1]])
    whole = np.tile(there_and_back, math.ceil((SECONDS + 8.0) / (PERIOD * len(there_and_back))))
    return PERIOD * np.arange(len(whole)), whole


def ours(path, rate, rows, delay):  # type: ignore[no-untyped-def]
    """Commands of this executor, and the chunks that were sent."""
    story = ready(ExecutorSettings(start_gap=0.6), {JOINT: 0.35 + float(path(0.0))})
    begin, sent = story.ros, []
    policy = Policy(lambda t, s: {JOINT: 0.35 + float(path(t - begin))}, 1.0 / rate, rows, delay, jitter=0.3)
    send = story.send
    story.send = lambda chunk: sent.append((story.ros, chunk)) or send(chunk)
    first = len(story.stamps)
    story.run(SECONDS, policy)
    story.sound()
    times = np.array(story.stamps[first:]) - begin
    values = np.array(story.runs[-1])[first:, story.robot.index[JOINT]] - 0.35
    column = story.robot.index[JOINT]
    return times, values, [(at - begin, c.start - begin, c.period, c.values[:, column] - 0.35) for at, c in sent]


def elsewhere(times, sent, way, first):  # type: ignore[no-untyped-def]
    """Commands at `times` of the same chunks, executed another way."""
    if way in DEGREES:
        return splines(times, sent, DEGREES[way], first)
    at, chunk, values, waiting = first, None, [], list(sent)
    for now in times:
        while waiting and waiting[0][0] <= now + 1e-9:
            chunk = waiting.pop(0)
        if chunk is not None:
            _, start, period, rows = chunk
            row = rows[int(np.clip((now - start) // period, 0, len(rows) - 1))]
            at += float(np.clip(row - at, -STEP, STEP))
        values.append(at)
    return np.array(values)


def splines(times, sent, degree, first):  # type: ignore[no-untyped-def]
    """Commands at `times` of a joint_trajectory_controller that is given the chunks as trajectories of splines of `degree`.

    Its state, from which a new trajectory goes on, has as many derivatives as the splines are smooth.
    """
    order = (degree + 1) // 2  # values that a point has: position, velocity, acceleration
    state, knots, points, values, waiting = np.zeros(order), np.zeros(1), np.zeros((1, order)), [], list(sent)
    state[0] = points[0, 0] = first
    last = times[0]
    for now in times:
        while waiting and waiting[0][0] <= now + 1e-9:
            _, start, period, rows = waiting.pop(0)
            at = start + period * np.arange(len(rows))
            ahead = at > last + 1e-9  # what lies before now is left out
            knots = np.concatenate([[last], at[ahead]])
            points = np.concatenate([state[None], derivatives(rows, period, order)[ahead]])
        state, last = segment(knots, points, now), now
        values.append(float(state[0]))
    return np.array(values)


def derivatives(rows, period, order):  # type: ignore[no-untyped-def]
    """Points [H, order] of a trajectory: rows and their central differences, at rest at the end."""
    points = [rows]
    for _ in range(order - 1):
        slope = np.gradient(points[-1], period) if len(rows) > 1 else np.zeros(len(rows))
        slope[-1] = 0.0
        points.append(slope)
    return np.stack(points, axis=1)


def segment(knots, points, now):  # type: ignore[no-untyped-def]
    """The state [order] at `now` on the spline through `points` [K, order] at `knots` [K], Hermite between two of them."""
    order = points.shape[1]
    k = int(np.searchsorted(knots, now, side="right")) - 1
    if k < 0 or k >= len(knots) - 1:
        held = np.zeros(order)
        held[0] = points[max(k, 0), 0]
        return held
    length = knots[k + 1] - knots[k]
    power = np.arange(2 * order)
    rising = lambda t, n: np.array([math.perm(p, n) * t ** (p - n) if p >= n else 0.0 for p in power])
    system = np.array([rising(t, n) for t in (0.0, length) for n in range(order)])
    factors = np.linalg.solve(system, np.concatenate([points[k], points[k + 1]]))
    return np.array([rising(now - knots[k], n) @ factors for n in range(order)])


def judged(times, values, path):  # type: ignore[no-untyped-def]
    """Lag [s], RMS distance [rad] as it is and once the lag is taken out, RMS jerk [rad/s^3]."""
    late = times > SETTLED
    shifts = np.arange(0.0, 0.3, 0.005)
    rms = [float(np.sqrt(np.mean((values[late] - path(times[late] - s)) ** 2))) for s in shifts]
    jerk = np.diff(values[late], 3) / PERIOD**3
    return {
        "lag": float(shifts[int(np.argmin(rms))]),
        "rms": rms[0],
        "rms_without_lag": min(rms),
        "rms_jerk": float(np.sqrt(np.mean(jerk**2))),
    }


def pictures(folder: Path, name: str, times, curves, sent, title: str = "") -> None:  # type: ignore[no-untyped-def]
    """Rows as dots, commands as lines, their velocity below."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (top, below) = pyplot.subplots(2, 1, figsize=(11, 6), sharex=True, layout="constrained")
    for _, start, period, rows in sent:
        top.plot(start + period * np.arange(len(rows)), rows, ".", color="0.75", markersize=3, zorder=0)
    for label, values in curves.items():
        top.plot(times, values, label=label, linewidth=1.2)
        below.plot(times[1:], np.diff(values) / np.diff(times), linewidth=1.0, label=label)
    top.set_title(title or name)
    top.set_ylabel("position (rows: grey dots)")
    below.set_ylabel("velocity")
    below.set_xlabel("seconds")
    top.legend(fontsize=8)
    folder.mkdir(parents=True, exist_ok=True)
    figure.savefig(folder / f"{name}.png", dpi=80)
    pyplot.close(figure)


def cases(folder: Path) -> None:
    """A picture of each kind of chunk that used to be followed badly: rows, the path that the plan follows, the command."""
    at_once = {"engage_time": 0.0, "engage_ramp": 0.0}
    rng = np.random.default_rng(1)
    sine = lambda t: 0.35 + 0.1 * np.sin(np.pi * t)
    told = (
        ("short_chunks", "10 rows at 50 Hz, 50 ms late", JOINT, {}, sine, (0.02, 10, 0.05), 0.0),
        ("noise", "a policy that stays, 2 mrad of noise, 50 rows at 50 Hz", JOINT, {}, lambda t: 0.35 + float(rng.normal(0.0, 0.002)), (0.02, 50, 0.1), 0.0),
        ("fast_start", "at rest, then 1.6 rad/s at once, 10 Hz", JOINT, at_once, lambda t: 0.35 + 1.6 * np.clip(t - 1.0, 0.0, 0.6), (0.1, 16, 0.1), 0.0),
        ("too_fast", "a sine of 15 rad/s^2 where 10 are allowed", JOINT, at_once, lambda t: 0.35 + 0.3 * np.sin(7.1 * t), (0.02, 50, 0.1), 0.0),
        ("slow_first_second", "1.25 rad/s from the start", JOINT, {}, lambda t: -0.9 + 1.25 * (1.0 - np.cos(np.clip(t, 0, np.pi))), (0.05, 50, 0.1), 0.0),
        ("stamped_ahead", "stamps 0.2 s ahead of the clock", JOINT, {}, lambda t: 0.35 + 0.3 * np.sin(np.pi * t), (0.05, 30, 0.0), 0.2),
        ("slow_policy", "16 rows at 30 Hz, 0.8 s late: wait, run, wait", LIFT, {}, lambda t: 0.2 + 0.02 * t, (1 / 30, 16, 0.8), 0.0),
    )  # fmt: skip
    for name, title, channel, settings, path, (period, rows, delay), ahead in told:
        at = 0.35 if channel == JOINT else 0.2
        story = ready(
            ExecutorSettings(start_gap=0.5, **settings), {channel: float(path(0.0)) if channel == JOINT else at}
        )
        begin, first, column, sent, followed = story.ros, len(story.stamps), story.robot.index[channel], [], []
        send = story.send
        story.send = lambda chunk, s=story, k=send, out=sent: out.append((s.ros, chunk)) or k(chunk)
        policy = Policy(
            lambda t, s, p=path, b=begin, c=channel: {c: float(p(t - b))}, period, rows, delay, jitter=0.2, ahead=ahead
        )
        for _ in range(300):
            policy(story)
            story.tick()
            followed.append(_followed(story, column))
        times = np.array(story.stamps[first:]) - begin
        values = np.array(story.runs[-1])[first:, column]
        rows_sent = [(s - begin, c.start - begin, c.period, c.values[:, column]) for s, c in sent]
        pictures(folder, name, times, {"plan": np.array(followed), "command": values}, rows_sent, title)


def _followed(story: Story, column: int) -> float:
    """Where the path of the running plan is now, NaN if there is none."""
    running = story.executor._parts.plans.following.driving
    return float(running.plan.path.at(np.array([running.path_time]))[0, column]) if running is not None else np.nan


def main(argv: list[str] | None = None) -> int:
    """Print one JSON object a line."""
    parser = argparse.ArgumentParser(prog="python -m bench motion_shapes", description=__doc__)
    parser.add_argument("--plot", type=Path, help="folder for pictures")
    parser.add_argument("--only", help="this shape alone: person, encoder, reaches, recorded")
    args = parser.parse_args(argv)
    known = shapes() | ({"recorded": recorded()} if args.only in (None, "recorded") else {})
    for name, (t, wanted) in known.items():
        if args.only not in (None, name):
            continue
        path = lambda now, t=t, wanted=wanted: np.interp(now, t, wanted)
        for rate, rows, delay in ((10, 16, 0.1), (30, 50, 0.15), (50, 50, 0.1)):
            times, values, sent = ours(path, rate, rows, delay)
            curves = {"this executor": values}
            curves |= {way: elsewhere(times, sent, way, float(values[0])) for way in ("replace + clamp", *DEGREES)}
            for way, each in curves.items():
                line = {"bench": "motion_shapes", "shape": name, "rate": rate, "rows": rows, "delay": delay, "way": way}
                print(json.dumps(line | {k: round(v, 5) for k, v in judged(times, each, path).items()}), flush=True)
            if args.plot and rate == 30:
                pictures(args.plot, f"shape_{name}", times, curves, sent, f"{name}: 50 rows at 30 Hz, 0.15 s late")
    if args.plot and args.only is None:
        cases(args.plot)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
