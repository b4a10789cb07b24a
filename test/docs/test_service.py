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
        ("TimeoutStopSec=70", "TimeoutStop=70"),
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


def test_systemd_waits_longer_than_pi0_up_may_need_to_stop():
    from pi0_ros.ros.notify import LONGEST
    from pi0_ros.supervisor import ESCALATION, LAST_WORDS

    seconds = float(re.search(r"^TimeoutStopSec=(\d+)$", unit(), re.MULTILINE)[1])
    assert seconds > LONGEST + sum(patience for _, patience in ESCALATION) + LAST_WORDS


def test_the_unit_has_the_environment_that_the_page_about_installing_makes():
    installing = (PAGE.parent / "install.md").read_text(encoding="utf-8")
    terminal = re.search(r"In a new terminal: (.*?), in this order", installing, re.DOTALL)[1]
    wanted = [line.replace("~", "/home/robot") for line in re.findall(r"`source (.*?)`", terminal)]
    assert len(wanted) == 3
    assert re.findall(r"source (\S+)", unit()) == wanted


def test_the_unit_does_not_wait_for_a_word_that_nobody_sends():
    sending = [f for f in (PAGE.parents[1] / "pi0_ros").rglob("*.py") if "READY=1" in f.read_text(encoding="utf-8")]
    assert sending == []
    assert "Type=notify" not in unit()
