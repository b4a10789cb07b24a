from __future__ import annotations

from xml.etree import ElementTree

import numpy as np
import pytest

from pi0_ros.robot.urdf import read_urdf, urdf_text

ARM = [f"{side}_joint{i}" for side in ("left", "right") for i in range(1, 7)]


@pytest.fixture(scope="module")
def root(bimanual):
    return ElementTree.fromstring(urdf_text(bimanual.urdf))


def inertia(link):
    i = {k: float(v) for k, v in link.find("inertial/inertia").attrib.items()}
    return np.array([[i["ixx"], i["ixy"], i["ixz"]], [i["ixy"], i["iyy"], i["iyz"]], [i["ixz"], i["iyz"], i["izz"]]])


def test_every_link_with_mass_has_an_inertia_a_rigid_body_can_have(root):
    heavy = [link for link in root.findall("link") if link.find("inertial") is not None]
    assert len(heavy) > 20
    for link in heavy:
        principal = np.linalg.eigvalsh(inertia(link))
        assert principal[0] > 0, link.get("name")
        assert principal[0] + principal[1] >= principal[2] - 1e-12, link.get("name")  # triangle inequality
        assert float(link.find("inertial/mass").get("value")) > 0


def test_every_link_that_moves_by_itself_has_a_mass(root):
    moved = {j.find("child").get("link") for j in root.findall("joint") if j.get("type") != "fixed"}
    massless = {link.get("name") for link in root.findall("link") if link.find("inertial") is None}
    assert not moved & massless


def test_every_movable_joint_is_limited_in_position_speed_and_effort(bimanual):
    joints = read_urdf(bimanual.urdf).joints
    assert set(ARM) <= set(joints)
    for joint in joints.values():
        assert np.isfinite([joint.lower, joint.upper, joint.velocity, joint.effort]).all(), joint.name
        assert joint.lower < joint.upper and joint.velocity > 0 and joint.effort > 0, joint.name


def test_the_robot_is_one_tree_of_primitive_shapes(root):
    links = {link.get("name") for link in root.findall("link")}
    children = [j.find("child").get("link") for j in root.findall("joint")]
    assert len(children) == len(set(children))
    assert links - set(children) == {"base_link"}
    assert not root.findall(".//mesh")


def test_each_camera_of_the_robot_has_an_optical_frame_and_a_field_of_view(root, bimanual):
    sensors = {g.get("reference"): g.findtext("sensor/camera/horizontal_fov") for g in root.findall("gazebo")}
    for camera in bimanual.cameras:
        assert 0.3 < float(sensors[f"{camera.name}_camera_optical_frame"]) < 2.0
