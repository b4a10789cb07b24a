"""The program `pi0` ends quietly at Ctrl-C, also while it loads and at its very end."""

import subprocess
import sys

import pytest

PATIENCE = 60.0
CTRL_C = "import os, signal; os.kill(os.getpid(), signal.SIGINT)"
AT_IMPORT = f"""
import sys
class CtrlC:
    def find_spec(self, name, *_):
        if name == {{module!r}}:
            {CTRL_C}
sys.meta_path.insert(0, CtrlC())
"""
AT_THE_END = f"""
import atexit
@atexit.register
def end():
    {CTRL_C}
"""
RUN = "import sys; sys.argv = ['pi0', *{words!r}]; from pi0_ros.__main__ import main; sys.exit(main())"


def pi0(before: str, *words: str, ignoring: bool = False) -> subprocess.CompletedProcess:
    first = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)\n" if ignoring else ""
    code = first + before + RUN.format(words=words)
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=PATIENCE, check=False)


@pytest.mark.parametrize("module", ["pi0_ros.cli", "argparse", "pi0_ros.commands", "pi0_ros.commands.up"])
def test_ctrl_c_while_the_program_loads_is_no_traceback(module):
    done = pi0(AT_IMPORT.format(module=module), "up", "--print", "sim:=true")
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


def test_ctrl_c_when_all_is_done_is_no_traceback_and_loses_nothing_of_what_was_said():
    done = pi0(AT_THE_END, "up", "--print", "sim:=true")
    assert (done.returncode, done.stderr) == (130, "")
    assert "pi0_ros.nodes.sim_robot" in done.stdout


def test_what_ignores_ctrl_c_from_its_start_goes_on_ignoring_it():
    done = pi0(AT_IMPORT.format(module="pi0_ros.cli") + AT_THE_END, "up", "--print", "sim:=true", ignoring=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert "pi0_ros.nodes.sim_robot" in done.stdout
