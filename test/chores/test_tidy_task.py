"""Putting things away in the simulation: what counts is measured from the physics, and the script does it by contact alone."""

import mujoco
import numpy as np
import pytest

pytest.importorskip("mujoco")

from pi0_ros.chores.measure import block_shape, holders
from pi0_ros.chores.room import SHELF_TOP, SPOTS, place_of
from pi0_ros.chores.room_layout import sample_room_layout
from pi0_ros.chores.room_measure import RAISED, things_in, whereabouts
from pi0_ros.chores.room_operator import LIFT_DOWN, RoomOperator, RoomPlanner
from pi0_ros.chores.room_words import Wish, parse_wish, wish_text
from pi0_ros.chores.scenery import BIN_FLOOR
from pi0_ros.chores.tidy_task import Tidy
from pi0_ros.policy import Observation
from pi0_ros.robot import load_robot
from pi0_ros.sim.scene import HOME
from pi0_ros.sim.tasks import make_task, robot_before
from pi0_ros.sim.world import BASE_JOINTS, TABLE_TOP

FIRST = 100_000_000


@pytest.fixture(scope="module")
def sim():
    return robot_before(Tidy(), load_robot("mobile_bimanual"))


def begin(sim, wish, base="left"):
    """A room with one thing on either table, and the robot before the table of that name."""
    task = make_task("tidy")
    task.reset(sim, FIRST)
    task.wish = wish
    layout = next(
        found for found in (sample_room_layout(np.random.default_rng(seed)) for seed in range(99)) if len(found.on) == 2
    )
    layout.load(sim)
    place = layout.room.places[base]
    for joint, value in zip(BASE_JOINTS, (place.x, place.y, place.yaw), strict=True):
        sim.data.qpos[sim.world.qpos[joint]] = value
    mujoco.mj_forward(sim.model, sim.data)
    names = {side: name for name, side in layout.on.items()}
    return task, names["left"], names["right"]


def put(sim, name, side, spot, height=0.0):
    """Stand a thing at a spot (x, y) of a table, so far above its top."""
    z = TABLE_TOP + height + block_shape(sim, name).size[2] / 2
    at = sim.world.object_qpos[name]
    sim.data.qpos[at : at + 7] = (*place_of(sim, side).point((*spot, z)), 1.0, 0.0, 0.0, 0.0)
    dof = int(sim.model.joint(f"{name}_free").dofadr[0])
    sim.data.qvel[dof : dof + 6] = 0.0
    mujoco.mj_forward(sim.model, sim.data)


def bin_it(sim, name, side, spot=0):
    put(sim, name, side, SPOTS[spot], BIN_FLOOR + 0.001)
    sim.advance(0.1)


def test_things_in_bins_are_away_and_points_are_of_each_thing(sim):
    task, one, other = begin(sim, Wish())
    sim.advance(0.05)
    assert task.progress(sim) == (1, 8) and not task.success(sim), "it stands before the first one"
    bin_it(sim, one, "left")
    assert task.progress(sim) == (4, 8) and not task.success(sim) and not task.failed(sim)
    assert task.subtask(sim) == "drive to the right table"
    bin_it(sim, other, "left", spot=5)
    assert task.progress(sim) == (8, 8) and task.success(sim) and task.subtask(sim) == "done"
    sim.data.time = task.time_limit + 0.01
    assert not task.success(sim) and task.failed(sim)


def test_a_thing_that_is_not_asked_for_must_not_be_put_away(sim):
    task, one, other = begin(sim, Wish(colour="none"))
    task.wish = Wish(colour=one.partition("_")[0])
    assert one.partition("_")[0] != other.partition("_")[0], "the room has two colours"
    bin_it(sim, one, "right")
    assert task.success(sim)
    bin_it(sim, other, "right", spot=4)
    assert task.failed(sim) and not task.success(sim)


def test_bringing_counts_on_the_table_or_in_its_bin(sim):
    task, _, other = begin(sim, Wish(table="left"))
    assert task.progress(sim)[1] == 4, "what is there already gives no points"
    bin_it(sim, other, "right")
    assert not task.success(sim) and not task.failed(sim)
    put(sim, other, "left", (0.45, -0.3))
    sim.advance(0.05)
    assert task.success(sim)


def test_a_thing_on_the_floor_is_lost(sim):
    task, one, _ = begin(sim, Wish())
    assert not task.failed(sim)
    put(sim, one, "left", (-0.5, 0.0), -TABLE_TOP)
    assert task.failed(sim) and whereabouts(sim)[one].table == ""


def test_time_runs_out(sim):
    task, *_ = begin(sim, Wish())
    sim.data.time = task.time_limit - 0.01
    assert not task.failed(sim)
    sim.data.time = task.time_limit
    assert task.failed(sim)


def test_all_wishes_are_drawn_and_something_is_always_left_to_do(sim):
    task, kinds = make_task("tidy"), set()
    for seed in range(FIRST, FIRST + 30):
        text = task.reset(sim, seed)
        assert parse_wish(text) == task.wish and wish_text(task.wish) == text
        kinds.add((bool(task.wish.colour), task.wish.table))
        assert task.subtask(sim) != "done" and not task.success(sim) and len(things_in(sim)) >= 2
    assert kinds == {(False, ""), (True, ""), (False, "left"), (False, "right")}
    task.choose_unseen(["words"])
    text = task.reset(sim, FIRST)
    assert parse_wish(text) == task.wish and text != wish_text(task.wish)


def test_the_script_takes_a_thing_by_friction_and_puts_it_into_the_bin_of_a_table_that_is_turned(sim):
    task, one, _ = begin(sim, Wish())
    operator = RoomOperator(sim.robot, sim)
    operator.sync()
    put(sim, one, "left", place_of(sim, "left").local_point(operator.fingertips()["left"])[:2] + (0.02, -0.02))
    said = []
    while not whereabouts(sim)[one].binned and sim.time < 9.0:
        text = task.subtask(sim)
        said += [text] if text not in said else []
        for _ in range(5):
            sim.set_command(sim.robot.channel_names, operator.act(text))
            sim.advance(operator.period)
        if said[-1] == "put it into the bin":
            break
    there = whereabouts(sim)[one]
    assert there.held == "left" and holders(sim, one) == {"left"}
    low = sim.data.body(f"{one}_body").xpos[2] - min(block_shape(sim, one).size) / 2
    assert low > TABLE_TOP + RAISED
    assert said == [f"pick up the {one.replace('_', ' ')} with the left arm", "put it into the bin"]
    plan = operator.plan(said[-1], 40, 0.1)
    grip = sim.robot.index["left_gripper"]
    assert plan[0, grip] < 0.7 and plan[-1, grip] > 0.9, "the plan lets go over the bin"
    driving = operator.plan("drive to the right table", 20, 0.1)
    assert driving[-1, grip] < 0.7, "a hand that holds something goes on holding it"


def test_the_lift_goes_down_before_the_shelf_and_up_with_what_is_held(sim):
    _, one, _ = begin(sim, Wish(), base="shelf")
    put(sim, one, "shelf", (0.55, 0.2), SHELF_TOP - TABLE_TOP)
    there = whereabouts(sim)[one]
    assert (there.table, there.held, there.binned) == ("shelf", "", False) and there.left == pytest.approx(0.2)
    operator = RoomOperator(sim.robot, sim)
    operator.sync()
    lift, text = sim.robot.index["lift"], f"pick up the {one.replace('_', ' ')} with the left arm"
    start, reach = operator.command[lift], []
    plan = operator.plan(text, 60, 0.1)
    for row in plan:
        operator.arms.place(row)
        reach.append(operator.arms.tip("left").copy())
    low = np.array(reach)[:, 2] < 0.6
    assert plan[-1, lift] < 0.03 and start > 0.1 and (plan[low, lift] < 0.05).all(), "the arm waits for the lift"
    place = sim.data.body(f"{one}_body").xpos
    assert np.linalg.norm(reach[-1][:2] - place[:2]) < 0.015 and reach[-1][2] < SHELF_TOP + 0.03
    assert plan[-1, sim.robot.index["left_gripper"]] < 0.7, "it closes there"
    assert operator.plan("put it into the bin", 30, 0.1)[-1, lift] > 0.1


def test_no_hand_gets_down_to_the_shelf_while_the_lift_is_at_home(sim):
    begin(sim, Wish(), base="shelf")
    arms, place = RoomOperator(sim.robot, sim).arms, place_of(sim, "shelf")
    command = np.array([HOME.get(name, 0.0) for name in sim.robot.channel_names])
    tip = place.point((0.55, 0.1, SHELF_TOP + 0.03))
    assert arms.solve("left", tip, command, rounds=100) is None
    command[sim.robot.index["lift"]] = LIFT_DOWN
    assert arms.solve("left", tip, command, rounds=100) is not None


def test_the_script_is_its_own_high_level(sim):
    begin(sim, Wish())
    planner, nothing = RoomPlanner(sim), Observation(0.0, {}, sim.measured(), "", {})
    assert planner.subtask(nothing, "tidy up").startswith("pick up the")
    assert planner.subtask(nothing, "drive to the left table") == "drive to the left table"
    assert planner.finished == ("done",)
