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


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("lihgt: 0.5", "unknown key 'lihgt'; there are cameras, light"),
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
