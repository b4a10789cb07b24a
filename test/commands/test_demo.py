"""`pi0 demo` refuses what its nodes would refuse, before any of them starts."""

import json

import pytest

from pi0_ros import cli
from pi0_ros.commands import demo


@pytest.fixture(autouse=True)
def nothing_starts(monkeypatch):
    monkeypatch.setattr(demo, "_supervise", lambda *_: pytest.fail("something was started"))


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--duration", "nan"], "--duration nan must be from 0"),
        (["--duration", "inf"], "--duration inf must be from 0"),
        (["--seed", "-1"], "--seed -1 must be from 0 to 2147483647"),
        (["--seed", str(2**31)], "--seed 2147483648 must be from 0 to 2147483647"),
        (["--video", "film"], "--video film: the name of a video ends in .mp4"),
        (["--report", "/proc/nowhere/report.json"], "--report /proc/nowhere/report.json: cannot be written"),
    ],
)
def test_a_bad_option_is_one_sentence_and_nothing_starts(words, told, capsys):
    assert cli.main(["demo", "--headless", *words]) == 1
    said = capsys.readouterr().err
    assert told in said and said.count("\n") == 1


def test_a_folder_where_the_video_should_be_is_refused(tmp_path, capsys):
    (tmp_path / "film.mp4").mkdir()
    assert cli.main(["demo", "--headless", "--video", str(tmp_path / "film.mp4")]) == 1
    assert "cannot be written" in capsys.readouterr().err


def test_a_video_that_was_not_written_is_no_success(tmp_path, monkeypatch, capsys):
    report = tmp_path / "report.json"
    (tmp_path / "film.mp4").write_bytes(b"an older one")
    monkeypatch.setattr(demo, "_supervise", lambda *_: bool(report.write_text(REPORT) and False))
    assert cli.main(["demo", "--headless", "--video", str(tmp_path / "film.mp4"), "--report", str(report)]) == 1
    printed = capsys.readouterr()
    assert "no video was written" in printed.err and "video:" not in printed.out


REPORT = """{"duration_s": 1.0, "control": {"rate_hz": 50.0, "commands": 50, "missed": 0,
 "period_error_ms": {"p50": 0.1, "p99": 0.2, "max": 0.3},
 "executor": {"period_late_ms": {"p50": 0.1, "p99": 0.2, "max": 0.3}, "missed": 0}},
 "policy": {"chunks": 1, "inference_ms": {"p50": 1.0}, "observation_to_command_ms": {"p50": 1.0}},
 "motion": {"limit_violations": 0, "underruns": 0}, "takeovers": 0, "tasks": {"attempted": 1, "succeeded": 1},
 "faults": []}"""


@pytest.mark.parametrize(
    ("late", "missed", "busy"), [(0.2, 0, False), (9.9, 2, False), (10.0, 0, True), (0.2, 3, True), (90.8, 20, True)]
)
def test_a_computer_that_was_too_busy_is_said_behind_the_faults_with_the_way_out(late, missed, busy):
    report = json.loads(REPORT)  # 50 commands, so 2.5 that are missing are one in twenty
    report["control"] |= {"missed": missed, "executor": {"period_late_ms": {"p50": 0.1, "p99": late, "max": late}}}
    lines = demo.summary(report | {"faults": ["executor/reset did not answer"]})
    assert lines[-2 if busy else -1] == "fault: executor/reset did not answer"
    assert busy == ("two idle processor cores" in lines[-1] and "end other programs" in lines[-1])
