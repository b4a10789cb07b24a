"""Import the package where ROS, torch or MuJoCo are not installed: what is missing is mocked."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager

HEAVY = (
    "action_msgs", "av", "builtin_interfaces", "cv2", "daqp", "diagnostic_msgs", "geometry_msgs", "lifecycle_msgs", "mcap",
    "mcap_ros2", "msgpack", "mujoco", "nav_msgs", "onnx", "onnxruntime", "pi0_ros.msg", "PIL", "pyarrow", "rcl_interfaces",
    "rclpy", "rosgraph_msgs", "ruckig", "safetensors", "scipy", "sensor_msgs", "sentencepiece", "simplejpeg", "std_msgs",
    "std_srvs", "tf_transformations", "tokenizers", "torch", "trajectory_msgs", "transforms3d", "visualization_msgs",
    "websockets", "xacro",
)  # fmt: skip
"""What the modules of the package import besides NumPy and YAML."""


def missing() -> list[str]:
    """The modules of HEAVY that are not installed here."""
    return [name for name in HEAVY if not _there(name)]


def _there(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        return False


@contextmanager
def importable() -> Iterator[None]:
    """A context in which every module of the package can be imported."""
    from sphinx.ext.autodoc.mock import mock

    with mock(missing()):
        yield
