"""The nodes, a module each; `python -m pi0_ros.nodes.NAME` runs one."""

import sys

import pi0_ros.process  # noqa: F401 - who the parent is: it may end before all is loaded

if sys.argv[:1] == ["-m"]:  # so Python says while it looks for the module to run, before the heavy imports
    from pi0_ros.ros.loading import before_loading

    before_loading()
