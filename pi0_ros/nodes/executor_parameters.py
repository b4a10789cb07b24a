"""The parameters of the executor node."""

from __future__ import annotations

from pi0_ros.control import STRATEGIES, ExecutorSettings
from pi0_ros.control.settings import SECOND_PUBLISHER
from pi0_ros.ros.parameters import Parameter

_DEFAULT = ExecutorSettings()
SETTINGS = (
    "strategy",
    "chunk_max_age",
    "start_gap",
    "limit_margin",
    "reach_time",
    "reach_speed",
    "engage_time",
    "engage_scale",
    "policy_lost",
    "state_grace",
    "tracking_error",
    "tracking_error_m",
    "tracking_time",
    "tracking_lag",
    "slow_down",
    "chunk_max_ahead",
    "wait_max_age",
    "second_publisher",
    "estop_required",
)
"""Those that are settings of the control core."""

TABLE = (
    Parameter("robot", "", "robot YAML: a file, or a name under config/robots", required=True),
    Parameter("rate", 0.0, "control rate [Hz]; 0 takes the robot's control_rate", low=0.0, high=200.0),
    Parameter("realtime_priority", 50, "SCHED_FIFO priority of the control thread; 0 is off", low=0, high=90),
    Parameter("cpu", -1, "CPU to pin the control thread to; -1 is off", low=-1, high=1023),
    Parameter("black_box", "~/.ros/pi0_ros", "folder for the last 30 s before a fault or stop; empty: none is written"),
    Parameter("black_box_days", 30.0, "days that black boxes are kept; 0: however old", low=0.0, high=36500.0),
    Parameter("black_box_gb", 0.5, "gigabytes of black boxes that are kept of a robot", low=0.001, high=1000.0),
    Parameter(
        "picture_period", 1.0, "seconds between two pictures of a camera in it; 0: no pictures", low=0.0, high=30.0
    ),
    Parameter("strategy", _DEFAULT.strategy, "how a new plan is joined to the running one", choices=STRATEGIES),
    Parameter("chunk_max_age", _DEFAULT.chunk_max_age, "oldest observation [s] of a chunk", low=0.05, high=60.0),
    Parameter("start_gap", _DEFAULT.start_gap, "how far from the robot autonomy may start [rad]", low=0.0, high=6.3),
    Parameter(
        "limit_margin",
        _DEFAULT.limit_margin,
        "share of its range a value may be beyond a limit",
        low=0.0,
        high=10.0,
    ),
    Parameter("reach_time", _DEFAULT.reach_time, "seconds of motion that a plan may start away", low=0.0, high=10.0),
    Parameter("reach_speed", _DEFAULT.reach_speed, "times the velocity limit a plan may be", low=1.0, high=1000.0),
    Parameter("engage_time", _DEFAULT.engage_time, "seconds of slow motion after a change", low=0.0, high=60.0),
    Parameter("engage_scale", _DEFAULT.engage_scale, "share of the speed limits meanwhile", low=0.01, high=1.0),
    Parameter("policy_lost", _DEFAULT.policy_lost, "underrun [s] until autonomy ends", low=0.0, high=60.0),
    Parameter(
        "state_grace",
        _DEFAULT.state_grace,
        "seconds for which late measurements cost speed and not yet the mode",
        low=0.0,
        high=1.0,
    ),
    Parameter(
        "second_publisher",
        _DEFAULT.second_publisher,
        "what to do while another node publishes on a command topic, two devices on a topic of teleop, or two policies: "
        "stop and refuse to move, or only warn",
        choices=SECOND_PUBLISHER,
    ),
    Parameter(
        "estop_required",
        _DEFAULT.estop_required,
        "refuse teleop and autonomy until an e-stop has been heard; false: a robot without one drives",
    ),
    Parameter("tracking_error", _DEFAULT.tracking_error, "largest tracking error [rad]", low=0.01, high=6.3),
    Parameter("tracking_error_m", _DEFAULT.tracking_error_m, "largest tracking error [m]", low=0.001, high=10.0),
    Parameter("tracking_time", _DEFAULT.tracking_time, "seconds of it until autonomy ends", low=0.0, high=10.0),
    Parameter("tracking_lag", _DEFAULT.tracking_lag, "how late the robot follows [s], no error", low=0.0, high=5.0),
    Parameter("slow_down", _DEFAULT.slow_down, "a chunk slowed more than this is refused", low=1.0, high=100.0),
    Parameter(
        "chunk_max_ahead",
        _DEFAULT.chunk_max_ahead,
        "a chunk stamped further ahead [s] is refused",
        low=0.0,
        high=10.0,
    ),
    Parameter(
        "wait_max_age",
        _DEFAULT.wait_max_age,
        "as chunk_max_age, if the robot stood since [s]",
        low=0.05,
        high=600.0,
    ),
)
