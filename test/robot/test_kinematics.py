"""Where the ends of the arms are, against a physics engine that reads the same URDF."""

import numpy as np
import pytest

from pi0_ros.robot import RobotError, load_robot
from pi0_ros.robot.kinematics import chains, tree_of
from pi0_ros.robot.urdf import read_urdf


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
    tree = tree_of(read_urdf(load_robot("aloha").urdf))
    with pytest.raises(RobotError, match="knee"):
        tree.chain_to("knee")


YAML = """robot: r
urdf: r.urdf
cameras: {}
state: [{topic: joint_states, type: joint_state, max_age: 0.1}]
groups:
  arm:
    kind: position
    channels: [CHANNELS]
    command: {topic: arm, type: joint_state}
    limits: {source: urdf, acceleration: 1.0}
"""
HAND = """  hand:
    kind: gripper
    channels: [hand]
    joint: {name: finger, closed: 0.0, open: 0.04}
    command: {topic: hand, type: joint_state}
"""
BOUNDS = '<limit lower="-3" upper="3" velocity="1" effort="1"/>'


def joint(name, parent, child, inside="", kind="revolute"):
    limit = "" if kind == "fixed" else BOUNDS
    return f"""<link name="{child}"/><joint name="{name}" type="{kind}"><parent link="{parent}"/>
    <child link="{child}"/>{inside}{limit}</joint>"""


def robot_of(folder, urdf, channels="a, b", hand=False):
    (folder / "r.urdf").write_text(f'<robot name="r"><link name="base"/>{urdf}</robot>')
    (folder / "r.yaml").write_text(YAML.replace("CHANNELS", channels) + (HAND if hand else ""))
    return load_robot(folder / "r.yaml")


def physics_of(folder, values, link):
    """Where MuJoCo puts a link of r.urdf for joint values."""
    mujoco = pytest.importorskip("mujoco")
    text = (folder / "r.urdf").read_text()
    inertia = '<inertial><mass value="1"/><inertia ixx="1" iyy="1" izz="1" ixy="0" ixz="0" iyz="0"/></inertial>'
    text = text.replace('"/><joint', f'">{inertia}</link><joint').replace("<link", "\n<link")
    text = text.replace("</robot>", '<mujoco><compiler fusestatic="false"/></mujoco></robot>')
    model = mujoco.MjModel.from_xml_string(text)
    data = mujoco.MjData(model)
    for name, value in values.items():
        data.joint(name).qpos[0] = value
    mujoco.mj_kinematics(model, data)
    return data.body(link).xpos


def test_roll_pitch_and_yaw_turn_in_the_order_of_the_physics_engine(tmp_path):
    urdf = joint("a", "base", "l1", '<origin xyz="0.1 0.2 0.3" rpy="0.4 -0.7 1.1"/><axis xyz="0 1 0"/>')
    urdf += joint("b", "l1", "l2", '<origin xyz="0.5 -0.1 0.2" rpy="-0.2 0.6 0.3"/><axis xyz="1 2 -1"/>')
    urdf += joint("tip", "l2", "l3", '<origin xyz="0.3 0.4 -0.6" rpy="0.1 0.2 0.3"/>', "fixed")
    urdf += joint("finger", "l3", "f", '<origin xyz="0.01 0.02 0.05"/><axis xyz="0 1 0"/>')
    robot = robot_of(tmp_path, urdf, hand=True)
    values = {"a": 0.8, "b": -1.3}
    ours = chains(robot)["arm"].points({name: np.array([value]) for name, value in values.items()})[0]
    np.testing.assert_allclose(ours, physics_of(tmp_path, values, "f"), atol=1e-9)


def test_a_joint_without_an_axis_turns_about_x(tmp_path):
    urdf = joint("a", "base", "l1") + joint("b", "l1", "l2", '<origin xyz="0 0 1"/>')
    robot = robot_of(tmp_path, urdf)
    ours = chains(robot)["arm"].points({"a": np.array([0.5]), "b": np.zeros(1)})[0]
    np.testing.assert_allclose(ours, (0.0, -np.sin(0.5), np.cos(0.5)), atol=1e-12)
    np.testing.assert_allclose(ours, physics_of(tmp_path, {"a": 0.5}, "l2"), atol=1e-9)


def test_the_arms_end_comes_from_the_tree_and_not_from_the_order_of_the_channels(tmp_path):
    urdf = joint("a", "base", "l1", '<origin xyz="0 0 1"/>') + joint("b", "l1", "l2", '<origin xyz="0 0 2"/>')
    for channels in ("a, b", "b, a"):
        chain = chains(robot_of(tmp_path, urdf, channels))["arm"]
        assert [s.joint for s in chain.segments] == ["a", "b"]


def test_flange_and_adapter_between_arm_and_gripper_belong_to_the_arm(tmp_path):
    urdf = joint("a", "base", "l1") + joint("b", "l1", "l2", '<origin xyz="0 0 1"/>')
    urdf += joint("flange", "l2", "l3", '<origin xyz="0 0 0.1"/>', "fixed")
    urdf += joint("adapter", "l3", "l4", '<origin xyz="0 0 0.02"/>', "fixed")
    urdf += joint("finger", "l4", "f", '<origin xyz="0 0.05 0"/>')
    chain = chains(robot_of(tmp_path, urdf, hand=True))["arm"]
    np.testing.assert_allclose(chain.points({"a": np.zeros(1), "b": np.zeros(1)}), [[0.0, 0.05, 1.12]])


def test_a_gripper_on_another_arm_is_not_this_arms_end(tmp_path):
    urdf = joint("a", "base", "l1") + joint("b", "l1", "l2") + joint("c", "base", "l3") + joint("finger", "l3", "f")
    assert [s.joint for s in chains(robot_of(tmp_path, urdf, hand=True))["arm"].segments] == ["a", "b"]


def test_a_joint_that_mimics_moves_with_the_joint_it_follows(tmp_path):
    mimic = '<axis xyz="0 1 0"/><origin xyz="0 0 1"/><mimic joint="a" multiplier="-2" offset="0.3"/>'
    urdf = joint("a", "base", "l1", '<axis xyz="0 1 0"/>') + joint("follows", "l1", "l2", mimic)
    urdf += joint("b", "l2", "l3", '<origin xyz="0 0 1"/>')
    ours = chains(robot_of(tmp_path, urdf))["arm"].points({"a": np.array([0.4]), "b": np.zeros(1)})[0]
    first, second = 0.4, 0.4 + (-2 * 0.4 + 0.3)
    np.testing.assert_allclose(ours, (np.sin(first) + np.sin(second), 0.0, np.cos(first) + np.cos(second)), atol=1e-12)


def test_a_joint_that_mimics_without_more_is_where_the_other_one_is(tmp_path):
    mimic = '<axis xyz="0 1 0"/><origin xyz="0 0 1"/><mimic joint="a"/>'
    urdf = joint("a", "base", "l1", '<axis xyz="0 1 0"/>') + joint("follows", "l1", "l2", mimic)
    urdf += joint("b", "l2", "l3", '<origin xyz="0 0 1"/>')
    ours = chains(robot_of(tmp_path, urdf))["arm"].points({"a": np.array([0.4]), "b": np.zeros(1)})[0]
    np.testing.assert_allclose(ours, (np.sin(0.4) + np.sin(0.8), 0.0, np.cos(0.4) + np.cos(0.8)), atol=1e-12)


@pytest.mark.parametrize(
    ("urdf", "words"),
    [
        (
            joint("a", "base", "l1", '<origin xyz="0 nan 0"/>') + joint("b", "l1", "l2"),
            "'0 nan 0' are not three numbers",
        ),
        (
            joint("a", "base", "l1", '<origin rpy="inf 0 0"/>') + joint("b", "l1", "l2"),
            "'inf 0 0' are not three numbers",
        ),
        (joint("a", "base", "l1", '<origin xyz="0 zero 0"/>') + joint("b", "l1", "l2"), "joint a cannot be read"),
        (joint("a", "base", "l1", '<origin xyz="0 0"/>') + joint("b", "l1", "l2"), "'0 0' are not three numbers"),
        (joint("a", "base", "l1", '<axis xyz="0 0 0"/>') + joint("b", "l1", "l2"), "its axis has no direction"),
        (joint("a", "l2", "l1") + joint("b", "l1", "l2"), "hangs on itself"),
        (
            joint("a", "base", "l1") + joint("b", "l1", "l2") + joint("c", "base", "l1"),
            "link l1 is the child of a and c",
        ),
        (joint("a", "base", "l1") + joint("b", "", "l2"), "joint b cannot be read: it has no parent link"),
    ],
)
def test_a_urdf_that_is_no_tree_is_refused_when_it_is_loaded(tmp_path, urdf, words):
    with pytest.raises(RobotError, match="r.urdf") as problem:
        robot_of(tmp_path, urdf)
    assert words in str(problem.value)


def test_a_joint_that_never_moves_needs_no_axis(tmp_path):
    urdf = joint("a", "base", "l1") + joint("b", "l1", "l2", '<origin xyz="0 0 1"/>')
    urdf += joint("mount", "l2", "l3", '<origin xyz="0 0 0.5"/><axis xyz="0 0 0"/>', "fixed")
    urdf += joint("finger", "l3", "f", '<origin xyz="0.25 0 0"/>')
    chain = chains(robot_of(tmp_path, urdf, hand=True))["arm"]
    np.testing.assert_allclose(chain.points({"a": np.zeros(3)}), [[0.25, 0.0, 1.5]] * 3)


def test_a_broken_joint_that_no_arm_needs_is_no_error(tmp_path):
    urdf = joint("a", "base", "l1") + joint("b", "l1", "l2") + joint("wheel", "base", "w", '<origin xyz="none"/>')
    assert robot_of(tmp_path, urdf).channel_names == ("a", "b")


def test_a_joint_that_nobody_measures_is_at_zero_and_so_is_what_follows_it(tmp_path):
    mimic = '<axis xyz="0 1 0"/><origin xyz="0 0 1"/><mimic joint="a" multiplier="-2" offset="0.3"/>'
    urdf = joint("a", "base", "l1", '<axis xyz="0 1 0"/>') + joint("follows", "l1", "l2", mimic)
    urdf += joint("b", "l2", "l3", '<origin xyz="0 0 1"/>')
    ours = chains(robot_of(tmp_path, urdf))["arm"].points({"b": np.zeros(2)})
    np.testing.assert_allclose(ours, [(np.sin(0.3), 0.0, 1.0 + np.cos(0.3))] * 2, atol=1e-12)


def test_an_axis_that_slides_moves_along_its_direction_whatever_its_length(tmp_path):
    urdf = joint("a", "base", "l1", '<origin xyz="0.1 0 0"/><axis xyz="0 3 4"/>', "prismatic")
    urdf += joint("b", "l1", "l2", '<axis xyz="0 0 1"/>')
    ours = chains(robot_of(tmp_path, urdf))["arm"].points({"a": np.array([0.5]), "b": np.ones(1)})[0]
    np.testing.assert_allclose(ours, (0.1, 0.3, 0.4), atol=1e-12)


def test_a_gripper_ends_the_arm_that_carries_it_and_no_other_group_below_it(tmp_path):
    """A torso of two joints carries an arm of two, and that the gripper."""
    urdf = (
        joint("a", "base", "l1")
        + joint("b", "l1", "l2", '<origin xyz="0 0 1"/>')
        + joint("c", "l2", "l3")
        + joint("d", "l3", "l4")
    )
    urdf += joint("mount", "l4", "l5", "", "fixed") + joint("finger", "l5", "f", '<origin xyz="0 0.05 0"/>')
    robot_of(tmp_path, urdf, "c, d", hand=True)
    file = tmp_path / "r.yaml"
    torso = YAML[YAML.index("  arm:") :].replace("arm", "torso").replace("CHANNELS", "a, b")
    file.write_text(file.read_text() + torso)
    found = chains(load_robot(file))
    assert [s.joint for s in found["torso"].segments] == ["a", "b"]
    assert [s.joint for s in found["arm"].segments] == ["a", "b", "c", "d", "mount", "finger"]
    assert found["torso"].root == found["arm"].root == "base"


def test_a_joint_that_only_follows_carries_no_gripper(tmp_path):
    """The arm's joint before it does; a joint of another group between them would."""
    urdf = joint("a", "base", "l1") + joint("b", "l1", "l2", '<origin xyz="0 0 1"/>')
    urdf += joint("m", "l2", "l3", '<origin xyz="0 0.5 0"/><mimic joint="a"/>') + joint("finger", "l3", "f")
    assert [s.joint for s in chains(robot_of(tmp_path, urdf, hand=True))["arm"].segments] == ["a", "b", "m", "finger"]
    moving = urdf.replace('<mimic joint="a"/>', "")
    assert [s.joint for s in chains(robot_of(tmp_path, moving, hand=True))["arm"].segments] == ["a", "b"]


def test_of_two_grippers_on_one_arm_the_first_in_the_yaml_is_its_end(tmp_path):
    urdf = joint("a", "base", "l1") + joint("b", "l1", "l2") + joint("finger", "l2", "f", '<origin xyz="0 0 1"/>')
    urdf += joint("thumb", "l2", "t", '<origin xyz="0 0 2"/>')
    robot_of(tmp_path, urdf, hand=True)
    file = tmp_path / "r.yaml"
    second = HAND.replace("hand", "other").replace("finger", "thumb")
    file.write_text(file.read_text() + second)
    assert chains(load_robot(file))["arm"].segments[-1].joint == "finger"
    file.write_text(file.read_text().replace(HAND, "") + HAND)
    assert chains(load_robot(file))["arm"].segments[-1].joint == "thumb"
