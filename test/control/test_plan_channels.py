"""What plans know of the channels of a robot: of arms, grippers, a base and of joints that velocities move."""

import numpy as np

from pi0_ros.control.plan_channels import plan_channels
from pi0_ros.robot.spec import Kind

GROUPS = """
base:
  kind: velocity
  channels: [vx, wz]
  command: {topic: cmd_vel, type: twist}
  limits: {velocity: [0.5, 1.1], acceleration: [0.7, 1.3]}
hand:
  kind: gripper
  channels: [grip]
  joint: {name: finger, closed: 0.0, open: 0.04}
  command: {topic: hand, type: joint_state}
arm:
  kind: position
  channels: [j1, slide]
  command: {topic: arm, type: joint_state}
  limits: {source: urdf, acceleration: [4.0, 6.0]}
turret:
  kind: velocity
  channels: [j3_velocity]
  joints: [j3]
  command: {topic: turret, type: float64_multi_array}
  limits: {source: urdf, acceleration: 9.0}
"""


def test_every_channel_has_its_own_limits_and_is_of_its_own_kind(small_robot):
    found = plan_channels(small_robot(GROUPS))
    assert found.names == ("vx", "wz", "grip", "j1", "slide", "j3_velocity")
    assert found.kinds == (Kind.VELOCITY, Kind.VELOCITY, Kind.GRIPPER, Kind.POSITION, Kind.POSITION, Kind.VELOCITY)
    np.testing.assert_allclose(found.lower, [-0.5, -1.1, 0.0, -2.0, 0.0, -3.0])
    np.testing.assert_allclose(found.upper, [0.5, 1.1, 1.0, 2.0, 0.4, 3.0])
    # 0.2 m/s over a stroke of 0.04 m, reached in 0.1 s.
    np.testing.assert_allclose(found.velocity, [0.5, 1.1, 5.0, 2.5, 0.3, 3.0])
    np.testing.assert_allclose(found.rate_limit, [0.7, 1.3, 5.0, 2.5, 0.3, 9.0])
    np.testing.assert_allclose(found.brake, [0.35, 0.65, 25.0, 2.0, 3.0, 4.5])
    np.testing.assert_array_equal(found.position, [False, False, False, True, True, False])
    np.testing.assert_array_equal(found.smooth, [1.0, 1.0, 0.0, 1.0, 1.0, 1.0])
    np.testing.assert_array_equal(found.bound, [1.0, 1.0, 0.0, 1.0, 1.0, 0.0])
