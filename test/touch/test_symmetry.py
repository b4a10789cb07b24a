"""Mirroring and exchanging colours: applied to the simulator's own pictures they give what the simulator draws."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pi0_ros.policy.adapter_reading import load_adapter
from pi0_ros.touch.grounding import grounding_of
from pi0_ros.touch.symmetry import (
    COLOURS,
    Change,
    changed_grounding,
    changed_pictures,
    changed_row,
    changed_text,
    changed_vector,
    check_two_sided,
    ordered_target,
)
from pi0_ros.touch.vision import labels_of
from pi0_ros.train.errors import TrainError
from pi0_ros.train.hooks import Purpose, Row

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
    known = grounding_of(np.arange(4, 4 + 35 * 8, 8))
    twice = changed_grounding(changed_grounding(known, CAMERAS, Change(True)), CAMERAS, Change(True))
    assert np.array_equal(twice.numbers(), known.numbers())


def row(numbers, task="touch the red block with the left arm", target="") -> Row:
    """A moment of which only words and places matter."""
    channels = load_adapter("mobile_bimanual").action_channels
    values = np.arange(len(channels), dtype=float)
    pictures = np.zeros((3, 8, 8, 3), np.uint8)
    facts = np.asarray(numbers, np.int16)
    return Row(pictures, CAMERAS, values, values[None], channels, task, "touch every block", target, facts)


def test_places_and_lamps_move_to_the_new_colour():
    numbers = np.arange(19)
    changed = changed_grounding(grounding_of(numbers), CAMERAS, Change(False, EXCHANGE)).numbers()
    assert changed[9:11].tolist() == [7, 8] and changed[16] == 15


def test_a_camera_that_gave_no_picture_changes_sides_with_it():
    seen = replace(row(np.arange(19)), present=np.array([True, False, True]))
    assert changed_row(seen, Change(True), Purpose.ACT).present.tolist() == [True, True, False]
    assert changed_row(seen, Change(False, EXCHANGE), Purpose.ACT).present.tolist() == [True, False, True]
    assert changed_row(row(np.arange(19)), Change(True), Purpose.ACT).present is None


def test_labels_of_a_changed_scene_are_where_its_objects_are():
    numbers = np.r_[100, 200, 300, 400, 614, 717, 410, [80, 90, 160, 170, 240, 250, 320, 330], 1020, 4, 4, 4]
    before = labels_of(row(numbers), tuple(COLOURS))
    moved = changed_row(row(numbers), Change(True, EXCHANGE), Purpose.ACT)  # red, at the left, is green, at the right
    after = labels_of(moved, tuple(COLOURS))
    assert moved.task == "touch the green block with the right arm"
    assert (before.named, after.named) == (0, 1) and after.lit.tolist() == [0, 1, 0, 0]
    assert before.known[1].tolist() == [True, False, False, False] and before.known[1:].sum() == 1
    assert after.known[2].tolist() == [False, True, False, False] and after.known[1:].sum() == 1
    assert np.allclose(after.place[2, 1], (300 / 1024, 1 - 400 / 1024))
    assert np.allclose(after.place[0, 1], (80 / 1024, 1 - 90 / 1024))
    assert np.allclose(after.way, (614 / 1024, 1 - 717 / 1024, 410 / 1024))


def test_places_in_the_wrists_pictures_change_sides_with_the_pictures():
    numbers = np.r_[np.full(19, 100), np.arange(200, 208), np.arange(300, 308)]
    after = labels_of(changed_row(row(numbers), Change(True), Purpose.ACT), tuple(COLOURS))
    assert np.allclose(after.place[1, 0], (300 / 1024, 1 - 301 / 1024))
    assert np.allclose(after.place[2, 3], (206 / 1024, 1 - 207 / 1024)) and after.known.all()


def test_what_is_told_next_changes_its_colours_only_where_the_rule_knows_it():
    numbers = np.full(19, 100)
    numbers[15:19] = (1020, 4, 1020, 4)  # red and blue are lit
    told = row(numbers, target="touch the green block with the left arm")
    assert (
        changed_row(told, Change(False, (3, 0, 1, 2)), Purpose.TELL).high_target
        == "touch the red block with the left arm"
    )
    other = row(numbers, target="touch the yellow block with the left arm")  # not what the rule says
    assert (
        changed_row(other, Change(True, (3, 0, 1, 2)), Purpose.TELL).high_target
        == "touch the yellow block with the right arm"
    )


def test_words_for_a_thing_that_name_no_colour_keep_the_colours_of_their_scene():
    """ "the tomato" is the red block: in a scene whose red block were blue it would be taught to be any of them."""
    asked = row(np.full(19, 100), task="touch the tomato block with the left arm")
    asked = replace(asked, pictures=np.full((3, 8, 8, 3), (217, 15, 15), np.uint8))  # red
    changed = changed_row(asked, Change(True, EXCHANGE), Purpose.ACT)
    assert changed.task == "touch the tomato block with the right arm"
    assert np.array_equal(changed.pictures, asked.pictures)
    done = changed_row(replace(asked, task="done"), Change(False, EXCHANGE), Purpose.ACT)
    assert (done.pictures[..., 1] > done.pictures[..., 0]).all()  # nothing is asked for, so red may be green


@pytest.mark.parametrize("drawn_colours", [EXCHANGE, (3, 2, 1, 0), (0, 2, 3, 1), (1, 0, 3, 2)])
def test_the_thing_that_unknown_words_mean_keeps_its_colour_and_the_others_exchange_theirs(drawn_colours):
    """The third object is asked for: blue stays blue, and so does its place among the places."""
    places = np.array([[80, 90], [160, 170], [240, 250], [320, 330]])
    asked = row(np.r_[240, 250, 300, 400, 614, 717, 410, places.ravel(), -1, -1, -1, -1], task="touch the cherry block")
    shades = np.round(255 * np.array(list(COLOURS.values()))).astype(np.uint8)
    asked = replace(asked, pictures=np.broadcast_to(shades[None, :, None], (3, 4, 4, 3)).copy())
    changed = changed_row(asked, Change(False, drawn_colours), Purpose.ACT)
    now = [int(np.abs(shades.astype(int) - pixel).sum(-1).argmin()) for pixel in changed.pictures[0, :, 0].astype(int)]
    assert now[2] == 2 and sorted(now) == [0, 1, 2, 3]
    free = [k for k in range(4) if k != 2 and drawn_colours[k] != 2 and drawn_colours[2] != drawn_colours[k]]
    assert [now[k] for k in free] == [drawn_colours[k] for k in free]
    where = grounding_of(changed.facts)
    assert where.target.tolist() == [240, 250]
    for k in range(4):  # the object with the colour it has now
        assert where.blocks[now[k]].tolist() == places[k].tolist()


def test_colours_stay_where_it_is_not_known_which_thing_unknown_words_mean():
    twice = row(np.r_[100, 100, np.full(17, 100)], task="touch the cherry block")
    hidden = row(np.r_[-1, -1, np.full(5, 100), -1, -1, 80, 90, 160, 170, 240, 250, -1, -1, -1, -1], task=twice.task)
    red = np.full((3, 8, 8, 3), (217, 15, 15), np.uint8)
    for asked in (twice, hidden):
        changed = changed_row(replace(asked, pictures=red), Change(False, EXCHANGE), Purpose.ACT)
        assert np.array_equal(changed.pictures, red)


def test_the_object_that_unknown_words_mean_is_where_the_target_lies():
    places = [80, 90, 160, 170, 240, 250, 320, 330]
    numbers = np.r_[240, 250, 300, 400, 614, 717, 410, places, -1, -1, -1, -1]
    asked = row(numbers, task="touch the cherry block with the left arm")
    assert labels_of(asked, tuple(COLOURS)).named == 2
    assert labels_of(row(np.r_[-1, -1, numbers[2:]], task=asked.task), tuple(COLOURS)).named == -1
    hidden = row(np.r_[-1, -1, numbers[2:7], -1, -1, places[2:], -1, -1, -1, -1], task=asked.task)
    assert (
        labels_of(hidden, tuple(COLOURS)).named == -1
    )  # a target and an object that are both not seen are not the same
    assert labels_of(row(numbers), tuple(COLOURS)).named == 0  # words that are known go first


def test_lamps_that_only_words_told_keep_their_objects_when_colours_are_exchanged():
    numbers = np.r_[np.full(15, 100), [-1, -1, -1, -1]]
    told = row(numbers, target="touch the green block with the left arm")  # red is lit, green is not
    lit = labels_of(changed_row(told, Change(False, EXCHANGE), Purpose.ACT), tuple(COLOURS)).lit
    assert labels_of(told, tuple(COLOURS)).lit.tolist() == [1, 0, -1, -1] and lit.tolist() == [-1, 1, 0, -1]


def test_the_next_target_is_the_first_colour_unlit_with_the_arm_of_its_side():
    numbers = np.full(19, 100, np.int16)
    numbers[15:19] = (1020, 4, 1020, 4)
    numbers[10] = 900  # green lies on the right
    assert ordered_target(grounding_of(numbers)) == "touch the green block with the right arm"
    assert ordered_target(grounding_of(numbers), (3, 0, 1, 2)) == "touch the red block with the right arm"
    numbers[10] = 520
    assert ordered_target(grounding_of(numbers)) is None
    numbers[15:19] = 1020
    assert ordered_target(grounding_of(numbers)) == "done"


def test_a_mirror_exchanges_whole_words_in_any_spelling():
    mirror = Change(mirrored=True)
    assert (
        changed_text("Left arm: take the leftmost, left. LEFT!", mirror)
        == "Right arm: take the rightmost, right. RIGHT!"
    )
    assert changed_text("the leftover", mirror) == "the leftover"
    assert changed_text("touch the Red block.", Change(colours=(1, 0, 2, 3))) == "touch the Green block."


def test_symmetry_works_without_places_and_refuses_robots_it_does_not_know():
    assert changed_row(row([]), Change(True, (1, 0, 2, 3)), Purpose.ACT).facts.size == 0
    check_two_sided(load_adapter("mobile_bimanual").action_channels, CAMERAS)
    for channels in (("shoulder", "elbow"), ("left_waist", "right_waist"), ("left_joint1", "left_joint2")):
        with pytest.raises(TrainError, match="--symmetry: how this robot looks in a mirror is not known"):
            check_two_sided(channels, ("base",))


def test_boxes_are_mirrored_with_their_picture_and_called_as_the_changed_scene_is():
    """x0 0.25 and x1 0.5 become 0.5 and 0.75; in 1024 places n becomes 1023 - n."""
    said = "<loc0100><loc0256><loc0300><loc0512> red block ; <loc0000><loc0000><loc0010><loc0100> left lamp"
    told = row(np.full(19, 100), target=f"{said} ; touch the red block with the left arm")
    assert changed_row(told, Change(True), Purpose.TELL).high_target == (
        "<loc0100><loc0511><loc0300><loc0767> red block ; <loc0000><loc0923><loc0010><loc1023> right lamp ; "
        "touch the red block with the right arm"
    )
    assert changed_row(told, Change(False), Purpose.TELL).high_target == told.high_target


def test_boxes_do_not_tell_which_lamps_are_lit():
    numbers = np.r_[np.full(15, 100), [-1, -1, -1, -1]]
    words = "touch the blue block with the left arm"  # red and green are lit
    told = row(numbers, target=f"<loc0100><loc0256><loc0300><loc0512> red block ; {words}")
    changed = changed_row(told, Change(False), Purpose.ACT)
    assert labels_of(changed, tuple(COLOURS)).lit.tolist() == [1, 1, 0, -1]
