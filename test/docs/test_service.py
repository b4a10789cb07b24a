"""The systemd unit of docs/service.md."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

PAGE = Path(__file__).resolve().parents[2] / "docs" / "service.md"
VERIFY = shutil.which("systemd-analyze")
needs_systemd = pytest.mark.skipif(VERIFY is None, reason="needs systemd-analyze (apt-get install systemd)")


def unit():
    return re.search(r"```ini\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)[1]


def judged(text, folder):
    """What systemd-analyze says of a unit, "" if it has nothing to say."""
    file = folder / "pi0.service"
    file.write_text(text, encoding="utf-8")
    ran = subprocess.run([VERIFY, "verify", str(file)], capture_output=True, text=True, timeout=60, check=False)
    return ran.stdout + ran.stderr + (f"exit code {ran.returncode}" if ran.returncode else "")


@needs_systemd
def test_systemd_has_nothing_to_say_against_the_unit(tmp_path):
    assert judged(unit(), tmp_path) == ""


@needs_systemd
@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("KillMode=mixed", "KillMode=gently"),
        ("TimeoutStopSec=5", "TimeoutStop=5"),
        ("ExecStart=/bin/bash", "ExecStart=/bin/bush"),
    ],
)
def test_systemd_does_find_a_slip_in_it(old, new, tmp_path):
    assert old in unit()
    assert judged(unit().replace(old, new), tmp_path)


def test_the_command_of_the_unit_is_one_that_pi0_up_takes():
    from pi0_ros.bringup import ARGUMENTS

    command = re.search(r"exec pi0 up (.*?)'", unit(), re.DOTALL)[1]
    given = dict(word.split(":=") for word in command.split())
    assert set(given) <= {argument.name for argument in ARGUMENTS}
    assert {"robot", "checkpoint"} <= set(given)
