"""The numbers the executor works with, each with the system it was taken from (docs/safety.md)."""

from __future__ import annotations

from dataclasses import dataclass

STRATEGIES = ("auto", "replace", "blend", "ensemble", "rtc", "wait")
SECOND_PUBLISHER = ("stop", "warn")


@dataclass(frozen=True)
class ExecutorSettings:
    """Times in s, gaps in rad or m, speeds in rad/s or m/s; a time of 0 switches that check off if it says so.

    Raises ValueError naming the setting that makes no sense.
    """

    strategy: str = "auto"
    chunk_max_age: float = 1.0  # observation stamp to receipt
    state_stale: float = 0.1  # used if the robot YAML names no max_age
    state_grace: float = 0.15  # stale for less than this: braked, and the next plan goes on; then hold
    state_lost: float = 1.0  # stale for this long is a fault: stopped, silent once at rest
    state_stamp_tolerance: float = 0.5  # stamps further than this from the receive time are not believed
    state_frozen: float = 0.25  # identical measured values for this long ...
    frozen_motion: float = 0.1  # ... while the command moved by this much
    teleop_stale: float = 0.2  # used if the robot YAML names no max_age
    estop_heartbeat: float = 0.5  # a button that was heard and is silent for longer counts as pressed
    estop_required: bool = False  # nobody drives before a button was heard; without it a robot may have none
    tracking_error: float = 0.2  # [rad]
    tracking_error_m: float = 0.05  # [m], for channels that are lengths
    tracking_time: float = 0.2
    tracking_lag: float = 0.1  # a servo follows a moving command this much later; not an error
    start_gap: float = 0.2  # how far from the robot autonomy may start
    limit_margin: float = 0.1  # share of a channel's range beyond its limits that is clamped; more is refused
    reach_time: float = 0.1  # a plan starts within start_gap and what the robot moves in this time, or is refused ...
    reach_speed: float = 3.0  # ... and moves no faster than this many times the velocity limit
    engage_time: float = 1.0  # after a change of owner ...
    engage_scale: float = 0.2  # ... this share of the velocity limit
    engage_ramp: float = 0.5  # and then back to all of it in this time
    engage_timeout: float = 10.0  # autonomy asked for and no usable chunk: back to hold; 0 waits for ever
    policy_lost: float = 2.0  # underrun for this long: hold until asked again
    outside_fault: float = 0.1  # measured this far outside the limits is a fault
    recovery_velocity: float = 0.0175  # 1 degree/s, the way back inside (ros2_control joint_limits)
    clock_jump: float = 0.5  # ROS clock against steady clock, in one period or, standing still, in total
    blend_time: float = 0.6  # in which `blend` goes from one plan to the next
    slow_down: float = 3.0  # a chunk that would have to take this many times longer is refused
    chunk_max_ahead: float = 0.5  # a chunk stamped further ahead of the ROS clock is refused
    wait_max_age: float = 30.0  # observation stamp to receipt, if the robot has not moved since
    ensemble_decay: float = 0.01  # w_i = exp(-m i), oldest first (ACT, arXiv 2304.13705, section 4)
    ensemble_depth: int = 4  # how many plans are averaged
    second_publisher: str = "stop"  # what another owner of commands, teleop or plans does: stop, or only warn

    def __post_init__(self) -> None:
        if self.strategy not in STRATEGIES:
            raise ValueError(f"strategy {self.strategy!r} is none of {', '.join(STRATEGIES)}")
        if self.second_publisher not in SECOND_PUBLISHER:
            raise ValueError(f"second_publisher {self.second_publisher!r} is none of {', '.join(SECOND_PUBLISHER)}")
        for name, value in vars(self).items():
            if name not in ("strategy", "second_publisher") and not (
                isinstance(value, int | float) and 0.0 <= value < 1e6
            ):
                raise ValueError(f"{name} must be a number from 0 on, not {value!r}")
        if not 0.0 < self.engage_scale <= 1.0:
            raise ValueError(f"engage_scale must be above 0 and at most 1, not {self.engage_scale!r}")
