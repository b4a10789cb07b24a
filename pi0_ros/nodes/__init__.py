"""The nodes, a module each; `python -m pi0_ros.nodes.NAME` runs one."""

import sys

import pi0_ros.process  # noqa: F401 - who the parent is: it may end before all is loaded

if sys.argv[:1] == ["-m"]:  # so Python says while it looks for the module to run, before the heavy imports
    from pi0_ros.ros.environment import leave_where_ros_cannot_start
    from pi0_ros.ros.missing import explain_missing_modules
    from pi0_ros.ros.signals import leave_quietly_while_loading

    explain_missing_modules()
    leave_quietly_while_loading()
    leave_where_ros_cannot_start()  # where /dev/shm is full, importing rclpy already ends the process with SIGBUS
