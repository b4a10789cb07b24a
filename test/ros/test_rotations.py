"""Headings and orientations, by the real `tf_transformations` and by what stands in for it where ROS has none."""

import importlib.util
import math
import sys
from pathlib import Path

import pytest

pytest.importorskip("rclpy")

import pi0_ros.ros.rotations as here

NEEDS = (
    "needs tf_transformations: sourced with ROS (ros-jazzy-tf-transformations), or its public source "
    "(github.com/DLu/tf_transformations) on PYTHONPATH"
)


def loaded(name, monkeypatch, real):
    """The module anew, with the real library or as if there were none."""
    if real:
        pytest.importorskip("tf_transformations", reason=NEEDS)
    else:
        monkeypatch.setitem(sys.modules, "tf_transformations", None)
    spec = importlib.util.spec_from_file_location(name, Path(here.__file__))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(params=[True, False], ids=["tf_transformations", "transforms3d alone"])
def rotations(request, monkeypatch):
    return loaded("rotations_anew", monkeypatch, request.param)


@pytest.mark.parametrize("yaw", [0.7, -2.6, 3.1])
def test_a_heading_becomes_a_turn_about_the_z_axis(rotations, yaw):
    made = rotations.orientation_of_yaw(yaw)
    assert (made.x, made.y) == (0.0, 0.0)
    assert (made.z, made.w) == pytest.approx((math.sin(yaw / 2), math.cos(yaw / 2)), abs=1e-12)
