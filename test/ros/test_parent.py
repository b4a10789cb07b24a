"""A node whose launcher has died ends, also one whose launcher died while it was still loading."""

import os
import subprocess
import sys

from pi0_ros.ros.parent import INIT, OUTLIVE, watch_parent

PATIENCE = 60.0
NODE = """
import sys, threading
import pi0_ros.nodes
print("loading", file=sys.stderr, flush=True)
sys.stdin.read()  # until the launcher is gone
from pi0_ros.ros.parent import watch_parent
gone = threading.Event()
watch_parent(lambda why: (print(why), gone.set()))
gone.wait(30.0) or print("lives on")
"""
LAUNCHER = """
import os, subprocess, sys
node = subprocess.Popen([sys.executable, "-c", sys.argv[1]], stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
assert node.stderr.readline() == "loading\\n"
print(os.getpid(), flush=True)
"""


def test_a_launcher_that_dies_while_the_node_loads_is_noticed():
    words = [sys.executable, "-c", LAUNCHER, NODE]
    # Launcher and node write into one pipe: it ends when both have ended.
    launcher, said = subprocess.run(
        words, check=True, stdout=subprocess.PIPE, text=True, timeout=PATIENCE
    ).stdout.split("\n", 1)
    assert f"the process that started it (number {launcher}) is gone; {OUTLIVE}=1" in said


def test_init_is_never_gone_and_who_is_to_outlive_its_parent_does_not_watch():
    assert not watch_parent(lambda why: None, {}, INIT)
    assert not watch_parent(lambda why: None, {OUTLIVE: "1"}, os.getppid())
