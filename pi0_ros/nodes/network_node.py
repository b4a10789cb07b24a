"""The managed node around a network: what policy and high_level have in common."""

from __future__ import annotations

from abc import abstractmethod
from functools import partial
from typing import Generic, Protocol, TypeVar

from pi0_ros.nodes.weights import Weights
from pi0_ros.policy import PolicyError
from pi0_ros.robot import Robot, RobotError
from pi0_ros.ros.activation import Activation
from pi0_ros.ros.guarded_thread import GuardedThread
from pi0_ros.ros.lifecycle import HALT, ManagedNode
from pi0_ros.ros.observation_source import ObservationSource
from pi0_ros.ros.parameters import Overrides, ParameterError


class NetworkLoop(Protocol):
    """What the thread of such a node does."""

    def run(self, activation: Activation) -> None:
        """Work until the activation is over."""

    def wake(self) -> None:
        """Have `run` look at once whether there is something to do, or whether the activation is over."""


Loop = TypeVar("Loop", bound=NetworkLoop)


class NetworkNode(ManagedNode, Generic[Loop]):
    """Loads a network, asks it from a thread of its own while active, and goes quiet at once, however long it still computes."""

    expected = (ParameterError, RobotError, PolicyError)
    thread_name = "network"

    def __init__(self, name: str, weights: Weights | None = None, parameter_overrides: Overrides = None) -> None:
        super().__init__(name, parameter_overrides)
        self.weights = weights or Weights()
        self.observations: ObservationSource | None = None
        """The node's own; cleaning up closes them."""
        self.thread: GuardedThread | None = None
        self._activation = Activation()
        self._loop: Loop | None = None

    @abstractmethod
    def make_loop(self) -> Loop:
        """Load the network, and make what the thread does with it, the publishers and the subscriptions."""

    @property
    def loop(self) -> Loop:
        """What `make_loop` made; only while the node is configured."""
        assert self._loop is not None
        return self._loop

    def setup(self) -> None:
        """Load and subscribe; raise to refuse."""
        self._loop = self.make_loop()

    def open_observations(self, robot: Robot) -> ObservationSource:
        """Subscribe to the robot's cameras and state; from now on they are the node's own."""
        self.observations = ObservationSource(self, robot, self.clocks, self.values.picture_frozen)
        return self.observations

    def start(self) -> None:
        """Start the thread."""
        # Every activation has its own: a thread that still thinks when the next one begins must not come back to life.
        self._activation = Activation()
        self.thread = self.begin_thread(self.thread_name, partial(self.loop.run, self._activation))

    def halt(self) -> None:
        """Go quiet; what is being computed is not published, however long it still takes."""
        self._activation.end()
        self.loop.wake()
        if self.thread is not None:
            self.thread.stop(HALT)
            self.thread = None

    def teardown(self) -> None:
        """Let go of the subscriptions and the weights."""
        if self.observations is not None:
            self.observations.close()
            self.observations = None
        self._loop = None
        self.weights.drop()
