"""The nodes, a module each; `python -m pi0_ros.nodes.NAME` runs one."""

import sys

if sys.argv[:1] == ["-m"]:  # so Python says while it looks for the module to run, before the heavy imports
    from pi0_ros.ros.signals import leave_quietly_while_loading

    leave_quietly_while_loading()
