"""A process of nodes ends when it is asked to, whatever it is doing."""

import os
import signal
import subprocess
import sys

import pytest

pytest.importorskip("rclpy")

from pi0_ros.ros.lifecycle import HALT
from pi0_ros.ros.run import SHUTDOWN_TIMEOUT_S
from pi0_ros.supervisor import ESCALATION

PATIENCE = 120.0
BEGIN = """
import threading
import rclpy
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


def started(bring_up, destroy="pass", before=None):
    env = {**os.environ, "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"}
    program = BEGIN.format(bring_up=bring_up, destroy=destroy)
    return subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=env,
        preexec_fn=before,  # noqa: PLW1509 - no thread is running here
    )


def wait_for(process, word):
    said = []
    for line in process.stdout:
        said.append(line)
        if word in line:
            return
    raise AssertionError("".join(said))


EVERY = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT]
WORKING = "self.active = True; print('working', flush=True); return True"


@pytest.mark.parametrize("how", EVERY)
def test_a_process_that_is_still_loading_ends_at_once_and_well(how):
    with started(FOREVER.format(word="loading")) as process:
        wait_for(process, "loading")
        process.send_signal(how)
        assert process.wait(PATIENCE) == 0


@pytest.mark.parametrize("how", EVERY)
def test_a_process_at_work_makes_safe_first(how):
    with started(WORKING) as process:
        wait_for(process, "working")
        process.send_signal(how)
        wait_for(process, f"shut down: {how.name}")
        assert process.wait(PATIENCE) == 0


def test_a_closed_terminal_is_ignored_where_it_was_asked_to_be():
    ignore = lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with started(WORKING, before=ignore) as process:
        wait_for(process, "working")
        process.send_signal(signal.SIGHUP)
        process.send_signal(signal.SIGINT)
        wait_for(process, "shut down: SIGINT")
        assert process.wait(PATIENCE) == 0


def test_a_second_signal_does_not_cut_the_stop_short():
    stopping = "self.active = True; self.shut_down = slow; print('working', flush=True); return True"
    slow = (
        "def slow(reason):\n    print('stopping', reason, flush=True)\n    input()\n    print('at rest', flush=True)\n"
    )
    program = BEGIN.replace("\nclass", f"\n{slow}\nclass").format(bring_up=stopping, destroy="pass")
    with subprocess.Popen(
        [sys.executable, "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        wait_for(process, "working")
        process.send_signal(signal.SIGTERM)
        wait_for(process, "stopping SIGTERM")
        for number in EVERY:
            process.send_signal(number)
        process.stdin.write("go on\n")
        process.stdin.flush()
        wait_for(process, "at rest")
        assert process.wait(PATIENCE) == 0


def test_a_signal_while_a_second_node_is_loading_makes_the_first_safe_and_waits_for_nothing():
    loading = (
        "\n        if not Probe.active:\n            Probe.active = True\n            return True\n        "
        + FOREVER.format(word="loading")
    )
    program = BEGIN.replace('[Probe("probe")]', '[Probe("one"), Probe("two")]').format(bring_up=loading, destroy="pass")
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        wait_for(process, "loading")
        process.send_signal(signal.SIGINT)
        wait_for(process, "shut down: SIGINT")
        assert process.wait(PATIENCE) == 0


def test_without_a_ros_thread_the_nodes_are_made_safe_and_the_process_fails():
    ends = "self.active = True; threading.Timer(0.1, rclpy.shutdown).start(); return True"
    with started(ends) as process:
        wait_for(process, "shut down: the ROS thread ended: ROS was shut down")
        assert process.wait(PATIENCE) == 1


def test_a_node_that_raises_while_it_starts_is_made_safe_and_the_process_fails():
    with started("self.active = True; raise ZeroDivisionError('in the middle')") as process:
        wait_for(process, "ZeroDivisionError: in the middle")
        wait_for(process, "shut down")
        assert process.wait(PATIENCE) == 1


def test_a_node_that_is_finalized_ends_its_process():
    later = (
        "self.active = True; self.on_finalized = None; "
        "threading.Timer(0.2, lambda: (setattr(self, 'finalized', True), self.on_finalized())).start(); return True"
    )
    with started(later) as process:
        wait_for(process, "shut down: shut down by a lifecycle request")
        assert process.wait(PATIENCE) == 0


def test_a_goodbye_that_hangs_keeps_no_process_alive():
    patiently = "run.__globals__['Spinner'].stop = lambda spinner, _, stop=run.__globals__['Spinner'].stop: stop(spinner, 60.0); "
    with started(patiently + WORKING, FOREVER.format(word="goodbye")) as process:  # a spinner that ends late says none
        wait_for(process, "working")
        process.send_signal(signal.SIGTERM)
        wait_for(process, "goodbye")
        assert process.wait(PATIENCE) == 0


def test_a_node_that_cannot_start_ends_the_process_with_an_error():
    with started("return False") as process:
        wait_for(process, "shut down: could not start")
        assert process.wait(PATIENCE) == 1


def test_both_nodes_of_a_brain_end_within_what_a_supervisor_gives_them():
    assert ESCALATION[0][1] > 2 * HALT + 2 * SHUTDOWN_TIMEOUT_S


LAUNCHER = "import signal, subprocess, sys; subprocess.Popen([sys.executable, '-c', sys.argv[1]]); signal.pause()"


def launched(bring_up, **more):
    """A launcher that starts a node with its own stdout, and does nothing else."""
    env = {**os.environ, "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST", **more}
    words = [sys.executable, "-c", LAUNCHER, BEGIN.format(bring_up=bring_up, destroy="pass")]
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=env)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_node_whose_launcher_is_gone_makes_safe_and_ends(how):
    with launched(WORKING) as launcher:
        wait_for(launcher, "working")
        launcher.send_signal(how)
        # The pipe ends only when the node has ended too.
        said, _ = launcher.communicate(timeout=PATIENCE)
        assert "shut down: the process that started it" in said and "PI0_OUTLIVE_PARENT" in said


def test_a_node_that_is_still_loading_ends_with_its_launcher_too():
    with launched(FOREVER.format(word="loading")) as launcher:
        wait_for(launcher, "loading")
        launcher.kill()
        launcher.communicate(timeout=PATIENCE)


def test_a_node_that_was_meant_to_stay_outlives_its_launcher():
    tell = "print('working', __import__('os').getpid(), flush=True); self.active = True; return True"
    with launched(tell, PI0_OUTLIVE_PARENT="1") as launcher:
        line = next(line for line in launcher.stdout if line.startswith("working"))
        launcher.kill()
        launcher.wait(PATIENCE)
        # It hears a signal of its own as ever, which it could not had it ended with its launcher.
        os.kill(int(line.split()[1]), signal.SIGINT)
        assert "shut down: SIGINT" in launcher.communicate(timeout=PATIENCE)[0]


@pytest.mark.parametrize(
    ("variable", "value", "told"),
    [
        ("ROS_DOMAIN_ID", "300", "ROS_DOMAIN_ID must be a number from 0 to 232, and is '300'"),
        ("ROS_DOMAIN_ID", "abc", "ROS_DOMAIN_ID must be a number"),
        ("HOME", None, "HOME is not set and neither is ROS_LOG_DIR"),
        ("HOME", "/proc/nowhere", "set ROS_LOG_DIR to a folder that can be written"),
    ],
)
def test_an_environment_that_ros_cannot_start_in_is_one_sentence_and_no_traceback(variable, value, told):
    unset = {name: v for name, v in os.environ.items() if name not in (variable, "ROS_LOG_DIR", "ROS_HOME")}
    env = {**unset, **({variable: value} if value else {})}
    words = [sys.executable, "-c", BEGIN.format(bring_up="return True", destroy="pass")]
    done = subprocess.run(words, env=env, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("error: ") and told in done.stderr and done.stderr.count("\n") == 1
