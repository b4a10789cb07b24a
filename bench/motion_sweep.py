"""Whatever a policy sends: how far the command is from a motion that could be followed, and what it breaks.

Horizon x rate of rows x delay x strategy x noise, smooth and sharp paths, robots that follow late. The judge is a few lines of
numpy of its own: it differences the commands and knows nothing of plans.

`python -m bench motion_sweep [--quick]`
"""

import argparse
import itertools
import json

import numpy as np

from pi0_ros.control import Chunk, Executor, ExecutorSettings
from pi0_ros.robot import load_robot
from pi0_ros.robot.spec import Kind

JOINT, SIZE, SETTLED = "left_joint2", 0.1, 3.0  # [rad] of the path; [s] after which the command is judged
START = 1000.0


def main(argv: list[str] | None = None) -> int:
    """Print one JSON object a line, the failures among them."""
    parser = argparse.ArgumentParser(prog="python -m bench motion_sweep", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a few of each")
    args = parser.parse_args(argv)
    grid = {
        "rows": (4, 8, 16, 50, 100), "rate": (5, 10, 20, 50), "delay": (0.0, 0.1, 0.3, 1.0),
        "strategy": ("auto", "replace", "ensemble"), "noise": (0.0, 0.002, 0.005), "shape": ("sine", "steps", "stay"),
    }  # fmt: skip
    if args.quick:
        grid |= {"rows": (8, 50), "rate": (10, 50), "delay": (0.1, 0.3), "strategy": ("auto",), "noise": (0.0, 0.002)}
    worst: dict[str, float] = {}
    runs = failures = 0
    for case in itertools.product(*grid.values()):
        named = dict(zip(grid, case, strict=True))
        if named["delay"] > 0.6 * named["rows"] / named["rate"] or named["shape"] == "stay" and not named["noise"]:
            continue  # the robot would stand and wait: another question
        runs += 1
        found, broken = judged(**named, lag=0.05 * (runs % 3))
        for key, value in found.items():
            worst[key] = max(worst.get(key, 0.0), value)
        if broken:
            failures += 1
            tell("failure", 1, "", **named, broken=broken, **{k: round(v, 5) for k, v in found.items()})
    tell("runs", runs, "")
    tell("failures", failures, "")
    for key, value in worst.items():
        tell(f"worst_{key}", value, {"distance": "rad", "seam": "of the velocity limit"}.get(key, "times"))
    return 0


def tell(metric: str, value: float, unit: str, **more: object) -> None:
    """One line."""
    print(json.dumps({"bench": "motion_sweep", "metric": metric, "value": value, "unit": unit, **more}), flush=True)


def path_of(shape: str):  # type: ignore[no-untyped-def]
    """A path [rad] over time [s]: a slow sine, smooth steps up and down, or nothing."""
    if shape == "sine":
        return lambda t: SIZE * np.sin(np.pi * np.asarray(t))
    if shape == "steps":
        return lambda t: SIZE * (np.floor(np.asarray(t)) % 2)
    return lambda t: 0.0 * np.asarray(t)


def judged(rows, rate, delay, strategy, noise, shape, lag):  # type: ignore[no-untyped-def]
    """What one run did, and what of it is not right."""
    path, robot, rng = path_of(shape), load_robot("mobile_bimanual"), np.random.default_rng(rows * rate)
    commands, asked, seam, wanted = drive(robot, path, rows, rate, delay, strategy, noise, lag, rng)
    column, period = robot.index[JOINT], 1.0 / robot.control_rate
    limit = robot.channels[column].limits
    moved = commands[:, column]
    late = moved[round(SETTLED / period) :]
    found = {
        "velocity": float(np.abs(np.diff(moved)).max() / period / limit.velocity),
        "acceleration": float(np.abs(np.diff(moved, 2)).max() / period**2 / limit.acceleration),
        "jerk": float(np.abs(np.diff(moved, 3)).max() / period**3 / limit.jerk),
        "seam": seam,
    }
    broken = [name for name in ("velocity", "acceleration", "jerk") if found[name] > 1.0 + 1e-6]
    if seam > 0.05:
        broken.append("seam")
    if shape == "stay":
        found["noise_gain"] = float(np.std(late) / np.std(asked))
        found["noise_peak"] = float(np.abs(late - late.mean()).max() / np.abs(asked).max())
        broken += [name for name in ("noise_gain", "noise_peak") if found[name] > 1.0]
    elif shape == "sine" and not noise:
        found["distance"] = float(np.abs(late - wanted[round(SETTLED / period) :]).max())
        broken += ["distance"] if found["distance"] > (0.002 if rate >= 10 else 0.01) else []
    elif shape == "steps" and not noise:
        over = max(float(moved.max()) - middle(robot)[column] - SIZE, middle(robot)[column] - float(moved.min()))
        found["overshoot"] = max(over, 0.0)
        broken += ["overshoot"] if over > 0.002 else []
    return found, broken


def middle(robot):  # type: ignore[no-untyped-def]
    """Where every channel starts [D]."""
    limits = [c.limits for c in robot.channels]
    return np.array(
        [
            0.0 if c.kind is Kind.VELOCITY else 0.5 * (m.lower + m.upper)
            for c, m in zip(robot.channels, limits, strict=True)
        ]
    )


def drive(robot, path, rows, rate, delay, strategy, noise, lag, rng):  # type: ignore[no-untyped-def]
    """Commands [N, D], noise drawn, worst seam, and where the path was at each command."""
    executor, period = Executor(robot, ExecutorSettings(strategy=strategy)), 1.0 / robot.control_rate
    measured, column = middle(robot), robot.index[JOINT]
    base, sent, drawn, wanted = measured.copy(), [], [0.0], []
    asked, pending, sequence, seam, step = -1e9, None, 0, 0.0, None
    for k in range(round((SETTLED + 3.0) / period)):
        steady = k * period
        ros = START + steady
        joints = {}
        for group in robot.groups:
            for c in group.channels:
                if (joint := robot.joint_of_channel.get(c.name)) is not None:
                    value = float(measured[robot.index[c.name]])
                    grip = group.gripper
                    joints[joint] = grip.closed + value * (grip.open - grip.closed) if grip else value
        executor.on_state(steady, ros, ros, joints)
        executor.on_odometry(steady, ros, ros, 0.0, 0.0, 0.0)
        if k == 10:
            executor.request(steady, ros, "autonomy")
        if pending is not None and pending[0] <= ros + 1e-9:
            executor.on_chunk(steady, ros, pending[1])
            pending = None
        step = executor.step(steady, ros)
        if k > 50:
            seam = max(seam, step.seam.velocity_share)
        if step.command is not None:
            measured = measured + (1.0 if lag <= 0 else 1.0 - np.exp(-period / lag)) * (step.command.values - measured)
            sent.append(step.command.values)
            wanted.append(base[column] + float(path(steady)))
        ending = step.plan_left < delay + 0.1 and ros - asked >= delay
        if k > 10 and pending is None and (ros - asked >= 0.4 - 1e-9 or ending):
            asked, sequence = ros, sequence + 1
            shaken = np.clip(rng.normal(0.0, noise, rows), -3.0 * noise, 3.0 * noise) if noise else np.zeros(rows)
            drawn.extend(shaken.tolist())
            values = np.tile(base, (rows, 1))
            values[:, column] += path(steady + np.arange(rows) / rate) + shaken
            late = delay * (1.0 + 0.3 * rng.uniform(-1.0, 1.0))
            chunk = Chunk(ros, 1.0 / rate, robot.channel_names, values, sequence, step.epoch, "policy")
            pending = (ros + late, chunk)
    return np.array(sent), np.array(drawn), seam, np.array(wanted)


if __name__ == "__main__":
    raise SystemExit(main())
