"""A process of nodes ends when it is asked to, whatever it is doing."""

import os
import signal
import subprocess
import sys

import pytest

pytest.importorskip("rclpy")

from pi0_ros.ros.lifecycle import HALT
from pi0_ros.ros.run import FAREWELL
from pi0_ros.supervisor import ESCALATION

PATIENCE = 120.0
BEGIN = """
import threading
from rclpy.node import Node
from pi0_ros.ros.run import run

class Probe(Node):
    active = False
    def bring_up(self): {bring_up}
    def shut_down(self, reason): print("shut down:", reason, flush=True)
    def destroy_node(self): {destroy}

raise SystemExit(run(lambda _: [Probe("probe")], []))
"""
FOREVER = "print('{word}', flush=True); threading.Event().wait()"


def started(bring_up, destroy="pass"):
    env = {**os.environ, "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"}
    program = BEGIN.format(bring_up=bring_up, destroy=destroy)
    return subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=env
    )


def wait_for(process, word):
    said = []
    for line in process.stdout:
        said.append(line)
        if word in line:
            return
    raise AssertionError("".join(said))


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_a_process_that_is_still_loading_ends_at_once_and_well(how):
    with started(FOREVER.format(word="loading")) as process:
        wait_for(process, "loading")
        process.send_signal(how)
        assert process.wait(PATIENCE) == 0


def test_a_process_at_work_makes_safe_first():
    with started("self.active = True; print('working', flush=True); return True") as process:
        wait_for(process, "working")
        process.send_signal(signal.SIGINT)
        wait_for(process, "shut down: SIGINT")
        assert process.wait(PATIENCE) == 0


def test_a_goodbye_that_hangs_keeps_no_process_alive():
    bring_up = "self.active = True; print('working', flush=True); return True"
    with started(bring_up, FOREVER.format(word="goodbye")) as process:
        wait_for(process, "working")
        process.send_signal(signal.SIGTERM)
        wait_for(process, "goodbye")
        assert process.wait(PATIENCE) == 0


def test_a_node_that_cannot_start_ends_the_process_with_an_error():
    with started("return False") as process:
        wait_for(process, "shut down: could not start")
        assert process.wait(PATIENCE) == 1


def test_both_nodes_of_a_brain_end_within_what_a_supervisor_gives_them():
    assert ESCALATION[0][1] > 2 * HALT + 2 * FAREWELL
