"""Which parameters the nodes of this package declare, asked of their classes."""

from __future__ import annotations

import importlib
import importlib.util

from pi0_ros import nodes
from pi0_ros.ros.lifecycle import AUTOSTART, ManagedNode
from pi0_ros.ros.parameters import Parameter

NODE_NAMES = {
    "policy": "PolicyNode",
    "high_level": "HighLevelNode",
    "executor": "ExecutorNode",
    "recorder": "RecorderNode",
    "sim_robot": "SimRobotNode",
    "task_source": "TaskSourceNode",
}
"""The nodes that a parameter file may speak of, and the class of each in the module of its name."""


def tables() -> dict[str, tuple[Parameter, ...]]:
    """The declared parameters of every node, by the node's name."""
    return {name: _table(name) for name in NODE_NAMES}


def declared(namespace: str) -> dict[str, tuple[str, ...]]:
    """The parameters of every node of this package that can run here, by its full name in `namespace`, such as /ns/policy.

    Those of a node whose packages are not installed (the recorder's, on a robot) are not known: ().
    """
    place = f"/{namespace.strip('/')}" if namespace.strip("/") else ""
    return {f"{place}/{name}": _parameters(name) for name in NODE_NAMES if _installed(name)}


def _installed(name: str) -> bool:
    # The simulated robot needs mujoco, which a robot's computer does not have.
    return name != "sim_robot" or importlib.util.find_spec("mujoco") is not None


def _parameters(name: str) -> tuple[str, ...]:
    try:
        return tuple(parameter.name for parameter in _table(name))
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] == nodes.__name__.partition(".")[0]:
            raise
        return ()


def _table(name: str) -> tuple[Parameter, ...]:
    module = importlib.import_module(f"{nodes.__name__}.{name}")
    kind = getattr(module, NODE_NAMES[name])
    return (*kind.table, AUTOSTART) if issubclass(kind, ManagedNode) else tuple(kind.table)
