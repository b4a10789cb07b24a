"""A simulated robot: MuJoCo built from the robot's own URDF, and the register of its tasks."""

import os

os.environ.setdefault("MUJOCO_GL", "egl")  # read by mujoco when it is first imported
