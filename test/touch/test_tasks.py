from __future__ import annotations

import numpy as np
import pytest

from pi0_ros.sim.robot import Touch
from pi0_ros.sim.scene import REGION_X, REGION_Y, Scene
from pi0_ros.sim.tasks import make_task
from pi0_ros.sim.world import BLOCK_TOP, COLOURS, SIDES
from pi0_ros.touch.operator import Operator
from pi0_ros.touch.tasks import next_subtask, parse_subtask, subtask_text
from pi0_ros.touch.words import DONE


def follow(sim, operator, subtask, seconds, until=lambda: False):
    end = sim.time + seconds
    while sim.time < end and not until():
        sim.set_command(sim.robot.channel_names, operator.act(subtask))
        sim.advance(0.02)


def start(sim, task, seed=3):
    task.reset(sim, seed)
    operator = Operator(sim.robot, sim)
    return operator


def test_reach_succeeds_by_a_contact_of_the_named_gripper_with_the_named_block(sim):
    task = make_task("reach")
    operator = start(sim, task)
    follow(sim, operator, task.instruction, 8.0, lambda: bool(sim.touches))
    assert task.success(sim) and not task.failed(sim) and task.progress(sim) == (1, 1)
    assert sim.touches[0].colour in sim.lit


def test_hovering_is_not_touching(sim):
    task = make_task("reach")
    operator = start(sim, task)
    above = sim.block_positions[task.colour] + (0, 0, 0.01)
    command = operator.arms.solve(task.side, above, operator.command)
    names = [c for c in sim.robot.channel_names if not c.startswith("base")]
    sim.load(Scene(sim.scene.blocks, sim.scene.lit, sim.scene.base,
                   {c: command[sim.robot.index[c]] for c in names}))  # fmt: skip
    sim.advance(0.5)
    assert not sim.touches and not task.success(sim)


def test_a_painted_lamp_is_not_a_touch(sim):
    task = make_task("reach")
    start(sim, task)
    sim.lit.add(task.colour)
    assert not task.success(sim)


def test_reach_fails_when_another_block_is_touched_first(sim):
    task = make_task("reach")
    operator = start(sim, task)
    other = next(c for c in COLOURS if c != task.colour)
    follow(sim, operator, subtask_text(other, task.side), 8.0, lambda: bool(sim.touches))
    assert sim.touches[0].colour == other and task.failed(sim)
    follow(sim, operator, task.instruction, 6.0, lambda: any(t.colour == task.colour for t in sim.touches))
    assert any(t.colour == task.colour for t in sim.touches) and not task.success(sim)


def test_reach_fails_when_the_other_arm_touches(sim):
    task = make_task("reach")
    operator = start(sim, task)
    other = next(s for s in SIDES if s != task.side)
    follow(sim, operator, subtask_text(task.colour, other), 8.0, lambda: bool(sim.touches))
    assert sim.touches[0].colour == task.colour and task.failed(sim) and not task.success(sim)


def test_reach_fails_when_time_is_over(sim):
    task = make_task("reach")
    start(sim, task)
    sim.advance(task.time_limit - 0.1)
    assert not task.failed(sim)
    sim.advance(0.2)
    assert task.failed(sim) and not task.success(sim)


def test_a_touch_after_the_time_limit_does_not_count(sim):
    task = make_task("reach")
    start(sim, task)
    sim.touches.append(Touch(task.time_limit + 0.1, task.colour, task.side))
    assert not task.success(sim)


def test_the_target_of_reach_is_never_lit_at_the_start_and_others_sometimes_are(sim):
    task, lit = make_task("reach"), 0
    for seed in range(40):
        task.reset(sim, seed)
        assert task.colour not in sim.lit
        lit += len(sim.lit)
    assert 10 < lit < 60


def test_reach_asks_for_every_block_and_both_arms(sim):
    task = make_task("reach")
    assert {task.reset(sim, seed) for seed in range(80)} == {subtask_text(c, s) for c in COLOURS for s in SIDES}


def test_the_next_subtask_is_the_first_unlit_colour_with_the_arm_on_its_side(sim):
    blocks = {"red": (0.5, 0.2, 0.0), "green": (0.7, -0.1, 0.0), "blue": (0.5, -0.2, 0.0), "yellow": (0.7, 0.1, 0.0)}
    expected = {
        frozenset(): "touch the red block with the left arm",
        frozenset({"red"}): "touch the green block with the right arm",
        frozenset({"red", "green", "blue"}): "touch the yellow block with the left arm",
        frozenset({"green"}): "touch the red block with the left arm",
        frozenset(COLOURS): DONE,
    }
    for lit, text in expected.items():
        sim.load(Scene(blocks, lit))
        assert next_subtask(sim) == text


def test_touch_all_counts_lamps_and_ends_with_all_four(sim):
    task = make_task("touch_all")
    operator = start(sim, task)
    seen = []
    while not task.success(sim) and not task.failed(sim):
        seen.append(task.progress(sim)[0])
        follow(sim, operator, task.subtask(sim), 0.1)
    assert task.success(sim) and task.subtask(sim) == DONE and sorted(set(seen)) == [0, 1, 2, 3]


def test_subtask_words_are_read_back():
    assert parse_subtask("Touch the blue block with the right arm\n") == ("blue", "right")
    assert parse_subtask(DONE) is None and parse_subtask("touch the pink block with the left arm") is None


@pytest.mark.parametrize("side", SIDES)
def test_both_arms_reach_the_whole_region_pointing_down(sim, side):
    operator = Operator(sim.robot, sim)
    for x in np.linspace(*REGION_X, 4):
        for y in np.linspace(*REGION_Y, 5):
            for height in (BLOCK_TOP - 0.005, BLOCK_TOP + 0.09):
                assert operator.arms.solve(side, np.array([x, y, height]), operator.command) is not None, (x, y, height)


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("corner", [(x, y) for x in REGION_X for y in REGION_Y])
def test_both_arms_touch_a_block_in_every_corner_of_the_region(sim, side, corner):
    others = [(x, y) for x in REGION_X for y in REGION_Y if (x, y) != corner]
    places = {"red": (*corner, 0.3), **{c: (*p, 0.0) for c, p in zip(COLOURS[1:], others, strict=True)}}
    sim.load(Scene(places))
    operator = Operator(sim.robot, sim)
    follow(sim, operator, subtask_text("red", side), 6.0, lambda: bool(sim.touches))
    assert [(t.colour, t.side) for t in sim.touches] == [("red", side)]
