"""Mirroring and exchanging colours: applied to the simulator's own pictures they give what the simulator draws."""

from __future__ import annotations

import numpy as np
import pytest

from pi0_ros.train.symmetry import (
    COLOURS,
    Change,
    changed_grounding,
    changed_labels,
    changed_pictures,
    changed_text,
    changed_vector,
    ordered_target,
)
from pi0_ros.train.vision import Labels

CAMERAS = ("base", "left_wrist", "right_wrist")
EXCHANGE = (1, 2, 3, 0)


@pytest.fixture(scope="module")
def sim():
    pytest.importorskip("mujoco", reason="the simulator is not installed")
    from pi0_ros.robot import load_robot
    from pi0_ros.sim.robot import SimRobot

    robot = SimRobot(load_robot("mobile_bimanual"))
    yield robot
    robot.close()


@pytest.fixture(scope="module")
def scene(sim):
    from pi0_ros.sim.scene import sample_scene

    return sample_scene(np.random.default_rng(3), 0.4)


def drawn(sim, scene) -> np.ndarray:
    sim.load(scene)
    return np.stack([sim.render(c, 96) for c in CAMERAS])


def test_a_mirrored_picture_is_the_picture_of_the_mirrored_scene(sim, scene):
    names = sim.robot.channel_names
    start = changed_vector(np.array([scene.start.get(c, 0.0) for c in names]), names, Change(True))
    blocks = {c: (x, -y, -yaw) for c, (x, y, yaw) in scene.blocks.items()}
    there = {c: float(v) for c, v in zip(names, start, strict=True) if c in scene.start}
    mirrored = type(scene)(blocks, scene.lit, (scene.base[0], -scene.base[1], -scene.base[2]), there)
    made = changed_pictures(drawn(sim, scene), CAMERAS, Change(True)).astype(int)
    assert np.abs(made - drawn(sim, mirrored)).mean() < 1.0


def test_an_exchange_of_colours_is_the_picture_of_the_exchanged_scene(sim, scene):
    names = list(COLOURS)
    blocks = {names[EXCHANGE[k]]: scene.blocks[names[k]] for k in range(4)}
    lit = frozenset(names[EXCHANGE[names.index(c)]] for c in scene.lit)
    wanted = drawn(sim, type(scene)(blocks, lit, scene.base, scene.start))
    made = changed_pictures(drawn(sim, scene), CAMERAS, Change(False, EXCHANGE)).astype(int)
    assert np.abs(made - wanted).mean() < 0.2


def test_words_follow_the_picture():
    text = "touch the red block with the left arm"
    assert changed_text(text, Change(True, EXCHANGE)) == "touch the green block with the right arm"
    assert changed_text(text, Change()) == text


def test_mirroring_twice_changes_nothing():
    channels = ("left_joint1", "left_joint2", "right_joint1", "right_joint2", "base_vx", "base_wz", "lift")
    values = np.arange(7.0) + 1
    once = changed_vector(values, channels, Change(True))
    assert once.tolist() == [-3, 4, -1, 2, 5, -6, 7]
    assert np.array_equal(changed_vector(once, channels, Change(True)), values)
    numbers = np.arange(4, 4 + 19 * 8, 8).astype(np.int16)
    assert np.array_equal(changed_grounding(changed_grounding(numbers, Change(True)), Change(True)), numbers)


def test_places_and_lamps_move_to_the_new_colour():
    numbers = np.arange(19).astype(np.int16)
    changed = changed_grounding(numbers, Change(False, EXCHANGE))
    assert changed[9:11].tolist() == numbers[7:9].tolist() and changed[16] == numbers[15]
    place, known = np.random.default_rng(0).random((1, 3, 4, 2)), np.zeros((1, 3, 4), bool)
    known[0, 1, 0] = True
    labels = Labels(place, known, np.array([[1, 0, 0, 0]]), np.array([0]), np.array([[0.6, 0.7, 0.4]]))
    moved = changed_labels(labels, 0, CAMERAS, Change(True, EXCHANGE))
    assert moved.known[2, 1] and moved.known.sum() == 1 and moved.lit.tolist() == [0, 1, 0, 0]
    assert np.isclose(moved.place[2, 1, 1], 1 - place[0, 1, 0, 1])
    assert moved.named == 1 and np.allclose(moved.way, (0.6, 0.3, 0.4))


def test_the_next_target_is_the_first_colour_unlit_with_the_arm_of_its_side():
    numbers = np.full(19, 100, np.int16)
    numbers[15:19] = (1020, 4, 1020, 4)
    numbers[10] = 900  # green lies on the right
    assert ordered_target(numbers) == "touch the green block with the right arm"
    assert ordered_target(numbers, (3, 0, 1, 2)) == "touch the red block with the right arm"
    numbers[10] = 520
    assert ordered_target(numbers) is None
    numbers[15:19] = 1020
    assert ordered_target(numbers) == "done"
