"""A changed world is the usual one but for what its YAML names."""

from __future__ import annotations

import math

import numpy as np
import pytest

pytest.importorskip("mujoco")

from pi0_ros.sim.changes import CameraShift, WorldChange, load_world
from pi0_ros.sim.errors import SimError
from pi0_ros.sim.robot import SimRobot


@pytest.fixture(scope="module")
def usual(bimanual):
    robot = SimRobot(bimanual, seed=3)
    yield robot
    robot.close()


def axes(sim, camera="base"):
    """Place, and where the picture's right, up and into the picture are, in the world."""
    seen = sim.data.camera(camera)
    right, up, back = seen.xmat.reshape(3, 3).T
    return seen.xpos.copy(), right, up, -back


def changed(bimanual, **shift):
    return SimRobot(bimanual, seed=3, change=WorldChange({"base": CameraShift(**shift)}))


def test_a_camera_moves_along_its_own_axes(usual, bimanual):
    place, right, up, into = axes(usual)
    moved, *_ = axes(changed(bimanual, forward=0.03, left=0.05, up=0.02))
    assert np.allclose(moved, place + 0.03 * into - 0.05 * right + 0.02 * up)


@pytest.mark.parametrize(
    ("shift", "wanted"),
    [
        ({"tilt": 0.1}, lambda right, up, into: math.cos(0.1) * into - math.sin(0.1) * up),
        ({"turn": 0.1}, lambda right, up, into: math.cos(0.1) * into - math.sin(0.1) * right),
    ],
)
def test_tilt_looks_down_and_turn_looks_left(usual, bimanual, shift, wanted):
    _, *before = axes(usual)
    place, _, _, into = axes(changed(bimanual, **shift))
    assert np.allclose(into, wanted(*before)) and np.allclose(place, axes(usual)[0])


def test_roll_turns_the_camera_clockwise(usual, bimanual):
    _, right, up, into = axes(usual)
    _, rolled, _, still = axes(changed(bimanual, roll=0.1))
    assert np.allclose(still, into) and np.allclose(rolled, math.cos(0.1) * right - math.sin(0.1) * up)


def test_less_light_makes_every_picture_darker_and_moves_nothing(usual, bimanual):
    dim = SimRobot(bimanual, seed=3, change=WorldChange(light=0.5))
    bright, dark = usual.render("base", 64).astype(float), dim.render("base", 64).astype(float)
    dim.close()
    assert 0.4 < dark.mean() / bright.mean() < 0.6
    assert all(np.array_equal(a, b) for a, b in zip(axes(usual), axes(dim), strict=True))


def test_a_joint_that_is_off_measures_and_follows_commands_as_if_it_were_not(usual, bimanual):
    off = SimRobot(bimanual, seed=3, change=WorldChange(joints={"left_joint1": 0.05, "right_joint3": -0.02}))
    assert off.measured() == pytest.approx(usual.measured())
    assert off.joint_state()[1] == pytest.approx(usual.joint_state()[1])
    for joint, wanted in (("left_joint1", 0.05), ("right_joint3", -0.02), ("left_joint2", 0.0)):
        at = off.world.qpos[joint]
        assert off.data.qpos[at] - usual.data.qpos[at] == pytest.approx(wanted)
    off.set_command(["left_joint1"], [0.7])
    off.advance(1.5)
    assert off.measured()["left_joint1"] == pytest.approx(0.7, abs=2e-3)
    assert off.data.qpos[off.world.qpos["left_joint1"]] == pytest.approx(0.75, abs=2e-3)
    assert dict(zip(*off.joint_state()[:2], strict=True))["left_joint1"] == pytest.approx(0.7, abs=2e-3)


def test_a_world_is_changed_anew_from_the_usual_one(usual, bimanual):
    robot = SimRobot(bimanual, seed=3, change=WorldChange({"base": CameraShift(up=0.1)}, 0.5, {"lift": 0.01}))
    robot.change_world(WorldChange({"left_wrist": CameraShift(forward=0.02)}))
    robot.reset(3)
    assert np.array_equal(axes(robot)[0], axes(usual)[0])
    assert np.linalg.norm(axes(robot, "left_wrist")[0] - axes(usual, "left_wrist")[0]) == pytest.approx(0.02)
    assert np.array_equal(robot.model.light_diffuse, usual.model.light_diffuse) and not robot.encoder_offset.any()


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("lihgt: 0.5", "unknown key 'lihgt'; there are cameras, light, joints"),
        ("joints: {left_joint1: 0.5}", "joints: left_joint1: 0.5 has to be a number from -0.2 to 0.2"),
        ("light: dark", "light: 'dark' has to be a number from 0 to 3"),
        ("cameras: {base: {yaw: 0.1}}", "cameras: base: unknown key 'yaw'"),
        ("cameras: {base: {tilt: .nan}}", "tilt: nan has to be a number"),
        ("[1]", "has to be a mapping of cameras, light"),
        ("cameras: {", "is not YAML"),
        ("[" * 100_000, "w.yaml:1: is nested more than 40 deep"),
        ("light: 0.5\nlight: 0.7", "given twice"),
    ],
)
def test_a_world_that_cannot_be_meant_is_refused_with_its_key(text, match, tmp_path):
    file = tmp_path / "w.yaml"
    file.write_text(text)
    with pytest.raises(SimError, match=match):
        load_world(str(file))


def test_worlds_have_names_and_an_unknown_one_is_told_which_there_are(bimanual):
    assert load_world("") == WorldChange() and load_world("moved_camera").light < 1.0
    with pytest.raises(SimError, match="no world 'moon'.*moved_camera"):
        load_world("moon")
    with pytest.raises(SimError, match="moves camera 'top', which this robot lacks; it has base"):
        SimRobot(bimanual, change=WorldChange({"top": CameraShift()}))
    for name in ("left_joint7", "left_gripper", "base_vx"):
        with pytest.raises(SimError, match=f"puts joint '{name}' off, which this robot lacks; it has .*left_joint1"):
            SimRobot(bimanual, change=WorldChange(joints={name: 0.01}))
