"""How a test run ends when it is asked to."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("rclpy")

HOLDS_NODES = """
import subprocess, sys, threading
import rclpy
from rclpy.node import Node

def test_waits_for_ever(tmp_path):
    rclpy.init()
    node, other = Node("waiting"), subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    try:
        print("\\nstarted", other.pid, flush=True)
        threading.Event().wait()
    finally:
        other.kill()
        other.wait()
"""


def test_a_run_that_holds_nodes_ends_on_sigterm_and_ends_what_it_started(tmp_path):
    (tmp_path / "test_holds.py").write_text(HOLDS_NODES)
    here = Path(__file__).parent
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in (str(here), os.environ.get("PYTHONPATH")) if p)}
    words = ["-m", "pytest", "-q", "-p", "conftest", "-p", "no:cacheprovider", "-s", "test_holds.py"]
    run = subprocess.Popen([sys.executable, *words], cwd=tmp_path, env=env, stdout=subprocess.PIPE, text=True)
    started = next((line for line in run.stdout if line.startswith("started ")), None)
    assert started is not None, run.wait(60.0)
    run.send_signal(signal.SIGTERM)
    said, _ = run.communicate(timeout=60.0)
    assert run.returncode == pytest.ExitCode.INTERRUPTED, said
    assert "KeyboardInterrupt" in said
    with pytest.raises(ProcessLookupError):
        os.kill(int(started.split()[1]), 0)
