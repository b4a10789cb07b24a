"""Driving to a table in the simulation: what counts is measured from the physics of a base that is put somewhere by hand."""

import mujoco
import numpy as np
import pytest

pytest.importorskip("mujoco")

from pi0_ros.chores.drive_task import DriveTo
from pi0_ros.chores.measure import block_pose, touching
from pi0_ros.chores.plane import PlanarPose
from pi0_ros.chores.room import LOOKS, OBJECTS, SHELF_TOP, base_pose, look_of, place_of
from pi0_ros.chores.room_measure import CLOSE, STILL, STILL_TURNING, TURNED, stands_before
from pi0_ros.chores.room_operator import RoomOperator
from pi0_ros.chores.room_words import SEEN_DRIVES, drive_text, parse_drive
from pi0_ros.chores.scenery import BIN_RIM
from pi0_ros.robot import load_robot
from pi0_ros.sim.tasks import make_task, robot_before
from pi0_ros.sim.world import BASE_JOINTS, TABLE_TOP

FIRST = 100_000_000


@pytest.fixture(scope="module")
def sim():
    return robot_before(DriveTo(), load_robot("mobile_bimanual"))


@pytest.fixture
def task(sim):
    """A start before the left table, from which it has to drive to the right one."""
    made = make_task("drive_to")
    seed = next(
        s for s in range(FIRST, FIRST + 99) if made.reset(sim, s) == "drive to the right table" and begins_left(sim)
    )
    made.reset(sim, seed)
    return made


def begins_left(sim):
    off = place_of(sim, "left").local(base_pose(sim))
    return abs(off.x) < 0.05 and abs(off.y) < 0.05


def stand(sim, side, x=0.0, y=0.0, yaw=0.0, speed=0.0):
    """Put the base near its place before a table, in the table's frame."""
    place = place_of(sim, side)
    px, py, _ = place.point((x, y, 0.0))
    for joint, value in zip(BASE_JOINTS, (px, py, place.yaw + yaw), strict=True):
        sim.data.qpos[sim.world.qpos[joint]] = value
        sim.data.qvel[sim.world.dof[joint]] = 0.0
    sim.data.qvel[sim.world.dof["base_x"]] = speed
    mujoco.mj_forward(sim.model, sim.data)


def test_standing_is_bounded_in_place_angle_and_motion():
    place, rest = PlanarPose(1.0, 2.0, 0.5), (0.0, 0.0)

    def stands(x=0.0, y=0.0, yaw=0.0, twist=rest):
        px, py, _ = place.point((x, y, 0.0))
        return stands_before(PlanarPose(float(px), float(py), place.yaw + yaw), twist, place)

    for share, expected in ((0.98, True), (1.02, False)):
        for sign in (1, -1):
            assert stands(x=sign * share * CLOSE) is expected and stands(y=sign * share * CLOSE) is expected
            assert stands(yaw=sign * share * TURNED) is expected
        assert stands(twist=(share * STILL, 0.0)) is expected and stands(twist=(0.0, share * STILL_TURNING)) is expected
    assert not stands(x=0.8 * CLOSE, y=0.8 * CLOSE), "the distance counts"


def test_the_start_counts_for_nothing_and_the_named_table_for_everything(sim, task):
    assert not task.success(sim) and not task.failed(sim) and task.progress(sim) == (0, 4)
    stand(sim, "right", x=-0.9)
    assert task.progress(sim) == (1, 4)
    stand(sim, "right", x=-0.4, yaw=0.5)
    assert task.progress(sim) == (2, 4)
    stand(sim, "right", x=-0.4, yaw=-0.3)
    assert task.progress(sim) == (3, 4) and not task.success(sim)
    stand(sim, "right", x=0.02, speed=0.1)
    assert not task.success(sim), "it still moves"
    stand(sim, "right", x=0.02)
    assert task.success(sim) and not task.failed(sim) and task.progress(sim) == (4, 4)
    sim.data.time = task.time_limit
    assert task.success(sim) and not task.failed(sim)
    sim.data.time = task.time_limit + 0.01
    assert not task.success(sim)


def test_the_first_table_before_which_it_stands_decides(sim, task):
    stand(sim, "left", x=-0.3)
    assert not task.failed(sim)
    stand(sim, "left")
    assert task.failed(sim), "it came back"
    stand(sim, "right")
    assert task.failed(sim) and not task.success(sim)


def test_time_and_things_that_fall_end_it(sim, task):
    sim.data.time = task.time_limit - 0.01
    assert not task.failed(sim)
    sim.data.time = task.time_limit
    assert task.failed(sim)
    sim.data.time = 1.0
    assert not task.failed(sim)
    name = next(iter(sim.scene.objects))
    at = sim.world.object_qpos[name]
    sim.data.qpos[at + 2] = SHELF_TOP - 0.01
    mujoco.mj_forward(sim.model, sim.data)
    assert task.failed(sim)


def test_a_table_is_named_by_side_look_and_as_the_other_one(sim):
    task, words = make_task("drive_to"), set()
    for seed in range(FIRST, FIRST + 40):
        text = task.reset(sim, seed)
        looks = {side: look_of(sim, side) for side in ("left", "right")}
        before = next((s for s in looks if place_of(sim, s).local(base_pose(sim)).x > -0.05), "")
        assert parse_drive(text, looks, before) == task.side
        assert task.subtask(sim) == drive_text(task.side)
        words.add(text.split()[3])
    assert words == {"left", "right", "wooden", "white", "other"}
    task.choose_unseen(["words", "objects"])
    for seed in range(FIRST, FIRST + 10):
        text = task.reset(sim, seed)
        assert not any(
            text == drive_text(word, phrase) for word in (*LOOKS, "left", "right", "other") for phrase in SEEN_DRIVES
        )


def test_things_lie_still_on_the_tables_and_those_that_are_not_there_do_nothing(sim, task):
    before = {name: block_pose(sim, name).place for name in OBJECTS}
    sim.advance(0.3)
    for name in OBJECTS:
        assert np.linalg.norm(block_pose(sim, name).place - before[name]) < 5e-4, name
        there = name in sim.scene.objects
        assert bool(touching(sim, name)) is there
        assert max(sim.model.geom(f"{name}_{form}").rgba[3] for form in ("box", "tube")) == float(there)


def test_the_script_comes_to_rest_before_the_table_and_keeps_what_it_holds(sim, task):
    operator = RoomOperator(sim.robot, sim)
    stand(sim, "right", x=-0.12, y=0.01)
    operator.sync()
    grip = sim.robot.index["left_gripper"]
    operator.command[grip] = 0.3
    sim.data.qpos[[sim.world.qpos[f"left_{finger}_joint"] for finger in ("finger", "finger2")]] = 0.02  # around 4 cm
    assert operator.act(task.instruction)[grip] < 0.3, "it presses on"
    operator.sync()
    plan = operator.plan(task.instruction, 12, 0.1)
    assert np.array_equal(plan[0], operator.act(task.instruction))
    operator.sync()
    while not task.success(sim) and sim.time < 3.0:
        sim.set_command(sim.robot.channel_names, operator.act(task.instruction))
        sim.advance(operator.period)
    assert task.success(sim)
    planned = plan[:, sim.robot.index["base_vx"]]
    assert planned.max() > 0.1 and abs(planned[-1]) < 0.05, "the plan slows down there too"
    assert not np.any(operator.plan("good morning", 12, 0.1)[-1, -4:-1]), "what names no table brings it to rest"


def test_the_base_waits_for_a_hand_that_is_low_over_a_table(sim, task):
    operator = RoomOperator(sim.robot, sim)
    stand(sim, "left")
    operator.sync()
    tip = place_of(sim, "left").point((0.55, 0.2, TABLE_TOP + 0.04))
    operator.set_command(operator.arms.solve("left", tip, operator.command))
    plan = operator.plan(task.instruction, 12, 0.1)
    heights = []
    for row in plan:
        operator.arms.place(row)
        heights.append(operator.arms.tip("left")[2])
    wheels = np.abs(plan[:, [sim.robot.index[name] for name in ("base_vx", "base_vy", "base_wz")]]).max(axis=1)
    low = np.array(heights) < BIN_RIM + 0.05
    assert low[0] and not wheels[low].any()
    assert not low[-1] and wheels[-1] > 0.1, "it goes once the hand is over the bins"


def test_a_base_goes_on_from_the_velocity_that_it_is_commanded(sim, task):
    operator = RoomOperator(sim.robot, sim)
    command = operator.command.copy()
    wheels = [sim.robot.index[name] for name in ("base_vx", "base_vy", "base_wz")]
    command[wheels] = (-0.2, 0.1, -0.3)
    operator.set_command(command)
    step = np.array([0.6, 0.6, 1.4]) * operator.period
    assert (np.abs(operator.act(task.instruction)[wheels] - command[wheels]) <= step + 1e-9).all()
