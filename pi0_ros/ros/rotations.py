"""Rotations between the quaternions of ROS (x, y, z, w) and angles in rad.

`tf_transformations` is used if ROS ships it; it is a thin layer over `transforms3d`, which comes as a wheel.
"""

from __future__ import annotations

from geometry_msgs.msg import Quaternion

try:
    from tf_transformations import quaternion_from_euler
except ImportError:
    from transforms3d.euler import euler2quat

    def quaternion_from_euler(roll: float, pitch: float, yaw: float) -> tuple[float, float, float, float]:
        """Quaternion (x, y, z, w) of roll, pitch, yaw [rad] about fixed axes."""
        w, x, y, z = euler2quat(roll, pitch, yaw, "sxyz")
        return x, y, z, w


def orientation_of_yaw(yaw: float) -> Quaternion:
    """The ROS orientation of a heading [rad] about the z axis."""
    x, y, z, w = quaternion_from_euler(0.0, 0.0, yaw)
    return Quaternion(x=float(x), y=float(y), z=float(z), w=float(w))
