"""`pi0 evaluate` where plans come late: what was accepted and refused is said, and why."""

import json

import pytest

from pi0_ros import cli
from pi0_ros.control import ExecutorSettings

pytest.importorskip("mujoco", reason="needs mujoco")


def evaluated(tmp_path, *arguments):
    file = tmp_path / "result.json"
    words = ["evaluate", "--checkpoint", "operator", "--task", "reach", "--episodes", "1", "--json", str(file)]
    assert cli.main([*words, *arguments]) == 0
    result = json.loads(file.read_text(encoding="utf-8"))
    return result, result["per_episode"][0]


def test_a_policy_that_takes_longer_than_a_chunk_may_be_old_is_waited_for_at_rest(tmp_path, capsys):
    result, episode = evaluated(tmp_path, "--latency", "1.5")
    assert result["success_rate"] == 1.0 and episode["chunks_accepted"] >= 1
    assert "no chunk was accepted" not in capsys.readouterr().out
    assert "1.50 s old, more than chunk_max_age 1.00 s" in episode["last_refusal"] or not episode["chunks_refused"]


def test_where_no_chunk_comes_in_the_time_of_an_episode_that_is_said(tmp_path, capsys):
    result, episode = evaluated(tmp_path, "--latency", "35")
    assert result["successes"] == 0
    assert episode["chunks_accepted"] == episode["chunks_refused"] == 0
    assert "no chunk was accepted: none came" in capsys.readouterr().out


def test_where_every_chunk_is_refused_the_reason_is_printed_and_counted(tmp_path, capsys, monkeypatch):
    settings = ExecutorSettings.__init__

    def impatient(self, *arguments, **words):
        settings(self, *arguments, **{"wait_max_age": 1.2, **words})

    monkeypatch.setattr(ExecutorSettings, "__init__", impatient)
    result, episode = evaluated(tmp_path, "--latency", "1.5")
    assert result["successes"] == 0
    assert episode["chunks_accepted"] == 0 and episode["chunks_refused"] >= 2
    assert "no chunk was accepted: stale: its observation is 1.50 s old" in capsys.readouterr().out
