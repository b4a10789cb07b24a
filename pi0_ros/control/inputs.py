"""All that has come in: what is measured, what a person's devices say, and what is known of the others on the network."""

from __future__ import annotations

from dataclasses import dataclass, field

from pi0_ros.control.modes import Trigger
from pi0_ros.control.policy_watch import PolicyWatch
from pi0_ros.control.sensing import Measurements
from pi0_ros.control.teleop import Teleop
from pi0_ros.control.watchdogs import Estop


@dataclass
class Inputs:
    """The newest of everything. `competitors`: who publishes beside the executor (SECOND_PUBLISHER) or beside a person's
    device (TWO_DEVICES), as sentences."""

    measured: Measurements
    teleop: Teleop
    estop: Estop = field(default_factory=Estop)
    policy: PolicyWatch = field(default_factory=PolicyWatch)
    competitors: dict[Trigger, str] = field(default_factory=dict)
