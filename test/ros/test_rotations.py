"""Headings and orientations, by the real `tf_transformations` and by what stands in for it where ROS has none."""

import importlib.util
import math
import sys
from pathlib import Path

import pytest

pytest.importorskip("rclpy")

from geometry_msgs.msg import Quaternion

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


def quaternion(roll, pitch, yaw):
    """q = qz(yaw) qy(pitch) qx(roll), written out (REP 103: roll, pitch, yaw about fixed axes)."""
    cr, sr = math.cos(roll / 2), math.sin(roll / 2)
    cp, sp = math.cos(pitch / 2), math.sin(pitch / 2)
    cy, sy = math.cos(yaw / 2), math.sin(yaw / 2)
    return Quaternion(
        x=sr * cp * cy - cr * sp * sy,
        y=cr * sp * cy + sr * cp * sy,
        z=cr * cp * sy - sr * sp * cy,
        w=cr * cp * cy + sr * sp * sy,
    )


@pytest.mark.parametrize(
    ("roll", "pitch", "yaw"), [(0.0, 0.0, 0.7), (0.3, -0.2, 1.1), (-0.1, 0.4, -2.6), (0.2, 0.1, 3.1)]
)
def test_a_heading_is_read_from_an_orientation_that_is_tilted_too(rotations, roll, pitch, yaw):
    assert rotations.yaw_of(quaternion(roll, pitch, yaw)) == pytest.approx(yaw, abs=1e-9)


def test_the_opposite_quaternion_is_the_same_heading(rotations):
    q = quaternion(0.3, -0.2, 1.1)
    assert rotations.yaw_of(Quaternion(x=-q.x, y=-q.y, z=-q.z, w=-q.w)) == pytest.approx(1.1, abs=1e-9)


@pytest.mark.parametrize("yaw", [0.7, -2.6, 0.0, 3.0])
def test_a_heading_becomes_the_orientation_about_z(rotations, yaw):
    got, want = rotations.orientation_of_yaw(yaw), quaternion(0.0, 0.0, yaw)
    assert (got.x, got.y, got.z, got.w) == pytest.approx((want.x, want.y, want.z, want.w), abs=1e-12)
