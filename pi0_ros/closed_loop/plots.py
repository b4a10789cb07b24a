"""Commands of one run under several strategies, as a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from pi0_ros.closed_loop.harness import Episode
from pi0_ros.robot import Robot


def plot_commands(robot: Robot, runs: Mapping[str, Episode], channels: Sequence[str], file: Path) -> None:
    """Write a PNG: for each channel its commands above and their rate below, a curve a strategy, ticks at splices."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(
        2 * len(channels), 1, figsize=(11, 3.2 * len(channels)), sharex=True, squeeze=False, layout="constrained"
    )
    for i, channel in enumerate(channels):
        value, rate = axes[2 * i][0], axes[2 * i + 1][0]
        column, unit = robot.index[channel], robot.channels[robot.index[channel]].unit
        for name, run in runs.items():
            since = run.times - run.times[0]
            value.plot(since, run.commands[:, column], label=name, linewidth=1.0)
            rate.plot(since[1:], np.diff(run.commands[:, column]) / np.diff(run.times), linewidth=0.8)
        for splice in _splices(next(iter(runs.values()))):
            rate.axvline(splice, color="0.85", linewidth=0.6, zorder=0)
        value.set_ylabel(f"{channel} [{unit}]")
        rate.set_ylabel(f"velocity [{unit}/s]")
    axes[0][0].legend(ncols=len(runs), fontsize=8)
    axes[-1][0].set_xlabel("seconds")
    figure.savefig(file, dpi=110)
    pyplot.close(figure)


def busiest(robot: Robot, run: Episode, count: int = 3) -> tuple[str, ...]:
    """The channels that moved most, in units of their range."""
    span = np.array([c.limits.upper - c.limits.lower for c in robot.channels])
    moved = np.ptp(run.commands, axis=0) / span
    return tuple(robot.channel_names[i] for i in np.argsort(-moved)[:count])


def _splices(run: Episode) -> list[float]:
    """Seconds since the first command at which a new plan was taken up."""
    found, last = [], 0
    for step in run.steps:
        if step.command is not None and step.plan_sequence != last:
            last = step.plan_sequence
            found.append(step.command.stamp - run.times[0])
    return found
