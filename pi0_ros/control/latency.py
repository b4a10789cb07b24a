"""How much later than commanded a robot moves: the shift between two recordings of one motion. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
LONGEST = 0.6  # [s] no robot is followed by a policy with more
STEP = 0.001  # [s] between the shifts that are tried
LEAST_SHARE = 0.5  # of the commanded way that has to be seen measured


@dataclass(frozen=True)
class CommandLatency:
    """`delay` [s] of the measured motion behind the commanded one, `error` [rad or m] RMS that is left after it, and the
    `way` [rad or m] that was measured between the extremes."""

    delay: float
    error: float
    way: float


def measure_latency(
    command_times: Array, commanded: Array, measured_times: Array, measured: Array, longest: float = LONGEST
) -> CommandLatency:
    """The delay by which `measured` follows `commanded`, both sampled at their own times [s] on one clock.

    Both are compared about their means, so that a constant offset (sag) counts for nothing. Raises ValueError if the
    recordings are too short, nothing was commanded, or the robot hardly moved.
    """
    if len(command_times) < 4 or len(measured_times) < 4:
        raise ValueError(f"{len(command_times)} commands and {len(measured_times)} measurements are too few")
    span, way = float(np.ptp(commanded)), float(np.ptp(measured))
    if span <= 0.0:
        raise ValueError("nothing was commanded to move")
    if way < LEAST_SHARE * span:
        raise ValueError(
            f"of {span:.3g} that were commanded {way:.3g} was measured: is the robot blocked, or not driven?"
        )
    inside = (measured_times >= command_times[0] + longest) & (measured_times <= command_times[-1])
    times, values = measured_times[inside], measured[inside]
    if len(times) < 4:
        raise ValueError(f"the recordings have {len(times)} measurements in common; record longer")
    best = CommandLatency(math.nan, math.inf, way)
    for delay in np.arange(0.0, longest, STEP):
        error = np.interp(times - delay, command_times, commanded) - values
        rms = float(np.sqrt(np.mean((error - np.mean(error)) ** 2)))
        if rms < best.error:
            best = CommandLatency(float(delay), rms, way)
    if best.delay > longest - 1.5 * STEP:
        raise ValueError(f"the robot is more than {longest:g} s behind its commands; measure without other load")
    return best


def probe_motion(time: float, amplitude: float, period: float) -> float:
    """A smooth way out and back: (1 - cos) / 2 of `amplitude` [rad or m], repeated every `period` [s]; 0 before time 0."""
    return amplitude * 0.5 * (1.0 - math.cos(2.0 * math.pi * max(time, 0.0) / period))
