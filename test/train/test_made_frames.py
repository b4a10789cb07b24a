"""Frames are made in shards by several processes, which end with the one that started them."""

import signal
import subprocess
import sys

import pytest
from test_processes import alive, until

RUN = """
import os, sys, time
from pathlib import Path
sys.path.insert(0, {here!r})
from pi0_ros.train.made_frames import write_made_frames

def make(seeds):
    Path({out!r}, str(os.getpid())).touch()
    time.sleep(600)

if __name__ == "__main__":
    write_made_frames(make, Path({out!r}, "frames"), 0, 4, each=1, workers=2)
"""


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGKILL])
def test_processes_that_make_frames_end_with_the_run_however_it_ends(tmp_path, ending):
    script = tmp_path / "script.py"
    script.write_text(RUN.format(here=str(tmp_path), out=str(tmp_path / "out")))
    (tmp_path / "out").mkdir()
    run = subprocess.Popen([sys.executable, str(script)])
    try:
        until(lambda: len(list((tmp_path / "out").iterdir())) == 2, "two processes at work")
        makers = [int(file.name) for file in (tmp_path / "out").iterdir()]
        assert all(map(alive, makers)) and run.pid not in makers
        run.send_signal(ending)
        until(lambda: not any(map(alive, makers)), "the processes that make frames to end")
    finally:
        run.kill()
        run.wait()
