"""How an episode moved, from its commands alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pi0_ros.closed_loop.harness import Episode
from pi0_ros.control.audit import violations
from pi0_ros.robot import Kind, Robot


@dataclass(frozen=True)
class Motion:
    """One or several episodes.

    rms_jerk [rad/s³]: of all position channels, third difference of the commands. seam_position [rad or m] and
    seam_velocity [rad/s]: largest jump a splice made in the commands; seam_share: the latter as a share of the joint's
    velocity limit. holding [s]: in autonomy with a plan that ran out. tracking [rad]: RMS command − measured, a servo's
    lag included. delay [s]: observation to first command, largest p95. violations: promises of `control.audit` that a
    group broke in an episode.
    """

    rms_jerk: float
    seam_position: float
    seam_velocity: float
    seam_share: float
    holding: float
    underruns: int
    tracking: float
    delay: float
    violations: int


def motion_of(robot: Robot, episodes: Sequence[Episode]) -> Motion:
    """The metrics over all episodes together."""
    position = np.array([c.kind is Kind.POSITION for c in robot.channels])
    period = 1.0 / robot.control_rate
    jerk = np.concatenate([np.diff(e.commands[:, position], n=3, axis=0) / period**3 for e in episodes])
    steps = [step for e in episodes for step in e.steps]
    errors = np.concatenate([(e.commands - e.measured[-len(e.commands) :])[:, position] for e in episodes])
    return Motion(
        rms_jerk=float(np.sqrt(np.mean(jerk**2))),
        seam_position=max(step.seam.position for step in steps),
        seam_velocity=max(step.seam.velocity for step in steps),
        seam_share=max(step.seam.velocity_share for step in steps),
        holding=period * sum(step.starved for step in steps),
        underruns=sum(e.steps[-1].counters.underruns for e in episodes),
        tracking=float(np.sqrt(np.mean(errors**2))),
        delay=max(step.delay_p95 for step in steps),
        violations=sum(len(violations(robot, e.commands, period)) for e in episodes),
    )
