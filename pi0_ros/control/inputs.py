"""All that has come in: what is measured, what a person's devices say, and what is known of the others on the network."""

from __future__ import annotations

from dataclasses import dataclass, field

from pi0_ros.control.policy_watch import PolicyWatch
from pi0_ros.control.sensing import Measured
from pi0_ros.control.teleop import Teleop
from pi0_ros.control.watchdogs import Estop


@dataclass
class Inputs:
    """The newest of everything. `second_publisher`: who else publishes commands; `two_devices`: which send on one topic of
    teleop; "" for nobody."""

    measured: Measured
    teleop: Teleop
    estop: Estop = field(default_factory=Estop)
    policy: PolicyWatch = field(default_factory=PolicyWatch)
    second_publisher: str = ""
    two_devices: str = ""
