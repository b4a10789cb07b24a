"""A robot that is not there: MuJoCo built from the robot's own URDF, its tasks, and a scripted operator."""

import os

os.environ.setdefault("MUJOCO_GL", "egl")  # read by mujoco when it is first imported
