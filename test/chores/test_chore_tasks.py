"""Putting blocks into bins: what counts is measured from the physics of blocks that are put somewhere by hand."""

import itertools

import mujoco
import numpy as np
import pytest

pytest.importorskip("mujoco")

from pi0_ros.chores import tasks
from pi0_ros.chores.layout import GAP, HEAVIEST, LIGHTEST, PICK_X, PICK_Y, sample_layout
from pi0_ros.chores.measure import block_pose, block_shape, holders, placed_in, within
from pi0_ros.chores.scenery import BIN_INSIDE, BIN_RIM, RUBBER_ON_WOOD, WOOD_ON_WOOD, bin_centre
from pi0_ros.chores.tasks import PickPlace
from pi0_ros.chores.words import SEEN_PHRASES, UNSEEN_PHRASES, parse_put, put_text
from pi0_ros.robot import load_robot
from pi0_ros.sim.errors import SimError
from pi0_ros.sim.tasks import make_task, robot_before
from pi0_ros.sim.world import COLOURS, SIDES, TABLE_TOP
from pi0_ros.touch.grounding import goal_of

SEEDS = range(100_000_000, 100_000_200)


@pytest.fixture(scope="module")
def sim():
    return robot_before(PickPlace(), load_robot("mobile_bimanual"))


@pytest.fixture
def task(sim):
    """Seed 2: the yellow brick belongs into the right bin."""
    made = make_task("pick_place")
    made.reset(sim, 100_000_002)
    return made


def put(sim, colour, place):
    """Stand a block with its middle at a place, still."""
    at = sim.world.object_qpos[colour]
    sim.data.qpos[at : at + 7] = (*place, 1.0, 0.0, 0.0, 0.0)
    dof = int(sim.model.joint(f"{colour}_free").dofadr[0])
    sim.data.qvel[dof : dof + 6] = 0.0
    mujoco.mj_forward(sim.model, sim.data)


def drop(sim, colour, side, seconds=0.5):
    """Let a block fall from just below the rim into the middle of a bin."""
    put(sim, colour, (*bin_centre(side), BIN_RIM))
    sim.advance(seconds)


def test_words_and_goals_are_the_same_thing():
    for colour, side, phrase in itertools.product(COLOURS, SIDES, (*SEEN_PHRASES, *UNSEEN_PHRASES)):
        text = put_text(colour, side, phrase)
        assert parse_put(text.upper() + ".") == (colour, side), text
        assert goal_of(text, COLOURS, ("base", "left_wrist", "right_wrist")) == (
            COLOURS.index(colour),
            1 + SIDES.index(side),
        )
    for text in (
        "touch the red block with the left arm",
        "put the red block into the bin",
        "the red and blue left bin",
    ):
        assert parse_put(text) is None
    assert not set(SEEN_PHRASES) & set(UNSEEN_PHRASES)


def test_unseen_words_objects_and_places_are_none_of_those_that_are_recorded(sim):
    task = make_task("pick_place")
    task.choose_unseen(["words", "objects", "places"])
    for seed in SEEDS[:12]:
        text = task.reset(sim, seed)
        assert parse_put(text) == (task.colour, task.side)
        assert text not in [put_text(task.colour, task.side, phrase) for phrase in SEEN_PHRASES]
        assert block_pose(sim, task.colour).place[0] > PICK_X[1]
        shapes = [block_shape(sim, colour) for colour in COLOURS]
        assert all(s.size[0] > 0.070 if s.kind == "box" else s.size[2] > 0.048 for s in shapes)
        others = [block_pose(sim, c).place[0] for c in COLOURS if c != task.colour]
        assert max(others) <= PICK_X[1]
    with pytest.raises(SimError, match="nothing unseen is called 'rooms'; there are words, objects, places"):
        task.choose_unseen(["rooms"])
    task.choose_unseen([])
    assert task.reset(sim, SEEDS[0]) == put_text(task.colour, task.side)


def test_the_physics_is_read_once_a_state_however_often_it_is_asked(sim, task, monkeypatch):
    asked = []
    monkeypatch.setattr(tasks, "placed_in", lambda sim, colour: asked.append(colour))
    for _ in range(3):
        assert not task.success(sim) and not task.failed(sim) and task.progress(sim)[1] == 5
    assert asked == list(COLOURS)
    sim.advance(0.01)
    task.success(sim)
    assert asked == 2 * list(COLOURS)


def test_layouts_differ_in_shape_size_colour_and_place_and_leave_room_for_a_hand():
    layouts = [sample_layout(np.random.default_rng(seed)) for seed in SEEDS]
    shapes = [shape for layout in layouts for shape in layout.shapes.values()]
    assert {s.kind for s in shapes} == {"box", "cylinder"} and len({s.size for s in shapes}) == len(shapes)
    assert min(s.mass for s in shapes) >= LIGHTEST and max(s.mass for s in shapes) <= HEAVIEST
    for layout in layouts:
        places = np.array(list(layout.scene.objects.values()))
        assert (places[:, 0] >= PICK_X[0]).all() and (places[:, 0] <= PICK_X[1]).all()
        assert (np.abs(places[:, 1]) <= PICK_Y[1]).all()
        apart = np.linalg.norm(places[:, None, :2] - places[None, :, :2], axis=-1)
        assert apart[np.triu_indices(4, 1)].min() >= GAP


def test_every_block_and_bin_is_asked_for_and_a_seed_gives_the_same_start(sim, task):
    goals = set()
    for seed in SEEDS[:60]:
        goals.add(parse_put(task.reset(sim, seed)))
    assert goals == {(c, s) for c in COLOURS for s in SIDES}
    task.reset(sim, 100_000_007)
    first = sim.data.qpos.copy()
    task.reset(sim, 100_000_008)
    assert not np.array_equal(first, sim.data.qpos)
    task.reset(sim, 100_000_007)
    assert np.array_equal(first, sim.data.qpos)


def test_blocks_have_the_shape_mass_and_inertia_of_their_layout(sim):
    layout = sample_layout(np.random.default_rng(3))
    layout.load(sim)
    for colour, shape in layout.shapes.items():
        found = block_shape(sim, colour)
        assert found.kind == shape.kind and found.size == pytest.approx(shape.size) and found.mass == shape.mass
        x, y, _ = shape.size
        about_z = shape.mass * ((x * x + y * y) / 12 if shape.kind == "box" else (x / 2) ** 2 / 2)
        assert sim.model.body(f"{colour}_body").inertia[2] == pytest.approx(about_z)


def test_blocks_stand_still_on_the_table_and_nothing_holds_them_but_contact(sim, task):
    assert (sim.model.eq_type == mujoco.mjtEq.mjEQ_JOINT).all(), "equalities couple fingers, and weld nothing"
    before = {c: block_pose(sim, c).place for c in COLOURS}
    sim.advance(1.0)
    for colour in COLOURS:
        moved = np.linalg.norm(block_pose(sim, colour).place - before[colour])
        assert moved < 5e-4, f"the {colour} block crept {moved * 1e3:.2f} mm"
        assert placed_in(sim, colour) is None and not holders(sim, colour)


@pytest.mark.parametrize(("slope", "slides"), [(0.40, False), (0.50, True)])
def test_a_block_slides_on_wood_beyond_the_friction_of_wood(sim, task, slope, slides):
    """Gravity is tilted: tan of the slope against the coefficient, 0.45."""
    sim.model.opt.gravity[:] = (0.0, -9.81 * np.sin(np.arctan(slope)), -9.81 * np.cos(np.arctan(slope)))
    try:
        at = block_pose(sim, task.colour).place
        put(sim, task.colour, (0.45, 0.0, at[2]))
        sim.advance(0.4)
        moved = 0.0 - block_pose(sim, task.colour).place[1]
    finally:
        sim.model.opt.gravity[:] = (0.0, 0.0, -9.81)
    assert bool(moved > 0.01) is slides and WOOD_ON_WOOD[0] == 0.45 and RUBBER_ON_WOOD[0] == 0.85


def test_the_named_block_at_rest_in_the_named_bin_is_success_with_all_points(sim, task):
    assert task.instruction == "put the yellow block into the right bin" and task.progress(sim) == (0, 5)
    drop(sim, "yellow", "right")
    assert task.success(sim) and not task.failed(sim) and task.progress(sim) == (5, 5)
    assert within(block_pose(sim, "yellow").place, "right") and not within(block_pose(sim, "yellow").place, "left")


def test_a_block_that_still_falls_is_not_placed(sim, task):
    drop(sim, "yellow", "right", seconds=0.05)
    assert within(block_pose(sim, "yellow").place, "right") and not task.success(sim)


@pytest.mark.parametrize(("colour", "side"), [("yellow", "left"), ("red", "right"), ("green", "left")])
def test_another_block_or_another_bin_fails(sim, task, colour, side):
    drop(sim, colour, side)
    assert task.failed(sim) and not task.success(sim) and task.progress(sim)[0] < 5


def test_a_block_beside_the_bin_on_its_rim_or_on_the_floor_is_not_placed(sim, task):
    x, y = bin_centre("right")
    put(sim, "yellow", (x - BIN_INSIDE[0] / 2 - 0.05, y, TABLE_TOP + 0.03))
    sim.advance(0.5)
    assert not task.success(sim) and not task.failed(sim)
    put(sim, "yellow", (0.3, -0.9, 0.5))
    assert task.failed(sim), "it fell off the table"


def test_time_runs_out(sim, task):
    sim.data.time = task.time_limit - 0.01
    assert not task.failed(sim)
    sim.data.time = task.time_limit
    assert task.failed(sim)


def test_the_old_tasks_have_their_blocks_with_lamps_and_no_bins(sim):
    old = robot_before(make_task("reach"), load_robot("mobile_bimanual"))
    assert set(old.block_positions) == set(COLOURS) and not sim.block_positions
    assert (
        old.model.opt.cone == mujoco.mjtCone.mjCONE_PYRAMIDAL and sim.model.opt.cone == mujoco.mjtCone.mjCONE_ELLIPTIC
    )
    with pytest.raises(KeyError):
        old.model.geom("left_bin_floor")
