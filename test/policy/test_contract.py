"""Whether a robot has what a policy measures and commands."""

import pytest

from pi0_ros.policy.adapter import load_adapter
from pi0_ros.policy.contract import check_fit, contract_of_remote

FRANKA = {f"panda_joint{k}": ("revolute", -2.8, 2.8, 2.0 + 0.1 * k) for k in range(1, 8)}
ARM = """
arm:
  kind: velocity
  channels: [joint1_velocity, joint2_velocity, joint3_velocity, joint4_velocity, joint5_velocity, joint6_velocity, joint7_velocity]
  joints: [panda_joint1, panda_joint2, panda_joint3, panda_joint4, panda_joint5, panda_joint6, panda_joint7]
  command: {topic: arm/commands, type: float64_multi_array}
  limits: {source: urdf, acceleration: 5.0, margin: 0.1}
hand:
  kind: gripper
  channels: [gripper]
  joint: {name: panda_finger_joint1, closed: 0.0, open: 0.04}
  command: {topic: hand, type: float64_multi_array}
"""
HEAD = """robot: franka
urdf: small.urdf
cameras:
  exterior: {topic: a, type: image, max_age: 0.3}
  wrist: {topic: b, type: image, max_age: 0.3}
"""


def franka(small_robot, groups=ARM):
    joints = FRANKA | {"panda_finger_joint1": ("prismatic", 0.0, 0.04, 0.2)}
    return small_robot(groups, joints=joints, mimics={}, head=HEAD)


@pytest.mark.parametrize("name", ["droid", "droid_fast"])
def test_a_franka_that_takes_velocities_fits_droid_and_its_positions_are_state(small_robot, name):
    robot = franka(small_robot)
    fit = check_fit(robot, contract_of_remote(load_adapter(name), "ws://x", robot))
    assert fit.ok, fit.lines
    assert contract_of_remote(load_adapter(name), "ws://x", robot).needed_state(robot)[:1] == ("panda_joint1",)


def test_without_the_joints_that_the_velocities_move_it_does_not_fit(small_robot):
    lines = [line for line in ARM.splitlines() if "joints:" not in line]
    text = "\n".join(lines).replace("source: urdf, acceleration: 5.0, margin: 0.1", "velocity: 1.0, acceleration: 5.0")
    robot = franka(small_robot, text)
    fit = check_fit(robot, contract_of_remote(load_adapter("droid"), "ws://x", robot))
    assert not fit.ok and any("panda_joint1" in line and line.startswith("no") for line in fit.lines)


BASE = """
arm:
  kind: position
  channels: [j1]
  command: {topic: arm/commands, type: float64_multi_array}
  limits: {source: urdf, acceleration: 5.0}
base:
  kind: velocity
  channels: [base_vx, base_wz]
  command: {topic: cmd_vel, type: twist}
  limits: {velocity: [0.5, 1.0], acceleration: 1.0}
"""
POLICY = """policy: small
cameras: {base: front}
period: 0.05
state:
  - channels: [j1MORE]
actions:
  - channels: [j1, base_vx, base_wz]
remote:
  images: {image: front}
  state: {state: COUNT}
"""


@pytest.mark.parametrize(
    ("measures", "group", "ok"),
    [(", base_vx", "", False), ("", "", True), (", base_vx", "  measured: false\n", True)],
    ids=["measures the base", "does not", "the last command stands for it"],
)
def test_a_base_without_odometry_fits_unless_the_policy_measures_it(small_robot, tmp_path, measures, group, ok):
    robot = small_robot(BASE + group)
    file = tmp_path / "policy.yaml"
    file.write_text(POLICY.replace("MORE", measures).replace("COUNT", str(1 + bool(measures))))
    fit = check_fit(robot, contract_of_remote(load_adapter(file), "ws://x", robot))
    assert fit.ok is ok, fit.lines
    said = any("measured by nothing: base_vx; no source of type odometry under state" in line for line in fit.lines)
    assert said is not ok
    resting = any("starting from the last command: base_vx, base_wz" in line for line in fit.lines)
    assert resting is not bool(group)
