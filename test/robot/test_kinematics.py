"""Where the ends of the arms are, against a physics engine that reads the same URDF."""

import numpy as np
import pytest

from pi0_ros.robot import RobotError, load_robot
from pi0_ros.robot.kinematics import chain_to, chains, read_segments


def joints_of(robot, seed):
    """One random row for every joint that a channel measures."""
    rng = np.random.default_rng(seed)
    limits = {c.name: c.limits for c in robot.channels}
    return {
        joint: rng.uniform(max(limits[name].lower, -3.0), min(limits[name].upper, 3.0), 1)
        for name, joint in robot.joint_of_channel.items()
    }


def test_an_arm_ends_where_the_physics_engine_says_its_fingers_sit():
    mujoco = pytest.importorskip("mujoco")
    from pi0_ros.sim.robot import SimRobot

    robot = load_robot("mobile_bimanual")
    sim, found = SimRobot(robot), chains(robot)
    base = sim.data.body("base_link")
    for seed in range(5):
        joints = joints_of(robot, seed)
        fingers = {g.gripper.joint for g in robot.groups if g.gripper is not None}
        for joint, value in joints.items():
            # Open fingers have left the place where they sit.
            sim.data.joint(joint).qpos[0] = 0.0 if joint in fingers else value[0]
        mujoco.mj_kinematics(sim.model, sim.data)
        joints = {joint: np.zeros(1) if joint in fingers else value for joint, value in joints.items()}
        for side in ("left", "right"):
            there = base.xmat.reshape(3, 3).T @ (sim.data.body(f"{side}_finger1").xpos - base.xpos)
            np.testing.assert_allclose(found[f"{side}_arm"].points(joints)[0], there, atol=1e-6)


def test_many_rows_are_the_rows_one_by_one():
    robot = load_robot("aloha")
    rows = [joints_of(robot, seed) for seed in range(4)]
    together = {joint: np.concatenate([row[joint] for row in rows]) for joint in rows[0]}
    for chain in chains(robot).values():
        np.testing.assert_allclose(chain.points(together), np.concatenate([chain.points(row) for row in rows]))


def test_every_group_of_joints_has_an_end_and_a_base_that_rolls_has_none():
    assert set(chains(load_robot("mobile_bimanual"))) == {"left_arm", "right_arm", "lift"}
    assert set(chains(load_robot("aloha"))) == {"left_arm", "right_arm"}


def test_raising_the_lift_raises_both_hands_by_as_much():
    robot = load_robot("mobile_bimanual")
    joints = joints_of(robot, 0)
    high = joints | {"lift": joints["lift"] + 0.1}
    for side in ("left_arm", "right_arm"):
        chain = chains(robot)[side]
        np.testing.assert_allclose(chain.points(high) - chain.points(joints), [[0.0, 0.0, 0.1]], atol=1e-12)


def test_a_joint_that_the_urdf_does_not_have_is_named():
    segments = read_segments(load_robot("aloha").urdf)
    with pytest.raises(RobotError, match="knee"):
        chain_to(segments, "knee")


def test_a_urdf_with_numbers_that_are_none_is_named(tmp_path):
    file = tmp_path / "bad.urdf"
    file.write_text('<robot name="r"><joint name="j" type="fixed"><origin xyz="0 zero 0"/></joint></robot>')
    with pytest.raises(RobotError, match=r"bad\.urdf"):
        read_segments(file)
