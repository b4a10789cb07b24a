"""brain: policy and high_level in one process, with one copy of the weights and one set of camera subscriptions."""

from __future__ import annotations

from rclpy.node import Node

from pi0_ros.nodes.high_level import HighLevelNode
from pi0_ros.nodes.policy import PolicyNode
from pi0_ros.nodes.weights import Weights
from pi0_ros.ros.run import run
from pi0_ros.ros.signals import Signals


def make(_: Signals) -> list[Node]:
    """Both nodes of this process."""
    weights = Weights()
    policy = PolicyNode(weights=weights)
    return [policy, HighLevelNode(weights=weights, partner=lambda: policy.observations)]


def main() -> int:
    """Run the nodes."""
    return run(make)


if __name__ == "__main__":
    raise SystemExit(main())
