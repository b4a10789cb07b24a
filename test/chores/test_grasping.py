"""What the scripted operator decides, from views made by hand: no physics."""

import math
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("mujoco")

from pi0_ros.chores.grasping import GraspSettings, View, choose, decide, grasps
from pi0_ros.chores.scenery import Shape, bin_centre
from pi0_ros.sim.world import TABLE_TOP

BRICK = Shape("box", (0.070, 0.040, 0.032), 0.06)
CUP = Shape("cylinder", (0.044, 0.044, 0.046), 0.05)
SETTINGS = GraspSettings()


def yawed(angle):
    c, s = math.cos(angle), math.sin(angle)
    return np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])


def view(**changes):
    """A hand that hovers half a metre before the left bin, 10 cm beside a brick whose long side points along x."""
    block = np.array([0.50, -0.10, TABLE_TOP + 0.016])
    seen = View(block + (0.0, 0.10, 0.08), math.pi / 2, 0.0, 0.08, 0.08, block, np.eye(3), False)
    return replace(seen, **changes)


def over(**changes):
    """The hand is at the brick, turned so that it opens across the narrow side."""
    at = view().block
    return view(tip=np.array([at[0], at[1], TABLE_TOP + SETTINGS.clear]), **changes)


def test_a_brick_is_taken_across_its_narrow_side_however_it_lies():
    assert [(round(g.angle, 3), g.width, g.half_height) for g in grasps(BRICK, yawed(0.3))] == [
        (round(0.3 + math.pi / 2, 3), 0.040, 0.016)
    ]
    on_its_side = yawed(0.3) @ np.array([[1, 0, 0], [0, 0, -1], [0, 1, 0.0]])
    assert [(g.width, g.half_height) for g in grasps(BRICK, on_its_side)] == [(0.032, 0.020)]


def test_a_cylinder_is_taken_at_any_angle_and_a_lying_one_across():
    (upright,) = grasps(CUP, yawed(1.0))
    assert math.isnan(upright.angle) and upright.width == 0.044
    lying = yawed(0.5) @ np.array([[0, 0, 1], [0, 1, 0], [-1, 0, 0.0]])
    (across,) = grasps(CUP, lying)
    assert abs(math.cos(across.angle - 0.5)) < 1e-9, "it opens across the axis, which points along 0.5 rad"


def test_a_hand_that_is_pushed_up_rises_and_one_that_lags_does_not():
    down = replace(over(), tip=np.array([0.50, -0.12, TABLE_TOP + 0.06]))
    assert decide(replace(down, pressed=0.004), BRICK, "left", SETTINGS).tip[2] < 0.0
    motion = decide(replace(down, pressed=0.012), BRICK, "left", SETTINGS)
    assert motion.tip[2] > 0.05 and motion.tip[:2] == (0.0, 0.0) and motion.grip == 1.0
    both_on_top = replace(down, pressed=0.012, held=True, commanded=0.02, opening=0.02)
    assert decide(both_on_top, BRICK, "left", SETTINGS) == motion, "two fingers on its top hold nothing"
    around = replace(over(), tip=over().tip - (0.0, 0.0, 0.012), pressed=0.012, held=True)
    assert decide(around, BRICK, "left", SETTINGS).grip == 0.0


def test_fingers_that_close_go_on_where_open_ones_would_still_be_moved():
    off = over().tip + (0.006, 0.0, 0.008)
    still_open = decide(replace(over(), tip=off), BRICK, "left", SETTINGS)
    assert still_open.tip[2] < 0.0 and still_open.grip == 1.0
    closing = decide(replace(over(), tip=off, commanded=0.060, opening=0.064), BRICK, "left", SETTINGS)
    assert closing.tip == (0.0, 0.0, 0.0) and closing.grip == 0.0


def test_of_two_ways_to_turn_the_one_with_the_wrist_nearer_its_middle_is_taken():
    seen = view(angle=0.2, wrist=-1.2)
    way, turn = choose(grasps(BRICK, np.eye(3)), seen)
    assert turn == pytest.approx(math.pi / 2 - 0.2 - math.pi) and way.width == 0.040, "clockwise, the wrist to 0.57 rad"
    halfway = view(angle=0.2 - 0.9, wrist=-1.2 + 0.9)
    assert choose(grasps(BRICK, np.eye(3)), halfway)[1] == pytest.approx(turn + 0.9), "and it keeps to that"


def test_a_far_hand_comes_at_hover_height_and_opens():
    motion = decide(view(commanded=0.02, opening=0.02), BRICK, "left", SETTINGS)
    assert motion.tip[1] < -0.1 and abs(motion.tip[0]) < 1e-6 and motion.grip == 1.0


def test_a_hand_that_is_not_turned_to_the_block_does_not_sink():
    at = view().block
    above = view(tip=np.array([at[0], at[1], at[2] + 0.016 + SETTINGS.hover]))
    assert decide(above, BRICK, "left", SETTINGS).tip[2] < -0.1
    assert decide(replace(above, angle=math.pi / 2 - 0.5), BRICK, "left", SETTINGS).tip[2] > -0.01


def test_at_the_block_it_closes_and_stays_until_the_grip_is_firm():
    closing = decide(over(), BRICK, "left", SETTINGS)
    assert closing.grip == 0.0 and closing.tip == (0.0, 0.0, 0.0)
    loose = decide(over(held=True, opening=0.040, commanded=0.035), BRICK, "left", SETTINGS)
    assert loose.grip == 0.0 and loose.tip == (0.0, 0.0, 0.0)
    firm = decide(over(held=True, opening=0.040, commanded=0.010), BRICK, "left", SETTINGS)
    assert firm.grip == 0.0 and firm.tip[2] > 0.1 and math.hypot(*firm.tip[:2]) < 0.01, "up first"


def test_fingers_that_closed_on_nothing_open_and_rise():
    missed = decide(over(opening=0.010, commanded=0.0), BRICK, "left", SETTINGS)
    assert missed.grip == 1.0 and missed.tip[2] > 0.1


def test_a_block_that_was_pushed_aside_is_approached_from_above():
    low = view(tip=view().block + (0.05, 0.0, 0.0))
    motion = decide(low, BRICK, "left", SETTINGS)
    assert motion.tip[2] > 0.1 and math.hypot(*motion.tip[:2]) < 0.01


def in_bin(height, side="left", **changes):
    """The hand with its block over the middle of a bin, the block's underside so high above the floor of the bin."""
    x, y = bin_centre(side)
    block = np.array([x, y, TABLE_TOP + 0.004 + height + 0.016])
    return view(block=block, tip=block + (0.0, 0.0, -0.004), opening=0.040, commanded=0.0, **changes)


def test_over_its_bin_it_sinks_and_lets_go_only_just_above_the_floor():
    assert decide(in_bin(0.10, held=True), BRICK, "left", SETTINGS).tip[2] < -0.1
    deep = decide(in_bin(0.02, held=True), BRICK, "left", SETTINGS)
    assert deep.grip == 0.0 and deep.tip[2] < 0.0
    low = decide(in_bin(0.008, held=True), BRICK, "left", SETTINGS)
    assert low.grip == 1.0 and not low.done and low.tip == (0.0, 0.0, 0.0)
    assert decide(in_bin(0.0, held=False), BRICK, "left", SETTINGS).grip == 1.0
    assert decide(replace(in_bin(0.0), opening=0.07, commanded=0.07), BRICK, "left", SETTINGS).done


def test_the_other_bin_is_not_its_bin():
    motion = decide(in_bin(0.10, "right", held=True), BRICK, "left", SETTINGS)
    assert motion.tip[1] > 0.1 and motion.grip == 0.0
