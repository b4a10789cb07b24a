"""What a recorder says of itself: the worst first."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from pi0_ros.ros.diagnostics import ERROR, OK, WARN
from pi0_ros.ros.recording_health import health, values


def client(**changes):
    report = {"disk_full": False, "disk_low": False, "disk_free": 3.5e9, "cpu": 1.5, "memory": 2.5e8}
    report |= {k: v for k, v in changes.items() if k in report}
    own = {"alive": True, "problem": "", "ended": "", "saved": [1, 2], "backlog": 4}
    own |= {k: v for k, v in changes.items() if k in own}
    return SimpleNamespace(report=SimpleNamespace(**report), **own)


def session(client, recording=True, why=""):
    episodes = SimpleNamespace(client=client, number=7, frames=11, dropped={"late": 2, "blank": 3})
    return SimpleNamespace(episodes=episodes, recording=recording, why=why)


FOLDER = Path("data")


def said(client, problem="", odd=(), **how):
    found = health(session(client, **how), FOLDER, problem, list(odd), {"a": 1})
    assert found.values == {"a": 1}
    return found.level, found.message


ORDER = [
    ({"alive": False}, {}, ERROR, "the process that writes has ended; deactivate and activate the recorder"),
    ({"problem": "no codec"}, {}, ERROR, "no codec"),
    ({"ended": "a signal"}, {}, ERROR, "recording has ended: a signal"),
    ({"disk_full": True}, {}, ERROR, "the disk of data is nearly full: nothing is recorded"),
    ({}, {"problem": "two datasets"}, ERROR, "two datasets"),
    ({"disk_low": True}, {}, WARN, "the disk of data becomes full: 3500 MB are left"),
    ({}, {"why": "no picture"}, WARN, "no frame: no picture"),
    ({}, {"odd": ["dark", "slow"]}, WARN, "dark; slow"),
    ({}, {}, OK, "recording episode 7"),
]


@pytest.mark.parametrize("place", range(len(ORDER)))
def test_the_worst_is_said_before_all_that_is_less_bad(place):
    """Everything further down the list is the case as well."""
    of_client, of_session = {}, {}
    for own, around, _, _ in reversed(ORDER[place:]):
        of_client |= own
        of_session |= around
    assert said(client(**of_client), **of_session) == ORDER[place][2:]


def test_before_anything_is_written_it_is_ready_and_a_reason_without_recording_is_none():
    assert said(None, recording=False, why="no picture") == (OK, "ready")
    assert said(None, problem="two datasets") == (ERROR, "two datasets")
    assert said(client(), recording=False) == (OK, "ready")


def test_the_numbers_are_those_of_episodes_disk_and_writer():
    found = values(session(client()), FOLDER)
    assert found == {
        "recording": True, "folder": "data", "episodes": 7, "frames": 11, "saved": 2, "frames that could not be taken": 5,
        "dropped: late": 2, "dropped: blank": 3, "backlog": 4, "disk_free_mb": 3500.0, "writer_cpu_s": 1.5,
        "writer_memory_mb": 250.0,
    }  # fmt: skip
    alone = values(session(None), FOLDER)
    assert alone["saved"] == 0 and "backlog" not in alone
